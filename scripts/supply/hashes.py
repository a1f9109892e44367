"""Write `requirements/`: every version and hash of the default install (`make hashes`).

uv resolves for every system and Python under the pins of constraints.txt, and takes the hashes of all wheels of a
release from its index; source distributions are left out, since building one runs code whose needs have no hashes.

PyTorch is the exception. PyPI's wheels for Linux are built for CUDA and need several gigabytes more; builds for the CPU
are on an index of PyTorch's own, with hashes of their own, which `requirements/torch-cpu.sha256` holds as they were
taken from a wheel at hand. One list cannot have both: pip takes a file whose hash its index announces before any other,
so it would always take the one for CUDA. So there are two whole lists, which share `common.txt`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from fclf.files import atomic_write
from scripts.supply.closure import ROOT, project

__all__ = ["CPU", "FOLDER", "Pin", "cpu_hashes", "read"]

FOLDER = ROOT / "requirements"
CPU = FOLDER / "torch-cpu.sha256"
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[\w.]+)(?: ; (?P<marker>[^\\]+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:(?P<hash>[0-9a-f]{64})(?: \\)?$")
LINUX = "sys_platform == 'linux'"
COMMAND = "#   pip install --require-hashes --only-binary :all: -r requirements/"
HEADS = {
    "common.txt": "# What fclf needs beside PyTorch, with the hashes of all wheels of a version; from `make hashes`.\n",
    "default.txt": f"""\
# The default install of fclf, with PyTorch for the CPU: on Linux from an index that has it; from `make hashes`.
#
{COMMAND}default.txt
#   pip install --no-deps fclf
-r common.txt
""",
    "cuda.txt": f"""\
# The default install of fclf on Linux with PyPI's PyTorch, which is built for CUDA; from `make hashes`.
#
{COMMAND}cuda.txt
#   pip install --no-deps fclf
-r common.txt
""",
}


@dataclass(frozen=True)
class Pin:
    """One release: name, version, the systems it is for (a marker, or nothing), and SHA-256 of each of its wheels."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]

    def __str__(self) -> str:
        """As pip reads it."""
        head = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n".join([head, *(f"    --hash=sha256:{one}" for one in sorted(self.hashes))]) + "\n"


def read(text: str) -> list[Pin]:
    """The pins of a list, in its order, without those of a list that it names.

    Raises:
        ValueError: on a line that is no pin, hash, comment, `-r common.txt` or blank, and on a pin without a hash.
    """
    found: list[tuple[str, str, str, set[str]]] = []
    for line in text.splitlines():
        if pin := PIN.match(line):
            found.append((pin["name"], pin["version"], pin["marker"] or "", set()))
        elif (one := HASH.match(line)) and found:
            found[-1][3].add(one["hash"])
        elif line.strip() and not line.startswith("#") and line != "-r common.txt":
            raise ValueError(f"'{line}' is neither a pin with hashes nor a comment.")
    if bare := [name for name, _, _, hashes in found if not hashes]:
        raise ValueError(f"No hash for {', '.join(bare)}.")
    return [Pin(name, version, marker, frozenset(hashes)) for name, version, marker, hashes in found]


def cpu_hashes(version: str) -> frozenset[str]:
    """Hashes of the CPU builds of a version of torch.

    Raises:
        ValueError: if none is known.
    """
    lines = [line.split() for line in CPU.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    found = frozenset(value for value, name in lines if name.startswith(f"torch-{version}+cpu-"))
    if not found:
        raise ValueError(f"{CPU.name} knows no CPU build of torch {version}: add what `sha256sum WHEEL` prints.")
    return found


def _resolve() -> list[tuple[Pin, dict[str, str]]]:
    """Every package of the default install on any system, and the hash of each of its wheels by its file name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pylock.toml"
        lowest = project()["requires-python"].removeprefix(">=")
        given = ["--universal", "--python-version", lowest, "--generate-hashes", "--no-header", "--no-annotate"]
        where = ["--constraints", "constraints.txt", "pyproject.toml", "--output-file", str(path)]
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--format", "pylock.toml", *given, *where]
        subprocess.run(command, cwd=ROOT, check=True)
        lock = tomllib.loads(path.read_text(encoding="utf-8"))
    found = []
    for one in lock["packages"]:
        wheels = {wheel["url"].rpartition("/")[2]: wheel["hashes"]["sha256"] for wheel in one.get("wheels", ())}
        if not wheels:
            raise SystemExit(
                f"{one['name']} {one['version']} has no wheel; choose a version that has, or another package."
            )
        found.append((Pin(one["name"], one["version"], one.get("marker", ""), frozenset(wheels.values())), wheels))
    return found


def main() -> None:
    """Write the lists."""
    lists: dict[str, list[Pin]] = {name: [] for name in HEADS}
    for pin, wheels in _resolve():
        if pin.name == "torch":
            elsewhere = frozenset(value for name, value in wheels.items() if "linux" not in name)
            hashes = elsewhere | cpu_hashes(pin.version)
            lists["default.txt"].append(Pin(pin.name, pin.version, pin.marker, hashes))
            lists["cuda.txt"].append(Pin(pin.name, pin.version, pin.marker, pin.hashes - elsewhere))
        else:
            lists["cuda.txt" if LINUX in pin.marker else "common.txt"].append(pin)
    for name, pins in lists.items():
        with atomic_write(FOLDER / name, "w") as file:
            file.write(HEADS[name] + "".join(map(str, pins)))


if __name__ == "__main__":
    main()
