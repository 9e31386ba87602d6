"""What tests of the reports of test cases share."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from tests.support.outcomes import Outcome
from tests.support.streams import connect

__all__ = ["ReportsTestCase", "greeting", "misspell"]


def greeting(server: Any) -> None:
    """Script: a client says hello, and leaves."""
    server.expect_connect()
    server.expect_bytes(b"hello")
    server.send_bytes(b"welcome")
    server.expect_disconnect()


async def misspell(server: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Script a greeting, and connect a client that says something else; keep its streams, lest they be collected."""
    greeting(server)
    reader, writer = await connect(server)
    writer.write(b"hullo")
    return reader, writer


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
