"""One self-contained page of one report or of several side by side."""

from __future__ import annotations

from fclf.report.html.page import page, write

__all__ = ["page", "write"]
