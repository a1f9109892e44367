"""Curves of a report: losses over epochs, arrival over flow time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fclf.evaluation.results import Metrics, Report
from fclf.report.palette import COLOURS, REST

__all__ = ["fill_panel", "loss_curves", "panels", "path_curve"]

COLUMNS = 3
SPEC_FIRST, SPEC_LAST = 2.0, 0.5
"""Where the specification expects the contrastive loss to start and to end."""


def loss_curves(metrics: Metrics) -> Figure:
    """What the specification's debugging points look at, a panel each; what a run did not record has no panel."""
    drawn = panels(metrics)
    rows = -(-len(drawn) // COLUMNS)
    figure = Figure(figsize=(4.2 * min(COLUMNS, len(drawn)), 3.3 * rows), layout="constrained")
    grid = figure.subplots(rows, min(COLUMNS, len(drawn)), squeeze=False)
    for axis, (title, fill) in zip(grid.flat, drawn, strict=False):
        fill_panel(axis, fill)
        axis.set_title(title, fontsize=10)
    for axis in grid.flat[len(drawn) :]:
        axis.remove()
    return figure


def fill_panel(axis: Axes, fill: Callable[[Axes], None], size: float = 8) -> None:
    """Draw one of `panels`, with letters of a size in points."""
    fill(axis)
    axis.set_xlabel("epoch", fontsize=size)
    axis.set_ylabel(axis.get_ylabel() or "mean of the epoch", fontsize=size)
    axis.tick_params(labelsize=size)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="best", fontsize=size, frameon=False)  # by name: unasked it warns where the machine is slow


def path_curve(report: Report) -> Figure:
    """Share of edits judged as their target over flow time; the area below is the AUC along the path."""
    paths = report.metrics.paths
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(paths.times, paths.target_share, color=COLOURS[3], alpha=0.3, linewidth=0)
    axis.plot(paths.times, paths.target_share, color=COLOURS[0], marker="o", markersize=3)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.tick_params(labelsize=8)
    axis.set_xlabel("flow time", fontsize=8)
    axis.set_ylabel("share judged as the target", fontsize=8)
    axis.set_title(
        f"{paths.edits} edits: AUC {paths.auc:.3f}, monotone {paths.monotone:.3f}, efficiency {paths.efficiency:.3f}",
        fontsize=10,
    )
    return figure


def panels(metrics: Metrics) -> list[tuple[str, Callable[[Axes], None]]]:
    """Title of each panel and what draws it; what a run did not record has none."""
    recorded = {key for record in metrics.history for key in record}
    found: list[tuple[str, Callable[[Axes], None]]] = [
        ("Loss", lambda axis: _lines(axis, metrics, {"loss": "train", "val_loss": "val"}))
    ]
    if "contrastive" in recorded:
        found.append(("Contrastive loss", lambda axis: _contrastive(axis, metrics)))
    weights = _weights(metrics, recorded)
    if weights:
        found.append(("Terms as weighted in the loss", lambda axis: _weighted(axis, metrics, weights)))
    if "num_prototypes" in recorded:
        found.append(("Target combinations in a batch", lambda axis: _prototypes(axis, metrics)))
    if "gradient_norm" in recorded:
        found.append(("Gradient norm before clipping", lambda axis: _lines(axis, metrics, {"gradient_norm": None})))
    spread = {"val_variance_ratio": "variance ratio", "val_silhouette_by_target": "silhouette by target"}
    spread = {key: label for key, label in spread.items() if key in recorded}
    if spread:
        found.append(("Spread of flowed val rows", lambda axis: _lines(axis, metrics, spread)))
    return found


def _weights(metrics: Metrics, recorded: set[str]) -> dict[str, float]:
    """Weight of each recorded term, by its name in the history."""
    loss = metrics.config.get("loss", {})
    return {
        name: float(weight)
        for key, weight in loss.items()
        if (name := key.removeprefix("lambda_")) != key and name in recorded and weight
    }


def _lines(axis: Axes, metrics: Metrics, names: dict[str, str] | dict[str, None]) -> None:
    for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
        epochs, values = _series(metrics, name)
        if epochs:
            axis.plot(epochs, values, color=colour, label=label, marker=".", markersize=4, linewidth=1.2)


def _contrastive(axis: Axes, metrics: Metrics) -> None:
    _lines(axis, metrics, {"contrastive": "train", "val_contrastive": "val"})
    if metrics.config.get("loss", {}).get("contrastive", {}).get("kind") == "prototype_infonce":
        for value, text in ((SPEC_FIRST, "from"), (SPEC_LAST, "to")):
            axis.axhline(value, color=REST, linestyle="--", linewidth=1, zorder=0, label=f"the spec: {text} {value}")


def _weighted(axis: Axes, metrics: Metrics, weights: dict[str, float]) -> None:
    largest = 0.0
    for colour, (name, weight) in zip(COLOURS, weights.items(), strict=False):
        epochs, values = _series(metrics, name)
        sizes = [abs(weight * value) for value in values]
        largest = max(largest, *sizes)
        axis.plot(epochs, sizes, color=colour, label=name, marker=".", markersize=4, linewidth=1.2)
    if largest > 0:
        axis.set_yscale("log")
    axis.set_ylabel("|weight × value|", fontsize=8)


def _prototypes(axis: Axes, metrics: Metrics) -> None:
    _lines(axis, metrics, {"num_prototypes": "mean of an epoch"})
    possible = min(metrics.combinations["possible"], metrics.config["training"]["batch_size"])
    axis.axhline(possible, color=REST, linestyle="--", linewidth=1, zorder=0, label=f"possible: {possible}")
    axis.set_ylim(0, 1.1 * possible)


def _series(metrics: Metrics, name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Epochs and values where `name` was recorded."""
    pairs = [
        (record.get("epoch") or number, value)
        for number, record in enumerate(metrics.history, 1)
        if (value := record.get(name)) is not None
    ]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]
