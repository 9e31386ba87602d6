"""Clearing a server that outlives a test: what is judged, what stays, and what is begun anew."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import tempfile
import unittest
import unittest.mock
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, Network, ScriptError
from tcpclient_testing.tls import client_context


def exchange(server: MockTCPServer, **timing: Any) -> None:
    """PING, PONG, and the client closes; `timing` is that of the expectations."""
    server.expect_connect(**timing)
    server.expect_line(b"PING", **timing)
    server.send_line(b"PONG")
    server.expect_disconnect()


async def connect(server: MockTCPServer, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect a client."""
    if server.unix_path is not None:
        return await asyncio.open_unix_connection(server.unix_path, **options)
    return await asyncio.open_connection(*server.address, **options)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a client."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def client(server: MockTCPServer, **options: Any) -> AsyncIterator[
        tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect a client, and close it at the end."""
    reader, writer = await connect(server, **options)
    try:
        yield reader, writer
    finally:
        await close(writer)


async def ask(server: MockTCPServer, line: bytes = b"PING", **options: Any) -> bytes:
    """Let a client ask, and return the reply; b"" after a reset."""
    async with client(server, **options) as (reader, writer):
        writer.write(line + b"\r\n")
        with contextlib.suppress(ConnectionError):
            return await reader.readline()
    return b""


class ClearingTests(unittest.IsolatedAsyncioTestCase):
    """What is judged, and what comes afterwards."""

    async def test_sound_exchange(self) -> None:
        """It is judged, and the next one begins with an empty script, at the same address."""
        async with MockTCPServer() as server:
            address = server.address
            for _ in range(3):
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
                self.assertEqual([each.index for each in server.connections], [0])
                await server.clear()
                self.assertEqual((server.connections, list(server.transcript)), ([], []))
                self.assertEqual((server.address, server.closed), (address, False))

    async def test_unfinished_exchange(self) -> None:
        """The test that clears gets the failure; the next one is sound."""
        async with MockTCPServer() as server:
            exchange(server, timeout=0.05)
            async with client(server):
                with self.assertRaisesRegex(ExpectationError, "PING"):
                    await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_failed_exchange(self) -> None:
        """Its failure is raised, and nothing of it is left, although the server had stopped listening."""
        async with MockTCPServer() as server:
            address = server.address
            exchange(server)
            await ask(server, b"PUNG")
            with self.assertRaises(ConnectionRefusedError):
                await connect(server)
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear()
            self.assertEqual(server.address, address)
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_failure_that_is_not_caught(self) -> None:
        """It is the one report of the test."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'") as caught:
            async with MockTCPServer() as server:
                exchange(server)
                await ask(server, b"PUNG")
                await server.clear()
        self.assertIsNone(caught.exception.client_exception)

    async def test_failure_after_clearing(self) -> None:
        """It is raised where the server is left, and shows only what came after that."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'") as caught:
            async with MockTCPServer() as server:
                server.expect_connect()
                server.expect_line(b"EARLIER")
                server.expect_disconnect()
                await say(server, b"EARLIER\r\n")
                await server.clear()
                exchange(server)
                await ask(server, b"PUNG")
        self.assertNotIn("EARLIER", str(caught.exception))

    async def test_failure_after_clearing_interrupts_the_test(self) -> None:
        """The body of the test is that of the new script, too."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
            async with MockTCPServer() as server:
                await server.clear()
                exchange(server)
                await ask(server, b"PUNG")
                await asyncio.sleep(60)

    async def test_interrupted_test_that_clears(self) -> None:
        """A test that was interrupted, and clears in its clean-up, goes on after that."""
        async with MockTCPServer() as server:
            exchange(server)
            await ask(server, b"PUNG")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                    await server.clear()
            exchange(server)
            await asyncio.sleep(0.2)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_client_that_stays_connected(self) -> None:
        """Nobody may be left connected, as when the server is left."""
        async with MockTCPServer() as server:
            server.expect_connect()
            async with client(server) as (reader, _):
                with self.assertRaisesRegex(ExpectationError, "still connected"):
                    await server.clear()
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(await reader.read(), b"")

    async def test_client_that_stays_connected_and_may(self) -> None:
        """Its connection is closed, and nothing it sends reaches the next script."""
        async with MockTCPServer(allow_open=True) as server:
            server.expect_connect()
            async with client(server) as (reader, writer):
                await server.clear()
                writer.write(b"PUNG\r\n")
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(await reader.read(), b"")

    async def test_client_of_which_no_step_knows(self) -> None:
        """A connection that no step explains is judged, and not given to the next script."""
        async with MockTCPServer() as server:
            await say(server)
            with self.assertRaisesRegex(ExpectationError, "the script expects no connection"):
                await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_client_that_is_not_accepted_yet(self) -> None:
        """It belongs to the old script, whether that is judged or not."""
        for judge in (True, False):
            with self.subTest(judge=judge):
                async with MockTCPServer() as server:
                    with socket.create_connection(server.address):  # the loop does not turn meanwhile
                        if judge:
                            with self.assertRaisesRegex(ExpectationError, "the script expects no connection"):
                                await server.clear()
                        else:
                            await server.clear(judge=False)
                    exchange(server)
                    self.assertEqual(await ask(server), b"PONG\r\n")
                    self.assertEqual(len(server.connections), 1)

    async def test_client_that_is_being_accepted(self) -> None:
        """One that has no protocol yet when all is cleared is reset."""
        async with MockTCPServer() as server:
            with socket.create_connection(server.address) as late:
                late.setblocking(False)
                server._runtime.reception.accept()
                await server.clear(judge=False)
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
                with self.assertRaises(ConnectionResetError):
                    await asyncio.get_running_loop().sock_recv(late, 1)
            self.assertEqual(len(server.connections), 1)

    async def test_client_that_is_connecting(self) -> None:
        """One that connects from now on belongs to the new script, and is not refused."""
        async with MockTCPServer() as server:
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")
            clearing = asyncio.ensure_future(server.clear())
            clearing.add_done_callback(lambda _: exchange(server))
            await clearing
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_connections_that_were_refused(self) -> None:
        """The new script accepts them again."""
        async with MockTCPServer() as server:
            server.refuse_connections()
            with self.assertRaises(ConnectionRefusedError):
                await connect(server)
            await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_settings_of_the_script(self) -> None:
        """They end with it: connections to be reset, messages that are allowed, network conditions."""
        async with MockTCPServer(network=Network(chunk=2, seed=1)) as server:
            server.fail_connections(1)
            server.allow(b"NOOP\r\n")
            server.set_network(None)
            await server.clear(judge=False)
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")
            self.assertEqual(server.connections[0].splits[:1], (2,))
            await server.clear()
            exchange(server)
            await ask(server, b"NOOP")
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear()

    async def test_stream_that_was_dropped(self) -> None:
        """How the clients closed their streams is judged by each script for its own clients."""
        async with MockTCPServer() as server:
            exchange(server)
            reader, writer = await connect(server)
            writer.write(b"PING\r\n")
            await reader.readline()
            writer.close()
            with self.assertRaisesRegex(ExpectationError, "wait_closed"):
                await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_steps_and_connections_of_the_old_script(self) -> None:
        """They stay readable; writing or waiting there says that the script was cleared."""
        async with MockTCPServer() as server:
            connected = server.expect_connect()
            line = server.expect_line()
            server.expect_disconnect()
            await say(server, b"PING\r\n")
            connection = connected.connection
            await server.clear()
            self.assertEqual((line.result(), await line, connection.received), (b"PING", b"PING", b"PING\r\n"))
            for use in (connection.expect_eof, connection.disconnect):
                with self.assertRaisesRegex(ScriptError, "the server was cleared, and this belongs to the script bef"):
                    use()
            with self.assertRaisesRegex(ScriptError, "the server was cleared"):
                await connection.join()

    async def test_unsatisfied_steps(self) -> None:
        """Whoever waits for one, or for all, gets an error that says so."""
        async with MockTCPServer() as server:
            connected = server.expect_connect()
            waiting = [asyncio.ensure_future(each) for each in (connected, server.join(), server.join(final=True))]
            await asyncio.sleep(0)
            await server.clear(judge=False)
            for each in waiting:
                with self.assertRaisesRegex(ExpectationError, "the server was cleared before this step was satisfied"):
                    await each
            with self.assertRaisesRegex(ExpectationError, "the server was cleared before"):
                connected.result()

    async def test_final_join_that_is_under_way(self) -> None:
        """It gets an error if nobody has judged, and none if clearing has."""
        for judge in (True, False):
            with self.subTest(judge=judge):
                async with MockTCPServer() as server:
                    joining = asyncio.ensure_future(server.join(final=True))
                    await asyncio.sleep(0)
                    await server.clear(judge=judge)
                    if judge:
                        await joining
                    else:
                        with self.assertRaisesRegex(ExpectationError, "the server was cleared before all was judged"):
                            await joining

    async def test_exception_that_is_on_its_way(self) -> None:
        """It stands, nothing is waited for, and the server is cleared all the same."""
        async with MockTCPServer(timeout=None) as server:
            with self.assertRaisesRegex(LookupError, "the test's own"):
                try:
                    exchange(server)
                    raise LookupError("the test's own")
                finally:
                    await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_arguments(self) -> None:
        """They are those of `stop`."""
        async with MockTCPServer() as server:
            exchange(server)
            await server.clear(LookupError("on its way"))
            exchange(server)
            await server.clear(judge=False)
            exchange(server, timeout=0.01)
            with self.assertRaisesRegex(ExpectationError, "no client connected"):
                await server.clear(None)
            exchange(server)
            await ask(server, b"PUNG")
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear(judge=False)

    async def test_clearing_that_is_cancelled(self) -> None:
        """The server is cleared all the same."""
        async with MockTCPServer(timeout=None) as server:
            exchange(server)
            clearing = asyncio.ensure_future(server.clear())
            await asyncio.sleep(0)
            clearing.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await clearing
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")


async def say(server: MockTCPServer, data: bytes = b"") -> None:
    """Let a client come, say something, and go."""
    async with client(server) as (_, writer):
        writer.write(data)


class GarbageTests(unittest.IsolatedAsyncioTestCase):
    """What is left of scripts that were cleared."""

    async def test_old_scripts(self) -> None:
        """A server keeps none of them, however often it is cleared."""
        async with MockTCPServer() as server:
            old = []
            for _ in range(3):
                exchange(server)
                await ask(server)
                old.append(weakref.ref(server._runtime))
                await server.clear()
            gc.collect()
            self.assertEqual([each() for each in old], [None] * len(old))


class HandlerTests(unittest.IsolatedAsyncioTestCase):
    """Handlers and timers of the old script."""

    async def test_handler(self) -> None:
        """It serves the clients of each script, and its tasks end with the script."""
        ended: list[int] = []

        async def serve(connection: Any) -> None:
            try:
                async for line in connection.lines():
                    connection.send_line(line)
            finally:
                ended.append(connection.index)
        async with MockTCPServer(handler=serve, allow_open=True) as server:
            for _ in range(2):
                async with client(server) as (reader, writer):
                    writer.write(b"PING\r\n")
                    self.assertEqual(await reader.readline(), b"PING\r\n")
                    await server.clear()
                    self.assertEqual(ended.pop(), 0)

    async def test_handler_that_clears(self) -> None:
        """It is told that it can't: it would have to wait for its own end."""
        async def serve(connection: Any) -> None:
            await server.clear()
        async with MockTCPServer(handler=serve) as server:
            await say(server)
            with self.assertRaisesRegex(ExpectationError, r"clear\(\) was called by a handler of the server"):
                await server.clear()

    async def test_timers(self) -> None:
        """Heartbeats, delayed sends and time-outs of the old script don't fire."""
        async with MockTCPServer(allow_open=True) as server:
            server.expect_connect()
            server.every(0.01, b"beat\r\n")
            server.delay(0.01)
            server.send_line(b"late")
            server.expect_line(b"never", timeout=0.02)
            async with client(server):
                await server.clear(judge=False)
                exchange(server)
                async with client(server) as (reader, writer):
                    await asyncio.sleep(0.05)  # by then, what the old script has begun would have happened
                    writer.write(b"PING\r\n")
                    self.assertEqual(await reader.readline(), b"PONG\r\n")


class KindTests(unittest.IsolatedAsyncioTestCase):
    """Servers with TLS, at a path, and without a loop yet."""

    async def test_tls(self) -> None:
        """The certificate stays; a client that was in its handshake is reset."""
        async with MockTCPServer(tls=True) as server:
            options = {"ssl": client_context(), "server_hostname": "localhost"}
            exchange(server)
            self.assertEqual(await ask(server, **options), b"PONG\r\n")
            await server.clear()
            server.expect_connect()
            async with client(server):  # says nothing
                await asyncio.sleep(0.01)
                await server.clear(judge=False)
            exchange(server)
            self.assertEqual(await ask(server, **options), b"PONG\r\n")

    @unittest.skipUnless(hasattr(socket, "AF_UNIX"), "needs Unix-domain sockets")
    async def test_unix_path(self) -> None:
        """The path stays, even after a failure, and is removed at the end."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            async with MockTCPServer(unix_path=path) as server:
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
                await server.clear()
                exchange(server)
                await ask(server, b"PUNG")
                with self.assertRaises(ConnectionRefusedError):
                    await connect(server)
                with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                    await server.clear()
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
                server.refuse_connections()
                await server.clear()
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
            self.assertFalse(os.path.exists(path))


class MisuseTests(unittest.IsolatedAsyncioTestCase):
    """When a server can't be cleared."""

    async def test_twice(self) -> None:
        """A fresh server, and one that was just cleared, has nothing to judge."""
        async with MockTCPServer() as server:
            await server.clear()
            await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_twice_at_once(self) -> None:
        """Both wait for the script, which is cleared once, and what is written afterwards stays."""
        async with MockTCPServer() as server:
            exchange(server)
            clearing = asyncio.gather(server.clear(), server.clear(), return_exceptions=True)
            self.assertEqual(await ask(server), b"PONG\r\n")
            self.assertEqual(await clearing, [None, None])

    async def test_server_that_was_not_started(self) -> None:
        """It says so."""
        with self.assertRaisesRegex(ScriptError, "the server was not started"):
            await MockTCPServer().clear()

    async def test_server_that_was_stopped(self) -> None:
        """It is told as for a step."""
        for end in ("stop", "close"):
            server = await MockTCPServer().start()
            result = getattr(server, end)()
            if result is not None:
                await result
            with self.assertRaisesRegex(ScriptError, "this server was stopped"):
                await server.clear()

    async def test_server_that_is_stopped_meanwhile(self) -> None:
        """It stays stopped."""
        server = await MockTCPServer(timeout=None).start()
        exchange(server)
        clearing = asyncio.ensure_future(server.clear())
        await asyncio.sleep(0)
        server.close()
        with self.assertRaisesRegex(ExpectationError, "the server was left before this step was satisfied"):
            await clearing
        self.assertTrue(server.closed)

    async def test_another_loop(self) -> None:
        """A server lives in its own loop."""
        async with MockTCPServer() as server:
            def elsewhere() -> None:
                with self.assertRaisesRegex(ScriptError, "another event loop"):
                    asyncio.run(server.clear())
            await asyncio.get_running_loop().run_in_executor(None, elsewhere)

    async def test_port_that_was_lost(self) -> None:
        """If somebody else has the port by now, the verdict is raised, and the server is closed."""
        server = await MockTCPServer().start()
        exchange(server)

        def lose(listeners: list[socket.socket]) -> None:
            for listener in listeners:
                listener.close()
            raise OSError("taken")
        with unittest.mock.patch("tcpclient_testing.aio.accepting.refusing", lose):
            await ask(server, b"PUNG")
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
            await server.clear()
        self.assertTrue(server.closed)
        with self.assertRaisesRegex(ScriptError, "this server was stopped"):
            exchange(server)
