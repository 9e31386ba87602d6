"""How a transcript keeps its entries."""

from __future__ import annotations

import unittest

from tcpclient_testing.transcript.entries import Transcript
from tcpclient_testing.transcript.text import lines


class TranscriptTests(unittest.TestCase):
    """The transcript of one server."""

    def test_begin_when_entries_follow(self) -> None:
        """Renderings count from the time at which the server has begun to run."""
        transcript = Transcript(0.0, 100)
        transcript.begin(1000.0)
        transcript.note(1000.25, 1, "something")
        self.assertEqual(transcript.started, 1000.0)
        self.assertRegex(lines(transcript)[0], r"^ *250 ms +something$")


if __name__ == "__main__":
    unittest.main()
