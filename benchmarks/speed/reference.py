"""One training step as the reference's loops take it: an oracle for time only, never a part of the library."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["reference_step"]

TEMPERATURE, ALPHA, DIFFERENCE, CURL_SAMPLES = 0.07, 0.1, 1e-3, 10


def reference_step(field: nn.Module, optimizer: torch.optim.Optimizer, z: Tensor, y: Tensor) -> None:
    """Flips row by row; a prototype, a divergence and a curl each by loops: 1,024 + 40 passes at d = 512."""
    targets = _flipped(y)
    end = functional.normalize(z + ALPHA * field(z, targets), dim=1)
    loss = 0.7 * _prototypes(end, targets) + 0.3 * _pairwise(end, targets)
    loss = loss + 0.05 * _curl(field, z, targets) + 0.05 * _divergence(field, z, targets)
    loss = loss + 0.05 * (end - z).square().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(field.parameters(), 1.0)
    optimizer.step()


def _flipped(y: Tensor) -> Tensor:
    targets = y.clone()
    for row in targets:
        for place in random.sample(range(len(row)), random.randint(1, 2)):
            row[place] = 1 - row[place]
    return targets


def _prototypes(end: Tensor, targets: Tensor) -> Tensor:
    combinations = torch.unique(targets, dim=0)
    centres = []
    for combination in combinations:
        members = (targets == combination).all(dim=1)
        centres.append(functional.normalize(end[members].mean(dim=0), dim=0))
    own = torch.zeros(len(end), dtype=torch.long)
    for row in range(len(end)):
        own[row] = (combinations == targets[row]).all(dim=1).nonzero()[0, 0]
    return functional.cross_entropy(end @ torch.stack(centres).T / TEMPERATURE, own)


def _pairwise(end: Tensor, targets: Tensor) -> Tensor:
    logits = end @ end.T / TEMPERATURE
    losses = []
    for row in range(len(end)):
        positive = (targets == targets[row]).all(dim=1)
        positive[row] = False
        if positive.any():
            others = torch.arange(len(end)) != row
            losses.append(torch.logsumexp(logits[row][others], 0) - torch.logsumexp(logits[row][positive], 0))
    return torch.stack(losses).mean() if losses else end.sum() * 0


def _divergence(field: nn.Module, z: Tensor, targets: Tensor) -> Tensor:
    total = torch.zeros(len(z))
    for dimension in range(z.shape[1]):
        total = total + _difference(field, z, targets, dimension)[:, dimension]
    return total.square().mean() / z.shape[1] ** 2


def _curl(field: nn.Module, z: Tensor, targets: Tensor) -> Tensor:
    total = torch.zeros(len(z))
    for _ in range(CURL_SAMPLES):
        i, j = random.sample(range(z.shape[1]), 2)
        skew = _difference(field, z, targets, i)[:, j] - _difference(field, z, targets, j)[:, i]
        total = total + skew.square()
    return total.mean() / CURL_SAMPLES


def _difference(field: nn.Module, z: Tensor, targets: Tensor, dimension: int) -> Tensor:
    step = torch.zeros_like(z)
    step[:, dimension] = DIFFERENCE
    return (field(z + step, targets) - field(z - step, targets)) / (2 * DIFFERENCE)
