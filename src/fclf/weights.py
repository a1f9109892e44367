"""Fields as tensors by name, and back: what a checkpoint holds of a field."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fclf.closed.state import from_arrays, to_arrays
from fclf.config import ChangeModelConfig, ModelConfig
from fclf.field import ChangeField, ChangeResidual, TargetField

__all__ = ["as_tensors", "change_weights", "field_of"]

RESIDUAL = "residual."
"""Prefix of the weights of a residual; those of the start begin with the name of its class."""


def change_weights(field: ChangeField) -> dict[str, Tensor]:
    """Weights of a field on the change: its start, and where it has one the residual and how much of it is used."""
    weights = as_tensors(to_arrays(field.start))
    if field.residual is not None:
        weights |= {f"{RESIDUAL}{name}": value.clone() for name, value in field.residual.state_dict().items()}
        weights[f"{RESIDUAL}amount"] = torch.tensor(field.amount, dtype=torch.float64)
    return weights


def field_of(
    weights: Mapping[str, Tensor], settings: ChangeModelConfig | ModelConfig, dim: int, num_attributes: int
) -> ChangeField | TargetField:
    """The field of these weights.

    Args:
        weights: of `change_weights`, or the `state_dict` of a field on the target.
        settings: which of the two it is, and how wide its networks are.
        dim: of the embeddings.
        num_attributes: that it is conditioned on.

    Raises:
        ValueError: if the settings ask for more weights than there are.
        RuntimeError, KeyError: if weights have other names or shapes.
    """
    if isinstance(settings, ChangeModelConfig):
        return _change_field(weights, settings, num_attributes)
    _check_enough(weights, settings.hidden_dim * (2 * settings.hidden_dim + dim + num_attributes))
    field = TargetField(dim, num_attributes, hidden_dim=settings.hidden_dim)
    field.load_state_dict(weights)
    return field


def as_tensors(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, Tensor]:
    """Copies of arrays."""
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _change_field(weights: Mapping[str, Tensor], settings: ChangeModelConfig, num_attributes: int) -> ChangeField:
    """Build the field that `change_weights` took apart."""
    parts = {name.removeprefix(RESIDUAL): value for name, value in weights.items() if name.startswith(RESIDUAL)}
    start = from_arrays({name: value.numpy() for name, value in weights.items() if not name.startswith(RESIDUAL)})
    if not parts:
        return ChangeField(start)
    amount = float(parts.pop("amount"))
    _check_enough(parts, (settings.hidden_dim + num_attributes) * settings.rank)
    _check_enough(parts, len(parts["mean"]) * settings.hidden_dim)
    residual = ChangeResidual(
        parts["mean"], float(parts["spread"]), num_attributes, hidden=settings.hidden_dim, rank=settings.rank
    )
    residual.load_state_dict(parts)
    return ChangeField(start, residual, amount)


def _check_enough(weights: Mapping[str, Tensor], needed: int) -> None:
    """Of weights that are to fill a network, before it is made: its settings may ask for any size."""
    there = sum(weight.numel() for weight in weights.values())
    if there < needed:
        raise ValueError(f"it holds {there:,} weights, and its settings need more than {needed:,}")
