"""Transcripts that are printed, and entries that go to the logger as they are made."""

from __future__ import annotations

import asyncio
import logging
import unittest
import unittest.mock

from tcpclient_testing import MockTCPServer
from tcpclient_testing.transcript.entries import Transcript
from tcpclient_testing.transcript.kinds import logger


class PrintedTests(unittest.TestCase):
    """`print(server.transcript)`."""

    def test_times(self) -> None:
        """They count from the first entry, whenever the server was started."""
        transcript = Transcript(0.0, 100)
        transcript.connected(10.0, 1, "127.0.0.1:50000")
        transcript.received(10.25, 1, b"PING\r\n")
        self.assertEqual(str(transcript),
                         "  0.0 ms  client connected from 127.0.0.1:50000\n  250 ms  received 6 bytes  b'PING\\r\\n'")

    def test_nothing(self) -> None:
        """It says so."""
        self.assertEqual(str(Transcript(0.0, 100)), "nothing happened")


class LogTests(unittest.IsolatedAsyncioTestCase):
    """The logger `tcpclient_testing`."""

    async def converse(self, server: MockTCPServer) -> None:
        """A line, and its answer."""
        server.expect_connect()
        server.expect_line(b"PING")
        server.send_line(b"PONG")
        server.disconnect()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"PING\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def test_conversation(self) -> None:
        """It is logged as it happens, at the level DEBUG, with the server's name and the connection's number."""
        with self.assertLogs("tcpclient_testing", "DEBUG") as logs:
            async with MockTCPServer(name="primary") as server:
                await self.converse(server)
        messages = [each.getMessage() for each in logs.records]
        self.assertRegex(messages[0], r"^primary connection 1: client connected from 127\.0\.0\.1:\d+$")
        self.assertIn("primary connection 1: received 6 bytes  b'PING\\r\\n'", messages)
        self.assertEqual({each.levelno for each in logs.records}, {logging.DEBUG})

    async def test_server_without_a_name(self) -> None:
        """The connection's number stands alone; what happens to the server itself has neither."""
        with self.assertLogs("tcpclient_testing", "DEBUG") as logs:
            async with MockTCPServer() as server:
                self.assertIs(server.log, logger)
                await self.converse(server)
                server.transcript.note(0.0, 0, "something else")
        messages = [each.getMessage() for each in logs.records]
        self.assertIn("connection 1: sent 6 bytes  b'PONG\\r\\n'", messages)
        self.assertIn("something else", messages)

    async def test_log_that_is_disabled(self) -> None:
        """Nothing is rendered then."""
        level = logger.level
        self.addCleanup(logger.setLevel, level)
        logger.setLevel(logging.INFO)
        with self.assertNoLogs() if hasattr(self, "assertNoLogs") else unittest.mock.MagicMock():
            async with MockTCPServer() as server:
                await self.converse(server)


if __name__ == "__main__":
    unittest.main()
