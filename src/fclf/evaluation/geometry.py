"""Angles, and the specification's own measures: silhouettes and cluster purity."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64, Int64
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from fclf import sphere
from fclf.evaluation.spread import distances, distinct_points

__all__ = ["EQUAL", "angles", "purity", "silhouette"]

EQUAL = 1e-6
"""Distance under which two unit vectors stored as float32 are the same point."""


def angles(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Angle between unit vectors, row by row, in degrees."""
    degrees: Float64[np.ndarray, " n"] = np.degrees(sphere.distance(torch.from_numpy(x), torch.from_numpy(y)).numpy())
    return degrees


def silhouette(
    x: Float64[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"], apart: Float64[np.ndarray, "n n"] | None = None
) -> float | None:
    """Mean silhouette (Rousseeuw, 1987) of the rows by label; 0 where all rows are one point.

    None where it is not defined: one label in all, or as many labels as rows. `apart` are the rows' distances, where
    they are known.
    """
    found = len(np.unique(labels))
    if not 2 <= found < len(x):
        return None
    if np.ptp(x, axis=0).max() <= EQUAL:
        return 0.0
    if apart is None:
        return float(silhouette_score(x, labels))
    hollow = apart.copy()
    np.fill_diagonal(hollow, 0)  # rounding leaves 1e-8, which is refused
    return float(silhouette_score(hollow, labels, metric="precomputed"))


def purity(
    x: Float64[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    clusters: int,
    seed: int = 0,
    apart: Float64[np.ndarray, "n n"] | None = None,
) -> float:
    """Share of rows whose k-means cluster is dominated by their own label.

    There are never more clusters than distinct points: a collapsed model is measured, not warned about. With k
    clusters the measure cannot pass the share of the k most frequent labels. k-means counts in float32, in half of
    the time; `apart` are the rows' distances, where they are known.
    """
    clusters = min(clusters, distinct_points(distances(x, x) if apart is None else apart, EQUAL))
    found = (
        KMeans(clusters, n_init=4, random_state=seed).fit_predict(x.astype(np.float32))
        if clusters > 1
        else np.zeros(len(x), int)
    )
    values, columns = np.unique(labels, return_inverse=True)
    table = np.zeros((clusters, len(values)), dtype=np.int64)
    np.add.at(table, (found, columns), 1)
    return float(table.max(axis=1).sum() / len(x))
