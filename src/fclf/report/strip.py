"""A strip of pictures with captions: a query, and the rows that were found for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from fclf.report.board import BLANK, FAINT, GAP, INK, LINE, PAPER, SHARED, SMALL, fit, font

__all__ = ["strip"]

MARGIN = 12
FRAME = 3


def strip(
    pictures: UInt8[np.ndarray, "n s s 3"],
    found: Bool[np.ndarray, " n"],
    captions: Sequence[Sequence[str]],
    framed: Sequence[bool],
) -> Image.Image:
    """Pictures beside each other with lines of text below, the first set apart; rows without a picture are left blank.

    Args:
        pictures: the query's first.
        found: which of them there are.
        captions: lines below each.
        framed: which get a frame.
    """
    side, lines = pictures.shape[1], max(map(len, captions))
    apart = 3 * GAP
    size = 2 * MARGIN + len(pictures) * (side + GAP) + apart, 2 * MARGIN + side + GAP + lines * LINE
    board = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(board)
    for number, (picture, there, caption, frame) in enumerate(zip(pictures, found, captions, framed, strict=True)):
        x = MARGIN + number * (side + GAP) + (apart if number else 0)
        if frame:
            ends = [x - FRAME, MARGIN - FRAME, x + side + FRAME - 1, MARGIN + side + FRAME - 1]
            draw.rectangle(ends, outline=SHARED, width=FRAME)
        if there:
            board.paste(Image.fromarray(picture), (x, MARGIN))
        else:
            draw.rectangle([x, MARGIN, x + side - 1, MARGIN + side - 1], BLANK)
            draw.text((x + side // 2, MARGIN + side // 2), "no picture", fill=FAINT, font=font(SMALL), anchor="mm")
        for line, text in enumerate(caption):
            place = (x + side // 2, MARGIN + side + GAP + line * LINE)
            draw.text(place, fit(text, side), fill=FAINT if line else INK, font=font(SMALL), anchor="ma")
    return board
