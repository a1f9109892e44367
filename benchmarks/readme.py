"""Write the tables of `fclf ablate` into the README and its figures into `docs`.

`python benchmarks/readme.py results/ablation/centred results/ablation/cone` reads `ablation.json` in each folder, whose
name is the title of its table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fclf.ablation import Ablation
from fclf.report.ablation import markdown
from fclf.report.front import draw

ROOT = Path(__file__).parent.parent
START, END = "<!-- ablation -->", "<!-- end of ablation -->"


def main() -> None:
    """Write the block between the two marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    folders = parser.parse_args().folders
    readme = ROOT / "README.md"
    before, start, rest = readme.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise SystemExit(f"{readme} has no lines '{START}' and '{END}' to write between.")
    parts = []
    for folder in folders:
        found = Ablation.load(folder / "ablation.json")
        figure = draw(found, ROOT / "docs" / f"ablation_{folder.name}.png").relative_to(ROOT)
        parts += [
            f"{found.epochs} epochs, {found.seeds} seed{'s' * (found.seeds > 1)}.",
            "",
            markdown(found, folder.name),
        ]
        parts += [f"![Kept against gap closed, {folder.name}]({figure})", ""]
    readme.write_text("\n".join((before + START, *parts, END + after)), encoding="utf-8")


if __name__ == "__main__":
    main()
