"""Which installed distributions an installation of fclf consists of."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["ROOT", "closure", "installed", "project"]

ROOT = Path(__file__).resolve().parents[2]


def project() -> dict[str, Any]:
    """The table `[project]` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def closure(requirements: Sequence[str]) -> dict[str, Distribution]:
    """Every distribution that the requirements bring along here, by its normalised name, in alphabetical order.

    Markers are those of the Python that runs this, so what another system needs is not among them.

    Raises:
        PackageNotFoundError: if one of them is not installed.
    """
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        extras = {"", *wanted.extras} - {extra for of, extra in asked if of == name}
        if not extras:
            continue
        asked |= {(name, extra) for extra in extras}
        found[name] = distribution(name)
        for text in found[name].requires or ():
            needed = Requirement(text)
            if needed.marker is None:
                follow = "" in extras
            else:
                follow = any(needed.marker.evaluate({**default_environment(), "extra": extra}) for extra in extras)
            if follow:
                waiting.append(needed)
    return dict(sorted(found.items()))


def installed(requirements: Sequence[str]) -> bool:
    """Whether all of `closure` is here."""
    try:
        closure(requirements)
    except PackageNotFoundError:
        return False
    return True
