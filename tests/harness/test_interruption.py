"""The task of a test, which is interrupted when the script has failed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import unittest
from collections.abc import AsyncIterator
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.harness import interruption as body_module
from tcpclient_testing.harness.interruption import Body, consequence
from tests.support.loops import AsyncTestCase, timeless
from tests.support.platforms import needs_fine_clock
from tests.support.streams import close, connect


@timeless
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


async def misspell(server: MockTCPServer, word: bytes) -> None:
    """A client sends what the script does not expect, and waits for the end."""
    reader, writer = await connect(server)
    writer.write(word)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    with contextlib.suppress(ConnectionError):
        await close(writer)


async def waits_in_join(server: MockTCPServer) -> None:
    """Wait for the whole script."""
    await server.join()


async def waits_for_a_step(server: MockTCPServer) -> None:
    """Wait for one step."""
    await server.expect_connect()


async def waits_for_something_else(server: MockTCPServer) -> None:
    """Wait for what no server knows of."""
    await asyncio.sleep(60)


async def waits_when_it_leaves(server: MockTCPServer) -> None:
    """Let the end of the `async with` blocks wait."""


class NestedServersTests(AsyncTestCase):
    """Two servers, each in an `async with` of its own, in one task."""

    WAYS = (waits_in_join, waits_for_a_step, waits_for_something_else, waits_when_it_leaves)

    def setUp(self) -> None:
        """Interrupt sooner."""
        for name, value in ("_PATIENCE", 0.01), ("_INSISTENCE", 0.005):
            patch = mock.patch.object(body_module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    @contextlib.asynccontextmanager
    async def fails(self, regex: str) -> AsyncIterator[tuple[MockTCPServer, MockTCPServer, Callable[..., None]]]:
        """Two servers of which one has this verdict, long before their time is over; and what makes one fail."""
        clients: list[asyncio.Task[Any]] = []

        def fail(server: MockTCPServer, word: bytes) -> None:
            clients.append(asyncio.ensure_future(misspell(server, word)))
        started = time.monotonic()
        with self.assertRaisesRegex(ExpectationError, regex):
            async with MockTCPServer(timeout=20) as outer, MockTCPServer(timeout=20) as inner:
                for server in outer, inner:
                    server.expect_connect()
                    server.expect_bytes(b"hello")
                yield outer, inner, fail
        self.assertLess(time.monotonic() - started, 10)
        await asyncio.gather(*clients)
        if sys.version_info >= (3, 11):
            task = asyncio.current_task()
            assert task is not None
            self.assertEqual(task.cancelling(), 0)

    @timeless
    async def test_task_that_waits_at_the_inner_server(self) -> None:
        """It is interrupted when the outer one's script fails, and that is the verdict."""
        for wait in self.WAYS:
            with self.subTest(wait.__name__):
                async with self.fails("got b'hullo'") as (outer, inner, fail):
                    fail(outer, b"hullo")
                    await wait(inner)

    @timeless
    async def test_task_that_waits_at_the_outer_server(self) -> None:
        """It is interrupted when the inner one's script fails, too."""
        for wait in self.WAYS:
            with self.subTest(wait.__name__):
                async with self.fails("got b'hullo'") as (outer, inner, fail):
                    fail(inner, b"hullo")
                    await wait(outer)

    @needs_fine_clock
    async def test_both_fail(self) -> None:
        """The verdict is that of the first, though both interrupt the task, which cleans up meanwhile."""
        for first in 0, 1:
            with self.subTest("inner" if first else "outer"):
                async with self.fails("got b'hullo'") as (outer, inner, fail):
                    servers = (outer, inner)
                    fail(servers[first], b"hullo")
                    while servers[first]._judgement.failed_at() == float("inf"):
                        await asyncio.sleep(0)
                    fail(servers[1 - first], b"hallo")
                    try:
                        await asyncio.sleep(60)
                    finally:
                        deadline = time.monotonic() + 0.03
                        while time.monotonic() < deadline:
                            with contextlib.suppress(asyncio.CancelledError):
                                await asyncio.sleep(0.005)

    @timeless
    async def test_other_cancellation(self) -> None:
        """Where somebody else has cancelled the task, too, that hides no failure: the verdict comes out."""

        async def work() -> None:
            async with MockTCPServer(timeout=20) as outer, MockTCPServer(timeout=20) as inner:
                for server in outer, inner:
                    server.expect_connect()
                    server.expect_bytes(b"hello")
                clients = [asyncio.ensure_future(misspell(server, b"hullo")) for server in (outer, inner)]
                try:
                    await asyncio.sleep(60)
                finally:
                    asyncio.current_task().cancel()  # type: ignore[union-attr]
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.gather(*clients)
        with self.assertRaisesRegex(ExpectationError, "got b'hullo'"):
            await asyncio.ensure_future(work())


if __name__ == "__main__":
    unittest.main()
