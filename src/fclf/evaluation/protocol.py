"""The evaluation protocol: judges apart, flipped targets, controls in the same table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.config import ChangeModelConfig
from fclf.data.embeddings import EmbeddingSet
from fclf.data.shards.index import ShardIndex
from fclf.decoder import Decoder
from fclf.errors import InputError
from fclf.evaluation.apart import judges_apart
from fclf.evaluation.bands import read_bands
from fclf.evaluation.bench import Bench, Matrix, Truth
from fclf.evaluation.checks import check_run
from fclf.evaluation.choice import choose
from fclf.evaluation.controls import controls
from fclf.evaluation.edits import MIN_EDITED, MIN_REAL, Mode, combination_name
from fclf.evaluation.flipbook import FlipbookPoints, flipbook
from fclf.evaluation.jacobian import field_scores
from fclf.evaluation.judges import Judges
from fclf.evaluation.paths import measure_paths
from fclf.evaluation.projection import Kind, Projection, project, resolve
from fclf.evaluation.readings import FieldScores, PathScores
from fclf.evaluation.results import Metrics, PlotPoints, Report, Row
from fclf.evaluation.sampled import sampled
from fclf.evaluation.verdict import collapse_signs, judge_table
from fclf.flow import Flow
from fclf.labels import UNKNOWN

__all__ = ["evaluate"]

MAX_PATHS = 150
"""Paths in the figures."""
JACOBIANS = 32
"""Rows at which the field's exact Jacobian is computed."""
MIN_ROWS = 10


def evaluate(
    checkpoint: Checkpoint,
    data: EmbeddingSet | ShardIndex,
    *,
    split: str = "test",
    mode: Mode = "each",
    seed: int = 0,
    projection: Projection = "pca",
    slow_controls: bool = False,
    decoder: Decoder | None = None,
    images: str | Path | None = None,
    truth: Truth | None = None,
) -> Report:
    """Edit the rows of one split with a trained flow and with every control, and judge the results.

    Args:
        checkpoint: the trained field; its attributes are found in `data` by name.
        data: embeddings with attributes; without a split column the checkpoint's seed splits them. Of shards, and of
            100,000 rows and more, a sample is evaluated (`fclf.evaluation.sampled`).
        split: rows to edit, `train`, `val` or `test`.
        mode: which edits: every row x every attribute (`each`), or one of the reference's samples.
        seed: of the judges, samples and subsamples.
        projection: the map in the figures: principal axes, UMAP, or `auto` for UMAP where it is installed.
        slow_controls: train flow matching as a control too.
        decoder: draws the edits in the flipbooks, where there is one for these embeddings.
        images: folder of images named by the rows' ids, for the nearest rows in the flipbooks.
        truth: gives what rows of the split should become, where that is known, as of drawn pictures.

    Raises:
        InputError: if the data do not fit, the judge rows were used in training, or UMAP is not installed.
    """
    kind = resolve(projection)
    if split == "judge":
        raise InputError("--split judge: the judges are trained on these rows; evaluate another split.")
    shards = data if isinstance(data, ShardIndex) else None
    sampling = None
    if isinstance(data, ShardIndex):
        data, sampling = sampled(data, split, seed)
    data.check_real()
    data = checkpoint.matching(data).with_split(checkpoint.config.data.split_seed)
    fingerprint = data.fingerprint() if shards is None else shards.fingerprint
    judge_rows, copies = judges_apart(checkpoint, data, split)
    if shards is None and truth is None:  # the checks above were of all rows
        data, sampling = sampled(data, split, seed)
        if sampling is not None:
            judge_rows, copies = judges_apart(checkpoint, data, split)
    rows = data.part(split)
    rows = rows.labelled() if checkpoint.classifier else rows.fully_labelled()
    if len(rows) < MIN_ROWS:
        raise InputError(
            f"{len(rows)} rows in the split '{split}' are too few to evaluate; at least {MIN_ROWS} are needed."
        )
    train = data.part("train").labelled()
    guessed, guesses = checkpoint.infer(rows)
    bench = Bench.build(rows, Judges.fit(judge_rows, seed), mode, seed, truth, np.asarray(guessed.attributes))
    flow = checkpoint.flow()
    destinations, steps = _follow(flow, bench)
    book = _flipbook(flow, bench, rows, decoder, images)  # before the controls, as a folder may turn out to be empty
    table = [bench.measure("flow", destinations, steps)]
    for name, control in controls(train, slow=slow_controls, seed=seed).items():
        table.append(bench.measure(name, control(bench.sources, bench.plan.original, bench.plan.target)))
    table.append(bench.measure_real())
    table = [row.model_copy(update={"collapsed": collapse_signs(row, table)}) for row in table]
    history = [{key: _finite(value) for key, value in record.items()} for record in checkpoint.history]
    combinations = {
        "possible": 2 ** len(data.attribute_names),
        "train": _combinations(np.asarray(train.attributes)),
        "evaluated": _combinations(bench.y),
        "targets": len(np.unique(bench.plan.target, axis=0)),
    }
    metrics = Metrics(
        fclf_version=__version__,
        mode=mode,
        split=split,
        seed=seed,
        attributes=list(data.attribute_names),
        rows={
            "evaluated": len(rows),
            "judge": len(judge_rows),
            "edits": len(bench.plan),
            "groups": len(bench.groups),
            "blocks": bench.blocks.count,
        },
        data_fingerprint=fingerprint,
        trained_on_this_data=checkpoint.data_fingerprint.startswith(fingerprint),
        sample=None if sampling is None else vars(sampling),
        epoch=checkpoint.epoch,
        config=checkpoint.config.model_dump(mode="json"),
        history=history,
        combinations=combinations,
        verdict=judge_table(table, history, fitted=isinstance(checkpoint.config.model, ChangeModelConfig)),
        table=table,
        paths=_paths(flow, bench),
        field=_field(flow, bench),
        bands=read_bands(table[0], checkpoint.epoch),
        checks=check_run(history, checkpoint.config, combinations),
        projection=kind,
        notes=[
            *([] if sampling is None else [sampling.note(split)]),
            *_notes(checkpoint.shared_rows(rows), copies, rows, bench, guesses),
            *_unreadable(table[-1], bench),
        ],
    )
    return Report(metrics, _plot_points(flow, bench, destinations, kind, book))


def _inputs(
    flow: Flow, bench: Bench, edits: NDArray[np.intp] | slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources of some edits and what the field is conditioned on."""
    plan = bench.plan
    return flow.inputs(bench.z[plan.source[edits]], plan.original[edits], plan.target[edits])


def _follow(flow: Flow, bench: Bench) -> tuple[Matrix, float]:
    """Destinations of all edits and the mean step length."""
    z, y = _inputs(flow, bench)
    ends, lengths = [], []
    with torch.no_grad():
        for first in range(0, len(z), 8192):
            part = slice(first, first + 8192)
            previous = z[part]
            for point in flow.path(z[part], y[part]):
                lengths.append(torch.linalg.vector_norm(point - previous, dim=1).double().sum().item())
                previous = point
            ends.append(previous)
    destinations = torch.cat(ends).double().numpy()
    if not np.isfinite(destinations).all():
        raise InputError("The checkpoint's flow ends at numbers that are not finite; train it again.")
    return destinations, sum(lengths) / (len(z) * flow.steps)


def _points(flow: Flow, bench: Bench, edits: NDArray[np.intp]) -> Iterator[Matrix]:
    """Sources of some edits and where they are after each step."""
    for point in flow.path(*_inputs(flow, bench, edits)):
        yield point.double().numpy()


def _paths(flow: Flow, bench: Bench) -> PathScores:
    points = _points(flow, bench, bench.sample)
    with torch.no_grad():
        return measure_paths(
            points, bench.plan.take(bench.sample), bench.names, bench.judges.linear, bench.logit_spread
        )


def _field(flow: Flow, bench: Bench) -> FieldScores:
    return field_scores(flow.field, *_inputs(flow, bench, bench.sample[:JACOBIANS]))


def _flipbook(
    flow: Flow, bench: Bench, rows: EmbeddingSet, decoder: Decoder | None, images: str | Path | None
) -> FlipbookPoints:
    """Follow a few of the sampled edits by their nearest rows."""
    sample = bench.plan.take(bench.sample)
    return flipbook(
        flow, rows, sample, choose(sample, rows.identities, seed=bench.seed), decoder=decoder, images=images
    )


def _plot_points(flow: Flow, bench: Bench, destinations: Matrix, kind: Kind, book: FlipbookPoints) -> PlotPoints:
    """Place the sampled edits and some of their paths in one map, beside the flipbooks."""
    shown = bench.sample[:MAX_PATHS]
    with torch.no_grad():
        paths: Float64[np.ndarray, "t p d"] = np.stack(list(_points(flow, bench, shown)))
    source = bench.plan.source[bench.sample]
    codes = np.stack([bench.codes[state][bench.sample] for state in ("original", "target")])
    named, numbers = np.unique(codes, return_inverse=True)  # of 70,000 with 40 attributes
    original_codes, target_codes = numbers.reshape(codes.shape)
    places = project(kind, bench.z, source, destinations[bench.sample], paths, bench.tolerance, bench.seed)
    return PlotPoints(
        original=places.original,
        flowed=places.flowed,
        paths=places.paths,
        original_codes=original_codes,
        target_codes=target_codes,
        code_names=np.array([combination_name(bench.names, row) for row in bench.code_rows[named]]),
        explained=places.explained,
        **vars(book),
    )


def _combinations(y: Int8[np.ndarray, "n K"]) -> int:
    """How many occur among rows without an unknown label."""
    return len(np.unique(y[(y != UNKNOWN).all(axis=1)], axis=0))


def _notes(trained_on: int, copies: int, rows: EmbeddingSet, bench: Bench, guesses: int) -> list[str]:
    """What a reader should know before believing the table."""
    found = []
    if trained_on:
        found.append(f"{trained_on} of the {len(rows)} evaluated rows were used in training: this flatters the flow.")
    if copies:
        found.append(
            f"{copies} judge rows are copies of rows that training read or that are evaluated; the judges were trained "
            "without them."
        )
    if guesses:
        found.append(
            f"{guesses} of the {len(rows)} evaluated rows have an unknown label, which the checkpoint's classifier "
            "guessed for the edits. Unknown labels are neither flipped nor judged, and these rows are in no group."
        )
    if not bench.groups:
        found.append(
            f"No group has {MIN_EDITED} edits and {MIN_REAL} different real rows to compare them with: gap, variance "
            "ratio and recall are missing, and read per attribute and direction only. Evaluate more rows."
        )
    flips, target = bench.plan.flips, bench.plan.target
    empty = [
        f"{name} to {value}"
        for k, name in enumerate(bench.names)
        for value in (0, 1)
        if not (flips[:, k] & (target[:, k] == value)).any()
    ]
    if empty:
        found.append(f"No row is edited in these directions, so no success is reported for them: {', '.join(empty)}.")
    if len(bench.sample) < len(bench.plan):
        found.append(
            f"Silhouettes, purity and distinct destinations are of {len(bench.sample)} edits drawn at random "
            f"from {len(bench.plan)}."
        )
    return found


def _unreadable(real: Row, bench: Bench) -> list[str]:
    """Attributes that neither judge reads from real rows: within two standard errors of chance, .5 over both values.

    The verdict is of the mean over attributes, in which one that is not in the embeddings goes under.
    """
    found = []
    for k, name in enumerate(bench.names):
        counts = [int((bench.y[:, k] == value).sum()) for value in (0, 1)]
        shares = [[judge.cells.get(f"{name}={value}") for value in (0, 1)] for judge in (real.linear, real.mlp)]
        read = [(no + yes) / 2 for no, yes in shares if no is not None and yes is not None]
        if read and max(read) - sum(1 / (4 * count) for count in counts) ** 0.5 <= 0.5:
            found.append(f"{name} ({max(read):.2f} of real rows, .5 is chance)")
    if not found:
        return []
    return [
        f"No judge reads {', '.join(found)}: what the table says of success there means nothing. Either the "
        "embeddings do not hold it, or its labels are of other rows, or there are too few."
    ]


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None
