from __future__ import annotations

from pathlib import Path

import pytest

from fclf.checkpoint import Checkpoint
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.train import train


@pytest.fixture(scope="session")
def faces() -> EmbeddingSet:
    """3,000 planted rows of 1,000 people."""
    return planted(3000, 32, per_person=3, seed=3)[0]


@pytest.fixture(scope="session")
def faces_file(faces: EmbeddingSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    faces.save(path)
    return path


@pytest.fixture(scope="session")
def run(faces: EmbeddingSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of conditional transport, fitted without the choice among closed forms."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train(faces, load_config("edit", ["model.start=transport"]), folder)
    return folder


@pytest.fixture(scope="session")
def model(run: Path) -> Checkpoint:
    return Checkpoint.load(run)
