"""What tests of the reports of test cases share."""

from __future__ import annotations

import unittest
from typing import Any

from tests.support.outcomes import Outcome

__all__ = ["greeting", "ReportsTestCase"]


def greeting(server: Any) -> None:
    """Script: a client says hello, and leaves."""
    server.expect_connect()
    server.expect_bytes(b"hello")
    server.send_bytes(b"welcome")
    server.expect_disconnect()


class ReportsTestCase(unittest.TestCase):
    def assertOneFailure(self, outcome: Outcome, *words: str) -> None:
        """There is one report, a failure, and it is the server's."""
        self.assertEqual(outcome.kinds, ["failure"], outcome)
        for word in words:
            self.assertIn(word, outcome.text)
        self.assertNotIn("never retrieved", outcome.text)

    def assertOneError(self, outcome: Outcome, *words: str) -> None:
        """There is one report, an error, and it is the client's."""
        self.assertEqual(outcome.kinds, ["error"], outcome)
        for word in words:
            self.assertIn(word, outcome.text)
