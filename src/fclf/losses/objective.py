"""The objective: a named, weighted sum of terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fclf.config import LossConfig, PairwiseMSEConfig
from fclf.data.targets import combination_codes
from fclf.losses.contrastive import pairwise_infonce, pairwise_mse, prototype_infonce
from fclf.losses.regularizers import squared_movement

__all__ = ["Losses", "Objective", "Rollout"]


@dataclass(frozen=True)
class Rollout:
    """What a batch became: all that a term may look at."""

    start: Float[Tensor, "n d"]
    end: Float[Tensor, "n d"]
    targets: Float[Tensor, "n K"]


@dataclass(frozen=True)
class Losses:
    """Value of the objective and of each of its terms before weighting."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


Term = Callable[[Rollout], Tensor]


class Objective:
    """Weighted sum of the terms that `config` gives a weight above 0; the others are not computed."""

    def __init__(self, config: LossConfig) -> None:
        def identity(r: Rollout) -> Tensor:
            return squared_movement(r.start, r.end, config.identity_reduction)

        weighted: dict[str, tuple[float, Term]] = {
            "contrastive": (config.lambda_contrastive, _contrastive(config)),
            "identity": (config.lambda_identity, identity),
        }
        self.terms = {name: entry for name, entry in weighted.items() if entry[0] > 0}

    def __call__(self, rollout: Rollout) -> Losses:
        """Compute every term once."""
        values = {name: term(rollout) for name, (_, term) in self.terms.items()}
        total = torch.zeros((), dtype=rollout.end.dtype, device=rollout.end.device)
        for name, (weight, _) in self.terms.items():
            total = total + weight * values[name]
        return Losses(total, values)


def _contrastive(config: LossConfig) -> Term:
    kind = config.contrastive
    tau = config.temperature
    if isinstance(kind, PairwiseMSEConfig):
        return lambda r: pairwise_mse(r.end, r.targets, tau)

    def prototype_loss(r: Rollout) -> Tensor:
        codes = combination_codes(r.targets)
        loss = r.end.new_zeros(())
        if kind.prototype_weight:
            loss = loss + kind.prototype_weight * prototype_infonce(r.end, codes, tau, stop_gradient=kind.stop_gradient)
        if kind.pairwise_weight:
            loss = loss + kind.pairwise_weight * pairwise_infonce(r.end, codes, tau)
        return loss

    return prototype_loss
