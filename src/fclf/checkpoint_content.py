"""What a checkpoint's file holds, by name, and of which types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator
from torch import Tensor

__all__ = ["FORMAT", "CheckpointContent"]

FORMAT = 2

Tensors = dict[str, Tensor]


class CheckpointContent(BaseModel):
    """Tensors and plain values; `Checkpoint` says what they mean."""

    model_config = ConfigDict(frozen=True, strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)

    config: dict[str, Any]
    attribute_names: list[str] = Field(min_length=1)
    dim: PositiveInt
    weights: Tensors
    epoch: NonNegativeInt
    data_fingerprint: str
    seen_ids: list[str]
    seen_digests: list[str]
    seen_identities: list[int]
    seen_before: list[tuple[list[str], list[int]]] = []
    warm_start: dict[str, Any] = {}
    classifier: Tensors
    encoder: str | None = None
    support: Tensors = {}
    choice: dict[str, Any]
    strength: NonNegativeFloat
    history: list[dict[str, Any]]
    training_state: dict[str, Any]
    made_with: list[dict[str, Any]] = []

    @field_validator("seen_before", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        """As JSON and `torch.save` hold them: lists."""
        return [tuple(pair) for pair in value] if isinstance(value, list) else value

    @field_validator("attribute_names")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("an attribute is named twice")
        return value

    @field_validator("weights", "classifier", "support")
    @classmethod
    def _plain(cls, value: Tensors) -> Tensors:
        for name, tensor in value.items():
            if tensor.is_sparse or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
                raise ValueError(f"'{name}' is no plain tensor of real numbers")
            if not tensor.isfinite().all():
                raise ValueError(f"'{name}' holds numbers that are not finite")
        return value
