"""The only training loop."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.config import Config, TrainingConfig
from fclf.data.embeddings import EmbeddingSet
from fclf.data.targets import flip_attributes
from fclf.errors import InputError, NonFiniteLossError
from fclf.field import TargetField
from fclf.files import atomic_write, write_json
from fclf.flow import step
from fclf.losses.objective import Losses, Objective, Rollout

__all__ = ["train"]

EpochCallback = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class _Rows:
    """Embeddings and attributes of one split, on the device."""

    z: Float[Tensor, "n d"]
    y: Float[Tensor, "n K"]

    @classmethod
    def of(cls, data: EmbeddingSet, device: torch.device) -> _Rows:
        return cls(
            torch.from_numpy(data.embeddings).to(device),
            torch.from_numpy(np.asarray(data.attributes)).to(device, torch.float32),
        )

    def batches(self, order: Tensor, size: int) -> list[Tensor]:
        """Whole batches only, as a contrastive loss depends on the size; all rows at once if they are fewer."""
        size = min(size, len(order))
        return [order[i : i + size] for i in range(0, len(order) - size + 1, size)]


def train(
    data: EmbeddingSet,
    config: Config,
    output_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_epoch: EpochCallback | None = None,
) -> Checkpoint:
    """Train a field on the `train` rows, choose on the `val` rows, and write a run folder.

    The folder holds `checkpoints/fclf_latest.pt`, `fclf_best.pt` (lowest validation loss) and `fclf_epoch_N.pt`,
    `logs/metrics.jsonl`, `config.yaml` and `run.json`. Judge and test rows are never read. The same data,
    configuration and thread count give the same weights bit for bit on a CPU.

    Args:
        data: with attributes and a split; `config.data.attributes` chooses among the attributes.
        config: what to do.
        output_dir: the run folder.
        resume: continue from `fclf_latest.pt` to the weights of a run that was never interrupted.
        overwrite: remove an earlier run from the folder first.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, ...
        on_epoch: called with the epoch's number and losses.

    Raises:
        InputError: for data, a configuration or a folder that does not fit.
        NonFiniteLossError: if the loss stops being a number; the checkpoints of earlier epochs stay.
    """
    output_dir = Path(output_dir)
    if config.data.attributes is not None:
        data = data.select(config.data.attributes)
    config = config.model_copy(update={"data": config.data.model_copy(update={"attributes": data.attribute_names})})
    data = data.with_split(config.data.split_seed)
    train_rows, val_rows = data.part("train").labelled(), data.part("val").labelled()
    _check_labels(train_rows)
    run = _Run(config, data.fingerprint(), train_rows, val_rows, output_dir, _device(device))
    if resume:
        run.restore()
    else:
        _clear(output_dir, overwrite)
        run.begin()
    return run.fit(on_epoch)


class _Run:
    """State of one training run: what a checkpoint saves and `restore` brings back."""

    def __init__(
        self,
        config: Config,
        fingerprint: str,
        train_rows: EmbeddingSet,
        val_rows: EmbeddingSet,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.fingerprint = fingerprint
        self.names, self.dim = train_rows.attribute_names, train_rows.dim
        both = (train_rows, val_rows)
        self.seen_ids = tuple(i for rows in both if rows.has_ids for i in rows.ids.tolist())
        self.seen_digests = tuple(d for rows in both for d in rows.row_digests())
        self.train_rows, self.val_rows = (_Rows.of(rows, device) for rows in both)
        self.split_sizes = {"train": len(train_rows), "val": len(val_rows)}
        settings = config.training
        self.field = TargetField(self.dim, len(self.names), hidden_dim=config.model.hidden_dim, seed=settings.seed).to(
            device
        )
        self.objective = Objective(config.loss)
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=settings.learning_rate)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.history: list[dict[str, float]] = []
        self.best = math.inf

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def begin(self) -> None:
        """Write what is known before the first step."""
        with atomic_write(self.folder / "config.yaml", "w") as file:
            file.write(self.config.to_yaml())
        self._write_run("running", 0.0)

    def restore(self) -> None:
        """Continue from `fclf_latest.pt`; refuse another configuration or other data."""
        path = self.checkpoints / "fclf_latest.pt"
        if not path.is_file():
            if not (self.folder / "run.json").is_file():
                raise InputError(f"--resume: there is no run in {self.folder}. Leave out --resume to start one.")
            return self.begin()  # it was stopped before its first checkpoint
        saved = Checkpoint.load(path)
        if saved.config != self.config:
            raise InputError(
                f"--resume: {path} was trained with another configuration ({_differences(saved.config, self.config)}). "
                "Resume with the same settings, or start anew with --overwrite."
            )
        if saved.data_fingerprint != self.fingerprint:
            raise InputError(f"--resume: {path} was trained on other data. Name the same file, or use --overwrite.")
        self.field.load_state_dict(saved.weights)
        self.optimizer.load_state_dict(saved.training_state["optimizer"])
        self.generator.set_state(saved.training_state["generator"])
        self.best = saved.training_state["best"]
        self.history = list(saved.history)

    def fit(self, on_epoch: EpochCallback | None) -> Checkpoint:
        """Run the epochs that are left."""
        settings, started = self.config.training, time.perf_counter()
        for epoch in range(len(self.history) + 1, settings.num_epochs + 1):
            record = {"epoch": float(epoch), **self._train_epoch(epoch), **self._validate()}
            self._check_finite(record["val_loss"], record, epoch)  # before it is saved: the last good one stays
            self.history.append(record)
            improved = record["val_loss"] < self.best
            self.best = min(self.best, record["val_loss"])
            checkpoint = self._checkpoint(epoch)
            if improved:
                checkpoint.save(self.checkpoints / "fclf_best.pt")
            if epoch % settings.checkpoint_every == 0:
                checkpoint.save(self.checkpoints / f"fclf_epoch_{epoch}.pt")
            self._write_log()
            checkpoint.save(self.checkpoints / "fclf_latest.pt")  # last: a resumed run repeats what came before it
            if on_epoch is not None:
                on_epoch(record)
        self._write_run("finished", time.perf_counter() - started)
        return Checkpoint.load(self.checkpoints / "fclf_latest.pt")

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        settings = self.config.training
        rate = _cosine(settings, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.field.train()
        sums: dict[str, float] = {}
        order = torch.randperm(len(self.train_rows.z), generator=self.generator).to(self.device)
        batches = self.train_rows.batches(order, settings.batch_size)
        for rows in batches:
            losses = self._losses(self.train_rows, rows, self.generator)
            self._check_finite(float(losses.total.detach()), _detached(losses), epoch)
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.field.parameters(), settings.gradient_clip)
            self.optimizer.step()
            _accumulate(sums, losses)
        return {name: value / len(batches) for name, value in sums.items()} | {"learning_rate": rate}

    def _validate(self) -> dict[str, float]:
        """Mean losses of the val rows, by the same flip rule and with the same flips every epoch."""
        self.field.eval()
        generator = torch.Generator().manual_seed(self.config.training.seed)
        order = torch.randperm(len(self.val_rows.z), generator=generator).to(self.device)
        batches = self.val_rows.batches(order, self.config.training.batch_size)
        sums: dict[str, float] = {}
        with torch.no_grad():
            for rows in batches:
                _accumulate(sums, self._losses(self.val_rows, rows, generator))
        return {f"val_{name}": value / len(batches) for name, value in sums.items()}

    def _losses(self, data: _Rows, rows: Tensor, generator: torch.Generator) -> Losses:
        settings = self.config.training
        z, y = data.z[rows], data.y[rows]
        targets = flip_attributes(
            y,
            generator,
            probability=settings.flip_probability,
            min_flips=settings.min_flips,
            max_flips=settings.max_flips,
        )
        return self.objective(Rollout(z, step(self.field, z, targets, settings.alpha), targets))

    def _check_finite(self, loss: float, terms: Mapping[str, float | Tensor], epoch: int) -> None:
        if math.isfinite(loss):
            return
        self._write_run("failed", 0.0)
        values = ", ".join(f"{name} {float(value):g}" for name, value in terms.items() if name != "epoch")
        raise NonFiniteLossError(
            f"The loss is not a finite number in epoch {epoch} ({values}). The checkpoints of earlier epochs are kept. "
            "Lower the learning rate, for example --set training.learning_rate=5e-5."
        )

    def _checkpoint(self, epoch: int) -> Checkpoint:
        return Checkpoint(
            config=self.config,
            attribute_names=self.names,
            dim=self.dim,
            weights={name: value.detach().cpu().clone() for name, value in self.field.state_dict().items()},
            epoch=epoch,
            data_fingerprint=self.fingerprint,
            seen_ids=self.seen_ids,
            seen_digests=self.seen_digests,
            history=self.history,
            training_state={
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "best": self.best,
            },
        )

    def _write_log(self) -> None:
        with atomic_write(self.folder / "logs" / "metrics.jsonl", "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in self.history)

    def _write_run(self, state: str, seconds: float) -> None:
        content: dict[str, Any] = {
            "state": state,
            "fclf": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "seed": self.config.training.seed,
            "attributes": list(self.names),
            "rows": self.split_sizes,
            "data_fingerprint": self.fingerprint,
            "epochs": len(self.history),
            "seconds": round(seconds, 3),
        }
        write_json(self.folder / "run.json", content)


def _accumulate(sums: dict[str, float], losses: Losses) -> None:
    for name, value in {"loss": losses.total.detach(), **_detached(losses)}.items():
        sums[name] = sums.get(name, 0.0) + float(value)


def _detached(losses: Losses) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in losses.terms.items()}


def _cosine(settings: TrainingConfig, epoch: int) -> float:
    """Learning rate of an epoch, counted from 1: cosine annealing from the first to the last."""
    low, high = settings.min_learning_rate, settings.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * (epoch - 1) / settings.num_epochs)) / 2


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"--device {name} cannot be used here: {str(error).splitlines()[0]} Type --device cpu."
        ) from None
    return device


def _check_labels(rows: EmbeddingSet) -> None:
    """An attribute that never varies has no effect to learn."""
    labels = np.asarray(rows.attributes)
    constant = [
        f"'{name}' is {labels[0, k]} in all {len(rows)}"
        for k, name in enumerate(rows.attribute_names)
        if (labels[:, k] == labels[0, k]).all()
    ]
    if constant:
        raise InputError(
            f"Attributes that do not vary in the train rows cannot be learned: {', '.join(constant)}. "
            "Leave them out with --attributes."
        )


def _clear(folder: Path, overwrite: bool) -> None:
    """Make room for a run: an earlier one is refused, or removed when the user said so."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output-dir {folder} is a file; name a folder.")
    left = [folder / name for name in ("checkpoints", "logs", "config.yaml", "run.json") if (folder / name).exists()]
    if left and not overwrite:
        raise InputError(
            f"--output-dir {folder} holds a run already ({', '.join(path.name for path in left)}). "
            "Type --resume to continue it, --overwrite to remove it first, or name another folder."
        )
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _differences(old: Config, new: Config) -> str:
    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in values.items():
            out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return out

    before, after = flat(old.model_dump()), flat(new.model_dump())
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return ", ".join(f"{key} {before.get(key)} -> {after.get(key)}" for key in keys)
