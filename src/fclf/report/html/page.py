"""The whole page: one file that loads nothing, and reads without a script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from fclf.evaluation.results import Report
from fclf.files import atomic_write
from fclf.report.html.background import provenance, specification
from fclf.report.html.course import arrival, losses
from fclf.report.html.flipbooks import flipbooks
from fclf.report.html.front import front
from fclf.report.html.intended import intended
from fclf.report.html.maps import destinations, trajectories
from fclf.report.html.markup import Html, tag
from fclf.report.html.matrices import leakage, spread
from fclf.report.html.tables import tables
from fclf.report.html.truth import truth
from fclf.report.html.verdict import verdicts

__all__ = ["page", "write"]

PARTS = (
    verdicts,
    flipbooks,
    truth,
    tables,
    front,
    leakage,
    spread,
    trajectories,
    destinations,
    losses,
    arrival,
    specification,
    intended,
    provenance,
)
LINK = re.compile(r'<section id="([^"]+)"[^>]* data-link="([^"]+)">')


def page(reports: Sequence[tuple[str, Report]]) -> str:
    """One self-contained page of the named reports; the first is the main one, the others are put beside it.

    It reads what the reports hold and computes nothing anew. The same reports give the same bytes.

    Args:
        reports: name and report; at least one.

    Raises:
        ValueError: if there is none.
    """
    if not reports:
        raise ValueError("no reports were given; a page needs at least one")
    parts = [part for draw in PARTS if (part := draw(reports)) is not None]
    title = "fclf: " + ", ".join(f"{name} {report.metrics.verdict.name}" for name, report in reports)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", _asset("page.css")),
    )
    body = tag(
        "body",
        tag("a", "To the verdict", href="#verdict", class_="skip"),
        _header(reports),
        _contents(parts),
        tag("main", parts),
        tag("script", _asset("zoom.js")),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def write(reports: Sequence[tuple[str, Report]], path: str | Path) -> Path:
    """Write the page, whole or not at all, and return where it is."""
    path = Path(path)
    text = page(reports)
    with atomic_write(path, "w") as file:
        file.write(text)
    return path


def _header(reports: Sequence[tuple[str, Report]]) -> Html:
    metrics = reports[0][1].metrics
    heading = "Report: " + " beside ".join(name for name, _ in reports)
    said = (
        f"{metrics.rows['edits']:,} edits of {metrics.rows['evaluated']:,} {metrics.split} rows, "
        f"{len(metrics.attributes)} attribute{'s' if len(metrics.attributes) > 1 else ''}; judged by classifiers that "
        "saw neither these rows nor anything that training read."
    )
    return tag("header", tag("p", "fclf", class_="brand"), tag("h1", heading), tag("p", said))


def _contents(parts: Sequence[Html]) -> Html:
    """Links to the parts."""
    found = [match for part in parts for match in LINK.findall(part)]
    links = (tag("li", tag("a", Html(title), href=f"#{name}")) for name, title in found)
    return tag("nav", tag("ul", links), aria_label="Contents")


def _asset(name: str) -> Html:
    """A file beside this module; it is ours, and holds nothing that would end its element."""
    return Html(files("fclf.report.html").joinpath(name).read_text(encoding="utf-8"))
