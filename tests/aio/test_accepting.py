"""How clients get in: from the listening socket to the connection that the script sees."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import selectors
import socket
import unittest
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.aio import accepting
from tcpclient_testing.aio.sockets import listening
from tests.support.blocking import descriptors, threads
from tests.support.exhaustion import LIMITED, few_descriptors
from tests.support.loops import AsyncTestCase


class ReceptionTests(AsyncTestCase):
    async def test_clients_that_came_before_the_server_was_asked_are_accepted_in_order(self) -> None:
        """Clients wait in the backlog until there is a turn; each is the connection that its place in it says."""
        async with MockTCPServer(host="127.0.0.1") as server:
            clients = [socket.create_connection(server.address) for _ in range(5)]
            names = [client.getsockname() for client in clients]
            try:
                accepted = [server.expect_connect() for _ in clients]
                await server.join()
                self.assertEqual([(await step).peername for step in accepted], names)
            finally:
                for client in clients:
                    client.close()
            for step in accepted:
                step.connection.expect_disconnect()

    async def test_client_that_was_accepted_is_closed_when_the_server_is_left_before_its_turn(self) -> None:
        """A socket that has no protocol yet when the server closes is closed with it: the client is not left alone."""
        server = await MockTCPServer().start()
        with socket.create_connection(server.address, timeout=20) as client:
            server._runtime.reception.accept()
            self.assertTrue(server._runtime.reception.accepted)
            server.close()
            client.setblocking(False)
            self.assertEqual(await self.end_of(client), b"")

    async def end_of(self, client: socket.socket) -> bytes:
        """What the client reads in the end; a reset is an end as good as any."""
        try:
            return await asyncio.get_running_loop().sock_recv(client, 1)
        except ConnectionResetError:
            return b""


class KeepingTests(AsyncTestCase):
    """The address of a server whose script has failed, until the server is left."""

    async def test_address_that_is_kept(self) -> None:
        """Clients are refused, and the system does not give it to others."""
        server = await MockTCPServer(host="127.0.0.1").start()
        server.expect_connect(timeout=0.01)
        with self.assertRaises(ExpectationError):
            await server.join()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(server.address)
        with socket.socket() as other, self.assertRaises(OSError) as caught:
            other.bind(server.address)
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        server.close()
        with socket.socket() as other:
            other.bind(server.address)

    async def test_clients_that_wait_when_the_sockets_are_released(self) -> None:
        """They are reset, and the sockets listen on."""
        server = await MockTCPServer(host="127.0.0.1").start()
        with socket.create_connection(server.address) as early:
            listener, = server._runtime.reception.release()
            with listener, socket.create_connection(server.address):
                self.assertRaises(ConnectionResetError, early.recv, 1)
                listener.accept()[0].close()
        server.close()


class SelectTests(unittest.TestCase):
    """A loop that waits by select(), where there is nothing else."""

    def test_more_clients_than_it_can_watch(self) -> None:
        """The failure says so; the loop, which could not go on with one more, is still alive."""
        async def main() -> None:
            with contextlib.ExitStack() as clients:
                async with MockTCPServer(allow_open=True) as server:
                    for _ in range(20):
                        server.expect_connect()
                    for _ in range(20):
                        clients.enter_context(socket.create_connection(server.address))
                    await server.join()
        loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        try:
            with mock.patch.object(accepting, "SELECTABLE", 12), \
                    self.assertRaisesRegex(ExpectationError, r"select\(\), which takes 12 sockets"):
                loop.run_until_complete(main())
        finally:
            loop.close()


@unittest.skipUnless(LIMITED, "limits descriptors")
class ExhaustionTests(AsyncTestCase):
    """The process has no file descriptor left."""

    async def test_accept_when_files_have_run_out(self) -> None:
        """What keeps the client waiting is said at once; the client is not blamed for having never connected."""
        with self.assertRaisesRegex(ExpectationError, "^a client can't be accepted: Too many open files in the "
                                                      r"server's own process, which may have \d+ \(RLIMIT_NOFILE\)"):
            async with MockTCPServer() as server:
                server.expect_connect()
                with socket.socket() as client:
                    client.connect(server.address)
                    with few_descriptors():
                        await server.join()

    async def test_leaving_when_nobody_waits(self) -> None:
        """A sound client is gone by then, so nothing is wrong."""
        async with MockTCPServer(watch_streams=False) as server:
            server.expect_connect()
            server.expect_line(b"PING")
            server.expect_disconnect()
            with socket.create_connection(server.address) as client:
                client.sendall(b"PING\r\n")
            await server.join()
            with few_descriptors():
                server._runtime.reception.accept()
                await server.stop()

    async def test_conversation_without_a_descriptor(self) -> None:
        """A conversation goes on to its end; what asks the kernel does without."""
        async with MockTCPServer() as server:
            server.expect_connect()
            server.expect_line(b"PING")
            server.send_line(b"PONG")
            server.expect_eof()
            server.send_line(b"bye")
            server.disconnect()
            reader, writer = await asyncio.open_connection(*server.address)
            with few_descriptors():
                writer.write(b"PING\r\n")
                self.assertEqual(await reader.readline(), b"PONG\r\n")
                writer.write_eof()
                self.assertEqual(await reader.read(), b"bye\r\n")
                writer.close()
                await writer.wait_closed()
                await server.join()

    async def test_start_with_few_descriptors(self) -> None:
        """A server starts, or says why not; then nothing half-made stays. Later it finds IPv6 and the kernel again."""
        for left in range(8):
            for kind in (MockTCPServer, ThreadedMockTCPServer):
                before = descriptors(), threads()
                with mock.patch.object(listening, "_ipv6", None), few_descriptors(left):
                    server = kind()
                    try:
                        server.open()
                    except OSError as error:
                        self.assertEqual(error.errno, errno.EMFILE)
                    finally:
                        server.close()
                self.assertEqual((descriptors(), threads()), before)
        self.assertEqual(len(listening.loopback_addresses()), 1 + listening._has_ipv6())


if __name__ == "__main__":
    unittest.main()
