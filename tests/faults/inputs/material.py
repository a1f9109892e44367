"""One sound file of every kind, made once, of which the bad ones are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fclf
from fclf.checkpoint import Checkpoint
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import planted
from fclf.decoder import Decoder, ImageDecoder
from fclf.train import train

__all__ = ["DIM", "Material"]

DIM = 8
TRAINED = ["training.num_epochs=1", "training.evaluate_every=0", "model.hidden_dim=8", "training.batch_size=128"]


@dataclass(frozen=True)
class Material:
    """Sound content, in a folder that bad files are compared with and never written to."""

    folder: Path

    @cached_property
    def data(self) -> EmbeddingSet:
        return planted(600, DIM)[0]

    @cached_property
    def few(self) -> EmbeddingSet:
        """Rows that are edited."""
        return self.data.take(np.arange(12))

    @cached_property
    def good(self) -> Path:
        """Their file."""
        self.few.save(self.folder / "good.npz")
        return self.folder / "good.npz"

    def _run(self, recipe: str, settings: list[str]) -> Path:
        folder = self.folder / recipe
        train(self.data, load_config(recipe, settings), folder)
        return folder

    @cached_property
    def run(self) -> Path:
        """A run folder of the recipe `edit`."""
        return self._run("edit", ["model.start=transport"])

    @cached_property
    def field_run(self) -> Path:
        """One of a field on the target."""
        return self._run("fclf_config", TRAINED)

    @cached_property
    def contents(self) -> list[dict[str, Any]]:
        """Of both checkpoints."""
        return [Checkpoint.load(run).content() for run in (self.run, self.field_run)]

    @cached_property
    def editor(self) -> fclf.Editor:
        return fclf.load(self.run)

    @cached_property
    def shared(self) -> Path:
        """A folder of `save_pretrained`."""
        self.editor.save_pretrained(self.folder / "shared")
        return self.folder / "shared"

    @cached_property
    def report(self) -> Path:
        """A folder that an evaluation wrote."""
        self.editor.evaluate(self.data).save(self.folder / "report")
        return self.folder / "report"

    @cached_property
    def decoder(self) -> Path:
        torch.manual_seed(0)
        Decoder(ImageDecoder(DIM, 64, 8), {"data_fingerprint": "abc"}).save(self.folder / "decoder.safetensors")
        return self.folder / "decoder.safetensors"

    def json(self, path: Path) -> Any:
        """Content of one of these files."""
        return json.loads(path.read_text(encoding="utf-8"))
