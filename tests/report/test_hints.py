"""What a report advises, and when it says nothing."""

from __future__ import annotations

import asyncio
import re
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.matchers import Regex, StartsWith, anything
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


#: The other ending of lines.
OTHER = {b"\n": b"\r\n", b"\r\n": b"\n"}


class LineEndingTests(unittest.TestCase):
    """Lines that end otherwise than the script says."""

    def assert_cause(self, report: str, differs: str, mismatch: str, ending: bytes) -> None:
        """The first line says that the ending differs, the mismatch follows, and the hint says what to write."""
        self.assertRegex(report, rf"^{re.escape(differs)} \(connection 1, step 2 of 2, test_hints\.py:\d+\)\n\n"
                                 rf"  {re.escape(mismatch)}\n")
        self.assertIn(f"\n  hint\n    let the client send {OTHER[ending]!r}; or write ending={ending!r}, for the step "
                      "or for the server", report)

    def test_line_when_it_ends_in_lf_alone(self) -> None:
        """LF where CR LF is expected: the report says so."""
        self.assert_cause(run_on_virtual_time(report_of(b"PING\n")),
                          "the client's line b'PING' ends in LF alone, the script's in CR LF",
                          r"expected 4 bytes b'PING', got more (b'PING\n'); too long from byte 4", b"\n")

    def test_line_when_it_ends_in_cr_lf(self) -> None:
        """CR LF where LF is expected: the report says so."""
        self.assert_cause(run_on_virtual_time(report_of(b"PING\r\n", ending=b"\n")),
                          "the client's line b'PING' ends in CR LF, the script's in LF alone",
                          r"expected 4 bytes b'PING', got more (b'PING\r'); too long from byte 4", b"\r\n")

    def test_line_when_it_is_awaited_in_vain(self) -> None:
        """A line of any text does not end: the report says why."""
        self.assert_cause(run_on_virtual_time(report_of(b"PING\n", expected=anything)),
                          "the client's line b'PING' ends in LF alone, the script's in CR LF",
                          r"got b'PING\n' without its ending b'\r\n', then nothing for 0.1 s", b"\n")

    def test_line_when_its_text_is_wrong_too(self) -> None:
        """The text comes first, be it another, too long or too short; the ending is in the hint."""
        for sent, ending in ((b"PONG EXTRA\n", None), (b"PING EXTRA\n", None), (b"PIN\n", None), (b"\n", None),
                             (b"PONG\r\n", b"\n"), (b"PIN\r\n", b"\n")):
            for expected in (b"PING", StartsWith(b"PING")):
                if sent.startswith(b"PING") and expected != b"PING":
                    continue  # this text is right
                with self.subTest(sent=sent, ending=ending, expected=expected):
                    report = run_on_virtual_time(report_of(sent, ending=ending, expected=expected))
                    self.assertRegex(report, r"^expected (4 bytes )?b'PING'( at the start)?, got .* \(connection 1, ")
                    self.assertRegex(report, r"\n  hint\n    the client's line b'.*' ends in .*, the script's in .*: "
                                             r"let the client send b'.*'; or write ending=b'.*', for the step or ")

    def test_mismatch_of_several_lines(self) -> None:
        """Below the cause, each line of a user's own text is shown as a line of the report."""
        class Multiline(Matcher[bytes]):
            def match(self, message: bytes) -> Mismatch:
                return Mismatch("not\nwhat it should be")
        report = run_on_virtual_time(report_of(b"PING\r\n", ending=b"\n", expected=Multiline()))
        self.assertRegex(report, r"^the client's line b'PING' ends in CR LF, .*\n\n"
                                 r"  not\n  what it should be\n  script\n")

    def test_line_when_its_text_is_wrong(self) -> None:
        """A line that ends as it should, and is another one, needs no advice."""
        self.assertNotIn("  hint", run_on_virtual_time(report_of(b"PONG\r\n")))

    def test_line_in_pieces(self) -> None:
        """Where the stream was cut says nothing: neither in the ending nor before it."""
        number = Regex(rb"\d+")
        for pieces in ([b"abc\r\n"], [b"abc\r", b"\n"], [b"a", b"bc\r", b"\n"], [b"abc", b"\r\n"]):
            with self.subTest(pieces=pieces):
                self.assertNotIn("  hint", run_on_virtual_time(report_of(*pieces, expected=number)))
                report = run_on_virtual_time(report_of(*pieces, expected=number, ending=b"\n"))
                # The pattern would not match b"abc", either.
                self.assertRegex(report, r"^expected Regex\(.*\), got b'abc\\r' \(")
                self.assertIn("ends in CR LF", report)
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
