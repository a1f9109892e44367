"""Procedural portraits with known attributes and people, and the same picture with other attributes."""

from fclf.data.portraits.drawing import SIZE, draw
from fclf.data.portraits.people import CIRCUMSTANCES, FACTORS, Sitters, sitters

__all__ = ["CIRCUMSTANCES", "FACTORS", "SIZE", "Sitters", "draw", "sitters"]
