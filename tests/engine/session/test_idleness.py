"""Idleness: what is said of a client that is connected while nothing is due."""

from __future__ import annotations

import unittest

from tests.engine.playing import Play


class IdlenessTests(unittest.TestCase):
    def test_client_that_stays_when_the_script_is_complete(self) -> None:
        """Nothing happened; with every() something did, but the client sent nothing."""
        for beats, words in ((False, "nothing happened for"), (True, "the client sent nothing for")):
            with self.subTest(beats=beats):
                play = Play()
                play.session.idle_timeout = 30.0
                play.expect_connect()
                if beats:
                    play.server.every(10, b"beat")
                play.connect()
                for _ in range(4):
                    play.wait(10)
                self.assertIn(f"is still connected and waits; {words} ", play.summary)


if __name__ == "__main__":
    unittest.main()
