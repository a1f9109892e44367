"""What a run leaves on the disk: checkpoints, logs, configuration and a record of how it was made."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.config import Config
from fclf.errors import InputError
from fclf.files import atomic_write, write_json

__all__ = ["RunFolder"]

LATEST, BEST = "fclf_latest", "fclf_best"
# What a run writes: all that --overwrite ever removes.
PARTS = (
    "run.json",
    "config.yaml",
    "checkpoints/fclf_*.pt",
    "logs/metrics.jsonl",
    "logs/events.out.tfevents.*",
    "evaluation/transfer_metrics.json",  # of the run that goes: `fclf diagnose` would take it for the new one's
    "evaluation/points.npz",
    "evaluation/report.html",
    "evaluation/figures/*.png",
)

# Tags of the reference's TensorBoard, and the measurements that belong beside them.
TAGS = {
    "loss": "Train/Loss",
    "contrastive": "Train/Contrastive",
    "curl": "Train/Curl",
    "div": "Train/Div",
    "identity": "Train/Identity",
    "separation": "Train/Separation",
    "smoothness": "Train/Smoothness",
    "magnitude": "Train/Magnitude",
    "num_prototypes": "Train/NumPrototypes",
    "movement": "Train/Movement",
    "gradient_norm": "Train/GradientNorm",
    "learning_rate": "Train/LearningRate",
    "val_loss": "Val/Loss",
    "strength": "Val/Strength",
    "val_silhouette_by_target": "Val/Silhouette_by_target",
    "val_variance_ratio": "Val/VarianceRatio",
    "val_spread_kept": "Val/SpreadKept",
    "val_smallest_variance_ratio": "Val/SmallestVarianceRatio",
    "val_success": "Val/Success",
    "val_kept": "Val/Kept",
    "val_gap_closed": "Val/GapClosed",
    "val_score": "Val/Score",
    "val_collapsed": "Verdict/Collapsed",
    "val_under_moved": "Verdict/UnderMoved",
    "val_healthy": "Verdict/Healthy",
}


class RunFolder:
    """A run folder: `checkpoints/fclf_{latest,best,epoch_N}.pt`, `logs/`, `config.yaml`, `run.json`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._writer: Any = None

    @property
    def latest(self) -> Path:
        """The checkpoint that `--resume` continues from."""
        return self._checkpoint(LATEST)

    def clear(self, overwrite: bool) -> None:
        """Make room for a run: an earlier one is refused, or removed when the user said so.

        A run whose checkpoints are gone (the specification's first step before training again) is no run any more.
        Files without a `run.json` may be anybody's, and are refused as well.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--output-dir {self.path} is a file; name a folder.")
        left = self._files()
        emptied = (self.path / "run.json").is_file() and not any(path.suffix == ".pt" for path in left)
        if left and not overwrite and not emptied:
            raise InputError(
                f"--output-dir {self.path} holds a run already ({', '.join(path.name for path in left[:4])}). "
                "Type --resume to continue it, --overwrite to remove it first, or name another folder."
            )
        for path in left:
            path.unlink()

    def check_begun(self) -> None:
        """Refuse to resume where no run was begun, be it without a checkpoint yet."""
        if not self._files():
            raise InputError(f"--resume: there is no run in {self.path}. Leave out --resume to start one.")

    def check_cold(self) -> None:
        """Refuse to begin a run again from nothing that was begun from another one."""
        path = self.path / "run.json"
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(begun, dict) and begun.get("warm_start"):
            raise InputError(
                f"--resume: the run in {self.path} started from another one and was stopped before its first "
                "checkpoint. Type --warm-start with that run again, and --overwrite instead of --resume."
            )

    def _files(self) -> list[Path]:
        return [path for pattern in PARTS for path in sorted(self.path.glob(pattern)) if path.is_file()]

    def write_config(self, config: Config) -> None:
        """Write the configuration, which trains the same weights again."""
        with atomic_write(self.path / "config.yaml", "w") as file:
            file.write(config.to_yaml())

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write `run.json`: how the run was made and how far it came."""
        versions = {"fclf": __version__, "torch": torch.__version__, "numpy": np.__version__}
        write_json(self.path / "run.json", {**content, **versions, "threads": torch.get_num_threads()})

    def save(self, checkpoint: Checkpoint, *, best: bool, keep: bool) -> None:
        """Save a checkpoint: as one to keep and as the best one if it is, and last as the latest.

        A run that is killed in between repeats the epoch from the one before, and writes all of them again.
        """
        if best:
            checkpoint.save(self._checkpoint(BEST))
        if keep:
            checkpoint.save(self._checkpoint(f"fclf_epoch_{checkpoint.epoch}"))
        checkpoint.save(self.latest)

    def log(self, history: list[dict[str, float]]) -> None:
        """Write the history as JSON lines, and its last epoch to TensorBoard where that is installed."""
        with atomic_write(self.path / "logs" / "metrics.jsonl", "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in history)
        record = history[-1]
        epoch = int(record["epoch"])
        if self._writer is None:
            self._writer = _summary_writer(self.path / "logs", epoch)
        for name, tag in TAGS.items():
            if name in record:
                self._writer.add_scalar(tag, record[name], epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.pt"


class _NoWriter:
    """Stands where TensorBoard is not installed."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _summary_writer(folder: Path, first_epoch: int) -> Any:
    """TensorBoard's writer; a resumed run hides what an interrupted one had written from this epoch on."""
    if find_spec("tensorboard") is None:
        return _NoWriter()
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an optional package)

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    return SummaryWriter(str(folder), purge_step=first_epoch)
