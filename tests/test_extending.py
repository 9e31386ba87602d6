"""Features that are added from outside: the package's public base classes are enough, and no file of it is edited.

Each feature is used in a script against a real client, which keeps to the script once, and once does not.
"""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Awaitable
from typing import Any, Callable, Optional, Union

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.framing import Framing, FramingError, read_frame, write_frame
from tcpclient_testing.matchers import JSON, Judge, Match, Matcher, Mismatch
from tests.support.loops import AsyncTestCase
from tests.support.streams import close

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


class Celsius(Matcher[float]):
    """A temperature such as ``21.5C``; the result is the number."""

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most

    def __repr__(self) -> str:
        return f"Celsius({self._least}, {self._most})"

    def match(self, message: bytes) -> Union[Match[float], Mismatch]:
        number, unit, rest = message.partition(b"C")
        if not unit or rest:
            return Mismatch(f"expected a temperature in degrees Celsius, got {message!r}")
        if not self._least <= float(number) <= self._most:
            return Mismatch(f"expected {self._least} to {self._most} degrees, got {float(number)}",
                            expected=repr(self), received=message)
        return Match(float(number))


class Zeros(Matcher[int]):
    """Any number of zero bytes, of which none is kept; the result is their number."""

    def __repr__(self) -> str:
        return "Zeros()"

    def judge(self) -> Judge[int]:
        return ZerosJudge()


class ZerosJudge(Judge[int]):
    """Counts zeros, and notices the first other byte when it comes."""

    def feed(self, piece: Any) -> Optional[Mismatch]:
        for offset, byte in enumerate(bytes(piece)):
            if byte:
                return Mismatch("expected only zeros", offset=self.received + offset, received=bytes((byte,)))
        self.received += len(piece)
        return None

    def finish(self) -> Union[Match[int], Mismatch]:
        return Match(self.received)

    def partial(self) -> bytes:
        return b""


class Quoted(Framing):
    """Messages between two apostrophes."""

    def __repr__(self) -> str:
        return "Quoted()"

    def encode(self, payload: bytes) -> bytes:
        if b"'" in payload:
            raise ValueError("a message has no apostrophe")
        return b"'%b'" % payload

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        if data[:1] != b"'":
            raise FramingError("expected an apostrophe", offset=0)
        end = data.find(b"'", 1)
        return None if end < 0 else (data[1:end], end + 1)


class ExtendingTestCase(AsyncTestCase):
    """Runs a client against a server, and looks at the report if there is to be one."""

    async def talk(self, server: MockTCPServer, client: Client) -> None:
        """Let the client connect, do its part, and close."""
        reader, writer = await asyncio.open_connection(*server.address)
        try:
            await client(reader, writer)
        finally:
            await close(writer)

    async def failure(self, server: MockTCPServer, write: Callable[[MockTCPServer], Any], data: bytes) -> str:
        """Return the report on a client that sends `data` to a server with the script that `write` writes."""

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            await reader.read()

        with self.assertRaises(ExpectationError) as caught:
            async with server:
                server.expect_connect()
                write(server)
                server.expect_disconnect()
                await self.talk(server, client)
        return str(caught.exception)


class MatcherOfOnesOwnTests(ExtendingTestCase):
    """A matcher that the package does not know."""

    async def test_result_when_the_message_matches(self) -> None:
        """The step has the matcher's result, for lines, frames, counted bytes, and as a part of JSON."""

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"21.5C\r\n")
            write_frame(writer, b"-3C")
            writer.write(b'{"inside": "19C"}\r\n')
            write_frame(writer, bytes(100_000))
            self.assertEqual(await reader.readline(), b"thanks\r\n")

        async with MockTCPServer() as server:
            server.expect_connect()
            line = server.expect_line(Celsius(20, 22))
            frame = server.expect_frame(Celsius(-5, 0))
            inside = server.expect_line(JSON({"inside": Celsius(18, 20)}))
            zeros = server.expect_frame(Zeros())
            server.send_line(b"thanks")
            server.expect_disconnect()
            await self.talk(server, client)
        self.assertEqual((line.result(), frame.result(), zeros.result()), (21.5, -3.0, 100_000))
        self.assertEqual(inside.result(), {"inside": "19C"})

    async def test_report_when_the_message_does_not_match(self) -> None:
        """The report begins with the mismatch, and its script shows the matcher's repr."""
        for data, words in ((b"30C\r\n", "expected 20 to 22 degrees, got 30.0"),
                            (b"70F\r\n", "expected a temperature in degrees Celsius, got b'70F'"),
                            (b"hotC\r\n", r"expected Celsius\(20, 22\), got b'hotC'; the check raised ValueError: ")):
            with self.subTest(data=data):
                report = await self.failure(MockTCPServer(), lambda server: server.expect_line(Celsius(20, 22)), data)
                self.assertRegex(report, rf"^{words}.* \(connection 1, step 2 of 3, test_extending\.py:\d+ from "
                                         r"test_extending\.py:\d+\)\n")
                self.assertRegex(report, r"> 2 expect_line\(Celsius\(20, 22\)\) +failed")
                self.assertIn("transcript", report)

    async def test_report_when_a_judge_notices_a_mismatch_early(self) -> None:
        """The verdict comes at the first wrong byte, before the rest of the message has come."""
        report = await self.failure(MockTCPServer(), lambda server: server.expect_frame(Zeros()),
                                    b"\0\0\0\x64" + bytes(9) + b"!")
        self.assertIn("expected only zeros", report.splitlines()[0])
        self.assertRegex(report, r"> 2 expect_frame\(Zeros\(\)\) +failed")


class FramingOfOnesOwnTests(ExtendingTestCase):
    """A framing that the package does not know."""

    async def test_frames_when_the_client_keeps_to_the_framing(self) -> None:
        """Frames are read and written with it, by server and client, as the server's default or the step's own."""

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            write_frame(writer, b"hello", framing=Quoted())
            self.assertEqual(await read_frame(reader, framing=Quoted()), b"welcome")
            for byte in b"'in pieces''and one more'":
                writer.write(bytes((byte,)))
                await writer.drain()
            self.assertEqual(await read_frame(reader), b"bye")

        async with MockTCPServer(framing=Quoted()) as server:
            server.expect_connect()
            server.expect_frame(b"hello")
            server.send_frame(b"welcome")
            pieces = server.expect_frame()
            more = server.expect_frame(framing=Quoted())
            server.send_bytes(b"\0\0\0\3bye")
            server.expect_disconnect()
            await self.talk(server, client)
        self.assertEqual((pieces.result(), more.result()), (b"in pieces", b"and one more"))

    async def test_frames_when_a_handler_reads_them(self) -> None:
        """The loop of a handler divides the stream with it."""

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for message in (b"one", b"two"):
                write_frame(writer, message, framing=Quoted())
                self.assertEqual(await read_frame(reader, framing=Quoted()), message[::-1])

        async def handler(connection: Any) -> None:
            async for message in connection.frames():
                await connection.send_frame(message[::-1])

        async with MockTCPServer(framing=Quoted(), handler=handler) as server:
            await self.talk(server, client)
        self.assertEqual(server.connections[0].received, b"'one''two'")

    async def test_report_when_the_frame_is_another(self) -> None:
        """The report compares the payloads."""
        report = await self.failure(MockTCPServer(framing=Quoted()), lambda server: server.expect_frame(b"hello"),
                                    b"'hullo'")
        self.assertRegex(report, r"^expected b'hello', got b'hullo' at byte 1 \(connection 1, step 2 of 3, "
                                 r"test_extending\.py:\d+ from test_extending\.py:\d+\)\n")
        self.assertRegex(report, r"> 2 expect_frame\(b'hello'\) +failed")
        self.assertIn("b'hullo'", report)

    async def test_report_when_the_frame_is_malformed(self) -> None:
        """The framing's own words begin the report."""
        report = await self.failure(MockTCPServer(framing=Quoted()), lambda server: server.expect_frame(), b"hello")
        self.assertIn("expected an apostrophe", report.splitlines()[0])

    async def test_send_frame_when_no_frame_can_carry_it(self) -> None:
        """The call is refused, with the framing's reason."""
        async with MockTCPServer(framing=Quoted()) as server:
            server.expect_connect()
            with self.assertRaisesRegex(ValueError, "a message has no apostrophe"):
                server.send_frame(b"it's")
            server.send_frame(b"its")
            server.expect_disconnect()

            async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.assertEqual(await reader.readexactly(5), b"'its'")

            await self.talk(server, client)


if __name__ == "__main__":
    unittest.main()
