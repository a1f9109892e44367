"""Target attributes: random flips for training, chosen changes for an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor

from fclf.data.embeddings import EmbeddingSet, attribute_positions
from fclf.errors import InputError
from fclf.labels import UNKNOWN, ExclusiveGroup, settled

__all__ = ["check_known", "combination_codes", "edit_targets", "flip_attributes", "own_labels"]

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
    assign: Mapping[str, int],
    flip: Sequence[str],
    exclusive: Sequence[ExclusiveGroup] = (),
) -> Int8[np.ndarray, "n K"]:
    """Target of every row: its own `labels` of the attributes `names`, with some assigned and some flipped.

    Who gains an attribute of an exclusive group loses the one that was there.

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
    for name, value in assign.items():
        if value not in (0, 1):
            raise InputError(f"--set {name}={value}: an attribute is set to 0 or 1.")
    targets = labels.copy()
    targets[:, assigned] = list(assign.values())
    check_known(
        settled(labels, targets, exclusive), names, "The target of an edit is a row's own labels with some changed"
    )
    targets[:, flipped] = 1 - targets[:, flipped]
    found, asked = settled(labels, targets, exclusive), [*assigned, *flipped]
    _check_choice(targets[:, asked], found[:, asked], [*assign, *flip], names, exclusive)
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


def check_known(labels: Int8[np.ndarray, "n K"], names: Sequence[str], why: str) -> None:
    """Refuse labels that are not known."""
    unknown = labels == UNKNOWN
    if unknown.any():
        needed = ", ".join(name for k, name in enumerate(names) if unknown[:, k].any())
        raise InputError(
            f"{int(unknown.any(axis=1).sum())} of {len(labels)} rows have no label for {needed}. {why}: add the "
            "labels, or type --infer-labels to have the checkpoint's classifier fill them in."
        )
