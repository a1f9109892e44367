"""What a row of the table holds, and how times are taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Record", "paired"]

Kind = Literal["times", "share", "at most", "at least"]


@dataclass(frozen=True)
class Record:
    """One measurement beside what it must reach."""

    name: str
    ours: float
    target: float
    kind: Kind
    """`times` faster than `other`, a `share` of the bound `other`, or a value `at most` or `at least` the target."""
    unit: str
    threads: int
    other: float | None = None
    """The reference or the bound, in the same unit; smaller is faster."""
    against: str = ""
    """What `other` is."""

    @property
    def ratio(self) -> float:
        """What is compared with the target."""
        return self.ours if self.other is None else self.other / self.ours

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio <= self.target if self.kind == "at most" else self.ratio >= self.target

    def texts(self) -> tuple[str, str]:
        """The ratio and its target as they are printed."""
        if self.kind == "times":
            return f"{self.ratio:.0f} x", f">= {self.target:.0f} x"
        if self.kind == "share":
            return f"{self.ratio:.0%}", f">= {self.target:.0%}"
        sign = "<=" if self.kind == "at most" else ">="
        return f"{self.ratio:,.4g}", f"{sign} {self.target:,.4g}"

    def to_json(self) -> dict[str, Any]:
        """Everything, with what follows from it."""
        return asdict(self) | {"ratio": self.ratio, "met": self.met}


def paired(works: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Median seconds of each work, taken in turns so that what else the machine does falls on all alike.

    A round that comes before the others is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in seconds.items()}
