"""A client that connects again when its connection breaks."""

from __future__ import annotations

import asyncio
import contextlib
import unittest

from tcpclient_testing import MockTCPServerMixin


class RetryingClient:
    """The client under test: asks once more, on a new connection, if the first one broke."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    async def ask(self, question: bytes) -> bytes:
        """Send a line and return the line that answers it; try twice."""
        try:
            return await self._ask_once(question)
        except (ConnectionError, asyncio.IncompleteReadError):
            return await self._ask_once(question)

    async def _ask_once(self, question: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(question + b"\r\n")
            return (await reader.readuntil(b"\r\n"))[:-2]
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class ReconnectTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Each `expect_connect` after the first is a further connection."""

    async def test_after_a_close(self) -> None:
        """The server closes instead of answering, and the client asks again."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"time?")
        self.tcpserver.disconnect()
        self.tcpserver.expect_disconnect()

        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"time?")
        self.tcpserver.send_line(b"noon")
        self.tcpserver.expect_disconnect()

        self.assertEqual(await RetryingClient(*self.tcpserver.address).ask(b"time?"), b"noon")

    async def test_after_a_reset_in_mid_reply(self) -> None:
        """Half an answer and a reset are no answer."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"time?")
        self.tcpserver.send_bytes(b"no")
        self.tcpserver.reset()

        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"time?")
        self.tcpserver.send_line(b"noon")
        self.tcpserver.expect_disconnect()

        self.assertEqual(await RetryingClient(*self.tcpserver.address).ask(b"time?"), b"noon")


if __name__ == "__main__":
    unittest.main()
