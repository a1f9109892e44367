"""A row of the table without each block of people is what a loop finds without them, and planted collapses are seen."""

from dataclasses import replace

import numpy as np
import pytest

from fclf.closed.linear import Shift, TargetMean, least_squares_effects
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.bench import Bench
from fclf.evaluation.judges import Judges, LinearJudge, Standardiser
from fclf.evaluation.results import MEASURES
from fclf.evaluation.retrieval import average_precision, rank_one
from fclf.evaluation.spread import distances, energy_distance, recall, total_variance
from fclf.evaluation.verdict import collapse_signs

NAMES = ("a", "b")
DIM = 12


def planted(n=900, seed=0, people=250):
    rng = np.random.default_rng(seed)
    who = rng.integers(0, people, n)
    y = (rng.random((n, 2)) < (0.5, 0.4)).astype(np.int8)
    z = 0.25 * rng.normal(size=(people, DIM))[who] + 0.2 * rng.normal(size=(n, DIM)) + np.eye(DIM)[4]
    z[:, :2] += 0.5 * (y - 0.5)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return EmbeddingSet(z.astype(np.float32), y, NAMES, identities=who)


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def judges():
    """Both judges are linear here: what is tested is not what they learn."""
    rows = planted(600, seed=1)
    z = rows.embeddings.astype(np.float64)
    linear = LinearJudge.fit(Standardiser.fit(z), z, rows.attributes)
    return Judges(linear, linear, len(z))


@pytest.fixture(scope="module")
def bench(data, judges):
    return Bench.build(data, judges, "each", 0)


def edit(bench, form):
    return form(bench.sources, bench.plan.original, bench.plan.target)


def shift(bench):
    return Shift(least_squares_effects(bench.z, bench.y)[1])


@pytest.fixture(scope="module")
def row(bench):
    return bench.measure("shift", edit(bench, shift(bench)))


@pytest.mark.parametrize("out", [None, 0, 7, 19])
def test_a_row_without_a_block_is_that_of_a_loop(bench, row, out):
    edited, plan, number = edit(bench, shift(bench)), bench.plan, bench.blocks.number
    stay = number[plan.source] != out
    predicted = bench.judges.linear.predict(edited)
    shares, kept = {}, []
    for k in range(2):
        rows = stay & plan.flips[:, k]
        for to in (0, 1):
            cell = rows & (plan.target[:, k] == to)
            shares[f"{NAMES[k]}={to}"] = np.mean(predicted[cell, k] == to)
        others = stay & ~plan.flips[:, k]
        kept.append(predicted[others, k] == bench.before["linear"][plan.source[others], k])
    before = after = 0.0
    ratios = []
    for g in bench.groups:
        rows, real = g.edits[stay[g.edits]], bench.z[g.real[number[g.real] != out]]
        before += len(rows) * energy_distance(bench.sources[rows], real)
        after += len(rows) * energy_distance(edited[rows], real)
        ratios.append(total_variance(edited[rows]) / total_variance(real))
    remainder = bench.judges.linear.remainder
    precision = average_precision(edited, bench.z, plan.source, bench.relevant)
    expected = {
        "linear.success": np.mean(list(shares.values())),
        "linear.worst": shares[row.linear.worst_cell],
        "linear.kept": np.mean(np.concatenate(kept)),
        "rank1": rank_one(remainder(edited), remainder(bench.z), plan.source)[stay].mean(),
        "gap_closed": 1 - after / before,
        "variance_ratio": np.mean(ratios),
        "retrieval_map": precision[stay[bench.relevant.queries]].mean(),
    }
    for measure, value in expected.items():
        found = row.value(measure) if out is None else row.replicates[measure][out]
        assert found == pytest.approx(value, abs=1e-7), measure


@pytest.mark.parametrize("out", [None, 3])
def test_recall_without_a_block_is_that_of_the_rows_that_are_left(bench, row, out):
    edited, number = edit(bench, shift(bench)), bench.blocks.number
    values = []
    for c in bench.comparisons:
        rows, real = c.group.edits[c.chosen], c.group.real[c.chosen_real]
        rows, real = rows[number[bench.plan.source[rows]] != out], real[number[real] != out]
        ends = edited[rows]
        values.append(recall(distances(ends, bench.z[real]), distances(ends, ends)))
    assert (row.recall if out is None else row.replicates["recall"][out]) == pytest.approx(np.mean(values))


def test_every_measure_has_an_interval_around_it(row):
    assert set(row.intervals) == set(row.replicates) == set(MEASURES)
    for measure in MEASURES:
        low, high = row.intervals[measure]
        assert low <= row.value(measure) <= high
        assert (low + high) / 2 == pytest.approx(row.value(measure))
        assert len(row.replicates[measure]) == 20
    assert row.intervals["linear.success"][1] - row.intervals["linear.success"][0] > 0.005


def test_intervals_hold_what_other_people_of_the_same_kind_show(judges, row):
    """Of ten fresh samples, nearly all agree: the difference of two has an interval that is larger by sqrt 2."""
    misses = dict.fromkeys(("linear.success", "linear.kept", "gap_closed", "variance_ratio"), 0)
    for seed in range(10, 20):
        fresh = Bench.build(planted(seed=seed), judges, "each", 0)
        other = fresh.measure("shift", edit(fresh, shift(fresh)))
        for measure in misses:
            half = (row.intervals[measure][1] - row.intervals[measure][0]) / 2
            misses[measure] += abs(other.value(measure) - row.value(measure)) > 1.5 * half
    assert all(count <= 3 for count in misses.values()), misses
    assert sum(misses.values()) <= 6


def test_a_paired_difference_is_surer_than_its_parts(bench, row):
    nearly = bench.measure("nearly", edit(bench, replace(shift(bench), strength=0.95)))
    value, (low, high) = nearly.ahead_of(row, "gap_closed")
    parts = row.intervals["gap_closed"]
    assert value == pytest.approx(nearly.gap_closed - row.gap_closed)
    assert low <= value <= high
    assert high - low < 0.5 * (parts[1] - parts[0])


def test_a_planted_collapse_is_flagged_by_every_new_measure_and_real_rows_pass(bench):
    mean = bench.measure("mean", edit(bench, TargetMean.fit(bench.z, bench.y)))
    good = bench.measure("shift", edit(bench, shift(bench)))
    real = bench.measure_real()
    for healthy in (good, real):
        assert healthy.mmd_closed > 0.8
        assert healthy.vendi_ratio == pytest.approx(1, abs=0.15)
        assert healthy.unique_ratio > 0.8
        assert healthy.pooled_gap_closed > 0.8
        assert healthy.pooled_variance_ratio == pytest.approx(1, abs=0.15)
        assert healthy.collapsed == []
    assert good.smallest_spread_kept > 0.8
    assert mean.mmd_closed < 0
    assert mean.vendi_ratio < 0.5
    assert mean.unique_ratio < 0.2
    assert mean.smallest_spread_kept < 0.01
    assert mean.pooled_variance_ratio < 0.01
    assert mean.retrieval_map < 0.3 * good.retrieval_map
    assert mean.density > 2  # blind, as it says


def test_the_ceiling_of_retrieval_is_a_picture_of_the_person(bench):
    still = bench.measure("still", bench.sources)
    real = bench.measure_real()
    assert real.retrieval_queries > 0
    assert still.retrieval_map < edit_map(bench) <= real.retrieval_map + 0.05


def edit_map(bench):
    return bench.measure("shift", edit(bench, shift(bench))).retrieval_map


def test_rows_without_identities_have_intervals_by_row_and_no_retrieval(data, judges):
    bench = Bench.build(replace(data, identities=None), judges, "each", 0)
    row = bench.measure("still", bench.sources)
    assert row.retrieval_map is None
    assert row.retrieval_queries == 0
    assert "gap_closed" in row.intervals
    assert bench.measure_real().retrieval_map is None


def test_rows_of_one_person_have_no_intervals(data, judges):
    bench = Bench.build(replace(data, identities=np.zeros(len(data), int)), judges, "each", 0)
    row = bench.measure("still", bench.sources)
    assert row.intervals == row.replicates == {}
    assert row.linear.kept == 1


def test_a_collapsed_cell_without_a_group_is_named_and_only_that(judges):
    rows = planted(400)
    rare = rows.attributes.copy()
    rare[:, 1] = np.arange(400) % 12 == 0  # too few real rows to compare a combination with
    bench = Bench.build(replace(rows, attributes=rare), judges, "each", 0)
    edited = edit(bench, shift(bench))
    controls = [bench.measure("shift x1", edited), bench.measure("do nothing", bench.sources), bench.measure_real()]
    assert collapse_signs(controls[0], controls) == []
    to_b = bench.plan.flips[:, 1] & (bench.plan.target[:, 1] == 1)
    edited[to_b] = edit(bench, TargetMean.fit(bench.z, bench.y))[to_b]
    signs = collapse_signs(bench.measure("one cell", edited), controls)
    assert len([sign for sign in signs if sign.startswith("b to 1")]) == 1
    assert not any(sign.startswith(("a to", "b to 0")) for sign in signs)
