"""A client that fails by itself in a task or thread beside the test, which waits: when the test gets its exception."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.harness.exceptions import chain_of
from tests.support.long import lasting
from tests.support.loops import AsyncTestCase, on_uvloop, timeless


def write_script(server: Any) -> None:
    """LIST, a reply that the client can't read, QUIT."""
    server.expect_connect()
    server.expect_line(b"LIST")
    server.send_line(b"three")
    server.expect_line(b"QUIT")
    server.expect_disconnect()


class Client:
    """A client that asks for a number, and gets a word. It closes when the test has ended."""

    def __init__(self, test: unittest.TestCase, address: Any) -> None:
        self.test = test
        self.address = address

    async def run(self) -> None:
        """Run in a task."""
        reader, writer = await asyncio.open_connection(*self.address)
        self.test.addCleanup(writer.close)
        writer.write(b"LIST\r\n")
        int(await reader.readline())

    def run_blocking(self) -> None:
        """Run in a thread."""
        sock = socket.create_connection(self.address)
        self.test.addCleanup(sock.close)
        sock.sendall(b"LIST\r\n")
        int(sock.recv(7))


class CauseTests(AsyncTestCase):
    async def failure(self, run: Any, *, join: Any = None, timeout: float = 20, extra: Any = None) -> BaseException:
        """Return what a test gets that starts a client by `run`, and waits. `extra` runs in another task."""
        other: Optional[asyncio.Task[Any]] = None
        kept: Any = None
        try:
            async with MockTCPServer(timeout=timeout) as server:
                write_script(server)
                if extra is not None:
                    other = asyncio.ensure_future(extra())
                kept = run(Client(self, server.address))
                await (server.join() if join is None else join(server))
        except Exception as error:
            if other is not None:
                other.cancel()
                await asyncio.wait([other])
            return error
        finally:
            del kept
        raise AssertionError("it has passed")

    def assert_clients(self, error: BaseException) -> None:
        """It is the client's exception."""
        self.assertIsInstance(error, ValueError, error)
        self.assertIn("three", str(error))

    async def test_task(self) -> None:
        """The same object, with the client's lines in its traceback, and with the step."""
        error = await self.failure(lambda client: asyncio.ensure_future(client.run()))
        self.assert_clients(error)
        shown = "".join([*getattr(error, "__notes__", ()), str(error.__context__)])
        self.assertRegex(shown, r"a client had ended with ValueError; the script waited for step 4 of connection 1, "
                                r"expect_line\(b'QUIT'\) \(test_causes.py:\d+\)")
        self.assertIn("received 6 bytes", shown)

    @timeless
    async def test_task_on_virtual_time(self) -> None:
        """The clock does not jump to the time-out before."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.assert_clients(await self.failure(lambda client: asyncio.ensure_future(client.run())))
        self.assertLess(loop.time() - began, 1)

    @lasting
    async def test_job_of_an_executor(self) -> None:
        """The future that a loop has for it, or the job itself."""
        self.assert_clients(await self.failure(
            lambda client: asyncio.get_running_loop().run_in_executor(None, client.run_blocking)))
        with ThreadPoolExecutor(1) as pool:
            self.assert_clients(await self.failure(lambda client: pool.submit(client.run_blocking)))

    async def test_thread(self) -> None:
        """A thread of the test's own, beside an asynchronous server."""
        def start(client: Client) -> None:
            threading.Thread(target=client.run_blocking).start()
        self.assert_clients(await self.failure(start))

    async def test_join_in_a_time_out(self) -> None:
        """The body waits by way of `wait_for`, which has a task of its own before Python 3.12."""
        self.assert_clients(await self.failure(lambda client: asyncio.ensure_future(client.run()),
                                               join=lambda server: asyncio.wait_for(server.join(), 60)))

    @unittest.skipIf(on_uvloop, "uvloop doesn't show which sockets it watches")
    async def test_task_beside_another_that_waits_for_long(self) -> None:
        """A timer that fires after the time-out can change nothing."""
        self.assert_clients(await self.failure(lambda client: asyncio.ensure_future(client.run()),
                                               extra=lambda: asyncio.sleep(60)))

    @lasting
    async def test_task_is_named_first_if_a_timer_may_still_change_something(self) -> None:
        """It makes no failure by itself; the time-out does."""
        async def beat() -> None:
            while True:
                await asyncio.sleep(0.04)
        error = await self.failure(lambda client: asyncio.ensure_future(client.run()), extra=beat, timeout=0.2)
        self.assertIsInstance(error, ExpectationError)
        self.assertRegex(str(error), r"^ValueError: .*three.* \(test_causes.py:\d+\); then: connection 1, step 4 of 5 ")
        self.assertIn("before that, a task or thread of this test had ended with\n    Traceback", str(error))

    @lasting
    async def test_connection_that_the_script_has_reset(self) -> None:
        """What the client raises then is no error of its own, and makes no failure: the time-out does, and names it."""
        async def client(address: Any) -> None:
            reader, writer = await asyncio.open_connection(*address)
            try:
                await reader.readexactly(1)
            finally:
                writer.close()
        with self.assertRaisesRegex(ExpectationError, r"^ConnectionResetError: .*did not connect again") as caught:
            async with MockTCPServer(timeout=0.2) as server:
                server.expect_connect()
                server.reset()
                server.expect_connect()
                task = asyncio.ensure_future(client(server.address))
                await server.join()
        self.assertNotIn("nothing is running that could connect", str(caught.exception))
        self.assertTrue(task.done())

    async def test_exception_of_the_bodys_own_shows_it_too(self) -> None:
        """A time-out of the test's own comes first; the client's exception is named beside the conversation."""
        error = await self.failure(lambda client: asyncio.ensure_future(client.run()),
                                   join=lambda server: asyncio.wait_for(asyncio.Event().wait(), 0.05))
        self.assertIsInstance(error, asyncio.TimeoutError)
        self.assertIn("three", "".join([*getattr(error, "__notes__", ()), *map(str, chain_of(error))]))

    async def test_body_that_does_something_else_is_not_interrupted(self) -> None:
        """The client's exception is none of the body's while it does not wait for the script."""
        async with MockTCPServer(timeout=20, allow_open=True) as server:
            server.expect_connect()
            server.expect_line(b"LIST")
            server.send_line(b"three")
            task = asyncio.ensure_future(Client(self, server.address).run())
            await asyncio.sleep(0.1)
            self.assertIsInstance(task.exception(), ValueError)


class ElsewhereTests(unittest.IsolatedAsyncioTestCase):
    """A server in a thread, and clients in the loop of the test."""

    async def test_join(self) -> None:
        """The loop that awaits the server is looked at."""
        with self.assertRaisesRegex(ValueError, "three"):
            async with ThreadedMockTCPServer(timeout=20) as server:
                write_script(server)
                task = asyncio.ensure_future(Client(self, server.address).run())
                await server.join()
        del task

    async def test_exit(self) -> None:
        """So it is at the exit."""
        with self.assertRaisesRegex(ValueError, "three"):
            async with ThreadedMockTCPServer(timeout=20) as server:
                write_script(server)
                task = asyncio.ensure_future(Client(self, server.address).run())
        with contextlib.suppress(NameError):
            del task


if __name__ == "__main__":
    unittest.main()
