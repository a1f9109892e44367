"""Closed forms as named arrays, so that a checkpoint holds them as it holds weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fclf.closed.affine import Affine
from fclf.closed.conditional_vae import ConditionalVAE, Perceptron
from fclf.closed.linear import ClosedForm, DoNothing, Shift, TargetMean
from fclf.closed.means import LabelMeans
from fclf.closed.personal import PersonalEffects
from fclf.closed.quantile import QuantileShift
from fclf.closed.support import Support
from fclf.closed.transport import ConditionalTransport

__all__ = ["from_arrays", "support_from_arrays", "to_arrays"]

KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Affine,
        ConditionalTransport,
        ConditionalVAE,
        DoNothing,
        LabelMeans,
        Perceptron,
        PersonalEffects,
        QuantileShift,
        Shift,
        Support,
        TargetMean,
    )
}


def to_arrays(form: ClosedForm | Support) -> dict[str, NDArray[np.float64]]:
    """Flatten a closed form: `Shift.effects`, `ConditionalTransport.means.LabelMeans.centre`, ..."""
    return dict(_flatten(form, ""))


def from_arrays(arrays: Mapping[str, NDArray[Any]], dtype: type[np.floating[Any]] = np.float64) -> ClosedForm:
    """Rebuild what `to_arrays` flattened, in a precision: in float32 rows are edited several times as fast.

    Raises:
        ValueError: for arrays that are not of one closed form.
    """
    form = _rebuild(_tree(arrays, dtype))
    if not callable(form):
        kinds = sorted({path.partition(".")[0] for path in arrays})
        raise ValueError(f"no closed form is called {', '.join(kinds) or 'nothing'}")
    return form


def support_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Support:
    """Rebuild a `Support` that `to_arrays` flattened; `ValueError` for arrays of anything else."""
    support = _rebuild(_tree(arrays, np.float64))
    if not isinstance(support, Support):
        raise ValueError("the arrays of the support are of something else")
    return support


def _tree(arrays: Mapping[str, NDArray[Any]], dtype: type[np.floating[Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, leaf = path.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = np.asarray(array, dtype=dtype)
    return tree


def _flatten(value: Any, path: str) -> list[tuple[str, NDArray[np.float64]]]:
    if is_dataclass(value):
        path = f"{path}{type(value).__name__}."
        parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
        found = [item for name, part in parts for item in _flatten(part, f"{path}{name}.")]
        return found or [(f"{path}nothing", np.zeros(0))]
    if isinstance(value, tuple):
        return [item for number, part in enumerate(value) for item in _flatten(part, f"{path}{number}.")]
    return [(path.removesuffix("."), np.asarray(value, dtype=np.float64))]


def _rebuild(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return float(tree) if tree.ndim == 0 else tree
    if len(tree) == 1 and (kind := KINDS.get(next(iter(tree)))):
        (parts,) = tree.values()
        return kind(**{name: _rebuild(part) for name, part in parts.items() if name != "nothing"})
    return tuple(_rebuild(tree[number]) for number in sorted(tree, key=int))
