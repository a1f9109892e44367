"""The protocol on planted data: what each row of the table must read, and what is refused."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from fclf.checkpoint import Checkpoint
from fclf.config import Config, load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation import Report, evaluate
from fclf.evaluation.controls import controls
from fclf.evaluation.edits import comparable_groups, plan_edits
from fclf.evaluation.judges import Judges
from fclf.evaluation.spread import energy_distance, total_variance
from fclf.field import TargetField
from fclf.flow import Flow
from fclf.train import train

DIM, NAMES = 16, ("Smiling", "Young")
QUANTILE = ["quantile shift", "quantile shift x1.15", "quantile shift, half controlled"]
ORDER = [
    "flow",
    "do nothing",
    "target mean",
    "nearest real target row",
    "shift x1",
    "shift x1.5",
    "affine",
    *QUANTILE,
    "held-out real",
]


def planted(n=3000, seed=0):
    """Attributes are linear shifts along the first two dimensions, plus noise; every row has a split."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 2)) < (0.5, 0.4)).astype(np.int8)
    z = 0.35 * rng.normal(size=(n, DIM))
    z[:, :2] += y - 0.5
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    split = np.array(["train", "val", "judge", "test"])[rng.choice(4, n, p=(0.56, 0.08, 0.16, 0.20))]
    ids = np.array([f"row{i}" for i in range(n)])
    return EmbeddingSet.from_arrays(
        {"embeddings": z, "attributes": y, "attribute_names": np.array(NAMES), "ids": ids, "split": split}
    )


def checkpoint(data, destination=None, names=NAMES):
    """A field that stands still, or one that sends everyone to `destination`."""
    weights = TargetField(DIM, len(names), hidden_dim=8).state_dict()
    weights["last.weight"] = torch.zeros_like(weights["last.weight"])
    if destination is not None:
        weights["last.bias"] = 1e9 * torch.tensor(destination, dtype=torch.float32)
    seen = data.take(np.isin(data.split, ("train", "val")))
    return Checkpoint(
        config=Config.model_validate({"model": {"hidden_dim": 8}}),
        attribute_names=names,
        dim=DIM,
        weights=weights,
        epoch=5,
        data_fingerprint=data.fingerprint(),
        seen_ids=tuple(seen.ids.tolist()) if seen.has_ids else (),
        seen_digests=tuple(seen.row_digests()),
    )


def without_ids(data):
    return replace(data, ids=np.arange(len(data)).astype(str), has_ids=False)


def judge_becomes_train(data):
    """The split of somebody else: ten rows that training has read are judge rows now."""
    split = data.split.copy()
    split[np.flatnonzero(split == "train")[:10]] = "judge"
    return replace(data, split=split)


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module")
def small():
    return planted(400, seed=1)


@pytest.fixture(scope="module")
def still(data):
    return evaluate(checkpoint(data), data)


@pytest.fixture(scope="module")
def table(still):
    return {row.name: row for row in still.metrics.table}


@pytest.fixture(scope="module")
def collapsed(data):
    return evaluate(checkpoint(data, destination=[1.0] + [0.0] * (DIM - 1)), data)


def test_the_table_is_the_flow_then_the_controls_then_the_ceiling(still):
    assert [row.name for row in still.metrics.table] == ORDER
    assert still.flow.name == "flow"


def test_metrics_say_what_was_evaluated(data, still):
    metrics = still.metrics
    counts = {name: int((data.split == name).sum()) for name in ("judge", "test")}
    assert metrics.rows == {
        "evaluated": counts["test"],
        "judge": counts["judge"],
        "edits": 2 * counts["test"],
        "groups": 8,
        "blocks": 20,
    }
    assert (metrics.mode, metrics.split, metrics.seed, metrics.epoch) == ("each", "test", 0, 5)
    assert metrics.attributes == list(NAMES)
    assert metrics.trained_on_this_data
    assert metrics.data_fingerprint == data.fingerprint()


def test_a_flow_that_stands_still_reads_as_do_nothing(table):
    flow, nothing = table["flow"], table["do nothing"]
    assert flow.step_distance == pytest.approx(0, abs=1e-6)
    assert nothing.step_distance is None
    for judge in ("linear", "mlp"):
        ours, theirs = getattr(flow, judge), getattr(nothing, judge)
        assert ours.cells == pytest.approx(theirs.cells, abs=0.005)
        assert ours.kept == pytest.approx(1, abs=0.005)
        assert theirs.kept == 1
    for name in ("rank1", "gap_closed", "variance_ratio", "smallest_variance_ratio", "recall", "movement"):
        assert getattr(flow, name) == pytest.approx(getattr(nothing, name), abs=1e-4), name
    assert flow.silhouettes == pytest.approx(nothing.silhouettes, abs=1e-4)
    assert flow.distinct_destinations == nothing.distinct_destinations


def test_do_nothing_neither_succeeds_nor_collapses(table):
    nothing = table["do nothing"]
    assert nothing.linear.success < 0.3
    assert nothing.mlp.success < 0.3
    assert nothing.movement == 0
    assert nothing.gap_closed == pytest.approx(0, abs=1e-12)
    assert nothing.rank1 == 1
    assert nothing.variance_ratio == pytest.approx(1, abs=0.1)
    assert nothing.silhouettes["original_by_target"] == nothing.silhouettes["flowed_by_target"]
    assert nothing.collapsed == []


def test_success_is_asked_of_the_target_and_not_of_the_original(table):
    assert table["target mean"].linear.success > 0.95
    assert table["shift x1"].linear.success > 0.75
    assert table["held-out real"].linear.success > 0.75


def test_the_target_mean_succeeds_and_is_called_collapsed(table):
    mean = table["target mean"]
    assert mean.distinct_destinations == 4
    assert any("4 distinct points" in sign for sign in mean.collapsed)
    assert sum("of the real variance" in sign for sign in mean.collapsed) == 8
    assert mean.variance_ratio < 0.01
    assert mean.recall == 0
    assert mean.rank1 < 0.1
    assert mean.gap_closed < 0
    assert mean.silhouettes["flowed_by_target"] > 0.99


def test_the_shift_and_real_rows_are_not_called_collapsed(table):
    for name in ("shift x1", "shift x1.5", "held-out real"):
        row = table[name]
        assert row.collapsed == [], name
        assert row.distinct_destinations == row.sampled, name
        assert row.variance_ratio > 0.7, name
        assert row.recall > 0.6, name
    assert table["shift x1"].gap_closed > 0.9
    assert table["held-out real"].gap_closed > 0.9


def test_real_rows_have_no_edits_to_speak_of(table):
    real = table["held-out real"]
    assert (real.rank1, real.movement, real.step_distance, real.linear.kept) == (None, None, None, None)
    assert set(real.linear.cells) == {"Smiling=0", "Smiling=1", "Young=0", "Young=1"}


def test_a_flow_to_one_point_is_measured_and_called_collapsed(collapsed):
    flow = collapsed.flow
    assert flow.distinct_destinations == 1
    assert "all destinations are one point" in flow.collapsed
    assert sum("of the real variance" in sign for sign in flow.collapsed) == 8
    assert flow.variance_ratio == pytest.approx(0, abs=1e-6)
    assert flow.smallest_variance_ratio == pytest.approx(0, abs=1e-6)
    assert flow.recall == 0
    assert flow.gap_closed < 0
    assert flow.rank1 < 0.01
    assert flow.silhouettes["flowed_by_target"] == 0
    assert 0.25 <= flow.purity["10"] < 0.6
    assert flow.movement > 0.5


@pytest.mark.parametrize("name", ["shift x1", "target mean"])
def test_a_row_of_the_table_is_that_of_a_loop(data, table, name):
    rows = data.part("test")
    z, y = rows.embeddings.astype(np.float64), rows.attributes
    plan = plan_edits(y, NAMES, "each")
    train = data.part("train")
    edited = controls(train)[name](z[plan.source], plan.original, plan.target)
    judges = Judges.fit(data.part("judge"), 0)
    for kind in ("linear", "mlp"):
        before, after = (getattr(judges, kind).predict(x) for x in (z, edited))
        cells, kept = {}, []
        for i in range(len(plan)):
            for k in range(2):
                if plan.original[i, k] != plan.target[i, k]:
                    cells.setdefault(f"{NAMES[k]}={plan.target[i, k]}", []).append(after[i, k] == plan.target[i, k])
                else:
                    kept.append(after[i, k] == before[plan.source[i], k])
        cells = {cell: float(np.mean(hits)) for cell, hits in cells.items()}
        found = getattr(table[name], kind)
        assert found.cells == pytest.approx(cells)
        assert found.success == pytest.approx(sum(cells.values()) / 4)
        assert found.worst == pytest.approx(min(cells.values()))
        assert cells[found.worst_cell] == min(cells.values())
        assert found.kept == pytest.approx(np.mean(kept))
    before = after = 0.0
    ratios = []
    for g in comparable_groups(plan, y):
        before += len(g.edits) * energy_distance(z[plan.source[g.edits]], z[g.real])
        after += len(g.edits) * energy_distance(edited[g.edits], z[g.real])
        ratios.append(total_variance(edited[g.edits]) / total_variance(z[g.real]))
    assert table[name].gap_closed == pytest.approx(1 - after / before)
    assert table[name].variance_ratio == pytest.approx(np.mean(ratios))
    assert table[name].smallest_variance_ratio == pytest.approx(min(ratios))
    lengths = [np.linalg.norm(e - z[s]) for e, s in zip(edited, plan.source, strict=True)]
    assert table[name].movement == pytest.approx(np.mean(lengths))


def test_the_flow_is_asked_for_the_target(small, monkeypatch):
    def corners(z, y):
        return torch.nn.functional.pad(1e6 * (y - 0.5), (0, DIM - 2))

    monkeypatch.setattr(Checkpoint, "flow", lambda self: Flow(corners, steps=2))
    flow = evaluate(checkpoint(small), small).flow
    assert flow.linear.cells == {"Smiling=0": 1, "Smiling=1": 1, "Young=0": 1, "Young=1": 1}
    assert flow.distinct_destinations == 4


def test_rank_one_leaves_out_the_span_of_the_judges(table):
    assert table["shift x1"].rank1 > 0.95  # a shift within the span moves no row onto another


def test_groups_name_their_change_and_target(table):
    seen = {(*g.change, *g.target.items()) for g in table["flow"].groups}
    assert len(seen) == len(table["flow"].groups) == 8
    for g in table["flow"].groups:
        assert len(g.change) == 1
        assert set(g.target) == set(NAMES)
        assert g.edits >= 40
        assert g.real >= 60


def test_the_ceiling_compares_two_halves_of_the_real_rows(table):
    for real, g in zip(table["held-out real"].groups, table["flow"].groups, strict=True):
        assert real.edits + real.real == g.real
        assert abs(real.edits - real.real) <= 1


def test_points_are_of_the_sampled_edits_and_paths_start_at_their_sources(still, collapsed):
    points = still.points
    assert len(points.original) == len(points.flowed) == still.flow.sampled
    assert points.paths.shape == (11, 150, 2)
    np.testing.assert_allclose(points.paths[0], points.original[:150], atol=1e-5)
    np.testing.assert_allclose(points.flowed, points.original, atol=1e-5)
    np.testing.assert_allclose(collapsed.points.paths[-1], collapsed.points.flowed[:150], atol=1e-5)
    assert np.ptp(collapsed.points.flowed, axis=0).max() < 1e-5
    assert np.ptp(points.original, axis=0).min() > 0.5
    names = points.code_names
    assert set(names) == {"none", "Smiling", "Young", "Smiling+Young"}
    flips = {frozenset(pair) for pair in zip(names[points.original_codes], names[points.target_codes], strict=True)}
    assert frozenset({"none", "Smiling+Young"}) not in flips
    assert all(len(pair) == 2 for pair in flips)


def test_paths_of_a_flow_that_stands_still(still):
    paths = still.metrics.paths
    assert paths.edits == still.flow.sampled
    assert len(paths.times) == len(paths.target_share) == 11
    assert paths.target_share == pytest.approx([paths.target_share[0]] * 11, abs=0.005)
    assert paths.auc == pytest.approx(still.flow.linear.success, abs=0.02)
    assert (paths.monotone, paths.efficiency) == (1, 1)


def test_paths_of_a_flow_to_one_point_are_geodesics_and_end_with_its_success(collapsed):
    paths, flow = collapsed.metrics.paths, collapsed.flow
    assert paths.efficiency == pytest.approx(1, abs=1e-4)
    assert paths.target_share[-1] == pytest.approx(flow.linear.success)
    assert paths.target_share[0] < 0.3
    assert paths.monotone < 0.8  # toward Smiling for those who should lose it


def test_paths_are_of_the_flow_and_of_its_target(small, monkeypatch):
    def corners(z, y):
        return torch.nn.functional.pad(0.3 * (y - 0.5), (0, DIM - 2))

    monkeypatch.setattr(Checkpoint, "flow", lambda self: Flow(corners, steps=5, step_size=1.0))
    paths = evaluate(checkpoint(small), small).metrics.paths
    assert paths.monotone > 0.95
    assert np.diff(paths.target_share).min() >= 0
    assert paths.target_share[-1] > 0.75
    assert set(paths.auc_by_attribute) == set(NAMES)
    assert 0.9 < paths.efficiency <= 1


def test_leakage_of_the_table(data, table):
    assert table["held-out real"].leakage is None
    np.testing.assert_array_equal(np.array(table["do nothing"].leakage), 0)
    np.testing.assert_allclose(table["flow"].leakage, 0, atol=1e-4)
    shift = np.array(table["shift x1"].leakage)
    assert (np.diag(shift) > 1).all()
    assert np.abs(shift - np.diag(np.diag(shift))).max() < 0.2  # the planted attributes are independent
    rows = data.part("test")
    z, y = rows.embeddings.astype(np.float64), rows.attributes
    plan = plan_edits(y, NAMES, "each")
    edited = controls(data.part("train"))["shift x1"](z[plan.source], plan.original, plan.target)
    linear = Judges.fit(data.part("judge"), 0).linear
    before, after = linear.logits(z), linear.logits(edited)
    spread = before.std(axis=0)
    for k in range(2):
        for judged in range(2):
            own = [
                (after[i, judged] - before[plan.source[i], judged]) * (1 if plan.target[i, k] else -1) / spread[judged]
                for i in range(len(plan))
                if plan.original[i, k] != plan.target[i, k]
            ]
            assert shift[k, judged] == pytest.approx(np.mean(own))


def test_the_field_is_measured_at_sources_and_targets(small, monkeypatch, still):
    assert still.metrics.field.rows == 32
    assert still.metrics.field.jacobian_rms == 0  # it stands still
    seen = []

    def field(z, y):
        seen.append((z.detach()[0].numpy(), y.detach()[0].numpy()))
        return 0.01 * z * (1 + y.sum(dim=1, keepdim=True))

    monkeypatch.setattr(Checkpoint, "flow", lambda self: Flow(field))
    report = evaluate(checkpoint(small), small)
    counts = report.points.code_names[report.points.target_codes[:32]]
    flags = np.array([0 if name == "none" else 1 + name.count("+") for name in counts])
    assert report.metrics.field.divergence_mean == pytest.approx(0.01 * DIM * (1 + flags).mean(), rel=1e-5)
    assert report.metrics.field.curl_rms == pytest.approx(0, abs=1e-6)
    assert all(abs(np.linalg.norm(z) - 1) < 1e-5 for z, _ in seen)


def test_flipbooks_are_of_sampled_edits(small, still, collapsed):
    for report in (still, collapsed):
        points = report.points
        assert points.flipbook_rows.shape == points.flipbook_distances.shape == (6, 8)
        assert len(set(points.flipbook_source.tolist())) == 8
        np.testing.assert_array_equal(points.flipbook_rows[0], points.flipbook_source)
        np.testing.assert_allclose(points.flipbook_distances[0], 0, atol=1e-6)
        assert points.flipbook_unique[0] == 1
        np.testing.assert_allclose(points.flipbook_times, [0, 0.2, 0.4, 0.6, 0.8, 1])
        names = points.code_names[points.target_codes[points.flipbook_edits]]
        assert points.flipbook_targets.tolist() == names.tolist()
        assert len(set(names[:4])) == len(set(names[4:])) == 1  # a collapse shows within a combination
        for change, before, after in zip(
            points.flipbook_changes, points.code_names[points.original_codes[points.flipbook_edits]], names, strict=True
        ):
            had, has = ({part for part in name.split("+") if part != "none"} for name in (before, after))
            assert change == " ".join([f"+{name}" for name in has - had] + [f"-{name}" for name in had - has])
        assert set(points.flipbook_changes.tolist()) == {"+Smiling", "-Smiling", "+Young", "-Young"}
    assert still.points.flipbook_unique[-1] == 1
    np.testing.assert_array_equal(still.points.flipbook_rows[-1], still.points.flipbook_source)
    assert collapsed.points.flipbook_unique[-1] == 1 / 8


def test_the_history_of_the_run_is_in_the_report_and_checked(small, tmp_path):
    history = [{"epoch": 1.0, "contrastive": 2.0, "identity": 0.1}, {"epoch": 2.0, "contrastive": float("nan")}]
    report = evaluate(replace(checkpoint(small), history=history), small)
    assert report.metrics.history == [history[0], {"epoch": 2.0, "contrastive": None}]
    assert [check.ok for check in report.metrics.checks][4] is False
    report.save(tmp_path)
    assert Report.load(tmp_path).metrics == report.metrics


def test_combinations_are_counted(small):
    lopsided = replace(small, attributes=small.attributes * (small.attributes.sum(axis=1, keepdims=True) < 2))
    metrics = evaluate(checkpoint(lopsided), lopsided).metrics
    assert metrics.combinations == {"possible": 4, "train": 3, "evaluated": 3, "targets": 4}


def test_the_bands_are_read_from_the_flow_and_the_epoch(small, still, collapsed):
    for report in (still, collapsed):
        measured = {reading.name: reading.measured for reading in report.metrics.bands.tables}
        assert measured["silhouette by target"] == report.flow.silhouettes["flowed_by_target"]
        assert measured["silhouette by original"] == report.flow.silhouettes["flowed_by_original"]
        assert measured["cluster purity"] == report.flow.purity["10"]
        assert measured["green dots in regions"] == report.flow.distinct_destinations
        assert report.metrics.bands.current_stage == "4-7"
    late = evaluate(replace(checkpoint(small), epoch=40), small)
    assert late.metrics.bands.current_table == "After 30+ epochs"


def test_the_projection_is_chosen_and_named(small, still):
    assert still.metrics.projection == "pca"
    if importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    umap = evaluate(checkpoint(small), small, projection="auto")
    assert umap.metrics.projection == "umap"
    assert umap.metrics.table == evaluate(checkpoint(small), small).metrics.table
    assert umap.points.explained.shape == (0,)


def test_a_report_of_an_evaluation_comes_back_whole(still, tmp_path):
    still.save(tmp_path)
    back = Report.load(tmp_path)
    assert back.metrics == still.metrics
    np.testing.assert_array_equal(back.points.paths, still.points.paths)


def test_two_evaluations_are_equal_and_a_seed_changes_them(small):
    first, second = (evaluate(checkpoint(small), small) for _ in range(2))
    assert first.metrics == second.metrics
    for name, value in vars(first.points).items():
        np.testing.assert_array_equal(value, getattr(second.points, name))
    other = evaluate(checkpoint(small), small, seed=1)
    assert other.metrics != first.metrics
    assert (other.points.original != first.points.original).any()


def test_few_rows_give_a_report_without_groups_and_say_so(small, tmp_path):
    report = evaluate(checkpoint(small), small, mode="single")
    flow = report.flow
    assert (flow.gap_closed, flow.variance_ratio, flow.smallest_variance_ratio, flow.recall) == (None,) * 4
    assert any("No group has 40 edits" in note for note in report.metrics.notes)
    report.save(tmp_path)
    assert Report.load(tmp_path).metrics == report.metrics


def test_smiling_mode_notes_the_directions_it_does_not_ask(small):
    report = evaluate(checkpoint(small), small, mode="smiling")
    assert set(report.flow.linear.cells) == {"Smiling=0", "Smiling=1"}
    assert any("Young to 0" in note and "Young to 1" in note for note in report.metrics.notes)


def test_attributes_are_found_by_name(small):
    renamed = replace(small, attributes=small.attributes[:, ::-1].copy(), attribute_names=NAMES[::-1])
    here, there = evaluate(checkpoint(small), small), evaluate(checkpoint(small), renamed)
    assert there.metrics.attributes == list(NAMES)
    assert there.metrics.table == here.metrics.table


def test_rows_without_a_label_are_left_out(small):
    y = small.attributes.copy()
    unknown = np.flatnonzero(np.isin(small.split, ("judge", "test")))[::5]
    y[unknown] = -1
    rows = evaluate(checkpoint(small), replace(small, attributes=y)).metrics.rows
    for key, split in (("evaluated", "test"), ("judge", "judge")):
        assert rows[key] == int(((small.split == split) & (y[:, 1] >= 0)).sum())


def test_rows_with_an_unknown_label_are_edited_and_judged_by_what_is_known(small, tmp_path):
    y, test = small.attributes.copy(), small.split == "test"
    unknown = np.flatnonzero(np.isin(small.split, ("judge", "test", "train", "val")))[::5]
    y[unknown, 1] = -1
    data = replace(small, attributes=y)
    model = train(data, load_config("edit", ["model.start=transport"]), tmp_path)
    metrics = evaluate(model, data).metrics
    assert metrics.rows["evaluated"] == int(test.sum())
    assert metrics.rows["edits"] == int((y[test] >= 0).sum())
    assert any(
        f"{int((y[test] < 0).sum())} of the {int(test.sum())} evaluated rows have an unknown" in n
        for n in metrics.notes
    )
    cells = metrics.table[0].linear.cells
    assert set(cells) == {f"{name}={to}" for name in NAMES for to in (0, 1)}
    whole = evaluate(train(small, load_config("edit", ["model.start=transport"]), tmp_path / "whole"), small).metrics
    assert metrics.table[0].linear.success == pytest.approx(whole.table[0].linear.success, abs=0.08)


def test_a_checkpoint_without_a_classifier_is_evaluated_on_rows_whose_labels_are_all_known(small):
    y = small.attributes.copy()
    y[np.flatnonzero(small.split == "test")[::5], 1] = -1
    metrics = evaluate(replace(checkpoint(small), classifier={}), replace(small, attributes=y)).metrics
    assert metrics.rows["evaluated"] == int(((small.split == "test") & (y[:, 1] >= 0)).sum())


def test_the_judge_split_is_refused(small):
    with pytest.raises(InputError, match="--split judge"):
        evaluate(checkpoint(small), small, split="judge")


def test_judge_rows_that_training_has_read_are_refused_by_id(small):
    seen = replace(checkpoint(small), seen_digests=())
    with pytest.raises(InputError, match=r"^10 of \d+ judge rows"):
        evaluate(seen, judge_becomes_train(small))


@pytest.mark.parametrize("anonymous", ["checkpoint", "data", "both"])
def test_judge_rows_that_training_has_read_are_refused_by_content_where_ids_are_missing(small, anonymous):
    seen = checkpoint(small if anonymous == "data" else without_ids(small))
    rows = small if anonymous == "checkpoint" else without_ids(small)
    with pytest.raises(InputError, match=r"^10 of \d+ judge rows"):
        evaluate(seen, judge_becomes_train(rows))


def test_judge_rows_of_people_whom_training_has_seen_are_refused(small):
    """Other pictures of ten of them, which no id and no content gives away; strangers in their place pass."""
    known = replace(small, identities=np.arange(len(small)) // 2 * 2 + (small.split == "judge"))
    seen = np.isin(known.split, ("train", "val"))
    model = replace(checkpoint(known), seen_identities=tuple(np.unique(known.identities[seen]).tolist()))
    assert evaluate(model, known).metrics.verdict.name == "UNDER-MOVED"
    people = known.identities.copy()
    people[np.flatnonzero(known.split == "judge")[:10]] = known.identities[np.flatnonzero(seen)[0]]
    with pytest.raises(InputError, match=r"^10 of \d+ judge rows show people whom"):
        evaluate(model, replace(known, identities=people))


def test_data_that_do_not_fit_are_refused(small):
    narrow = replace(small, embeddings=small.embeddings[:, :15])
    with pytest.raises(InputError, match="width 16, but these have width 15"):
        evaluate(checkpoint(small), narrow)
    with pytest.raises(InputError, match=r"'Yung' \(did you mean 'Young'"):
        evaluate(checkpoint(small, names=("Smiling", "Yung")), small)
    with pytest.raises(InputError, match="no split 'tset'"):
        evaluate(checkpoint(small), small, split="tset")
    with pytest.raises(InputError, match="cannot teach 'Young'"):
        evaluate(checkpoint(small), replace(small, attributes=small.attributes * np.array([1, 0], np.int8)))


def test_a_collapse_is_seen_without_a_single_comparable_group(small):
    to_one_point = evaluate(checkpoint(small, np.eye(DIM)[0]), small, mode="single").flow
    assert to_one_point.variance_ratio is None
    assert to_one_point.spread_kept < 1e-3
    assert any("of the variance of their sources" in sign for sign in to_one_point.collapsed)
    stays = evaluate(checkpoint(small), small, mode="single").flow
    assert stays.spread_kept == pytest.approx(1, abs=1e-4)
    assert stays.collapsed == []


def test_sources_narrower_than_their_targets_real_rows_are_no_collapse():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (3000, 1))
    x = np.eye(DIM)[0] * 4 + rng.normal(size=(3000, DIM)) * np.where(y == 1, 1.2, 0.3)
    wide = EmbeddingSet.from_arrays(
        {
            "embeddings": x / np.linalg.norm(x, axis=1, keepdims=True),
            "attributes": y,
            "attribute_names": ["wide"],
        }
    ).with_split()
    report = evaluate(checkpoint(wide, names=("wide",)), wide)
    rows = {row.name: row for row in report.metrics.table}
    assert rows["do nothing"].smallest_variance_ratio < 0.3
    assert rows["do nothing"].collapsed == rows["shift x1"].collapsed == []
    assert rows["target mean"].collapsed
