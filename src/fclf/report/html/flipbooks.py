"""Flipbooks: pictures of a few edits step by step, or in words where there are no pictures."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence

from PIL import Image

from fclf.evaluation.results import PlotPoints, Report
from fclf.report.flipbook import sheet
from fclf.report.html.markup import Child, Html, figure, join, scrolled, section, table, tag

__all__ = ["flipbooks"]

QUALITY = 88
"""Of a JPEG, which is taken where it is smaller: photographs."""


def flipbooks(reports: Sequence[tuple[str, Report]]) -> Html | None:
    """One sheet for each report, one under the other; None where nothing was followed."""
    shown = [(name, report.points) for name, report in reports if len(report.points.flipbook_edits)]
    if not shown:
        return None
    lead = (
        "Each row is one edit, from its source on the left to its end on the right, with the real row that is "
        "nearest. In a healthy flow every row stays itself; after a collapse all rows end at the same neighbour, "
        "which is framed or marked."
    )
    several = len(reports) > 1
    return section("Flipbooks", "Flipbooks", lead, [_book(name, points, several) for name, points in shown])


def _book(name: str, points: PlotPoints, several: bool) -> Html:
    pages, books = points.flipbook_rows.shape
    lost = round(float(points.flipbook_unique[-1]) * books)
    said = f"{books} edits on {pages} pages; at the end {lost} of {books} nearest rows differ"
    title = tag("h3", name) if several else None
    drawn = sheet(points)
    if drawn is None:
        return join(title, _words(points, said))
    image = tag(
        "img",
        src=_data(drawn),
        alt=f"Flipbook of {name}: {said}",
        width=str(drawn.width),
        height=str(drawn.height),
        class_="sheet",
    )
    return join(title, figure(scrolled(f"Flipbook of {name}", image), said))


def _data(image: Image.Image) -> str:
    """The smaller of a PNG and a JPEG, as part of the page."""
    found = []
    for kind, options in (
        ("png", {"optimize": True}),
        ("jpeg", {"quality": QUALITY, "subsampling": 0, "optimize": True}),
    ):
        stream = io.BytesIO()
        image.save(stream, format=kind, **options)
        found.append(
            (len(stream.getvalue()), f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}")
        )
    return min(found)[1]


def _words(points: PlotPoints, said: str) -> Html:
    """Nearest row at each step, its distance, and how many of the nearest differ."""
    pages, books = points.flipbook_rows.shape
    times = points.flipbook_times.tolist() or [page / max(pages - 1, 1) for page in range(pages)]
    rows: list[Sequence[Child]] = []
    for book in range(books):
        own = str(points.flipbook_ids[book]) if len(points.flipbook_ids) else f"row {points.flipbook_source[book]}"
        change = str(points.flipbook_changes[book]) if len(points.flipbook_changes) else ""
        first = join(tag("strong", change) if change else None, " " if change else None, own)
        rows.append((first, *(_page(points, page, book) for page in range(pages))))
    rows.append(("different rows", *(f"{share:.0%}" for share in points.flipbook_unique)))
    note = (
        "In each cell: the nearest real row and its cosine distance. × says that several of these edits have the same "
        "nearest row. There are no pictures: fclf evaluate --decoder or --images adds them."
    )
    head = ("edit and source", *(f"time {time:.2g}" for time in times))
    return table(said, head, rows, marks=["" for _ in range(books)] + ["total"], note=note)


def _page(points: PlotPoints, page: int, book: int) -> Child:
    row = int(points.flipbook_rows[page, book])
    same = row == int(points.flipbook_source[book])
    ids = points.flipbook_nearest_ids
    name = "itself" if same else str(ids[page, book]) if ids.size else f"row {row}"
    sharing = Counter(points.flipbook_rows[page].tolist())[row]
    shared = tag("span", f" ×{sharing}", class_="shared") if sharing > 1 else None
    return (
        tag("span", name, class_="faint" if same else None),
        tag("br"),
        f"{points.flipbook_distances[page, book]:.2f}",
        shared,
    )
