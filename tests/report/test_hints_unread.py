"""Advice on replies that a client has left unread."""

from __future__ import annotations

import socket
import unittest
from typing import Optional

from tcpclient_testing import ExpectationError, ThreadedMockTCPServer
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.report.hints import unread_data_hint
from tcpclient_testing.transcript.entries import Transcript


class BlockingClientTests(unittest.TestCase):
    """Clients that only close, over real sockets."""

    def report_of(self, reply: bytes, read: int) -> str:
        """Let a client send a line, read so many bytes of the reply, and close; return the report."""
        with self.assertRaises(ExpectationError) as caught, ThreadedMockTCPServer(timeout=10) as server:
            server.expect_connect()
            server.expect_line()
            server.send_bytes(reply)
            with socket.create_connection(server.address) as client:
                client.sendall(b"HELO\r\n")
                server.join()
                client.settimeout(10)
                if reply:
                    client.recv(len(reply), socket.MSG_PEEK)  # it has arrived
                client.recv(read)
            server.expect_disconnect()
        return str(caught.exception)

    def test_reply_when_it_is_not_read(self) -> None:
        """The close is a reset; the report says how it comes to that."""
        for read in (0, 5):
            with self.subTest(read=read):
                report = self.report_of(b"hello world", read)
                self.assertIn("expected the client to disconnect, it reset the connection", report.splitlines()[0])
                self.assertTrue(report.endswith(
                    "  hint\n    a client that closes with data unread resets the connection: has it read all of the "
                    "11 bytes that it was sent last?"), report)


class LeftUnreadTests(unittest.TestCase):
    """What the transcript shows."""

    def advice(self, *entries: tuple[str, bytes], number: int = 1, reset: bool = True,
               untaken: int = 0) -> Optional[str]:
        """The advice on connection 1, after these entries of a connection; `untaken` bytes were not taken at all."""
        server = MemoryServer()
        server.expect_connect()
        server.connect()
        transcript = Transcript(0.0, 10_000)
        for what, data in entries:
            getattr(transcript, what)(0.0, number, data)
        transcript.untaken[number] = untaken
        if reset:
            server.reset_by_client()
        return unread_data_hint(server.session.conversations[0], transcript)

    def test_bytes_since_the_client_last_sent(self) -> None:
        """They are what it has most likely left."""
        self.assertIn("all of the 5 bytes that it was sent last", self.advice(
            ("sent", b"banner"), ("received", b"x"), ("sent", b"ab"), ("sent", b"cde")) or "")

    def test_bytes_that_no_system_has_taken(self) -> None:
        """They don't count: the transcript shows what was taken, and the advice says the same."""
        self.assertIn("all of the 3 bytes that it was sent last", self.advice(
            ("received", b"x"), ("sent", b"ab"), ("sent", b"cde"), untaken=2) or "")
        self.assertIsNone(self.advice(("sent", b"abc"), untaken=3))

    def test_bytes_before_the_client_last_sent(self) -> None:
        """It may have sent without reading."""
        advice = self.advice(("sent", b"banner"), ("received", b"x"))
        self.assertIn("all of the 6 bytes that it was sent?", advice or "")

    def test_nothing_to_read(self) -> None:
        """A client that was sent nothing on this connection has other reasons; one that did not reset has none."""
        self.assertIsNone(self.advice(("received", b"x")))
        self.assertIsNone(self.advice(("sent", b"x"), number=2))
        self.assertIsNone(self.advice(("sent", b"x"), reset=False))


if __name__ == "__main__":
    unittest.main()
