"""The specification's bands and debugging points, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fclf.evaluation.readings import BandReading, Check, SpecBands
from fclf.evaluation.results import Metrics

__all__ = ["bands_table", "checks_table", "diagnoses", "stages_table", "stop_rules"]

CURRENT = " (now)"


def bands_table(metrics: Metrics) -> Table:
    """One line per measure: what was measured, each table's band with in or out, and what the measure is worth."""
    bands = metrics.bands
    short = {reading.table: reading.table.removesuffix(" epochs").lower() for reading in bands.tables}
    table = _table(f"The spec's bands, epoch {metrics.epoch}: shown because it names them, they decide nothing")
    table.add_column("")
    table.add_column("measured", justify="right")
    for name in short:
        table.add_column(short[name] + (CURRENT if name == bands.current_table else ""), justify="right", no_wrap=True)
    table.add_column("what it is worth", overflow="fold")
    for measure in dict.fromkeys(reading.name for reading in bands.tables):
        readings = {reading.table: reading for reading in bands.tables if reading.name == measure}
        own = [_band(readings[name]) if name in readings else "" for name in short]
        measured = _number(next(iter(readings.values())).measured)
        table.add_row(measure, measured, *own, bands.notes.get(measure, ""))
    return table


def stages_table(bands: SpecBands) -> Table:
    """The expectations by epoch, a line each."""
    table = _table("What the spec expects by epoch")
    for column in ("epochs", "expected", "measured", ""):
        table.add_column(column)
    for stage in bands.stages:
        now = CURRENT if stage.epochs == bands.current_stage else ""
        table.add_row(f"{stage.epochs}{now}", stage.expected, stage.measured, _inside(stage.inside))
    return table


def stop_rules(bands: SpecBands) -> list[str]:
    """The stop rules, a line each: met or not, by which conditions."""
    return [
        f"The spec's stop rule '{rule.name}' is {_met(rule.met)} ("
        + "; ".join(f"{name}: {_answer(value)}" for name, value in rule.conditions.items())
        + f"). {rule.note}"
        for rule in bands.stop_rules
    ]


def checks_table(checks: Iterable[Check]) -> Table:
    """The debugging points, a line each."""
    table = _table("The spec's debugging points")
    for column in ("", "expected", "measured", "", "note"):
        table.add_column(column, overflow="fold")
    for check in checks:
        answer = "-" if check.ok is None else "as expected" if check.ok else "differs"
        table.add_row(check.name, check.expected, check.measured, answer, check.note)
    return table


def diagnoses(metrics: Metrics) -> list[str]:
    """Paths, leakage and the field in a sentence each."""
    paths, field, flow = metrics.paths, metrics.field, metrics.table[0]
    lines = [
        f"Along the path of {paths.edits} edits: AUC {paths.auc:.3f}, monotone {paths.monotone:.3f}, "
        f"efficiency {paths.efficiency:.3f} (1 is a geodesic).",
        f"The field at {field.rows} sources: divergence mean {field.divergence_mean:.3g}, rms "
        f"{field.divergence_rms:.3g}; curl mean {field.curl_mean:.3g}, rms {field.curl_rms:.3g}; Jacobian rms "
        f"{field.jacobian_rms:.3g}.",
    ]
    shifts = flow.leakage or []
    asked = [row[k] for k, row in enumerate(shifts)]
    leaked = [abs(v) for k, row in enumerate(shifts) for j, v in enumerate(row) if j != k and v is not None]
    own = [value for value in asked if value is not None]
    if own:
        rest = f"; of the others, up to {max(leaked):.2f}, {sum(leaked) / len(leaked):.2f} on average" if leaked else ""
        lines.append(
            f"Leakage, in standard deviations of the linear judge's logits: the edited attribute moves by "
            f"{sum(own) / len(own):.2f} on average{rest}."
        )
    return lines


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", pad_edge=False, box=SIMPLE_HEAD)


def _band(reading: BandReading) -> str:
    return f"{reading.low:g}-{reading.high:g} {_inside(reading.inside)}"


def _inside(value: bool | None) -> str:
    return "-" if value is None else "in" if value else "out"


def _met(value: bool | None) -> str:
    return "not defined" if value is None else "met" if value else "not met"


def _answer(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value == int(value) else f"{value:.3f}"
