"""`fclf demo`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import OverwriteOption, Shape, ThreadsOption, console, progress_bar, use_threads


def demo(
    output_dir: Annotated[Path, typer.Option(metavar="DIR", help="Gets the data, the runs and their figures.")] = Path(
        "results/demo"
    ),
    geometry: Annotated[Shape, typer.Option(help="Of the planted embeddings.")] = Shape.centred,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train and judge the specification's recipes and the edit on planted embeddings whose true edits are known.

    Example: fclf demo --output-dir results/demo --geometry cone
    """
    use_threads(threads)
    from fclf.demo import RECIPES, run_demo
    from fclf.report.table import summary, terminal
    from fclf.report.verdict import verdict_lines

    with ExitStack() as bars:
        result = run_demo(
            output_dir,
            geometry=geometry.value,
            seed=seed,
            overwrite=overwrite,
            on_start=lambda title, epochs: bars.enter_context(progress_bar(title, epochs)),
        )
    reports = list(result.reports.items())
    rows = [(RECIPES[name], report.flow) for name, report in reports]
    rows += [(row.name, row) for row in reports[0][1].metrics.table[1:]]
    console().print(terminal(f"Planted embeddings, {geometry.value}: every test row x every attribute", rows))
    for name, report in reports:
        for line in (*verdict_lines(report.metrics.verdict)[:2], *summary(report.metrics)):
            typer.echo(f"{RECIPES[name]}: {line}")
    angles = ", ".join(f"{RECIPES.get(name, name)} {angle:.1f}" for name, angle in result.angles.items())
    typer.echo(f"Mean angle to the embedding the edit should have given, in degrees: {angles}.")
    typer.echo(f"Figures: {', '.join(str(path) for path in result.figures)}")
    typer.echo(f"Report: {result.page}")
