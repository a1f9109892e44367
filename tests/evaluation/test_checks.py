"""The debugging points flag a bad run, pass a good one, and say when a run recorded nothing."""

import pytest

from fclf.config import Config
from fclf.evaluation.checks import ALIKE, EXPLODING, check_run

COMBINATIONS = {"possible": 32, "train": 24, "evaluated": 23, "targets": 31}


def config(**loss):
    return Config.model_validate({"loss": loss})


def history(contrastive=(2.0, 1.0, 0.5), **more):
    names = {"contrastive": contrastive, **more}
    return [
        {"epoch": float(epoch)} | {name: values[epoch - 1] for name, values in names.items()}
        for epoch in range(1, len(contrastive) + 1)
    ]


def check(number, records, settings=None, **combinations):
    found = check_run(records, settings or config(), COMBINATIONS | combinations)
    assert [c.name[0] for c in found] == list("12345")
    return found[number - 1]


@pytest.mark.parametrize(
    ("values", "ok"), [((2.0, 1.0, 0.5), True), ((2.0, 1.9, 1.8), False), ((0.5, 1.0, 2.0), False), ((2.0,), None)]
)
def test_contrastive_falls(values, ok):
    found = check(1, history(values))
    assert found.ok is ok
    assert f"{values[0]:.3g} to {values[-1]:.3g} in {len(values)} epochs" == found.measured


def test_the_scale_of_another_loss_is_said():
    assert "no sign of health" in check(1, history()).note
    for kind in ("pairwise_mse", "soft_infonce"):
        assert "another scale" in check(1, history(), config(contrastive={"kind": kind})).note


@pytest.mark.parametrize(
    ("ratio", "ok", "says"),
    [
        (1.0, True, "Neither"),
        (0.9 * ALIKE, True, "Neither"),
        (1.1 / ALIKE, True, "Neither"),
        (1.1 * ALIKE, False, "lambda_identity=0.01"),
        (0.9 / ALIKE, False, "holds nothing back"),
    ],
)
def test_identity_is_compared_as_weighted(ratio, ok, says):
    settings = config(lambda_contrastive=0.5, lambda_identity=0.05)
    records = history((9.0, 0.4), identity=(7.0, ratio * 0.5 * 0.4 / 0.05))
    found = check(2, records, settings)
    assert found.ok is ok
    assert says in found.note
    assert f"{ratio:.2g}" in found.measured


def test_the_mean_over_dimensions_is_named_where_it_is_the_reason():
    records = history(identity=(1e-6,) * 3)
    assert "1/d" in check(2, records, config(identity_reduction="mean")).note
    assert "1/d" not in check(2, records, config(identity_reduction="sum")).note


def test_a_contrastive_term_of_zero_is_dominated():
    assert check(2, history((1.0, 0.0), identity=(1.0, 1.0))).ok is False


@pytest.mark.parametrize(("value", "ok"), [(30.0, True), (29.9, False), (60.0, True), (60.1, False)])
def test_prototypes_are_read_from_the_last_epoch(value, ok):
    found = check(3, history(num_prototypes=(1.0, 1.0, value)))
    assert found.ok is ok
    assert found.measured.startswith(f"{value:.1f}")


@pytest.mark.parametrize(
    ("possible", "batch", "most", "says"),
    [(32, 128, 32, ": 60 cannot"), (8, 128, 8, ": 30 cannot"), (1024, 20, 20, ": 30 cannot"), (1024, 128, 128, "24.")],
)
def test_prototypes_are_held_against_what_is_possible(possible, batch, most, says):
    settings = Config.model_validate({"training": {"batch_size": batch}})
    note = check(3, history(), settings, possible=possible).note
    assert f"At most {most} are possible" in note
    assert says in note
    assert ("cannot" in says) is ("cannot" in note)


@pytest.mark.parametrize(("evaluated", "ok"), [(14, False), (15, True), (25, True), (26, False)])
def test_unique_combinations_of_the_evaluated_rows(evaluated, ok):
    assert check(4, [], evaluated=evaluated).ok is ok


def test_few_attributes_cannot_have_fifteen_combinations():
    assert "15 cannot occur" in check(4, [], possible=8, evaluated=8).note
    assert "cannot" not in check(4, []).note


@pytest.mark.parametrize(("largest", "ok"), [(0.9 * EXPLODING, True), (1.1 * EXPLODING, False)])
def test_gradients_explode_beyond_ten_times_the_median(largest, ok):
    found = check(5, history(gradient_norm=(1.0, largest, 1.0)))
    assert found.ok is ok
    assert ("5e-5" in found.note) is not ok
    early = check(5, history(gradient_norm=(largest, 1.0, 1.0)))
    assert early.ok is ok


def test_a_number_that_is_not_finite_is_found_in_any_term():
    records = history(identity=(0.1, None, 0.1), gradient_norm=(1.0, 1.0, 1.0))
    found = check(5, records)
    assert found.ok is False
    assert found.measured == "not finite in epoch 2"
    assert "5e-5" in found.note


def test_what_was_not_recorded_is_neither_good_nor_bad():
    for number, found in enumerate(check_run([], config(), COMBINATIONS), 1):
        if number != 4:
            assert (found.ok, found.measured) == (None, "not recorded")
    assert check(2, history()).ok is None  # no identity term
    assert check(3, history()).measured == check(5, history()).measured == "not recorded"
