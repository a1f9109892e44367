"""A page and a JSON API on top of a trained run (extra `serve`)."""

from fclf.serve.settings import Limits

__all__ = ["Limits"]
