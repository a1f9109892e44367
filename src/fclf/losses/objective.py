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
from fclf.losses.regularizers import curl, divergence, probe_jacobian, probed, smoothness, squared_distance
from fclf.losses.shared_contrast import shared_infonce
from fclf.ranks import ALONE, Ranks

__all__ = ["Losses", "Objective", "Rollout", "numbers"]


@dataclass(frozen=True)
class Rollout:
    """What a batch became: all that a term may look at. What several terms need is computed once, when asked for."""

    start: Float[Tensor, "m d"]
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
    ranks: Ranks = ALONE
    """The processes that share the batch: `targets` and `complete` are of all of it, `start` of this one's rows."""

    @cached_property
    def own_targets(self) -> Float[Tensor, "m K"]:
        """Of this process's rows."""
        return self.ranks.mine(self.targets)

    @cached_property
    def end(self) -> Float[Tensor, "m d"]:
        """Destinations of this process's rows."""
        return self.carry(self.start, self.own_targets)

    @property
    def rows(self) -> int:
        """Of the whole batch."""
        return len(self.targets)

    @cached_property
    def gathered(self) -> tuple[Float[Tensor, "c d"], Float[Tensor, "c K"]]:
        """Destinations and targets of the rows of the whole batch whose targets are known."""
        end = self.ranks.gather(self.end, self.rows)
        return (end, self.targets) if self.complete is None else (end[self.complete], self.targets[self.complete])


@dataclass(frozen=True)
class Losses:
    """Value of the objective and of each of its terms before weighting."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    weights: dict[str, float] = field(default_factory=dict)
    ranks: Ranks = ALONE
    """Of which each has its part of every value, and of its gradient."""

    def values(self) -> dict[str, float]:
        """The total as `loss`, and each term, fetched from the device at once."""
        return numbers({"loss": self.total, **self.terms}, self.ranks)

    def largest(self) -> str:
        """The term that weighs most, a term that is not finite first."""

        def size(name: str) -> float:
            value = abs(self.weights[name] * float(self.terms[name].detach()))
            return value if value < torch.inf else torch.inf  # NaN counts as infinite

        return max(self.terms, key=size)


def numbers(scalars: Mapping[str, Tensor], ranks: Ranks = ALONE) -> dict[str, float]:
    """Fetch scalars from the device together, as each fetch waits for it; add up those of several processes."""
    found = torch.stack([value.detach().to(torch.float32) for value in scalars.values()])
    ranks.sum_([found])
    return dict(zip(scalars, found.tolist(), strict=True))


def _part(value: Tensor, ranks: Ranks) -> Tensor:
    """Of a value that every process has whole, its share, with the gradient of the whole for its own rows."""
    return value if ranks.count == 1 else value - (1 - 1 / ranks.count) * value.detach()


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
            "magnitude": (config.lambda_magnitude, lambda r: r.field(r.start, r.own_targets).square().sum(-1).mean()),
        }
        jacobian = {"curl": config.lambda_curl, "div": config.lambda_div, "smoothness": config.lambda_smoothness}
        self.terms = {name: entry for name, entry in weighted.items() if entry[0] > 0}
        self.jacobian_weights = {name: weight for name, weight in jacobian.items() if weight > 0}

    def __call__(self, rollout: Rollout) -> Losses:
        """Compute every term once."""
        values = self._jacobian_terms(rollout)  # first, as their pass gives the velocity of the first step too
        share = rollout.ranks.share(rollout.rows)
        for name, (_, term) in self.terms.items():
            values[name] = term(rollout) if name == "contrastive" else share * term(rollout)
        weights = {name: weight for name, (weight, _) in self.terms.items()} | self.jacobian_weights
        total = rollout.start.new_zeros(())
        for name, weight in weights.items():
            total = total + weight * values[name]
        return Losses(total, {name: values[name] for name in weights}, weights, rollout.ranks)

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
        probe = probe_jacobian(r.field, r.start, r.own_targets, r.generator, share, r.ranks, r.rows)
        estimates = {"curl": curl, "div": divergence, "smoothness": smoothness}
        part = r.ranks.share(probed(share, r.rows))
        return {name: part * estimates[name](probe, self.config.jacobian_reduction) for name in self.jacobian_weights}

    def _contrastive(self, r: Rollout) -> Tensor:
        """Of all rows of the batch; on several processes each has its part of the value, and the gradient of its rows.

        Of the rows whose targets are known: who agrees with a row of unknown targets is not known either.
        """
        kind, tau = self.config.contrastive, self.config.temperature
        if r.complete is not None and not r.complete.any():
            return (r.end * 0).sum()
        if isinstance(kind, PairwiseMSEConfig):
            return _part(pairwise_mse(*r.gathered, tau), r.ranks)
        if not isinstance(kind, PrototypeInfoNCEConfig):
            return self._pairwise(r, kind.agreement)
        loss = r.end.new_zeros(())
        if kind.prototype_weight:
            end, targets = r.gathered
            centres, own = self.prototypes(end, targets, training=r.training)
            loss = loss + kind.prototype_weight * _part(prototype_infonce(end, centres, own, tau), r.ranks)
        if kind.pairwise_weight:
            loss = loss + kind.pairwise_weight * self._pairwise(r, 1.0)
        return loss

    def _pairwise(self, r: Rollout, share: float) -> Tensor:
        end, targets = r.gathered
        if r.ranks.count > 1:
            taken = torch.ones(r.rows, dtype=torch.bool, device=end.device) if r.complete is None else r.complete
            return shared_infonce(r.end, r.own_targets, end, targets, taken, share, self.config.temperature, r.ranks)
        return pairwise_infonce(end, agreement(targets, share), self.config.temperature)

    def _identity(self, r: Rollout) -> Tensor:
        return squared_distance(r.start, r.end, self.config.identity_reduction)

    def _separation(self, r: Rollout) -> Tensor:
        """FIX 4: away from where the same rows would go with one random attribute of the target wrong."""
        wrong = flip_attributes(r.targets, r.generator, max_flips=1, exclusive=r.exclusive)
        elsewhere = r.carry(r.start, r.ranks.mine(wrong))
        return -squared_distance(r.end, elsewhere, self.config.identity_reduction)


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
