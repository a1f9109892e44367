"""One map to two dimensions for originals, destinations and paths alike."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from fclf.errors import InputError
from fclf.evaluation.spread import distances, linked

__all__ = ["Kind", "Projected", "Projection", "project", "resolve"]

Projection = Literal["auto", "pca", "umap"]
"""What may be asked for: `auto` is UMAP where it is installed."""
Kind = Literal["pca", "umap"]

NEIGHBOURS = 15
DECIMALS = 6
"""Unit vectors that agree to so many decimals are drawn as one point."""


@dataclass(frozen=True)
class Projected:
    """Coordinates of the same edits in the same map."""

    original: Float64[np.ndarray, "m 2"]
    flowed: Float64[np.ndarray, "m 2"]
    paths: Float64[np.ndarray, "t p 2"]
    explained: NDArray[np.float64]
    """Share of the rows' variance along each axis; empty for UMAP, whose axes mean nothing."""


def resolve(projection: Projection) -> Kind:
    """Choose the map.

    Raises:
        InputError: if UMAP is asked for and not installed.
    """
    installed = find_spec("umap") is not None
    if projection == "umap" and not installed:
        raise InputError("--projection umap needs umap-learn: pip install 'fclf[viz]', or type --projection pca.")
    return "umap" if projection != "pca" and installed else "pca"


def project(
    kind: Kind,
    z: Float64[np.ndarray, "n d"],
    source: NDArray[np.intp],
    flowed: Float64[np.ndarray, "m d"],
    paths: Float64[np.ndarray, "t p d"],
    tolerance: float,
    seed: int = 0,
) -> Projected:
    """Fit a map on the evaluated rows and place edits in it.

    Args:
        kind: principal axes, or UMAP (McInnes, Healy & Melville, 2018, https://arxiv.org/abs/1802.03426).
        z: the evaluated rows.
        source: row of each of m edits.
        flowed: their destinations.
        paths: points of the first p of them at t times, from source to destination.
        tolerance: destinations that are linked by distances up to this are one place in UMAP, as they are one
            distinct destination; each would be jittered otherwise, and a collapse drawn as a cloud.
        seed: of UMAP.
    """
    between = paths[1:-1]
    explained = np.zeros(0)
    if kind == "pca":
        axes = PCA(2, svd_solver="covariance_eigh").fit(z)
        here, moved = axes.transform(z), axes.transform(np.concatenate([flowed, *between]))
        explained = axes.explained_variance_ratio_
    else:
        number = linked(distances(flowed, flowed), tolerance)
        first = np.unique(number, return_index=True)[1]
        here, moved = _umap(z, np.concatenate([flowed[first][number], *between]), seed)
    original, ends, count = here[source], moved[: len(flowed)], paths.shape[1]
    middle = moved[len(flowed) :].reshape(len(between), count, 2)
    if kind == "umap":  # a path that has arrived stays where its end is drawn: each step would be jittered otherwise
        there = np.linalg.norm(between - paths[-1], axis=2) <= tolerance
        arrived = np.logical_and.accumulate(there[::-1], axis=0)[::-1]
        middle = np.where(arrived[:, :, None], ends[None, :count], middle)
    return Projected(original, ends, np.concatenate([original[None, :count], middle, ends[None, :count]]), explained)


def _umap(
    z: Float64[np.ndarray, "n d"], moved: Float64[np.ndarray, "m d"], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places of the rows, and of other points among them.

    UMAP places each new point by a random walk of its own. Equal points are placed once, and rows of `z` where they
    are already, so that an edit that stays is drawn where its source is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package mentions Tensorflow when it is imported
        library: Any = import_module("umap")
    neighbours = min(NEIGHBOURS, len(z) - 1)
    mapping = library.UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)
    here = mapping.fit_transform(z)
    # Rounding leaves -0.0 beside 0.0, which are the same number and different bytes.
    every = np.round(np.concatenate([z, moved]), DECIMALS) + 0.0
    _, first, number = np.unique(every, axis=0, return_index=True, return_inverse=True)
    new = first >= len(z)
    places = np.empty((len(first), 2))
    places[~new] = here[first[~new]]
    if new.any():
        places[new] = mapping.transform(every[first[new]])
    return here.astype(np.float64), places[number.reshape(-1)[len(z) :]]
