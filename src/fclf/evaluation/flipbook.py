"""Flipbooks: a few edits page by page, with the real row nearest to each, to see what the flow passes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from numpy.typing import NDArray
from PIL import Image

from fclf.data.embeddings import EmbeddingSet
from fclf.data.images import load_images
from fclf.decoder import Decoder
from fclf.errors import InputError
from fclf.evaluation.edits import EditPlan, combination_name
from fclf.flow import Flow

__all__ = ["PAGES", "PICTURE", "FlipbookPoints", "change_names", "flipbook", "nearest", "pages"]

PAGES = 8
"""Times of their paths that are shown, at most."""
PICTURE = 64
"""Side of a report's pictures in pixels: 8 books of 8 pages, decoded and nearest, are 1.6 MB."""
BLOCK = 16384
"""Rows that are compared at once, so that memory does not grow with their number."""
TIE = 1e-12
"""Cosines that differ less than this are equal."""


def _no_pictures() -> UInt8[np.ndarray, "b t s s 3"]:
    return np.zeros((0, 0, 0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class FlipbookPoints:
    """b edits on t pages: where they are, the evaluated row nearest to them, and pictures where there are any.

    The source is not left out of the search: an edit that still is nearest to its source has not left it, and the page
    shows that. The last pages of a collapsed flow are the same few rows in every book.
    """

    flipbook_edits: Int64[np.ndarray, " b"]
    """Positions, in the sample, of the edits that are followed; their sources are different rows."""
    flipbook_source: Int64[np.ndarray, " b"]
    """Row number of each source among the evaluated rows."""
    flipbook_rows: Int64[np.ndarray, "t b"]
    """Row number of the nearest evaluated row at each time, which may be the source."""
    flipbook_distances: Float64[np.ndarray, "t b"]
    """Cosine distance to it, 1 - cosine."""
    flipbook_unique: Float64[np.ndarray, " t"]
    """Share of different rows among the nearest, 1 where every edit is near a row of its own."""
    # Reports of earlier versions have none of those below, and are read with these defaults.
    flipbook_times: Float64[np.ndarray, " t"] = field(default_factory=lambda: np.zeros(0))
    """Flow time of each page; the first is 0, the source itself."""
    flipbook_changes: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, "U1"))
    """(b,): what is changed, such as `+Eyeglasses` or `+Smiling -Young`."""
    flipbook_ids: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, "U1"))
    """(b,): id of each source."""
    flipbook_targets: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, "U1"))
    """(b,): the combination that is asked for, such as `Smiling+Young`; `none` of the attributes."""
    flipbook_nearest_ids: NDArray[np.str_] = field(default_factory=lambda: np.zeros((0, 0), "U1"))
    """(t, b): id of the nearest evaluated row."""
    flipbook_decoded: UInt8[np.ndarray, "b t s s 3"] = field(default_factory=_no_pictures)
    """What a decoder draws of each page; of size 0 without one."""
    flipbook_images: UInt8[np.ndarray, "b t r r 3"] = field(default_factory=_no_pictures)
    """The nearest row's image; of size 0 without a folder of images."""
    flipbook_found: Bool[np.ndarray, "b t"] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.bool_))
    """Whether the folder has that image; where it has not, the picture is black."""


def flipbook(
    flow: Flow,
    rows: EmbeddingSet,
    plan: EditPlan,
    edits: NDArray[np.intp],
    *,
    most: int = PAGES,
    strength: float = 1.0,
    decoder: Decoder | None = None,
    images: str | Path | None = None,
    size: int = PICTURE,
) -> FlipbookPoints:
    """Follow the chosen edits, and find the nearest of all rows on each page.

    Args:
        flow: carries them.
        rows: embeddings with the attributes that the plan is about: where neighbours are looked for.
        plan: edits of `rows`.
        edits: positions in the plan of the edits to show (`choose`).
        most: pages at most.
        strength: scales the flow time.
        decoder: draws the edited embeddings, where there is one; of the width of `rows`.
        images: folder of the rows' images by id, where there is one.
        size: side of the pictures in pixels, at most: larger ones are averaged down to it.

    Raises:
        InputError: if the decoder is for another width, the folder has no row's image, or an edit is not finite.
    """
    shown = plan.take(edits)
    at = pages(flow.steps, most)
    paths = _paths(flow, rows, shown, strength)[at]
    if not np.isfinite(paths).all():
        raise InputError("The edits end at numbers that are not finite. Lower --strength, or train again.")
    found, distances = nearest(paths, rows.embeddings, shown.source)
    points = FlipbookPoints(
        flipbook_edits=np.asarray(edits, dtype=np.int64),
        flipbook_source=shown.source.astype(np.int64),
        flipbook_rows=found,
        flipbook_distances=distances,
        flipbook_unique=np.array([len(np.unique(page)) / len(shown) for page in found]),
        flipbook_times=at * flow.step_size * strength,
        flipbook_changes=np.array(change_names(rows.attribute_names, shown)),
        flipbook_ids=rows.ids[shown.source],
        flipbook_targets=np.array([combination_name(rows.attribute_names, target) for target in shown.target]),
        flipbook_nearest_ids=rows.ids[found],
    )
    if decoder is not None:
        points = replace(points, flipbook_decoded=_decode(decoder, paths, size))
    if images is not None:
        points = replace(points, **_nearest_images(Path(images), points.flipbook_nearest_ids, rows.ids, size))
    return points


def pages(steps: int, most: int = PAGES) -> Int64[np.ndarray, " t"]:
    """Numbers of the points of a path that are shown: the first, the last, and others as evenly as can be.

    All of them where there are no more than `most`; else equal strides, if more than half of `most` pages have such.
    """
    if steps < most:
        return np.arange(steps + 1)
    even = [count for count in range(most, most // 2, -1) if count > 1 and steps % (count - 1) == 0]
    return np.linspace(0, steps, even[0] if even else most).round().astype(np.int64)


def change_names(names: Sequence[str], plan: EditPlan) -> list[str]:
    """What each edit changes, in words: `+Eyeglasses`, `-Young`, or several with spaces between."""
    return [
        " ".join(f"{'+' if target[k] else '-'}{name}" for k, name in enumerate(names) if flips[k])
        for flips, target in zip(plan.flips, plan.target, strict=True)
    ]


def nearest(
    paths: Float64[np.ndarray, "t b d"], z: Float[np.ndarray, "n d"], source: NDArray[np.intp]
) -> tuple[Int64[np.ndarray, "t b"], Float64[np.ndarray, "t b"]]:
    """Row of `z` with the largest cosine to each point, and 1 - that cosine: exact, by matrix products in blocks.

    Of equal rows it is the source, and else the first. A search tree would not pay: a flipbook asks about 64 points.

    Args:
        paths: b points at t times.
        z: rows to find, of any length.
        source: row from which each of the b points came.
    """
    queries = _unit(paths).reshape(-1, paths.shape[-1])
    best = np.full(len(queries), -np.inf)
    rows = np.zeros(len(queries), dtype=np.int64)
    for first in range(0, len(z), BLOCK):
        cosines = queries @ _unit(z[first : first + BLOCK]).T
        at = cosines.argmax(axis=1)
        found = cosines[np.arange(len(queries)), at]
        better = found > best + TIE
        rows[better], best[better] = first + at[better], found[better]
    own = np.tile(source, len(paths))
    tied = (queries * _unit(z[own])).sum(axis=1) >= best - TIE
    rows[tied] = own[tied]
    shape = paths.shape[:2]
    return rows.reshape(shape), np.maximum(1 - best, 0.0).reshape(shape)


def _unit(x: Float[np.ndarray, "*n d"]) -> Float64[np.ndarray, "*n d"]:
    """Rows of float32 have a norm of 1 to seven digits only."""
    x = x.astype(np.float64)
    unit: Float64[np.ndarray, "*n d"] = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return unit


def _paths(flow: Flow, rows: EmbeddingSet, plan: EditPlan, strength: float) -> Float64[np.ndarray, "t b d"]:
    with torch.no_grad():
        points = list(flow.path(*flow.inputs(rows.embeddings[plan.source], plan.original, plan.target), strength))
    return torch.stack(points).double().numpy()


def _decode(decoder: Decoder, paths: Float64[np.ndarray, "t b d"], size: int) -> UInt8[np.ndarray, "b t s s 3"]:
    """Pictures of every point, book by book."""
    books = paths.swapaxes(0, 1)
    pictures = decoder.decode(books.reshape(-1, paths.shape[-1]).astype(np.float32))
    if pictures.shape[1] > size:
        pictures = np.stack(
            [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BOX)) for p in pictures]
        )
    return pictures.reshape(*books.shape[:2], *pictures.shape[1:])


def _nearest_images(
    folder: Path, ids: NDArray[np.str_], all_ids: NDArray[np.str_], size: int
) -> dict[str, NDArray[Any]]:
    """Images of the nearest rows, each read once; a folder that has none of these may have some of the others."""
    names, number = np.unique(ids.T, return_inverse=True)
    pictures, found = load_images(folder, names, size)
    if not found.any() and not load_images(folder, all_ids, 1)[1].any():
        raise InputError(
            f"{folder} has no image of any of the {len(all_ids):,} rows, such as {names[0]}. Name the folder that "
            "holds images whose names are the rows' ids."
        )
    number = number.reshape(ids.T.shape)
    return {"flipbook_images": pictures[number], "flipbook_found": found[number]}
