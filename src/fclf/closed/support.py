"""Where real rows are: whether a row could be one of those that have its labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Int8, Int64
from numpy.typing import NDArray

from fclf.closed.means import LabelMeans
from fclf.closed.probe import some_people
from fclf.errors import InputError

__all__ = ["LEVEL", "Support"]

LEVEL = 0.01
"""Rows of a lower score are not accepted, unless another level is asked for."""
RANK = 128
"""Leading axes of the covariance that are kept; all others count as one sphere."""
SHRINKAGE = 0.2
"""Of the covariance toward a sphere, beyond Ledoit and Wolf's: train rows hardly vary along a probe that was fitted to
them, and edits move along probes. Without it a tenth more of the healthy edits would be refused (docs/log.md)."""
MAX_ROWS = 20_000
"""Train rows that are read, of whole people: a covariance asks for no more."""
MAX_HELD_OUT = 5000
"""Distances that are kept."""
FEW_HELD_OUT = 500
"""With fewer val rows, train rows are held out as well, a fold at a time: 99 are needed for a score below .01."""
RESOLUTION = 1e-3
"""To which they are rounded up: in full they would tell whoever has a row whether it was one of the held-out ones."""
FOLDS = 5
MIN_ROWS = 20
"""Fewest train rows that a covariance is estimated from."""
CHUNK = 8192


@dataclass(frozen=True)
class Support:
    r"""A conformal p-value for "this row is one of the real rows that have these labels".

    With what labels leave of a row in units of its spread, $e = (z - m(y))/\sigma(y)$ (`LabelMeans`), and the
    covariance $\Sigma$ of e, two squared Mahalanobis distances are taken: $q_1$ in the K directions in which labels
    differ most clearly (linear discriminants: the span of $\Sigma^{-1/2} B^\top$ with main effects B), and $q_2$ in
    all d. $\Sigma$ is shrunk (Ledoit & Wolf, 2004, https://doi.org/10.1016/S0047-259X(03)00096-4) and kept as its
    leading axes and a sphere (Tipping & Bishop, 1999, https://doi.org/10.1111/1467-9868.00196), so that what is
    outside of the axes of real rows counts for much. The nonconformity is

    $$a(z, y) = \max_j \frac{|\log q_j - \mu_j|}{s_j}.$$

    It is two-sided, as a row can be too near too: the mean of its labels, where a collapsed flow ends, is nearer to the
    middle than any real row. Means $\mu_j$ and deviations $s_j$ are those of held-out real rows, and so is the score

    $$p = \frac{1 + \#\{i : a_i \ge a\}}{1 + N}$$

    (Vovk, Gammerman & Shafer, *Algorithmic Learning in a Random World*, 2005), which is uniform for new real rows
    whatever their distribution. It judges one row at a time: rows of which each could be real can still be a collapsed
    set, which only an evaluation sees. No row is kept, but directions, means and at most `MAX_HELD_OUT` distances.
    """

    means: LabelMeans
    axes: Float64[np.ndarray, "d r"]
    """Leading eigenvectors of the covariance."""
    gains: Float64[np.ndarray, " r"]
    """What each adds to the precision of the sphere; negative, as real rows vary more along them."""
    sphere: float
    """Variance along every other axis."""
    discriminants: Float64[np.ndarray, "d k"]
    centre: Float64[np.ndarray, " 2"]
    """Of the log distances of held-out rows."""
    deviation: Float64[np.ndarray, " 2"]
    held_out: Float64[np.ndarray, " N"]
    """Sorted nonconformities of held-out rows."""

    @classmethod
    def fit(
        cls,
        z: Float[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        val_z: Float[np.ndarray, "m d"],
        val_y: Int8[np.ndarray, "m K"],
        identities: Int64[np.ndarray, " n"] | None = None,
        *,
        seed: int = 0,
    ) -> Support | None:
        """Fit on train rows, calibrate on val rows; None from fewer than `MIN_ROWS` train rows.

        Args:
            z: train embeddings; of more than `MAX_ROWS`, some of the people are read.
            y: their labels, 0 or 1.
            val_z: embeddings that nothing was fitted on, of people who are not in the train rows.
            val_y: their labels.
            identities: who is shown in the train rows, so that people are held out whole where val rows are few.
            seed: of samples and folds.
        """
        if len(z) < MIN_ROWS:
            return None
        rows = some_people(len(z), identities, MAX_ROWS, seed)
        z, y, identities = z[rows], y[rows], None if identities is None else identities[rows]
        model = cls._of(z, y, seed)
        logs = [model._log_distances(val_z, val_y)]
        if len(val_z) < FEW_HELD_OUT:
            people, who = np.unique(np.arange(len(z)) if identities is None else identities, return_inverse=True)
            fold = (np.random.default_rng(seed).permutation(len(people)) % FOLDS)[who]
            for number in range(FOLDS):
                mine = fold == number
                if 2 <= mine.sum() <= len(z) - MIN_ROWS // 2:
                    logs.append(cls._of(z[~mine], y[~mine], seed)._log_distances(z[mine], y[mine]))
        found = np.concatenate(logs)
        found = found[np.random.default_rng(seed).permutation(len(found))[:MAX_HELD_OUT]]
        deviation = np.maximum(found.std(axis=0), np.finfo(np.float32).eps)
        model = replace(model, centre=found.mean(axis=0), deviation=deviation)
        rounded = np.ceil(model._nonconformity(found) / RESOLUTION) * RESOLUTION
        return replace(model, held_out=np.sort(rounded))

    @classmethod
    def _of(cls, z: Float[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], seed: int) -> Support:
        """Means and covariance of train rows, not yet calibrated."""
        from sklearn.covariance import ledoit_wolf_shrinkage

        z = z.astype(np.float64)
        means = LabelMeans.fit(z, y, seed)
        rest = means.rest(z, y)
        rest /= _spread(means, y)[:, None]
        kept = (1 - ledoit_wolf_shrinkage(rest, assume_centered=True)) * (1 - SHRINKAGE)
        values, axes = _principal(rest)
        values = (kept * values + (1 - kept) * values.mean())[::-1]
        axes = np.ascontiguousarray(axes[:, ::-1][:, :RANK])
        sphere = float(values[RANK:].mean()) if len(values) > RANK else float(values[-1])
        values = values[: axes.shape[1]]
        effects = means.coefficients[1 : 1 + y.shape[1]].T
        white = effects / np.sqrt(sphere)
        white += axes @ ((1 / np.sqrt(values) - 1 / np.sqrt(sphere))[:, None] * (axes.T @ effects))
        span = np.linalg.qr(white)[0]
        discriminants = span / np.sqrt(sphere)
        discriminants += axes @ ((1 / np.sqrt(values) - 1 / np.sqrt(sphere))[:, None] * (axes.T @ span))
        nothing = np.zeros(0)
        gains = 1 / values - 1 / sphere
        return cls(means, axes, gains, sphere, discriminants, np.zeros(2), np.ones(2), nothing)

    def score(self, z: Float[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, " n"]:
        """Share of held-out real rows that lie as far from the rows of their labels as each row from those of y.

        Args:
            z: unit vectors.
            y: labels, 0 or 1, that each row should have: of an edited row, its target.

        Returns:
            values in (0, 1]; a row that is not finite has the smallest.
        """
        if not np.isin(y, (0, 1)).all():
            raise InputError("The support of rows is asked for by labels of 0 and 1; infer those that are not known.")
        beyond = len(self.held_out) - np.searchsorted(self.held_out, self._nonconformity(self._log_distances(z, y)))
        scores: Float64[np.ndarray, " n"] = (1 + beyond) / (1 + len(self.held_out))
        return scores

    def _nonconformity(self, logs: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
        found: Float64[np.ndarray, " n"] = (np.abs(logs - self.centre) / self.deviation).max(axis=1)
        return found

    def _log_distances(self, z: Float[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, "n 2"]:
        """Logarithms of $q_1$ and $q_2$, in float32 up to the sums."""
        seen = np.concatenate([self.discriminants, self.axes], axis=1).astype(np.float32)
        k = self.discriminants.shape[1]
        out = np.empty((len(z), 2))
        different, member = np.unique(y, axis=0, return_inverse=True)
        member = member.reshape(-1)
        means = (self.means.features(different) @ self.means.coefficients).astype(np.float32)
        spread = _spread(self.means, different).astype(np.float32)
        gains = self.gains.astype(np.float32)
        for first in range(0, len(z), CHUNK):
            rows = slice(first, first + CHUNK)
            rest = np.subtract(z[rows], means[member[rows]], dtype=np.float32)
            rest /= spread[member[rows], None]
            read = rest @ seen
            out[rows, 0] = np.einsum("ij,ij->i", read[:, :k], read[:, :k])
            out[rows, 1] = np.einsum("ij,ij->i", rest, rest) / self.sphere
            out[rows, 1] += np.square(read[:, k:]) @ gains
        floor = np.finfo(np.float32).tiny  # of a row at the very mean, whose logarithm would be infinite
        logs: Float64[np.ndarray, "n 2"] = np.log(np.maximum(out, floor))
        return logs


def _principal(x: Float64[np.ndarray, "n d"]) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, "d r"]]:
    """Variances of rows of mean 0 along their principal axes, ascending, and the last axes, all that are not of 0."""
    n, d = x.shape
    if n >= d:
        return np.linalg.eigh(x.T @ x / n)
    values, mixtures = np.linalg.eigh(x @ x.T / n)  # the same variances, but for zeros, of far smaller matrices
    seen = values > n * np.finfo(np.float64).eps * values[-1]
    axes = x.T @ (mixtures[:, seen] / np.sqrt(n * values[seen]))
    return np.concatenate([np.zeros(d - seen.sum()), values[seen]]), axes


def _spread(means: LabelMeans, y: Int8[np.ndarray, "n K"]) -> NDArray[np.float64]:
    r"""$\sigma(y)$, up to a constant."""
    spread: NDArray[np.float64] = np.exp(means.features(y) @ means.log_variance / 2)
    return spread
