"""Does filling rare groups with edits help a probe where it is worst, and more than simpler ways to balance?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fclf.applications.augment import group_numbers, group_size, plan_filling
from fclf.applications.edits import FLOW, accepted_rows, controls_of, edits_at, learned_rows
from fclf.closed.probe import FINE_PENALTY, Standardiser
from fclf.data.embeddings import attribute_positions
from fclf.errors import InputError
from fclf.evaluation.jackknife import Blocks, interval

if TYPE_CHECKING:
    from jaxtyping import Float64, Int8
    from numpy.typing import NDArray

    from fclf.checkpoint import Checkpoint
    from fclf.closed.linear import ClosedForm
    from fclf.data.embeddings import EmbeddingSet
    from fclf.evaluation.jackknife import Statistic

__all__ = ["AugmentBenchmark", "AugmentRow", "augment_benchmark"]

MIN_TEST = 20
"""Test rows below which a group is named and not scored."""
SEEDS = 3
AS_THEY_ARE = "as they are"
EDITED = ("shift x1", "quantile shift")


@dataclass(frozen=True)
class AugmentRow:
    """One way to train the probe."""

    name: str
    worst: float
    """Accuracy in the worst group, the mean over seeds."""
    worst_interval: tuple[float, float] | None
    against: float
    """Less that of the rows as they are; paired."""
    against_interval: tuple[float, float] | None
    mean: float
    """Over all test rows."""
    groups: dict[str, float]


@dataclass(frozen=True)
class AugmentBenchmark:
    """Probes of a target attribute, by groups of it and a sensitive one."""

    target: str
    sensitive: str
    per_group: int
    table: list[AugmentRow]
    train: dict[str, int]
    test: dict[str, int]
    not_scored: list[str]
    """Groups with fewer than `MIN_TEST` test rows."""

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def augment_benchmark(
    model: Checkpoint,
    data: EmbeddingSet,
    target: str,
    sensitive: str,
    *,
    per_group: int | None = None,
    split: str = "test",
) -> AugmentBenchmark:
    """Train a probe of `target` on train rows, filled in several ways, and measure it on people it has never seen.

    The probe is one logistic regression, its inputs standardised by the real train rows. All ways bring every group to
    `per_group` rows, or to the weight of so many. Edits of all kinds have the same sources; those of the flow that the
    checkpoint's support does not accept are left out.

    Raises:
        InputError: for unknown or equal attributes, or where no group or only one can be scored.
    """
    data = model.matching(data).with_split(model.config.data.split_seed)
    columns = attribute_positions([target, sensitive], data.attribute_names)
    train, rows = learned_rows(model, data), data.part(split).fully_labelled()
    if split in ("train", "val"):
        raise InputError(f"--split {split}: edits were fitted on these people. Measure test or judge rows.")
    z, y = train.embeddings.astype(np.float64), np.asarray(train.attributes)
    test_z, test_y = rows.embeddings.astype(np.float64), np.asarray(rows.attributes)
    inputs = Standardiser.fit(z)
    number, groups = group_numbers(y, columns)
    asked, _ = group_numbers(test_y, columns)
    wanted = group_size(number, len(groups), per_group)
    names = [f"{target}={a}, {sensitive}={b}" for a, b in groups]
    scored = [g for g in range(len(groups)) if (asked == g).sum() >= MIN_TEST]
    if len(scored) < 2:
        raise InputError(f"--target {target} --sensitive {sensitive}: fewer than two groups have {MIN_TEST} test rows.")
    blocks = Blocks.draw(len(rows), rows.identities, 0)
    forms = {**controls_of(train, EDITED), FLOW: edits_at(model)}
    found: dict[str, list[NDArray[np.bool_]]] = {}

    def measure(name: str, x: Float64[np.ndarray, "m d"], labels: Int8[np.ndarray, " m"], weight: Any = None) -> None:
        right = _predict(inputs(x), labels, weight, inputs(test_z)) == test_y[:, columns[0]]
        found.setdefault(name, []).append(right)

    labels = y[:, columns[0]]
    measure(AS_THEY_ARE, z, labels)
    counts = np.bincount(number, minlength=len(groups))
    measure("reweighting", z, labels, np.maximum(wanted / np.maximum(counts, 1), 1.0)[number])
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        more = [
            rng.choice(np.flatnonzero(number == g), wanted - counts[g])
            for g in range(len(groups))
            if 0 < counts[g] < wanted
        ]
        every = np.concatenate([np.arange(len(z)), *more])
        measure("oversampling", z[every], labels[every])
        filling = plan_filling(y, columns, wanted, seed)
        for name, form in forms.items():
            edited, goal = _edited(form, z, y, filling.source, filling.target)
            accepted = accepted_rows(model, edited, goal) if name == FLOW and len(edited) else None
            kept = np.ones(len(edited), dtype=np.bool_) if accepted is None else accepted
            both = np.concatenate([z, edited[kept]]), np.concatenate([labels, goal[kept, columns[0]]])
            measure(name, *both)
    means = {name: _worst(right, asked, scored, blocks) for name, right in found.items()}
    table = []
    for name in (AS_THEY_ARE, "oversampling", "reweighting", *EDITED, FLOW):
        worst, gain, right = means[name], means[name] - means[AS_THEY_ARE], np.mean(found[name], axis=0)
        table.append(
            AugmentRow(
                name=name,
                worst=float(worst[0]),
                worst_interval=interval(float(worst[0]), worst[1:]),
                against=float(gain[0]),
                against_interval=interval(float(gain[0]), gain[1:]),
                mean=float(right.mean()),
                groups={names[g]: float(right[asked == g].mean()) for g in scored},
            )
        )
    return AugmentBenchmark(
        target=target,
        sensitive=sensitive,
        per_group=wanted,
        table=table,
        train={name: int((number == g).sum()) for g, name in enumerate(names)},
        test={name: int((asked == g).sum()) for g, name in enumerate(names)},
        not_scored=[name for g, name in enumerate(names) if g not in scored],
    )


def _edited(
    form: ClosedForm,
    z: Float64[np.ndarray, "n d"],
    y: Int8[np.ndarray, "n K"],
    source: NDArray[np.intp],
    target: Int8[np.ndarray, "m K"],
) -> tuple[Float64[np.ndarray, "m d"], Int8[np.ndarray, "m K"]]:
    return (form(z[source], y[source], target) if len(source) else z[:0]), target


def _predict(
    x: Float64[np.ndarray, "n d"],
    labels: Int8[np.ndarray, " n"],
    weight: Float64[np.ndarray, " n"] | None,
    asked: Float64[np.ndarray, "m d"],
) -> NDArray[np.int8]:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    probe = LogisticRegression(C=FINE_PENALTY, max_iter=5000)
    predicted: NDArray[np.int8] = probe.fit(x.astype(np.float32), labels, weight).predict(asked.astype(np.float32))
    return predicted


def _worst(right: list[NDArray[np.bool_]], asked: NDArray[np.intp], scored: list[int], blocks: Blocks) -> Statistic:
    """Accuracy in the worst group, of all rows and without each block of people, the mean over seeds."""
    seeds = []
    for one in right:
        by_group = [blocks.mean(one[asked == g], blocks.number[asked == g]) for g in scored]
        seeds.append(np.min(by_group, axis=0))
    mean: Statistic = np.mean(seeds, axis=0)
    return mean
