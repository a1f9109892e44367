"""The threat model claims nothing without a test."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows():
    """Cells of every row of every table, without heads and rules."""
    lines = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in cells] for cells in lines if cells[0].strip() != "threat"]


def test_every_row_names_its_tests():
    assert len(rows()) > 40
    for cells in rows():
        assert len(cells) == 3, cells
        assert TEST.sub("", cells[2]).replace(",", "").split() == [], cells
        assert TEST.findall(cells[2]), cells


def test_every_test_that_is_named_exists():
    named = TEST.findall(PAGE)
    assert len(named) > 50
    lost = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or not re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert lost == []


def test_every_kind_of_input_has_a_part():
    text = PAGE.lower()
    for what in ("embeddings", "settings", "checkpoints", "pictures", "onnx", "hub", "api", "torchrun", "ray"):
        assert what in text
