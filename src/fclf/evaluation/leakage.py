"""What an edit of one attribute does to the judge's opinion of every other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int8

__all__ = ["leakage"]


def leakage(
    shift: Float64[np.ndarray, "m K"], spread: Float64[np.ndarray, " K"], change: Int8[np.ndarray, "m K"]
) -> list[list[float | None]]:
    r"""Mean shift of each judged attribute's logit per edited attribute: rows are edited, columns judged.

    The least-squares solution $M$ of $S \approx D M$, where $S$ holds the logit shifts in standard deviations and
    $D$ the changes. For edits that flip one attribute, row k is the mean over the edits of k of the shift times
    the direction of the edit, so that 0 to 1 and 1 to 0 add up instead of cancelling; for edits that flip several
    the effects are told apart. The diagonal is what was asked for, the rest leaks.

    Args:
        shift: logits after minus logits before, of m edits.
        spread: standard deviation of each logit on unedited rows.
        change: target minus original: -1, 0 or 1.

    Returns:
        K x K numbers; None in the rows of attributes that no edit flips, in the columns of judges that give all
        rows the same logit, and everywhere if attributes always change together and cannot be told apart.
    """
    k = len(spread)
    out = np.full((k, k), np.nan)
    edited, judged = np.flatnonzero(change.any(axis=0)), np.flatnonzero(spread > 0)
    design = change[:, edited].astype(np.float64)
    solution, _, rank, _ = np.linalg.lstsq(design, shift[:, judged] / spread[judged], rcond=None)
    if rank == len(edited):
        out[np.ix_(edited, judged)] = solution
    return [[None if np.isnan(value) else float(value) for value in row] for row in out]
