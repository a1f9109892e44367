"""Flipbooks as one sheet and as an animation: rows that end at one neighbour are framed, so that a collapse is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from fclf.evaluation.flipbook import FlipbookPoints
from fclf.report.palette import COLOURS

__all__ = ["sheet"]

# An opaque card reads on light and on dark pages alike.
PAPER, INK, FAINT, BLANK = "#F1F0EC", "#24292F", "#6A6F76", "#D3D2CD"
SHARED = COLOURS[4]
"""Frames of neighbours that several edits have at the same time."""
CELL = 64
"""Smallest side of a picture on the sheet, in pixels; larger ones are shown as they are."""
MARGIN, GAP, APART, FRAME = 14, 6, 12, 2
"""Pixels around the sheet, between pictures, between people, and of a frame."""
SMALL, TEXT, LARGE = 9, 11, 13
LINE = 12
"""Height of a line of small text."""


class Strip(NamedTuple):
    """Pictures of every edit on every page."""

    title: str
    pictures: UInt8[np.ndarray, "b t s s 3"]
    nearest: bool


def sheet(points: FlipbookPoints) -> Image.Image | None:
    """Draw rows of people and columns of pages; None where there are no pictures.

    Above the columns stands the flow time, at the left the change and the source's id, below the pictures the nearest
    row's id and cosine distance, and at the bottom how many different rows are nearest. A neighbour of several edits
    on one page is framed and says of how many: a collapsed flow ends in columns of one framed face.
    """
    strips = _strips(points)
    if not strips:
        return None
    cell = max(CELL, *(strip.pictures.shape[2] for strip in strips))
    books, pages = points.flipbook_rows.shape[::-1]
    left = MARGIN + _left_width(points, strips) + GAP
    step = cell + GAP
    height = len(strips) * step + 2 * LINE + APART
    top = MARGIN + 2 * LINE + GAP
    out = Image.new("RGB", (left + pages * step - GAP + MARGIN, top + books * height + 2 * LINE + MARGIN), PAPER)
    draw = ImageDraw.Draw(out)
    _text(draw, (MARGIN, MARGIN + 1), "flow time", FAINT, TEXT)
    for page, time in enumerate(points.flipbook_times):
        middle = left + page * step + cell // 2
        _text(draw, (middle, MARGIN), f"{time:.2g}", INK, LARGE, anchor="ma", bold=True)
        if page == 0:
            _text(draw, (middle, MARGIN + LINE + 3), "source", FAINT, SMALL, anchor="ma")
    for book in range(books):
        y = top + book * height
        draw.line([(MARGIN, y - APART // 2), (out.width - MARGIN, y - APART // 2)], BLANK)
        _name(draw, points, strips, book, (MARGIN, y), step)
        for page in range(pages):
            x = left + page * step
            for number, strip in enumerate(strips):
                _picture(out, draw, points, strip, (book, page), (x, y + number * step), cell)
            _caption(draw, points, (book, page), (x + cell // 2, y + len(strips) * step - GAP + 4))
    y = top + books * height
    draw.line([(MARGIN, y - APART // 2), (out.width - MARGIN, y - APART // 2)], FAINT)
    _text(draw, (MARGIN, y), "different neighbours", INK, TEXT)
    for page in range(pages):
        _share(draw, points, page, (left + page * step + cell // 2, y))
    return out


def _strips(points: FlipbookPoints) -> list[Strip]:
    found = [
        Strip("decoded", points.flipbook_decoded, nearest=False),
        Strip("nearest real", points.flipbook_images, nearest=True),
    ]
    return [strip for strip in found if strip.pictures.size]


def _name(
    draw: ImageDraw.ImageDraw,
    points: FlipbookPoints,
    strips: Sequence[Strip],
    book: int,
    corner: tuple[int, int],
    step: int,
) -> None:
    """At the left: the changes, the source and what each strip is."""
    x, y = corner
    for line, change in enumerate(str(points.flipbook_changes[book]).split()):
        _text(draw, (x, y + line * 16), change, INK, LARGE, bold=True)
        below = y + (line + 1) * 16 + 1
    _text(draw, (x, below), str(points.flipbook_ids[book]), FAINT, SMALL)
    for number, strip in enumerate(strips):
        _text(draw, (x, y + (number + 1) * step - GAP - LINE), strip.title, FAINT, SMALL)


def _left_width(points: FlipbookPoints, strips: Sequence[Strip]) -> int:
    words = [(word, LARGE, True) for change in points.flipbook_changes for word in str(change).split()]
    words += [(str(name), SMALL, False) for name in points.flipbook_ids]
    words += [(strip.title, SMALL, False) for strip in strips] + [("different neighbours", TEXT, False)]
    return max(int(_font(size, bold).getlength(text)) + 1 for text, size, bold in words)


def _picture(
    out: Image.Image,
    draw: ImageDraw.ImageDraw,
    points: FlipbookPoints,
    strip: Strip,
    at: tuple[int, int],
    corner: tuple[int, int],
    cell: int,
) -> None:
    x, y = corner
    book, page = at
    if strip.nearest and not points.flipbook_found[at]:
        draw.rectangle([x, y, x + cell - 1, y + cell - 1], BLANK)
        middle = (x + cell // 2, y + cell // 2)
        _text(draw, middle, _fit(str(points.flipbook_nearest_ids[page, book]), cell), FAINT, SMALL, anchor="mm")
    else:
        picture = Image.fromarray(strip.pictures[at])
        out.paste(picture if picture.width == cell else picture.resize((cell, cell), Image.Resampling.BICUBIC), corner)
    if strip.nearest and _sharing(points, at) > 1:
        draw.rectangle([x - FRAME, y - FRAME, x + cell + FRAME - 1, y + cell + FRAME - 1], outline=SHARED, width=FRAME)


def _caption(draw: ImageDraw.ImageDraw, points: FlipbookPoints, at: tuple[int, int], top: tuple[int, int]) -> None:
    """The nearest row: its id, its distance, and of how many edits it is the nearest."""
    book, page = at
    x, y = top
    sharing = _sharing(points, at)
    same = points.flipbook_rows[page, book] == points.flipbook_source[book]
    name = "itself" if same else Path(str(points.flipbook_nearest_ids[page, book])).stem
    colour = SHARED if sharing > 1 else FAINT
    _text(draw, (x, y), _fit(name, CELL), colour, SMALL, anchor="ma")
    distance = f"{points.flipbook_distances[page, book]:.2f}" + (f"  ×{sharing}" if sharing > 1 else "")
    _text(draw, (x, y + LINE), distance, SHARED if sharing > 1 else INK, SMALL, anchor="ma", bold=sharing > 1)


def _sharing(points: FlipbookPoints, at: tuple[int, int]) -> int:
    """Of how many edits the nearest row is the nearest on that page."""
    book, page = at
    return Counter(points.flipbook_rows[page].tolist())[int(points.flipbook_rows[page, book])]


def _share(draw: ImageDraw.ImageDraw, points: FlipbookPoints, page: int, top: tuple[int, int]) -> None:
    books = points.flipbook_rows.shape[1]
    count = round(float(points.flipbook_unique[page]) * books)
    lost = count < books
    _text(draw, top, f"{count} of {books}", SHARED if lost else INK, TEXT, anchor="ma", bold=lost)
    _text(draw, (top[0], top[1] + 15), f"{count / books:.0%}", SHARED if lost else FAINT, SMALL, anchor="ma")


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    colour: str,
    size: int,
    anchor: str = "la",
    bold: bool = False,
) -> None:
    draw.text(at, text, fill=colour, font=_font(size, bold), anchor=anchor)


def _fit(text: str, width: int) -> str:
    """The end of a text that is too long."""
    shown = text
    while len(shown) > 2 and _font(SMALL, False).getlength(shown) > width:
        text = text[1:]
        shown = f"…{text}"
    return shown


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: the same letters everywhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
