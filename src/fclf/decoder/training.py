"""Train a decoder on embeddings and their images, resumably."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from fclf.decoder.loss import DecoderLoss
from fclf.decoder.network import SIZES, ImageDecoder
from fclf.decoder.state import NAME, Decoder
from fclf.errors import InputError, NonFiniteLossError
from fclf.files import atomic_write

__all__ = ["Pairs", "TrainingSettings", "check_folder", "train_decoder"]

STATE = "training_state.pt"
PARTS = (NAME, STATE, "decoder.json", "samples.png")
"""What a run writes: all that `overwrite` ever removes."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a decoder is trained."""

    size: int = 64
    """Side of the images in pixels."""
    epochs: int = 10
    seed: int = 0
    width: int = 32
    """Channels of the network (`ImageDecoder`)."""
    batch: int = 64
    learning_rate: float = 2e-3
    """Largest; reached in a short rise (`WARM_UP`), then a cosine to zero."""
    weight_decay: float = 1e-3
    noise: float = 0.3
    """Standard deviation of the noise on every coordinate of an embedding, in units of their spread."""
    gradient: float = DecoderLoss.gradient
    """Weight of the loss's gradient term."""

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise InputError(f"--size {self.size}: images have {' or '.join(map(str, SIZES))} pixels a side.")


WARM_UP = 100
"""Steps, or a tenth of all if that is fewer."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Embeddings and their images, row by row."""

    z: Float32[np.ndarray, "n d"]
    images: UInt8[np.ndarray, "n s s 3"]

    def __len__(self) -> int:
        return len(self.z)

    def embedded(self) -> Tensor:
        """Embeddings as a tensor."""
        return torch.from_numpy(self.z)

    def pictures(self) -> Tensor:
        """Images as a uint8 tensor (n, 3, s, s)."""
        return torch.from_numpy(self.images).permute(0, 3, 1, 2)


def train_decoder(
    train: Pairs,
    val: Pairs,
    settings: TrainingSettings,
    folder: str | Path,
    *,
    fingerprint: str,
    resume: bool = False,
    overwrite: bool = False,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
) -> tuple[Decoder, list[dict[str, float]]]:
    """Train on the train rows, keep the epoch with the lowest loss on the val rows, and write `decoder.safetensors`.

    The state is saved after every epoch, and what an epoch draws depends on the seed and its number alone: an
    interrupted run resumes to the bits of one that was not.

    Args:
        train: what the weights are fitted to.
        val: what the epoch is chosen on.
        settings: how.
        folder: the run's.
        fingerprint: of the data; a run is resumed with the same data only.
        resume: continue the run in the folder.
        overwrite: remove an earlier run first.
        on_epoch: called with `epoch`, `loss` and `val_loss` after every epoch.

    Returns:
        The decoder, and a record of every epoch.

    Raises:
        InputError: for a folder that holds a run (or none to resume), or one of other settings or data.
        NonFiniteLossError: if the loss stops being a number; the last good epoch stays saved.
    """
    folder = Path(folder)
    check_folder(folder, resume=resume, overwrite=overwrite)
    run = _Run(train, val, settings, folder, fingerprint)
    if resume:
        run.restore()
    else:
        for path in _earlier(folder):
            path.unlink()
    return run.fit(on_epoch)


def check_folder(folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder that `train_decoder` would refuse, before any image is read.

    Raises:
        InputError: for a file, for an earlier run without one of the flags, and where there is none to resume.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output-dir {folder} is a file; name a folder.")
    if resume and not (folder / STATE).is_file():
        raise InputError(f"--resume: there is no run in {folder}. Leave out --resume to start one.")
    left = _earlier(folder)
    if left and not (resume or overwrite):
        raise InputError(
            f"--output-dir {folder} holds a run already ({', '.join(path.name for path in left)}). "
            "Type --resume to continue it, --overwrite to remove it first, or name another folder."
        )


def _earlier(folder: Path) -> list[Path]:
    return [folder / name for name in PARTS if (folder / name).is_file()]


class _Run:
    """State of one training run."""

    def __init__(self, train: Pairs, val: Pairs, settings: TrainingSettings, folder: Path, fingerprint: str) -> None:
        self.train, self.val, self.settings, self.folder, self.fingerprint = train, val, settings, folder, fingerprint
        self.loss = DecoderLoss(settings.gradient)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = ImageDecoder(train.z.shape[1], settings.size, settings.width)
        self.network.standardise(train.embedded())
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.history: list[dict[str, float]] = []
        self.best = {name: value.clone() for name, value in self.network.state_dict().items()}

    def restore(self) -> None:
        path = self.folder / STATE
        try:
            saved = torch.load(path, weights_only=True)
            before, data = saved["settings"], saved["fingerprint"]
        except Exception as error:  # a damaged file can raise nearly anything
            raise InputError(
                f"--resume: {path} cannot be read ({type(error).__name__}); it is damaged. Start anew with --overwrite."
            ) from error
        now = asdict(self.settings)
        changed = [f"{name} {before.get(name)} -> {now[name]}" for name in now if before.get(name) != now[name]]
        if changed:
            raise InputError(
                f"--resume: {self.folder} was trained with other settings ({', '.join(changed)}). Resume with the "
                "same, or start anew with --overwrite."
            )
        if data != self.fingerprint:
            raise InputError(
                f"--resume: {self.folder} was trained on other embeddings or images. Name the same, or use --overwrite."
            )
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history, self.best = saved["history"], saved["best"]

    def fit(self, on_epoch: Callable[[Mapping[str, float]], None] | None) -> tuple[Decoder, list[dict[str, float]]]:
        self._save()
        for epoch in range(len(self.history) + 1, self.settings.epochs + 1):
            started = time.perf_counter()
            record = {"epoch": float(epoch), "loss": self._train_epoch(epoch), "val_loss": self._validate(epoch)}
            if record["val_loss"] < min((past["val_loss"] for past in self.history), default=math.inf):
                self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
            self.history.append({**record, "seconds": round(time.perf_counter() - started, 3)})
            self._save()
            if on_epoch is not None:
                on_epoch(record)
        self.network.load_state_dict(self.best)
        about = {"data_fingerprint": self.fingerprint, "settings": asdict(self.settings)}
        decoder = Decoder(self.network.eval().requires_grad_(False), about)
        decoder.save(self.folder / NAME)
        return decoder, self.history

    def _train_epoch(self, epoch: int) -> float:
        settings = self.settings
        z, images = self.train.embedded(), self.train.pictures()
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
        batches = torch.split(torch.randperm(len(z), generator=generator), settings.batch)
        total = 0.0
        for number, rows in enumerate(batches):
            done = (epoch - 1) * len(batches) + number
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate * _rate(done, settings.epochs * len(batches))
            noise = torch.randn(len(rows), z.shape[1], generator=generator)
            decoded = self.network(z[rows] + settings.noise * self.network.scale * noise)
            loss = self.loss(decoded, images[rows].float() / 255)
            total += self._finite(loss, epoch) * len(rows)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return total / len(z)

    def _validate(self, epoch: int) -> float:
        total = 0.0
        with torch.no_grad():
            batches = zip(torch.split(self.val.embedded(), 64), torch.split(self.val.pictures(), 64), strict=True)
            for z, images in batches:
                total += self._finite(self.loss(self.network(z), images.float() / 255), epoch) * len(z)
        return total / len(self.val)

    def _finite(self, loss: Tensor, epoch: int) -> float:
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"The loss is not a finite number in epoch {epoch}. The epochs before it are kept in {self.folder}. "
                "Check the embeddings for outliers, or train with a lower learning rate."
            )
        return value

    def _save(self) -> None:
        content: dict[str, Any] = {
            "settings": asdict(self.settings),
            "fingerprint": self.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
        }
        buffer = io.BytesIO()  # torch reports a full disk as an error of its own; written here, it is an OSError
        torch.save(content, buffer)
        with atomic_write(self.folder / STATE) as file:
            file.write(buffer.getbuffer())


def _rate(done: int, steps: int) -> float:
    """Share of the learning rate: a linear rise, times a cosine to zero."""
    return min(1.0, (done + 1) / min(WARM_UP, max(1, steps // 10))) * (0.5 + 0.5 * math.cos(math.pi * done / steps))
