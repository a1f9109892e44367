"""How training went and how an edit arrives: losses over epochs, success over flow time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fclf.evaluation.results import Report
from fclf.report.curves import fill_panel, panels, path_curve
from fclf.report.html.chart import inline
from fclf.report.html.markup import Child, Html, figure, more, section, slug, table, tag

__all__ = ["arrival", "losses"]

SIZE = (4.8, 3.2)
LETTERS = 10
FOLDED = 12
"""Attributes from which the table is folded."""


def losses(reports: Sequence[tuple[str, Report]]) -> Html | None:
    """What training recorded, a panel each; the same limits for the same panel of several reports; None without any."""
    recorded = [(name, report) for name, report in reports if report.metrics.history]
    if not recorded:
        return None
    titles = list(dict.fromkeys(title for _, report in recorded for title, _ in panels(report.metrics)))
    drawn: list[Child] = []
    for title in titles:
        figures = []
        for name, report in recorded:
            for own, fill in panels(report.metrics):
                if own == title:
                    out = Figure(figsize=SIZE, dpi=72, layout="constrained")
                    fill_panel(out.subplots(), fill, LETTERS)
                    figures.append((name, out))
        _same_limits([out.axes[0] for _, out in figures])
        for name, out in figures:
            whose = f"{name}: {title}" if len(reports) > 1 else title
            chart = inline(out, f"loss-{slug(title)}-{slug(name)}-{len(drawn)}", f"{whose} over epochs")
            drawn.append(figure(chart, whose))
    lead = (
        "A val curve that turns up while the train curve falls is overtraining; a contrastive loss near 0 is no sign "
        "of health, as it is least where every combination is one point."
    )
    return section("Training", "Training", lead, tag("div", drawn, class_="pair"))


def arrival(reports: Sequence[tuple[str, Report]]) -> Html:
    """Share judged as the target over flow time, and the area below by attribute."""
    drawn = []
    for number, (name, report) in enumerate(reports):
        paths = report.metrics.paths
        out = path_curve(report)
        out.set_size_inches(*SIZE)
        axis = out.axes[0]
        axis.set_title("")
        for words in (axis.xaxis.label, axis.yaxis.label):
            words.set_fontsize(LETTERS)
        axis.set_xlabel("flow time (0 the source, 1 the end)")
        said = (
            f"{paths.edits} edits: area {paths.auc:.3f}; {paths.monotone:.1%} never turn back; "
            f"efficiency {paths.efficiency:.3f} (1 is the shortest way)"
        )
        label = f"Share of {name} judged as the target over flow time; {said}"
        drawn.append(figure(inline(out, f"arrival-{number}", label), name, said))
    names = list(dict.fromkeys(key for _, report in reports for key in report.metrics.paths.auc_by_attribute))
    areas = [report.metrics.paths.auc_by_attribute for _, report in reports]
    rows = [(key, *(f"{area[key]:.3f}" if key in area else "-" for area in areas)) for key in names]
    lead = "The share of edits that a judge takes for the target at each moment: look for a smooth rise to a high end."
    title = "Area below the curve by attribute"
    whole = table(title, ("attribute", *(name for name, _ in reports)), rows)
    by = more(title, whole, titled=True) if len(rows) > FOLDED else whole
    return section("Path", "Along the path", lead, tag("div", drawn, class_="pair"), by)


def _same_limits(axes: Iterable[Axes]) -> None:
    """Give all of them the widest limits of any."""
    axes = list(axes)
    for get, put in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        ends = [getattr(axis, get)() for axis in axes]
        for axis in axes:
            getattr(axis, put)(min(low for low, _ in ends), max(high for _, high in ends))
