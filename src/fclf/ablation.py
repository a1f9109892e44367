"""The story in one table: the specification before its fixes, each fix, closed forms, the cure and its parts."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from fclf import __version__
from fclf.closed.leave_one_out import leave_one_out
from fclf.closed.linear import ClosedForm
from fclf.closed.transport import ConditionalTransport
from fclf.config import Config, load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.evaluation.apart import without_copies
from fclf.evaluation.bench import Bench, Matrix
from fclf.evaluation.controls import controls
from fclf.evaluation.judges import Judges
from fclf.evaluation.protocol import MIN_ROWS
from fclf.evaluation.readings import Model
from fclf.evaluation.results import MEASURES as INTERVALS
from fclf.evaluation.results import Row
from fclf.evaluation.selection import arrays
from fclf.evaluation.verdict import collapse_signs
from fclf.files import existing_file, write_json
from fclf.parsing import parse_json
from fclf.train import EpochCallback, train

__all__ = ["MEASURES", "TRAINED", "Ablation", "Family", "Measured", "Method", "ablate"]

SCHEMA_VERSION: Literal[1] = 1

Family = Literal["specification", "control", "closed form", "cure", "leave one out", "real"]

TRAINED: dict[str, tuple[str, ...]] = {
    "before the fixes": ("before",),
    "FIX 1 alone: identity weight": ("before", "loss.lambda_identity=0.05"),
    "FIX 2 alone: always flip": ("before", "training.flip_probability=1"),
    "FIX 3 alone: prototypes": ("before", "loss.contrastive.kind=prototype_infonce"),
    "FIX 1-3": ("fclf_config",),
    "FIX 1-4: and repulsion": ("negative_sampling",),
    "FIX 1-3, prototypes held fixed": ("stop_gradient",),
    "the authors' later recipe": ("soft_positives",),
}
"""What is trained: a recipe and what is changed in it."""
KEEPS = {"faithful": 0.0, "balanced": 0.5, "controlled": 1.0}
"""Operating points of the cure."""
WHOLE = "balanced"
"""The one at which its parts are left out."""
CONTROLS = ("do nothing", "target mean", "nearest real target row")

MEASURES = (*INTERVALS, "smallest_variance_ratio", "silhouette_by_target", "movement")
"""What is kept of each row of an evaluation; all but the last three may have an interval over people."""


class Measured(Model):
    """One measure of one method; none where it is not defined."""

    value: float | None
    """Mean over seeds."""
    low: float | None
    high: float | None


class Method(Model):
    """One row of the table."""

    name: str
    family: Family
    command: str | None
    """What trains it; none for what is fitted for this table only."""
    seeds: int
    """How many trainings, or 1 for what is not random."""
    interval: Literal["seeds", "people"] | None
    """What `low` and `high` are: the lowest and highest seed, a 95 % interval over people, or absent."""
    measures: dict[str, Measured]
    """By `MEASURES`."""
    collapsed_seeds: int
    """How many of the seeds show signs of collapse."""
    signs: list[str]
    """Those of the first that does, in words."""
    ahead: dict[str, Measured]
    """Of the cure without a part: by how much it is ahead of the whole, with paired 95 % intervals."""

    @property
    def collapsed(self) -> bool:
        """Whether any seed did."""
        return self.collapsed_seeds > 0

    def value(self, measure: str) -> float | None:
        """Mean over seeds."""
        return self.measures[measure].value


class Ablation(Model):
    """Content of `ablation.json`; keys are stable within a schema version."""

    schema_version: Literal[1] = SCHEMA_VERSION
    fclf_version: str
    data_fingerprint: str
    attributes: list[str]
    rows: dict[str, int]
    """Train, judge and evaluated rows, edits, and groups compared with real rows."""
    epochs: int
    seeds: int
    seed: int
    """Of judges, folds and samples, and the first of training."""
    methods: list[Method]

    def save(self, path: str | Path) -> None:
        """Write `ablation.json`."""
        write_json(Path(path), self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> Ablation:
        """Read back what `save` wrote; `InputError` if it is something else."""
        path = existing_file(Path(path), "Ablation")
        try:
            return cls.model_validate(parse_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise InputError(f"{path} does not hold an ablation of this version: {error}. Ablate again.") from error


def ablate(
    data: EmbeddingSet,
    *,
    seeds: int = 3,
    epochs: int = 5,
    seed: int = 0,
    on_start: Callable[[str, int], EpochCallback] | None = None,
) -> Ablation:
    """Train and fit every method on the train rows, and measure their edits of every test row x every attribute.

    The judges are fitted once, on rows and people that no method reads. The last epoch of each training is measured.

    Args:
        data: embeddings with the attributes to edit; without a split column `seed` splits them.
        seeds: trainings of each recipe, with seeds `seed`, `seed` + 1, ...
        epochs: of each training.
        seed: of the judges, folds and samples.
        on_start: called with a training's title and number of epochs; what it returns is told of every epoch.

    Raises:
        InputError: if rows are too few, labels do not vary, or too many judge rows are copies of others.
        NonFiniteLossError: if a training's loss stops being a number.
    """
    data.check_real()
    data = data.with_split(seed)
    parts = {name: data.part(name).fully_labelled() for name in ("train", "val", "judge", "test")}
    if len(parts["test"]) < MIN_ROWS:
        raise InputError(f"{len(parts['test'])} test rows are too few to measure; at least {MIN_ROWS} are needed.")
    known = [digest for name in ("train", "val", "test") for digest in parts[name].row_digests()]
    parts["judge"], _ = without_copies(parts["judge"], known)
    bench = Bench.build(parts["test"], Judges.fit(parts["judge"], seed), "each", seed)
    studied: list[tuple[str, Family, str | None, list[Row]]] = []
    for name, (recipe, *overrides) in TRAINED.items():
        rows = []
        for number in range(seed, seed + seeds):
            config = _config(recipe, [*overrides, f"training.num_epochs={epochs}", f"training.seed={number}"], data)
            title = f"{name}, seed {number}"
            rows.append(_trained(title, data, config, bench, on_start(title, epochs) if on_start else None))
        studied.append((name, "specification", " --set ".join((recipe, *overrides)), rows))
    for name, family, command, form in _closed(parts["train"], seed):
        edited = form(bench.sources, bench.plan.original, bench.plan.target)
        studied.append((name, family, command, [bench.measure(name, edited)]))
    studied.append(("held-out real", "real", None, [bench.measure_real()]))
    table = [row for _, family, _, rows in studied if family != "specification" for row in rows]
    whole = next((row for row in table if row.name == f"cure, {WHOLE}"), None)
    methods = []
    for name, family, command, rows in studied:
        rows = [row.model_copy(update={"collapsed": collapse_signs(row, table)}) for row in rows]
        ahead = _ahead(rows[0], whole) if whole is not None and family == "leave one out" else {}
        methods.append(_method(name, family, rows, command, ahead))
    return Ablation(
        fclf_version=__version__,
        data_fingerprint=data.fingerprint(),
        attributes=list(data.attribute_names),
        rows={
            "train": len(parts["train"]),
            "judge": len(parts["judge"]),
            "evaluated": len(parts["test"]),
            "edits": len(bench.plan),
            "groups": len(bench.groups),
        },
        epochs=epochs,
        seeds=seeds,
        seed=seed,
        methods=methods,
    )


def _config(recipe: str, overrides: Iterable[str], data: EmbeddingSet) -> Config:
    config = load_config(recipe, overrides)
    return config.model_copy(update={"data": config.data.model_copy(update={"attributes": data.attribute_names})})


def _trained(name: str, data: EmbeddingSet, config: Config, bench: Bench, on_epoch: EpochCallback | None) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        flow = train(data, config, folder, on_epoch=on_epoch).flow()
    edited: Matrix = flow.edit(*flow.inputs(bench.sources, bench.plan.original, bench.plan.target)).double().numpy()
    if not np.isfinite(edited).all():
        raise InputError(f"The flow of '{name}' ends at numbers that are not finite; train for fewer epochs.")
    return bench.measure(name, edited)


def _closed(rows: EmbeddingSet, seed: int) -> Iterator[tuple[str, Family, str | None, ClosedForm]]:
    """What is fitted: controls, closed forms, the cure at each operating point, and without each of its parts."""
    for name, form in controls(rows).items():
        yield name, "control" if name in CONTROLS else "closed form", None, form
    for point, keep in KEEPS.items():
        command = f"edit --set model.start=transport --set model.keep={keep:g}"
        yield f"cure, {point}", "cure", command, ConditionalTransport.fit(*arrays(rows), keep=keep, seed=seed)
    for part, form in leave_one_out(*arrays(rows), keep=KEEPS[WHOLE], seed=seed).items():
        yield f"cure without {part}", "leave one out", None, form


def _ahead(row: Row, whole: Row) -> dict[str, Measured]:
    found = {}
    for measure in INTERVALS:
        if (difference := row.ahead_of(whole, measure)) is not None:
            value, (low, high) = difference[0], difference[1] or (None, None)
            found[measure] = Measured(value=value, low=low, high=high)
    return found


def _method(
    name: str, family: Family, rows: list[Row], command: str | None = None, ahead: dict[str, Measured] | None = None
) -> Method:
    several, people = len(rows) > 1, rows[0].intervals
    found = [_values(row) for row in rows]
    measures = {}
    for measure in MEASURES:
        values = [value for each in found if (value := each[measure]) is not None and math.isfinite(value)]
        low, high = people.get(measure, (None, None))
        if several:
            low, high = (min(values), max(values)) if values else (None, None)
        measures[measure] = Measured(value=statistics.fmean(values) if values else None, low=low, high=high)
    collapsed = [row.collapsed for row in rows if row.collapsed]
    return Method(
        name=name,
        family=family,
        command=None if command is None else f"fclf train --config {command}",
        seeds=len(rows),
        interval="seeds" if several else "people" if people else None,
        measures=measures,
        collapsed_seeds=len(collapsed),
        signs=collapsed[0] if collapsed else [],
        ahead=ahead or {},
    )


def _values(row: Row) -> dict[str, float | None]:
    """By `MEASURES`."""
    return {measure: row.value(measure) for measure in INTERVALS} | {
        "smallest_variance_ratio": row.smallest_variance_ratio,
        "silhouette_by_target": row.silhouettes.get("flowed_by_target"),
        "movement": row.movement,
    }
