"""What tests of reports share, above all those of the reports of test cases."""

from __future__ import annotations

import asyncio
import re
import unittest
from typing import Any

from tcpclient_testing import ExpectationError
from tests.support.outcomes import Outcome, outcome_of
from tests.support.streams import connect

__all__ = ["MISSPELT", "ReportsTestCase", "greeting", "misspell", "verdict_of"]

#: What the report on the client of `misspell` begins with.
MISSPELT = "expected b'hello', got b'hullo' at byte 1 (connection 1, "

_LINE = r"\w+\.py:\d+"
_PLACE = re.compile(rf"(.*) \(connection (\d+)(?:, step (\d+) of \d+, {_LINE}(?: from {_LINE})?)?\)")


def verdict_of(error: ExpectationError) -> str:
    """What is wrong, in the words of the report's first line: all of it but the place, which has to be the right one.

    If that names a cause, the text of the mismatch, with which the body begins, is a second line.
    """
    found = _PLACE.fullmatch(str(error).split("\n", 1)[0])
    assert found is not None, error
    step = None if error.step is None else str(error.step.index + 1)
    assert found.group(2, 3) == (str(error.connection), step), error
    summary = error.mismatch.summary
    if found[1] == summary:
        return summary
    assert str(error).split("\n")[1:3] == ["", f"  {summary}"], error
    return f"{found[1]}\n{summary}"


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
    def assertPasses(self, **attributes: Any) -> None:
        """A test case with these attributes is not reported at all; its time-outs are the default, as it needs none."""
        outcome = outcome_of(**{"tcpserver_options": {}, **attributes})
        self.assertEqual(outcome.kinds, [], outcome)

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
