"""Plain values in which some are not what was expected there."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

__all__ = ["ODD", "changed"]

ODD: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "0",
    "a", "é" * 300, "\ud7ff\0\u202e", "../../x", "/", [], {}, [[]], [None], {"a": None}, {"": {}}, [0] * 2000,
    ["a", "a"],
    {"kind": "target"}, [1, [2, [3, [4]]]],
)  # fmt: skip
"""Values that belong in few places."""


def changed(content: Any, rng: Generator, odd: Sequence[Any] = ODD) -> Any:
    """A copy in which one to four things are replaced, missing, added or twice."""
    content = copy.deepcopy(content)
    for _ in range(int(rng.choice((1, 1, 1, 2, 4)))):
        content = _once(content, rng, odd)
    return content


def _once(content: Any, rng: Generator, odd: Sequence[Any]) -> Any:
    place: Any = content
    key: Any = None
    while isinstance(place, (dict, list)) and place:  # walk in, as deep as chance has it
        key = list(place)[int(rng.integers(len(place)))] if isinstance(place, dict) else int(rng.integers(len(place)))
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    else:
        return copy.deepcopy(odd[int(rng.integers(len(odd)))])
    how = rng.random()
    value = copy.deepcopy(odd[int(rng.integers(len(odd)))])
    if how < 0.65:
        place[key] = _near(place[key], rng) if rng.random() < 0.3 else value
    elif how < 0.8:
        del place[key]
    elif isinstance(place, dict):
        place[str(rng.choice(["more", "kind", "", "format", "0"]))] = value
    else:
        place.insert(key, copy.deepcopy(place[key]) if rng.random() < 0.5 else value)
    return content


def _near(value: Any, rng: Generator) -> Any:
    """A value of the same type that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.choice((-1, 1, 100, 10**6)))
    if isinstance(value, float):
        return value * float(rng.choice((-1, 0, 1e6, np.nan)))
    if isinstance(value, str):
        return value[: int(rng.integers(len(value) + 1))] + str(rng.choice(["", "x", "\n", ".", "/"]))
    return value
