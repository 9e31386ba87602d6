"""Transcripts in which what happened to many connections at once is one line."""

from __future__ import annotations

import unittest

from tcpclient_testing.transcript.entries import Transcript
from tcpclient_testing.transcript.text import lines


class GatheringTests(unittest.TestCase):
    def test_resets_of_many_connections(self) -> None:
        """They are one line, and so leave room for what came before them; a few are a line each."""
        for count in (4, 5, 412):
            with self.subTest(count=count):
                transcript = Transcript(0.0, 1000)
                for number in (1, 2):
                    transcript.received(0.001, number, b"hello")
                for number in range(1, count + 1):
                    transcript.note(0.002, number, "reset by the server: the script failed")
                transcript.note(0.003, 0, "the end")
                shown = lines(transcript)
                self.assertEqual((shown[0], shown[-1]), (f"  1.0 ms  1:  received 5 bytes  {b'hello'!r}",
                                                         "  3.0 ms      the end"))
                same = [f"  2.0 ms  {number}:  reset by the server: the script failed" for number in range(1, 5)]
                self.assertEqual(shown[2:-1], same if count == 4 else
                                 [f"  2.0 ms      {count} connections reset by the server: the script failed"])

    def test_what_clients_do_alike(self) -> None:
        """Each is a line of its own: which client it was counts."""
        transcript = Transcript(0.0, 1000)
        for number in range(5):
            transcript.received(0.001, number, b"hello")
        for number in range(5):
            transcript.note(0.002, number, "the client ended its stream")
        self.assertEqual(len(lines(transcript)), 10)


if __name__ == "__main__":
    unittest.main()
