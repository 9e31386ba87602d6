"""What a client reads of what was sent is progress: clients of each kind that read slowly, stop, or never read."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import unittest
from typing import Any
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.sockets import inet_diag
from tcpclient_testing.tls import client_context
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.loops import TimelessTestCase, timeless
from tests.support.platforms import needs_clients

_SIZE = 400_000
_TIMEOUT = 4.0  # seconds of virtual time


@unittest.skipUnless(sys.platform == "linux", "elsewhere the kernel doesn't tell how much a client has read")
@timeless
class UptakeTests(TimelessTestCase):
    async def failed_after(self, read: Any, *, size: int = _SIZE, tls: bool = False, unix: bool = False,
                           beats: bool = False, raw: bool = False) -> float:
        """Send a reply to a client, let it `read`; return how long after that the script fails because it is silent.

        With `raw`, the client reads from its socket, not from asyncio's stream.
        """
        loop = asyncio.get_running_loop()
        with socket_folder() as folder:
            place: Any = {"unix_path": os.path.join(folder, "s")} if unix else {}
            server = MockTCPServer(timeout=_TIMEOUT, tls=tls, cancel_body=False, **place)
            read_at = 0.0
            with self.assertRaises(ExpectationError) as caught:
                async with server:
                    server.expect_connect()
                    server.send_bytes(b"x" * size)
                    if beats:
                        server.every(0.5, b"beat")
                    server.expect_disconnect(wait_closed=False)
                    if raw:
                        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
                        self.addCleanup(sock.close)
                        sock.setblocking(False)
                        await loop.sock_connect(sock, server.unix_path or server.address)
                        recv: Any = lambda n: loop.sock_recv(sock, n)  # noqa: E731
                    else:
                        options: Any = {"ssl": client_context(), "server_hostname": "localhost"} if tls else {}
                        reader, writer = await asyncio.open_connection(*server.address, limit=1000, **options)
                        self.addCleanup(writer.close)
                        recv = reader.read
                    try:
                        await read(recv)
                    finally:
                        read_at = loop.time()
        self.assertRegex(str(caught.exception), "still connected and was silent for|and nothing for")
        failure = server._runtime.session.failure
        assert failure is not None
        return failure.now - read_at

    @staticmethod
    async def slowly(recv: Any, size: int = _SIZE) -> None:
        """Read all, in three times the time-out; never be idle for a tenth of it."""
        got = 0
        while got < size:
            data = await recv(size // 30)
            got += len(data)
            await asyncio.sleep(0.1 * _TIMEOUT * len(data) / (size // 30))

    @lasting
    async def test_slow_reader(self) -> None:
        """It isn't overdue while it reads; it is when it has been silent for the time-out, give or take a look."""
        for options in ({}, {"tls": True}, {"unix": True, "raw": True}, {"raw": True}, {"beats": True}):
            with self.subTest(**options):
                after = await self.failed_after(self.slowly, **options)
                self.assertLessEqual(after, 1.25 * _TIMEOUT)
                self.assertGreaterEqual(after, 0.85 * _TIMEOUT)

    @needs_clients
    async def test_slow_reader_of_what_the_stream_holds(self) -> None:
        """The reply is in the client's `StreamReader` at once: what is read of that is progress, too."""
        after = await self.failed_after(lambda recv: self.slowly(recv, 1500), size=1500)
        self.assertGreaterEqual(after, 0.85 * _TIMEOUT)

    @lasting
    async def test_reader_that_stops_in_the_middle(self) -> None:
        """It is overdue a time-out after its last read, give or take a look."""
        async def half(recv: Any) -> None:
            await self.slowly(recv, _SIZE // 2)
        for options in ({}, {"unix": True, "raw": True}, {"raw": True}, {"beats": True, "raw": True}):
            with self.subTest(**options):
                after = await self.failed_after(half, **options)
                self.assertLessEqual(after, 1.25 * _TIMEOUT)
                self.assertGreaterEqual(after, (0.5 if "unix" in options else 0.85) * _TIMEOUT)

    @lasting
    async def test_reader_that_has_read_all_at_once(self) -> None:
        """It is overdue after the time-out, exactly."""
        async def whole(recv: Any) -> None:
            got = 0
            while got < _SIZE:
                got += len(await recv(_SIZE))
        for options in ({}, {"tls": True}, {"unix": True, "raw": True}, {"raw": True}):
            with self.subTest(**options):
                self.assertAlmostEqual(await self.failed_after(whole, **options), _TIMEOUT, places=3)

    @lasting
    async def test_client_that_reads_nothing(self) -> None:
        """It is overdue after the time-out, exactly."""
        async def nothing(recv: Any) -> None:
            pass
        for options in ({}, {"unix": True, "raw": True}, {"raw": True}, {"beats": True, "raw": True}):
            with self.subTest(**options):
                self.assertAlmostEqual(await self.failed_after(nothing, **options), _TIMEOUT, places=3)

    @lasting
    async def test_slow_reader_where_the_kernel_does_not_tell(self) -> None:
        """Only what the client sends is progress."""
        with mock.patch.object(inet_diag, "_available", False):
            after = await self.failed_after(self.slowly, raw=True)
        self.assertLess(after, 0)


if __name__ == "__main__":
    unittest.main()
