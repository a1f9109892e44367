"""Training what a closed form leaves to learn: a residual velocity, through the whole rollout."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int8
from numpy.typing import NDArray
from torch import Tensor

from fclf.closed.linear import ClosedForm
from fclf.closed.missing import completed
from fclf.closed.probe import FINE_PENALTY, LinearClassifier
from fclf.closed.quantile import PENALTY
from fclf.config import ChangeModelConfig, InferenceConfig
from fclf.errors import NonFiniteLossError
from fclf.field import ChangeField, ChangeResidual
from fclf.flow import Flow, step
from fclf.losses.transport import attribute_weights, held_logits, weighted_energy

__all__ = ["edits_of", "learn_residual"]

ROLLOUT_STEPS = 2
"""Heun steps of the trained rollout: as near to the ten of inference as the residual is smooth."""
EDITS = 480
REAL_ROWS = 960
CANDIDATES = 8192
"""Real rows from which those of a step are drawn, so that its time does not grow with the data."""
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1.0
TEMPERATURE = 0.2
"""Of the labels by which real rows are matched to edits, in attributes that differ."""
START_WEIGHT = 0.3
"""Of the squared distance to the start's destinations, in units of the spread of the rows."""
HELD_WEIGHT = 0.3
"""Of what others' logits lose, at `keep` 0.5; ten times as much at 1 as at 0, as the start weighs them."""
SOURCE_WEIGHT = 1.0
"""Of what an edit's cosine with its source loses on that with the nearest other row."""
SPREAD_WEIGHT = 1.0
"""Of the mean change of the logarithm of a group's variance."""


@dataclass(frozen=True)
class _Probes:
    """Coarse and fine probes of the train rows; logits in their standard deviations."""

    weights: Float[Tensor, "2K d"]
    offsets: Float[Tensor, " 2K"]

    @classmethod
    def fit(cls, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> _Probes:
        probes = [LinearClassifier.fit(z, y, penalty) for penalty in (PENALTY, FINE_PENALTY)]
        scale = np.concatenate([probe.logits(z).std(axis=0) for probe in probes])
        weights, offsets = (np.concatenate([getattr(p, name) for p in probes]) for name in ("weights", "offsets"))
        return cls(_tensor(weights / scale[:, None]), _tensor(offsets / scale))

    def __call__(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n 2K"]:
        return z @ self.weights.T + self.offsets


def learn_residual(
    start: ClosedForm,
    z: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    model: ChangeModelConfig,
    *,
    seed: int = 0,
    on_step: Callable[[float], None] | None = None,
) -> ChangeResidual:
    r"""Learn what takes the edits of a closed form nearer to real rows, with its hand on predictions.

    Of `model.residual_steps` steps each edits train rows by one attribute, as many for every attribute and direction,
    follows the whole rollout from row to destination x, and lowers by AdamW

    $$\frac{1}{2K}\sum_g E_g + \sum_{ip} \bigl(h_{ip}\,(\ell_{ip}(x) - \ell_{ip}(e))^2\bigr)/n
    + w_h\,H + w_s\,\|x - e\|^2/\sigma^2 + L + V$$

    with the energy distance $E_g$ of a group to *real* rows (`losses.transport.attribute_weights`; embeddings in units
    of their spread $\sigma$ beside their labels), the logits $\ell$ of the edited attribute, the start's destination e,
    `losses.transport.held_logits` H of the others down to the margin of `model.keep`, and L, what the edit's cosine
    with its source, in what the probes do not read, loses of its lead on that with the nearest other row. L is what
    keeps rank 1: an energy distance does not see who is who. V is what the variance of a group's edits changes from
    the start's, the mean of $|\log|$ of the ratio: on a cone the energy distance hardly sees that either.

    Args:
        start: fitted on the same rows.
        z: train rows.
        y: their attributes.
        model: sizes, steps and operating point.
        seed: of initial weights and draws; the same seed gives the same bits.
        on_step: called with the loss of each step.

    Raises:
        NonFiniteLossError: if the loss is not a number any more.
    """
    rng = np.random.default_rng(seed)
    rows, probes = _tensor(z), _Probes.fit(z, y)
    y = completed(z, y, seed)
    labels = _tensor(y)
    spread = float(z.std(axis=0).mean())
    sigma = float(np.sqrt(z.var(axis=0).sum()))
    k = y.shape[1]
    residual = ChangeResidual(_tensor(z.mean(axis=0)), spread, k, hidden=model.hidden_dim, rank=model.rank, seed=seed)
    field, alone = ChangeField(start, residual), ChangeField(start)
    optimizer = torch.optim.AdamW(residual.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    centre, basis = _tensor(z.mean(axis=0)), torch.linalg.qr(probes.weights.T)[0]

    def rest(x: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Directions from the mean, without what the probes read."""
        x = x - centre
        return torch.nn.functional.normalize(x - (x @ basis) @ basis.T, dim=1)

    margin = torch.full((2 * k,), 0.2 + 0.6 * model.keep)
    for number in range(model.residual_steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * number / model.residual_steps)) / 2
        source, target = _draw_edits(y, rng)
        begin, goal = rows[source], _tensor(target)
        change = goal - labels[source]
        real = _draw_real(goal, change, labels, rng)
        condition = field.condition(begin, labels[source], goal)
        with torch.no_grad():
            kept_end = _rollout(alone, begin, condition)
            before, wanted = probes(begin), probes(kept_end)
        end = _rollout(field, begin, condition)
        own = change.abs().repeat(1, 2)
        read = probes(end)
        found, lost = (_leads(rest(x), rest(begin), rest(rows[real]), source, real) for x in (end, kept_end))
        a, b = attribute_weights(goal, change, labels[real], TEMPERATURE)
        energy = weighted_energy(
            torch.cat([end / sigma, goal], dim=1), torch.cat([rows[real] / sigma, labels[real]], dim=1), a, b
        )
        loss = (
            energy.mean()
            + ((read - wanted).square() * own).sum(dim=1).mean()
            + HELD_WEIGHT * 10 ** (model.keep - 0.5) * held_logits(read, before, margin, 1 - own)
            + SOURCE_WEIGHT * (lost - found).clamp_min(0).mean()
            + SPREAD_WEIGHT * (_variance(end, k) / _variance(kept_end, k)).log().abs().mean()
            + START_WEIGHT * ((end - kept_end) / sigma).square().sum(dim=1).mean()
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"The loss of the residual is {value} in step {number + 1} of {model.residual_steps}. Look at the "
                "embeddings with `fclf inspect`, or leave the residual out with --set model.residual_steps=0."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if on_step is not None:
            on_step(value)
    return residual.eval().requires_grad_(False)


def edits_of(field: ChangeField, inference: InferenceConfig) -> ClosedForm:
    """Edits along the flow of a field as a checkpoint makes them, in the form of a closed form."""
    flow = Flow(field, inference.num_flow_steps, inference.step_size, inference.method, field.condition)

    def edit(
        z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        return flow.edit(*flow.inputs(z, y, target)).double().numpy()

    return edit


def _rollout(field: ChangeField, z: Float[Tensor, "m d"], condition: Float[Tensor, "m c"]) -> Float[Tensor, "m d"]:
    for _ in range(ROLLOUT_STEPS):
        z = step(field, z, condition, 1 / ROLLOUT_STEPS, "heun")
    return z


def _variance(x: Float[Tensor, "m d"], attributes: int) -> Float[Tensor, " 2K"]:
    """Of the edits of each attribute and direction, which `_draw_edits` draws one after another."""
    return x.reshape(2 * attributes, -1, x.shape[1]).var(dim=1).sum(dim=1).clamp_min(torch.finfo(x.dtype).tiny)


def _leads(
    end: Float[Tensor, "m d"],
    begin: Float[Tensor, "m d"],
    others: Float[Tensor, "r d"],
    source: NDArray[np.intp],
    other: NDArray[np.intp],
) -> Float[Tensor, " m"]:
    """By how much the cosine of an edit with its source leads that with the nearest of the other rows."""
    cosine = end @ others.T
    same = torch.from_numpy(source[:, None] == other)
    return (end * begin).sum(dim=1) - cosine.masked_fill(same, -1.0).amax(dim=1)


def _draw_edits(
    y: Int8[np.ndarray, "n K"], rng: np.random.Generator
) -> tuple[NDArray[np.intp], Int8[np.ndarray, "m K"]]:
    """Sources and targets, as many of each attribute and direction."""
    k = y.shape[1]
    size = max(2, EDITS // (2 * k))
    sources, targets = [], []
    for attribute in range(k):
        for value in (0, 1):
            pool = np.flatnonzero(y[:, attribute] == 1 - value)
            chosen = rng.choice(pool, size, replace=len(pool) < size)
            target = y[chosen].copy()
            target[:, attribute] = value
            sources.append(chosen)
            targets.append(target)
    return np.concatenate(sources), np.concatenate(targets)


def _draw_real(
    target: Float[Tensor, "m K"], change: Float[Tensor, "m K"], labels: Float[Tensor, "n K"], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Real rows, as likely as the edits' groups give them weight."""
    pool = rng.permutation(len(labels))[:CANDIDATES]
    weight = attribute_weights(target, change, labels[pool], TEMPERATURE)[1].sum(dim=0).double().numpy()
    return pool[rng.choice(len(pool), REAL_ROWS, p=weight / weight.sum())]


def _tensor(values: NDArray[np.float64] | Int8[np.ndarray, "n K"]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
