"""The contrast of a batch whose rows several processes share: each compares its own rows with all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from fclf.losses.contrastive import LOWEST, SMALLEST, agreement
from fclf.ranks import Ranks

__all__ = ["shared_infonce"]

WARM = 30.0
"""Exponents up to which no exponential is cut off at `LOWEST`, nor a sum of them below `SMALLEST`."""


def shared_infonce(
    own: Float[Tensor, "m d"],
    own_targets: Float[Tensor, "m K"],
    every: Float[Tensor, "N d"],
    targets: Float[Tensor, "N K"],
    taken: Bool[Tensor, " n"],
    share: float,
    temperature: float,
    ranks: Ranks,
) -> Float[Tensor, ""]:
    r"""This process's part of `pairwise_infonce` of the whole batch, which the parts of all processes add up to.

    Its gradient is that of the *whole* loss for this process's rows. With $s_{ij} = \langle z_i, z_j\rangle$, which is
    symmetric, a row's gradient needs the softmax of that row and, of every other row j, what $s_{ij}$ is in the softmax
    of j: its greatest exponent and its sums, five numbers a row, and no other similarity. So similarities, exponentials
    and products cost each process n m in place of n^2, and a step gathers 20 bytes a row more.

    Args:
        own: unit vectors of this process's rows of the batch (`Ranks.mine`).
        own_targets: their target attributes.
        every: unit vectors of all rows that take part.
        targets: their target attributes.
        taken: which rows of the batch take part.
        share: of attributes that positives agree on (`agreement`).
        temperature: of the softmax.
        ranks: the processes, all of which ask for it.
    """
    if len(targets) < 2:  # nobody to be compared with, which all processes know
        return (own * 0).sum()
    mine = ranks.mine(taken)
    place = ranks.mine(taken.cumsum(0) - 1)[mine]
    positive = agreement(own_targets[mine], share, targets)
    positive[torch.arange(len(place), device=own.device), place] = 0
    batch = _Batch(every.detach(), place, positive.to(own.dtype), temperature, mine, taken, ranks)
    return _SharedInfoNCE.apply(own, batch)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Batch:
    """What a process's rows are compared with."""

    every: Float[Tensor, "N d"]
    """Rows that take part, of all processes."""
    place: Int64[Tensor, " M"]
    """Of this process's rows among them."""
    positive: Float[Tensor, "M N"]
    """1 for positives of its rows; a row is none of itself."""
    temperature: float
    mine: Bool[Tensor, " m"]
    """Which rows of this process take part, and in `taken` which of the batch."""
    taken: Bool[Tensor, " n"]
    ranks: Ranks

    @property
    def is_warm(self) -> bool:
        """Whether differences of similarities, which are 2 at most, all have exponentials far from the smallest."""
        return 2 / self.temperature < WARM

    def exponentials(self, logits: Tensor) -> Tensor:
        """Of differences of similarities, in place; 0 where a row meets itself."""
        logits.div_(self.temperature).clamp_(LOWEST, 0).exp_()  # what is above 0 is no positive, and counts as none
        logits[torch.arange(len(self.place), device=logits.device), self.place] = 0
        return logits

    def gathered(self, numbers: Float[Tensor, "M 5"]) -> Float[Tensor, "N 5"]:
        """Numbers of the rows of all processes."""
        own = numbers.new_zeros((len(self.mine), numbers.shape[1]))
        own[self.mine] = numbers
        return self.ranks.gather(own, len(self.taken))[self.taken]


class _SharedInfoNCE(torch.autograd.Function):
    """Value and gradient at once, as in `_PairwiseInfoNCE`; the gradient of a gathered row is its own process's."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, batch: _Batch) -> Tensor:
        z, positive, rows = own[batch.mine], batch.positive, torch.arange(len(batch.place), device=own.device)
        similar = z @ batch.every.T
        similar[rows, batch.place] = -torch.inf
        top = similar.amax(dim=1, keepdim=True) if similar.numel() else similar.new_zeros((len(z), 1))
        weights = batch.exponentials(similar - top)
        anchors = (positive.sum(dim=1, keepdim=True) > 0.5).to(z.dtype)
        chosen = weights * positive
        near, total = (w.sum(dim=1, keepdim=True) for w in (chosen, weights))
        peak, loss = top.clone(), total.log() - near.log()
        far = ((anchors > 0) & (near < SMALLEST)).nonzero()[:, 0]
        if len(far):  # positives that are lost beside the nearest row are compared with the nearest of themselves
            of = similar[far].masked_fill(positive[far] == 0, -torch.inf)
            peak[far] = of.amax(dim=1, keepdim=True)
            chosen[far] = of.sub_(peak[far]).div_(batch.temperature).clamp_min_(LOWEST).exp_() * positive[far]
            near[far] = chosen[far].sum(dim=1, keepdim=True)
            loss[far] = total[far].log() - near[far].log() + (top[far] - peak[far]) / batch.temperature
        rows_of_all = batch.gathered(torch.cat([top, total, peak, near, anchors], dim=1)).T
        count = rows_of_all[4].sum().clamp_min(1)
        if batch.is_warm:
            gradient = _warm(weights, chosen, top, total, near, anchors, rows_of_all, batch.temperature)
        else:
            gradient = weights.mul_(anchors / total).sub_(chosen.mul_(anchors / near.clamp_min(SMALLEST)))
            gradient += _as_others_see(similar, rows_of_all, batch)
        found = torch.zeros_like(own)
        found[batch.mine] = gradient @ batch.every / (count * batch.temperature)
        ctx.save_for_backward(found)
        return torch.where(anchors > 0, loss, 0).sum() / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0] * grad, None


def _warm(
    weights: Float[Tensor, "M N"],
    chosen: Float[Tensor, "M N"],
    top: Float[Tensor, "M 1"],
    total: Float[Tensor, "M 1"],
    near: Float[Tensor, "M 1"],
    anchors: Float[Tensor, "M 1"],
    rows_of_all: Float[Tensor, "5 N"],
    temperature: float,
) -> Float[Tensor, "M N"]:
    r"""Both from one exponential: $e^{(s - t_j)/\tau} = e^{(s - t_i)/\tau}\, e^{t_i/\tau} e^{-t_j/\tau}$."""
    highest, totals, _, nears, others = rows_of_all
    middle = highest.mean()
    mine, theirs = ((top - middle) / temperature).exp_(), ((middle - highest) / temperature).exp_()
    seen = torch.addcmul(anchors / total, mine, theirs * others / totals)
    as_positive = torch.addcmul(anchors / near.clamp_min(SMALLEST), mine, theirs * others / nears.clamp_min(SMALLEST))
    return seen.mul_(weights).sub_(as_positive.mul_(chosen))


def _as_others_see(
    similar: Float[Tensor, "M N"], rows_of_all: Float[Tensor, "5 N"], batch: _Batch
) -> Float[Tensor, "M N"]:
    """The difference of the two softmaxes of every anchor at each of this process's rows."""
    top, total, peak, near, anchors = rows_of_all
    weights = batch.exponentials(similar - top)
    own = weights if torch.equal(top, peak) else batch.exponentials(similar - peak)
    chosen = own * batch.positive.mul(anchors / near.clamp_min(SMALLEST))
    return weights * (anchors / total) - chosen
