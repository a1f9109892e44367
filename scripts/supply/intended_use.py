"""Write the text of `fclf.intended_use` where it is read as Markdown: the README and `docs/howto/limits.md`.

`python -m scripts.supply.intended_use`; a test says when it is needed.
"""

from __future__ import annotations

from pathlib import Path

from fclf.files import atomic_write
from fclf.intended_use import NOTICE, brief, markdown
from scripts.supply.closure import ROOT

__all__ = ["PLACES", "written"]

START, END = "<!-- intended use -->\n", "<!-- end of intended use -->\n"
PLACES = {
    ROOT / "README.md": brief(),
    ROOT / "docs" / "howto" / "limits.md": f"\n{NOTICE}\n\n{markdown()}\n",
}


def written(path: Path) -> str:
    """The file with the text between its marks.

    Raises:
        ValueError: if it has no marks.
    """
    before, start, rest = path.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{path.name} has no lines '{START.strip()}' and '{END.strip()}' to write between.")
    return before + start + PLACES[path] + end + after


def main() -> None:
    """Write both."""
    for path in PLACES:
        text = written(path)
        with atomic_write(path, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
