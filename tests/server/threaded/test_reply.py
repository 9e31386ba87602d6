"""Tests of the outcome of a call in another thread."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing.server.threaded.reply import Reply
from tests.support.blocking import Worker


class WaitingTests(unittest.TestCase):
    """A thread that waits."""

    def test_outcome_comes(self) -> None:
        """It ends the wait, and is there for whoever asks again."""
        reply: Reply[int] = Reply()
        worker = Worker(reply.wait, 30.0)
        reply.give(7)
        self.assertTrue(worker.ended())
        self.assertTrue(worker.value and reply.wait(0.0))
        self.assertEqual(reply.result(), 7)

    def test_nothing_comes(self) -> None:
        """After the time the wait is over, without an outcome."""
        self.assertFalse(Reply[None]().wait(0.001))

    def test_first_outcome_counts(self) -> None:
        """Whatever is given or fails after that is dropped."""
        done: list[Reply[int]] = []
        reply: Reply[int] = Reply(done.append)
        reply.fail(KeyError())
        reply.give(7)
        self.assertRaises(KeyError, reply.result)
        self.assertIn(reply, done)

    def test_caller_gives_up(self) -> None:
        """That is told at once, however late the other side asks."""
        told: list[str] = []
        reply: Reply[int] = Reply()
        reply.when_cancelled(lambda: told.append("before"))
        reply.cancel()
        reply.when_cancelled(lambda: told.append("after"))
        self.assertEqual(told, ["before", "after"])


class AwaitingTests(unittest.IsolatedAsyncioTestCase):
    """A task of another loop that awaits."""

    async def test_outcome_comes(self) -> None:
        """Before or after the task has begun to wait."""
        for early in (True, False):
            for error in (None, KeyError()):
                reply: Reply[int] = Reply()
                future = None if early else reply.future()
                worker = Worker(reply.give, 7) if error is None else Worker(reply.fail, error)
                future = reply.future() if future is None else future
                if error is None:
                    self.assertEqual(await asyncio.wait_for(future, 30), 7)
                else:
                    with self.assertRaises(KeyError):
                        await asyncio.wait_for(future, 30)
                self.assertTrue(worker.ended())

    async def test_task_is_cancelled(self) -> None:
        """Then the call is cancelled, too, and its outcome goes nowhere."""
        reply: Reply[int] = Reply()
        future = reply.future()
        future.cancel()
        await asyncio.sleep(0)
        self.assertTrue(reply.cancelled)
        reply.give(7)
        await asyncio.sleep(0)
        self.assertTrue(future.cancelled())
