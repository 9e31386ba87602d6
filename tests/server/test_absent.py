"""A client that is missing when the test is over: it is waited for only while something lives that could be it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import unittest
from typing import Any, Callable

from tcpclient_testing import (
    ExpectationError,
    MockTCPServer,
    MockTCPServerMixin,
    ThreadedMockTCPServer,
    ThreadedMockTCPServerMixin,
)
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.virtual import run_on_virtual_time

_NOTHING = (r"no client connected to 127\.0\.0\.1:\d+, and nothing is left that could connect; "
            r"was a coroutine not awaited\?")

#: Seconds that no test waits.
_LONG = 3600.0

#: What a client does in another thread or process: it connects a moment later, and closes.
_CODE = "import socket, sys, time; time.sleep(0.02); socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()"


def script(server: Any) -> None:
    """Expect a client that connects and closes."""
    server.expect_connect()
    server.expect_disconnect()


def connect(address: Any) -> None:
    """Connect and close."""
    socket.create_connection(address).close()


def connect_later(address: Any) -> None:
    """Connect and close, a moment from now."""
    threading.Event().wait(0.02)
    connect(address)


def by_thread(address: Any) -> Callable[[], Any]:
    """Let a thread connect a moment from now. Return what ends it."""
    thread = threading.Thread(target=connect_later, args=(address,))
    thread.start()
    return thread.join


def by_process(address: Any) -> Callable[[], Any]:
    """Let a child process connect a moment from now. Return what ends it."""
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", _CODE, str(address[1])]).wait


async def by_task(address: Any) -> Callable[[], Any]:
    """Let a task connect a moment from now."""
    async def client() -> None:
        await asyncio.sleep(0.02)
        connect(address)
    return asyncio.ensure_future(client()).cancel


async def by_timer(address: Any) -> Callable[[], Any]:
    """Let a timer of the loop connect."""
    return asyncio.get_running_loop().call_later(0.02, connect, address).cancel


async def by_callback(address: Any) -> Callable[[], Any]:
    """Let a callback of the loop connect, some turns from now."""
    loop = asyncio.get_running_loop()

    def later(turns: int) -> None:
        if turns:
            loop.call_soon(later, turns - 1)
        else:
            connect(address)
    later(30)
    return lambda: None


async def by_executor(address: Any) -> Callable[[], Any]:
    """Let a job in the loop's executor connect."""
    future = asyncio.get_running_loop().run_in_executor(None, connect_later, address)
    return future.cancel


async def by_reader(address: Any) -> Callable[[], Any]:
    """Let the callback of a reader connect, which somebody outside of the loop makes ready."""
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()

    def read() -> None:
        loop.remove_reader(one)
        connect(address)

    def write() -> None:
        other.send(b"1")
        other.close()

    loop.add_reader(one, read)
    timer = threading.Timer(0.02, write)
    timer.start()

    def end() -> None:
        timer.join()
        one.close()
    return end


class InLoopTests(unittest.IsolatedAsyncioTestCase):
    """Asynchronous servers."""

    async def check_late_client(self, begin: Callable[[Any], Any], **options: Any) -> None:
        """Leave a server when a client has been begun that connects later: it is waited for."""
        end: Callable[[], Any] = lambda: None  # noqa: E731
        try:
            async with MockTCPServer(**options) as server:
                script(server)
                begun = begin(server.address)
                end = await begun if asyncio.iscoroutine(begun) else begun
        finally:
            end()

    @lasting
    async def test_late_clients(self) -> None:
        """Whatever it is that connects, it passes."""
        for begin in (by_thread, by_process, by_task, by_timer, by_callback, by_executor, by_reader):
            with self.subTest(begin=begin.__name__):
                await self.check_late_client(begin)

    def test_late_clients_on_virtual_time(self) -> None:
        """The same on virtual time."""
        for begin in (by_thread, by_process, by_task, by_timer, by_callback, by_executor, by_reader):
            with self.subTest(begin=begin.__name__):
                run_on_virtual_time(self.check_late_client(begin))

    async def check_nothing(self, expected: str = _NOTHING, **options: Any) -> None:
        """Leave a server that has no client."""
        with self.assertRaisesRegex(ExpectationError, expected):
            async with MockTCPServer(**options) as server:
                script(server)

    async def test_nothing_is_left(self) -> None:
        """The test fails at once, whatever the server's own time-outs are."""
        await self.check_nothing(timeout=_LONG)
        await self.check_nothing(timeout=None)

    def test_nothing_is_left_on_virtual_time(self) -> None:
        """There, too."""
        run_on_virtual_time(self.check_nothing())

    async def test_workers_without_a_job(self) -> None:
        """The loop's executor has idle threads after its first job: they do nothing by themselves."""
        await asyncio.to_thread(int)
        await self.check_nothing(timeout=_LONG)

    async def test_thread_that_ends_without_having_connected(self) -> None:
        """The end of the last thing that could have connected is noticed."""
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        asyncio.get_running_loop().call_later(0.02, end.set)
        await self.check_nothing(timeout=_LONG)
        thread.join()

    async def test_task_that_ends_without_having_connected(self) -> None:
        """The same with a task, and one that waits for the missing client itself."""
        async def waits(server: Any) -> None:
            await server.join()

        with self.assertRaisesRegex(ExpectationError, _NOTHING):
            async with MockTCPServer(timeout=_LONG) as server:
                script(server)
                task = asyncio.ensure_future(waits(server))
                other = asyncio.ensure_future(asyncio.sleep(0.02))
                await asyncio.sleep(0)
        with self.assertRaisesRegex(ExpectationError, _NOTHING):
            await task
        await other

    async def test_client_that_does_not_connect_again(self) -> None:
        """One that has gone, and should come back."""
        with self.assertRaisesRegex(ExpectationError, r"the client did not connect again to .* nothing is left that"):
            async with MockTCPServer(timeout=_LONG) as server:
                for _ in range(2):
                    script(server)
                connect(server.address)

    async def test_client_that_is_still_connected(self) -> None:
        """It may be about to connect again, wherever it lives: it is waited for."""
        with socket.socket() as client, self.assertRaisesRegex(ExpectationError, r"did not connect again .* for 0\.0"):
            async with MockTCPServer(timeout=0.05, allow_open=True) as server:
                server.expect_connect()
                server.expect_connect()
                client.connect(server.address)

    @lasting
    async def test_waits_that_are_wanted(self) -> None:
        """An option, an own time-out of the step, an own port and a path say that the client may be anybody."""
        waited = r"no client connected to .* (for|within) 0\.0"
        await self.check_nothing(waited, outside_clients=True, timeout=0.05)
        for options in ({"timeout": 0.05}, {"within": 0.05}, {"after": 0.01, "within": 0.05}):
            with self.assertRaisesRegex(ExpectationError, waited):
                async with MockTCPServer() as server:
                    server.expect_connect(**options)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        await self.check_nothing(waited, port=port, timeout=0.05)
        await self.check_nothing(waited, host="0.0.0.0", allow_remote=True, timeout=0.05)
        if hasattr(socket, "AF_UNIX"):
            with socket_folder() as folder:
                await self.check_nothing(waited, unix_path=f"{folder}/s", timeout=0.05)

    async def test_two_servers(self) -> None:
        """Neither keeps the other waiting; a client of one may have forgotten the other."""
        with self.assertRaisesRegex(ExpectationError, _NOTHING):
            async with MockTCPServer(timeout=_LONG) as one, MockTCPServer(timeout=_LONG) as other:
                script(one)
                script(other)
                connect(one.address)


class ThreadedTests(unittest.TestCase):
    """Servers in threads, and code that blocks."""

    def test_late_clients(self) -> None:
        """A thread and a child process are waited for, also by two servers at once."""
        for begin in (by_thread, by_process):
            with self.subTest(begin=begin.__name__), ThreadedMockTCPServer(), ThreadedMockTCPServer() as server:
                script(server)
                self.addCleanup(begin(server.address))

    def test_nothing_is_left(self) -> None:
        """The test fails at once, although another server lives."""
        with self.assertRaisesRegex(ExpectationError, _NOTHING), ThreadedMockTCPServer(), \
                ThreadedMockTCPServer(timeout=_LONG) as server:
            script(server)

    def test_thread_that_leaves(self) -> None:
        """In another thread than the main one, the main one may be the client."""
        def body() -> None:
            with ThreadedMockTCPServer() as server:
                script(server)
                begun.append(server.address)
                ready.set()

        begun: list[Any] = []
        ready = threading.Event()
        thread = threading.Thread(target=body)
        thread.start()
        ready.wait(20)
        connect(begun[0])
        thread.join()


class ThreadedInLoopTests(unittest.TestCase):
    """Servers in threads that are left in an event loop, which goes on meanwhile: those of a mixin."""

    def run_test(self, begin: Callable[[Any], Any]) -> unittest.TestResult:
        """Run a test that begins something, and ends."""
        class Test(ThreadedMockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def test(self) -> None:
                server = self.start_tcpserver(timeout=20)
                script(server)
                begun = begin(server.address)
                ends.append(await begun if asyncio.iscoroutine(begun) else begun)

        ends: list[Callable[[], Any]] = []
        result = unittest.TestResult()
        Test("test").run(result)
        for end in ends:
            end()
        return result

    @lasting
    def test_late_clients(self) -> None:
        """What lives in the caller's loop may connect, too."""
        for begin in (by_thread, by_process, by_task, by_timer, by_callback, by_executor, by_reader):
            with self.subTest(begin=begin.__name__):
                result = self.run_test(begin)
                self.assertTrue(result.wasSuccessful(), result.failures + result.errors)

    def test_nothing_is_left(self) -> None:
        """The test fails at once, also after a task has ended that could have connected."""
        async def begins_a_task(_: Any) -> Callable[[], Any]:
            return asyncio.ensure_future(asyncio.sleep(0.02)).done

        async def uses_the_executor(_: Any) -> Callable[[], Any]:
            await asyncio.to_thread(int)
            return int

        for begin in (lambda _: int, begins_a_task, uses_the_executor):
            with self.subTest(begin=begin.__name__):
                (_, report), = self.run_test(begin).failures
                self.assertRegex(report, _NOTHING)


class MixinTests(unittest.TestCase):
    """The mixins leave their servers in clean-ups."""

    def outcome_of(self, case: Any) -> str:
        """Run a test, and return its one report."""
        result = unittest.TestResult()
        case.run(result)
        (_, report), = result.failures + result.errors
        return str(report)

    def test_nothing_is_left(self) -> None:
        """The test fails at once."""
        class InLoop(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def test(self) -> None:
                script(self.tcpserver)

        class Threaded(ThreadedMockTCPServerMixin, unittest.TestCase):
            def test(self) -> None:
                script(self.tcpserver)

        class Virtual(InLoop):
            virtual_time = True

        for case in (InLoop, Threaded, Virtual):
            with self.subTest(case=case.__name__):
                self.assertRegex(self.outcome_of(case("test")), _NOTHING)

    def test_client_in_a_clean_up(self) -> None:
        """What comes before the verdict may still connect."""
        class Late(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def test(self) -> None:
                script(self.tcpserver)
                self.addCleanup(connect, self.tcpserver.address)

        result = unittest.TestResult()
        Late("test").run(result)
        self.assertTrue(result.wasSuccessful(), result.failures + result.errors)


if __name__ == "__main__":
    unittest.main()
