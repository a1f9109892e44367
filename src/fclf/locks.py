"""Locks of the operating system, which end with the process that holds them: none is ever stale."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fclf.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing can be locked, and nothing is refused
    fcntl = None  # type: ignore[assignment]

__all__ = ["exclusive", "lock"]

NAME = ".lock"


def lock(handle: int) -> bool | None:
    """Lock an open file until it is closed: False if somebody else has, None where the file system knows no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def exclusive(folder: Path, option: str) -> Iterator[None]:
    """Hold a folder until the block ends or the process dies, however it dies; make it if it is absent.

    The lock is one of the system on a file `.lock`, whose presence alone means nothing. A folder that was made and is
    empty in the end is removed.

    Args:
        folder: what is held.
        option: who named it, for messages.

    Raises:
        InputError: if another process holds it, or it cannot be written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _take(folder / NAME)
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be written to ({error.strerror}); name another folder.") from error
    if handle is None:
        raise InputError(
            f"{option} {folder}: {_holder(folder / NAME)} is writing to it. Wait until it has ended, or name another "
            "folder."
        )
    try:
        yield
    finally:
        (folder / NAME).unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):  # of folders that are not empty
            for path in made:
                path.rmdir()


def _take(path: Path) -> int | None:
    """An open file that is locked and still at `path`; None if another process has locked it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if lock(handle) is False:
            os.close(handle)
            return None
        with suppress(OSError):  # it may have been removed by who held it until now
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                with suppress(OSError):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"process {os.getpid()} on {os.uname().nodename}".encode())
                return handle
        os.close(handle)


def _holder(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8") or "another process"
    return "another process"
