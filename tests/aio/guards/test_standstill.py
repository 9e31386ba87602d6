"""Who waits for the server: chains of tasks that end at a read, threads that block in one, clients that half-closed."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import unittest
from collections.abc import Coroutine
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.aio.guards.standstill import awaits
from tcpclient_testing.aio.sockets import inet_diag
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.loops import AsyncTestCase, TimelessTestCase, timeless
from tests.support.platforms import needs_clients, needs_threads

_TIMEOUT = 0.08  # seconds, of real time for blocking clients


class ChainTests(AsyncTestCase):
    async def chain(self, wait: Callable[[asyncio.Future[None]], Coroutine[Any, Any, Any]]) -> bool:
        """Whether a task that waits in this way is seen to await the future."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(wait(future))
        for _ in range(10):
            await asyncio.sleep(0)
        try:
            return awaits(task, future)
        finally:
            task.cancel()
            future.cancel()
            await asyncio.wait([task])

    async def test_wait_that_can_end_only_with_the_future(self) -> None:
        """Directly, in tasks, gather(), wait_for(), wait(), shield(), and all of these at once."""
        async def directly(future: Any) -> None:
            await future

        async def in_a_task(future: Any) -> None:
            await asyncio.create_task(directly(future))

        async def gathered(future: Any) -> None:
            await asyncio.gather(directly(future), asyncio.sleep(0))

        async def with_a_limit(future: Any) -> None:
            await asyncio.wait_for(in_a_task(future), 60)

        async def for_all(future: Any) -> None:
            await asyncio.wait([asyncio.ensure_future(directly(future))])

        async def shielded(future: Any) -> None:
            await asyncio.shield(directly(future))

        async def in_a_group(future: Any) -> None:
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]
                group.create_task(in_a_task(future))

        async def all_at_once(future: Any) -> None:
            await asyncio.gather(with_a_limit(future), shielded(future), for_all(future))
        waits = [directly, in_a_task, gathered, with_a_limit, for_all, shielded, all_at_once]
        for wait in waits + ([in_a_group] if hasattr(asyncio, "TaskGroup") else []):
            with self.subTest(wait.__name__):
                self.assertTrue(await self.chain(wait))

    async def test_wait_that_can_end_without_the_future(self) -> None:
        """A task in the background, the first of several, a sleep: the body goes on by itself."""
        tasks: list[asyncio.Task[None]] = []

        async def directly(future: Any) -> None:
            await future

        async def beside(future: Any) -> None:
            tasks.append(asyncio.ensure_future(directly(future)))
            await asyncio.sleep(60)

        async def the_first(future: Any) -> None:
            tasks.append(asyncio.ensure_future(directly(future)))
            tasks.append(asyncio.ensure_future(asyncio.sleep(60)))
            await asyncio.wait(tasks[-2:], return_when=asyncio.FIRST_COMPLETED)
        for wait in (beside, the_first):
            with self.subTest(wait.__name__):
                self.assertFalse(await self.chain(wait))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@timeless
class StreamTests(TimelessTestCase):
    async def outcome(self, body: Callable[[Any, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, Any]],
                      **options: Any) -> str:
        """The first line of the verdict on a client that has done its part; "" if there is none."""
        writers = []
        try:
            async with MockTCPServer(**{"timeout": 4.0, **options}) as server:
                server.expect_connect()
                server.send_line(b"hello")
                reader, writer = await asyncio.open_connection(*server.address)
                writers.append(writer)
                await reader.readline()
                await body(server, reader, writer)
                writer.close()
                await writer.wait_closed()
        except ExpectationError as error:
            return str(error).split("\n")[0]
        finally:
            for writer in writers:
                writer.close()
        return ""

    async def test_another_server_that_is_busy(self) -> None:
        """A step of it is due: that may bring about something, so that nothing is at a standstill."""
        async def body(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with MockTCPServer() as other:
                held = asyncio.Event()
                other.expect_connect()
                other.hold_until(held)
                _, second = await asyncio.open_connection(*other.address)
                asyncio.get_running_loop().call_later(9.0, held.set)
                asyncio.get_running_loop().call_later(10.0, server.send_line, b"at last")
                await reader.readline()
                second.close()
                await second.wait_closed()
        self.assertEqual(await self.outcome(body), "")

    async def test_client_in_a_task_of_its_own(self) -> None:
        """The body awaits it, or not."""
        async def awaited(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.wait_for(asyncio.ensure_future(reader.readline()), 60)

        async def alone(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(reader.readline())
            await asyncio.sleep(20)
            task.cancel()
        self.assertIn("the test waits for data from the server", await self.outcome(awaited))
        self.assertEqual(await self.outcome(alone), "")

    async def test_client_that_half_closes(self) -> None:
        """It waits for our end; or nothing reads, or the body sleeps: then it goes on by itself."""
        async def waits(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write_eof()
            await reader.read()

        async def does_not_read(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write_eof()
            done = asyncio.Event()
            asyncio.get_running_loop().call_later(20, done.set)
            await done.wait()

        async def sleeps(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write_eof()
            task = asyncio.ensure_future(reader.read())
            await asyncio.sleep(20)
            task.cancel()

        async def closes(server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            await asyncio.Event().wait() if server is None else await asyncio.sleep(20)
        self.assertIn("has half-closed and waits for the server's end", await self.outcome(waits))
        for body in (does_not_read, sleeps, closes):
            with self.subTest(body.__name__):
                self.assertEqual(await self.outcome(body), "")


class UnseenTests(unittest.TestCase):
    """Where the system doesn't say what has become of a client."""

    def test_client_that_half_closes(self) -> None:
        """It may wait for our end, or have closed: that is no failure, and it gets the end after the idle time-out."""
        with mock.patch.object(inet_diag, "_available", False), \
                ThreadedMockTCPServer(timeout=_TIMEOUT, idle_timeout=2 * _TIMEOUT) as server:
            server.expect_connect(timeout=20)
            server.expect_line(b"PING", timeout=20)
            server.send_line(b"PONG")
            with socket.create_connection(server.address, timeout=20) as client:
                client.sendall(b"PING\r\n")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(client.recv(6), b"PONG\r\n")
                self.assertEqual(client.recv(1), b"")


@needs_threads
@needs_clients
class BlockingTests(unittest.TestCase):
    def outcome(self, body: Callable[[socket.socket], Any], *, limit: Any = None, unix: bool = False,
                half: bool = False) -> str:
        """The first line of the verdict on a client that has done its part, or the class of what it raised; or ""."""
        with socket_folder() as folder, \
                socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as client:
            place = {"unix_path": f"{folder}/s"} if unix else {}
            client.settimeout(limit)
            try:
                with ThreadedMockTCPServer(timeout=_TIMEOUT, idle_timeout=60, **place) as server:
                    server.expect_connect(timeout=20)
                    server.send_bytes(b"hello")
                    client.connect(server.unix_path if unix else server.address)
                    self.assertEqual(client.recv(100), b"hello")
                    if half:
                        client.shutdown(socket.SHUT_WR)
                    body(client)
                    client.close()
            except ExpectationError as error:
                return str(error).split("\n")[0]
        return ""

    @lasting
    def test_thread_of_the_test_that_reads(self) -> None:
        """With and without a time-out of the socket's own, over TCP and over a Unix-domain socket."""
        for limit in (None, 20):
            for unix in (False, True):
                with self.subTest(limit=limit, unix=unix):
                    self.assertIn("the test waits for data from the server",
                                  self.outcome(lambda client: client.recv(1), limit=limit, unix=unix))

    @lasting
    def test_thread_of_the_test_that_does_something_else(self) -> None:
        """It sleeps, waits for another socket, or for an event, while another thread reads or none does."""
        def reads_beside(client: socket.socket) -> None:
            thread = threading.Thread(target=client.recv, args=(1,))
            thread.start()
            threading.Event().wait(3 * _TIMEOUT)
            client.shutdown(socket.SHUT_RDWR)
            thread.join()

        def reads_another(client: socket.socket) -> None:
            one, other = socket.socketpair()
            with one, other:
                threading.Timer(3 * _TIMEOUT, one.send, (b"x",)).start()
                other.recv(1)
        def polls(client: socket.socket) -> None:
            client.settimeout(0.3 * _TIMEOUT)
            for _ in range(10):
                try:
                    client.recv(1)
                except socket.timeout:
                    pass
        for body in (polls, reads_beside, reads_another, lambda client: time.sleep(3 * _TIMEOUT)):
            self.assertEqual(self.outcome(body), "")

    @lasting
    def test_client_that_half_closes(self) -> None:
        """It waits for our end, in this thread or in another; or the test sleeps, and goes on by itself."""
        def joins(client: socket.socket) -> None:
            def read() -> None:
                try:
                    client.recv(1)
                except ConnectionError:
                    pass
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
        for unix in (False, True):
            for body in (lambda client: client.recv(1), joins):
                with self.subTest(unix=unix, body=body.__name__):
                    self.assertIn("has half-closed and waits", self.outcome(body, unix=unix, half=True))
            self.assertEqual(self.outcome(lambda client: time.sleep(3 * _TIMEOUT), unix=unix, half=True), "")

    @lasting
    def test_client_that_has_closed(self) -> None:
        """It is never touched, whatever the test waits for."""
        def closes(client: socket.socket) -> None:
            client.close()
            threading.Event().wait(3 * _TIMEOUT)
        for unix in (False, True):
            self.assertEqual(self.outcome(closes, unix=unix), "")


if __name__ == "__main__":
    unittest.main()
