"""Labels that say nothing: every measure of success is at chance, and far above it where the same labels say something.

Shuffling deals whole rows of labels out anew, to train, judge and test rows alike, so frequencies, correlations and
splits stay and nothing else does. Bands are of the mean of three shuffles.
"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fclf.closed.linear import DoNothing, Shift, least_squares_effects
from fclf.closed.probe import FINE_PENALTY, LinearClassifier
from fclf.closed.transport import ConditionalTransport
from fclf.data.planted import planted
from fclf.evaluation.bench import Bench
from fclf.evaluation.judges import Judges
from fclf.evaluation.verdict import judge_table

CHANCE = 0.5
BAND = 0.06
"""Half of the width: of 400 test rows a balanced share of a rare value alone deviates by .05."""


def energies(row):
    """Mean energy distance to real rows of the target, before and after."""
    weight = np.array([g.edits for g in row.groups])
    both = np.array([[g.energy_source, g.energy_edited] for g in row.groups])
    return weight @ both / weight.sum()


def own_and_others(row):
    """Mean shift of the edited attribute's logit and mean absolute one of the others."""
    effects = np.array(row.leakage)
    k = len(effects)
    return np.trace(effects) / k, np.abs(effects - np.diag(np.diag(effects))).sum() / (k * (k - 1))


def measured(data):
    """All that an evaluation calls success, of the edit that is used, beside doing nothing and real rows."""
    train, test = data.part("train"), data.part("test")
    z, y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
    bench = Bench.build(test, Judges.fit(data.part("judge")), "each", 0)
    effects = least_squares_effects(z, y)[1]
    forms = {
        "flow": ConditionalTransport.fit(z, y, train.identities),
        "do nothing": DoNothing(),
        "shift x1": Shift(effects),
        "shift x1.5": Shift(effects, 1.5),
    }
    plan = bench.plan
    rows = {n: bench.measure(n, form(bench.sources, plan.original, plan.target)) for n, form in forms.items()}
    rows["held-out real"] = real = bench.measure_real()
    flow, still = rows["flow"], rows["do nothing"]
    probes = LinearClassifier.fit(z, y, FINE_PENALTY).logits(bench.z)
    (before, after), (own, others) = energies(flow), own_and_others(flow)
    values = {
        "probes": np.mean([roc_auc_score(labels, read) for labels, read in zip(bench.y.T, probes.T, strict=True)]),
        "silhouette": flow.silhouettes["flowed_by_target"] - still.silhouettes["flowed_by_target"],
        "mAP": flow.retrieval_map - still.retrieval_map,
        "mAP of pictures": real.retrieval_map - still.retrieval_map,
        "gap": before,
        "gap closed": before - after,
        "own logit": own,
        "others": others,
    }
    for judge in ("linear", "mlp"):
        mine, theirs, seen = (getattr(row, judge) for row in (flow, still, real))
        values |= {
            f"{judge}: real": seen.success,
            f"{judge}: success": mine.success,
            f"{judge}: ahead": mine.success - theirs.success,
            f"{judge}: lost": 1 - mine.kept,
        }
    return values, judge_table(list(rows.values())).name


@pytest.fixture(scope="module")
def data():
    return planted(2000, 16, seed=1)[0].select(("Smiling", "Young", "Male"))


@pytest.fixture(scope="module")
def true(data):
    return measured(data)


@pytest.fixture(scope="module")
def shuffled(data):
    y = np.asarray(data.attributes)
    found = [measured(replace(data, attributes=y[np.random.default_rng(s).permutation(len(y))])) for s in range(3)]
    return {name: np.mean([values[name] for values, _ in found]) for name in found[0][0]}, {name for _, name in found}


@pytest.mark.parametrize("name", ["probes", *(f"{j}: {m}" for j in ("linear", "mlp") for m in ("real", "success"))])
def test_balanced_shares_are_a_half_and_not_otherwise(true, shuffled, name):
    assert abs(shuffled[0][name] - CHANCE) < BAND
    assert true[0][name] > 0.8


@pytest.mark.parametrize(
    ("name", "band", "far"),
    [
        ("linear: ahead", BAND, 0.6),
        ("mlp: ahead", BAND, 0.6),
        ("mAP", 0.05, 0.3),
        ("silhouette", 0.03, 0.08),
        ("own logit", 0.1, 1.0),
        ("gap", 0.03, 0.2),
        ("gap closed", 0.03, 0.2),
    ],
)
def test_nothing_is_gained_over_doing_nothing_and_much_otherwise(true, shuffled, name, band, far):
    assert abs(shuffled[0][name]) < band
    assert true[0][name] > far


def test_other_pictures_of_a_person_are_found_no_better_than_by_doing_nothing(true, shuffled):
    assert shuffled[0]["mAP of pictures"] < 0.05
    assert true[0]["mAP of pictures"] > 0.3


def test_what_was_asked_changes_no_more_than_what_was_to_be_kept(true, shuffled):
    """Doing nothing keeps all, so kept has no chance level of its own: it is read beside what was asked for."""
    for values, told in ((shuffled[0], False), (true[0], True)):
        assert (values["own logit"] > 3 * values["others"]) == told
        for judge in ("linear", "mlp"):
            assert (values[f"{judge}: ahead"] > 3 * values[f"{judge}: lost"]) == told


def test_the_verdict_is_never_healthy(true, shuffled):
    assert shuffled[1] == {"UNDER-MOVED"}
    assert true[1] == "HEALTHY"
