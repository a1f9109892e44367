"""`fclf demo`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import OverwriteOption, Shape, ThreadsOption, console, progress_bar, use_threads
from fclf.errors import InputError

FEWEST = 1000


def demo(
    output_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets the page, the embeddings, the runs and their figures.")
    ] = Path("results/demo"),
    portraits: Annotated[int | None, typer.Option(metavar="N", help="Portraits to draw; 10,000 if not given.")] = None,
    geometry: Annotated[
        Shape | None, typer.Option(help="Plant embeddings of this geometry instead of drawing portraits.")
    ] = None,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the people and of training.")] = 0,
) -> None:
    """Train and judge the cure and the problem where every true edit is known, and show them on one page.

    Example: fclf demo --output-dir results/demo --threads 2
    """
    if portraits is not None and geometry is not None:
        raise InputError("--portraits and --geometry: planted embeddings have no portraits; leave one of them out.")
    if portraits is not None and portraits < FEWEST:
        raise InputError(f"--portraits {portraits}: too few to train and judge on; draw at least {FEWEST}.")
    use_threads(threads)
    from fclf.demo import PORTRAITS, planted_world, portrait_world, run_demo
    from fclf.report.counterfactual import counterfactual_table
    from fclf.report.table import summary, terminal
    from fclf.report.verdict import verdict_lines

    if geometry is None:
        world = portrait_world(portraits or PORTRAITS, seed=seed)
    else:
        world = planted_world(geometry.value, seed=seed)
    with ExitStack() as bars:
        result = run_demo(
            world,
            output_dir,
            seed=seed,
            overwrite=overwrite,
            on_start=lambda title, epochs: bars.enter_context(progress_bar(title, epochs)),
        )
    rows = [(name, report.flow) for name, report in result.reports.items()]
    first = next(iter(result.reports.values()))
    rows += [(row.name, row) for row in first.metrics.table[1:]]
    what = f"{len(world.data):,} portraits" if geometry is None else f"Planted embeddings, {geometry.value}"
    console().print(terminal(f"{what}: every test row x every attribute", rows))
    if (table := counterfactual_table(rows)) is not None:
        console().print(table)
    for name, report in result.reports.items():
        for line in (*verdict_lines(report.metrics.verdict)[:2], *summary(report.metrics)):
            typer.echo(f"{name}: {line}")
    typer.echo(f"Figures: {', '.join(str(path) for path in result.figures)}")
    typer.echo(f"Report: {result.page}")
