"""`python -m fclf`."""

from fclf.cli import run

run()
