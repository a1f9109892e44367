"""A matplotlib figure as inline SVG whose colours follow the page's scheme."""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.figure import Figure

from fclf.report.html.markup import Html, tag
from fclf.report.palette import COLOURS, REST

__all__ = ["MUTED", "colour", "inline"]

MUTED = "#6E6E6E"
VARIABLES = {
    "#000000": "var(--ink)",
    REST.lower(): "var(--rest)",
    MUTED.lower(): "var(--muted)",
    **{colour.lower(): f"var(--c{number})" for number, colour in enumerate(COLOURS)},
}
"""What each colour of a figure is on the page."""
SALT = "fclf"
NUMBER = re.compile(r"-?\d+\.\d{3,}")


def inline(figure: Figure, name: str, label: str) -> Html:
    """Draw a figure as an `svg` element with the same bytes for the same figure.

    Args:
        figure: drawn in the colours of `fclf.report.palette`, in black and in `MUTED`.
        name: unique in the page; goes before what the drawing refers to in itself.
        label: what is drawn, in words, for who does not see it.
    """
    for axis in figure.axes:
        axis.tick_params(color=MUTED)
        for spine in axis.spines.values():
            spine.set_color(MUTED)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": SALT, "path.simplify": True}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = stream.getvalue()
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", drawing, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]*)"', drawing)
    inner = drawing[drawing.index(">", drawing.index("<svg")) + 1 : drawing.rindex("</svg>")]
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', inner))
    inner = re.sub(r'\sid="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", inner)
    inner = re.sub(r'(url\(#|(?:xlink:)?href="#)', lambda found: f"{found[1].replace('xlink:', '')}{name}-", inner)
    inner = re.sub(r"<[^>]*>", lambda found: NUMBER.sub(_shorter, found[0]), inner)  # and never the text of a tick
    inner = re.sub(r"#[0-9a-f]{6}\b", lambda found: colour(found[0]), inner)
    inner = re.sub(r"font: (\d+)px [^;\"]*", r"font-size: \1px", inner)
    inner = re.sub(r"\s+", " ", re.sub(r">\s+<", "><", inner.strip()))
    return tag("svg", Html(inner), viewBox=view[1] if view else None, role="img", aria_label=label, class_="chart")


def _shorter(number: re.Match[str]) -> str:
    """A hundredth of a point is not seen."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def colour(hexadecimal: str) -> str:
    """The page's variable for a colour of the palette; other colours are as they are."""
    return VARIABLES.get(hexadecimal.lower(), hexadecimal)
