"""The specification's five debugging points ("What to check if still collapsing"), read off a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fclf.config import Config
from fclf.evaluation.readings import Check

__all__ = ["ALIKE", "EXPLODING", "check_run"]

HALVED = 0.5
"""The contrastive term counts as falling when its last epoch is at most this share of its first."""
ALIKE = 10.0
"""Two weighted terms are of similar magnitude within this factor."""
EXPLODING = 10.0
"""A gradient explodes when an epoch's mean norm is this many times the median epoch's."""

History = Sequence[Mapping[str, float | None]]


def check_run(history: History, config: Config, combinations: Mapping[str, int]) -> list[Check]:
    """Check a run's history, configuration and data against the specification's debugging points 1 to 5.

    Args:
        history: mean values of each epoch, as the checkpoint keeps them; None for a number that is not finite.
        config: of the run.
        combinations: how many attribute combinations are `possible` (2^K), are in the `train` rows and in the
            `evaluated` rows, and are asked for as `targets` of the edits.
    """
    return [
        _contrastive(history, config),
        _identity(history, config),
        _prototypes(history, config, combinations),
        _combinations(combinations),
        _gradients(history),
    ]


def _contrastive(history: History, config: Config) -> Check:
    kind = config.loss.contrastive.kind
    values = _values(history, "contrastive")
    note = {
        "prototype_infonce": "Low is no sign of health: it is least when each combination is one point.",
        "pairwise_mse": "On another scale: this loss is a squared error between 0 and 1.",
    }.get(kind, "On another scale: the spec's numbers are of the prototype loss.")
    measured, ok = "not recorded", None
    if values:
        measured = f"{values[0]:.3g} to {values[-1]:.3g} in {len(values)} epochs"
        ok = values[-1] <= HALVED * values[0] if len(values) > 1 else None
    return Check(name="1 contrastive loss", expected="about 2.0 to 0.5", measured=measured, ok=ok, note=note)


def _identity(history: History, config: Config) -> Check:
    loss = config.loss
    measured, ok, note = "not recorded", None, "A term of weight 0 is not computed."
    contrastive, identity = _values(history, "contrastive"), _values(history, "identity")
    if contrastive and identity:
        pulled, held = loss.lambda_contrastive * contrastive[-1], loss.lambda_identity * identity[-1]
        ratio = held / pulled if pulled > 0 else math.inf if held > 0 else 1.0
        measured = f"ratio {ratio:.2g}, weighted"
        ok = 1 / ALIKE <= ratio <= ALIKE
        if ratio > ALIKE:
            note = "Identity dominates; the spec: --set loss.lambda_identity=0.01."
        elif ratio < 1 / ALIKE:
            note = "Identity holds nothing back" + (
                ": as a mean it is 1/d of the squared distance." if _is_mean(config) else "."
            )
        else:
            note = "Neither term dominates."
    return Check(
        name="2 identity against contrastive", expected="similar magnitude", measured=measured, ok=ok, note=note
    )


def _prototypes(history: History, config: Config, combinations: Mapping[str, int]) -> Check:
    most = min(combinations["possible"], config.training.batch_size)
    values = _values(history, "num_prototypes")
    measured, ok = "not recorded", None
    if values:
        measured, ok = f"{values[-1]:.1f} at the end", 30 <= values[-1] <= 60
    note = f"At most {most} are possible; the train rows have {combinations['train']}"
    if most < 60:
        note += ": 60 cannot occur" if most >= 30 else ": 30 cannot occur"
    return Check(name="3 prototypes per batch", expected="30 to 60", measured=measured, ok=ok, note=f"{note}.")


def _combinations(combinations: Mapping[str, int]) -> Check:
    found, possible = combinations["evaluated"], combinations["possible"]
    note = f"Of labels, whatever the model; the edits ask for {combinations['targets']}"
    if possible < 15:
        note += ": 15 cannot occur"
    return Check(
        name="4 unique combinations",
        expected="15 to 25",
        measured=f"{found} of {possible} possible",
        ok=15 <= found <= 25,
        note=f"{note}.",
    )


def _gradients(history: History) -> Check:
    broken = [str(number) for number, record in enumerate(history, 1) if None in record.values()]
    norms = _values(history, "gradient_norm")
    advice = "The spec: --set training.learning_rate=5e-5."
    measured, ok, note = "not recorded", None, "Every recorded loss is finite."
    if norms:
        median = sorted(norms)[len(norms) // 2]
        largest = max(norms)
        measured = f"largest {largest:.3g}, median {median:.3g}"
        ok = largest <= EXPLODING * median
        note = "Mean norms of the epochs, before clipping." if ok else advice
    if broken:
        measured, ok, note = f"not finite in epoch {', '.join(broken)}", False, advice
    return Check(name="5 gradients", expected="finite, not exploding", measured=measured, ok=ok, note=note)


def _values(history: History, name: str) -> list[float]:
    return [value for record in history if (value := record.get(name)) is not None]


def _is_mean(config: Config) -> bool:
    return config.loss.identity_reduction == "mean"
