"""The verdict: every rule applied to one row of the table, the first that calls decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fclf.evaluation.readings import CollapsedCombination, Decision, Verdict, VerdictName
from fclf.evaluation.results import Row
from fclf.evaluation.verdict.collapse import collapse_decisions, collapsed_combinations, describe
from fclf.evaluation.verdict.history import overtraining_decisions
from fclf.evaluation.verdict.movement import distribution_decisions, leakage_decisions, movement_decisions
from fclf.evaluation.verdict.references import References

__all__ = ["NEXT_STEPS", "NEXT_STEPS_FITTED", "ORDER", "judge_table"]

ORDER: tuple[VerdictName, ...] = (
    "COLLAPSED",
    "UNDER-MOVED",
    "LEAKING",
    "OFF-DISTRIBUTION",
    "OVERTRAINED",
    "HEALTHY",
)
"""The first that is called names the verdict, as each can be the reason of those after it: a collapse fools every
judge of movement, and edits that change what nobody asked for miss the real rows of their target."""

BASIC: tuple[VerdictName, ...] = ("COLLAPSED", "UNDER-MOVED")
"""Calls that explain those after them, so that only their own next steps are given."""

CHECK_LABELS = "Check that the labels belong to these rows (fclf inspect): shift x1 shows what a straight line reaches."

NEXT_STEPS: Mapping[VerdictName, tuple[str, ...]] = {
    "COLLAPSED": (
        "Anchor destinations to real rows, not to means of the flowed batch: --set loss.contrastive.prototypes=real.",
        "Train the rollout that is used: --set training.rollout_steps=10, as inference.num_flow_steps.",
        "A silhouette by target of .35 or more is no aim: real rows have about 0.",
    ),
    "UNDER-MOVED": (
        CHECK_LABELS,
        "Let it move: train longer, a higher training.learning_rate, or a lower loss.lambda_identity.",
    ),
    "OFF-DISTRIBUTION": (
        "Push less: --strength below 1 when editing, or a lower inference.step_size.",
        "Hold it to real rows: --set loss.contrastive.prototypes=real, or a higher loss.lambda_identity.",
    ),
    "LEAKING": (
        "See the leakage matrix for which attribute drags which.",
        "Compare with `quantile shift, half controlled` in the table, which holds the other attributes by half.",
    ),
    "OVERTRAINED": (
        "Use checkpoints/fclf_best.pt, or train for fewer epochs (training.num_epochs).",
        "More train rows, or a smaller field (model.hidden_dim).",
    ),
    "HEALTHY": ("Compare success and kept with the controls in the table: healthy is not yet better than a shift.",),
}
"""Of a field that is trained in epochs."""
NEXT_STEPS_FITTED: Mapping[VerdictName, tuple[str, ...]] = {
    **NEXT_STEPS,
    "COLLAPSED": (
        "Take a form that keeps the spread: --set model.start=transport --set model.residual_steps=0.",
        NEXT_STEPS["COLLAPSED"][-1],
    ),
    "UNDER-MOVED": (
        CHECK_LABELS,
        "Where a control moves them, take its form (--set model.start=shift, affine, quantile or transport), or edit "
        "with --strength 1.5; where none does, the embeddings hardly hold these attributes.",
    ),
    "OFF-DISTRIBUTION": (
        "Push less: --strength below 1 when editing, or --set model.keep=0, which puts the distribution first.",
        "Take a simpler form: --set model.residual_steps=0, or --set model.start=shift.",
    ),
    "LEAKING": (
        NEXT_STEPS["LEAKING"][0],
        "Hold the other attributes: --set model.keep=1 when training, or --keep 1 when editing.",
    ),
    "OVERTRAINED": (
        "Learn nothing: --set model.start=transport --set model.effect_steps=0 --set model.residual_steps=0.",
    ),
}
"""Of a field on the change, which is fitted and has no epochs."""


def judge_table(
    table: Sequence[Row],
    history: Sequence[Mapping[str, float | None]] = (),
    *,
    row: Row | None = None,
    fitted: bool = False,
) -> Verdict:
    """Judge the first row of a table, or another one, by the controls in the same table.

    Each rule compares measurements with thresholds that the controls set (do nothing, shift x1 and x1.5, held-out
    real rows); each margin is 1 where the control is and 0 at the threshold. COLLAPSED comes first, as collapsed
    edits succeed by every judge.

    Args:
        table: the evaluated flow first, and the controls.
        history: losses of every epoch, for overtraining.
        row: what to judge instead of the first row.
        fitted: a field on the change is judged, which other settings help than one that is trained in epochs.
    """
    row = table[0] if row is None else row
    steps = NEXT_STEPS_FITTED if fitted else NEXT_STEPS
    references = References.of(table)
    decisions: list[Decision] = []
    missing: list[str] = []
    for rule in (collapse_decisions, movement_decisions, distribution_decisions, leakage_decisions):
        made, left = rule(row, references)
        decisions += made
        missing += left
    made, left = overtraining_decisions(history)
    decisions, missing = [*decisions, *made], [*missing, *left]
    called = [verdict for verdict in ORDER if any(d.calls == verdict and d.margin < 0 for d in decisions)]
    name: VerdictName = called[0] if called else "HEALTHY"
    lost = collapsed_combinations(row, references)
    return Verdict(
        name=name,
        margin=_margin(name, decisions),
        reasons=_reasons(name, decisions, lost),
        decisions=decisions,
        not_measured=missing,
        collapsed=lost,
        next_steps=[step for verdict in called[: 1 if name in BASIC else None] or [name] for step in steps[verdict]],
    )


def _margin(name: VerdictName, decisions: Sequence[Decision]) -> float | None:
    """The least change, in margins, that would change the name: to undo its own call, or to call an earlier one."""
    earlier = [d.margin for d in decisions if ORDER.index(d.calls) < ORDER.index(name)]
    own = [-d.margin for d in decisions if d.calls == name]
    return min([*earlier, max(own)] if own else earlier, default=None)


def _reasons(name: VerdictName, decisions: Sequence[Decision], lost: Sequence[CollapsedCombination]) -> list[str]:
    called = [d for d in decisions if d.margin < 0]
    if not called:
        closest = sorted(decisions, key=lambda d: d.margin)[:2]
        return ["No measurement is beyond its threshold; closest: " + "; ".join(_text(d) for d in closest) + "."]
    found = [f"{_text(d)}." for d in called if d.calls == name]
    if lost:
        found.append("Collapsed: " + "; ".join(f"{describe(c)} (keeps {c.variance_ratio:.1%})" for c in lost) + ".")
    others = [verdict for verdict in ORDER if verdict != name and any(d.calls == verdict for d in called)]
    found += [f"Also {v}: " + "; ".join(_text(d) for d in called if d.calls == v) + "." for v in others]
    return found


def _text(d: Decision) -> str:
    return f"{d.name} {d.value:.3g} against a threshold of {d.threshold:.3g} (reference {d.reference:.3g})"
