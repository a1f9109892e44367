from __future__ import annotations

from pathlib import Path

import pytest

from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.scale import bulk
from fclf.scale.work import ShardEditor
from fclf.train import train


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """A small model, of the default recipe's transport."""
    folder = tmp_path_factory.mktemp("runs") / "transport"
    train(planted(600, 8)[0], load_config("edit", ["model.start=transport"]), folder)
    return folder


@pytest.fixture(scope="session")
def other_run(tmp_path_factory) -> Path:
    """Another one."""
    folder = tmp_path_factory.mktemp("runs") / "shift"
    train(planted(300, 8)[0], load_config("edit", ["model.start=shift"]), folder)
    return folder


@pytest.fixture(scope="session")
def many() -> EmbeddingSet:
    """Rows for several blocks of the smallest size a shard."""
    return planted(20_000, 8, seed=5)[0]


@pytest.fixture(scope="session")
def few() -> EmbeddingSet:
    """Rows for shards of one block."""
    return planted(1_200, 8, seed=6)[0]


@pytest.fixture
def inline(monkeypatch):
    """Edit shards in this process: a worker takes seconds to start, and is tested elsewhere."""

    def edit(work, output, shards, workers, on_rows):
        editor = ShardEditor(work, output)
        for shard in shards:
            yield editor(shard, lambda rows: None)

    monkeypatch.setattr(bulk, "edit_in_processes", edit)
    monkeypatch.setattr(bulk, "_check_reached", lambda embeddings, output: None)  # its memory is a store as others are
