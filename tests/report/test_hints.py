"""What a report advises, and when it says nothing."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.matchers import Regex
from tcpclient_testing.transcript.entries import RECEIVED
from tests.support.virtual import run_on_virtual_time


async def until(server: MockTCPServer, received: bytes) -> None:
    """Wait until the server has received this."""
    for _ in range(1000):
        if len(server.transcript) and server.transcript.stream(1, RECEIVED) == received:
            return
        await asyncio.sleep(0)
    raise AssertionError("it has not come")


async def report_of(*sent: bytes, expected: Any = b"PING", before: bytes = b"", **line_options: Any) -> str:
    """Let a client send something, in pieces, where a line is expected, mostly PING; return the report."""
    try:
        async with MockTCPServer(timeout=0.1) as server:
            server.expect_connect()
            if before:
                server.expect_bytes(before)
            server.expect_line(expected, **line_options)
            _, writer = await asyncio.open_connection(*server.address)
            try:
                for number, piece in enumerate(sent):
                    writer.write(piece)
                    await until(server, b"".join(sent[:number + 1]))
                await server.join()
            finally:
                writer.close()
    except ExpectationError as error:
        return str(error)
    raise AssertionError("nothing was wrong")


class LineEndingTests(unittest.TestCase):
    """Lines that end otherwise than the script says."""

    def test_line_when_it_ends_in_lf_alone(self) -> None:
        """LF where CR LF is expected: the report says so."""
        self.assertIn("ends in LF alone", run_on_virtual_time(report_of(b"PING\n")))

    def test_line_when_it_ends_in_cr_lf(self) -> None:
        """CR LF where LF is expected: the report says so."""
        self.assertIn("ends in CR LF", run_on_virtual_time(report_of(b"PING\r\n", ending=b"\n")))

    def test_line_when_its_text_is_wrong(self) -> None:
        """A line that ends as it should, and is another one, needs no advice."""
        self.assertNotIn("  hint", run_on_virtual_time(report_of(b"PONG\r\n")))

    def test_line_in_pieces(self) -> None:
        """Where the stream was cut says nothing: neither in the ending nor before it."""
        number = Regex(rb"\d+")
        for pieces in ([b"abc\r\n"], [b"abc\r", b"\n"], [b"a", b"bc\r", b"\n"], [b"abc", b"\r\n"]):
            with self.subTest(pieces=pieces):
                self.assertNotIn("  hint", run_on_virtual_time(report_of(*pieces, expected=number)))
                self.assertIn("ends in CR LF", run_on_virtual_time(report_of(*pieces, expected=number, ending=b"\n")))
        for pieces in ([b"abc\n"], [b"abc", b"\n"]):
            with self.subTest(pieces=pieces):
                self.assertIn("ends in LF alone", run_on_virtual_time(report_of(*pieces, expected=number)))
                self.assertNotIn("  hint", run_on_virtual_time(report_of(*pieces, expected=number, ending=b"\n")))

    def test_other_bytes_before_the_line(self) -> None:
        """What other steps have taken is no part of it, be it in the same piece or not."""
        for pieces in ([b"HELLO\nPO"], [b"HELLO\n", b"PO"]):
            with self.subTest(pieces=pieces):
                self.assertNotIn("  hint", run_on_virtual_time(report_of(*pieces, before=b"HELLO\n")))


class StreamTests(unittest.IsolatedAsyncioTestCase):
    """What a client leaves undone when it closes its stream."""

    async def report_of(self, *, length: int, waits: bool = False, closes: bool = True) -> str:
        """Let a client read so many bytes of a reply, and close, mostly without waiting; return the report."""
        with self.assertRaises(ExpectationError) as caught:
            async with MockTCPServer() as server:
                server.expect_connect()
                server.send_bytes(b"reply")
                closing = server.expect_disconnect()
                reader, writer = await asyncio.open_connection(*server.address)
                await reader.readexactly(length)
                if closes:
                    writer.close()
                else:
                    writer.write_eof()
                if waits:
                    await writer.wait_closed()
                await closing
                await server.join(final=True)
        writer.close()
        return str(caught.exception)

    async def test_client_that_only_does_not_wait(self) -> None:
        """Who can't mend such a client is told how to require the close alone."""
        self.assertIn("\n  hint\n    await writer.wait_closed() after writer.close() in the client",
                      await self.report_of(length=5))

    async def test_client_that_leaves_something_unread(self) -> None:
        """One that does not wait either is told so first."""
        report = await self.report_of(length=2)
        self.assertIn("\n  hint\n    await writer.wait_closed() after writer.close() in the client", report)
        report = await self.report_of(length=2, waits=True)
        self.assertIn("left 3 bytes of the server's reply unread", report)
        self.assertNotIn("  hint", report)

    async def test_client_that_does_not_close(self) -> None:
        """Where that would not help there is no such advice."""
        report = await self.report_of(length=5, closes=False)
        self.assertIn("never called writer.close()", report)
        self.assertNotIn("  hint", report)


if __name__ == "__main__":
    unittest.main()
