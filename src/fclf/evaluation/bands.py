"""The specification's expectations as data, read against a measured flow.

Its three metric tables, its epoch-by-epoch expectations and its stop rules (`mode_collapse_fixes.md`, "Expected
Metrics After Retraining", "Training Progression" and "When to stop"). They are shown because the specification
names them, and decide nothing: what each was found to be worth is in `NOTES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from fclf.evaluation.readings import BandReading, SpecBands, StageReading, StopRule
from fclf.evaluation.results import Row

__all__ = ["NOTES", "ORGANISED", "TABLES", "read_bands"]

MOVEMENT, ORIGINAL, TARGET = "movement", "silhouette by original", "silhouette by target"
STEP, PURITY, REGIONS = "step distance", "cluster purity", "green dots in regions"

TABLES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "After 5 epochs": {
        MOVEMENT: (0.3, 0.5),
        ORIGINAL: (0.15, 0.25),
        TARGET: (0.6, 0.8),
        STEP: (0.02, 0.04),
        PURITY: (0.40, 0.60),
        REGIONS: (3, 5),
    },
    "After 15 epochs": {
        MOVEMENT: (0.4, 0.6),
        ORIGINAL: (0.18, 0.28),
        TARGET: (0.4, 0.6),
        STEP: (0.02, 0.04),
        PURITY: (0.65, 0.80),
        REGIONS: (8, 12),
    },
    "After 30+ epochs": {
        MOVEMENT: (0.5, 0.7),
        ORIGINAL: (0.20, 0.30),
        TARGET: (0.35, 0.55),
        STEP: (0.02, 0.04),
        PURITY: (0.75, 0.90),
        REGIONS: (10, 20),
    },
}
"""Lowest and highest value expected of each measure, both included."""

ORGANISED = TABLES["After 30+ epochs"][TARGET]
"""Silhouette by target of the specification's ideal."""

NOTES: Mapping[str, str] = {
    MOVEMENT: "Blind to collapse: collapsed flows move by 1.9 on a cone.",
    ORIGINAL: "Negative in every run measured, collapsed or not.",
    TARGET: "Itself a collapse: .33/.49 keep 12/5 % of the variance.",
    STEP: "A length; short steps lead to one point as well as anywhere.",
    PURITY: "k = 10 cannot pass about .7: there are more combinations.",
    REGIONS: "Distinct points; real rows share none, so few are a collapse.",
}

STAGES = (
    (1, 3, "2-3 clusters", REGIONS, (2.0, 3.0)),
    (4, 7, "5-10 regions", REGIONS, (5.0, 10.0)),
    (4, 7, "silhouette by target about 0.7", TARGET, (0.65, 0.75)),
    (8, 15, "10-15 regions", REGIONS, (10.0, 15.0)),
    (8, 15, "silhouette by target 0.4 to 0.6", TARGET, (0.4, 0.6)),
)
CONTINUOUS = (15, 50, "continuous distribution within each attribute cluster")
KMEANS_CLUSTERS = 10
"""scikit-learn warns when there are fewer distinct points than clusters: the specification's "sklearn warnings"."""

STOP_NOTES: Mapping[str, str] = {
    "continue": "A flow that no measure calls collapsed can show none of these signs.",
    "success": "So few points exclude a spread like that of real rows.",
    "overtrained": "Real rows read so too (silhouette -.04): no reason to stop.",
}


def read_bands(flow: Row, epoch: int) -> SpecBands:
    """Read a flow's row of the table against every expectation of the specification.

    "Green dots in regions" is the number of distinct destinations: single-linkage clusters at 1e-3 of the real
    spread. "Sklearn warnings" are fewer distinct destinations than k-means clusters.

    Args:
        flow: what was measured.
        epoch: epochs of training, which say which table and stage apply.
    """
    found: dict[str, float | None] = {
        MOVEMENT: flow.movement,
        ORIGINAL: flow.silhouettes.get("flowed_by_original"),
        TARGET: flow.silhouettes.get("flowed_by_target"),
        STEP: flow.step_distance,
        PURITY: flow.purity.get("10"),
        REGIONS: float(flow.distinct_destinations),
    }
    tables = [
        BandReading(
            table=table, name=name, low=low, high=high, measured=found[name], inside=_in(found[name], low, high)
        )
        for table, bands in TABLES.items()
        for name, (low, high) in bands.items()
    ]
    return SpecBands(
        current_table=list(TABLES)[0 if epoch < 15 else 1 if epoch < 30 else 2],
        current_stage="1-3" if epoch <= 3 else "4-7" if epoch <= 7 else "8-15" if epoch <= 15 else "15-50",
        tables=tables,
        stages=_stages(found, flow),
        stop_rules=_stop_rules(found, flow),
        notes=dict(NOTES),
    )


def _stages(found: Mapping[str, float | None], flow: Row) -> list[StageReading]:
    readings = [
        StageReading(
            epochs=f"{first}-{last}", expected=expected, measured=_text(found[name]), inside=_in(found[name], *band)
        )
        for first, last, expected, name, band in STAGES
    ]
    first, last, expected = CONTINUOUS
    ratio = flow.variance_ratio
    readings.append(
        StageReading(
            epochs=f"{first}-{last}",
            expected=expected,
            measured="no comparable groups" if ratio is None else f"{ratio:.3f} of the real variance within",
            inside=None if ratio is None else not flow.collapsed,
        )
    )
    return readings


def _stop_rules(found: Mapping[str, float | None], flow: Row) -> list[StopRule]:
    silhouette, purity, regions = found[TARGET], found[PURITY], flow.distinct_destinations
    warns = regions < KMEANS_CLUSTERS
    signs: dict[str, bool | None] = {
        "silhouette by target > 0.6": None if silhouette is None else silhouette > 0.6,
        "fewer than 8 regions": regions < 8,
        "sklearn warnings": warns,
    }
    success: dict[str, bool | None] = {
        "silhouette by target 0.35 to 0.55": _in(silhouette, 0.35, 0.55),
        "10 to 20 regions": 10 <= regions <= 20,
        "no sklearn warnings": not warns,
        "cluster purity > 0.75": None if purity is None else purity > 0.75,
    }
    spread: dict[str, bool | None] = {
        "silhouette by target < 0.3": None if silhouette is None else silhouette < 0.3,
        "completely spread out": regions == flow.sampled,
    }
    return [
        StopRule(name="continue", met=_any(signs), conditions=signs, note=STOP_NOTES["continue"]),
        StopRule(name="success", met=_all(success), conditions=success, note=STOP_NOTES["success"]),
        StopRule(name="overtrained", met=_all(spread), conditions=spread, note=STOP_NOTES["overtrained"]),
    ]


def _in(value: float | None, low: float, high: float) -> bool | None:
    return None if value is None else low <= value <= high


def _any(conditions: Mapping[str, bool | None]) -> bool | None:
    values = conditions.values()
    return True if True in values else None if None in values else False


def _all(conditions: Mapping[str, bool | None]) -> bool | None:
    values = conditions.values()
    return False if False in values else None if None in values else True


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value == int(value) else f"{value:.3f}"
