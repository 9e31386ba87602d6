"""What reports say where a message comes that `allow(times=...)` let through, and lets through no more."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.matching.patterns import Regex, anything
from tcpclient_testing.memory.host import MemoryServer


class UsedUpTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()
        self.server.expect_connect()
        self.allowed = self.server.allow(b"PING\r\n", times=2)
        self.used = f"; allow(b'PING\\r\\n', times=2) at {self.allowed.lines()[0]} is used up"

    def said(self, *pieces: bytes) -> str:
        """The verdict after these pieces."""
        self.server.connect()
        for piece in pieces:
            self.server.receive(piece)
        _, _, text = self.server.verdict
        self.assertIsInstance(text, str)
        return str(text)

    def test_message_that_comes_once_too_often(self) -> None:
        """Whatever is expected in its place, and wherever the bytes were divided, the allow() is named."""
        for pieces in ((b"PING\r\n" * 3,), (b"PING\r\n" * 2, b"P"), (b"PING\r\nPING", b"\r\nPI", b"NG\r\n")):
            for method, arguments, words in (("expect_line", (b"END",), "expected b'END', got b'P"),
                                             ("expect_bytes", (b"END",), "expected b'END', got b'P"),
                                             ("expect_disconnect", (), "expected the client to disconnect, got ")):
                with self.subTest(pieces=pieces, method=method):
                    self.setUp()
                    getattr(self.server, method)(*arguments)
                    said = self.said(*pieces)
                    self.assertTrue(said.startswith(words), said)
                    self.assertTrue(said.endswith(self.used), said)

    def test_end_of_the_message_that_differs(self) -> None:
        """A message that begins as the expected one does is judged by that as long as it can be."""
        self.server.expect_line(Regex(b"PINK"))
        said = self.said(b"PING\r\n" * 2, b"PI", b"NG\r\n")
        self.assertTrue(said.endswith(self.used), said)

    def test_other_bytes_when_it_is_used_up(self) -> None:
        """It is not named where it has nothing to do with what is wrong."""
        self.server.expect_line(b"END")
        self.assertNotIn("used up", self.said(b"PING\r\n" * 2 + b"EXIT\r\n"))

    def test_expected_message_when_it_is_used_up(self) -> None:
        """The script has it, as it would without the allow(), however long it is and however it was divided."""
        long = self.server.expect_line(anything)
        self.server.expect_line(b"END")
        self.server.connect()
        for piece in (b"PING\r\n" * 2, b"PING", b"x" * 5000, b"y" * 5000, b"\r\nEN", b"D\r\n"):
            self.server.receive(piece)
        self.assertIsNone(self.server.verdict)
        self.assertEqual(long.result(), b"PING" + b"x" * 5000 + b"y" * 5000)

    def test_bytes_that_are_left_when_it_is_used_up(self) -> None:
        """What no step explains may be such a message, too."""
        self.server.connect()
        self.server.receive(b"PING\r\n" * 3)
        self.server.session.settle(self.server.now, allow_open=True, allow_extra=False)
        self.assertEqual(self.server.verdict[2],
                         r"the script is complete, but the client sent 6 more bytes: b'PING\r\n'"
                         + self.used)


if __name__ == "__main__":
    unittest.main()
