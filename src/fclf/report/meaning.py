"""A verdict in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fclf.evaluation.readings import Verdict, VerdictName

__all__ = ["CLAIMS", "MEANING", "meaning"]

MEANING: Mapping[VerdictName, str] = {
    "COLLAPSED": "Different people are sent to the same place. The edits have lost what made each one different, so "
    "a high success means nothing here.",
    "UNDER-MOVED": "The edits hardly go anywhere: too few of them show the attribute that was asked for.",
    "LEAKING": "The edits change what nobody asked for: other attributes change with the edited one, more than "
    "they do under a straight shift.",
    "OFF-DISTRIBUTION": "The edits end where no real embedding is, or reach only a part of where real ones are.",
    "OVERTRAINED": "Training went on past the best epoch: the loss on rows that it did not read has risen again.",
}
"""Of every verdict but HEALTHY, whose meaning depends on what was measured."""
CLAIMS: Mapping[str, frozenset[str]] = {
    "show what was asked for": frozenset({"success (L)", "success (M)"}),
    "stay different from one another": frozenset({"spread"}),
    "keep the rest": frozenset({"kept (L)", "kept (M)"}),
    "end among real embeddings": frozenset({"gap closed", "recall"}),
}
"""What HEALTHY says of the edits, and the decisions without which it cannot say so."""


def meaning(verdict: Verdict) -> str:
    """A verdict in plain words; HEALTHY claims only what was measured, and with many attributes the gap is not."""
    if verdict.name != "HEALTHY":
        return MEANING[verdict.name]
    missing = frozenset(verdict.not_measured)
    known = [claim for claim, measures in CLAIMS.items() if not measures & missing]
    unknown = [claim for claim in CLAIMS if claim not in known]
    said = [f"The edits {_listed(known)}."] if known else []
    said.append("No measurement is beyond its threshold.")
    if unknown:
        said.append(f"Not known, because not measured: whether they {_listed(unknown)}.")
    return " ".join(said)


def _listed(claims: Sequence[str]) -> str:
    *others, last = claims
    return f"{', '.join(others)} and {last}" if others else last
