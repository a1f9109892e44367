"""Flipbooks as one sheet and as an animation: edits that share a neighbour are framed, so that a collapse is seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fclf.evaluation.flipbook import FlipbookPoints
from fclf.files import atomic_write
from fclf.report.board import BLANK, FAINT, GAP, INK, LARGE, LINE, SHARED, SMALL, TEXT, Board, fit, width

__all__ = ["animation", "sheet", "write_gif", "write_png"]

MARGIN, APART = 14, 12
"""Pixels around, and between people."""
HEAD = 22
"""Height of the line above people who become the same."""
WORD = 17
"""Height of a line that names a change."""
STEP, HOLD = 300, 1400
"""Milliseconds that a page of the animation is shown, and its first and last one."""


def sheet(points: FlipbookPoints) -> Image.Image | None:
    """Draw rows of people and columns of pages; None where there are no pictures.

    Above the columns stands the flow time, at the left the change and the source's id, below the pictures the nearest
    row's id and cosine distance, and at the bottom how many different rows are nearest. A neighbour of several edits
    on one page is framed, with of how many it is: a collapsed flow ends in columns of the same framed face.
    """
    board = Board(points)
    if not board.strips:
        return None
    words = [(word, LARGE, True) for change in points.flipbook_changes for word in str(change).split()]
    words += [(str(name), SMALL, False) for name in points.flipbook_ids]
    words += [(strip.title, SMALL, False) for strip in board.strips] + [("different neighbours", TEXT, False)]
    left = MARGIN + max(width(*word) for word in words) + 2 * GAP
    columns = [left + page * (board.cell + GAP) for page in range(board.pages)]
    heads = {first: (count, target) for first, count, target in board.groups() if target}
    height = board.height + APART
    top = MARGIN + 2 * LINE + APART
    below = top + board.books * height + len(heads) * HEAD
    board.start((columns[-1] + board.cell + MARGIN, below + 2 * LINE + MARGIN))
    board.text((MARGIN, MARGIN + 1), "flow time", FAINT, TEXT)
    for page, x in enumerate(columns):
        middle = x + board.cell // 2
        board.text((middle, MARGIN), f"{points.flipbook_times[page]:.2g}", INK, LARGE, anchor="ma", bold=True)
        share, lost = board.share(page)
        board.text((middle, below), share, SHARED if lost else INK, TEXT, anchor="ma", bold=lost)
        percent = f"{points.flipbook_unique[page]:.0%}"
        board.text((middle, below + 15), percent, SHARED if lost else FAINT, SMALL, anchor="ma")
    board.text((columns[0] + board.cell // 2, MARGIN + LINE + 4), "source", FAINT, SMALL, anchor="ma")
    board.text((MARGIN, below), "different neighbours", INK, TEXT)
    y = top
    for book in range(board.books):
        board.line(y - APART // 2, MARGIN, FAINT if book in heads else BLANK)
        if book in heads:
            _head(board, *heads[book], (MARGIN, y), board.image.width - 2 * MARGIN)
            y += HEAD
        _name(board, book, (MARGIN, y))
        for page, x in enumerate(columns):
            board.pictures(book, page, (x, y))
        y += height
    board.line(y - APART // 2, MARGIN, FAINT)
    return board.image


def animation(points: FlipbookPoints) -> list[Image.Image]:
    """Draw all people side by side, a frame a page, forth and back; no frames where there are no pictures."""
    board = Board(points)
    if not board.strips:
        return []
    forth = [_frame(board, page) for page in range(board.pages)]
    return forth + forth[-2:0:-1]


def write_png(image: Image.Image, path: str | Path) -> None:
    """Write a sheet, whole or not at all."""
    with atomic_write(Path(path)) as file:
        image.save(file, format="PNG", optimize=True)


def write_gif(frames: Sequence[Image.Image], path: str | Path) -> None:
    """Write frames that go forth and back as a GIF that loops, in colours of their own that no frame changes."""
    tall = Image.new("RGB", (frames[0].width, sum(frame.height for frame in frames)))
    for number, frame in enumerate(frames):
        tall.paste(frame, (0, number * frame.height))
    palette = tall.quantize(256)
    first, *others = [frame.quantize(palette=palette) for frame in frames]
    times = [HOLD if number in (0, len(frames) // 2) else STEP for number in range(len(frames))]
    with atomic_write(Path(path)) as file:
        first.save(file, format="GIF", save_all=True, append_images=others, duration=times, loop=0)


def _head(board: Board, count: int, target: str, corner: tuple[int, int], most: int) -> None:
    """What the people below become; the combination alone where there is no room for more."""
    x, y = corner
    name, become = target.replace("+", " + "), "all become " if count > 1 else "becomes "
    indent = width(become, TEXT)
    if indent + width(name, TEXT) <= most:
        board.text(corner, become, FAINT, TEXT)
        x, most = x + indent, most - indent
    board.text((x, y), fit(name, most, TEXT), INK, TEXT)


def _name(board: Board, book: int, corner: tuple[int, int]) -> None:
    """At the left: the changes, the source and what each strip is."""
    x, y = corner
    for number, strip in enumerate(board.strips, 1):
        board.text((x, y + number * (board.cell + GAP) - GAP - LINE), strip.title, FAINT, SMALL)
    for change in str(board.points.flipbook_changes[book]).split():
        board.text((x, y), change, INK, LARGE, bold=True)
        y += WORD
    board.text((x, y), str(board.points.flipbook_ids[book]), FAINT, SMALL)


def _frame(board: Board, page: int) -> Image.Image:
    """All people at one time."""
    points = board.points
    changes = [str(change).split() for change in points.flipbook_changes]
    column = max([board.cell, *(width(word, TEXT, True) for change in changes for word in change)]) + GAP
    words = max(map(len, changes)) * WORD
    groups = board.groups()
    top = MARGIN + WORD + APART + (HEAD if any(target for _, _, target in groups) else 0)
    size = (2 * MARGIN + board.books * column - GAP, top + words + board.height + MARGIN)
    board.start((max(size[0], 2 * MARGIN + 330), size[1]))
    board.text((MARGIN, MARGIN), f"flow time {points.flipbook_times[page]:.2f}", INK, LARGE, bold=True)
    share, lost = board.share(page)
    share = f"different neighbours: {share}"
    board.text((board.image.width - MARGIN, MARGIN), share, SHARED if lost else INK, LARGE, anchor="ra", bold=lost)
    for first, count, target in groups:
        x = MARGIN + first * column
        if target:
            board.draw.line([(x, top - HEAD - 4), (x + count * column - 2 * GAP, top - HEAD - 4)], FAINT)
            _head(board, count, target, (x, top - HEAD), count * column - 2 * GAP)
    for book, change in enumerate(changes):
        x = MARGIN + book * column
        for line, word in enumerate(change):
            board.text((x, top + line * WORD), word, INK, TEXT, bold=True)
        board.pictures(book, page, (x, top + words))
    return board.image
