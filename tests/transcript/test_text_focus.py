"""The bytes around a failure, which a transcript shows whole."""

from __future__ import annotations

import re
import unittest

from tcpclient_testing.transcript.entries import Transcript
from tcpclient_testing.transcript.text import Focus, lines


class FocusTests(unittest.TestCase):
    """What was received and sent last on the connection that failed."""

    def setUp(self) -> None:
        self.transcript = Transcript(0.0, 1 << 20)

    def shown(self, focus: Focus) -> list[str]:
        """The lines, without times and numbers."""
        return [re.sub(r"^ *\d[^ ]* ms +(\d: +)?", "", line) for line in lines(self.transcript, focus=focus)]

    def test_entries_in_focus(self) -> None:
        """They are shown whole; the entries before them, and those of other connections, are shortened as ever."""
        line = bytes(range(65, 91)) * 4
        for number, what in ((1, "received"), (1, "sent"), (2, "received"), (1, "received"), (1, "sent")):
            getattr(self.transcript, what)(0.0, number, line)
        shown = self.shown(Focus(1, 0))
        self.assertEqual([repr(line) in each for each in shown], [False, False, False, True, True])

    def test_more_than_there_is_room_for(self) -> None:
        """A thousand characters are shown, around the byte at which the script has failed."""
        self.transcript.received(0.0, 1, b"x" * 5000 + b"here" + b"y" * 5000)
        self.assertIn("here", self.shown(Focus(1, 5002))[0])
        self.assertNotIn("here", self.shown(Focus(1, 0))[0])
        self.assertLess(len(self.shown(Focus(1, 5002))[0]), 1100)

    def test_handshake(self) -> None:
        """Nobody reads a ClientHello."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
        self.transcript.received(0.0, 1, hello)
        self.assertLess(len(self.shown(Focus(1, len(hello)))[0]), 150)

    def test_nothing_was_received(self) -> None:
        """Then there is nothing to look at."""
        self.transcript.connected(0.0, 1, "127.0.0.1:50000")
        self.transcript.sent(0.0, 1, b"")
        self.assertEqual(self.shown(Focus(1, 10)), ["client connected from 127.0.0.1:50000", "sent 0 bytes  b''"])


if __name__ == "__main__":
    unittest.main()
