"""The advice for a test that waits for a client that it has not started."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import unittest
from collections.abc import Awaitable
from typing import Any, Callable

from tcpclient_testing import ExpectationError, MockTCPServer
from tests.support.virtual import run_on_virtual_time

HINT = "nothing is running that could connect: "


class TooEarlyTests(unittest.TestCase):
    def report(self, body: Callable[[MockTCPServer], Awaitable[Any]]) -> str:
        """What becomes of a body for which no client connects."""
        async def run() -> None:
            async with MockTCPServer(timeout=0.02) as server:
                server.expect_connect()
                await body(server)

        with self.assertRaisesRegex(ExpectationError, "no client connected") as caught:
            run_on_virtual_time(run())
        return str(caught.exception)

    def test_step_that_is_awaited_before_the_client_is_started(self) -> None:
        """Nobody but the test itself could connect: the report says what to do."""
        async def join(server: MockTCPServer) -> None:
            await server.join()

        async def line(server: MockTCPServer) -> None:
            await server.expect_line()

        self.assertIn(HINT, self.report(join))
        self.assertIn(HINT, self.report(line))

    def test_client_that_runs_and_does_not_connect(self) -> None:
        """In a task, in a thread, or in another process: it was started. Nor is a body that has ended in the way."""
        async def task(server: MockTCPServer) -> None:
            client = asyncio.ensure_future(asyncio.sleep(10))
            try:
                await server.join()
            finally:
                client.cancel()

        async def thread(server: MockTCPServer) -> None:
            over = threading.Event()
            client = threading.Thread(target=over.wait)
            client.start()
            try:
                await server.join()
            finally:
                over.set()
                client.join()

        async def process(server: MockTCPServer) -> None:
            program = "import sys; sys.stdin.read()"
            with subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE) as client:
                try:
                    await server.join()
                finally:
                    client.communicate()

        async def nothing(server: MockTCPServer) -> None:
            """The body has ended; its own end waits for the client."""

        for body in (task, thread, process, nothing):
            with self.subTest(body=body.__name__):
                self.assertNotIn(HINT, self.report(body))


if __name__ == "__main__":
    unittest.main()
