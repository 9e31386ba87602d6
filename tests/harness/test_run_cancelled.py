"""Somebody else cancels the task in which a server lives: that hides no failure, and is none by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import traceback
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer

#: The clients of a test, which end after it.
CLIENTS: list[socket.socket] = []


async def talk(server: Any, message: bytes) -> None:
    """Expect PING and more, let a client say `message`, and wait until that was judged."""
    server.expect_connect()
    step = server.expect_line(b"PING")
    server.expect_line(b"more")
    client = socket.create_connection(server.address)
    CLIENTS.append(client)
    client.sendall(message)
    with contextlib.suppress(ExpectationError):
        await step


async def in_block(message: bytes, ready: asyncio.Event) -> None:
    """Let the server live in a block."""
    async with MockTCPServer(cancel_body=False) as server:
        await talk(server, message)
        ready.set()
        await asyncio.Event().wait()


async def stopped(message: bytes, ready: asyncio.Event) -> None:
    """Stop the server in a `finally`."""
    server = await MockTCPServer().start()
    try:
        await talk(server, message)
        ready.set()
        await asyncio.Event().wait()
    finally:
        await server.stop()


async def threaded(message: bytes, ready: asyncio.Event) -> None:
    """Let the server live in a thread."""
    async with ThreadedMockTCPServer(cancel_body=False) as server:
        await talk(server, message)
        ready.set()
        await asyncio.Event().wait()


async def cancelled(body: Any, message: bytes) -> BaseException:
    """Cancel a body while it waits for its own event; return what comes out of it."""
    ready = asyncio.Event()
    task = asyncio.ensure_future(body(message, ready))
    await ready.wait()
    task.cancel()
    error: BaseException = (await asyncio.gather(task, return_exceptions=True))[0]
    return error


class CancelledTests(unittest.TestCase):
    """The task is cancelled from outside."""

    BODIES = (in_block, stopped, threaded)

    def tearDown(self) -> None:
        while CLIENTS:
            CLIENTS.pop().close()

    def test_failure_is_not_hidden(self) -> None:
        """The verdict comes out in place of the cancellation."""
        for body in self.BODIES:
            with self.subTest(body.__name__):
                error = asyncio.run(cancelled(body, b"PUNG\r\n"))
                self.assertIsInstance(error, ExpectationError)
                self.assertIn("got b'PUNG'", str(error))

    def test_cancellation_is_no_failure(self) -> None:
        """If the script has not failed, it passes."""
        for body in self.BODIES:
            with self.subTest(body.__name__):
                self.assertIsInstance(asyncio.run(cancelled(body, b"PING\r\n")), asyncio.CancelledError)

    def test_time_out_around_the_server(self) -> None:
        """It shows the conversation."""
        async def main() -> None:
            await asyncio.wait_for(in_block(b"PING\r\n", asyncio.Event()), 0.05)
        with self.assertRaises(asyncio.TimeoutError) as caught:
            asyncio.run(main())
        error = caught.exception
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.assertIn("the conversation with 127.0.0.1", text)
        self.assertRegex(text, r"expect_line\(b'more'\) +waiting")

    @unittest.skipIf(sys.version_info < (3, 11), "task groups are new in Python 3.11")
    def test_task_group_around_the_server(self) -> None:
        """The group holds the verdict, beside what the client has raised."""
        async def client(address: Any) -> None:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"PUNG\r\n")
            try:
                await reader.readexactly(6)
            finally:
                writer.close()

        async def main() -> None:
            async with asyncio.TaskGroup() as group, MockTCPServer() as server:  # type: ignore[attr-defined,unused-ignore]
                server.expect_connect()
                server.expect_line(b"PING")
                group.create_task(client(server.address))
                await asyncio.Event().wait()
        try:
            asyncio.run(main())
        except BaseException as group:
            self.assertIn(ExpectationError, [type(each) for each in group.exceptions])  # type: ignore[attr-defined]
        else:
            self.fail("nothing was raised")

    @unittest.skipIf(sys.version_info < (3, 11), "from Python 3.11 on, Ctrl-C cancels the main task")
    def test_ctrl_c(self) -> None:
        """It is Ctrl-C, whatever the script has found before."""
        async def main() -> None:
            async with MockTCPServer(cancel_body=False) as server:
                await talk(server, b"PUNG\r\n")
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.Event().wait()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())


if __name__ == "__main__":
    unittest.main()
