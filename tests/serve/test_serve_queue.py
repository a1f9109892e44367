"""The line: how many are let in, and what becomes of those who leave it."""

import asyncio
import threading

import pytest

from fclf.serve.queue import BusyError, TooSlowError, WorkQueue


def test_as_many_are_let_in_as_may_be_and_places_come_back():
    async def trial():
        queue, free = WorkQueue(2, 3, 5), threading.Event()
        tasks = [asyncio.create_task(queue.run(free.wait)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert queue.held == 5
        with pytest.raises(BusyError):
            await queue.run(lambda: None)
        free.set()
        assert await asyncio.gather(*tasks) == [True] * 5
        await asyncio.sleep(0.02)
        assert queue.held == 0
        queue.close()

    asyncio.run(trial())


def test_work_whose_caller_left_before_it_began_is_never_begun():
    async def trial():
        queue, free, done = WorkQueue(1, 3, 5), threading.Event(), []
        first = asyncio.create_task(queue.run(free.wait))
        second = asyncio.create_task(queue.run(lambda: done.append("second")))
        third = asyncio.create_task(queue.run(lambda: done.append("third")))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0.02)
        assert queue.held == 2
        free.set()
        await asyncio.gather(first, third)
        assert done == ["third"]
        queue.close()

    asyncio.run(trial())


def test_work_that_is_given_up_holds_its_place_until_its_thread_is_free():
    async def trial():
        queue, free = WorkQueue(1, 0, 0.05), threading.Event()
        with pytest.raises(TooSlowError):
            await queue.run(free.wait)
        assert queue.held == 1
        with pytest.raises(BusyError):
            await queue.run(lambda: None)
        free.set()
        await asyncio.sleep(0.05)
        assert await queue.run(lambda: 7) == 7
        queue.close()

    asyncio.run(trial())


def test_errors_of_the_work_reach_its_caller():
    async def trial():
        queue = WorkQueue(1, 0, 5)
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda: 1 / 0)
        await asyncio.sleep(0.02)
        assert queue.held == 0
        queue.close()

    asyncio.run(trial())
