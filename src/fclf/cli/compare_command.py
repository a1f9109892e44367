"""`fclf compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fclf.cli.common import JsonOption, console, evaluation_folder, note, print_json
from fclf.errors import InputError

if TYPE_CHECKING:
    from fclf.evaluation.results import Report


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="A B ...", help="Folders of evaluations, or run folders.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = Path("compare.html"),
    as_json: JsonOption = False,
) -> None:
    """Put evaluated flows side by side: verdicts, one table, flipbooks, maps with the same limits.

    Differences to the first have intervals where all were evaluated on the same edits, as then most of the noise is
    the same in both.

    Example: fclf compare results/edit results/fclf_training --output compare.html
    """
    from fclf.evaluation.results import Report
    from fclf.report import html
    from fclf.report.comparison import difference_table, differing
    from fclf.report.table import terminal

    if len(runs) < 2:
        raise InputError(f"One folder cannot be compared; name two or more, or draw it alone: fclf report {runs[0]}")
    folders = [evaluation_folder(run, f"Evaluate it first: fclf evaluate --checkpoint {run} ...") for run in runs]
    reports = list(zip(names(folders), [Report.load(folder) for folder in folders], strict=True))
    first, main = reports[0]
    alike = [(name, report.flow) for name, report in reports if not differing(main.metrics, report.metrics)]
    for name, report in reports[1:]:
        if apart := differing(main.metrics, report.metrics):
            note(
                f"Warning: {name} was evaluated with other {', '.join(apart)} than {first}, so the two cannot be "
                "compared number by number: read each against its own controls."
            )
    page = html.write(reports, output)
    if as_json:
        print_json({"report": str(page), "flows": [_content(name, report, main) for name, report in reports]})
        return
    for name, report in reports:
        typer.echo(f"{name}: {report.metrics.verdict.name}. {report.metrics.verdict.reasons[0]}")
    console().print(terminal("Flows", [(name, report.flow) for name, report in reports]))
    if len(alike) > 1:
        console().print(difference_table(alike))
    typer.echo(f"Report: {page}")


def names(folders: Sequence[Path]) -> list[str]:
    """The shortest end of each path, without `evaluation`, that tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    parts = [(path.parent if path.name == "evaluation" else path).parts for path in paths]
    if len(set(parts)) < len(parts):
        raise InputError("The same evaluation is named twice; name different ones.")
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def _content(name: str, report: Report, main: Report) -> dict[str, Any]:
    from fclf.report.comparison import differences, differing

    apart = differing(main.metrics, report.metrics)
    ahead = {} if apart or report is main else differences(report.flow, main.flow)
    return {
        "name": name,
        "verdict": report.metrics.verdict.name,
        "flow": report.flow.model_dump(mode="json"),
        "differs_from_first_in": apart,
        "ahead_of_first": {measure: found._asdict() for measure, found in ahead.items()},
    }
