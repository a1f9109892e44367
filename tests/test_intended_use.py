"""What edits are for and how they fail is one text, and everybody meets it."""

import pytest

from fclf.intended_use import FAILS, FOR, MEANS, NOT_FOR, NOTICE, SECTIONS, TERMS, brief, markdown
from scripts.supply.intended_use import PLACES, written


@pytest.mark.parametrize("path", list(PLACES), ids=lambda path: path.name)
def test_what_is_read_as_markdown_is_the_text(path):
    assert written(path) == path.read_text(encoding="utf-8"), "run `python -m scripts.supply.intended_use`"


def test_a_file_without_marks_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"page\.md has no lines"):
        written(tmp_path / "page.md")


def test_the_text_says_what_it_has_to():
    text = markdown()
    assert [line for lines in (FOR, NOT_FOR, MEANS, FAILS, TERMS) for line in lines if f"- {line}\n" not in text] == []
    said = " ".join((*NOT_FOR, *MEANS, *FAILS, *TERMS))
    for word in ("Attractive", "Young", "Male", "annotators", "surveillance", "hiring", "policing", "Mustache"):
        assert word in said
    assert "non-commercial" in said
    assert "not a fact about a person" in NOTICE
    assert len(brief()) < 1500
    assert [title for title, _ in SECTIONS] == [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert markdown(3).count("### ") == len(SECTIONS)
