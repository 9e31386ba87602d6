"""A table of clients that misbehave: each ends in the right verdict, within its bound, with nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
import unittest
from collections.abc import Awaitable
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.connection import client_resets
from tcpclient_testing.harness import interruption
from tcpclient_testing.server import leaving
from tests.support.loops import AsyncTestCase, timeless

_BOUND = 30.0  # seconds; the time-outs are much shorter, the machine may be busy


_patches = contextlib.ExitStack()


def setUpModule() -> None:
    """Interrupt test bodies sooner, and wait less for clients to go: they hang, and stay, on purpose."""
    for module, name in ((interruption, "_PATIENCE"), (interruption, "_INSISTENCE"), (leaving, "_MOMENT"),
                         (client_resets, "_POSSIBLE")):
        _patches.enter_context(mock.patch.object(module, name, 0.02))


def tearDownModule() -> None:
    """Wait as ever again; pytest does no module's clean-ups, so they are none."""
    _patches.close()


def script(server: Any) -> None:
    """A request, a reply, another request, and the end."""
    server.expect_connect(timeout=_BOUND)
    server.expect_bytes(b"request")
    server.send_bytes(b"reply")
    server.expect_line(b"again")
    server.expect_disconnect()


async def connected(server: Any) -> socket.socket:
    """A bare client socket, connected."""
    client = socket.socket()
    client.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(client, server.address)
    except BaseException:
        client.close()
        raise
    return client


def reset(client: socket.socket) -> None:
    """Close with a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class MisbehavingClientTests(AsyncTestCase):
    async def verdict(self, client: Callable[[Any, Any], Awaitable[None]], *, write: Any = script,
                      **options: Any) -> str:
        """Let a client loose on a server; return the first line of the verdict."""
        sockets: list[socket.socket] = []

        async def connect(server: Any) -> socket.socket:
            sockets.append(await connected(server))
            return sockets[-1]
        before = asyncio.all_tasks()
        started = time.monotonic()
        try:
            with self.assertRaises(ExpectationError) as caught:
                async with MockTCPServer(**{"timeout": 0.05, "idle_timeout": 0.05, **options}) as server:
                    write(server)
                    await client(server, connect)
        finally:
            for each in sockets:
                each.close()
        self.assertLess(time.monotonic() - started, _BOUND)
        await asyncio.sleep(0)
        self.assertEqual(asyncio.all_tasks() - before, set())
        return str(caught.exception).split("\n")[0]

    @timeless
    async def test_never_connecting(self) -> None:
        """A client that never connects."""
        def write(server: Any) -> None:
            server.expect_connect()

        async def client(server: Any, connect: Any) -> None:
            await asyncio.sleep(60)
        self.assertIn("no client connected to 127.0.0.1", await self.verdict(client, write=write))

    @timeless
    async def test_silent(self) -> None:
        """A client that connects and sends nothing."""
        async def client(server: Any, connect: Any) -> None:
            await connect(server)
            await asyncio.sleep(60)
        self.assertIn("expected 7 bytes b'request', nothing received for", await self.verdict(client))

    @timeless
    async def test_half_a_message(self) -> None:
        """A client that stops in the middle of a message."""
        async def client(server: Any, connect: Any) -> None:
            await asyncio.get_running_loop().sock_sendall(await connect(server), b"requ")
            await asyncio.sleep(60)
        self.assertIn("got only 4 (b'requ'), then nothing for", await self.verdict(client))

    @timeless
    async def test_closing_at_each_point(self) -> None:
        """A client that closes after each of its bytes: never a time-out."""
        whole = b"requestagain\r\n"
        for count in range(len(whole)):
            with self.subTest(count=count):
                async def client(server: Any, connect: Any, count: int = count) -> None:
                    mine = await connect(server)
                    await asyncio.get_running_loop().sock_sendall(mine, whole[:count])
                    mine.close() if count <= 7 else mine.shutdown(socket.SHUT_WR)
                    await server.join()
                text = await self.verdict(client, timeout=30.0)
                self.assertRegex(text, r"the client (ended its stream|closed)|reset the connection")

    async def test_resetting_at_each_point(self) -> None:
        """A client that resets after each of its bytes: never a time-out, and never called a close."""
        whole = b"requestagain\r\n"
        for count in range(0, len(whole) + 1, 2):
            with self.subTest(count=count):
                async def client(server: Any, connect: Any, count: int = count) -> None:
                    mine = await connect(server)
                    await asyncio.get_running_loop().sock_sendall(mine, whole[:count])
                    deadline = time.monotonic() + 5
                    # A RST throws away what was not read.
                    while not server.connections or len(server.connections[0].received) < count:
                        self.assertLess(time.monotonic(), deadline)
                        await asyncio.sleep(0)
                    reset(mine)
                    await server.join()
                # What was sent last may have been left unread: a client that reads all, and resets, looks the same.
                self.assertRegex(await self.verdict(client, timeout=30.0), r"reset the connection|unread \(a reset\)")

    async def test_resetting_before_it_is_accepted(self) -> None:
        """A client that connects and resets before the loop has accepted it."""
        async def client(server: Any, connect: Any) -> None:
            mine = socket.create_connection(server.address)
            reset(mine)
            await server.join()
        self.assertIn("reset the connection", await self.verdict(client, timeout=30.0))

    async def test_never_reading(self) -> None:
        """A client that does not read what it is sent."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.send_bytes(bytes(64 * 1024 * 1024))
            server.expect_disconnect()

        async def client(server: Any, connect: Any) -> None:
            await connect(server)
            await asyncio.sleep(60)
        self.assertRegex(await self.verdict(client, write=write, timeout=0.02),
                         r"the client does not read: it took \d+ of 67108864 bytes, and nothing for")

    async def test_not_reading_before_a_reset(self) -> None:
        """reset() while the client does not read what was sent before."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.send_bytes(bytes(8 * 1024 * 1024))
            server.reset()

        async def client(server: Any, connect: Any) -> None:
            await connect(server)
            await asyncio.sleep(60)
        self.assertIn("the client does not read", await self.verdict(client, write=write, timeout=0.02))

    async def test_sending_for_ever(self) -> None:
        """A client that sends for ever what no step claims, during a hold, after the script, after disconnect()."""
        async def client(server: Any, connect: Any) -> None:
            mine, loop = await connect(server), asyncio.get_running_loop()
            while True:
                await loop.sock_sendall(mine, bytes(65536))
                await asyncio.sleep(0)

        def complete(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)

        def holding(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.hold_until(asyncio.Event())

        def draining(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.disconnect()

        def drained(server: Any) -> None:
            draining(server)
            server.expect_disconnect()
        for write, words in ((complete, "the script is complete, but the client sent"), (holding, "is not set"),
                             (draining, "still connected"), (drained, "it is still connected"),
                             (script, f"expected b'request', got {bytes(7)!r} at byte 0 (")):
            with self.subTest(write=write.__name__):
                # All but the last are to run into it.
                patience = _BOUND if write is script else 0.02
                verdict = await self.verdict(client, write=write, timeout=patience, idle_timeout=patience)
                self.assertIn(words, verdict)

    @timeless
    async def test_never_closing(self) -> None:
        """A client that stays connected when everything is done, and waits."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)

        async def client(server: Any, connect: Any) -> None:
            await connect(server)
            await asyncio.sleep(60)
        self.assertIn("is still connected and waits; nothing happened for", await self.verdict(client, write=write))

    @timeless
    async def test_left_open(self) -> None:
        """A client that is still connected when the server is left."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)

        async def client(server: Any, connect: Any) -> None:
            await connect(server)
        self.assertIn("is still connected when the server is left",
                      await self.verdict(client, write=write, idle_timeout=30.0))

    @timeless
    async def test_connecting_again(self) -> None:
        """A second connection that the script does not know, early and in the last moment."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.expect_disconnect()

        async def client(server: Any, connect: Any) -> None:
            (await connect(server)).close()
            (await connect(server)).close()

        async def last_moment(server: Any, connect: Any) -> None:
            (await connect(server)).close()
            await server.join()
            await connect(server)  # still in the backlog when the body ends
        for each in (client, last_moment):
            self.assertRegex(await self.verdict(each, write=write),
                             r"^unexpected connection 2: the script has one expect_connect\(\) \(test_misbehaving_")

    async def test_reconnecting_for_ever(self) -> None:
        """A client that reconnects for ever, without being expected."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.expect_disconnect()

        async def client(server: Any, connect: Any) -> None:
            while True:
                try:
                    (await connected(server)).close()
                except OSError:
                    pass
                await asyncio.sleep(0.002)
        self.assertRegex(await self.verdict(client, write=write),
                         r"^unexpected connection 2: the script has one expect_connect\(\) \(test_misbehaving_")

    @timeless
    async def test_connecting_after_the_failure(self) -> None:
        """A client that connects when the verdict is there already is refused or reset, and nothing waits."""
        async def client(server: Any, connect: Any) -> None:
            mine = await connect(server)
            await asyncio.get_running_loop().sock_sendall(mine, b"wrong")
            while True:
                try:
                    await connect(server)
                except OSError:
                    pass
                await asyncio.sleep(0.005)
        self.assertIn("expected b'request', got b'wrong' at byte 0 (connection 1, ", await self.verdict(client))

    @timeless
    async def test_swallowing_cancellation(self) -> None:
        """A client that catches CancelledError some times is interrupted until it gives in."""
        async def client(server: Any, connect: Any) -> None:
            await connect(server)
            for _ in range(4):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        self.assertIn("nothing received", await self.verdict(client))

    @timeless
    async def test_trickling(self) -> None:
        """A client that sends byte after byte never runs into `timeout`, and does into `within`."""
        def write(server: Any) -> None:
            server.expect_connect(timeout=_BOUND)
            server.expect_line(within=0.15)

        async def client(server: Any, connect: Any) -> None:
            mine = await connect(server)
            while True:
                await asyncio.get_running_loop().sock_sendall(mine, b"x")
                await asyncio.sleep(0.01)
        self.assertRegex(await self.verdict(client, write=write, timeout=0.08),
                         r"^got (\.\.\.)?b'x+' without its ending b'\\r\\n' within \d+\.\d s "
                         r"\(connection 1, step 2 of 2, ")


if __name__ == "__main__":
    unittest.main()
