"""The specification's own commands, typed as it prints them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fclf.config import changes, load_config
from fclf.data.planted import planted

ROOT = Path(__file__).parent.parent


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the default embeddings and the project's own scripts and configs beside them."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("scripts", "configs"):
        (folder / name).symlink_to(ROOT / name)
    planted(400, 8)[0].save(folder / "data" / "celeba_embeddings.npz")
    return folder


def quick(*more):
    overrides = ("training.num_epochs=2", "model.hidden_dim=8", *more)
    return [part for override in overrides for part in ("--set", override)]


@pytest.mark.parametrize("starter", [sys.executable, "sh"])
def test_training_starts_with_python_as_the_specification_types_it_and_with_a_shell(folder, starter):
    out = run(folder, starter, "scripts/train_fclf.sh", *quick(), "--overwrite")
    assert "results/fclf_training/checkpoints" in out
    config = load_config(folder / "results/fclf_training/config.yaml")
    recipe = load_config("fclf_config")
    assert {key for key, _, _ in changes(recipe, config)} == {"training.num_epochs", "model.hidden_dim"}


def test_evaluation_takes_the_specifications_arguments(folder):
    run(folder, sys.executable, "scripts/train_fclf.sh", *quick(), "--overwrite")
    command = "scripts/evaluate_attribute_transfer.py"
    checkpoint = "results/fclf_training/checkpoints/fclf_latest.pt"
    output = "results/transfer_eval_latest"
    run(folder, sys.executable, command, "--checkpoint", checkpoint, "--output_dir", output, "--projection", "pca")
    metrics = json.loads((folder / "results/transfer_eval_latest/transfer_metrics.json").read_text())
    assert metrics["epoch"] == 2
    logs = list((folder / "results/fclf_training/logs").glob("events.out.tfevents*"))
    assert logs, "tensorboard --logdir results/fclf_training/logs finds nothing"


def test_the_specifications_configuration_is_the_recipe_with_the_identity_weight_on_its_line():
    text = (ROOT / "configs" / "fclf_config.yaml").read_text()
    assert text == (ROOT / "src/fclf/recipes/fclf_config.yaml").read_text()
    assert re.fullmatch(r"\s+lambda_identity: 0\.05", text.splitlines()[15])  # "configs/fclf_config.yaml:16"


def test_the_specifications_advice_can_be_typed(folder):
    run(folder, sys.executable, "scripts/train_fclf.sh", "--overwrite", *quick("training.learning_rate=0.00005"))
    run(folder, sys.executable, "scripts/train_fclf.sh", "--overwrite", *quick("loss.lambda_separation=0.2"))
    config = load_config(folder / "results/fclf_training/config.yaml")
    assert config.loss.lambda_separation == 0.2
