"""`fclf evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import (
    CheckpointOption,
    EditMode,
    FailOnOption,
    JsonOption,
    Labels,
    LabelsOption,
    Map,
    SourceOption,
    ThreadsOption,
    console,
    fail_on,
    print_json,
    use_threads,
    verdict_names,
)
from fclf.cli.loading import LabelsFromOption, NormalizeOption, PartitionOption, load_source
from fclf.cli.pictures import DecoderOption, ImagesOption, decoder_of


def evaluate(
    checkpoint: CheckpointOption,
    embeddings: SourceOption,
    output_dir: Annotated[
        Path, typer.Option(metavar="OUT", help="Gets report.html, transfer_metrics.json and figures.")
    ],
    split: Annotated[str, typer.Option(help="Rows to edit: train, val or test.")] = "test",
    mode: Annotated[EditMode, typer.Option(help="Every row x every attribute, or a sample.")] = EditMode.each,
    projection: Annotated[
        Map, typer.Option(help="Map of the figures; auto is UMAP where umap-learn is installed.")
    ] = Map.auto,
    slow_controls: Annotated[
        bool, typer.Option("--slow-controls", help="Train flow matching as one more control, half a minute.")
    ] = False,
    decoder: DecoderOption = None,
    images: ImagesOption = None,
    labels: LabelsOption = Labels.binary,
    labels_from: LabelsFromOption = None,
    partition: PartitionOption = None,
    normalize: NormalizeOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of judges and samples.")] = 0,
    fail_on_: FailOnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a trained field beside its controls, on rows and by judges that training never saw.

    Example: fclf evaluate --checkpoint results/fclf_training --embeddings celeba.npz --output-dir results/eval
    """
    use_threads(threads)
    failing = verdict_names(fail_on_)
    from fclf.checkpoint import Checkpoint
    from fclf.evaluation import evaluate as judge
    from fclf.report import figures, html
    from fclf.report.spec import bands_table, checks_table, diagnoses, stages_table, stop_rules
    from fclf.report.table import details, summary, terminal
    from fclf.report.verdict import decisions_table, verdict_lines

    drawing = decoder_of(decoder)
    model = Checkpoint.load(checkpoint)
    data, _ = load_source(
        embeddings,
        labels,
        choose=lambda _: model.attribute_names,
        normalize=normalize,
        labels_from=labels_from,
        partition=partition,
        split_seed=model.config.data.split_seed,
    )
    report = judge(
        model,
        data,
        split=split,
        mode=mode.value,
        seed=seed,
        projection=projection.value,
        slow_controls=slow_controls,
        decoder=drawing,
        images=images,
    )
    drawn = figures.draw(report, output_dir / "figures")
    report.save(output_dir)
    page = html.write([(report.flow.name, report)], output_dir / "report.html")
    if as_json:
        print_json(report.metrics.model_dump(mode="json"))
        return fail_on(report.metrics.verdict, failing)
    title = (
        f"{report.metrics.rows['edits']} edits of {report.metrics.rows['evaluated']} {split} rows, mode {mode.value}"
    )
    for line in verdict_lines(report.metrics.verdict):
        typer.echo(line)
    rows = [(row.name, row) for row in report.metrics.table]
    for table in (decisions_table(report.metrics.verdict), terminal(title, rows), details(rows)):
        console().print(table)
    for line in (*summary(report.metrics), *diagnoses(report.metrics)):
        typer.echo(line)
    bands = report.metrics.bands
    for table in (checks_table(report.metrics.checks), bands_table(report.metrics), stages_table(bands)):
        console().print(table)
    for line in stop_rules(bands):
        typer.echo(line)
    typer.echo(f"Metrics: {output_dir / 'transfer_metrics.json'}")
    typer.echo(f"Figures: {', '.join(str(path) for path in drawn)}")
    typer.echo(f"Report: {page}")
    fail_on(report.metrics.verdict, failing)
