"""Servers in memory: what works as with sockets, and what is refused by name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import unittest
from typing import Any

from tcpclient_testing import (
    ExpectationError,
    MockTCPServer,
    MockTCPServerMixin,
    Network,
    ScriptError,
    ThreadedMockTCPServer,
)
from tcpclient_testing.tls import client_context
from tests.support.loops import on_uvloop
from tests.support.outcomes import outcome_of
from tests.support.streams import close, connect

REACHED = r"the server was made with in_memory=True: only clients in its own event loop get to it"


async def ask(server: MockTCPServer, **options: Any) -> bytes:
    """Send a line, return the answer, and close."""
    reader, writer = await asyncio.open_connection(*server.address, **options)
    try:
        writer.write(b"PING\r\n")
        return await reader.readline()
    finally:
        await close(writer)


def exchange(server: Any) -> None:
    """Write a script for that."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_disconnect()


class ServerTests(unittest.IsolatedAsyncioTestCase):
    """What a server does."""

    async def test_request_and_reply(self) -> None:
        """The address, the peer and the socket are those of a connection."""
        async with MockTCPServer(in_memory=True) as server:
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")
            self.assertEqual((server.host, server.address), ("127.0.0.1", ("127.0.0.1", server.port)))

    async def test_tls(self) -> None:
        """From the beginning, and as an upgrade in mid-conversation."""
        async with MockTCPServer(in_memory=True, tls=True) as server:
            exchange(server)
            self.assertEqual(await ask(server, ssl=client_context(), server_hostname="localhost"), b"PONG\r\n")
        async with MockTCPServer(in_memory=True) as server:
            server.expect_connect()
            server.expect_line(b"STARTTLS")
            server.send_line(b"GO")
            server.start_tls(True)
            server.expect_line(b"PING")
            server.expect_disconnect()
            reader, writer = await connect(server)
            writer.write(b"STARTTLS\r\n")
            await reader.readline()
            loop = asyncio.get_running_loop()
            raw: Any = writer.transport
            transport: Any = await loop.start_tls(raw, asyncio.Protocol(), client_context(),
                                                  server_hostname="localhost")
            transport.write(b"PING\r\n")
            transport.close()
            await server.join()

    async def test_handshakes_that_are_cancelled(self) -> None:
        """Wherever that is, the client's transport is closed."""
        loop: Any = asyncio.get_running_loop()
        made: list[Any] = []

        class Client(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                made.append(self)

            def connection_lost(self, exc: Any) -> None:
                made.remove(self)
        async with MockTCPServer(in_memory=True, tls=True, allow_extra=True, allow_open=True) as server:
            for turns in range(1, 12):
                connecting = asyncio.ensure_future(loop.create_connection(
                    Client, *server.address, ssl=client_context(), server_hostname="localhost"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                connecting.cancel()
                try:
                    transport, _ = await connecting
                    transport.abort()
                except asyncio.CancelledError:
                    pass
        for _ in range(100):
            await asyncio.sleep(0)
        self.assertEqual(made, [])

    async def test_conditions(self) -> None:
        """A reply that comes byte by byte does so."""
        async with MockTCPServer(in_memory=True, network=Network(chunk=1)) as server:
            exchange(server)
            reader, writer = await connect(server)
            writer.write(b"PING\r\n")
            self.assertEqual([await reader.read(100) for _ in range(6)], [b"P", b"O", b"N", b"G", b"\r", b"\n"])
            await close(writer)
        self.assertEqual(server.connections[0].splits, (1, 2, 3, 4, 5))

    async def test_faults(self) -> None:
        """A reply that breaks off, connections that fail or are refused."""
        async with MockTCPServer(in_memory=True) as server:
            server.fail_connections(1)
            connected = server.expect_connect()
            server.expect_line(b"PING")
            server.reset_after(2)
            server.send_line(b"PONG")
            reader, failed = await connect(server)
            with self.assertRaises(ConnectionResetError):
                await reader.read()
            failed.close()
            reader, writer = await connect(server)
            await connected
            writer.write(b"PING\r\n")
            with self.assertRaises(ConnectionResetError):
                while await reader.read():
                    pass
            writer.close()
        async with MockTCPServer(in_memory=True) as server:
            server.refuse_connections()
            with self.assertRaises(ConnectionRefusedError):
                await connect(server)
            server.accept_connections()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_clearing(self) -> None:
        """The next script has the same address; a client of the one before is reset."""
        async with MockTCPServer(in_memory=True, allow_open=True) as server:
            address = server.address
            server.expect_connect()
            reader, writer = await connect(server)
            await server.clear()
            with contextlib.suppress(ConnectionError):
                self.assertEqual(await reader.read(), b"")
            writer.close()
            exchange(server)
            self.assertEqual((await ask(server), server.address), (b"PONG\r\n", address))

    async def test_failure(self) -> None:
        """It reads as with sockets, and clients that come later are refused."""
        with self.assertRaisesRegex(ExpectationError, r"^expected b'PING', got b'PUNG' at byte 1 \(connection 1, "):
            async with MockTCPServer(in_memory=True) as server:
                exchange(server)
                reader, writer = await connect(server)
                writer.write(b"PUNG\r\n")
                with self.assertRaises(ConnectionResetError):
                    await reader.read()
                writer.close()
                with self.assertRaises(ConnectionRefusedError):
                    await connect(server)
                await server.join()

    async def test_client_without_streams(self) -> None:
        """A protocol of the client's own."""
        class Client(asyncio.Protocol):
            def __init__(self) -> None:
                self.got = b""
                self.lost = asyncio.get_running_loop().create_future()

            def data_received(self, data: bytes) -> None:
                self.got += data

            def connection_lost(self, exc: Any) -> None:
                self.lost.set_result(exc)
        async with MockTCPServer(in_memory=True) as server:
            server.expect_connect()
            server.expect_line(b"PING")
            server.send_line(b"PONG")
            server.disconnect()
            server.expect_disconnect()
            transport, client = await asyncio.get_running_loop().create_connection(Client, *server.address)
            transport.write(b"PING\r\n")
            self.assertIsNone(await client.lost)
            self.assertEqual(client.got, b"PONG\r\n")

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    async def test_forked_child(self) -> None:
        """It leaves the parent's server alone."""
        async with MockTCPServer(in_memory=True) as server:
            exchange(server)
            child = os.fork()
            if not child:
                try:
                    server.close()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            self.assertEqual(await ask(server), b"PONG\r\n")


@unittest.skipIf(on_uvloop, "uvloop can't have a server in memory")
class MixinTests(unittest.TestCase):
    """By the options of the mixin."""

    def test_options(self) -> None:
        """One switch; what is wrong is reported as ever."""
        async def test(case: Any) -> None:
            exchange(case.tcpserver)
            await ask(case.tcpserver)

        async def wrong(case: Any) -> None:
            case.tcpserver.expect_connect()
            case.tcpserver.expect_line(b"PONG")
            await ask(case.tcpserver)
        options = {"in_memory": True}
        self.assertEqual(outcome_of(test=test, tcpserver_options=options).kinds, [])
        self.assertIn("expected b'PONG', got b'PING'", outcome_of(test=wrong, tcpserver_options=options).text)

    def test_client_that_blocks(self) -> None:
        """It is refused by the operating system, and the report says why."""
        async def test(case: Any) -> None:
            case.tcpserver.expect_connect()
            socket.create_connection(case.tcpserver.address)
        outcome = outcome_of(test=test, tcpserver_options={"in_memory": True})
        self.assertEqual(outcome.kinds, ["error"])
        self.assertRegex(outcome.text, "ConnectionRefusedError")
        self.assertRegex(outcome.text, REACHED)

    def test_client_that_never_comes(self) -> None:
        """The report says who could."""
        async def test(case: Any) -> None:
            case.tcpserver.expect_connect()
        self.assertRegex(outcome_of(test=test, tcpserver_options={"in_memory": True}).text, REACHED)

    def test_plain_test_loads_nothing_of_it(self) -> None:
        """A test with sockets pays nothing."""
        program = ("import asyncio, sys\nfrom tcpclient_testing import MockTCPServer\n"
                   "async def main():\n async with MockTCPServer(): pass\nasyncio.run(main())\n"
                   "print([name for name in sys.modules if 'in_memory' in name])")
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
        self.assertEqual(done.stdout.strip(), "[]")


class RefusedTests(unittest.TestCase):
    """What can't be in memory."""

    def test_options(self) -> None:
        """Each is named where the server is made, or started."""
        for options in ({"unix_path": "/tmp/server"}, {"allow_remote": True, "host": "0.0.0.0"},
                        {"outside_clients": True}):
            with self.subTest(options=options), self.assertRaisesRegex(ScriptError, "can't be had with in_memory=True"):
                MockTCPServer(in_memory=True, **options)  # type: ignore[arg-type]

        async def start() -> None:
            await MockTCPServer(host="::1", in_memory=True).start()
        with self.assertRaisesRegex(ScriptError, "host='::1' can't be had with in_memory=True"):
            asyncio.run(start())

    def test_server_in_a_thread(self) -> None:
        """Its clients block."""
        with self.assertRaisesRegex(ScriptError, "ThreadedMockTCPServer can't be in memory"):
            ThreadedMockTCPServer(in_memory=True)

    def test_other_loop(self) -> None:
        """uvloop has no place for it."""
        try:
            import uvloop
        except ImportError:
            self.skipTest("uvloop is not installed")

        async def main() -> None:
            async with MockTCPServer(in_memory=True):
                pass
        loop = uvloop.new_event_loop()
        self.addCleanup(loop.close)
        with self.assertRaisesRegex(ScriptError, "needs one of asyncio's own event loops, and this one is uvloop.Loop"):
            loop.run_until_complete(main())


class MixinOnVirtualTimeTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """A test as users write it."""

    virtual_time = True
    tcpserver_options = {"in_memory": True}

    async def test_back_off(self) -> None:
        """An hour passes at once."""
        self.tcpserver.fail_connections(1)
        exchange(self.tcpserver)
        with self.assertRaises(ConnectionResetError):
            await ask(self.tcpserver)
        await asyncio.sleep(3600)
        self.assertEqual(await ask(self.tcpserver), b"PONG\r\n")


if __name__ == "__main__":
    unittest.main()
