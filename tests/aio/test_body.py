"""The task of a test, which is interrupted when the script has failed."""

from __future__ import annotations

import asyncio
import sys
import time
import unittest
from typing import Any, Callable
from unittest import mock

from tcpclient_testing.aio import body as body_module
from tcpclient_testing.aio.body import Body, consequence
from tests.support.loops import AsyncTestCase


class BodyTests(AsyncTestCase):
    """Each test has an inner task, the body, and interrupts it."""

    def setUp(self) -> None:
        """Interrupt sooner, and again sooner."""
        for name, value in ("_PATIENCE", 0.02), ("_INSISTENCE", 0.02):
            patch = mock.patch.object(body_module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    async def interrupted(self, work: Callable[[], Any], *, waits_for_us: Callable[[Any], bool] = lambda _: False) \
            -> tuple[Body, bool]:
        """Run `work` as a body that is interrupted at once; return the body, and whether others cancelled it too."""
        answers: list[tuple[Body, bool]] = []

        async def run() -> None:
            task = asyncio.current_task()
            assert task is not None
            body = Body(task, waits_for_us)
            body.interrupt()
            try:
                await work()
            except asyncio.CancelledError:
                pass
            answers.append((body, await body.absorb()))
            await asyncio.sleep(0.05)  # longer than the time after which it would be cancelled again

        await asyncio.wait_for(asyncio.ensure_future(run()), 30)
        return answers[0]

    async def test_body_that_waits_is_cancelled(self) -> None:
        """It ends long before its time; the cancellation is taken back, and none comes after it."""
        started = time.monotonic()
        body, others = await self.interrupted(lambda: asyncio.sleep(60))
        self.assertLess(time.monotonic() - started, 30)
        self.assertEqual((body.interrupted, others), (True, False))

    async def test_body_that_ends_in_time_is_left_alone(self) -> None:
        """It has a moment in which to see the failure for itself."""
        body, others = await self.interrupted(lambda: asyncio.sleep(0))
        self.assertEqual((body.interrupted, others), (False, False))

    async def test_cancellation_that_is_swallowed_comes_again(self) -> None:
        """A body that catches it is cancelled until it ends."""
        caught = []

        async def stubborn() -> None:
            while len(caught) < 3:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    caught.append(True)

        body, others = await self.interrupted(stubborn)
        self.assertEqual((len(caught), body.interrupted, others), (3, True, False))

    async def test_body_that_waits_for_the_server_is_not_cancelled(self) -> None:
        """It is told of the failure anyway; it is asked each time, since it may wait for something else then."""
        asked = []

        def waits_for_us(task: Any) -> bool:
            asked.append(task)
            return len(asked) < 3

        body, _ = await self.interrupted(lambda: asyncio.sleep(60), waits_for_us=waits_for_us)
        self.assertEqual((len(asked), body.interrupted), (3, True))

    async def test_interruption_after_the_end_does_nothing(self) -> None:
        """A body that has ended is interrupted no more; a second interruption is the first one."""
        task = asyncio.current_task()
        assert task is not None
        body = Body(task, lambda _: False)
        self.assertFalse(await body.absorb())
        body.interrupt()
        await asyncio.sleep(0.05)
        self.assertFalse(body.interrupted)

    @unittest.skipIf(sys.version_info < (3, 11), "tasks count their cancellations from 3.11 on")
    async def test_cancellation_by_others_is_told(self) -> None:
        """Who else cancels the body is to have their way: their count stays, ours is taken back."""
        counts = []

        async def cancelled_twice() -> None:
            task: Any = asyncio.current_task()
            task.get_loop().call_later(0.03, task.cancel)
            try:
                await asyncio.sleep(60)
            finally:
                while task.cancelling() < 2:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        pass

        async def run() -> None:
            task: Any = asyncio.current_task()
            body = Body(task, lambda _: False)
            body.interrupt()
            try:
                await cancelled_twice()
            except asyncio.CancelledError:
                pass
            counts.append((await body.absorb(), task.cancelling()))

        await asyncio.wait_for(asyncio.ensure_future(run()), 30)
        self.assertEqual(counts, [(True, 1)])


class ConsequenceTests(unittest.TestCase):
    def test_exception_that_a_cancellation_hides(self) -> None:
        """It is what the body was handling when it was cancelled, however often."""
        hidden = ValueError("hidden")
        inner, outer = asyncio.CancelledError(), asyncio.CancelledError()
        outer.__context__, inner.__context__ = inner, hidden
        self.assertIs(consequence(outer), hidden)
        self.assertIsNone(consequence(asyncio.CancelledError()))
        self.assertIs(consequence(hidden), hidden)


if __name__ == "__main__":
    unittest.main()
