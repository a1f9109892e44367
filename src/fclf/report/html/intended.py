"""What edits are for and how they fail, where a report or a served page is read."""

from __future__ import annotations

from collections.abc import Sequence

from fclf.evaluation.results import Report
from fclf.intended_use import NOTICE, SECTIONS
from fclf.report.html.markup import Html, join, section, tag

__all__ = ["intended", "listed"]


def intended(_: Sequence[tuple[str, Report]]) -> Html:
    """The part of a report; it is the same in each."""
    return section("Use and limits", "Intended use and limits", NOTICE, listed("h3"))


def listed(heading: str) -> Html:
    """The sections, with headings of a kind."""
    return join([tag(heading, title), tag("ul", [tag("li", line) for line in lines])] for title, lines in SECTIONS)
