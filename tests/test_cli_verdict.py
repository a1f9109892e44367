"""`fclf diagnose`, `--fail-on` and `--stop-on` as a user types them."""

import json

import pytest

from fclf.cli import main
from fclf.data.planted import planted

FAST = [f"--set={s}" for s in ("training.learning_rate=0.01", "loss.lambda_curl=0", "loss.lambda_div=0")]
FAST += ["--set=training.evaluate_every=1", "--set=model.hidden_dim=32"]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted.npz"
    planted(1500, 16)[0].save(path)
    return path


def train(embeddings, folder, *more):
    return main(
        ["train", "--config", "fclf_config", "--embeddings", str(embeddings), "--output-dir", str(folder), *FAST, *more]
    )


@pytest.fixture(scope="module")
def run_dir(embeddings, tmp_path_factory):
    """A run of the specification's recipe, which collapses, with its evaluation."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(embeddings, folder, "--set=training.num_epochs=4") == 0
    base = ["evaluate", "--checkpoint", str(folder), "--embeddings", str(embeddings), "--projection", "pca"]
    assert main([*base, "--output-dir", str(folder / "evaluation"), "--fail-on", "HEALTHY,leaking"]) == 0
    return folder


def test_the_verdict_is_printed_first_and_written(embeddings, run_dir, tmp_path, capsys):
    base = ["evaluate", "--checkpoint", str(run_dir), "--embeddings", str(embeddings), "--projection", "pca"]
    assert main([*base, "--output-dir", str(tmp_path), "--fail-on", "collapsed"]) == 4
    out, err = capsys.readouterr()
    assert out.startswith("Verdict: COLLAPSED (margin ")
    assert "What decides the verdict" in out
    assert "--fail-on names it" in err
    written = json.loads((tmp_path / "transfer_metrics.json").read_text())["verdict"]
    assert written["name"] == "COLLAPSED"
    assert {d["calls"] for d in written["decisions"]} >= {"COLLAPSED", "UNDER-MOVED", "LEAKING", "OFF-DISTRIBUTION"}


def test_diagnose_reads_an_evaluation(run_dir, capsys):
    for folder in (run_dir, run_dir / "evaluation"):
        assert main(["diagnose", str(folder)]) == 0
        out = capsys.readouterr().out
        assert out.startswith("Verdict: COLLAPSED")
        assert "Next: " in out
    assert main(["diagnose", str(run_dir), "--fail-on", "COLLAPSED,UNDER-MOVED", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["name"] == "COLLAPSED"
    assert main(["diagnose", str(run_dir), "--fail-on", "HEALTHY"]) == 0


def test_diagnose_evaluates_a_run_that_has_checkpoints_only(embeddings, run_dir, capsys):
    checkpoints = run_dir / "checkpoints"
    assert main(["diagnose", str(checkpoints)]) == 2
    assert f"fclf diagnose {checkpoints} --embeddings FILE" in capsys.readouterr().err
    assert main(["diagnose", str(checkpoints), "--embeddings", str(embeddings), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "COLLAPSED"
    assert main(["diagnose", str(run_dir / "nowhere")]) == 2


def test_an_unknown_verdict_is_refused_before_any_work(embeddings, run_dir, tmp_path, capsys):
    assert main(["diagnose", str(run_dir), "--fail-on", "COLLAPSE"]) == 2
    assert "'COLLAPSE' is no verdict; there are COLLAPSED, " in capsys.readouterr().err
    base = [
        "evaluate",
        "--checkpoint",
        str(run_dir),
        "--embeddings",
        str(embeddings),
        "--output-dir",
        str(tmp_path / "o"),
    ]
    assert main([*base, "--fail-on", ""]) == 2
    assert train(embeddings, tmp_path / "run", "--stop-on", "leaking") == 2
    assert not any(tmp_path.iterdir())


def test_training_stops_on_a_collapse(embeddings, tmp_path, capsys):
    assert train(embeddings, tmp_path, "--stop-on", "collapse") == 4
    assert "the edits of the val rows have collapsed" in capsys.readouterr().err
    lines = (tmp_path / "logs/metrics.jsonl").read_text().splitlines()
    assert len(lines) < 50
    assert [json.loads(line)["val_collapsed"] for line in lines] == [0.0] * (len(lines) - 1) + [1.0]
    assert (tmp_path / "checkpoints/fclf_latest.pt").is_file()
