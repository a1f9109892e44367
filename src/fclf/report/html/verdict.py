"""The verdict in plain words, first on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fclf.evaluation.readings import CollapsedCombination, Verdict
from fclf.evaluation.results import Report
from fclf.evaluation.verdict.collapse import describe
from fclf.report.html.markup import Child, Html, from_rich, join, more, section, table, tag
from fclf.report.meaning import meaning
from fclf.report.verdict import decisions_table

__all__ = ["verdicts"]

CODE = re.compile(r"(`[^`]+`|--set \S+=[^\s;]*[^\s;.,]|\(fclf \w+\))")


def verdicts(reports: Sequence[tuple[str, Report]]) -> Html:
    """A card for each report, and below them what decided."""
    several = len(reports) > 1
    cards = (_card(name if several else None, report.metrics.verdict) for name, report in reports)
    lead = (
        "One word for what happens to the edits, why, and what to try next. Thresholds come from controls on the same "
        "data. The margin is how far the word is from turning into another: 0 is at a threshold, and 1 is as far from "
        "it as the control that it comes from."
    )
    below = [_decisions(name if several else None, report, unfolded=not several) for name, report in reports]
    return section("Verdict", "Verdict", lead, tag("div", cards, class_="cards"), below)


def _card(name: str | None, verdict: Verdict) -> Html:
    margin = None if verdict.margin is None else tag("span", f"margin {verdict.margin:.2f}", class_="margin")
    listed = [reason for reason in verdict.reasons if not (verdict.collapsed and reason.startswith("Collapsed: "))]
    missing = f"Not measured: {', '.join(verdict.not_measured)}." if verdict.not_measured else None
    return tag(
        "article",
        None if name is None else tag("h3", name),
        tag("p", tag("strong", verdict.name, class_="word"), " ", margin),
        tag("p", meaning(verdict)),
        tag("p", "Why", class_="label"),
        tag("ul", (tag("li", reason) for reason in listed)),
        _collapsed(verdict.collapsed) if verdict.collapsed else None,
        None if missing is None else tag("p", missing, class_="note"),
        tag("p", "What to try next", class_="label"),
        tag("ul", (tag("li", _with_code(step)) for step in verdict.next_steps)),
        class_=f"card {verdict.name.lower()}",
    )


def _collapsed(lost: Sequence[CollapsedCombination]) -> Html:
    rows = [
        (describe(c), str(c.edits), f"{c.variance_ratio:.1%}", f"{c.spread_kept:.1%}", f"{c.recall:.1%}") for c in lost
    ]
    head = ("edits", "number", "variance of real rows", "of their sources", "real rows reached")
    count = f"{len(lost)} combination{'s' if len(lost) > 1 else ''} of attributes collapsed"
    return more(f"{count}: which, and what each keeps", table(count, head, rows), titled=True)


def _decisions(name: str | None, report: Report, *, unfolded: bool) -> Html:
    title = "What decides the verdict" if name is None else f"What decides the verdict of {name}"
    return more(title, from_rich(decisions_table(report.metrics.verdict)), unfolded=unfolded, titled=True)


def _with_code(text: str) -> Html:
    parts: list[Child] = [
        tag("code", part.strip("`")) if CODE.fullmatch(part) else part for part in CODE.split(text) if part
    ]
    return join(parts)
