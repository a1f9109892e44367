"""Starting a run from an earlier one: what is taken over, matched by the names of attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fclf.checkpoint import Checkpoint
from fclf.closed.candidates import LEARNED, PERSONAL, STARTS
from fclf.config import ChangeModelConfig, ModelConfig
from fclf.errors import InputError
from fclf.field import TargetField

__all__ = ["TakenChoice", "WarmStart"]

FIRST = "layers.0.weight"
"""Of a field on the target: the one weight that has a column for every attribute."""


@dataclass(frozen=True)
class TakenChoice:
    """What an earlier run chose."""

    start: str
    """The closed form among `fclf.closed.candidates.closed_forms`."""
    amount: float
    """Of the learned residual."""
    reason: str


@dataclass(frozen=True)
class WarmStart:
    """A checkpoint as the beginning of a run on other rows or other attributes.

    Args:
        earlier: the checkpoint.
        names: attributes of the new run.
        dim: width of its embeddings.

    Raises:
        InputError: for another width, or not one attribute in common.
    """

    earlier: Checkpoint
    names: tuple[str, ...]
    dim: int
    known: dict[str, int] = field(init=False)
    """Position in `earlier` of the attributes that both have."""

    def __post_init__(self) -> None:
        theirs = self.earlier.attribute_names
        object.__setattr__(self, "known", {name: theirs.index(name) for name in self.names if name in theirs})
        if self.earlier.dim != self.dim:
            raise InputError(
                f"--warm-start: that run is of embeddings of width {self.earlier.dim}, but these have width "
                f"{self.dim}. Name a run on embeddings of the same encoder, or leave the option out."
            )
        if not self.known:
            raise InputError(
                f"--warm-start: that run learned {', '.join(theirs)}, none of which is among {', '.join(self.names)}. "
                "Name a run that shares attributes, or leave the option out."
            )

    def weights(self, fresh: TargetField, model: ModelConfig) -> dict[str, Tensor]:
        """Weights of the earlier field; columns of attributes that it has not are those of `fresh`.

        Raises:
            InputError: if the earlier field is of another kind or size.
        """
        theirs = self.earlier.config.model
        if isinstance(theirs, ChangeModelConfig):
            raise InputError(
                "--warm-start: that run's field looks at the change, and this recipe's at the target. Name a run of "
                "the same kind, or type --config edit."
            )
        if theirs.hidden_dim != model.hidden_dim:
            raise InputError(
                f"--warm-start: that run's field has {theirs.hidden_dim} hidden units, this one {model.hidden_dim}. "
                f"Type --set model.hidden_dim={theirs.hidden_dim}."
            )
        first = fresh.state_dict()[FIRST].clone()
        old = self.earlier.weights[FIRST]
        first[:, : self.dim] = old[:, : self.dim]
        for k, name in enumerate(self.names):
            if name in self.known:
                first[:, self.dim + k] = old[:, self.dim + self.known[name]]
        return {**{name: value.clone() for name, value in self.earlier.weights.items()}, FIRST: first}

    def choice(self, model: ChangeModelConfig) -> TakenChoice:
        """The closed form that the earlier run chose, and how much of a residual.

        Raises:
            InputError: if the earlier field is of another kind, or this configuration cannot fit what it chose.
        """
        theirs, chosen = self.earlier.config.model, self.earlier.choice
        if not isinstance(theirs, ChangeModelConfig):
            raise InputError(
                "--warm-start: that run's field looks at the target, and this recipe's at the change. Name a run of "
                "the same kind, or the recipe that it was trained with (--config)."
            )
        start = chosen.get("start") or STARTS[theirs.start]
        amount = float(chosen.get("amount", 0.0))
        wanted = STARTS.get(model.start, start)
        if start != wanted and not (wanted == STARTS["transport"] and start in (PERSONAL, LEARNED)):
            raise InputError(
                f"--warm-start: that run chose {start}, but model.start is {model.start}. Leave one of the two out."
            )
        for needed, key in ((start == LEARNED, "effect_steps"), (amount > 0, "residual_steps")):
            if needed and not getattr(model, key):
                raise InputError(
                    f"--warm-start: that run's choice ({chosen.get('chosen', start)}) needs model.{key}, which is 0 "
                    f"here. Type --set model.{key}={getattr(theirs, key)}."
                )
        what = f"{start} + residual x{amount:g}" if amount else start
        because = chosen.get("reason", "it was configured.")
        return TakenChoice(start, amount, f"{what}: taken over from an earlier run, not chosen anew. There: {because}")

    def record(self, what: str) -> dict[str, Any]:
        """What is said of it in the checkpoint and in `run.json`; no path, as folders move."""
        return {
            "data_fingerprint": self.earlier.data_fingerprint,
            "epoch": self.earlier.epoch,
            "rows_seen": len(self.earlier.seen_digests),
            "taken": what,
            "attributes": list(self.known),
            "attributes_new": _without(self.names, self.known),
            "attributes_left_out": _without(self.earlier.attribute_names, self.known),
            "before": self.earlier.warm_start or None,
        }


def _without(names: Sequence[str], known: dict[str, int]) -> list[str]:
    return [name for name in names if name not in known]
