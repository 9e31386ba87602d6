"""A client that fails by itself in a task or thread beside the test, which waits: when the test gets its exception."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.aio.causes import lookout
from tcpclient_testing.harness.exceptions import chain_of
from tests.support.collecting import collect
from tests.support.long import ALL, lasting
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
        self.assertRegex(str(error), r"^ValueError: .*three.* \(test_causes.py:\d+\); then: expected the line b'QUIT', "
                                     r"nothing received for 0\.\d+ s \(connection 1, step 4 of 5, test_causes.py:\d+ "
                                     r"from test_causes.py:\d+\)\n")
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


class ClosesTests(AsyncTestCase):
    """A client that closes its connection on the way out: what the script sees is a consequence."""

    def setUp(self) -> None:
        super().setUp()
        self.pool = ThreadPoolExecutor(1)
        self.addCleanup(self.pool.shutdown)

    @staticmethod
    def talk(address: Any, error: Optional[Exception] = None) -> None:
        """Say the first line, and end, mostly by an error."""
        with socket.create_connection(address) as client:
            client.sendall(b"LIST\r\n")
            client.recv(7)
            if error is not None:
                raise error

    def starters(self) -> dict[str, Callable[..., Any]]:
        """Return functions that start `talk` beside the test, by where they do. They return what is to be kept."""
        def in_a_thread(*arguments: Any) -> Any:
            threading.Thread(target=self.talk, args=arguments).start()

        return {
            "thread": in_a_thread,
            "pool": lambda *arguments: self.pool.submit(self.talk, *arguments),
            "executor": lambda *arguments: asyncio.get_running_loop().run_in_executor(None, self.talk, *arguments),
            "gather": lambda *arguments: asyncio.gather(
                asyncio.get_running_loop().run_in_executor(self.pool, self.talk, *arguments)),
            "to_thread": lambda *arguments: asyncio.ensure_future(asyncio.to_thread(self.talk, *arguments)),
        }

    async def failure(self, start: Callable[..., Any], error: Optional[Exception], *, joined: bool) -> Exception:
        """Return the report on a client that `start` has started."""
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        kept: Any = None
        try:
            async with MockTCPServer(timeout=20) as server:
                write_script(server)
                kept = start(server.address, error)
                if joined:
                    await server.join()
        except Exception as report:
            return report
        finally:
            del kept
        raise AssertionError("it has passed")

    async def test_error(self) -> None:
        """Its error is the report, wherever it ran, and wherever the test waits."""
        starters = self.starters()
        for where in starters if ALL else ("pool", "to_thread"):
            for joined in (True, False) if ALL else (True,):
                with self.subTest(where, joined=joined):
                    report = await self.failure(starters[where], LookupError("the client's own"), joined=joined)
                    self.assertIsInstance(report, LookupError, report)

    @lasting
    async def test_no_error(self) -> None:
        """One that just ends has failed the script by that."""
        for where, start in self.starters().items():
            for joined in True, False:
                with self.subTest(where, joined=joined):
                    report = await self.failure(start, None, joined=joined)
                    self.assertRegex(str(report), r"^the client ended its stream without sending the line b'QUIT'")

    def test_threaded_server(self) -> None:
        """A server in a thread of its own tells of a job's error too."""
        kept: Any = None
        with self.assertRaisesRegex(LookupError, "the client's own"), ThreadedMockTCPServer(timeout=20) as server:
            write_script(server)
            kept = self.pool.submit(self.talk, server.address, LookupError("the client's own"))
            server.join()
        del kept


class GarbageTests(unittest.TestCase):
    """Tasks of an earlier test that nobody has collected yet."""

    def test_task_of_an_earlier_test(self) -> None:
        """Its exception is not the client's, and is in no report."""
        async def fail() -> None:
            raise LookupError("of an earlier test")

        async def earlier() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            circle: list[Any] = [asyncio.ensure_future(fail())]
            circle.append(circle)
            await asyncio.wait(circle[:1])

        gc.disable()
        self.addCleanup(gc.enable)
        asyncio.run(earlier())
        self.check_that_nothing_is_named()

    def test_task_of_an_earlier_test_that_is_kept(self) -> None:
        """Nor if it can't be collected, because something refers to it."""
        async def fail() -> None:
            raise LookupError("of an earlier test")

        async def earlier() -> asyncio.Task[None]:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            task = asyncio.ensure_future(fail())
            await asyncio.wait([task])
            return task

        kept = asyncio.run(earlier())
        self.check_that_nothing_is_named()
        self.assertIsInstance(kept.exception(), LookupError)

    def test_task_that_failed_before_the_script(self) -> None:
        """In the same loop, too: whoever has made it may still take the exception."""
        async def fail() -> None:
            raise LookupError("of the test's own")

        async def main() -> None:
            task = asyncio.ensure_future(fail())
            await asyncio.wait([task])
            await self.wait_in_vain()
            with self.assertRaisesRegex(LookupError, "of the test's own"):
                await task

        asyncio.run(main())

    def test_what_ended_before_the_script_while_another_server_runs(self) -> None:
        """That one has heard of it, and passes it on when it is left; to the next one it is of an earlier test."""
        passed_on: list[str] = []

        def fail() -> None:
            raise LookupError("of a thread")

        async def fail_later() -> None:
            raise LookupError("of a task")

        def hook(args: Any) -> None:
            passed_on.append(str(args.exc_value))

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: passed_on.append(str(context["exception"])))
            async with MockTCPServer(allow_open=True) as service:
                service.expect_connect()
                _, writer = await asyncio.open_connection(*service.address)
                await service.join()
                ended = asyncio.Event()
                loop.create_task(fail_later()).add_done_callback(lambda _: ended.set())
                await ended.wait()
                thread = threading.Thread(target=fail)
                thread.start()
                thread.join()
                collect(cycles=True)
                await self.wait_in_vain()
                self.assertEqual(passed_on, [])
            writer.close()

        hook.__module__ = "threading"  # as Python's own, it only tells
        with mock.patch.object(threading, "excepthook", hook):
            asyncio.run(main())
        self.assertEqual(sorted(passed_on), ["of a task", "of a thread"])

    def test_connection_that_an_earlier_script_has_reset(self) -> None:
        """The client has handled that, and keeps its streams."""
        async def main() -> None:
            async with MockTCPServer() as server:
                server.expect_connect()
                server.reset()
                reader, writer = await asyncio.open_connection(*server.address)
                with self.assertRaises(ConnectionError):
                    await reader.readexactly(1)
            await self.wait_in_vain()
            writer.close()

        asyncio.run(main())

    def test_client_from_elsewhere(self) -> None:
        """Where one may come, a task that has failed, and never knew the server, isn't taken for it."""
        async def fail() -> None:
            raise LookupError("of the test's own")

        async def main() -> None:
            async with MockTCPServer(outside_clients=True) as server:
                server.expect_connect()
                server.expect_disconnect()
                task = asyncio.ensure_future(fail())
                with mock.patch.object(lookout, "_PAUSE", 0.001):
                    joining = asyncio.ensure_future(server.join())
                    await asyncio.wait([joining], timeout=0.1)
                self.assertFalse(joining.done())
                with socket.create_connection(server.address):
                    pass
                await joining
            with self.assertRaisesRegex(LookupError, "of the test's own"):
                await task

        asyncio.run(main())

    async def wait_in_vain(self) -> None:
        """Wait for a client, which does not come; that is all that is reported."""
        with self.assertRaisesRegex(ExpectationError, "no client connected") as caught, \
                mock.patch.object(lookout, "_PAUSE", 0.001):
            async with MockTCPServer(timeout=0.1) as server:
                server.expect_connect()
                await server.join()
        self.assertNotIn("had ended with", str(caught.exception))

    def check_that_nothing_is_named(self) -> None:
        """Wait in vain for a client."""
        with self.assertRaisesRegex(ExpectationError, "no client connected") as caught, \
                mock.patch.object(lookout, "_PAUSE", 0.001), ThreadedMockTCPServer(timeout=0.1) as server:
            server.expect_connect()
            server.join()
        self.assertNotIn("of an earlier test", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
