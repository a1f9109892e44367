"""The main job where the truth is known: the problem and the cure, trained, judged and shown on one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int8
from numpy.typing import NDArray

from fclf.autoencoder import WEIGHTS, embed, load_encoder, portrait_set
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import Geometry, planted
from fclf.data.portraits import draw, sitters
from fclf.decoder import Decoder
from fclf.evaluation import Report, evaluate
from fclf.evaluation.bench import Matrix, Truth
from fclf.report import figures, html
from fclf.train import EpochCallback, train

__all__ = ["PORTRAITS", "DemoResult", "World", "planted_world", "portrait_world", "run_demo"]

PORTRAITS = 10_000
EPOCHS = 30
"""Of the specification's recipe; those of an edit have none."""
PROBLEM = "fclf_config"
TITLES = {PROBLEM: "spec, FIX 1-3", "edit": "edit", "edit_learned": "edit, learned"}


@dataclass(frozen=True)
class World:
    """Embeddings of which it is known what every edit should have become."""

    name: Literal["portraits", "planted"]
    data: EmbeddingSet
    """With a split."""
    truth: Truth
    """Of the test rows."""
    cure: str
    """The recipe that is to be healthy."""
    decoder: Decoder | None = None


@dataclass(frozen=True)
class DemoResult:
    """What the demo found; the cure first."""

    reports: dict[str, Report]
    """By title."""
    figures: list[Path]
    page: Path
    """The cure beside the problem."""


def portrait_world(n: int = PORTRAITS, *, seed: int = 0) -> World:
    """Draw and embed portraits; the truth is the embedding of the same person drawn with other attributes."""
    people, encoder = sitters(n, seed=seed), load_encoder()
    data = portrait_set(people, encoder, seed=seed)
    shown = people.take(np.asarray(data.split) == "test")

    def truth(rows: NDArray[np.intp], target: Int8[np.ndarray, "n K"]) -> Matrix:
        return embed(draw(shown.take(rows).showing(target)), encoder).astype(np.float64)

    return World("portraits", data, truth, "edit_learned", Decoder.load(WEIGHTS))


def planted_world(geometry: Geometry = "centred", *, seed: int = 0) -> World:
    """Plant embeddings without pictures, in one of the geometries that encoders have."""
    data, planting = planted(geometry=geometry, seed=seed)
    test = np.flatnonzero(np.asarray(data.split) == "test")

    def truth(rows: NDArray[np.intp], target: Int8[np.ndarray, "n K"]) -> Matrix:
        return planting.of(test[rows]).embed(target)

    return World("planted", data, truth, "edit")


def run_demo(
    world: World,
    folder: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    on_start: Callable[[str, int], EpochCallback] | None = None,
) -> DemoResult:
    """Train the cure and the specification's recipe, evaluate them, and put them beside each other.

    Args:
        world: what to train on.
        folder: gets the embeddings, `report.html` and one run folder per recipe, each with its `evaluation`.
        seed: of training.
        overwrite: whether runs in the folder may be replaced.
        on_start: called with a recipe's title and number of epochs; what it returns is told of every epoch.
    """
    reports, drawn = {}, []
    for name in (world.cure, PROBLEM):
        epochs = [f"training.num_epochs={EPOCHS}"] if name == PROBLEM else []
        config = load_config(name, [*epochs, f"training.seed={seed}"])
        on_epoch = on_start(TITLES[name], EPOCHS) if on_start else None
        checkpoint = train(world.data, config, folder / name, overwrite=overwrite, on_epoch=on_epoch)
        report = evaluate(checkpoint, world.data, decoder=world.decoder, truth=world.truth)
        report.save(folder / name / "evaluation")
        drawn += figures.draw(report, folder / name / "evaluation" / "figures")
        reports[TITLES[name]] = report
    world.data.save(folder / f"{world.name}.npz")
    return DemoResult(reports, drawn, html.write(list(reports.items()), folder / "report.html"))
