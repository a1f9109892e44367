"""The objective: a named, weighted sum of terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fclf.config import LossConfig, PairwiseMSEConfig, PrototypeInfoNCEConfig
from fclf.data.targets import flip_attributes
from fclf.flow import VectorField
from fclf.labels import ExclusiveGroup
from fclf.losses.contrastive import agreement, pairwise_infonce, pairwise_mse, prototype_infonce
from fclf.losses.prototypes import BatchPrototypes, MovingAveragePrototypes, PrototypeSource, RealPrototypes
from fclf.losses.regularizers import curl, divergence, probe_jacobian, smoothness, squared_distance

__all__ = ["Losses", "Objective", "Rollout", "numbers"]


@dataclass(frozen=True)
class Rollout:
    """What a batch became: all that a term may look at. What several terms need is computed once, when asked for."""

    start: Float[Tensor, "n d"]
    targets: Float[Tensor, "n K"]
    field: VectorField
    carry: Callable[[Tensor, Tensor], Tensor]
    """Destinations of embeddings for target attributes."""
    generator: torch.Generator
    training: bool = True
    complete: Bool[Tensor, " n"] | None = None
    """Rows whose targets are all known; None where all are."""
    exclusive: tuple[ExclusiveGroup, ...] = ()
    """Attributes that exclude each other."""

    @cached_property
    def end(self) -> Float[Tensor, "n d"]:
        """Destinations of the batch."""
        return self.carry(self.start, self.targets)


@dataclass(frozen=True)
class Losses:
    """Value of the objective and of each of its terms before weighting."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    weights: dict[str, float] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """The total as `loss`, and each term, fetched from the device at once."""
        return numbers({"loss": self.total, **self.terms})

    def largest(self) -> str:
        """The term that weighs most, a term that is not finite first."""

        def size(name: str) -> float:
            value = abs(self.weights[name] * float(self.terms[name].detach()))
            return value if value < torch.inf else torch.inf  # NaN counts as infinite

        return max(self.terms, key=size)


def numbers(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Fetch scalars from the device together, as each fetch waits for it."""
    found = torch.stack([value.detach().to(torch.float32) for value in scalars.values()]).tolist()
    return dict(zip(scalars, found, strict=True))


Term = Callable[[Rollout], Tensor]


class Objective:
    """Weighted sum of the terms that `config` gives a weight above 0; the others are not computed.

    Args:
        config: weights and kinds.
        real: training embeddings and attributes, for prototypes of real rows.
    """

    def __init__(self, config: LossConfig, real: tuple[Tensor, Tensor] | None = None) -> None:
        self.config = config
        self.prototypes = _prototype_source(config, real)
        weighted: dict[str, tuple[float, Term]] = {
            "contrastive": (config.lambda_contrastive, self._contrastive),
            "identity": (config.lambda_identity, self._identity),
            "separation": (config.lambda_separation, self._separation),
            "magnitude": (config.lambda_magnitude, lambda r: r.field(r.start, r.targets).square().sum(-1).mean()),
        }
        jacobian = {"curl": config.lambda_curl, "div": config.lambda_div, "smoothness": config.lambda_smoothness}
        self.terms = {name: entry for name, entry in weighted.items() if entry[0] > 0}
        self.jacobian_weights = {name: weight for name, weight in jacobian.items() if weight > 0}

    def __call__(self, rollout: Rollout) -> Losses:
        """Compute every term once."""
        values = self._jacobian_terms(rollout)  # first, as their pass gives the velocity of the first step too
        values |= {name: term(rollout) for name, (_, term) in self.terms.items()}
        weights = {name: weight for name, (weight, _) in self.terms.items()} | self.jacobian_weights
        total = rollout.start.new_zeros(())
        for name, weight in weights.items():
            total = total + weight * values[name]
        return Losses(total, {name: values[name] for name in weights}, weights)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep to continue."""
        return self.prototypes.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.prototypes.restore(state)

    def _jacobian_terms(self, r: Rollout) -> dict[str, Tensor]:
        if not self.jacobian_weights:
            return {}
        share = self.config.jacobian_share if r.training else 1.0
        probe = probe_jacobian(r.field, r.start, r.targets, r.generator, share)
        estimates = {"curl": curl, "div": divergence, "smoothness": smoothness}
        return {name: estimates[name](probe, self.config.jacobian_reduction) for name in self.jacobian_weights}

    def _contrastive(self, r: Rollout) -> Tensor:
        """Of the rows whose targets are known: who agrees with a row of unknown targets is not known either."""
        kind, tau = self.config.contrastive, self.config.temperature
        end, targets = r.end, r.targets
        if r.complete is not None:
            end, targets = end[r.complete], targets[r.complete]
        if not len(end):
            return (r.end * 0).sum()
        if isinstance(kind, PairwiseMSEConfig):
            return pairwise_mse(end, targets, tau)
        if not isinstance(kind, PrototypeInfoNCEConfig):
            return pairwise_infonce(end, agreement(targets, kind.agreement), tau)
        loss = end.new_zeros(())
        if kind.prototype_weight:
            centres, own = self.prototypes(end, targets, training=r.training)
            loss = loss + kind.prototype_weight * prototype_infonce(end, centres, own, tau)
        if kind.pairwise_weight:
            loss = loss + kind.pairwise_weight * pairwise_infonce(end, agreement(targets), tau)
        return loss

    def _identity(self, r: Rollout) -> Tensor:
        return squared_distance(r.start, r.end, self.config.identity_reduction)

    def _separation(self, r: Rollout) -> Tensor:
        """FIX 4: away from where the same rows would go with one random attribute of the target wrong."""
        wrong = flip_attributes(r.targets, r.generator, max_flips=1, exclusive=r.exclusive)
        return -squared_distance(r.end, r.carry(r.start, wrong), self.config.identity_reduction)


def _prototype_source(config: LossConfig, real: tuple[Tensor, Tensor] | None) -> PrototypeSource:
    kind = config.contrastive
    if not isinstance(kind, PrototypeInfoNCEConfig) or kind.prototypes in ("batch", "stop_gradient"):
        return BatchPrototypes(
            stop_gradient=isinstance(kind, PrototypeInfoNCEConfig) and kind.prototypes == "stop_gradient"
        )
    if kind.prototypes == "moving_average":
        return MovingAveragePrototypes() if kind.momentum is None else MovingAveragePrototypes(kind.momentum)
    if real is None:
        raise ValueError("prototypes of real rows need `real`, the training embeddings and attributes")
    return RealPrototypes(*real)
