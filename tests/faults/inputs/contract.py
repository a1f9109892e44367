"""What bad input may do: nothing but be refused, in words, at once, and without a trace."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fclf.cli import main
from fclf.errors import InputError

__all__ = ["LONGEST", "LONGEST_MESSAGE", "Broken", "Plant", "command", "outcome", "reading"]

LONGEST = 10.0
"""Seconds in which a small file is read or refused on a busy machine."""
LONGEST_MESSAGE = 6000
"""Characters that somebody still reads; the longest lists every setting of a configuration."""

Attempt = Callable[[], str]
"""Tries to use a file: `read` or `refused`; raises `Broken`, or any other error, which is a failure too."""


class Broken(AssertionError):
    """The contract was broken, and how."""


@dataclass
class Plant:
    """Makes a folder where it is unpickled by whoever executes what a pickle says."""

    sign: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sign),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Plant:
        return self  # a copy is made as a pickle is read


def _check_message(text: str) -> None:
    if not text.strip() or "Traceback" in text or len(text) > LONGEST_MESSAGE:
        raise Broken(f"a message of {len(text)} characters: {text[:300]!r}")
    text.encode()  # a lone surrogate could not be shown


def reading(read: Callable[[], Any]) -> Attempt:
    """Of the library: a value, or `InputError` with a message."""

    def attempt() -> str:
        try:
            read()
        except InputError as error:
            _check_message(str(error))
            return "refused"
        return "read"

    return attempt


def command(arguments: list[str], output: Path, written: Callable[[Path], Any]) -> Attempt:
    """Of the command line: exit code 0 and an output that can be read, or 2, a message and no output at all.

    Args:
        arguments: of `fclf`.
        output: what the command would write; nothing else may lie in its folder.
        written: reads it.
    """

    def attempt() -> str:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
        left = sorted(path.name for path in output.parent.iterdir()) if output.parent.is_dir() else []
        if code == 0:
            if left != [output.name]:
                raise Broken(f"exit code 0, and {left} was written")
            written(output)
            return "read"
        if code != 2:
            raise Broken(f"exit code {code}: {err.getvalue()[:300]!r}")
        if left:
            raise Broken(f"refused, and {left} was written")
        _check_message(err.getvalue())
        return "refused"

    return attempt


def outcome(attempt: Attempt, sign: Path) -> str:
    """Try it.

    Args:
        attempt: of `reading` or `command`.
        sign: where a `Plant` in the file would make a folder.

    Raises:
        Broken: if it takes too long, or a plant was executed.
        Exception: what the attempt raised.
    """
    begun = time.perf_counter()
    found = attempt()
    taken = time.perf_counter() - begun
    if sign.exists():
        raise Broken("a pickle was executed")
    if taken > LONGEST:
        raise Broken(f"it took {taken:.1f} s")
    return found
