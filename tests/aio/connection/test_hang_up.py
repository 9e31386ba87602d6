"""Clients that close while network conditions hold back what is sent to them."""

from __future__ import annotations

import asyncio
import os
import ssl
import unittest
from typing import Any, Callable, Optional

from tcpclient_testing import ExpectationError, MockTCPServer, Network
from tcpclient_testing.aio.sockets.inet_diag import available
from tcpclient_testing.tls import client_context
from tcpclient_testing.transcript.entries import NOTED, SENT
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.reports import verdict_of
from tests.support.transcripts import notes

#: One byte each hundredth of a second, so that the whole reply would take half a second.
SLOW = Network(rate=100)
REPLY = b"x" * 50


async def connect(server: MockTCPServer, *, secure: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the server, wherever it listens."""
    if server.unix_path is not None:
        return await asyncio.open_unix_connection(server.unix_path)
    return await asyncio.open_connection(*server.address, ssl=client_context() if secure else None)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close, whatever the server does meanwhile."""
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        pass


@unittest.skipUnless(available(), "the kernel answers no questions about sockets here")
class HangUpTests(unittest.IsolatedAsyncioTestCase):
    async def verdict(self, expect: Callable[[MockTCPServer], Any], *, tls: bool = False, unix: bool = False,
                      half: bool = False) -> tuple[Optional[str], Any, MockTCPServer]:
        """The verdict on a client that closes after the first byte, what `expect` resulted in, and the server."""
        with socket_folder() as folder:
            options: dict[str, Any] = {"unix_path": os.path.join(folder, "s")} if unix else {}
            result: Any = None
            server = MockTCPServer(network=SLOW, tls=tls or None, watch_streams=False, **options)
            try:
                async with server:
                    server.expect_connect()
                    server.send_bytes(REPLY)
                    step = expect(server)
                    reader, writer = await connect(server, secure=tls)
                    await reader.readexactly(1)
                    if half:
                        writer.write_eof()
                        self.assertEqual(await reader.readexactly(2), b"xx")
                    await close(writer)
                    result = await step if step is not None else None
            except ExpectationError as error:
                return verdict_of(error), result, server
            return None, result, server

    async def test_client_that_may(self) -> None:
        """The step that expects it is satisfied long before the next byte is due, and says how much was taken."""
        for unix in False, True:
            for expect in (lambda s: s.expect_reset(), lambda s: s.expect_disconnect(unread=True)):
                with self.subTest(unix=unix):
                    verdict, result, server = await self.verdict(expect, unix=unix)
                    self.assertIsNone(verdict)
                    self.assertIn(result, range(1, 10))
                    self.assert_nothing_sent_after("closed by the client", server)

    async def test_client_that_may_over_tls(self) -> None:
        """A close_notify in the middle of a send hangs up, since most clients read nothing more."""
        verdict, result, _ = await self.verdict(lambda s: s.expect_disconnect(unread=True), tls=True)
        self.assertIsNone(verdict)
        self.assertIn(result, range(1, 10))

    async def test_client_that_may_not(self) -> None:
        """It is told at once, with what it had taken."""
        for unix in False, True:
            for expect in (lambda s: s.expect_disconnect(), lambda s: None):
                with self.subTest(unix=unix):
                    verdict, _, server = await self.verdict(expect, unix=unix)
                    self.assertRegex(verdict or "", r"^the client closed the connection when it had taken \d of 50 ")
                    self.assert_nothing_sent_after("closed by the client", server)

    @lasting
    async def test_client_that_half_closes_first(self) -> None:
        """It gets what is sent as long as it reads, and hangs up when it closes."""
        for unix in False, True:
            with self.subTest(unix=unix):
                verdict, result, _ = await self.verdict(lambda s: s.expect_disconnect(unread=True), half=True,
                                                        unix=unix)
                self.assertIsNone(verdict)
                self.assertIn(result, range(3, 20))

    def assert_nothing_sent_after(self, note: str, server: MockTCPServer) -> None:
        """No bytes stand in the transcript behind the client's end."""
        entries = list(server.transcript)
        place = [entry.what == NOTED and note in entry.content for entry in entries].index(True)
        self.assertEqual([entry for entry in entries[place:] if entry.what == SENT], [])


class OneLook(asyncio.Protocol):
    """A client that closes when it has got something."""

    transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.close()


class ResetTests(unittest.IsolatedAsyncioTestCase):
    async def test_nothing_is_sent_after_the_reset(self) -> None:
        """A client that resets the connection between two chunks, or with one under way: told once, in order."""
        for _ in range(10):
            server = MockTCPServer(network=Network(chunk=7))
            with self.assertRaisesRegex(ExpectationError, r"the connection when it had taken \d+ of 60 bytes"):
                async with server:
                    server.expect_connect()
                    server.send_bytes(b"x" * 60)
                    server.disconnect()
                    await asyncio.get_running_loop().create_connection(OneLook, *server.address)
                    await server.join()
            said = [note for note in notes(server) if "by the client" in note]
            self.assertEqual(len(said), 1)
            entries = list(server.transcript)
            place = [entry.what == NOTED and entry.content == said[0] for entry in entries].index(True)
            self.assertEqual([entry for entry in entries[place:] if entry.what == SENT], [])


if __name__ == "__main__":
    unittest.main()
