"""What stands behind the page: the specification's expectations, and how to make the same report again."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from fclf.evaluation.results import Metrics, Report
from fclf.report.html.markup import Child, Html, from_rich, more, scrolled, section, table, tag
from fclf.report.spec import bands_table, checks_table, stages_table, stop_rules

__all__ = ["provenance", "specification"]


def specification(reports: Sequence[tuple[str, Report]]) -> Html:
    """Bands, stages, stop rules and debugging points of each report."""
    lead = (
        "What the specification expects to see, beside what was measured. These never decide anything by themselves: "
        "a collapse can lie inside of every band and a healthy flow outside of all."
    )
    return section("Bands", "The specification's bands", lead, [_bands(n, r.metrics) for n, r in reports])


def _bands(name: str, metrics: Metrics) -> Html:
    bands = metrics.bands
    tables = [from_rich(made) for made in (bands_table(metrics), stages_table(bands), checks_table(metrics.checks))]
    rules = tag("ul", (tag("li", rule) for rule in stop_rules(bands)))
    return more(f"Bands, stages, stop rules and debugging points of {name}", tables, rules)


def provenance(reports: Sequence[tuple[str, Report]]) -> Html:
    """Versions, fingerprints, configuration and the commands."""
    lead = "Everything that is needed to make these numbers again; the same seed gives the same bits."
    facts = (
        ("fclf", [r.metrics.fclf_version for _, r in reports]),
        ("data fingerprint", [r.metrics.data_fingerprint for _, r in reports]),
        ("trained on these data", ["yes" if r.metrics.trained_on_this_data else "no" for _, r in reports]),
        ("epoch", [str(r.metrics.epoch) for _, r in reports]),
        ("split, mode, seed", [f"{r.metrics.split}, {r.metrics.mode}, {r.metrics.seed}" for _, r in reports]),
        ("rows", ["; ".join(f"{v} {k}" for k, v in r.metrics.rows.items()) for _, r in reports]),
        ("attributes", [", ".join(r.metrics.attributes) for _, r in reports]),
        ("combinations", ["; ".join(f"{v} {k}" for k, v in r.metrics.combinations.items()) for _, r in reports]),
    )
    rows = [(fact, *values) for fact, values in facts]
    head = ("", *(name for name, _ in reports))
    return section(
        "Make again",
        "Making it again",
        lead,
        table("Versions and fingerprints", head, rows, numbers=(), kind="words"),
        [_again(name, report.metrics) for name, report in reports],
    )


def _again(name: str, metrics: Metrics) -> Child:
    command = (
        "fclf train --config config.yaml --embeddings FILE --output-dir RUN\n"
        "fclf evaluate --checkpoint RUN --embeddings FILE --output-dir RUN/evaluation "
        f"--split {metrics.split} --mode {metrics.mode} --projection {metrics.projection} --seed {metrics.seed}\n"
        "fclf report RUN"
    )
    config = yaml.safe_dump(metrics.config, sort_keys=False, allow_unicode=True)
    return (
        more(f"Commands of {name}", scrolled(f"Commands of {name}", tag("pre", tag("code", command)))),
        more(f"config.yaml of {name}", scrolled(f"Configuration of {name}", tag("pre", tag("code", config)))),
    )
