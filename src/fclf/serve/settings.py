"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request may ask for, and on how much is done at once."""

    body_bytes: int = 64 * 1024
    """Of a request, except an upload."""
    upload_bytes: int = 8 * 1024 * 1024
    upload_pixels: int = 24_000_000
    """Width times height that a picture declares; larger ones are never decoded."""
    body_seconds: float = 10.0
    """In which a body must have arrived."""
    work_seconds: float = 10.0
    """In which an answer must be computed, the wait for a thread included."""
    workers: int = 2
    waiting: int = 16
    connections: int = 256
    uploads: int = 64
    """Uploaded pictures' embeddings that are held in memory; the oldest goes first."""
    gallery_rows: int = 100_000
    """Rows among which neighbours are looked for; of more, as many are drawn with a seed."""
