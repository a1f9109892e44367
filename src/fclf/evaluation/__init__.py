"""Does the flow reach where real embeddings with the target attributes live, and keep them apart?

The public names are imported when they are first used: a judge alone needs none of what an evaluation does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fclf.evaluation.protocol import evaluate
    from fclf.evaluation.results import Report

_HOMES = {"Report": "fclf.evaluation.results", "evaluate": "fclf.evaluation.protocol"}

__all__ = ["Report", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fclf.evaluation' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
