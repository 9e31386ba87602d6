"""What a client has sent before its connection broke is judged, whether the server's read or its write is first."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.sockets.listening import LINGER_RESET
from tcpclient_testing.tls import client_context
from tests.support.folders import socket_folder
from tests.support.loops import AsyncTestCase, on_uvloop
from tests.support.platforms import needs_unix

Connect = Callable[[MockTCPServer], Awaitable[Any]]


async def over_tcp(server: MockTCPServer) -> Any:
    """Connect."""
    return socket.create_connection(server.address)


async def over_tls(server: MockTCPServer) -> Any:
    """Connect, and shake hands."""
    shake = partial(client_context().wrap_socket, await over_tcp(server), server_hostname="localhost")
    return await asyncio.get_running_loop().run_in_executor(None, shake)


async def over_unix(server: MockTCPServer) -> Any:
    """Connect through the file system."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(server.unix_path)
    return client


async def in_memory(server: MockTCPServer) -> Any:
    """Connect without the system's sockets."""
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *server.address)
    sock = transport.get_extra_info("socket")._sock

    def close() -> None:
        transport.close()
        sock.close()  # at once, as the others do
    return SimpleNamespace(send=sock.send, setsockopt=sock.setsockopt, close=close)


def close(client: Any) -> None:
    """Close, which is a reset if something is unread."""
    client.close()


def reset(client: Any) -> None:
    """Close with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    client.close()

#: Ways to connect, and the options of servers for them.
KINDS: tuple[tuple[Connect, dict[str, Any]], ...] = (
    (over_tcp, {}), (over_tls, {"tls": True}), *([] if on_uvloop else [(in_memory, {"in_memory": True})]))


class WriteFailsFirstTests(AsyncTestCase):
    """The client says something and closes, while the server is about to write: that write fails."""

    async def converse(self, connect: Connect, end: Callable[[Any], None], *endings: Callable[[MockTCPServer], Any],
                       last: bytes = b"PING\r\n", **options: Any) -> None:
        """Send BEAT twice. The client speaks its last words and ends while the server answers the second."""
        answers = []

        def answer(_: bytes) -> bytes:
            answers.append(b"ok\r\n")
            if len(answers) == 2:
                client.send(last)
                end(client)
            return answers[-1]
        async with MockTCPServer(timeout=30, **options) as server:
            server.expect_connect()
            server.allow(b"BEAT\r\n", reply=answer)
            for ending in (lambda s: s.expect_line(b"PING"), *endings):
                ending(server)
            client = await connect(server)
            with contextlib.closing(client):
                client.send(b"BEAT\r\n" * 2)
                await server.join()

    async def test_last_words(self) -> None:
        """They have been said, however the client ends; the end is a reset where the script says so."""
        for connect, options in KINDS:
            with self.subTest(connect=connect):
                await self.converse(connect, reset, lambda s: s.expect_reset(), **options)
                await self.converse(connect, close, lambda s: s.expect_disconnect(), **options)

    async def test_wrong_last_words(self) -> None:
        """They are judged before the end is."""
        for connect, options in KINDS:
            with self.subTest(connect=connect), \
                    self.assertRaisesRegex(ExpectationError, r"expected b'PING.*got b'QUIT"):
                await self.converse(connect, reset, lambda s: s.expect_reset(), last=b"QUIT\r\n", **options)

    async def test_reset_that_is_not_expected(self) -> None:
        """It fails at the step after those words."""
        for connect, options in KINDS:
            with self.subTest(connect=connect), \
                    self.assertRaisesRegex(ExpectationError, r"client reset the connection .*step 3 of 4"):
                await self.converse(connect, reset, lambda s: s.expect_line(b"QUIT"), lambda s: s.expect_reset(),
                                    **options)

    async def test_last_words_while_the_server_does_not_read(self) -> None:
        """Between `pause_reading` and `resume_reading` nothing is judged: the client has given up, as it may."""
        for connect, options in KINDS:
            with self.subTest(connect=connect):
                async with MockTCPServer(timeout=30, **options) as server:
                    gone = asyncio.Event()
                    server.expect_connect()
                    server.expect_line(b"PING")
                    server.pause_reading()
                    server.hold_until(gone)
                    server.send_bytes(b"PONG\r\n")
                    server.expect_reset()
                    client = await connect(server)
                    with contextlib.closing(client):
                        client.send(b"PING\r\n")
                        while not (server.connections and server.connections[0].received):
                            await asyncio.sleep(0)
                        client.send(b"PING\r\n")
                        reset(client)
                        gone.set()
                        await server.join()

    async def test_close_notify_before_the_reset(self) -> None:
        """Over TLS, too, a reset that is known is one, whatever the client had sent before it."""
        if hasattr(asyncio.get_running_loop(), "_proactor"):
            self.skipTest("this loop has read it before it writes")

        def unwrap_and_reset(client: Any) -> None:
            client.settimeout(0)
            with contextlib.suppress(OSError):
                client.unwrap()
            reset(client)
        for _ in range(3):
            await self.converse(over_tls, unwrap_and_reset, lambda s: s.expect_reset(), tls=True)

    @needs_unix
    async def test_unix_sockets(self) -> None:
        """So it is over Unix-domain sockets."""
        with socket_folder() as folder:
            path = f"{folder}/s"
            await self.converse(over_unix, close, lambda s: s.expect_disconnect(), unix_path=path)
            with self.assertRaisesRegex(ExpectationError, r"expected b'PING.*got b'QUIT"):
                await self.converse(over_unix, close, lambda s: s.expect_disconnect(), last=b"QUIT\r\n",
                                    unix_path=path)

    async def test_much(self) -> None:
        """All of it is read, however much the system holds."""
        words = b"x" * 50_000
        await self.converse(over_tcp, reset, lambda s: s.expect_bytes(words), lambda s: s.expect_reset(),
                            last=b"PING\r\n" + words)
