"""A forked child that leaves, stops, closes or collects its parent's server doesn't touch it, and gives no verdict."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import unittest
import warnings
from asyncio import streams
from collections.abc import Coroutine
from typing import Any, Callable

from tcpclient_testing import ExpectationError, MockTCPServer, ScriptError, ThreadedMockTCPServer
from tests.support.blocking import connect
from tests.support.collecting import collect
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.readme import ROOT


def status_of_child(action: Callable[[], None]) -> int:
    """Fork, call `action` in the child, and return its exit status: 0 if it raised nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and fork()
        child = os.fork()
    if not child:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that may not wait for anything: the loop is the parent's."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


@unittest.skipUnless(hasattr(os, "fork"), "needs fork")
class AsynchronousTests(unittest.IsolatedAsyncioTestCase):
    """The server runs in the parent's loop, whose epoll the child shares."""

    async def converse(self, action: Callable[[MockTCPServer], None], **options: Any) -> None:
        """Hold a conversation with one client before, and another one after a child has done something."""
        async with MockTCPServer(timeout=20, **options) as server:
            for _ in range(2):
                server.expect_connect()
                server.expect_line(b"before")
                server.send_line(b"1")
                server.expect_line(b"after")
                server.send_line(b"2")
                server.expect_disconnect()
            address = server.address
            dial: Any = asyncio.open_unix_connection if isinstance(address, str) else asyncio.open_connection
            arguments: Any = (address,) if isinstance(address, str) else address
            reader, writer = await dial(*arguments)
            writer.write(b"before\r\n")
            self.assertEqual(await reader.readline(), b"1\r\n")
            self.assertEqual(status_of_child(lambda: action(server)), 0)
            writer.write(b"after\r\n")
            self.assertEqual(await reader.readline(), b"2\r\n")
            writer.close()
            await writer.wait_closed()
            await asyncio.get_running_loop().run_in_executor(None, int)  # the loop can still be woken
            reader, writer = await dial(*arguments)
            writer.write(b"before\r\nafter\r\n")
            self.assertEqual(await reader.read(6), b"1\r\n2\r\n")
            writer.close()
            await writer.wait_closed()

    async def test_child_leaves_the_block(self) -> None:
        """With an exception, or without: the exception is the child's own, and there is no verdict."""
        def leave(server: MockTCPServer) -> None:
            for exc in (None, SystemExit(0), ValueError(), AssertionError()):
                drive(server.__aexit__(type(exc), exc, None) if exc else server.__aexit__(None, None, None))

        await self.converse(leave)

    async def test_child_stops_and_closes(self) -> None:
        """stop() and close() do nothing; whatever else needs the server says whose it is."""
        def stop(server: MockTCPServer) -> None:
            drive(server.stop())
            server.close()
            assert server.closed
            assert streams.StreamWriter.__module__ == "asyncio.streams"
            try:
                server.expect_connect()
            except ScriptError as error:
                assert "belongs to the parent process" in str(error)
            else:
                raise AssertionError

        await self.converse(stop)

    async def test_child_collects_the_server(self) -> None:
        """Nor does it matter when the child's copies are garbage."""
        def forget(server: MockTCPServer) -> None:
            server._judgement.let_go_in_child()  # a second time does nothing
            collect(cycles=True)

        await self.converse(forget)

    @unittest.skipUnless(hasattr(asyncio, "open_unix_connection"), "needs Unix-domain sockets")
    async def test_path_of_a_unix_socket_stays(self) -> None:
        """The child's copy of the listening socket doesn't take its path away."""
        with socket_folder() as folder:
            await self.converse(lambda server: server.close(), unix_path=os.path.join(folder, "s"))

    async def test_failure_is_the_parents(self) -> None:
        """A script that had failed gives its verdict in the parent alone."""
        with self.assertRaisesRegex(ExpectationError, "b'hello'"):
            async with MockTCPServer(cancel_body=False) as server:
                server.expect_connect()
                failing = server.expect_bytes(b"hello")
                _, writer = await asyncio.open_connection(*server.address)
                writer.write(b"howdy")
                with self.assertRaises(ExpectationError):
                    await failing
                writer.close()
                self.assertEqual(status_of_child(lambda: drive(server.stop())), 0)

    @lasting
    def test_child_closes_the_loop(self) -> None:
        """sys.exit() in the child lets asyncio.run() close the parent's loop there."""
        program = """
            import asyncio, os, sys
            from tcpclient_testing import MockTCPServer
            async def main():
                async with MockTCPServer(timeout=20) as server:
                    server.expect_connect()
                    server.expect_line(b"hello")
                    server.expect_disconnect()
                    reader, writer = await asyncio.open_connection(*server.address)
                    pid = os.fork()
                    if pid == 0:
                        sys.exit(0)
                    os.waitpid(pid, 0)
                    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, int), 20)
                    writer.write(b"hello\\r\\n")
                    writer.close()
                    await writer.wait_closed()
            asyncio.run(main())
            print("passed")
        """
        ended = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], cwd=ROOT, timeout=60,
                               check=False, capture_output=True)
        self.assertEqual((ended.stdout, ended.returncode), (b"passed\n", 0), ended.stderr.decode())


@unittest.skipUnless(hasattr(os, "fork"), "needs fork")
class ThreadedTests(unittest.TestCase):
    """The server runs in a thread, which the child doesn't have."""

    def converse(self, action: Callable[[ThreadedMockTCPServer], None]) -> None:
        """Hold a conversation with a client before and after a child has done something."""
        with ThreadedMockTCPServer(timeout=20) as server:
            server.expect_connect()
            server.expect_line(b"before")
            server.send_line(b"1")
            server.expect_line(b"after")
            server.send_line(b"2")
            server.expect_disconnect()
            with connect(server.address) as client:
                client.sendall(b"before\r\n")
                self.assertEqual(client.recv(3), b"1\r\n")
                self.assertEqual(status_of_child(lambda: action(server)), 0)
                client.sendall(b"after\r\n")
                self.assertEqual(client.recv(3), b"2\r\n")

    def test_child_leaves_the_block(self) -> None:
        """With an exception, or without: there is no verdict."""
        def leave(server: ThreadedMockTCPServer) -> None:
            for exc in (None, SystemExit(0), ValueError(), AssertionError()):
                server.__exit__(None if exc is None else type(exc), exc, None)

        self.converse(leave)

    def test_child_stops_and_closes(self) -> None:
        """stop() and close() do nothing."""
        def stop(server: ThreadedMockTCPServer) -> None:
            server.stop()
            server.close()
            assert streams.StreamWriter.__module__ == "asyncio.streams"

        self.converse(stop)

    @lasting
    def test_process_of_multiprocessing(self) -> None:
        """A process that is forked, and one that is not, may have servers of their own, and be clients."""
        # In a process of its own: the helper processes of multiprocessing live as long as this one.
        with socket_folder() as folder:  # the forkserver listens at a path below TMPDIR
            program = os.path.join(folder, "program.py")
            with open(program, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(_MULTIPROCESSING))
            ended = subprocess.run([sys.executable, "-W", "ignore", program], cwd=ROOT, timeout=60, check=False,
                                   capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder})
        self.assertEqual((ended.stdout, ended.returncode), (b"passed\n", 0), ended.stderr.decode())


_MULTIPROCESSING = """
    import multiprocessing, socket
    from tcpclient_testing import ThreadedMockTCPServer

    def say_hello(address):
        with ThreadedMockTCPServer() as own:
            own.expect_connect()
            own.expect_disconnect()
            socket.create_connection(own.address).close()
        with socket.create_connection(address) as client:
            client.sendall(b"hello\\r\\n")

    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            with ThreadedMockTCPServer(timeout=30) as server:
                server.expect_connect()
                server.expect_line(b"hello")
                server.expect_disconnect()
                process = multiprocessing.get_context(method).Process(target=say_hello, args=(server.address,))
                process.start()
                process.join(30)
                assert process.exitcode == 0
        print("passed")
"""
