import numpy as np
import pytest
from scipy.stats import binom

from fclf.closed.linear import TargetMean, project
from fclf.closed.means import LabelMeans
from fclf.closed.state import support_from_arrays, to_arrays
from fclf.closed.support import FEW_HELD_OUT, LEVEL, MAX_HELD_OUT, RANK, Support
from fclf.closed.transport import ConditionalTransport
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.edits import plan_edits
from fclf.field import ChangeField
from fclf.flow import Flow

SURE = 1e-4
"""Chance that a test of a share would fail by bad luck, were the seeds new."""


def arrays(data):
    return data.embeddings.astype(np.float64), data.attributes


@pytest.fixture(scope="module")
def data():
    return planted(9000, 48, geometry="middle")[0]


@pytest.fixture(scope="module")
def parts(data):
    return {name: arrays(data.part(name)) for name in ("train", "val", "test")}


@pytest.fixture(scope="module")
def support(data, parts):
    return Support.fit(*parts["train"], *parts["val"], data.part("train").identities)


@pytest.fixture(scope="module")
def flow(parts):
    form = ConditionalTransport.fit(*parts["train"])
    field = ChangeField(form)
    return Flow(field, condition_of=field.condition)


@pytest.fixture(scope="module")
def edits(parts, flow):
    """Test rows with Smiling turned over, by strength, and their targets."""
    z, y = parts["test"]
    target = y.copy()
    target[:, 0] = 1 - y[:, 0]

    def edited(strength):
        return flow.edit(*flow.inputs(z, y, target), strength).double().numpy()

    return edited, target


def accepted(support, z, y):
    return float((support.score(z, y) >= LEVEL).mean())


def test_scores_of_new_real_rows_are_uniform(support, parts):
    """Both ways: neither more nor fewer of them are below a level than chance and the held-out rows allow."""
    scores = support.score(*parts["test"])
    n, m = len(scores), len(support.held_out)
    for level in (0.01, 0.05, 0.2, 0.5, 0.8):
        low = int((scores <= level).sum())
        # the level itself is a quantile of m rows, so the share below it varies as that of n and of m rows
        slack = 3.9 * np.sqrt(level * (1 - level) * (1 / n + 1 / m))
        assert abs(low / n - level) < slack + 1 / m, level


def test_few_of_the_healthy_edits_are_refused_and_most_overshoots_are(support, edits):
    edited, target = edits
    assert accepted(support, edited(1.0), target) > 0.85
    assert accepted(support, edited(4.0), target) < 0.35  # .05 to .09 on CelebA; in 48 dimensions less is odd


def test_random_directions_other_encoders_and_averages_are_refused(support, parts, edits):
    z, y = parts["test"]
    rng = np.random.default_rng(0)
    other, _ = planted(3000, 48, geometry="cone", seed=5)
    turn = np.linalg.qr(rng.normal(size=(48, 48)))[0]
    strange = {
        "random": (project(rng.normal(size=z.shape)), y),
        "another encoder": arrays(other),
        "turned": (z @ turn, y),
        "target mean": (TargetMean.fit(*parts["train"])(z, y, edits[1]), edits[1]),
    }
    for name, (rows, labels) in strange.items():
        assert accepted(support, rows, labels) < 0.02, name


def test_a_collapse_is_too_near_and_not_too_far(support, parts):
    """What the two sides are for: farther than nobody, and yet nobody real is so near."""
    z, y = parts["test"]
    ends = TargetMean.fit(*parts["train"])(z, y, y)
    logs = (support._log_distances(ends, y) - support.centre) / support.deviation
    assert np.mean(logs[:, 1] < -3) > 0.95
    assert np.mean(logs.max(axis=1) < support.held_out[-1]) > 0.95
    assert accepted(support, ends, y) < 0.02


def test_rows_with_labels_of_others_are_noticed_in_the_discriminants(support, parts):
    z, y = parts["test"]
    wrong = 1 - y
    assert accepted(support, z, y) > 0.97
    assert accepted(support, z, wrong) < 0.6
    assert np.mean(support._log_distances(z, wrong)[:, 0] - support._log_distances(z, y)[:, 0]) > 1


def test_distances_are_those_of_a_covariance_that_is_written_out(support, parts):
    """d is below the rank, so nothing is approximated: naive algebra in float64."""
    z, y = (part[:50] for part in parts["test"])
    assert z.shape[1] <= RANK
    precision = np.eye(48) / support.sphere + (support.axes * support.gains) @ support.axes.T
    means = support.means
    rest = (z - means.features(y) @ means.coefficients) / np.exp(means.features(y) @ means.log_variance / 2)[:, None]
    covariance = np.linalg.inv(precision)
    effects = means.coefficients[1:6]
    root = np.linalg.cholesky(precision)  # any root spans the same distances
    white, span = rest @ root, np.linalg.qr((effects @ root).T)[0]
    logs = support._log_distances(z, y)
    np.testing.assert_allclose(logs[:, 0], np.log(((white @ span) ** 2).sum(axis=1)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logs[:, 1], np.log((white**2).sum(axis=1)), rtol=1e-3, atol=1e-3)
    assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.mark.parametrize("rank", [4, 16])
def test_axes_that_are_not_kept_count_as_a_sphere(parts, rank, monkeypatch):
    monkeypatch.setattr("fclf.closed.support.RANK", rank)
    support = Support.fit(*parts["train"], *parts["val"])
    assert support.axes.shape == (48, rank)
    assert (support.gains <= 0).all()
    assert accepted(support, *parts["test"]) > 0.97
    random = project(np.random.default_rng(0).normal(size=(200, 48)))
    assert accepted(support, random, parts["test"][1][:200]) < 0.1


def test_train_rows_are_held_out_where_val_rows_are_few(data, parts):
    z, y = (part[:300] for part in parts["train"])
    val = tuple(part[:30] for part in parts["val"])
    support = Support.fit(z, y, *val, data.part("train").identities[:300])
    assert len(support.held_out) > 300
    scores = support.score(*parts["test"])
    low = int((scores < LEVEL).sum())
    assert low <= binom.ppf(1 - SURE, len(scores), 3 * LEVEL)  # of 330 rows: the level is only roughly known
    assert (support.score(project(np.random.default_rng(1).normal(size=(100, 48))), y[:100]) < LEVEL).mean() > 0.9
    assert len(Support.fit(*parts["train"], *parts["val"]).held_out) == min(len(parts["val"][0]), MAX_HELD_OUT)
    assert len(parts["val"][0]) >= FEW_HELD_OUT


def test_no_support_from_a_handful_of_rows(parts):
    few = tuple(part[:10] for part in parts["train"])
    assert Support.fit(*few, *parts["val"]) is None


def test_it_survives_being_taken_apart(support, parts):
    again = support_from_arrays(to_arrays(support))
    assert (again.score(*parts["test"]) == support.score(*parts["test"])).all()
    with pytest.raises(ValueError, match="something else"):
        support_from_arrays(to_arrays(LabelMeans.fit(*parts["val"])))


def test_the_same_seed_gives_the_same_bits(support, data, parts):
    again = Support.fit(*parts["train"], *parts["val"], data.part("train").identities)
    assert (again.held_out == support.held_out).all()
    assert (again.axes == support.axes).all()


def test_nothing_of_nothing_the_least_of_what_is_not_a_number_and_no_unknown_labels(support, parts):
    z, y = (part[:4].copy() for part in parts["test"])
    assert support.score(z[:0], y[:0]).shape == (0,)
    z[1] = np.nan
    scores = support.score(z, y)
    assert scores[1] == 1 / (1 + len(support.held_out))
    assert (scores[[0, 2, 3]] > scores[1]).all()
    y[0, 0] = -1
    with pytest.raises(InputError, match="0 and 1"):
        support.score(z, y)


def test_no_row_is_kept(support, parts):
    kept = np.concatenate([array.reshape(-1) for array in to_arrays(support).values()])
    assert not np.isin(parts["train"][0][:, 0], kept).any()
    assert sum(array.size for array in to_arrays(support).values()) < 0.1 * parts["train"][0].size


@pytest.mark.parametrize("kind", ["centred", "cone"])
def test_on_real_faces(shared, kind):
    names = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
    data = EmbeddingSet.load(shared / "data" / f"celeba_{kind}.npz").select(names)
    train, val, test = (arrays(data.part(part)) for part in ("train", "val", "test"))
    support = Support.fit(*train, *val, data.part("train").identities)
    z, y = test
    plan = plan_edits(y, names)
    field = ChangeField(ConditionalTransport.fit(*train, data.part("train").identities))
    flow = Flow(field, condition_of=field.condition)

    def share(strength):
        start = flow.inputs(z[plan.source], plan.original, plan.target)
        return accepted(support, flow.edit(*start, strength).numpy(), plan.target)

    low = int((support.score(z, y) < LEVEL).sum())
    assert binom.ppf(SURE, len(z), 0.5 * LEVEL) <= low <= binom.ppf(1 - SURE, len(z), 2 * LEVEL)
    shares = [share(strength) for strength in (1.0, 2.0, 4.0)]
    assert shares[0] > 0.75
    assert shares[2] < 0.15
    assert shares == sorted(shares, reverse=True)
    other = EmbeddingSet.load(shared / "data" / f"celeba_{'cone' if kind == 'centred' else 'centred'}.npz")
    assert accepted(support, other.part("test").embeddings, y) == 0
    smiling = np.where(np.array(names) == "Smiling", 1 - y, y).astype(np.int8)
    assert accepted(support, TargetMean.fit(*train)(z, y, smiling), smiling) < 0.02
