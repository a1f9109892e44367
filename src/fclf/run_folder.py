"""What a run leaves on the disk: checkpoints, logs, configuration and a record of how it was made."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fclf.checkpoint import Checkpoint
from fclf.config import Config
from fclf.errors import InputError, VerdictError
from fclf.files import atomic_write, naming, remove_leftovers, write_json
from fclf.locks import exclusive
from fclf.parsing import parse_json

__all__ = ["STARTING", "RunFolder", "state_after"]

LATEST, BEST, RUN = "fclf_latest", "fclf_best", "run.json"
STARTING = "starting"
"""State of a run that removes what an earlier one left: nothing but its `run.json` is its own yet."""
# What a run writes: all that --overwrite ever removes.
PARTS = (
    RUN,
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
    """A run folder: `checkpoints/fclf_{latest,best,epoch_N}.pt`, `logs/`, `config.yaml`, `run.json`.

    Args:
        path: the folder.
        writes: whether this process is the one that writes; all others only read.
    """

    def __init__(self, path: str | Path, *, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes
        self._writer: Any = None

    @property
    def latest(self) -> Path:
        """The checkpoint that `--resume` continues from."""
        return self._checkpoint(LATEST)

    @property
    def resumable(self) -> bool:
        """Whether the run has a checkpoint; one of a run that was being removed when the process was killed is none."""
        return self.latest.is_file() and self._run().get("state") != STARTING

    @property
    def finished(self) -> bool:
        """Whether the run says so itself."""
        return self._run().get("state") == "finished"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training into the folder; `InputError` if one does already."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--output-dir {self.path} is a file; name a folder.")
        with exclusive(self.path, "--output-dir") if self.writes else nullcontext():
            yield

    def check_free(self) -> None:
        """Refuse a folder with an earlier run.

        A run whose checkpoints are gone (the specification's first step before training again) is no run any more.
        Files without a `run.json` may be anybody's, and are refused as well.
        """
        left = self._files()
        emptied = (self.path / RUN).is_file() and not any(path.suffix == ".pt" for path in left)
        if self.writes and left and not emptied:
            raise InputError(
                f"--output-dir {self.path} holds a run already ({', '.join(path.name for path in left[:4])}). "
                "Type --resume to continue it, --overwrite to remove it first, or name another folder."
            )

    def clear(self) -> None:
        """Remove what an earlier run left, but for `run.json`, which is the new one's by now, and says `STARTING`."""
        if not self.writes:
            return
        for pattern in PARTS:
            place = self.path / pattern
            remove_leftovers(place.parent, place.name)
        for path in self._files():
            if path.name != RUN:
                path.unlink()

    @property
    def begun(self) -> bool:
        """Whether there is a run, be it without a checkpoint yet."""
        return bool(self._files())

    def check_begun(self) -> None:
        """Refuse to resume where no run was begun."""
        if not self.begun:
            raise InputError(f"--resume: there is no run in {self.path}. Leave out --resume to start one.")

    def check_cold(self) -> None:
        """Refuse to begin a run again from nothing that was begun from another one."""
        if self._run().get("warm_start"):
            raise InputError(
                f"--resume: the run in {self.path} started from another one and was stopped before its first "
                "checkpoint. Type --warm-start with that run again, and --overwrite instead of --resume."
            )

    def _run(self) -> dict[str, Any]:
        try:
            content = parse_json((self.path / RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _files(self) -> list[Path]:
        return [path for pattern in PARTS for path in sorted(self.path.glob(pattern)) if path.is_file()]

    def write_config(self, config: Config) -> None:
        """Write the configuration, which trains the same weights again."""
        if not self.writes:
            return
        with atomic_write(self.path / "config.yaml", "w") as file:
            file.write(config.to_yaml())

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write `run.json`: how the run was made and how far it came."""
        if not self.writes:
            return
        write_json(self.path / RUN, content)

    def finish(self) -> None:
        """Say of a run that is there that it is finished; all else that `run.json` says stays."""
        self.write_run({**self._run(), "state": "finished"})

    def save(self, checkpoint: Checkpoint, *, best: bool, keep: bool) -> None:
        """Save a checkpoint: as one to keep and as the best one if it is, and last as the latest.

        A run that is killed in between repeats the epoch from the one before, and writes all of them again.
        """
        if not self.writes:
            return
        if best:
            checkpoint.save(self._checkpoint(BEST))
        if keep:
            checkpoint.save(self._checkpoint(f"fclf_epoch_{checkpoint.epoch}"))
        checkpoint.save(self.latest)

    def log(self, history: list[dict[str, float]]) -> None:
        """Write the history as JSON lines, and its last epoch to TensorBoard where that is installed."""
        if not self.writes:
            return
        with atomic_write(self.path / "logs" / "metrics.jsonl", "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in history)
        record = history[-1]
        epoch = int(record["epoch"])
        with naming(self.path / "logs"):
            if self._writer is None:
                self._writer = _summary_writer(self.path / "logs", epoch)
            for name, tag in TAGS.items():
                if name in record:
                    self._writer.add_scalar(tag, record[name], epoch)
            self._writer.flush()

    def close(self) -> None:
        """Close the TensorBoard file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with naming(self.path / "logs"):
                writer.close()

    def _checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.pt"


def state_after(error: BaseException) -> str:
    """What `run.json` says of a run that has ended by an error: its own, a verdict's, or somebody who stopped it."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "interrupted"
    return "stopped" if isinstance(error, VerdictError) else "failed"


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
