"""How labels are written in memory: 0, 1 or unknown."""

from __future__ import annotations

__all__ = ["UNKNOWN"]

UNKNOWN = -1
"""A label that is not known, in the place of 0 or 1."""
