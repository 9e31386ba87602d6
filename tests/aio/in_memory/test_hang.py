"""A hang on virtual time, in memory: reported when nothing can happen any more, and not before."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import Coroutine
from typing import Any, Callable

from tcpclient_testing import ExpectationError, MockTCPServer, VirtualClockEventLoop

HANG = r"^nothing can happen any more: no callback is ready, and no timer is set \(connection 1, step 2 of 3, "
OPEN = r"^the script is complete, but the client is still connected; nothing can happen any more: "

Body = Callable[[MockTCPServer, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class HangTests(unittest.TestCase):
    """Scripts without time-outs: nothing else would ever end their tests."""

    def run_with(self, body: Body, *, complete: bool = False, in_memory: bool = True) -> float:
        """Run a client that has connected; return how many seconds of virtual time went by."""
        async def main() -> None:
            async with MockTCPServer(in_memory=in_memory, timeout=None, idle_timeout=None) as server:
                server.expect_connect()
                if not complete:
                    server.expect_line(b"PING")
                    server.expect_disconnect()
                _, writer = await asyncio.open_connection(*server.address)
                try:
                    await body(server, writer)
                finally:
                    writer.close()
        loop = VirtualClockEventLoop()
        try:
            loop.run_until_complete(main())
            return loop.virtual_time_elapsed
        finally:
            loop.close()

    @staticmethod
    async def hang(server: MockTCPServer, writer: asyncio.StreamWriter) -> None:
        """Wait for what nobody does."""
        await asyncio.Event().wait()

    @staticmethod
    async def finish(writer: asyncio.StreamWriter) -> None:
        """Do what the script wants."""
        writer.write(b"PING\r\n")
        writer.close()
        await writer.wait_closed()

    def test_step_that_waits(self) -> None:
        """It is the one that fails, and the body is interrupted."""
        with self.assertRaisesRegex(ExpectationError, HANG):
            self.run_with(self.hang)

    def test_join(self) -> None:
        """So it does for a test that waits for the script."""
        async def join(server: MockTCPServer, writer: asyncio.StreamWriter) -> None:
            await server.join()
        with self.assertRaisesRegex(ExpectationError, HANG):
            self.run_with(join)

    def test_client_that_stays_connected(self) -> None:
        """The script is complete, the client waits for the server, and the server for the client."""
        with self.assertRaisesRegex(ExpectationError, OPEN):
            self.run_with(self.hang, complete=True)

    def test_timer(self) -> None:
        """As long as one is set, something can happen; time jumps to it."""
        async def late(server: MockTCPServer, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(3600)
            await self.finish(writer)
        self.assertGreaterEqual(self.run_with(late), 3600)

    def test_thread(self) -> None:
        """A thread that lives can still do something."""
        async def elsewhere(server: MockTCPServer, writer: asyncio.StreamWriter) -> None:
            loop, go_on, event = asyncio.get_running_loop(), threading.Event(), asyncio.Event()

            def work() -> None:
                go_on.wait()
                loop.call_soon_threadsafe(event.set)
            thread = threading.Thread(target=work)
            thread.start()
            threading.Timer(0.02, go_on.set).start()
            await event.wait()
            thread.join()
            await self.finish(writer)
        self.run_with(elsewhere)

    def test_socket(self) -> None:
        """A socket of the operating system that the loop watches may become ready."""
        async def watched(server: MockTCPServer, writer: asyncio.StreamWriter) -> None:
            async with MockTCPServer(allow_extra=True, allow_open=True, timeout=None, idle_timeout=None) as real:
                reader, client = await asyncio.open_connection(*real.address)
                waits = asyncio.ensure_future(reader.read())
                loop: Any = asyncio.get_running_loop()
                self.assertFalse(loop.nothing_is_left())
                waits.cancel()
                client.close()
                await client.wait_closed()
            await self.finish(writer)
        self.run_with(watched)

    def test_server_that_is_left(self) -> None:
        """It looks no more, and the loop forgets it."""
        async def main() -> None:
            loop: Any = asyncio.get_running_loop()
            async with MockTCPServer(in_memory=True):
                self.assertTrue(loop._lookouts)
            self.assertEqual(loop._lookouts, [])
        loop = VirtualClockEventLoop()
        self.addCleanup(loop.close)
        loop.run_until_complete(main())


if __name__ == "__main__":
    unittest.main()
