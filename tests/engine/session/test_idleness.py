"""Idleness: what is said of a client that is connected while nothing is due."""

from __future__ import annotations

import unittest

from tcpclient_testing.memory.host import MemoryServer


class IdlenessTests(unittest.TestCase):
    def test_client_that_stays_when_the_script_is_complete(self) -> None:
        """Nothing happened; with every() something did, but the client sent nothing."""
        for beats, words in ((False, "nothing happened for"), (True, "the client sent nothing for")):
            with self.subTest(beats=beats):
                server = MemoryServer(idle_timeout=30.0)
                server.expect_connect()
                if beats:
                    server.every(10, b"beat")
                server.connect()
                for _ in range(4):
                    server.sleep(10)
                self.assertIn(f"is still connected and waits; {words} ", server.verdict[2])


if __name__ == "__main__":
    unittest.main()
