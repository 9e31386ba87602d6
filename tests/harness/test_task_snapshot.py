"""What was raised before a moment, and what after it."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
import weakref
from collections.abc import AsyncIterator
from typing import Any, Callable, Optional

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.harness.task_snapshot import TaskSnapshot
from tests.support.collecting import collect
from tests.support.loops import TimelessTestCase, timeless
from tests.support.streams import close, connect


class WhereaboutsTests(unittest.IsolatedAsyncioTestCase):
    """Looked at while a task waits, and asked about what it raises in the end."""

    async def ask(self, function: Callable[[asyncio.Event], Any]) -> tuple[bool, bool]:
        """Look when a coroutine waits for an event; return what is said of its exception."""
        event = asyncio.Event()
        task = asyncio.ensure_future(function(event))
        for _ in range(5):
            await asyncio.sleep(0)
        moment = TaskSnapshot(asyncio.get_running_loop())
        event.set()
        exc = (await asyncio.gather(task, return_exceptions=True))[0]
        self.assertIsInstance(exc, KeyError)
        return moment.shows(exc), moment.precedes(exc)

    async def test_raised_before(self) -> None:
        """Whatever it passes while the task waits, it is seen."""
        @contextlib.asynccontextmanager
        async def manager(event: asyncio.Event) -> AsyncIterator[None]:
            try:
                yield
            finally:
                await event.wait()

        async def passing(event: asyncio.Event) -> None:
            try:
                raise KeyError
            finally:
                await event.wait()

        async def below(event: asyncio.Event) -> None:
            await asyncio.gather(passing(event))

        async def within(event: asyncio.Event) -> None:
            async with manager(event):
                raise KeyError

        async def translated(event: asyncio.Event) -> None:
            try:
                raise ValueError
            except ValueError as error:
                await event.wait()
                raise KeyError from error

        async def unread(event: asyncio.Event) -> None:
            task = asyncio.ensure_future(passing(event))
            await asyncio.wait([task])
            await task

        for function in (passing, below, within, translated, unread):
            with self.subTest(function=function.__name__):
                self.assertEqual(await self.ask(function), (True, False))

    async def test_raised_after(self) -> None:
        """What is raised on another line than that on which the task waited is new, also where it was handling."""
        async def after(event: asyncio.Event) -> None:
            await event.wait()
            raise KeyError

        async def below(event: asyncio.Event) -> None:
            await after(event)

        async def above(event: asyncio.Event) -> None:
            await event.wait()
            {}["none"]

        for function in (after, below, above):
            with self.subTest(function=function.__name__):
                self.assertEqual(await self.ask(function), (False, True))

    async def test_raised_in_a_task_that_has_ended(self) -> None:
        """Nobody knows, and it isn't called new: it comes by the line on which whoever gets it waited."""
        async def raises() -> None:
            raise KeyError

        async def slow(event: asyncio.Event) -> None:
            await event.wait()

        async def both(event: asyncio.Event) -> None:
            task = asyncio.ensure_future(raises())
            await asyncio.gather(task, slow(event), return_exceptions=True), task.result()

        self.assertEqual(await self.ask(both), (False, False))

    async def test_nothing_is_kept(self) -> None:
        """What the tasks hold goes when they let go of it."""
        class Held:
            pass

        async def hold(event: asyncio.Event) -> None:
            held = Held()
            held_by.append(weakref.ref(held))
            await event.wait()

        held_by: list[Callable[[], Optional[Held]]] = []
        event = asyncio.Event()
        task = asyncio.ensure_future(hold(event))
        await asyncio.sleep(0)
        moment = TaskSnapshot(asyncio.get_running_loop())
        event.set()
        await task
        del task
        collect(cycles=True)
        self.assertIsNone(held_by[0]())
        del moment

    async def test_exception_in_the_place_of_another_that_is_gone(self) -> None:
        """Those that were on their way are kept, lest one raised since be taken for them."""
        async def handle(event: asyncio.Event) -> None:
            try:
                raise KeyError
            except KeyError:
                await event.wait()

        event = asyncio.Event()
        task = asyncio.ensure_future(handle(event))
        await asyncio.sleep(0)
        moment = TaskSnapshot(asyncio.get_running_loop())
        event.set()
        await task
        others = [KeyError() for _ in range(1000)]
        self.assertFalse(any(map(moment.shows, others)))


class CauseTests(TimelessTestCase):
    """The verdict on a client whose end was the failure, and which raises, or whose test does."""

    async def serve(self, client: Callable[[Any], Any]) -> None:
        """Let a client talk to a server that expects a whole line."""
        async with MockTCPServer() as server:
            server.expect_connect()
            server.expect_line(b"LOGIN bob")
            server.send_line(b"OK")
            await client(server)

    @timeless
    async def test_assertion_after_a_truncated_line(self) -> None:
        """A client swallows the reset, and the test finds fault with what it returns: that is a consequence."""
        async def client(server: Any) -> Any:
            reader, writer = await connect(server)
            writer.write(b"LOGIN bo")
            writer.write_eof()
            try:
                return await reader.readline()
            except ConnectionError:
                return None
            finally:
                with contextlib.suppress(ConnectionError):
                    await close(writer)

        async def test(server: Any) -> None:
            answer = await client(server)
            await asyncio.sleep(0.02)
            self.assertEqual(answer, b"OK\r\n")

        with self.assertRaisesRegex(ExpectationError, r"got 8 bytes .* before the client half-closed") as caught:
            await self.serve(test)
        self.assertIsInstance(caught.exception.client_exception, AssertionError)

    @timeless
    async def test_client_that_raised_before(self) -> None:
        """It closes in mid-line because of its own exception, which stays the report: an OSError, too."""
        for error in (LookupError("no such user"), FileNotFoundError("no password file")):
            async def client(server: Any, error: Exception = error) -> None:
                _, writer = await connect(server)
                try:
                    writer.write(b"LOGIN bo")
                    raise error
                finally:
                    await close(writer)
                    await asyncio.sleep(0.02)

            with self.subTest(error=error):
                with self.assertRaises(type(error)) as caught:
                    await self.serve(client)
                self.assertIs(caught.exception, error)


if __name__ == "__main__":
    unittest.main()
