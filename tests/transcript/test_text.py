"""Transcripts as lines of text."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.transcript.entries import Transcript
from tcpclient_testing.transcript.text import lines


class UntakenTests(unittest.IsolatedAsyncioTestCase):
    """What was to be sent, and the operating system has not taken."""

    def test_last_sends_are_the_ones_that_are_not_through(self) -> None:
        """Each connection's own; what was taken of a send is said, and nothing of one that is through."""
        transcript = Transcript(0.0, 100)
        for number, data in ((1, b"abc"), (2, b"defg"), (1, b"hijkl"), (1, b"m")):
            transcript.sent(0.0, number, data)
        transcript.untaken[1] = 4
        self.assertEqual([line.split(":  ")[1] for line in lines(transcript)],
                         ["sent 3 bytes  b'abc'", "sent 4 bytes  b'defg'", "sent 2 of 5 bytes  b'hijkl'",
                          "sent 0 of 1 byte  b'm'"])
        self.assertEqual(transcript.untaken, {1: 4})

    async def test_send_that_stalls(self) -> None:
        """The transcript says the same as the verdict."""
        with self.assertRaises(ExpectationError) as caught:
            async with MockTCPServer(timeout=0.02, allow_open=True) as server:
                server.expect_connect(timeout=30)
                server.send_bytes(bytes(50_000_000))
                reader, writer = await asyncio.open_connection(*server.address)
                self.addCleanup(writer.close)
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await server.join()
        self.assertRegex(str(caught.exception), r"it took (\d+) of 50000000 bytes[^$]*  sent \1 of 50000000 bytes  b")
        self.assertFalse(reader.at_eof())

    async def test_send_that_goes_on(self) -> None:
        """When all is through, nothing is missing."""
        async with MockTCPServer() as server:
            server.expect_connect()
            server.send_bytes(bytes(20_000_000))
            server.expect_disconnect()
            reader, writer = await asyncio.open_connection(*server.address)
            await asyncio.sleep(0.01)
            self.assertRegex("\n".join(lines(server.transcript)), r"sent \d+ of 20000000 bytes")
            await reader.readexactly(20_000_000)
            self.assertIn("sent 20000000 bytes", "\n".join(lines(server.transcript)))
            writer.close()
            await writer.wait_closed()


if __name__ == "__main__":
    unittest.main()
