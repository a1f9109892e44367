from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import check_estimator

from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.sklearn import AttributeFlow

SHIFT = {"model.start": "shift"}
TRANSPORT = {"model.start": "transport"}


class OfManyClasses(AttributeFlow):
    """Takes the checks' labels of three classes and of real numbers, and learns which are above the median."""

    def fit(self, X, y, *, groups=None):
        if y is not None:
            y = np.asarray(y, dtype=np.float64) > np.median(np.asarray(y, dtype=np.float64))
        return super().fit(X, y, groups=groups)


THREE_CLASSES = "its labels are of three classes; attributes are 0 or 1, and anything else is refused"
EXCEPT = {
    "check_estimators_dtypes": "one of its rows is zero when cast to integers, and zero has no direction",
    "check_fit_check_is_fitted": "all its labels but one are alike, and an attribute that does not vary has no effect",
    "check_fit_score_takes_y": THREE_CLASSES,
}
REFUSED = (
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_f_contiguous_array_estimator",
    "check_fit2d_predict1d",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in_after_fitting",
    "check_readonly_memmap_input",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [AttributeFlow, OfManyClasses])
def test_scikit_learns_own_checks(kind):
    """Twice: as it is, where some checks cannot pass for their labels, and with those labels made binary."""
    expected = dict(EXCEPT)
    if kind is AttributeFlow:
        expected |= dict.fromkeys(REFUSED, THREE_CLASSES)
        expected["check_positive_only_tag_during_fit"] = THREE_CLASSES
    estimator = kind(target={"attribute0": 1}, normalize=True, overrides=SHIFT)
    results = check_estimator(estimator, expected_failed_checks=expected, on_fail=None, on_skip=None)
    failed = {result["check_name"]: repr(result["exception"]) for result in results if result["status"] == "failed"}
    assert not failed
    assert sum(result["status"] == "passed" for result in results) >= (33 if kind is AttributeFlow else 44)
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


@pytest.fixture(scope="module")
def data():
    return planted(1200, 24)[0]


def flow(data, **more):
    options = {"attribute_names": data.attribute_names, "overrides": TRANSPORT, "target": {"Smiling": 1}}
    return AttributeFlow(**options | more)


@pytest.fixture(scope="module")
def fitted(data):
    train = data.part("train")
    return flow(data).fit(train.embeddings, train.attributes, groups=train.identities)


def test_it_edits_to_its_target_or_each_row_to_its_own(data, fitted):
    rows = data.part("test")
    out = fitted.transform(rows.embeddings)
    assert (out == fitted.editor_.edit(rows.embeddings, {"Smiling": 1})).all()
    own = fitted.editor_.infer(rows.embeddings)[0]
    assert (fitted.transform(rows.embeddings, own) == rows.embeddings).all()
    wanted = np.full(own.shape, np.nan)
    wanted[:, 0] = 1
    assert (fitted.transform(rows.embeddings, wanted) == out).all()
    assert (fitted.transform(rows.embeddings, {"Smiling": np.ones(len(own))}) == out).all()
    assert (fitted.set_params(target={"Male": 1}).transform(rows.embeddings) != out).any()
    fitted.set_params(target={"Smiling": 1})


def test_clone_and_pickle(data, fitted):
    copy = clone(fitted)
    assert not hasattr(copy, "editor_")
    assert copy.get_params()["target"] == {"Smiling": 1}
    again = pickle.loads(pickle.dumps(fitted))
    rows = data.part("test").embeddings
    assert (again.transform(rows) == fitted.transform(rows)).all()


def test_the_same_seed_gives_the_same_bits(data, fitted):
    train, rows = data.part("train"), data.part("test").embeddings
    again = flow(data).fit(train.embeddings, train.attributes, groups=train.identities)
    assert (again.transform(rows) == fitted.transform(rows)).all()
    other = flow(data, random_state=1).fit(train.embeddings, train.attributes, groups=train.identities)
    assert (other.transform(rows) != fitted.transform(rows)).any()


def test_in_a_pipeline_with_a_target_for_every_row(data):
    train, test = data.part("train"), data.part("test")
    with config_context(enable_metadata_routing=True):
        step = flow(data).set_transform_request(Y_target=True).set_fit_request(groups=True)
        pipe = make_pipeline(PCA(12), Normalizer(), step)
        pipe.fit(train.embeddings, train.attributes, groups=train.identities)
        out = pipe.transform(test.embeddings, Y_target=test.attributes)
    assert out.shape == (len(test), 12)
    plain = pipe.transform(test.embeddings)
    assert (out != plain).any()
    assert list(step.get_feature_names_out(list("abcdefghijkl"))) == list("abcdefghijkl")


def test_in_front_of_a_classifier(data):
    train = data.part("train")
    smiling = train.attributes[:, 0]
    pipe = make_pipeline(flow(data, attribute_names=["Smiling"], overrides=SHIFT), LogisticRegression())
    pipe.fit(train.embeddings, smiling)
    assert set(pipe.predict(data.part("test").embeddings)) <= {0, 1}


def test_the_score_tells_edits_from_standing_still_from_overshooting(data):
    people = data.identities
    found = {
        strength: cross_val_score(
            flow(data, strength=strength, overrides=SHIFT),
            data.embeddings,
            data.attributes,
            groups=people,
            cv=GroupKFold(3),
        ).mean()
        for strength in (0.0, 1.0, 4.0)
    }
    assert found[0.0] == pytest.approx(0, abs=1e-9)
    assert 0.5 < found[1.0] <= 1
    assert found[4.0] < found[1.0] - 0.3


def test_a_grid_search_finds_the_strength(data):
    search = GridSearchCV(flow(data, overrides=SHIFT), {"strength": [0.0, 1.0, 6.0]}, cv=2, error_score="raise")
    search.fit(data.embeddings, data.attributes)
    assert search.best_params_ == {"strength": 1.0}


class Table:
    """What is asked of a table: columns and columns by name."""

    def __init__(self, values, columns):
        self.values, self.columns = values, columns

    def __getitem__(self, name):
        return self.values[:, list(self.columns).index(name)]


def test_labels_of_a_table_bring_their_names(data, fitted):
    train = data.part("train")
    named = flow(data, attribute_names=None).fit(
        train.embeddings, Table(train.attributes, data.attribute_names), groups=train.identities
    )
    assert named.attribute_names_ == data.attribute_names
    rows = data.part("test").embeddings
    assert (named.transform(rows) == fitted.transform(rows)).all()


def test_labels_that_are_not_known_are_masked_and_rows_without_any_left_out(data):
    train = data.part("train")
    labels = train.attributes.astype(np.float64)
    labels[:50, 1] = np.nan
    labels[50:60] = np.nan
    kept = flow(data, overrides=SHIFT).fit(train.embeddings, labels)
    assert len(kept.editor_.checkpoint.seen_digests) == len(train) - 10
    known = flow(data, overrides=SHIFT).fit(train.embeddings[60:], train.attributes[60:])
    rows = data.part("test").embeddings
    assert np.abs(kept.transform(rows) - known.transform(rows)).mean() < 0.05


@pytest.mark.parametrize("n", [40, 100])
def test_few_rows_are_fitted_by_something_simple(n):
    few = planted(n, 16)[0]
    small = AttributeFlow({"Smiling": 1}, attribute_names=["Smiling"]).fit(few.embeddings, few.attributes[:, 0])
    assert small.transform(few.embeddings).shape == few.embeddings.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "nothing to go to"),
        ({"target": {"Smilling": 1}}, "did you mean 'Smiling'"),
        ({"attribute_names": ["a", "b"]}, "2 names, but y has 5"),
        ({"val_fraction": 2.0}, "val_fraction"),
        ({"overrides": {"model.kepe": 1}}, "did you mean"),
    ],
)
def test_what_does_not_fit_is_refused(data, change, message):
    train = data.part("train")
    with pytest.raises(InputError, match=message):
        flow(data, **{"overrides": SHIFT} | change).fit(train.embeddings, train.attributes).transform(train.embeddings)


def test_rows_that_are_not_unit_vectors_need_normalize(data):
    train = data.part("train")
    with pytest.raises(InputError, match="unit vectors"):
        flow(data).fit(3 * train.embeddings, train.attributes)
    out = flow(data, overrides=SHIFT, normalize=True).fit(3 * train.embeddings, train.attributes)
    np.testing.assert_allclose(np.linalg.norm(out.transform(5 * train.embeddings), axis=1), 1, atol=1e-5)
