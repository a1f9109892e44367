"""Ask whether a pinned release has a known vulnerability (`make audit`); needs a network.

pip-audit says *No known vulnerabilities found* of packages that its service did not answer for. So a release that is
known to be vulnerable is asked about first, and nothing is believed of a service that finds nothing in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.supply.hashes import FOLDER

__all__ = ["command", "control", "vulnerable"]

KNOWN = "pyyaml==5.3"
"""CVE-2020-14343, fixed in 5.4."""


def command(*lists: Path) -> list[str]:
    """What is typed; `--strict` makes a package without an answer a failure."""
    named = [part for path in lists for part in ("--requirement", str(path))]
    return [sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--no-deps", *named]


def vulnerable(answer: str) -> bool:
    """Whether an answer in pip-audit's JSON names a vulnerability."""
    try:
        content = json.loads(answer)
    except ValueError:
        return False
    return any(one.get("vulns") for one in content["dependencies"])


def control(run: Sequence[str] | None = None) -> None:
    """Leave with a message if the release that is known to be vulnerable passes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.txt"
        path.write_text(KNOWN + "\n", encoding="utf-8")
        run = run or [*command(path), "--format", "json"]
        done = subprocess.run(run, capture_output=True, text=True)
    if not vulnerable(done.stdout):
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise SystemExit(
            f"Nothing was checked: the service found nothing in {KNOWN}, which is vulnerable ({said[:300]})."
        )


def main() -> int:
    """Ask about every list; 1 if something was found or stayed without an answer."""
    control()
    lists = [FOLDER / name for name in ("common.txt", "default.txt")]
    return subprocess.run(command(*lists)).returncode


if __name__ == "__main__":
    sys.exit(main())
