"""What the sheet and the animation of a flipbook are put together from: pictures with frames, captions, text."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import matplotlib
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from fclf.evaluation.flipbook import FlipbookPoints
from fclf.report.palette import COLOURS

__all__ = ["BLANK", "FAINT", "GAP", "INK", "LARGE", "LINE", "SHARED", "SMALL", "TEXT", "Board", "fit", "width"]

# An opaque card reads on light and on dark pages alike.
PAPER, INK, FAINT, BLANK = "#F1F0EC", "#24292F", "#6A6F76", "#D3D2CD"
SHARED = COLOURS[4]
"""Of neighbours that several edits have at the same time."""
CELL = 64
"""Smallest side of a picture in pixels; larger ones are shown as they are."""
GAP, FRAME = 8, 2
"""Pixels between pictures, and of a frame."""
SMALL, TEXT, LARGE = 10, 12, 14
LINE = 13
"""Height of a line of small text."""


class Strip(NamedTuple):
    """Pictures of every edit on every page."""

    title: str
    pictures: UInt8[ndarray, "b t s s 3"]
    nearest: bool


class Board:
    """An image to put the pictures and the text of a flipbook on."""

    def __init__(self, points: FlipbookPoints) -> None:
        self.points = points
        found = [
            Strip("decoded", points.flipbook_decoded, nearest=False),
            Strip("nearest real", points.flipbook_images, nearest=True),
        ]
        self.strips = [strip for strip in found if strip.pictures.size]
        self.cell = max([CELL, *(strip.pictures.shape[2] for strip in self.strips)])
        self.books, self.pages = points.flipbook_rows.shape[::-1]
        self.start((1, 1))

    def start(self, size: tuple[int, int]) -> None:
        """Begin an empty image."""
        self.image = Image.new("RGB", size, PAPER)
        self.draw = ImageDraw.Draw(self.image)

    @property
    def height(self) -> int:
        """Of the pictures of one edit and their caption."""
        return len(self.strips) * (self.cell + GAP) + 2 * LINE

    def groups(self) -> list[tuple[int, int, str]]:
        """Books one after the other that end at the same combination: the first, how many, and the combination."""
        targets = self.points.flipbook_targets.tolist() or [""] * self.books
        runs = [(target, len(list(run))) for target, run in groupby(targets)]
        return [(sum(count for _, count in runs[:k]), count, target) for k, (target, count) in enumerate(runs)]

    def pictures(self, book: int, page: int, corner: tuple[int, int]) -> None:
        """The edit on a page, one strip below the other, and the nearest row's id and distance."""
        x, y = corner
        for strip in self.strips:
            self._picture(strip, book, page, (x, y))
            y += self.cell + GAP
        self._caption(book, page, (x + self.cell // 2, y - GAP + 4))

    def share(self, page: int) -> tuple[str, bool]:
        """How many different rows are nearest on a page, and whether some are lost."""
        count = round(float(self.points.flipbook_unique[page]) * self.books)
        return f"{count} of {self.books}", count < self.books

    def text(
        self, at: tuple[int, int], text: str, colour: str, size: int, anchor: str = "la", bold: bool = False
    ) -> None:
        """Write one line."""
        self.draw.text(at, text, fill=colour, font=font(size, bold), anchor=anchor)

    def line(self, y: int, margin: int, colour: str = BLANK) -> None:
        """Rule across the image."""
        self.draw.line([(margin, y), (self.image.width - margin, y)], colour)

    def _picture(self, strip: Strip, book: int, page: int, corner: tuple[int, int]) -> None:
        (x, y), cell, found = corner, self.cell, self.points.flipbook_found
        if strip.nearest and found.size and not found[book, page]:
            self.draw.rectangle([x, y, x + cell - 1, y + cell - 1], BLANK)
            name = fit(str(self.points.flipbook_nearest_ids[page, book]), cell - 4)
            self.text((x + cell // 2, y + cell // 2), name, FAINT, SMALL, anchor="mm")
        else:
            picture = Image.fromarray(strip.pictures[book, page])
            if picture.width != cell:
                picture = picture.resize((cell, cell), Image.Resampling.BICUBIC)
            self.image.paste(picture, corner)
        if strip.nearest and self._sharing(book, page) > 1:
            ends = [x - FRAME, y - FRAME, x + cell + FRAME - 1, y + cell + FRAME - 1]
            self.draw.rectangle(ends, outline=SHARED, width=FRAME)

    def _caption(self, book: int, page: int, top: tuple[int, int]) -> None:
        (x, y), points, sharing = top, self.points, self._sharing(book, page)
        same = points.flipbook_rows[page, book] == points.flipbook_source[book]
        name = "itself" if same else Path(str(points.flipbook_nearest_ids[page, book])).stem
        several = sharing > 1
        distance = f"{points.flipbook_distances[page, book]:.2f}" + (f"  ×{sharing}" if several else "")
        self.text((x, y), fit(name, self.cell), SHARED if several else FAINT, SMALL, anchor="ma")
        self.text((x, y + LINE), distance, SHARED if several else INK, SMALL, anchor="ma", bold=several)

    def _sharing(self, book: int, page: int) -> int:
        """Of how many edits the nearest row is the nearest on that page."""
        return Counter(self.points.flipbook_rows[page].tolist())[int(self.points.flipbook_rows[page, book])]


def width(text: str, size: int, bold: bool = False) -> int:
    """Of one line, in pixels."""
    return int(font(size, bold).getlength(text)) + 1


def fit(text: str, most: int, size: int = SMALL) -> str:
    """The end of a text that is too long."""
    shown = text
    while len(text) > 1 and width(shown, size) > most:
        text = text[1:]
        shown = f"…{text}"
    return shown


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: the same letters everywhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
