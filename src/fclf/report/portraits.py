"""A sheet of portraits: rows are versions of a picture, columns people."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from fclf.report.board import font

__all__ = ["sheet"]

MARGIN = 128
"""Pixels to the left of the pictures, for the rows' names."""
SCALE = 2


def sheet(rows: Mapping[str, UInt8[np.ndarray, "n s s 3"]]) -> Image.Image:
    """Rows of pictures with a name each, at `SCALE` times their size."""
    first = next(iter(rows.values()))
    side = SCALE * first.shape[1]
    board = Image.new("RGB", (MARGIN + side * len(first), side * len(rows)), "white")
    draw = ImageDraw.Draw(board)
    for number, (name, pictures) in enumerate(rows.items()):
        draw.text((8, side * number + side // 2), name, fill="black", font=font(15), anchor="lm")
        strip = Image.fromarray(np.concatenate(list(pictures), axis=1))
        board.paste(strip.resize((side * len(pictures), side), Image.Resampling.LANCZOS), (MARGIN, side * number))
    return board
