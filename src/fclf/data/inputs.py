"""Rows, labels and targets as users of the Python API hold them: tensors, arrays, tables, sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int8
from numpy.typing import NDArray

from fclf.data.checks import binary_labels
from fclf.data.embeddings import EmbeddingSet, attribute_positions
from fclf.data.targets import edit_targets
from fclf.errors import InputError
from fclf.labels import ExclusiveGroup

__all__ = ["Rows", "read_labels", "read_targets"]


@dataclass(frozen=True)
class Rows:
    """Embeddings that came in some form, and the way back to it."""

    data: EmbeddingSet
    came: Any

    @classmethod
    def of(cls, z: Any, *, normalize: bool = False) -> Rows:
        """Check rows: an `EmbeddingSet`, or a tensor or array (n, d) of unit vectors; n may be 0.

        Raises:
            InputError: for other shapes, types and lengths, and for a tensor that asks for gradients.
        """
        if isinstance(z, EmbeddingSet):
            return cls(z, z)
        if isinstance(z, torch.Tensor):
            if z.requires_grad and torch.is_grad_enabled():
                raise InputError(
                    "An edit has no gradients, but the embeddings require them. Pass z.detach(), or call it under "
                    "torch.no_grad(); checkpoint.flow().path(...) is differentiable."
                )
            plain = z.detach().cpu()
            raw = (plain.half() if plain.dtype == torch.bfloat16 else plain).numpy()
        else:
            raw = z = np.asarray(z)
        if raw.ndim == 1:
            raise InputError(
                f"Embeddings of shape {raw.shape} came; (rows, width) is expected. Of one row, pass z[None]."
            )
        if raw.ndim == 2 and not len(raw):
            return cls(EmbeddingSet(raw.astype(np.float32)), z)
        return cls(EmbeddingSet.from_arrays({"embeddings": raw}, normalize=normalize, source="the embeddings"), z)

    def back(self, ends: EmbeddingSet, moved: NDArray[np.bool_]) -> Any:
        """`ends` in the form, type and place of what came; rows that have not `moved` keep its bits.

        A row of another length than 1 counts as moved where it was projected on its way in.
        """
        if isinstance(self.came, EmbeddingSet):
            return ends
        if isinstance(self.came, torch.Tensor):
            out = self.came.detach().clone()
            rows = torch.from_numpy(moved).to(out.device)
            out[rows] = torch.from_numpy(ends.embeddings[moved]).to(out)
            return out
        array = self.came.copy()
        array[moved] = ends.embeddings[moved]
        return array

    @property
    def z(self) -> Float32[np.ndarray, "n d"]:
        """The rows themselves."""
        return self.data.embeddings


def read_labels(labels: Any, names: Sequence[str], n: int) -> Int8[np.ndarray, "n K"]:
    """Labels 0, 1 or `UNKNOWN` of n rows.

    Args:
        labels: (n, K) in the order of `names`, or a mapping or table from some of the names to (n,); values that are
            -1 or NaN are not known.
        names: of the attributes.
        n: number of rows.
    """
    if hasattr(labels, "columns"):
        labels = {str(name): labels[name] for name in labels.columns}
    if isinstance(labels, Mapping):
        out = np.full((n, len(names)), np.nan)
        for name, place in zip(labels, attribute_positions(list(labels), names), strict=True):
            out[:, place] = _column(labels[name], n, f"labels of '{name}'")
        labels = out
    values = _array(labels)
    if values.shape != (n, len(names)):
        raise InputError(
            f"`labels` has shape {values.shape}; ({n}, {len(names)}) was expected, a column each for "
            f"{', '.join(names)}, or a mapping from some of these names to {n} values."
        )
    if values.dtype.kind in "iuf" and (values == -1).any() and not (values == 0).any():
        raise InputError(
            "`labels` holds -1 and no 0. If -1 means no, pass (labels + 1) // 2; -1 is read as not known otherwise."
        )
    if not n:
        return np.zeros(values.shape, dtype=np.int8)
    found = binary_labels({"attributes": values, "attribute_names": np.array(names)}, n, "missing", "`labels`")[1]
    assert found is not None
    return found


def read_targets(
    assign: Mapping[str, Any],
    flip: Sequence[str] | str,
    own: Int8[np.ndarray, "n K"],
    names: Sequence[str],
    exclusive: Sequence[ExclusiveGroup] = (),
) -> Int8[np.ndarray, "n K"]:
    """Targets of rows: their `own` labels with some assigned, for all rows or each, and some turned over.

    Raises:
        InputError: for unknown or contradictory names, other values than 0 and 1, or labels that are needed.
    """
    if not isinstance(assign, Mapping):
        raise InputError(
            f'What to set is a {type(assign).__name__}; a mapping such as {{"{names[0]}": 1}} was expected.'
        )
    flip = [flip] if isinstance(flip, str) else list(flip)
    attribute_positions([*assign, *flip] if not set(assign) & set(flip) else list(assign), names)
    if not assign and not flip:
        raise InputError(
            f'Nothing to edit: pass {{"{names[0]}": 1}} or flip=["{names[0]}"]; there are {", ".join(names)}.'
        )
    wanted = {name: _column(values, len(own), f"values of '{name}'") for name, values in assign.items()}
    for name, values in wanted.items():
        if not np.isin(values, (0, 1)).all():
            strange = values[~np.isin(values, (0, 1))].flat[0]
            raise InputError(f"'{name}' is set to {strange}; an attribute is set to 0 or 1, for all rows or for each.")
    every = {name: np.broadcast_to(values, len(own)) for name, values in wanted.items()}
    return edit_targets(own, names, every, flip, exclusive)


def _column(values: Any, n: int, what: str) -> NDArray[Any]:
    column = _array(values)
    if column.shape not in ((), (n,)):
        raise InputError(f"The {what} have shape {column.shape}; one value, or one for each of {n} rows, was expected.")
    return column


def _array(values: Any) -> NDArray[Any]:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"Labels of type {array.dtype} came; numbers or booleans, 0 or 1, are expected.")
    return array
