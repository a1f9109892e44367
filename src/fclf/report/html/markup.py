"""Markup that is escaped wherever it is put together: every text is, but what is `Html` already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias

from rich.table import Table

__all__ = ["Child", "Html", "figure", "from_rich", "join", "more", "scrolled", "section", "slug", "table", "tag"]

VOID = frozenset({"img", "meta", "br"})


class Html(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"


def join(*children: Child) -> Html:
    """Escape what is text, take what is markup, leave out None."""
    parts = []
    for child in children:
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(escape(child))
        elif child is not None:
            parts.append(str(join(*child)))
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """One element; `class_` is `class`, `aria_label` is `aria-label`, and False or None leaves an attribute out."""
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escape(value)}"')
    start = f"<{' '.join(words)}>"
    return Html(start if name in VOID else f"{start}{join(*children)}</{name}>")


def section(name: str, title: str, lead: Child, *children: Child) -> Html:
    """A part of the page: its heading, what to look for in a sentence, and what there is to see; `name` is its link."""
    heading, place = tag("h2", title, id=f"{slug(name)}-title"), slug(name)
    start = tag("p", lead, class_="lead")
    return tag("section", heading, start, *children, id=place, aria_labelledby=f"{place}-title", data_link=name)


def more(summary: Child, *children: Child, unfolded: bool = False, titled: bool = False) -> Html:
    """What is long and can be folded, with or without a script.

    Args:
        summary: what is always seen.
        children: what can be folded.
        unfolded: whether it is not, at first.
        titled: whether `summary` is the caption of the one table in it, which is then not shown again.
    """
    return tag("details", tag("summary", summary), *children, open=unfolded, class_="titled" if titled else None)


def figure(content: Child, caption: Child, note: Child = None) -> Html:
    """A drawing, its title above and words below it."""
    below = None if note is None else tag("p", note, class_="note")
    return tag("figure", tag("figcaption", caption), content, below)


def scrolled(label: str, *children: Child) -> Html:
    """A box that is scrolled by itself where it is wider than the page, by keyboard too."""
    return tag("div", *children, class_="scroll", tabindex="0", role="region", aria_label=label)


def table(
    caption: str,
    head: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    *,
    marks: Iterable[str] = (),
    numbers: Iterable[int] | None = None,
    note: Child = None,
    kind: str | None = None,
) -> Html:
    """A table in a box of its own; the first cell of a row names it.

    Args:
        caption: what is in it.
        head: one for each column.
        rows: cells, as many as there are columns.
        marks: classes of the first rows.
        numbers: columns that are to the right; all but the first if None.
        note: words below it.
        kind: class of the table.
    """
    right = set(range(1, len(head)) if numbers is None else numbers)
    classes = ["num" if column in right else "said" if column else None for column in range(len(head))]
    top = tag("tr", (tag("th", cell, scope="col", class_=kind) for cell, kind in zip(head, classes, strict=True)))
    named = list(marks)
    body = []
    for number, (first, *others) in enumerate(rows):
        cells = (tag("td", cell, class_=kind) for cell, kind in zip(others, classes[1:], strict=True))
        mark = named[number] if number < len(named) else ""
        body.append(tag("tr", tag("th", first, scope="row"), cells, class_=mark or None))
    whole = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", body), class_=kind)
    return join(scrolled(caption, whole), None if note is None else tag("p", note, class_="note"))


def from_rich(made: Table, *, first: Sequence[Child] | None = None, marks: Sequence[str] | None = None) -> Html:
    """A terminal's table; a row that is red there is marked `called`.

    Args:
        made: the table.
        first: instead of the cells of its first column.
        marks: instead of the classes that follow from its rows' styles.
    """
    columns: list[list[Child]] = [[str(cell) for cell in column.cells] for column in made.columns]
    if first is not None:
        columns[0] = list(first)
    return table(
        str(made.title or ""),
        [str(column.header).replace("-\n", "").replace("\n", " ") for column in made.columns],
        zip(*columns, strict=True),
        marks=["called" if row.style else "" for row in made.rows] if marks is None else marks,
        numbers=[number for number, column in enumerate(made.columns) if column.justify == "right"],
        note=None if made.caption is None else str(made.caption),
    )


def slug(text: str) -> str:
    """A name that can be part of an id."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text).strip("-").lower()
