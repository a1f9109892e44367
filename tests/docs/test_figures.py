"""Figures in the documentation are those of the README's tables."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tables(markdown):
    """Lists of rows, without the line below the head."""
    found, rows = [], []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            found.append([rows[0], *rows[2:]])
            rows = []
    return found


def by_row_and_column(table):
    return {(row[0], column): cell for row in table[1:] for column, cell in zip(table[0][1:], row[1:], strict=True)}


def disagreeing(page, readme):
    """Cells of a page's tables of CelebA that are not the README's."""
    known = {table[0][0]: by_row_and_column(table) for table in tables(readme) if table[0][0] in ("centred", "cone")}
    assert set(known) == {"centred", "cone"}
    return [
        (table[0][0], *place, cell)
        for table in tables(page)
        if table[0][0] in known
        for place, cell in by_row_and_column(table).items()
        if known[table[0][0]].get(place) != cell
    ]


@pytest.mark.parametrize("name", ["collapse", "cure"])
def test_tables_are_those_of_the_readme(name):
    page = (ROOT / "docs" / "theory" / f"{name}.md").read_text(encoding="utf-8")
    assert {table[0][0] for table in tables(page)} >= {"centred", "cone"}
    assert disagreeing(page, (ROOT / "README.md").read_text(encoding="utf-8")) == []


def test_a_changed_cell_is_found():
    readme = "| centred | a |\n|---|---|\n| x | .1 |\n\n| cone | a |\n|---|---|\n| x | .2 |\n"
    assert disagreeing(readme, readme) == []
    assert disagreeing(readme.replace(".2", ".3"), readme) == [("cone", "x", "a", ".3")]
