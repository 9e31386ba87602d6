"""A client with exponential back-off, tested in milliseconds: time is virtual, sockets are real."""

from __future__ import annotations

import asyncio
import contextlib
import unittest

from tcpclient_testing import MockTCPServerMixin


class PatientClient:
    """The client under test: when the server fails it waits a second, then two, then four ..., and tries again."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    async def ask(self, question: bytes, tries: int = 10) -> bytes:
        """Send a line and return the line that answers it."""
        for attempt in range(tries):
            try:
                return await self._ask_once(question)
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(2**attempt)
        raise ConnectionError(f"no answer after {tries} tries")

    async def _ask_once(self, question: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(question + b"\r\n")
            return (await reader.readuntil(b"\r\n"))[:-2]
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class BackoffTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """With `virtual_time` the clock jumps whenever nothing but waiting is left."""

    virtual_time = True

    async def test_client_waits_longer_each_time(self) -> None:
        """Each connection is expected in its own time, which takes no time."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"how are you?")
        self.tcpserver.disconnect()
        for pause in (1, 2, 4):
            self.tcpserver.expect_connect(after=pause, within=pause + 0.5)
            self.tcpserver.expect_line(b"how are you?")
            self.tcpserver.disconnect()
        self.tcpserver.expect_connect(after=8, within=8.5)
        self.tcpserver.expect_line(b"how are you?")
        self.tcpserver.send_line(b"fine")
        self.tcpserver.expect_disconnect()

        self.assertEqual(await PatientClient(*self.tcpserver.address).ask(b"how are you?"), b"fine")

    async def test_server_is_down_for_an_hour(self) -> None:
        """Nothing listens for a while; the client is still there when the server is back."""
        clock = asyncio.get_running_loop()
        server, start = self.tcpserver, clock.time()
        server.refuse_connections()
        clock.call_later(3600, server.accept_connections)
        server.expect_connect()
        server.expect_line(b"how are you?")
        server.send_line(b"better")
        server.expect_disconnect()

        self.assertEqual(await PatientClient(*server.address).ask(b"how are you?", tries=20), b"better")
        self.assertEqual(clock.time() - start, 4095)  # 1 + 2 + 4 + ... + 2048

    async def test_first_connections_fail(self) -> None:
        """Connections that break at once, before the script begins."""
        self.tcpserver.fail_connections(2)
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"how are you?")
        self.tcpserver.send_line(b"fine")
        self.tcpserver.expect_disconnect()

        self.assertEqual(await PatientClient(*self.tcpserver.address).ask(b"how are you?"), b"fine")
