"""Who waits for steps, and what they get."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from tcpclient_testing.aio.host import JoinWait, Waiters
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.memory.host import MemoryServer, Over
from tests.support.loops import AsyncTestCase


class Verdict(Exception):
    """What these waiters get when no step will be satisfied any more."""


class Wait:
    """An awaitable that waits for a step by way of `Waiters`."""

    def __init__(self, waiters: Waiters, step: Step[Any]) -> None:
        self.waiters = waiters
        self.step = step

    def __await__(self) -> Any:
        return self.waiters.wait(self.step)


class WaitersTests(AsyncTestCase):
    def setUp(self) -> None:
        """A script of two lines, of which nothing has come."""
        self.server = MemoryServer()
        self.server.expect_connect()
        self.one, self.two = self.server.expect_line(), self.server.expect_line()
        self.server.connect()

    async def waiting(self, *steps: Step[Any]) -> tuple[Waiters, list[asyncio.Task[None]]]:
        """Let a task wait for each of these steps."""
        waiters = Waiters(asyncio.get_running_loop(), Verdict)

        async def wait(step: Step[Any]) -> None:
            await Wait(waiters, step)

        tasks = [asyncio.ensure_future(wait(step)) for step in steps]
        await asyncio.sleep(0)
        return waiters, tasks

    async def test_each_step_wakes_its_own_waiters(self) -> None:
        """All that wait for a step go on when it is satisfied; the engine was asked once for each step."""
        waiters, (first, again, second) = await self.waiting(self.one, self.one, self.two)
        self.server.receive(b"1\r\n")
        self.assertEqual(self.server.woken, [self.one])
        waiters.wake(self.one)
        await asyncio.wait((first, again), timeout=30)
        self.assertEqual([task.done() for task in (first, again, second)], [True, True, False])
        self.server.receive(b"2\r\n")
        self.assertEqual(self.server.woken, [self.one, self.two])
        waiters.wake(self.two)
        await second

    async def test_verdict_is_everybodys(self) -> None:
        """Each waiter gets an exception of its own."""
        waiters, tasks = await self.waiting(self.one, self.two)
        waiters.give_up()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        self.assertEqual([type(error) for error in errors], [Verdict, Verdict])
        self.assertIsNot(*errors)
        waiters.wake(self.one)
        waiters.give_up()

    async def test_waiter_that_was_cancelled_is_passed_over(self) -> None:
        """Neither a step nor the verdict disturbs who waits no longer; the others are served."""
        waiters, (gone, stays, last) = await self.waiting(self.one, self.one, self.two)
        for task in (gone, last):
            task.cancel()
        await asyncio.wait((gone, last), timeout=30)
        waiters.wake(self.one)
        waiters.give_up()
        await stays
        self.assertTrue(gone.cancelled() and last.cancelled())

    async def test_includes_the_tasks_that_wait_just_now(self) -> None:
        """Only these; a task that goes on to something else is one no more."""
        waiters, (task,) = await self.waiting(self.one)
        here = asyncio.current_task()
        assert here is not None
        self.assertEqual((waiters.includes(task), waiters.includes(here)), (True, False))
        waiters.wake(self.one)
        await task
        self.assertFalse(waiters.includes(task))


class JoinedTests(unittest.TestCase):
    def test_join_asks_the_host_and_leaves_the_step_alone(self) -> None:
        """It waits as the host does, and is no question about that step; one that is satisfied needs no wait."""
        server = MemoryServer()
        server.expect_connect()
        step = server.expect_line()
        wait = JoinWait(step).__await__()
        self.assertIs(next(wait), step)
        with self.assertRaises(Over):
            next(wait)
        self.assertIn("not awaited", repr(step))
        server.connect()
        server.receive(b"x\r\n")
        with self.assertRaises(StopIteration):
            next(JoinWait(step).__await__())


if __name__ == "__main__":
    unittest.main()
