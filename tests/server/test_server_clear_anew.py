"""What is left of a script that was cleared: nothing reaches the next one, and its results can be read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import unittest
import weakref
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, Network, ScriptError
from tcpclient_testing.tls import client_context
from tests.support.clearing import ask, client, connect, exchange, say
from tests.support.collecting import collect
from tests.support.folders import socket_folder

#: What is wrong with a client that connects where no connection is expected.
_UNKNOWN = r"^unexpected connection 1: the script has no expect_connect\(\)\n"


class OldClientTests(unittest.IsolatedAsyncioTestCase):
    """Clients, settings and steps of the old script."""

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
            with self.assertRaisesRegex(ExpectationError, _UNKNOWN):
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
                            with self.assertRaisesRegex(ExpectationError, _UNKNOWN):
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
            collect(cycles=True)
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
        with socket_folder() as folder:
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
