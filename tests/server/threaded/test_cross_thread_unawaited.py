"""What waits for a threaded server's script in a running event loop, and is not awaited there: it has not waited."""

from __future__ import annotations

import asyncio
import socket
import unittest
import warnings

from tcpclient_testing import ThreadedMockTCPServer
from tests.support.collecting import collect, counts_references


class UnawaitedTests(unittest.IsolatedAsyncioTestCase):
    """`join` and `clear` without `await`."""

    def setUp(self) -> None:
        """A server to which a client has connected, and sent one of two lines."""
        self.server = ThreadedMockTCPServer(allow_open=True).start()
        self.addCleanup(self.server.close)
        self.server.expect_connect()
        first = self.server.expect_line()
        self.server.expect_line()
        self.client = socket.create_connection(self.server.address)
        self.addCleanup(self.client.close)
        self.client.sendall(b"first\r\n")
        first.result(30)

    @counts_references  # the line is where the test goes on when what was returned is garbage
    async def test_join(self) -> None:
        """Whoever forgets to await a join is warned at that line; the script goes on."""
        for join in (self.server.join, lambda: self.server.join(30), self.server.connections[0].join):
            with self.assertWarnsRegex(RuntimeWarning, r"^join\(\) was never awaited: in a running ") as caught:
                join()
                collect(cycles=True)
            self.assertEqual(caught.filename, __file__)
        self.client.sendall(b"second\r\n")
        await self.server.join()

    async def test_clear(self) -> None:
        """The same for `clear`."""
        with self.assertWarnsRegex(RuntimeWarning, r"^coroutine 'ThreadedMockTCPServer\.clear' was never awaited"):
            self.server.clear()
            collect(cycles=True)

    async def test_awaited(self) -> None:
        """Nothing is said of a join that was awaited: to its end, until a time-out, or in a task."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with self.assertRaises(TimeoutError):
                await self.server.join(0.01)
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(self.server.join(), 0.01)
            joined = asyncio.ensure_future(self.server.join())
            self.client.sendall(b"second\r\n")
            await joined
            await self.server.join()
            collect(cycles=True)

    def test_without_a_loop(self) -> None:
        """Nothing is said of a join that has blocked."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.client.sendall(b"second\r\n")
            self.server.join()
            collect(cycles=True)


if __name__ == "__main__":
    unittest.main()
