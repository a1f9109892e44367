"""`fclf augment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import (
    CheckpointOption,
    EmbeddingsOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    console,
    print_json,
    say_split,
    use_threads,
)
from fclf.cli.editing import InferLabelsOption, KeepOption, StrengthOption, note_inferred
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.applications.augment_benchmark import AugmentBenchmark


def augment(
    checkpoint: CheckpointOption,
    embeddings: EmbeddingsOption,
    output: Annotated[
        Path | None, typer.Option(metavar="OUT", help="The file with its rare groups filled, .parquet or .npz.")
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="What a probe will predict.")] = None,
    sensitive: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it should not depend on; without both, all combinations.")
    ] = None,
    per_group: Annotated[
        int | None, typer.Option(min=1, help="Train rows of every group; as many as the largest has.")
    ] = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure what filling does to a probe's worst group, beside controls.")
    ] = False,
    strength: StrengthOption = 1.0,
    keep: KeepOption = None,
    infer_labels: InferLabelsOption = False,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the rows that are edited.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Fill rare combinations of attributes with edited train rows, marked by the column `synthetic`.

    Example: fclf augment --checkpoint results/run --embeddings faces.npz --target Eyeglasses --sensitive Male
    --output filled.parquet
    """
    if (target is None) != (sensitive is None):
        raise InputError("--target and --sensitive go together; without both, all combinations are filled.")
    if target is not None and target == sensitive:
        raise InputError(f"--target {target} --sensitive {sensitive}: name two different attributes.")
    if benchmark == (output is not None):
        raise InputError("Type --output OUT.parquet to fill a file, or --benchmark to measure; one of the two.")
    if benchmark and target is None:
        raise InputError("--benchmark needs --target NAME and --sensitive NAME.")
    use_threads(threads)
    from fclf.applications.augment import augment as fill
    from fclf.checkpoint import Checkpoint
    from fclf.data.formats import check_writable

    if output is not None:
        check_writable(output)
        if output.exists() and output.samefile(embeddings):
            raise InputError(f"--output {output} is the input file; name another one.")
    model = Checkpoint.load(checkpoint)
    data = load_embeddings(
        embeddings,
        labels,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=model.config.data.split_seed,
    )
    model.check_rows(data)
    say_split(data, model.config.data.split_seed)
    if infer_labels:
        data, inferred = model.infer(data)
        note_inferred(inferred, len(data))
    if keep is not None:
        model = model.with_keep(keep)
    if output is None:
        from fclf.applications.augment_benchmark import augment_benchmark

        found = augment_benchmark(model, data, str(target), str(sensitive), per_group=per_group)
        return print_json(found.to_dict()) if as_json else _print_benchmark(found)
    names = () if target is None or sensitive is None else (target, sensitive)
    filled = fill(model, data, names, per_group=per_group, strength=strength, seed=seed)
    filled.data.save(output)
    if as_json:
        print_json({"output": str(output), "rows": len(filled.data), "groups": filled.groups, "unseen": filled.unseen})
        return
    for group in filled.groups:
        refused = f", {group['refused']:,} refused as far off" if group["refused"] else ""
        if group["synthetic"] or refused:
            typer.echo(f"{group['group']}: {group['rows']:,} rows and {group['synthetic']:,} edited{refused}")
    if filled.unseen:
        typer.echo(f"Not filled, as no train row has it: {'; '.join(filled.unseen)}")
    typer.echo(f"{len(filled.data):,} rows, {len(filled.data) - len(data):,} of them edited: {output}")


def _print_benchmark(found: AugmentBenchmark) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{found.target} by groups with {found.sensitive}, {found.per_group:,} rows or weight a group"
    table = Table("", "worst group", "against as they are", "all rows", title=title, box=SIMPLE_HEAD)
    for row in found.table:
        table.add_row(
            row.name,
            _pm(row.worst, row.worst_interval),
            _pm(row.against, row.against_interval, "+"),
            f"{row.mean:.3f}",
        )
    console().print(table)
    counts = (f"{name} {found.train[name]:,} train, {found.test[name]:,} test" for name in found.train)
    typer.echo(f"Groups: {'; '.join(counts)}.")
    if found.not_scored:
        typer.echo(f"Not scored, with too few test rows: {'; '.join(found.not_scored)}.")


def _pm(value: float, interval: tuple[float, float] | None, sign: str = "") -> str:
    return f"{value:{sign}.3f}" + ("" if interval is None else f" ±{(interval[1] - interval[0]) / 2:.3f}")
