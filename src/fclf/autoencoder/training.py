"""Train the portrait autoencoder: first the encoder, as face networks are, then the decoder on its embeddings.

Trained together from the pixels alone, the encoder learns pose and small features so slowly that decoded faces stay
blank within the time that a laptop has (docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from fclf.autoencoder.network import DIM, Encoder, embed
from fclf.data.portraits import Sitters, draw, sitters
from fclf.decoder.network import ImageDecoder
from fclf.errors import NonFiniteLossError

__all__ = ["Autoencoder", "AutoencoderSettings", "train_autoencoder"]

PER_PERSON = 4
WARM_UP = 100
LEARNING_RATE = 3e-3
TEMPERATURE = 0.1
LOGIT_SCALE = 10.0
SCALES = 3

OnStep = Callable[[str, int, Mapping[str, float]], None]
"""Told of a stage, a number of steps done and the losses of the last one."""


@dataclass(frozen=True)
class AutoencoderSettings:
    """How the packaged autoencoder was trained."""

    portraits: int = 20_000
    seed: int = 7001
    """Of the portraits, the weights and the batches; the people are not those of small seeds, which users draw."""
    encoder_steps: int = 1_800
    encoder_people: int = 24
    """In a batch, with `PER_PERSON` pictures each."""
    decoder_steps: int = 9_000
    decoder_batch: int = 16
    identity: float = 0.2
    attributes: float = 0.1
    factors: float = 3.0
    cycle: float = 0.5


@dataclass(frozen=True)
class Autoencoder:
    """Portraits to embeddings and back."""

    encoder: Encoder
    decoder: ImageDecoder


def train_autoencoder(
    settings: AutoencoderSettings | None = None, on_step: OnStep = lambda stage, step, losses: None
) -> Autoencoder:
    r"""Draw portraits and train on them.

    The encoder minimises three terms: a supervised contrastive loss of people (Khosla et al., 2020,
    https://arxiv.org/abs/2004.11362), class-balanced cross-entropy of each attribute by a linear map, and squared
    error of all factors and circumstances by a network of one hidden layer, so that pose and light stay in the
    embedding. Then it is held, and the decoder minimises squared errors of pixels and of their differences at three
    scales, and the squared distance between an embedding and the embedding of its decoded picture.

    Raises:
        NonFiniteLossError: if a loss stops being a number.
    """
    settings = settings or AutoencoderSettings()
    people = sitters(settings.portraits, per_person=PER_PERSON, seed=settings.seed)
    drawn = draw(people)
    pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = Encoder()
        _fit_encoder(encoder, pictures, people, settings, on_step)
        encoder.eval().requires_grad_(False)
        decoder = ImageDecoder(DIM)
        _fit_decoder(decoder, encoder, pictures, torch.from_numpy(embed(drawn, encoder)), settings, on_step)
    return Autoencoder(encoder, decoder.eval().requires_grad_(False))


def _fit_encoder(
    encoder: Encoder, pictures: Tensor, people: Sitters, settings: AutoencoderSettings, on_step: OnStep
) -> None:
    labels = torch.from_numpy(people.attributes).float()
    factors = torch.from_numpy(np.concatenate([people.factors, people.circumstances], axis=1))
    judge = nn.Linear(DIM, labels.shape[1])
    reader = nn.Sequential(nn.Linear(DIM, 256), nn.SiLU(), nn.Linear(256, factors.shape[1]))
    share = labels.mean(dim=0).clamp(1e-3, 1 - 1e-3)

    def losses(rows: Tensor) -> dict[str, Tensor]:
        z = encoder(_batch(pictures, rows))
        logits = LOGIT_SCALE * judge(z)
        return {
            "identity": settings.identity * _contrastive(z, rows // PER_PERSON),
            "attributes": settings.attributes
            * F.binary_cross_entropy_with_logits(logits, labels[rows], pos_weight=(1 - share) / share),
            "factors": settings.factors * F.mse_loss(reader(math.sqrt(DIM) * z), factors[rows]),
        }

    def batches() -> Iterator[Tensor]:
        while True:
            order = torch.randperm(len(pictures) // PER_PERSON)
            for who in torch.split(order, settings.encoder_people):
                yield (who[:, None] * PER_PERSON + torch.arange(PER_PERSON)).flatten()

    _descend("encoder", nn.ModuleList([encoder, judge, reader]), losses, batches(), settings.encoder_steps, on_step)


def _fit_decoder(
    decoder: ImageDecoder,
    encoder: Encoder,
    pictures: Tensor,
    z: Float[Tensor, "n d"],
    settings: AutoencoderSettings,
    on_step: OnStep,
) -> None:
    decoder.standardise(z)

    def losses(rows: Tensor) -> dict[str, Tensor]:
        x = _batch(pictures, rows)
        drawn = decoder(z[rows])
        again = (encoder(drawn) - z[rows]).square().sum(dim=1).mean()
        return {"pixels": _pixels(drawn - x), "cycle": settings.cycle * again}

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.split(torch.randperm(len(pictures)), settings.decoder_batch)

    _descend("decoder", decoder, losses, batches(), settings.decoder_steps, on_step)


def _descend(
    stage: str,
    module: nn.Module,
    losses: Callable[[Tensor], dict[str, Tensor]],
    batches: Iterator[Tensor],
    steps: int,
    on_step: OnStep,
) -> None:
    """Adam with decoupled weight decay; the rate rises for `WARM_UP` steps and falls linearly to nothing."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, betas=(0.9, 0.98))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * max(0.01, 1 - step / steps)
        terms = losses(next(batches))
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise NonFiniteLossError(f"The loss of the {stage} is {float(loss)} in step {step}.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        on_step(stage, step + 1, {name: float(term.detach()) for name, term in terms.items()})


def _batch(pictures: Tensor, rows: Tensor) -> Float[Tensor, "n 3 s s"]:
    return (pictures[rows].float() / 255).contiguous(memory_format=torch.channels_last)


def _contrastive(z: Float[Tensor, "n d"], person: Int64[Tensor, " n"]) -> Tensor:
    own = torch.eye(len(z), dtype=torch.bool)
    same = (person[:, None] == person) & ~own
    log_share = F.log_softmax((z @ z.T / TEMPERATURE).masked_fill(own, -1e9), dim=1)
    return -(log_share.masked_fill(~same, 0).sum(dim=1) / same.sum(dim=1).clamp_min(1)).mean()


def _pixels(error: Float[Tensor, "n 3 s s"]) -> Tensor:
    r"""$10 \sum_{s=0}^{2} 4^s \overline{e_s^2} + 2\,\overline{(\partial_x e_s)^2} + 2\,\overline{(\partial_y e_s)^2}$.

    e is the difference of two pictures, averaged over $2^s \times 2^s$ pixels. Squares, not absolute values: with
    those, faces stayed blank for longer.
    """
    total = error.new_zeros(())
    for scale in range(SCALES):
        total = total + 4**scale * error.square().mean()
        total = total + 2 * error.diff(dim=3).square().mean() + 2 * error.diff(dim=2).square().mean()
        error = F.avg_pool2d(error, 2)
    return 10 * total
