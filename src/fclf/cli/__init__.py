"""The command line: thin commands that connect the library's parts; heavy imports wait inside them."""

from fclf.cli.app import app, main, run

__all__ = ["app", "main", "run"]
