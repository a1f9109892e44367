"""`fclf diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fclf.cli.common import (
    FailOnOption,
    JsonOption,
    Labels,
    LabelsOption,
    ThreadsOption,
    console,
    evaluation_folder,
    fail_on,
    print_json,
    say_split,
    use_threads,
    verdict_names,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_embeddings

if TYPE_CHECKING:
    from fclf.evaluation.results import Metrics


def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, a checkpoint or an evaluation's folder.")],
    embeddings: Annotated[
        Path | None,
        typer.Option("--embeddings", metavar="FILE", help="Evaluate the checkpoint on these, instead of reading."),
    ] = None,
    split: Annotated[str, typer.Option(help="With --embeddings: rows to edit, train, val or test.")] = "test",
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of judges and samples.")] = 0,
    fail_on_: FailOnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with a run, by which measurements and thresholds, and what to try next.

    Reads the run's evaluation, or makes one without figures where --embeddings names the data.

    Example: fclf diagnose results/fclf_training --embeddings celeba.npz --fail-on COLLAPSED
    """
    failing = verdict_names(fail_on_)
    use_threads(threads)
    from fclf.checkpoint import Checkpoint
    from fclf.evaluation import evaluate
    from fclf.report.verdict import decisions_table, verdict_lines

    if embeddings is None:
        metrics = _read(run)
    else:
        model = Checkpoint.load(run)
        data = load_embeddings(
            embeddings,
            labels,
            normalize=normalize,
            labels_from=labels_from,
            partition=partition,
            split_seed=model.config.data.split_seed,
        )
        say_split(data, model.config.data.split_seed)
        metrics = evaluate(model, data, split=split, seed=seed).metrics
    if as_json:
        print_json(metrics.verdict.model_dump(mode="json"))
    else:
        for line in verdict_lines(metrics.verdict):
            typer.echo(line)
        console().print(decisions_table(metrics.verdict))
        typer.echo(f"Of {metrics.rows['edits']} edits of the split '{metrics.split}', epoch {metrics.epoch}.")
    fail_on(metrics.verdict, failing)


def _read(run: Path) -> Metrics:
    from fclf.evaluation.results import Metrics

    ask = f"Name the data that the run is to be evaluated on: fclf diagnose {run} --embeddings FILE"
    return Metrics.load(evaluation_folder(run, ask))
