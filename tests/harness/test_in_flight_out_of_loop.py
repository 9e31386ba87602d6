"""What a signal handler raises in a callback that the event loop calls."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
from typing import Any
from unittest import mock

from tcpclient_testing import MockTCPServer
from tcpclient_testing.aio.causes.lookout import Lookout
from tcpclient_testing.harness.in_flight import OutOfLoop, called_by_loop, carried_by


class Struck(BaseException):
    """What a signal handler raises."""


class OutOfLoopTests(unittest.TestCase):
    """It comes out of the loop; what is raised by the callback itself goes where it always went."""

    def raised(self, error: BaseException) -> BaseException:
        """Return what comes of a callback that raises `error`."""
        try:
            called_by_loop(mock.Mock(side_effect=error))
        except BaseException as raised:
            return raised
        raise AssertionError("nothing was raised")

    def test_kinds(self) -> None:
        """Only what the loop would drop, and is no error of the callback, is carried."""
        for error in (ValueError(), KeyboardInterrupt(), SystemExit(2)):
            self.assertIs(self.raised(error), error)
            self.assertIs(carried_by(error), error)
        struck = Struck("too late")
        raised = self.raised(struck)
        self.assertIsInstance(raised, OutOfLoop)
        self.assertIs(carried_by(raised), struck)
        self.assertEqual(str(raised), "Struck: too late")

    def test_loop_ends(self) -> None:
        """A handler that strikes while we look whether a client has failed ends the loop."""
        async def wait() -> None:
            async with MockTCPServer() as server:
                server.expect_connect()
                await server.join()

        def strike(*_: Any) -> None:
            raise Struck
        loop = asyncio.new_event_loop()
        try:
            with mock.patch.object(Lookout, "_look_again", strike), self.assertRaises(OutOfLoop) as caught:
                loop.run_until_complete(wait())
            self.assertIsInstance(carried_by(caught.exception), Struck)
            for task in asyncio.all_tasks(loop):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
        finally:
            loop.close()


if __name__ == "__main__":
    unittest.main()
