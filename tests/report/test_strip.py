from __future__ import annotations

import numpy as np

from fclf.report.board import BLANK, SHARED
from fclf.report.strip import MARGIN, strip


def colours(image) -> set[tuple[int, int, int]]:
    return {tuple(colour) for colour in np.asarray(image).reshape(-1, 3)}


def rgb(text: str) -> tuple[int, ...]:
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def test_pictures_stand_as_they_are_frames_mark_and_missing_ones_are_blank():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    captions = [["query"], ["1", "a very long name that has no room below a picture"], ["2"]]
    plain = strip(pictures, np.array([True, True, False]), captions, [False] * 3)
    framed = strip(pictures, np.array([True, True, True]), captions, [False, True, False])
    np.testing.assert_array_equal(np.asarray(plain)[MARGIN : MARGIN + 64, MARGIN : MARGIN + 64], pictures[0])
    assert rgb(BLANK) in colours(plain) - colours(framed)
    assert rgb(SHARED) in colours(framed) - colours(plain)
