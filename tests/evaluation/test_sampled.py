"""Evaluations of a sample: exact below a limit, and above it as near to all rows as they say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from data.shards.test_shard_index import NAMES, write_shards
from fclf.cli import main
from fclf.config import load_config
from fclf.data.planted import planted
from fclf.data.shards.index import ShardIndex
from fclf.evaluation import evaluate, sampled
from fclf.evaluation.bench import Bench
from fclf.evaluation.judges import Judges
from fclf.train import train

MEASURES = ("linear.success", "linear.kept", "mlp.success", "gap_closed")


@pytest.fixture(scope="module")
def data():
    return planted(3000, 12)[0].with_split(0)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    small = data.take(np.arange(len(data)) % 4 == 0)
    config = load_config("edit", ["model.start=shift"])
    config = config.model_copy(update={"data": config.data.model_copy(update={"attributes": None})})
    return train(small, config, tmp_path_factory.mktemp("run") / "run")


def test_fewer_rows_than_the_limit_are_all_read(data):
    assert sampled.EXACT == 100_000
    found, sampling = sampled.sampled(data, "test", 0)
    assert found is data
    assert sampling is None


def test_a_sample_has_its_limits_and_every_combination_its_share(data, monkeypatch):
    monkeypatch.setattr(sampled, "EXACT", 1000)
    monkeypatch.setattr(sampled, "MAX_ROWS", 300)
    monkeypatch.setattr(sampled, "MAX_FITTED", 400)
    found, sampling = sampled.sampled(data, "test", 0)
    assert sampling.taken == {"train": 400, "judge": 400, "test": 300}
    assert set(found.split) == {"train", "judge", "test"}
    assert sampling.population == {name: int((data.split == name).sum()) for name in sampling.taken}
    for split, count in sampling.taken.items():
        every, part = (rows.attributes[rows.split == split] for rows in (data, found))
        for combination in np.unique(every, axis=0):
            share = (every == combination).all(1).sum() * count / len(every)
            assert abs((part == combination).all(1).sum() - share) < 1
    assert len(set(found.ids)) == len(found)
    monkeypatch.setattr(sampled, "MAX_EDITS", 50 * len(data.attribute_names))
    assert sampled.sampled(data, "test", 0)[1].taken["test"] == 50
    assert sampled.sampled(data, "train", 0)[1].taken == {"train": 50, "judge": 400}


def test_a_sampled_evaluation_says_so_and_its_verdict_is_that_of_all_rows(data, model, monkeypatch):
    whole = evaluate(model, data).metrics
    assert whole.sample is None
    monkeypatch.setattr(sampled, "EXACT", 1000)
    monkeypatch.setattr(sampled, "MAX_ROWS", 400)
    part = evaluate(model, data).metrics
    assert part.sample["taken"]["test"] == 400 == part.rows["evaluated"]
    assert part.notes[0].startswith("Evaluated on 400 of ")
    assert part.verdict.name == whole.verdict.name == "HEALTHY"
    assert part.data_fingerprint == whole.data_fingerprint


def test_the_stated_interval_holds_the_value_of_all_rows(data, model):
    """Of 12 samples the 95 % interval misses at most 3, and half as many rows have a wider one."""
    judges = Judges.fit(data.part("judge"))
    test = data.part("test")
    codes = np.unique(test.attributes, axis=0, return_inverse=True)[1].reshape(-1)

    def measured(rows):
        bench = Bench.build(rows, judges, "each", 0)
        flow = model.flow()
        plan = bench.plan
        z, y = flow.inputs(bench.z[plan.source], plan.original, plan.target)
        return bench.measure("flow", flow.edit(z, y).double().numpy())

    truth = measured(test)
    misses, widths = dict.fromkeys(MEASURES, 0), {200: [], 400: []}
    for seed in range(12):
        row = measured(test.take(sampled.stratified(codes, 400, seed)))
        for name in MEASURES:
            low, high = row.intervals[name]
            misses[name] += not low <= truth.value(name) <= high
        if seed < 3:
            widths[400].append(np.ptp(row.intervals["linear.kept"]))
            fewer = measured(test.take(sampled.stratified(codes, 200, seed)))
            widths[200].append(np.ptp(fewer.intervals["linear.kept"]))
    assert max(misses.values()) <= 3, misses
    assert np.mean(widths[200]) > 1.15 * np.mean(widths[400])


def test_shards_are_evaluated_as_a_file_of_the_same_rows_is(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    split = rng.choice(["train", "val", "judge", "test"], 600, p=[0.4, 0.1, 0.2, 0.3])
    write_shards(tmp_path / "shards", (350, 10, 240), d=8, people=False, split=split)
    index = ShardIndex.read(str(tmp_path / "shards"), NAMES)
    rows = replace(index.take(np.arange(600)), split=split)
    train_command = ["train", "--embeddings", str(tmp_path / "shards"), "--attributes", ",".join(NAMES)]
    assert main([*train_command, "--output-dir", str(tmp_path / "run"), "--set", "model.start=shift"]) == 0
    rows.save(tmp_path / "rows.npz")
    found = {}
    for name, source in (("shards", tmp_path / "shards"), ("file", tmp_path / "rows.npz")):
        out = tmp_path / name
        command = ["evaluate", "--checkpoint", str(tmp_path / "run"), "--embeddings", str(source)]
        assert main([*command, "--output-dir", str(out), "--projection", "pca", "--json"]) == 0
        found[name] = json.loads((out / "transfer_metrics.json").read_text())
    assert found["shards"]["table"] == found["file"]["table"]
    assert found["shards"]["trained_on_this_data"]
    assert found["shards"]["sample"] is None
    monkeypatch.setattr(sampled, "EXACT", 100)
    monkeypatch.setattr(sampled, "MAX_ROWS", 60)
    part, sampling = sampled.sampled(index, "test", 0)
    assert sampling.taken["test"] == 60 == (part.split == "test").sum()
    assert sampling.population["test"] == (split == "test").sum()
