"""Work off the event loop: a few threads, a short line before them, and a clear answer to whoever comes too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["BusyError", "TooSlowError", "WorkQueue"]

T = TypeVar("T")


class BusyError(RuntimeError):
    """As much waits as may; the caller may come again."""


class TooSlowError(RuntimeError):
    """The work was not done in time."""


class WorkQueue:
    """At most `workers` pieces of work at once and `waiting` before them; others are refused, not queued.

    A queue without a bound answers everybody late; with one, those who are let in are answered in time. All methods
    are called on the event loop, so the count needs no lock.

    Args:
        workers: threads.
        waiting: pieces of work that may wait for one.
        seconds: time from being let in to the answer, after which the caller gets `TooSlowError`.
    """

    def __init__(self, workers: int, waiting: int, seconds: float) -> None:
        self.workers, self.waiting, self.seconds = workers, waiting, seconds
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="fclf-serve")
        self._held = 0

    @property
    def held(self) -> int:
        """Pieces of work that are done or wait; one given up by its caller counts until its thread is free."""
        return self._held

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in a thread and return what it returns.

        Work whose caller has gone, or ran out of time, before it began is never begun.

        Raises:
            BusyError: if there is no place in the line.
            TooSlowError: if it is not done in time.
        """
        if self._held >= self.workers + self.waiting:
            raise BusyError
        self._held += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._release(loop))
        return await self._answer(future)

    async def _answer(self, future: Future[T]) -> T:
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.wrap_future(future)  # cancelling it cancels the work, if it has not begun
        except TimeoutError as error:
            raise TooSlowError from error

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        self._held -= 1

    def close(self) -> None:
        """Begin nothing more, and do not wait for what is being done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
