"""Clearing a server in a thread: it blocks, or is awaited, and the clients of the old script reach no new one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import unittest
from typing import Any, Optional

from tcpclient_testing import ExpectationError, ScriptError, ThreadedMockTCPServer
from tcpclient_testing.tls import client_context
from tests.support.collecting import collect
from tests.support.long import lasting


def exchange(server: ThreadedMockTCPServer, **timing: Any) -> None:
    """PING, PONG, and the client closes; `timing` is that of the expectations."""
    server.expect_connect(**timing)
    server.expect_line(b"PING", **timing)
    server.send_line(b"PONG")
    server.expect_disconnect()


def connect(server: ThreadedMockTCPServer) -> socket.socket:
    """Connect a client."""
    return socket.create_connection(server.address, 20)


def ask(server: ThreadedMockTCPServer, line: bytes = b"PING", *, tls: Any = None) -> Optional[bytes]:
    """Let a client ask; return the reply, None after a reset."""
    with connect(server) as raw, raw if tls is None else tls.wrap_socket(raw, server_hostname="localhost") as sock, \
            contextlib.suppress(ConnectionError):
        sock.sendall(line + b"\r\n")
        reply: bytes = sock.recv(100)
        return reply
    return None


class ClearingTests(unittest.TestCase):
    """What is judged, and what comes afterwards."""

    def test_sound_exchange(self) -> None:
        """It is judged; address, thread and loop stay."""
        with ThreadedMockTCPServer() as server:
            stays = server.address, server.loop, server._thread
            for _ in range(3):
                exchange(server)
                self.assertEqual(ask(server), b"PONG\r\n")
                self.assertEqual([each.index for each in server.connections], [0])
                server.clear()
                self.assertEqual((server.connections, list(server.transcript)), ([], []))
                self.assertEqual((server.address, server.loop, server._thread), stays)

    def test_failed_exchange(self) -> None:
        """Its failure is raised by the test that clears, and the next exchange is sound."""
        with ThreadedMockTCPServer() as server:
            address = server.address
            exchange(server)
            self.assertIsNone(ask(server, b"PUNG"))
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                server.clear()
            self.assertEqual(server.address, address)
            exchange(server)
            self.assertEqual(ask(server), b"PONG\r\n")

    def test_unfinished_exchange(self) -> None:
        """It is waited for, then its failure is raised."""
        with ThreadedMockTCPServer() as server:
            exchange(server, timeout=0.05)
            with self.assertRaisesRegex(ExpectationError, "no client connected"):
                server.clear()
            exchange(server)
            self.assertEqual(ask(server), b"PONG\r\n")

    def test_failure_after_clearing(self) -> None:
        """It is raised where the server is left."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'"), ThreadedMockTCPServer() as server:
            exchange(server)
            ask(server)
            server.clear()
            exchange(server)
            ask(server, b"PUNG")

    def test_old_client(self) -> None:
        """What it sends, and that it closes, reaches no new script; it finds its connection closed."""
        with ThreadedMockTCPServer() as server:
            for judge in (True, False):
                with self.subTest(judge=judge), connect(server) as old:
                    server.expect_connect()
                    if judge:
                        with self.assertRaisesRegex(ExpectationError, "still connected"):
                            server.clear()
                    else:
                        server.clear(judge=False)
                    exchange(server)
                    with contextlib.suppress(ConnectionError):
                        old.sendall(b"PUNG\r\n")
                        self.assertEqual(old.recv(1), b"")
                    self.assertEqual(ask(server), b"PONG\r\n")
                    server.join(final=True)
                    self.assertEqual(len(server.connections), 1)
                    server.clear()

    def test_clients_that_connect_meanwhile(self) -> None:
        """None of them is refused."""
        refused: list[OSError] = []
        over = threading.Event()

        def keep_connecting() -> None:
            while not over.is_set():
                try:
                    with connect(server) as client:
                        client.recv(1)  # until it is cleared
                except ConnectionRefusedError as error:
                    refused.append(error)
                except OSError:
                    pass  # it was reset
        with ThreadedMockTCPServer(allow_extra=True, allow_open=True) as server:
            thread = threading.Thread(target=keep_connecting)
            thread.start()
            for _ in range(30):
                server.clear()
            over.set()
            while thread.is_alive():
                server.clear()
                thread.join(0.01)
        self.assertEqual(refused, [])

    def test_threads_that_wait(self) -> None:
        """Whoever waits for a step of the old script gets an error that says so."""
        errors: list[BaseException] = []

        def wait_for(call: Any) -> None:
            waiting.release()
            try:
                call()
            except BaseException as error:
                errors.append(error)
        with ThreadedMockTCPServer() as server:
            waiting = threading.Semaphore(0)
            connected = server.expect_connect()
            calls = (connected.result, server.join, connected.connection.join)
            threads = [threading.Thread(target=wait_for, args=(call,)) for call in calls]
            for thread in threads:
                thread.start()
                waiting.acquire()
            futures = server._runtime.host.waiters._futures
            while server._thread.call(lambda: sum(len(each) for each in futures.values())) < len(calls):
                pass
            server.clear(judge=False)
            for thread in threads:
                thread.join(20)
            self.assertEqual(len(errors), 3)
            for error in errors:
                self.assertIn("the server was cleared before this step was satisfied", str(error))
            self.assertIn("the server was cleared", str(connected.exception()))

    def test_steps_of_the_old_script(self) -> None:
        """They stay readable, and nothing is added to their connections."""
        with ThreadedMockTCPServer() as server:
            connected = server.expect_connect()
            line = server.expect_line()
            server.send_line(b"PONG")
            server.expect_disconnect()
            ask(server)
            server.clear()
            self.assertEqual((line.result(), connected.connection.received), (b"PING", b"PING\r\n"))
            for use in (connected.connection.expect_eof, connected.connection.join):
                with self.assertRaisesRegex(ScriptError, "the server was cleared, and this belongs to the script bef"):
                    use()

    def test_handler(self) -> None:
        """It serves the clients of each script."""
        async def serve(connection: Any) -> None:
            async for line in connection.lines():
                connection.send_line(line)
        with ThreadedMockTCPServer(handler=serve) as server:
            for _ in range(2):
                self.assertEqual(ask(server), b"PING\r\n")
                server.clear()

    def test_handler_that_clears(self) -> None:
        """It is told that it can't."""
        async def serve(_: Any) -> None:
            await server.clear()
        with ThreadedMockTCPServer(handler=serve) as server:
            with contextlib.suppress(ConnectionError):  # it may be reset at once
                connect(server).close()
            with self.assertRaisesRegex(ExpectationError, r"clear\(\) was called by a handler of the server"):
                server.clear()

    def test_tls(self) -> None:
        """The certificate stays."""
        with ThreadedMockTCPServer(tls=True) as server:
            for _ in range(2):
                exchange(server)
                self.assertEqual(ask(server, tls=client_context()), b"PONG\r\n")
                server.clear()

    def test_exception_that_is_on_its_way(self) -> None:
        """It stands, and nothing is waited for."""
        with ThreadedMockTCPServer(timeout=None) as server:
            with self.assertRaisesRegex(LookupError, "the test's own"):
                try:
                    exchange(server)
                    raise LookupError("the test's own")
                finally:
                    server.clear()
            exchange(server)
            self.assertEqual(ask(server), b"PONG\r\n")

    def test_server_that_does_not_run(self) -> None:
        """It says so."""
        server = ThreadedMockTCPServer()
        with self.assertRaisesRegex(ScriptError, "the server was not started"):
            server.clear()
        for end in ("stop", "close"):
            server = ThreadedMockTCPServer().start()
            getattr(server, end)()
            with self.assertRaisesRegex(ScriptError, "this server was stopped"):
                server.clear()


class InLoopTests(unittest.IsolatedAsyncioTestCase):
    """In an asynchronous test."""

    async def test_awaiting(self) -> None:
        """The test's loop goes on, in which the client has something to do."""
        async with ThreadedMockTCPServer() as server:
            exchange(server)
            reader, writer = await asyncio.open_connection(*server.address)

            async def finish() -> None:
                writer.write(b"PING\r\n")
                await reader.readline()
                writer.close()
                await writer.wait_closed()
            client = asyncio.ensure_future(finish())
            await server.clear()
            await client
            exchange(server)
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"PUNG\r\n")
            with contextlib.suppress(ConnectionError):
                self.assertEqual(await reader.read(), b"")
            writer.close()
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear()

    @lasting
    async def test_failure_after_clearing_interrupts_the_test(self) -> None:
        """The body of the test is that of the new script, too."""
        with self.assertRaisesRegex(ExpectationError, "no client connected"):
            async with ThreadedMockTCPServer() as server:
                await server.clear()
                exchange(server, timeout=0.05)
                await asyncio.sleep(60)

    async def test_await_that_was_forgotten(self) -> None:
        """Python warns, and the script is still there."""
        async with ThreadedMockTCPServer() as server:
            exchange(server)
            with self.assertWarnsRegex(RuntimeWarning, "never awaited"):
                server.clear()
                collect(cycles=True)
            self.assertEqual(await asyncio.get_running_loop().run_in_executor(None, ask, server), b"PONG\r\n")

    async def test_tasks_that_wait(self) -> None:
        """Whoever awaits a step of the old script gets an error that says so."""
        async with ThreadedMockTCPServer() as server:
            connected = server.expect_connect()

            async def wait() -> None:
                await connected
            waiting = [asyncio.ensure_future(each) for each in (wait(), server.join())]
            await asyncio.sleep(0)
            await server.clear(judge=False)
            for each in waiting:
                with self.assertRaisesRegex(ExpectationError, "the server was cleared before this step was satisfied"):
                    await each
