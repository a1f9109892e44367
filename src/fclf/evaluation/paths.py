"""Along the way: when an edit arrives, whether it turns back, and how straight it goes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray

from fclf import sphere
from fclf.evaluation.edits import EditPlan
from fclf.evaluation.geometry import EQUAL
from fclf.evaluation.judges import LinearJudge, cell_shares
from fclf.evaluation.readings import PathScores

__all__ = ["FALL_TOLERANCE", "efficiency", "measure_paths"]

FALL_TOLERANCE = 0.01
"""Standard deviations of a logit by which it may fall between two steps and still count as monotone."""


def measure_paths(
    path: Iterable[Float64[np.ndarray, "m d"]],
    plan: EditPlan,
    names: tuple[str, ...],
    judge: LinearJudge,
    spread: Float64[np.ndarray, " K"],
) -> PathScores:
    r"""Follow edits point by point; only one point of each path is held at a time.

    With $s_i$ the share of edits judged to have the target value at time $t_i = i/T$ (mean over attribute x
    direction cells) the area is $\sum_i (s_i + s_{i-1}) / 2T$. An edit is monotone if
    $\pm(\ell_k(z_{i}) - \ell_k(z_{i-1})) \ge -\tau\sigma_k$ for every step $i$ and flipped attribute $k$, with the
    sign of the change and $\tau$ = `FALL_TOLERANCE`.

    Args:
        path: unit vectors of the m edits at each of T + 1 times, the sources first.
        plan: the m edits.
        names: of the K attributes.
        judge: gives the logits $\ell$.
        spread: $\sigma$, the logits' standard deviations on unedited rows.
    """
    sign = 2.0 * plan.target - 1
    cells: list[dict[str, float]] = []
    fell = np.zeros(len(plan), dtype=bool)
    lengths = np.zeros(len(plan))
    start = previous = previous_logits = None
    for z in path:
        logits = judge.logits(z)
        cells.append(cell_shares((logits > 0) == plan.target, plan.flips, plan.target, names))
        if start is None or previous is None or previous_logits is None:
            start = z
        else:
            fall = sign * (previous_logits - logits)
            fell |= ((fall > FALL_TOLERANCE * spread) & plan.flips).any(axis=1)
            lengths += _angle(previous, z)
        previous, previous_logits = z, logits
    if start is None or previous is None or len(cells) < 2:
        raise ValueError(f"a path of {len(cells)} points has no steps; the sources and at least one step are needed")
    steps = len(cells) - 1
    times = np.linspace(0, 1, steps + 1)
    curve = [float(np.mean(list(at.values()))) for at in cells]
    by_attribute = {}
    for name in names:
        own = [cell for cell in (f"{name}=1", f"{name}=0") if cell in cells[0]]
        if own:
            by_attribute[name] = _area([float(np.mean([at[cell] for cell in own])) for at in cells], times)
    return PathScores(
        edits=len(plan),
        times=times.tolist(),
        target_share=curve,
        auc=_area(curve, times),
        auc_by_attribute=by_attribute,
        monotone=float(1 - fell.mean()),
        tolerance=FALL_TOLERANCE,
        efficiency=float(efficiency(_angle(start, previous), lengths, steps).mean()),
    )


def efficiency(
    distance: Float64[np.ndarray, " m"], length: Float64[np.ndarray, " m"], steps: int
) -> Float64[np.ndarray, " m"]:
    """Geodesic distance between the ends of each path over its length, both in radians.

    1 for a path along one great circle, near 0 for one that returns. A path whose steps are not longer than the
    rounding of float32 (`EQUAL`) goes nowhere and takes no detour: 1 by definition.
    """
    moved = length > EQUAL * steps
    ratio = np.ones_like(length)
    np.divide(distance, length, out=ratio, where=moved)
    return np.minimum(ratio, 1.0)


def _angle(x: Float64[np.ndarray, "m d"], y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, " m"]:
    angles: Float64[np.ndarray, " m"] = sphere.distance(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    return angles


def _area(curve: list[float], times: NDArray[np.float64]) -> float:
    return float(np.trapezoid(curve, times))
