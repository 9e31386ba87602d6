"""Tests of scripts that are written from other threads than the server's."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, ScriptError
from tcpclient_testing.server.threaded.runtime import ThreadedConnection
from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
from tests.support.blocking import Worker, connect, eventually
from tests.support.long import LONG


class ScriptTests(unittest.TestCase):
    """Writing scripts, in any thread."""

    def test_misuse_is_raised_where_it_is_written(self) -> None:
        """What can't be right is raised by the step's own call, as on the asynchronous server."""
        with ThreadedMockTCPServer() as server:
            with self.assertRaisesRegex(ScriptError, "before the first expect_connect"):
                server.expect_bytes(b"x")
            with self.assertRaises(TypeError):
                server.expect_bytes("x")  # type: ignore[arg-type]

    def test_line_of_a_step(self) -> None:
        """A step knows the line that wrote it, although another thread adds it."""
        with ThreadedMockTCPServer(allow_open=True) as server:
            step = server.expect_connect()
            line = sys._getframe().f_lineno - 1
            self.assertEqual([(each.path, each.line) for each in step.lines()], [(__file__, line)])
            connect(server.address).close()

    def test_connection_when_two_handles_are_used(self) -> None:
        """Two connections' scripts run side by side; each handle waits for its own."""
        with ThreadedMockTCPServer() as server:
            first, second = server.expect_connect().connection, server.expect_connect().connection
            for connection in (first, second):
                connection.expect_line()
                connection.expect_disconnect()
            with connect(server.address) as earlier:
                with connect(server.address) as client:
                    client.sendall(b"second\r\n")
                second.join()
                self.assertEqual(second.received, b"second\r\n")
                with self.assertRaisesRegex(TimeoutError, r"connection 1 is not complete after 0\.01 s"):
                    first.join(0.01)
                earlier.sendall(b"first\r\n")

    def test_script_when_it_is_written_in_the_servers_thread(self) -> None:
        """A callable that a script is given may write further steps; there, nothing waits."""
        seen: list[Any] = []

        def reply(line: bytes) -> bytes:
            step = server.expect_disconnect()
            for wait in (step.result, lambda: server._thread.answer(server._thread.submit(server._server.join()))):
                try:
                    wait()
                except Exception as error:
                    seen.append(error)
            return line.upper()

        with ThreadedMockTCPServer() as server:
            server.expect_connect()
            server.expect_line()
            server.send_bytes(reply)
            with connect(server.address) as client:
                client.sendall(b"abc\r\n")
                self.assertEqual(client.recv(3), b"ABC")
        self.assertEqual([type(error) for error in seen], [asyncio.InvalidStateError, ScriptError])

    def test_script_when_many_threads_write(self) -> None:
        """Eight threads, each with a connection of its own, write and run eight scripts at once."""
        rounds = 200 if LONG else 20
        with ThreadedMockTCPServer() as server:
            handles = [server.expect_connect().connection for _ in range(8)]
            clients = []
            for handle in handles:
                clients.append(connect(server.address))
                self.assertTrue(eventually(lambda handle=handle: handle.peername is not None))  # type: ignore[misc]

            def converse(handle: ThreadedConnection, client: socket.socket) -> list[bytes]:
                with client:
                    lines = []
                    for number in range(rounds):
                        line = handle.expect_line()
                        handle.send_line(b"reply %d" % number)
                        client.sendall(b"request %d\r\n" % number)
                        lines.append(line.result())
                        answer = client.recv(100)  # not in `assert`, which python -O leaves out
                        if answer != b"reply %d\r\n" % number:
                            raise AssertionError(answer)
                    handle.expect_disconnect()
                    return lines

            workers = [Worker(converse, handle, client) for handle, client in zip(handles, clients)]
            for worker in workers:
                self.assertTrue(worker.ended())
                self.assertIsNone(worker.error)
                self.assertEqual(worker.value, [b"request %d" % number for number in range(rounds)])


class BesideTests(unittest.TestCase):
    """What stands beside a script, on a server in a thread."""

    def test_handler(self) -> None:
        """A handler serves the connections that no step expects, in the server's thread."""
        seen: list[Any] = []

        async def handler(connection: Any) -> None:
            seen.append((type(connection), threading.current_thread().name))
            async for line in connection.lines():
                await connection.send_line(line.upper())

        with ThreadedMockTCPServer(handler=handler) as server:
            for _ in range(2):
                with connect(server.address) as client:
                    client.sendall(b"hello\r\n")
                    self.assertEqual(client.recv(7), b"HELLO\r\n")
        self.assertEqual(seen, [(ThreadedConnection, "tcpclient_testing server")] * 2)

    def test_allow_and_any_order(self) -> None:
        """Heartbeats are allowed, and messages may come in any order."""
        with ThreadedMockTCPServer() as server:
            connection = server.expect_connect().connection
            connection.allow(b"PING\r\n", reply=b"PONG\r\n")
            with connection.any_order():
                connection.expect_line(b"one")
                connection.expect_line(b"two")
            connection.expect_disconnect()
            with connect(server.address) as client:
                client.sendall(b"two\r\nPING\r\none\r\n")
                self.assertEqual(client.recv(6), b"PONG\r\n")

    def test_client_that_waits_within_any_order(self) -> None:
        """It is freed when the time-out is over, whichever block it is; the report has what it raised then."""
        for of_connection in (False, True):
            with self.subTest(of_connection=of_connection):
                with self.assertRaises(ExpectationError) as caught, ThreadedMockTCPServer(timeout=0.05) as server:
                    scripted: Any = server.expect_connect().connection if of_connection else server
                    with scripted.any_order():
                        if not of_connection:
                            server.expect_connect()
                        scripted.expect_line(b"a")
                        scripted.send_line(b"A")
                        with connect(server.address) as client:
                            client.sendall(b"a\r\n")
                            client.recv(1)
                self.assertIn("no step of any_order() counts before its `with` block has ended", str(caught.exception))
                self.assertIn("run the client after it", str(caught.exception))
                self.assertIsInstance(caught.exception.client_exception, ConnectionResetError)


class HoldingTests(unittest.TestCase):
    """hold_until with what other threads and servers do."""

    def test_hold_until_when_another_thread_sets_the_event(self) -> None:
        """An event of threading holds the server until the test sets it."""
        release = threading.Event()
        with ThreadedMockTCPServer() as server:
            server.expect_connect()
            server.hold_until(release)
            server.send_bytes(b"x")
            server.expect_disconnect()
            with connect(server.address) as client:
                answer = Worker(client.recv, 1)
                release.set()
                self.assertTrue(answer.ended())
            self.assertEqual(answer.value, b"x")

    def test_hold_until_when_the_step_is_another_servers(self) -> None:
        """A step of another server, with another thread, holds as well."""
        with ThreadedMockTCPServer() as control, ThreadedMockTCPServer() as data:
            control.expect_connect()
            data.expect_connect()
            control.hold_until(data.expect_bytes(b"data"))
            control.send_bytes(b"226")
            control.expect_disconnect()
            data.expect_disconnect()
            with connect(control.address) as first:
                with connect(data.address) as second:
                    second.sendall(b"data")
                self.assertEqual(first.recv(3), b"226")
