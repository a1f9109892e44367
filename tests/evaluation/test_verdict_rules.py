"""Each rule of the verdict flags what it must and passes what it must, on tables made by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclf.evaluation.results import GroupScores, JudgeScores, Row
from fclf.evaluation.verdict import collapse_signs, judge_table
from fclf.evaluation.verdict.collapse import KEPT, group_margins
from fclf.evaluation.verdict.history import overtraining_decisions
from fclf.evaluation.verdict.references import References, strengths
from fclf.evaluation.verdict.rules import NEXT_STEPS, ORDER

NAMES = ("a", "b")


def scores(success, kept):
    return JudgeScores(success=success, worst=success, worst_cell="a=1", kept=kept, cells={"a=1": success})


def group(name="a", to=1, ratio=1.0, kept=None, edits=200, real=200):
    return GroupScores(
        change=[name],
        target={"a": to, "b": 0} if name == "a" else {"a": 0, "b": to},
        edits=edits,
        real=real,
        energy_source=0.5,
        energy_edited=0.1,
        variance_ratio=ratio,
        spread_kept=ratio if kept is None else kept,
        recall=0.9,
    )


def row(name="flow", success=0.8, kept=0.95, gap=0.85, recall=0.9, ratios=(1.0, 1.0), strength=1.0, **more):
    groups = [group(n, ratio=r) for n, r in zip(NAMES, ratios, strict=True)]
    own, leak = 1.5 * strength, 0.3 * strength
    values = {
        "linear": scores(success, kept),
        "mlp": scores(success, kept),
        "rank1": 1.0,
        "gap_closed": gap,
        "variance_ratio": sum(ratios) / len(ratios),
        "smallest_variance_ratio": min(ratios),
        "spread_kept": sum(ratios) / len(ratios),
        "recall": recall,
        "movement": 0.5,
        "step_distance": None,
        "silhouettes": {},
        "purity": {},
        "distinct_destinations": 1000,
        "sampled": 1000,
        "collapsed": [],
        "groups": groups,
        "leakage": [[own, leak], [leak, own]],
    }
    return Row(name=name, **(values | more))


CONTROLS = [
    row("do nothing", success=0.1, kept=1.0, gap=0.0, recall=0.85, strength=0.0, distinct_destinations=500),
    row("shift x1"),
    row("shift x1.5", success=0.9, kept=0.91, gap=0.7, recall=0.8, ratios=(0.95, 0.95), strength=1.5),
    row("held-out real", success=0.9, kept=None, gap=1.01, recall=0.95, ratios=(1.02, 0.98), leakage=None),
]
CASES = {
    "HEALTHY": row(),
    "COLLAPSED": row(ratios=(0.5, 0.5)),
    "UNDER-MOVED": row(success=0.2, gap=0.05, strength=0.1),
    "OFF-DISTRIBUTION": row(success=0.95, kept=0.87, gap=0.2, recall=0.5, ratios=(0.82, 0.82), strength=2.0),
    "LEAKING": row(kept=0.85),
}
GOOD = [{"epoch": float(t), "loss": 1 / t, "val_loss": 0.1 + 1 / t} for t in range(1, 21)]
OVERTRAINED = [r | {"val_loss": r["val_loss"] + 0.05 * max(0.0, r["epoch"] - 8)} for r in GOOD]


def verdict(flow, history=()):
    return judge_table([flow, *CONTROLS], history)


@pytest.mark.parametrize("name", CASES)
def test_every_verdict_is_given_to_its_case_with_a_margin(name):
    found = verdict(CASES[name])
    assert found.name == name
    assert found.margin > 0.3
    assert set(NEXT_STEPS[name]) <= set(found.next_steps)
    assert found.reasons


BAD = {
    "spread": row(ratios=(0.4, 0.4)),
    "spread of the worst combination": row(ratios=(1.0, 0.1)),
    "distinct destinations": row(distinct_destinations=30),
    "success (L)": row(linear=scores(0.2, 0.95)),
    "success (M)": row(mlp=scores(0.2, 0.95)),
    "gap closed": row(gap=0.3),
    "recall": row(recall=0.5),
    "excess of spread": row(ratios=(2.0, 2.0)),
    "kept (L)": row(linear=scores(0.8, 0.8)),
    "kept (M)": row(mlp=scores(0.8, 0.8)),
    "leakage between attributes": row(leakage=[[1.5, 0.9], [0.9, 1.5]]),
    "validation loss given back": row(),
}


@pytest.mark.parametrize("name", BAD)
def test_every_decision_calls_what_is_bad_and_passes_what_is_good(name):
    """One measurement at a time, so that no other decision is what calls; a decision without a case here fails."""
    history = OVERTRAINED if name == "validation loss given back" else GOOD
    good = {d.name: d for d in verdict(row(), GOOD).decisions}
    bad = {d.name: d for d in verdict(BAD[name], history).decisions}
    assert good.keys() == bad.keys() == BAD.keys()
    assert good[name].margin > 0.3
    assert bad[name].margin < -0.1
    assert bad[name].calls == good[name].calls != "HEALTHY"
    assert verdict(row(), GOOD).name == "HEALTHY" != verdict(BAD[name], history).name


@pytest.mark.parametrize("name", ["do nothing", "shift x1", "shift x1.5", "held-out real"])
def test_controls_are_judged_like_flows(name):
    control = next(c for c in CONTROLS if c.name == name)
    assert verdict(control).name == ("UNDER-MOVED" if name == "do nothing" else "HEALTHY")


def test_margins_are_one_at_the_control_and_zero_at_the_threshold():
    found = {d.name: d for d in verdict(row()).decisions}
    for d in found.values():
        if d.name not in ("distinct destinations",):  # the sources' five edits end at five points
            assert d.margin == pytest.approx(1.0, abs=1e-9), d.name
    at = verdict(row(success=found["success (L)"].threshold, gap=found["gap closed"].threshold))
    for d in at.decisions:
        if d.name in ("success (L)", "gap closed"):
            assert d.margin == pytest.approx(0.0, abs=1e-9), d.name


def test_collapse_comes_first_and_the_rest_is_listed():
    everything = verdict(row(ratios=(0.1, 0.1), success=0.1, kept=0.5, gap=-5.0, recall=0.0))
    assert everything.name == "COLLAPSED"
    text = " ".join(everything.reasons)
    assert all(name in text for name in ("UNDER-MOVED", "LEAKING", "OFF-DISTRIBUTION"))
    assert everything.next_steps == list(NEXT_STEPS["COLLAPSED"])
    assert [ORDER.index(n) for n in ("COLLAPSED", "UNDER-MOVED", "LEAKING")] == [0, 1, 2]


def test_one_collapsed_combination_is_found_and_named():
    found = verdict(row(ratios=(1.0, 0.1)))
    assert found.name == "COLLAPSED"
    assert [(c.change, c.target) for c in found.collapsed] == [(["b"], {"a": 0, "b": 1})]
    assert "b to 1, ending at b" in " ".join(found.reasons)
    assert "a to 1" not in " ".join(found.reasons)


def test_narrow_sources_and_narrow_targets_are_no_collapse():
    for ratio, kept in ((0.2, 1.0), (1.0, 0.2)):
        flow = row().model_copy(update={"groups": [group(n, ratio=ratio, kept=kept) for n in NAMES]})
        assert verdict(flow).name == "HEALTHY"


def test_what_a_shift_of_the_same_strength_loses_is_no_collapse_but_without_the_strength_it_is():
    kept = 0.95 ** (8 / 3) * 0.75
    assert verdict(row(ratios=(kept, kept), strength=2.0)).name != "COLLAPSED"
    assert verdict(row(ratios=(kept, kept), strength=1.0)).name == "COLLAPSED"


def test_few_rows_need_a_larger_loss():
    noisy = row("held-out real", leakage=None, kept=None)
    noisy = noisy.model_copy(
        update={
            "groups": [
                group(n, ratio=math.exp(s), edits=100, real=100) for n, s in zip(NAMES, (0.1, -0.1), strict=True)
            ]
        }
    )
    references = References.of([*CONTROLS[:3], noisy])

    def threshold(n):
        few = row().model_copy(update={"groups": [group(edits=n, real=n)]})
        return group_margins(few, references)[0].threshold

    assert threshold(10) < threshold(40) < threshold(10_000) == pytest.approx(KEPT)


def test_few_destinations_are_a_collapse_even_with_all_of_the_variance():
    few = row(distinct_destinations=30)
    assert verdict(few).name == "COLLAPSED"
    assert collapse_signs(few, [few, *CONTROLS]) == ["1000 edits end at 30 distinct points"]
    assert collapse_signs(row(), [row(), *CONTROLS]) == []


@given(share=st.floats(0.01, 0.5), other=st.floats(0.9, 1.1))
def test_losing_half_or_more_is_always_called_and_nearly_nothing_never(share, other):
    assert verdict(row(ratios=(share, other))).name == "COLLAPSED"
    assert verdict(row(ratios=(other, other))).name == "HEALTHY"


def test_edits_far_wider_than_sources_and_real_rows_are_off_distribution():
    assert verdict(row(ratios=(2.0, 2.0))).name == "OFF-DISTRIBUTION"


def test_strength_is_read_off_the_edited_attributes_own_logit():
    references = References.of(CONTROLS)
    for strength in (0.0, 0.5, 1.0, 1.3, 2.0):
        assert strengths(row(strength=strength), references) == pytest.approx([strength, strength])
    assert strengths(row(strength=9.0), references) == [2.0, 2.0]


def test_without_controls_only_what_can_be_known_is_decided():
    alone = judge_table([row()])
    assert alone.name == "HEALTHY"
    assert {"success (L)", "gap closed", "kept (M)", "distinct destinations"} <= set(alone.not_measured)
    assert judge_table([row(ratios=(0.1, 0.1))]).name == "COLLAPSED"


def test_overtraining_is_read_from_the_losses():
    assert verdict(row(), GOOD).name == "HEALTHY"
    found = verdict(row(), OVERTRAINED)
    assert found.name == "OVERTRAINED"
    assert "fclf_best" in " ".join(found.next_steps)
    assert verdict(CASES["COLLAPSED"], OVERTRAINED).name == "COLLAPSED"


def test_an_unlucky_step_noise_and_a_rise_of_both_losses_are_no_overtraining():
    unlucky = [dict(r) for r in GOOD]
    unlucky[-1]["val_loss"] += 1.0
    noisy = [r | {"val_loss": r["val_loss"] + 0.2 * (-1) ** int(r["epoch"])} for r in GOOD]
    both = [r | {k: r[k] + 0.05 * max(0.0, r["epoch"] - 8) for k in ("loss", "val_loss")} for r in GOOD]
    for history in (unlucky, noisy, both):
        assert verdict(row(), history).name == "HEALTHY"


@pytest.mark.parametrize("history", [[], GOOD[:3], [{"loss": 1.0, "val_loss": None}] * 9, GOOD[::-1]])
def test_a_history_without_a_trend_decides_nothing(history):
    decisions, missing = overtraining_decisions(history)
    assert decisions == []
    assert missing == ["validation loss given back"]
