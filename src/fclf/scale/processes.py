"""Shards edited by processes of this machine, any of which may die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from fclf.data.shards.folder import Shard
from fclf.data.shards.output import OutputError
from fclf.errors import InputError
from fclf.scale.manifest import Record
from fclf.scale.work import BulkEdit, ShardEditor, quarantined

__all__ = ["TRIES", "edit_in_processes"]

TRIES = 2
"""Workers that may die of a shard."""
FALSE_STARTS = 3
"""Workers that may die one after the other before they have begun."""
PATIENCE = 10.0
"""Seconds in which a worker without work ends by itself."""


def edit_in_processes(
    edit: BulkEdit, output: str, shards: Sequence[Shard], workers: int, on_rows: Callable[[int], None]
) -> Generator[Record]:
    """Records of shards as they are done, by processes that have loaded the model once.

    A shard whose worker dies is given to another one, and quarantined if that dies too. However the iteration ends, no
    worker is left.

    Args:
        edit: model and options.
        output: address of the folder.
        shards: what to edit.
        workers: processes.
        on_rows: told how many more rows are done.

    Raises:
        OutputError: if something cannot be written.
        InputError: if workers die before they have begun.
    """
    waiting, deaths, false_starts = deque(shards), Counter[str](), 0
    team: list[_Worker] = []
    leaving: list[_Worker] = []
    try:
        for _ in range(min(workers, len(shards))):
            team.append(_Worker(output))
        while team:
            ready = wait([worker.connection for worker in team])
            for worker in [one for one in team if one.connection in ready]:
                try:
                    kind, content = worker.connection.recv()
                except (EOFError, OSError):  # it is dead, perhaps in the middle of a message
                    team.remove(worker)
                    worker.end()
                    shard, code = worker.shard, worker.process.exitcode
                    false_starts += not worker.ready
                    if false_starts == FALSE_STARTS:
                        raise InputError(
                            f"Workers end before their first shard ({_exit(code)}). With less memory for each of them, "
                            f"type fewer than --workers {workers}."
                        ) from None
                    if shard is not None:
                        deaths[shard.name] += 1
                        on_rows(-worker.rows)
                        if deaths[shard.name] < TRIES:
                            waiting.appendleft(shard)
                        else:
                            yield quarantined(shard, f"{TRIES} workers died of it in turn ({_exit(code)}).")
                    if len(team) < workers and sum(not one.ready for one in team) < len(waiting):
                        team.append(_Worker(output))
                    continue
                if kind == "stop":
                    raise OutputError(content)
                if kind == "rows":
                    on_rows(content - worker.rows)
                    worker.rows = content
                    continue
                if kind == "hello":
                    worker.tell(edit)
                    continue
                false_starts = 0
                if kind == "done":
                    worker.shard = None
                    yield content
                if not worker.give(waiting.popleft() if waiting else None):
                    team.remove(worker)
                    leaving.append(worker)
        for worker in leaving:
            worker.process.join(PATIENCE)
    finally:
        for worker in (*team, *leaving):
            worker.end()


class _Worker:
    """A process and what it is doing."""

    def __init__(self, output: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.shard: Shard | None = None
        self.rows = 0
        self.ready = False
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, output), daemon=True)
        # An interrupt from the terminal goes to all; workers are ended by us. They inherit what is blocked, if Python's
        # tracker of resources, whose start would allow interrupts again, is there already.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def give(self, shard: Shard | None) -> bool:
        """Give it a shard, or nothing more to do; whether more is to be heard of it."""
        self.ready, self.shard, self.rows = True, shard, 0
        return not self.tell(shard) or shard is not None

    def tell(self, what: BulkEdit | Shard | None) -> bool:
        """Send it something; false if it is dead, as its connection will say too.

        The model is sent when it listens: as an argument of the process it would keep us waiting until then.
        """
        try:
            self.connection.send(what)
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Kill it, where it is alive."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, output: str) -> None:
    """What a worker does until it is told that there is nothing more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(kind: str, content: Any) -> None:
        with suppress(OSError):  # nobody is there any more, and so soon this process
            connection.send((kind, content))

    with suppress(EOFError, ConnectionError):
        try:
            tell("hello", None)
            editor = ShardEditor(connection.recv(), output)
            tell("ready", None)
            while (shard := connection.recv()) is not None:
                tell("done", editor(shard, lambda rows: tell("rows", rows)))
        except OutputError as error:
            tell("stop", str(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, as where memory ran out" if -code == signal.SIGKILL else name
    return f"exit code {code}"
