"""How a person bends an attribute's effect, learned from other pictures of the same person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, Int64
from numpy.typing import NDArray

__all__ = ["NOTHING", "PersonalEffects"]

FACTORS = 32
PARTNERS = 4
"""Other pictures of the person that each row is compared with, at most."""
MAX_PAIRS = 50_000
FOLDS = 5
PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
SHARED_PENALTY = 10.0
"""Of what two pictures of a person have in common whatever their labels."""
CHUNK = 4096


@dataclass(frozen=True)
class PersonalEffects:
    r"""A bilinear model of an attribute's effect on a row beyond the mean effect.

    Let $e = z - m(y)$ be what labels leave of an embedding and u its leading principal factors, each divided by its
    standard deviation and multiplied by its correlation between pictures of one person, so that what does not
    belong to the person counts little. Another picture j of the person of i predicts

    $$e_i \approx \Bigl(B_0 + \sum_k (y_{ik} - \bar y_k) B_k\Bigr) u_j$$

    by ridge regression, with a penalty that is cross-validated over people. A change of labels then moves a row by
    $\sum_k (t_k - y_k) B_k u$ more than the mean. Because u comes from *another* picture, noise that is in both sides
    of a regression of z on itself cannot pass for an effect; and attributes that never change within a person are
    learned too, from how people with and without them differ in what their pictures share. Where held-out people are
    not predicted better by it (by more than one standard error over the folds), all $B_k$ are zero.
    """

    factors: Float64[np.ndarray, "d r"]
    """Maps e to u."""
    effects: Float64[np.ndarray, "K r d"]
    gain: float
    """Share of the cross-validated squared error that the labels' part takes away; 0 where it is not used."""

    @classmethod
    def fit(
        cls,
        rest: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        identities: Int64[np.ndarray, " n"] | None,
        *,
        seed: int = 0,
    ) -> PersonalEffects:
        """Fit on train rows.

        Args:
            rest: embeddings minus what their labels predict.
            y: labels.
            identities: who is shown; without them, or with too few pictures of the same people, effects are zero.
            seed: of the folds, and of the pairs where there are more than `MAX_PAIRS`.
        """
        k, d = y.shape[1], rest.shape[1]
        r = min(FACTORS, d)
        nothing = cls(np.zeros((d, r)), np.zeros((k, r, d)), 0.0)
        if identities is None:
            return nothing
        i, j, person, weight = _pairs(identities, seed)
        if len(np.unique(person)) < FOLDS:
            return nothing
        axes = np.linalg.eigh(rest.T @ rest)[1][:, ::-1][:, :r]
        scores = rest @ axes
        deviation = np.maximum(scores.std(axis=0), np.finfo(np.float64).tiny)
        shared = (scores[i] * scores[j]).mean(axis=0) / np.maximum(np.square(scores[i]).mean(axis=0), 1e-300)
        factors = axes * np.clip(shared, 0, 1) / deviation
        u, centred = rest @ factors, y - y.mean(axis=0)
        fold = np.random.default_rng(seed).permutation(person.max() + 1)[person] % FOLDS
        grams, crosses = np.zeros((FOLDS, r + k * r, r + k * r)), np.zeros((FOLDS, r + k * r, d))
        for number in range(FOLDS):
            mine = np.flatnonzero(fold == number)
            for first in range(0, len(mine), CHUNK):
                rows = mine[first : first + CHUNK]
                bent = centred[i[rows]][:, :, None] * u[j[rows]][:, None, :]
                x = np.concatenate([u[j[rows]], bent.reshape(len(rows), -1)], axis=1)
                grams[number] += x.T @ (weight[rows, None] * x)
                crosses[number] += x.T @ (weight[rows, None] * rest[i[rows]])
        total = float(weight @ np.square(rest[i]).sum(axis=1))
        plain = _errors(grams, crosses, r, np.inf)
        gains = {penalty: plain - _errors(grams, crosses, r, penalty) for penalty in PENALTIES}
        best = max(gains, key=lambda penalty: float(gains[penalty].sum()))
        gain = gains[best]
        if gain.mean() <= gain.std(ddof=1) / np.sqrt(FOLDS):
            return nothing
        solution = _solve(grams.sum(axis=0), crosses.sum(axis=0), r, best)
        return cls(factors, solution[r:].reshape(k, r, d), float(gain.sum() / (total + plain.sum())))

    def move(self, rest: Float64[np.ndarray, "n d"], change: Float64[np.ndarray, "n K"]) -> Float64[np.ndarray, "n d"]:
        r"""Displacement $\sum_k c_k B_k u$ of rows for a change of labels, beyond that of the mean."""
        out = np.zeros_like(rest)
        if not self.gain:
            return out
        u = rest @ self.factors
        for k in self._changed(change):
            out += change[:, k, None] * (u @ self.effects[k])
        return out

    def _changed(self, change: Float64[np.ndarray, "n K"]) -> Iterable[int]:
        """Attributes that any row changes."""
        return np.flatnonzero(np.asarray(change).any(axis=0))


NOTHING = PersonalEffects(np.zeros((0, 0)), np.zeros((0, 0, 0)), 0.0)
"""No effects, of any width."""


def _pairs(
    identities: Int64[np.ndarray, " n"], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], Float64[np.ndarray, " p"]]:
    """Rows, other rows of the same people, the people's numbers, and weights that sum to 1 for each row."""
    person, count = np.unique(identities, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(person, kind="stable")
    first = np.cumsum(count) - count
    place, size, start = np.arange(len(order)) - first[person[order]], count[person[order]], first[person[order]]
    ones, others = [], []
    for step in range(1, PARTNERS + 1):
        have = size > step
        ones.append(order[have])
        others.append(order[(start + (place + step) % size)[have]])
    i, j = np.concatenate(ones), np.concatenate(others)
    weight = 1 / np.minimum(PARTNERS, count[person[i]] - 1)
    if len(i) > MAX_PAIRS:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(i))[:MAX_PAIRS])
        i, j, weight = i[chosen], j[chosen], weight[chosen]
    return i, j, person[i], weight


def _solve(
    gram: Float64[np.ndarray, "f f"], cross: Float64[np.ndarray, "f d"], shared: int, penalty: float
) -> Float64[np.ndarray, "f d"]:
    """Ridge regression; with an infinite penalty the labels' part is zero."""
    out = np.zeros_like(cross)
    used = shared if np.isinf(penalty) else len(gram)
    ridge = np.concatenate([np.full(shared, SHARED_PENALTY), np.full(len(gram) - shared, penalty)])[:used]
    out[:used] = np.linalg.solve(gram[:used, :used] + np.diag(ridge), cross[:used])
    return out


def _errors(
    grams: Float64[np.ndarray, "F f f"], crosses: Float64[np.ndarray, "F f d"], shared: int, penalty: float
) -> Float64[np.ndarray, " F"]:
    """Squared error of each fold by the others' solution, less the sum of squares of what is predicted."""
    gram, cross = grams.sum(axis=0), crosses.sum(axis=0)
    found = []
    for mine, towards in zip(grams, crosses, strict=True):
        solution = _solve(gram - mine, cross - towards, shared, penalty)
        found.append(np.sum(solution * (mine @ solution)) - 2 * np.sum(solution * towards))
    return np.array(found)
