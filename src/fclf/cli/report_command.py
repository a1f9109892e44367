"""`fclf report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fclf.cli.common import JsonOption, evaluation_folder, print_json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="An evaluation's folder, or a run folder that holds one.")],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page, instead of report.html there; figures go beside it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw report.html and the figures again, from what an evaluation has saved.

    Neither the checkpoint nor the data are read.

    Example: fclf report results/fclf_training --output smiling.html
    """
    from fclf.evaluation.results import Report
    from fclf.report import figures, html

    ask = f"Make one: fclf evaluate --checkpoint {run} --embeddings FILE --output-dir {run / 'evaluation'}"
    folder = evaluation_folder(run, ask)
    found = Report.load(folder)
    path = folder / "report.html" if output is None else output
    drawn = figures.draw(found, path.parent / "figures")
    page = html.write([(found.flow.name, found)], path)
    if as_json:
        print_json({"report": str(page), "figures": [str(figure) for figure in drawn]})
        return
    typer.echo(f"Verdict: {found.metrics.verdict.name}")
    typer.echo(f"Figures: {', '.join(str(figure) for figure in drawn)}")
    typer.echo(f"Report: {page}")
