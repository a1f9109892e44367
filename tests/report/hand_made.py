"""A report made by hand, for the tests of what draws and prints it."""

from dataclasses import replace

import numpy as np

from fclf.config import Config
from fclf.evaluation.bands import read_bands
from fclf.evaluation.checks import check_run
from fclf.evaluation.readings import FieldScores, PathScores
from fclf.evaluation.results import JudgeScores, Metrics, PlotPoints, Report, Row
from fclf.evaluation.verdict import judge_table

COMBINATIONS = {"possible": 2, "train": 2, "evaluated": 2, "targets": 2}
HISTORY = [
    {"epoch": 1.0, "loss": 2.0, "val_loss": 2.1, "contrastive": 2.0, "identity": 0.5, "num_prototypes": 2.0},
    {"epoch": 2.0, "loss": 0.5, "val_loss": None, "contrastive": 0.5, "identity": 0.6, "val_variance_ratio": 0.1},
]


def row(name="flow", collapsed=(), kept=0.9):
    judged = JudgeScores(success=0.8, worst=0.3, worst_cell="a=1", kept=kept, cells={"a=1": 0.3, "a=0": 0.9})
    return Row(
        name=name,
        linear=judged,
        mlp=judged,
        rank1=1.0,
        gap_closed=None,
        variance_ratio=0.5,
        smallest_variance_ratio=0.4,
        spread_kept=0.5,
        recall=0.25,
        movement=1.5,
        step_distance=0.15,
        silhouettes={"flowed_by_target": 0.99},
        purity={"10": 0.5, "combinations": 0.75},
        distinct_destinations=3,
        sampled=20,
        collapsed=list(collapsed),
        groups=[],
        leakage=[[1.5, -0.25], [None, None]],
    )


BOOKS, PAGES = 3, 4


def followed(points, collapsed, changes, targets, **pictures):
    """The same points with three edits on four pages, in three places or, after the first page, in one."""
    source = np.array([4, 9, 2])
    rows = np.tile(source, (PAGES, 1))
    if collapsed:
        rows[1:] = 7
    ids = np.array([f"{i:03d}.jpg" for i in range(10)])
    return replace(
        points,
        flipbook_edits=np.arange(BOOKS),
        flipbook_source=source,
        flipbook_rows=rows,
        flipbook_distances=np.linspace(0, 0.66, BOOKS * PAGES).reshape(PAGES, BOOKS),
        flipbook_unique=np.array([len(set(page)) / BOOKS for page in rows.tolist()]),
        flipbook_times=np.linspace(0, 1, PAGES),
        flipbook_changes=np.array(changes),
        flipbook_ids=ids[source],
        flipbook_targets=np.array(targets),
        flipbook_nearest_ids=ids[rows],
        **pictures,
    )


def report(collapsed=(), projection="pca", history=HISTORY, attributes=("a", "b")):
    rng = np.random.default_rng(0)
    points = PlotPoints(
        original=rng.normal(size=(20, 2)),
        flowed=np.zeros((20, 2)),
        paths=rng.normal(size=(4, 6, 2)),
        original_codes=rng.integers(0, 9, 20),
        target_codes=rng.integers(0, 9, 20),
        code_names=np.array([f"combination {i}" for i in range(9)]),
        explained=np.array([0.2, 0.1]) if projection == "pca" else np.zeros(0),
        flipbook_edits=np.arange(2),
        flipbook_source=np.array([4, 9]),
        flipbook_rows=np.array([[4, 9], [1, 1]]),
        flipbook_distances=np.array([[0.0, 0.0], [0.25, 0.5]]),
        flipbook_unique=np.array([1.0, 0.5]),
    )
    metrics = Metrics(
        fclf_version="0",
        mode="each",
        split="test",
        seed=0,
        attributes=list(attributes),
        rows={"evaluated": 20, "judge": 10, "edits": 20, "groups": 0},
        data_fingerprint="0",
        trained_on_this_data=True,
        epoch=1,
        config=Config().model_dump(mode="json"),
        history=history,
        combinations=COMBINATIONS,
        paths=PathScores(
            edits=20,
            times=[0.0, 0.5, 1.0],
            target_share=[0.1, 0.6, 0.9],
            auc=0.55,
            auc_by_attribute={"a": 0.55},
            monotone=0.8,
            tolerance=0.01,
            efficiency=0.95,
        ),
        field=FieldScores(
            rows=2, divergence_mean=-1.0, divergence_rms=1.5, curl_mean=0.5, curl_rms=0.6, jacobian_rms=2.0
        ),
        bands=read_bands(row(), 30),
        checks=check_run(history, Config(), COMBINATIONS),
        projection=projection,
        verdict=judge_table([row(), row("do nothing", kept=None)], history),
        table=[row(collapsed=collapsed), row("do nothing", kept=None)],
        notes=["a note"],
    )
    return Report(metrics, points)
