"""Search: the rows of a gallery that are nearest to an edited query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fclf.data.labelling import stem
from fclf.encoders.encoder import optional_library
from fclf.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64
    from numpy.typing import NDArray

    from fclf.data.embeddings import EmbeddingSet

__all__ = ["Hit", "describe", "find_row", "nearest", "rows_left_out"]

CHUNK = 65_536
"""Gallery rows that are compared at a time."""


@dataclass(frozen=True)
class Hit:
    """A row of the gallery that was found."""

    rank: int
    id: str
    cosine: float
    identity: int | None
    labels: dict[str, int | None]
    """Of the attributes that the edit changes; None where the gallery does not know."""
    same_person: bool | None
    """None where the query or the row names nobody, or two files number their people differently."""
    row: int


def find_row(rows: EmbeddingSet, wanted: str, option: str) -> int:
    """Row of an id, or of what stays of it without folders and extension.

    Raises:
        InputError: for a name that no row or several rows have.
    """
    exact = np.flatnonzero(rows.ids == wanted)
    if len(exact) == 1:
        return int(exact[0])
    short = [row for row, name in enumerate(rows.ids.tolist()) if stem(name) == stem(wanted)]
    if len(short) == 1:
        return short[0]
    if short:
        named = ", ".join(str(rows.ids[row]) for row in short[:4])
        raise InputError(f"{option} {wanted}: {len(short)} rows have that name ({named}); type one of them in full.")
    what = "ids such as" if rows.has_ids else "no ids, so rows are called by their numbers, such as"
    raise InputError(
        f"{option} {wanted}: no row is called so. The file has {len(rows):,} rows and {what} {rows.ids[0]}."
    )


def rows_left_out(query: EmbeddingSet, gallery: EmbeddingSet, same_file: bool) -> NDArray[np.intp]:
    """Rows of the gallery that are the query itself: by its id where both files name ids, or by its content."""
    own = (gallery.embeddings == query.embeddings[0]).all(axis=1)
    if same_file or (query.has_ids and gallery.has_ids):
        own |= gallery.ids == query.ids[0]
    return np.flatnonzero(own)


def nearest(
    query: Float64[np.ndarray, " d"],
    gallery: Float32[np.ndarray, "n d"],
    top: int,
    left_out: NDArray[np.intp],
    *,
    faiss: bool = False,
) -> tuple[NDArray[np.intp], Float64[np.ndarray, " t"]]:
    """The `top` rows of largest cosine, largest first; equal ones in the order of the file.

    Args:
        query: unit vector.
        gallery: unit vectors.
        top: how many, at most.
        left_out: rows that are not looked at.
        faiss: use faiss' `IndexFlatIP`, which needs the extra `faiss`, instead of products a chunk at a time.

    Raises:
        InputError: if faiss is asked for and not installed.
    """
    most = min(top, len(gallery) - len(left_out))
    if faiss:
        rows = _faiss(query, gallery, most + len(left_out))
    else:
        best: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        scores: NDArray[np.float64] = np.zeros(0)
        asked = query.astype(np.float32)
        for first in range(0, len(gallery), CHUNK):
            part = gallery[first : first + CHUNK]
            rows = np.concatenate([best, np.arange(first, first + len(part))])
            both = np.concatenate([scores, part @ asked])
            chosen = np.argsort(-both, kind="stable")[: most + len(left_out)]
            best, scores = rows[chosen], both[chosen]
        rows = best
    rows = rows[~np.isin(rows, left_out)]
    cosine = gallery[rows].astype(np.float64) @ query
    order = np.lexsort((rows, -cosine))[:most]
    return rows[order], np.clip(cosine[order], -1, 1)


def _faiss(query: Float64[np.ndarray, " d"], gallery: Float32[np.ndarray, "n d"], count: int) -> NDArray[np.intp]:
    faiss = optional_library("faiss", "faiss")
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(np.ascontiguousarray(gallery))
    rows: NDArray[np.intp] = index.search(query.astype(np.float32)[None], count)[1][0].astype(np.intp)
    return rows


def describe(
    rows: NDArray[np.intp],
    cosines: Float64[np.ndarray, " t"],
    gallery: EmbeddingSet,
    changed: tuple[str, ...],
    identity: int | None,
) -> list[Hit]:
    """Say what is known of the rows that were found.

    Args:
        rows: of the gallery, best first.
        cosines: to the edited query.
        gallery: where they are from.
        changed: attributes that the edit changes.
        identity: who asks, in the gallery's numbers; None where that is not known.
    """
    found = []
    for rank, (row, cosine) in enumerate(zip(rows.tolist(), cosines.tolist(), strict=True), 1):
        labels: dict[str, int | None] = {}
        for name in changed:
            label = -1
            if gallery.attributes is not None and name in gallery.attribute_names:
                label = int(gallery.attributes[row, gallery.attribute_names.index(name)])
            labels[name] = label if label >= 0 else None
        person = None if gallery.identities is None else int(gallery.identities[row])
        same = None if identity is None or person is None else person == identity
        found.append(Hit(rank, str(gallery.ids[row]), cosine, person, labels, same, row))
    return found
