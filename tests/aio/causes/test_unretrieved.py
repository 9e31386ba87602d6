"""What asyncio says of exceptions that nobody has retrieved, while servers run."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from tcpclient_testing.aio.causes.unretrieved import Unretrieved
from tests.support.collecting import collect
from tests.support.loops import AsyncTestCase


async def fail() -> None:
    """End a task with an exception."""
    raise LookupError("the client's own")


class UnretrievedTests(AsyncTestCase):
    def setUp(self) -> None:
        """The test has a handler, which notes what it is called with."""
        self.told: list[Any] = []

    async def asyncSetUp(self) -> None:
        """It is the loop's."""
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.note)

    def note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note an exception."""
        self.told.append(context.get("exception"))

    async def lost(self) -> None:
        """Let a task end to which nobody refers."""
        asyncio.ensure_future(fail())  # noqa: RUF006 - that is the point
        for _ in range(3):
            await asyncio.sleep(0)
        collect()

    async def test_exception_is_passed_on_when_the_last_server_is_closed(self) -> None:
        """The handler that was there before gets it then, and is the loop's again."""
        first, second = Unretrieved.of(self.loop), Unretrieved.of(self.loop)
        first.acquire(1)
        second.acquire(2)
        await self.lost()
        self.assertEqual([str(exc) for exc in first.exceptions()], ["the client's own"])
        first.release(1)
        self.assertEqual(self.told, [])
        second.release(2)
        self.assertEqual([str(exc) for exc in self.told], ["the client's own"])
        self.assertEqual(self.loop.get_exception_handler(), self.note)

    async def test_exception_that_a_report_names_is_dropped(self) -> None:
        """Nobody tells of it again."""
        unretrieved = Unretrieved.of(self.loop)
        unretrieved.acquire(1)
        await self.lost()
        unretrieved.forget(unretrieved.exceptions())
        unretrieved.release(1)
        self.assertEqual(self.told, [])

    async def test_other_messages_are_passed_on_at_once(self) -> None:
        """A callback that raises is no task."""
        unretrieved = Unretrieved.of(self.loop)
        unretrieved.acquire(1)
        error = ValueError("in a callback")
        self.loop.call_exception_handler({"message": "x", "exception": error})
        self.assertEqual(self.told, [error])
        unretrieved.release(1)

    async def test_handler_that_the_test_has_set_meanwhile_stays(self) -> None:
        """It is not replaced when the server is closed."""
        def another(*_: Any) -> None:
            """Do nothing."""
        unretrieved = Unretrieved.of(self.loop)
        unretrieved.acquire(1)
        self.loop.set_exception_handler(another)
        unretrieved.release(1)
        self.assertIs(self.loop.get_exception_handler(), another)


if __name__ == "__main__":
    unittest.main()
