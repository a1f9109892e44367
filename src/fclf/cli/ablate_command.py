"""`fclf ablate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import (
    EmbeddingsOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    console,
    print_json,
    progress_bar,
    say_split,
    use_threads,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, choose_attributes, load_embeddings


def ablate(
    embeddings: EmbeddingsOption,
    output_dir: Annotated[Path, typer.Option(metavar="OUT", help="Gets ablation.json, ablation.md and ablation.png.")],
    attributes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Attributes to edit, instead of the specification's five.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each of the specification's recipes.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 5,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of judges, folds and samples, and the first of training.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare the specification before its fixes, each fix, closed forms, the cure, and the cure without each part.

    Example: fclf ablate --embeddings celeba.npz --output-dir results/ablation --seeds 1
    """
    use_threads(threads)
    from fclf.ablation import ablate as compare
    from fclf.config import load_config
    from fclf.files import atomic_write
    from fclf.report.ablation import markdown, terminal
    from fclf.report.front import draw

    data = load_embeddings(
        embeddings, labels, normalize=normalize, labels_from=labels_from, partition=partition, split_seed=seed
    )
    chosen = choose_attributes(data.attribute_names, attributes, load_config("before").data.attributes)
    if chosen is not None:
        data = data.select(chosen)
    say_split(data, seed)
    with ExitStack() as bars:
        found = compare(
            data,
            seeds=seeds,
            epochs=epochs,
            seed=seed,
            on_start=lambda title, count: bars.enter_context(progress_bar(title, count)),
        )
    found.save(output_dir / "ablation.json")
    with atomic_write(output_dir / "ablation.md", "w") as file:
        file.write(markdown(found))
    drawn = draw(found, output_dir / "ablation.png")
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    title = f"{found.rows['edits']} edits of {found.rows['evaluated']} test rows; {epochs} epochs, {seeds} seed(s)"
    for table in terminal(found, title):
        console().print(table)
    if not found.rows["groups"]:
        typer.echo("Too few rows: gap, variance and recall are of no combination, and the figure is empty.")
    collapsed = [method.name for method in found.methods if method.collapsed]
    typer.echo(f"Collapsed: {'; '.join(collapsed) or 'none'}.")
    typer.echo(f"Table: {output_dir / 'ablation.md'}, {output_dir / 'ablation.json'}\nFigure: {drawn}")
