"""Where the prototypes of the contrastive loss come from."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fclf import sphere
from fclf.data.targets import combination_codes
from fclf.losses.contrastive import batch_prototypes

__all__ = ["BatchPrototypes", "MovingAveragePrototypes", "PrototypeSource", "RealPrototypes"]


class PrototypeSource(Protocol):
    """Unit prototypes, one per combination, and which of them is each row's own."""

    def __call__(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], *, training: bool
    ) -> tuple[Float[Tensor, "C d"], Int64[Tensor, " n"]]:
        """Return prototypes and positions; -1 for a row whose combination has none."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep to continue."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        ...


class BatchPrototypes:
    """Means of the flowed batch, as in the specification.

    Args:
        stop_gradient: whether the prototypes are held fixed while the rows are pulled to them.
    """

    def __init__(self, *, stop_gradient: bool = False) -> None:
        self.stop_gradient = stop_gradient

    def __call__(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], *, training: bool
    ) -> tuple[Float[Tensor, "C d"], Int64[Tensor, " n"]]:
        """Compute the batch's prototypes."""
        codes = combination_codes(y)
        return batch_prototypes(z.detach() if self.stop_gradient else z, codes), codes

    def state(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


class _Table:
    """Combinations and a vector for each, looked up by whole rows."""

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        self.combinations: list[Tensor] = []

    def positions(self, y: Float[Tensor, "n K"], *, add: bool) -> Int64[Tensor, " n"]:
        codes = combination_codes(y)
        found = y.new_empty((int(codes.max()) + 1 if len(y) else 0, y.shape[1]))
        found[codes] = y  # rows of one code are equal, so it does not matter which is written
        places = []
        for row in found.to("cpu", torch.int8):
            key = row.numpy().tobytes()
            if add and key not in self.rows:
                self.rows[key] = len(self.rows)
                self.combinations.append(row)
            places.append(self.rows.get(key, -1))
        return torch.tensor(places, device=y.device)[codes]


class MovingAveragePrototypes:
    r"""Exponential moving averages of the flowed batches' prototypes, $p \leftarrow m p + (1 - m)\bar z$.

    They are held fixed within a step. A combination starts at its first mean. Validation reads the averages and does
    not move them.

    Args:
        momentum: $m$.
    """

    def __init__(self, momentum: float = 0.99) -> None:
        self.momentum = momentum
        self.table = _Table()
        self.means: Tensor | None = None

    def __call__(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], *, training: bool
    ) -> tuple[Float[Tensor, "C d"], Int64[Tensor, " n"]]:
        """Update the averages if training; return them."""
        places = self.table.positions(y, add=training)
        self.means = z.new_zeros((0, z.shape[1])) if self.means is None else self.means.to(z)
        if training:
            present, codes = torch.unique(places, return_inverse=True)
            fresh = batch_prototypes(z.detach(), codes)
            known = present < len(self.means)
            grown = torch.cat([self.means, fresh.new_zeros((len(self.table.rows) - len(self.means), z.shape[1]))])
            grown[present[~known]] = fresh[~known]
            grown[present[known]] = sphere.project(
                self.momentum * grown[present[known]] + (1 - self.momentum) * fresh[known]
            )
            self.means = grown
        return self.means, places

    def state(self) -> dict[str, Any]:
        """Combinations and their averages."""
        if self.means is None or not self.table.combinations:
            return {}
        return {"combinations": torch.stack(self.table.combinations), "means": self.means.cpu()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        if state:
            for row in state["combinations"]:  # in their old order, which the averages follow
                self.table.positions(row[None], add=True)
            self.means = state["means"]


class RealPrototypes:
    """Normalised means of the *real* training rows of each combination: anchored, and the same in every batch.

    Args:
        z: training embeddings.
        y: their attributes.
    """

    def __init__(self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"]) -> None:
        self.table = _Table()
        self.centres = batch_prototypes(z, self.table.positions(y, add=True))

    def __call__(
        self, z: Float[Tensor, "n d"], y: Float[Tensor, "n K"], *, training: bool
    ) -> tuple[Float[Tensor, "C d"], Int64[Tensor, " n"]]:
        """Look the prototypes up."""
        return self.centres, self.table.positions(y, add=False)

    def state(self) -> dict[str, Any]:
        """Nothing is kept: they are computed from the data."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""
