"""Whose exception is the report, and how the conversation is shown with it."""

from __future__ import annotations

import asyncio
import sys
import traceback
import unittest
from typing import Any

from tcpclient_testing import MockTCPServer


async def own_failure(error: BaseException, *, slowly: bool = False) -> None:
    """Let the body of a test raise `error`, with a chain of its own; `slowly`: the script fails in its clean-up."""
    async with MockTCPServer(allow_open=True, timeout=0.05 if slowly else 5.0) as server:
        server.expect_connect()
        server.expect_line()
        _, writer = await asyncio.open_connection(*server.address)
        try:
            try:
                raise KeyError("where it began")
            except KeyError as cause:
                if error.__suppress_context__:
                    raise error from None
                raise error from cause
        finally:
            if slowly:
                await asyncio.sleep(10)
            writer.close()


def shown(error: BaseException, **options: Any) -> str:
    """What is printed of it."""
    try:
        asyncio.run(own_failure(error, **options))
    except BaseException as arrived:
        assert arrived is error
        return "".join(traceback.format_exception(type(arrived), arrived, arrived.__traceback__))
    raise AssertionError("nothing was raised")


class AttachingTests(unittest.TestCase):
    """The conversation beside the client's own exception."""

    def test_chain_of_the_clients_exception(self) -> None:
        """Nothing of it is lost, even where the script failed while the test cleaned up, and so was interrupted."""
        for slowly in (False, True):
            with self.subTest(slowly=slowly):
                text = shown(AssertionError("the client's own"), slowly=slowly)
                self.assertIn("KeyError: 'where it began'\n\nThe above exception was the direct cause of", text)
                self.assertIn("AssertionError: the client's own\n", text)
                self.assertEqual(text.count("the conversation with 127.0.0.1"), 1)
                self.assertIn("client connected from", text)
                self.assertNotIn("CancelledError", text)

    def test_chain_that_is_suppressed(self) -> None:
        """It stays so."""
        error = AssertionError("the client's own")
        error.__suppress_context__ = True
        text = shown(error)
        self.assertNotIn("where it began", text)
        self.assertEqual(text.count("the conversation with 127.0.0.1"), 1)

    @unittest.skipIf(sys.version_info >= (3, 11), "there are notes")
    def test_conversation_is_no_cause_where_there_are_no_notes(self) -> None:
        """It comes first, says that it is no error, and is not called the cause of what follows."""
        text = shown(AssertionError("the client's own"))
        self.assertTrue(text.startswith("tcpclient_testing.ConversationSoFar: no error, but what had passed when the "
                                        "exception below was raised\nthe conversation with 127.0.0.1"), text)
        self.assertEqual(text.count("direct cause"), 1, "that of the client's own chain")


if __name__ == "__main__":
    unittest.main()
