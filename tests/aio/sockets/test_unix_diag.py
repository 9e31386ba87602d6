"""Which socket a Unix-domain socket is connected to, and the streams of clients that are found by that."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.sockets.unix_diag import UnixPeername, inode_of, peer_of
from tests.support.folders import socket_folder


def available() -> bool:
    """Return whether this system tells the peer of a Unix-domain socket."""
    if sys.platform != "linux":
        return False
    one, other = socket.socketpair()
    with one, other:
        return peer_of(one) == inode_of(other)


@unittest.skipUnless(available(), "needs unix_diag, which Linux has")
class PeerTests(unittest.TestCase):
    """`peer_of`."""

    def test_connected_sockets(self) -> None:
        """Each knows the other; which of several clients it is makes no difference."""
        with socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/s")
            listener.listen()
            clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            for client in clients:
                client.connect(f"{folder}/s")
            accepted = [listener.accept()[0] for _ in clients]
            self.assertEqual([peer_of(each) for each in accepted], [inode_of(each) for each in clients])
            self.assertEqual([peer_of(each) for each in clients], [inode_of(each) for each in accepted])
            for each in (*clients, *accepted):
                each.close()

    def test_nothing_is_known(self) -> None:
        """A socket without a peer, one whose peer is closed, a closed one, and one of another kind have none."""
        one, other = socket.socketpair()
        other.close()
        with one, socket.socket(socket.AF_UNIX) as alone, socket.socket() as tcp:
            self.assertEqual([peer_of(each) for each in (one, alone, tcp, other, None)], [None] * 5)

    def test_name(self) -> None:
        """A client's name is what the system says, with the inode."""
        name = UnixPeername("", 7)
        self.assertEqual((name, name.inode), ("", 7))


class Server:
    """A path for servers, which is removed at the end."""

    def __init__(self, test: unittest.TestCase) -> None:
        folder = socket_folder()
        test.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "s")

    def make(self, **options: Any) -> MockTCPServer:
        """Make a server there."""
        return MockTCPServer(unix_path=self.path, **options)


@unittest.skipUnless(available(), "needs unix_diag, which Linux has")
class StreamTests(unittest.IsolatedAsyncioTestCase):
    """Clients that use asyncio's streams over Unix-domain sockets."""

    async def asyncSetUp(self) -> None:
        self.place = Server(self)

    async def ask(self, how: str, server: Any) -> None:
        """Ask, and end the connection properly or not."""
        reader, writer = await asyncio.open_unix_connection(self.place.path)
        writer.write(b"PING\r\n")
        if how == "unread":
            while not reader._buffer:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
        else:
            await reader.readline()
        writer.close()
        if how != "unwaited":
            await writer.wait_closed()

    async def converse(self, *how: str, **options: Any) -> None:
        """Let one client after another converse with a server."""
        async with self.place.make(**options) as server:
            for each in how:
                server.expect_connect()
                server.expect_line(b"PING")
                server.send_line(b"PONG")
                if each != "unread":
                    server.expect_disconnect()
                    await self.ask(each, server)
                else:
                    await self.ask(each, server)
                    server.expect_disconnect()

    async def test_client_that_closes_properly(self) -> None:
        """It passes, again and again."""
        await self.converse("properly", "properly", "properly")

    async def test_client_that_does_not_wait(self) -> None:
        """It fails, also after others that were all right."""
        with self.assertRaisesRegex(ExpectationError, r"^the client closed its stream without awaiting "
                                                      r"wait_closed\(\) \(connection 3, "):
            await self.converse("properly", "properly", "unwaited")
        await self.converse("unwaited", watch_streams=False)

    async def test_client_that_leaves_the_reply_unread(self) -> None:
        """It fails, with the bytes."""
        with self.assertRaisesRegex(ExpectationError, r"left 6 bytes of the server's reply unread"):
            await self.converse("unread")

    async def test_clients_at_once(self) -> None:
        """Each connection is judged by its own client's stream, whatever order they close in."""
        async with self.place.make() as server:
            handles = [server.expect_connect().connection for _ in range(4)]
            streams = [await asyncio.open_unix_connection(self.place.path) for _ in handles]
            for number, (handle, (_, writer)) in enumerate(zip(handles, streams)):
                handle.expect_line(str(number).encode())
                handle.expect_disconnect(wait_closed=number != 2)
                writer.write(b"%d\r\n" % number)
            for number in (3, 1, 2, 0):
                streams[number][1].close()
                if number != 2:
                    await streams[number][1].wait_closed()
            await server.join()

    async def test_path_that_was_refused_for_a_while(self) -> None:
        """The socket has another name afterwards; its clients are found all the same."""
        with self.assertRaisesRegex(ExpectationError, r"without awaiting wait_closed\(\)"):
            async with self.place.make() as server:
                server.refuse_connections()
                with self.assertRaises(ConnectionRefusedError):
                    await asyncio.open_unix_connection(self.place.path)
                server.accept_connections()
                server.expect_connect()
                server.expect_line(b"PING")
                server.send_line(b"PONG")
                server.expect_disconnect()
                await self.ask("unwaited", server)

    async def test_client_without_streams(self) -> None:
        """A client that uses a socket in a thread is none of those."""
        def client() -> None:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(self.place.path)
                sock.sendall(b"PING\r\n")
                sock.recv(100)
        async with self.place.make() as server:
            server.expect_connect()
            server.expect_line(b"PING")
            server.send_line(b"PONG")
            server.expect_disconnect()
            await asyncio.to_thread(client)


if __name__ == "__main__":
    unittest.main()
