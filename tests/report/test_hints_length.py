"""Advice on lengths that count their own header, or leave it out."""

from __future__ import annotations

import unittest
from typing import Any, Optional

from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.patterns import anything
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.report.hints import diagnose
from tcpclient_testing.transcript.entries import Transcript

PLAIN, INCLUSIVE = LengthPrefixed(4), LengthPrefixed(4, includes_header=True)
PAYLOAD = b"hello world"


class LengthAdviceTests(unittest.TestCase):
    def advice(self, sent: bytes, framing: LengthPrefixed, payload: Any = anything, *, end: bool = False,
               disconnect: bool = False, timeout: float = 5.0) -> Optional[str]:
        """Let a client send this where a frame is expected; return the report's advice, which is no more than that."""
        server = MemoryServer(timeout=timeout)
        server.expect_connect()
        server.expect_frame(payload, framing=framing)
        if disconnect:
            server.expect_disconnect()
        server.connect()
        server.receive(sent)
        if end:
            server.half_close()
        server.sleep(timeout + 1)
        server.session.settle(server.now, allow_open=True, allow_extra=False)
        self.assertIsNotNone(server.verdict)
        cause, hint, _ = diagnose(server.session, Transcript(0.0, 100))
        self.assertIsNone(cause)
        return hint

    def test_length_when_it_is_announced_and_the_header_counts(self) -> None:
        """The length announced is longer than the expected payload by the header."""
        self.assertEqual(self.advice(INCLUSIVE.encode(PAYLOAD), PLAIN, PAYLOAD),
                         "the length announced is 4 bytes more than expected: does the client's length include the "
                         "header, as LengthPrefixed(4, includes_header=True) has it?")

    def test_length_when_the_rest_does_not_come_and_the_header_counts(self) -> None:
        """The client has sent all, and the frame lacks as many bytes as the header has."""
        for end in (False, True):
            for payload in (anything, StartsWith(b"hello")):
                with self.subTest(end=end, payload=payload):
                    self.assertIn("is 4 bytes more than came: does the client's length include the header",
                                  self.advice(INCLUSIVE.encode(PAYLOAD), PLAIN, payload, end=end) or "")

    def test_length_when_it_is_announced_and_the_header_does_not_count(self) -> None:
        """The length announced is shorter than the expected payload by the header."""
        self.assertEqual(self.advice(PLAIN.encode(PAYLOAD), INCLUSIVE, PAYLOAD),
                         "the length announced is 4 bytes less than expected: does the client's length leave out the "
                         "header, as LengthPrefixed(4) has it?")

    def test_length_when_more_comes_and_the_header_does_not_count(self) -> None:
        """As many bytes as the header has are left over after the frame."""
        for disconnect in (False, True):
            with self.subTest(disconnect=disconnect):
                self.assertIn("is 4 bytes less than came: does the client's length leave out the header",
                              self.advice(PLAIN.encode(PAYLOAD), INCLUSIVE, disconnect=disconnect) or "")

    def test_other_framing_keeps_its_other_options(self) -> None:
        """What is proposed differs in this alone."""
        framing = LengthPrefixed(2, byteorder="little", max_length=99)
        sent = LengthPrefixed(2, byteorder="little", includes_header=True).encode(PAYLOAD)
        self.assertIn("is 2 bytes more than expected: does the client's length include the header, as "
                      "LengthPrefixed(2, byteorder='little', includes_header=True, max_length=99)",
                      self.advice(sent, framing, PAYLOAD) or "")

    def test_no_advice_where_the_difference_is_another(self) -> None:
        """Other lengths, a wrong byte, and the contrary of the mistake say nothing."""
        more, less = b"\0\0\0\x0ehello world", b"\0\0\0\x07hello world"
        for sent, framing, payload, disconnect in (
                (more, PLAIN, PAYLOAD, False), (less, PLAIN, PAYLOAD, False), (more, PLAIN, anything, False),
                (less, PLAIN, anything, True), (more, INCLUSIVE, anything, True),
                (b"\0\0\0\x13hello world", INCLUSIVE, PAYLOAD, False), (b"\0\0", PLAIN, PAYLOAD, False),
                (b"\0\0\0\x0bhello wxrld", PLAIN, PAYLOAD, False), (b"\0\0\0\x0bhellx", PLAIN, PAYLOAD, False)):
            with self.subTest(sent=sent, payload=payload):
                self.assertIsNone(self.advice(sent, framing, payload, disconnect=disconnect))


if __name__ == "__main__":
    unittest.main()
