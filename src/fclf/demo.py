"""The main job on planted data: train the specification's recipes, evaluate them, and compare with the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fclf.checkpoint import Checkpoint
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import Geometry, PlantedTruth, planted
from fclf.evaluation import Report, evaluate
from fclf.evaluation.controls import controls
from fclf.report import figures, html
from fclf.train import EpochCallback, train

__all__ = ["RECIPES", "DemoResult", "run_demo"]

RECIPES = {"before": "spec, before the fixes", "fclf_config": "spec, FIX 1-3", "edit": "edit"}
BESIDE = ("edit", "fclf_config")
"""The cure and the problem, on one page."""
EPOCHS = 30
"""Of the specification's recipes; the recipe `edit` has none."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo found."""

    reports: dict[str, Report]
    """By recipe."""
    angles: dict[str, float]
    """Mean angle in degrees from each edit's end to the embedding it should have become."""
    figures: list[Path]
    page: Path
    """The edit beside the specification's fixes."""


def run_demo(
    folder: Path,
    *,
    geometry: Geometry = "centred",
    seed: int = 0,
    overwrite: bool = False,
    on_start: Callable[[str, int], EpochCallback] | None = None,
) -> DemoResult:
    """Plant a set of embeddings, train each of `RECIPES` on it and evaluate them.

    Args:
        folder: gets `planted.npz`, `report.html` and one run folder per recipe, each with its `evaluation`.
        geometry: of the planted set.
        seed: of the data and of training.
        overwrite: whether runs in the folder may be replaced.
        on_start: called with a recipe's title and number of epochs; what it returns is told of every epoch.
    """
    data, truth = planted(geometry=geometry, seed=seed)
    reports, checkpoints, drawn = {}, {}, []
    for name, title in RECIPES.items():
        epochs = [] if name == "edit" else [f"training.num_epochs={EPOCHS}"]
        config = load_config(name, [*epochs, f"training.seed={seed}"])
        on_epoch = on_start(title, EPOCHS) if on_start and epochs else None
        checkpoints[name] = train(data, config, folder / name, overwrite=overwrite, on_epoch=on_epoch)
        reports[name] = evaluate(checkpoints[name], data)
        reports[name].save(folder / name / "evaluation")
        drawn += figures.draw(reports[name], folder / name / "evaluation" / "figures")
    data.save(folder / "planted.npz")
    page = html.write([(RECIPES[name], reports[name]) for name in BESIDE], folder / "report.html")
    return DemoResult(reports, _angles(data, truth, checkpoints), drawn, page)


def _angles(data: EmbeddingSet, truth: PlantedTruth, checkpoints: dict[str, Checkpoint]) -> dict[str, float]:
    """Angle to the truth of every test row x every attribute, for each flow and control."""
    test = np.asarray(data.split) == "test"
    labels = np.asarray(data.attributes)
    z = data.embeddings[test].astype(np.float64)
    flows = {name: checkpoint.flow() for name, checkpoint in checkpoints.items()}
    fitted = controls(data.part("train"))
    found: dict[str, list[float]] = {name: [] for name in (*flows, *fitted)}
    for k in range(labels.shape[1]):
        target = labels.copy()
        target[:, k] = 1 - target[:, k]
        goal = truth.embed(target)[test]
        ends = {name: control(z, labels[test], target[test]) for name, control in fitted.items()}
        for name, flow in flows.items():
            ends[name] = flow.edit(*flow.inputs(z, labels[test], target[test])).double().numpy()
        for name, end in ends.items():
            cosine = np.clip((end * goal).sum(axis=1), -1, 1)
            found[name].append(float(np.degrees(np.arccos(cosine)).mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}
