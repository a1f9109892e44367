"""Target attributes: random flips for training, chosen changes for an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8, Int64
from numpy.typing import NDArray
from torch import Tensor

from fclf.data.embeddings import EmbeddingSet, attribute_positions
from fclf.errors import InputError
from fclf.labels import UNKNOWN, ExclusiveGroup, settled

__all__ = [
    "Assigned",
    "check_column",
    "check_known",
    "column_targets",
    "combination_codes",
    "edit_targets",
    "flip_attributes",
    "own_labels",
    "row_targets",
]

Assigned = int | NDArray[Any] | Sequence[float]
"""What an attribute is set to: 0 or 1 for every row, or a value a row: 0, 1, or -1 or NaN to leave it as it is."""

CODE_BITS = 31
"""Attributes that are read at once: with as many bits for the combinations of those before them, 64 are enough."""


def flip_attributes(
    y: Float[Tensor, "n K"],
    generator: torch.Generator,
    *,
    probability: float = 1.0,
    min_flips: int = 1,
    max_flips: int = 2,
    exclusive: Sequence[ExclusiveGroup] = (),
) -> Float[Tensor, "n K"]:
    """Flip `min_flips` to `max_flips` distinct attributes of every row, all rows at once.

    The number of flips is uniform on its range and so is the choice of attributes. With `probability` below 1
    the *whole batch* stays as it is otherwise, as in the reference's first training loop. The same number of
    random values is drawn whatever happens, so that batches after this one do not depend on it. Unknown labels are
    never flipped and stay unknown.

    Args:
        y: attributes, 0, 1 or `UNKNOWN`.
        generator: source of randomness, on the CPU.
        probability: that this batch is flipped at all.
        min_flips: fewest flips a row.
        max_flips: most flips a row; at most K are made.
        exclusive: groups that are one choice (`fclf.labels.settled`), which may add a flip or take one back.
    """
    n, k = y.shape
    flipped = torch.rand((), generator=generator) < probability
    highest = min(max_flips, k)
    counts = torch.randint(min(min_flips, highest), highest + 1, (n, 1), generator=generator)
    ranks = torch.rand((n, k), generator=generator).argsort(dim=1)  # a random permutation of 0..K-1 a row
    known = (y >= 0).cpu()
    if not known.all():  # the known attributes are ranked among themselves
        ranks = torch.where(known, ranks, k).argsort(dim=1).argsort(dim=1)
    flips = ((ranks < counts) & flipped & known).to(y.device)
    targets = torch.where(flips, 1 - y, y)
    if not exclusive:
        return targets
    before, after = (x.detach().cpu().numpy().astype(np.int8) for x in (y, targets))
    return torch.from_numpy(settled(before, after, exclusive)).to(y)


def combination_codes(y: Float[Tensor, "n K"]) -> Int64[Tensor, " n"]:
    """Number 0..C-1 of each row's combination of attributes among the C that occur in `y`, in sorted order.

    Attributes, 0 or 1, are read as digits of a number, in parts whose numbers fit in an integer whatever K: one sort of
    numbers is fifty times as fast as one of rows.
    """
    codes = torch.zeros(len(y), dtype=torch.int64, device=y.device)
    for part in torch.split(y.to(torch.int64), CODE_BITS, dim=1):
        places = torch.arange(part.shape[1] - 1, -1, -1, device=y.device)
        digits = (part << places).sum(dim=1)
        codes = torch.unique((codes << part.shape[1]) + digits, return_inverse=True)[1]
    return codes


def own_labels(data: EmbeddingSet, names: Sequence[str]) -> Int8[np.ndarray, "n K"]:
    """Each row's own labels of the attributes `names`, `UNKNOWN` where there is none."""
    labels = np.full((len(data), len(names)), UNKNOWN, dtype=np.int8)
    for k, name in enumerate(names):
        if data.attributes is not None and name in data.attribute_names:
            labels[:, k] = data.attributes[:, data.attribute_names.index(name)]
    return labels


def edit_targets(
    labels: Int8[np.ndarray, "n K"],
    names: Sequence[str],
    assign: Mapping[str, Assigned],
    flip: Sequence[str],
    exclusive: Sequence[ExclusiveGroup] = (),
) -> Int8[np.ndarray, "n K"]:
    """Target of every row: its own `labels` of the attributes `names`, with some assigned and some flipped.

    Who gains an attribute of an exclusive group loses the one that was there.

    Args:
        labels: 0, 1 or `UNKNOWN`.
        names: of the attributes.
        assign: attributes to set, each to 0 or 1, or to a value for every row (`row_targets`).
        flip: attributes to turn over.
        exclusive: groups of attributes that are one choice.

    Raises:
        InputError: for unknown or contradictory attributes, values other than 0 and 1, labels that are needed
            and not known, or two attributes of an exclusive group.
    """
    assigned, flipped = attribute_positions(list(assign), names), attribute_positions(flip, names)
    if not assigned and not flipped:
        raise InputError(f"Nothing to edit: type --set NAME=1 or --flip NAME with one of {', '.join(names)}.")
    both = sorted(set(assign) & set(flip))
    if both:
        raise InputError(f"{', '.join(both)} cannot be both set and flipped.")
    targets = labels.copy()
    explicit = np.ones((len(labels), len(assigned) + len(flipped)), dtype=bool)
    for place, (k, (name, value)) in enumerate(zip(assigned, assign.items(), strict=True)):
        if np.ndim(value):
            wanted = row_targets(value, len(labels), f"The target of {name}")
            explicit[:, place] = wanted != UNKNOWN
            targets[:, k] = np.where(wanted == UNKNOWN, labels[:, k], wanted)
        elif value not in (0, 1):
            raise InputError(f"--set {name}={value}: an attribute is set to 0 or 1.")
        else:
            targets[:, k] = value
    known = settled(labels, targets, exclusive)  # who gains one of a group is known to have none of the others
    check_known(known, names, "The target of an edit is a row's own labels with some changed")
    targets[:, flipped] = 1 - targets[:, flipped]
    found, asked = settled(labels, targets, exclusive), [*assigned, *flipped]
    wanted = np.where(explicit, targets[:, asked], found[:, asked])
    _check_choice(wanted, found[:, asked], [*assign, *flip], names, exclusive)
    return found


def _check_choice(
    wanted: Int8[np.ndarray, "n a"],
    settled_for: Int8[np.ndarray, "n a"],
    asked: Sequence[str],
    names: Sequence[str],
    exclusive: Sequence[ExclusiveGroup],
) -> None:
    """Refuse what the exclusive groups do not allow."""
    for name, mine, got in zip(asked, wanted.T, settled_for.T, strict=True):
        if (mine == got).all():
            continue
        group = next(group for group in exclusive if names.index(name) in group.columns)
        others = [names[k] for k in group.columns if names[k] != name]
        if (mine[mine != got] == 1).any():
            rivals = " and ".join(other for other in others if other in asked)
            raise InputError(f"{name} and {rivals} exclude each other; set one of them.")
        raise InputError(
            f"Every row has one of {name}, {', '.join(others)}, so {name} cannot just be taken away: set another to 1."
        )


def row_targets(values: Assigned, n: int, what: str, first_row: int = 0) -> Int8[np.ndarray, " n"]:
    """A target for every row, `UNKNOWN` where the row shall stay as it is.

    Args:
        values: 0, 1, or -1 or NaN to leave the attribute as it is.
        n: rows.
        what: to call them in messages.
        first_row: number of the first row, for messages.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} has type {array.dtype}; 0, 1, or -1 or NaN to leave a row as it is, was expected.")
    if array.shape != (n,):
        raise InputError(f"{what} must be one value a row, but shape {array.shape} came for {n} rows.")
    leave = (array == UNKNOWN) | np.isnan(array)
    bad = ~(leave | (array == 0) | (array == 1))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{what} must be 0, 1, or -1 or NaN (in Parquet null) to leave a row as it is, but row {first_row + row} "
            f"is {array[row]} ({int(bad.sum())} such values)."
        )
    return np.where(leave, UNKNOWN, array == 1).astype(np.int8)


def column_targets(
    data: EmbeddingSet, column: str, source: str = "the embeddings", first_row: int = 0
) -> Int8[np.ndarray, " n"]:
    """`row_targets` that a column of the file holds, or an attribute; null leaves a row as it is.

    Args:
        data: the rows.
        column: one of its extras, or of its attributes.
        source: what to call the rows in messages.
        first_row: number of the first row in it.

    Raises:
        InputError: if there is no such column, with the nearest name, or it holds anything else, with the row.
    """
    own = {name: own_labels(data, [name])[:, 0] for name in data.attribute_names}
    known = {**own, **data.extras}
    check_column(column, [name for name in known if not name.endswith(":null")])
    values = np.asarray(known[column])
    null = data.extras.get(f"{column}:null")
    if null is not None and null.shape == values.shape and null.dtype == np.bool_ and values.dtype.kind in "biuf":
        values = np.where(null, np.nan, values)
    return row_targets(values, len(data), f"{source}: column '{column}'", first_row)


def check_column(column: str, available: Sequence[str]) -> None:
    """Refuse a name that no column of targets has."""
    if column not in available:
        near = get_close_matches(column, available, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(
            f"--set NAME=@{column}: there is no column '{column}' to read targets from.{hint} "
            f"There are: {', '.join(available) or 'none'}."
        )


def check_known(labels: Int8[np.ndarray, "n K"], names: Sequence[str], why: str) -> None:
    """Refuse labels that are not known."""
    unknown = labels == UNKNOWN
    if unknown.any():
        needed = ", ".join(name for k, name in enumerate(names) if unknown[:, k].any())
        raise InputError(
            f"{int(unknown.any(axis=1).sum())} of {len(labels)} rows have no label for {needed}. {why}: add the "
            "labels, or type --infer-labels to have the checkpoint's classifier fill them in."
        )
