"""Causes and advice where a client may have left a reply unread."""

from __future__ import annotations

import socket
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, ThreadedMockTCPServer
from tcpclient_testing.engine.connection.handshake import HANDSHAKE_DONE
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.report.hints import Diagnosis, unread_data
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
                self.assertRegex(report, r"^the client closed with the 11 bytes b'hello world' "
                                         r"unread \(a reset\) \(connection 1, step 4 of 4, "
                                         r"test_hints_unread\.py:\d+ from test_hints_unread\.py:\d+\)\n\n"
                                         r"  expected the client to disconnect, but it reset the connection\n"
                                         r"  script\n")
                self.assertTrue(report.endswith(
                    "  hint\n    let the client read all that it was sent before it closes: closing with data unread "
                    "resets the connection; if it resets on purpose, write expect_reset()"), report)


class LeftUnreadTests(unittest.TestCase):
    """What the transcript shows."""

    MECHANISM = "a client that closes with data unread resets the connection: "

    def diagnosis(self, *entries: tuple[str, Any], number: int = 1, reset: bool = True, untaken: int = 0,
                  expect: str = "expect_disconnect") -> Any:
        """What is said of connection 1, after these entries of a connection; `untaken` bytes were not taken at all."""
        server = MemoryServer()
        getattr(server.expect_connect().connection, expect)()
        server.connect()
        transcript = Transcript(0.0, 10_000)
        for what, data in entries:
            getattr(transcript, what)(0.0, number, data)
        transcript.untaken[number] = untaken
        if reset:
            server.reset_by_client()
        else:
            server.receive(b"more")
        failure = server.session.failure
        assert failure is not None
        return unread_data(failure, server.session.conversations[0], transcript)

    def assert_perhaps(self, diagnosis: Any, which: str) -> None:
        """The first line says that the client has perhaps left this unread."""
        self.assertEqual(diagnosis, Diagnosis(f"the client closed with the {which} unread (a reset)",
                                              "let the client read all that it was sent before it closes: closing with "
                                              "data unread resets the connection; if it resets on purpose, write "
                                              "expect_reset()"))

    def test_bytes_since_the_client_last_sent(self) -> None:
        """They are what it has most likely left."""
        entries = ("sent", b"banner"), ("received", b"x"), ("sent", b"ab"), ("sent", b"cde")
        self.assert_perhaps(self.diagnosis(*entries), "5 bytes b'abcde'")

    def test_step_that_expects_something_else(self) -> None:
        """Where a message is due, the end of the stream is the failure, and the reset a detail: it is only a hint."""
        entries = ("received", b"x"), ("sent", b"ab"), ("sent", b"cde")
        self.assertEqual(self.diagnosis(*entries, expect="expect_line"),
                         Diagnosis(None, f"{self.MECHANISM}has it read all of the 5 bytes b'abcde' that it was sent "
                                         "last?"))
        self.assert_perhaps(self.diagnosis(*entries), "5 bytes b'abcde'")

    def test_long_reply(self) -> None:
        """The first line shows its beginning."""
        self.assert_perhaps(self.diagnosis(("sent", b"." * 500), ("sent", b"." * 500)),
                            f"1000 bytes b'{'.' * 24}'...")

    def test_bytes_that_no_system_has_taken(self) -> None:
        """They don't count: the transcript shows what was taken, and the advice says the same."""
        self.assert_perhaps(self.diagnosis(("received", b"x"), ("sent", b"ab"), ("sent", b"cde"), untaken=2),
                            "3 bytes b'abc'")
        self.assertIsNone(self.diagnosis(("sent", b"abc"), untaken=3))

    def test_bytes_before_the_client_last_sent(self) -> None:
        """It may have sent without reading: that is only a hint."""
        self.assertEqual(self.diagnosis(("sent", b"banner"), ("received", b"x")),
                         Diagnosis(None, f"{self.MECHANISM}has it read all of the 6 bytes that it was sent?"))

    def test_bytes_in_clear_before_a_handshake(self) -> None:
        """The client has read them: it has finished the handshake that they announced."""
        clear, done = (("sent", b"banner"), ("received", b"STARTTLS"), ("sent", b"go ahead")), ("note", HANDSHAKE_DONE)
        self.assertIsNone(self.diagnosis(*clear, done))
        self.assertIsNone(self.diagnosis(*clear, done, ("received", b"x")))
        self.assert_perhaps(self.diagnosis(*clear, done, ("received", b"x"), ("sent", b"abc")), "3 bytes b'abc'")
        self.assert_perhaps(self.diagnosis(*clear, ("note", "something else")), "8 bytes b'go ahead'")

    def test_nothing_to_read(self) -> None:
        """A client that was sent nothing on this connection has other reasons; one that did not reset has none."""
        self.assertIsNone(self.diagnosis(("received", b"x")))
        self.assertIsNone(self.diagnosis(("sent", b"x"), number=2))
        self.assertIsNone(self.diagnosis(("sent", b"x"), reset=False))


if __name__ == "__main__":
    unittest.main()
