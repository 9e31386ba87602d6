"""Tests of the server's end over TLS: a reset over the reply is told from one over the close_notify alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
import unittest
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, ThreadedMockTCPServer, tls
from tcpclient_testing.aio.sockets.inet_diag import available
from tcpclient_testing.aio.tls import close_notify
from tests.support.blocking import send_at_once
from tests.support.long import LONG
from tests.support.reports import verdict_of
from tests.support.tls_cases import VERSIONS, TLSTestCase, only

REPLY = b"the answer" * 100
RESET = ("the client closed with the 1000 bytes b'the answerthe answerthe '... unread (a reset)\n"
         "expected the client to disconnect, but it reset the connection")
TIMES = 200 if LONG else 1


def answers(server: Any) -> None:
    """Answer, and be the first to close."""
    server.expect_connect()
    server.expect_line(b"GET")
    server.send_bytes(REPLY)
    server.disconnect()
    server.expect_disconnect()


def read_reply(client: ssl.SSLSocket) -> None:
    """Read the reply, and not one byte more."""
    got = b""
    while len(got) < len(REPLY):
        got += client.recv(len(REPLY) - len(got))


def reads(client: ssl.SSLSocket) -> None:
    """Read the reply, and close before the server's end is read."""
    read_reply(client)
    time.sleep(0.002)


def reads_and_is_gone(client: ssl.SSLSocket) -> None:
    """Read the reply, and close in the same instant."""
    read_reply(client)


def reads_late(client: ssl.SSLSocket) -> None:
    """Let the reply lie for a while."""
    time.sleep(0.02)
    read_reply(client)


def reads_to_the_end(client: ssl.SSLSocket) -> None:
    """Read the reply, and the server's close_notify."""
    read_reply(client)
    got = client.recv(1)
    assert got == b""


def ends_first(client: ssl.SSLSocket) -> None:
    """Read the reply, and wait for the answer to a close_notify."""
    read_reply(client)
    client.unwrap().close()


def half_closes(client: ssl.SSLSocket) -> None:
    """Half-close on the wire, and read to the end."""
    client.shutdown(socket.SHUT_WR)  # which is the end of TLS for an SSLSocket: what it reads from now on is cipher
    while client.recv(4096):
        pass


def leaves(client: ssl.SSLSocket) -> None:
    """Read nothing."""
    time.sleep(0.01)


def is_gone(client: ssl.SSLSocket) -> None:
    """Don't even wait for the reply."""


POLITE = (reads, reads_and_is_gone, reads_late, reads_to_the_end, ends_first, half_closes)


class BlockingClientTests(unittest.TestCase):
    """Clients in a thread of their own."""

    def verdict(self, client: Callable[[ssl.SSLSocket], None], version: ssl.TLSVersion = VERSIONS[-1],
                script: Callable[[Any], None] = answers) -> str:
        """What is wrong with a client that does so, in the words of the report; "" if nothing is."""
        context = only(version)
        try:
            with ThreadedMockTCPServer(timeout=10, tls=True) as server:
                script(server)
                plain = socket.create_connection(server.address, 30)
                send_at_once(plain)
                with context.wrap_socket(plain, server_hostname="localhost") as secured:
                    secured.sendall(b"GET\r\n")
                    client(secured)
                server.join()
        except ExpectationError as error:
            return verdict_of(error)
        return ""

    @unittest.skipUnless(available(), "the kernel does not tell")
    def test_client_that_leaves_the_reply_unread_has_reset(self) -> None:
        """As it has without TLS."""
        for version in VERSIONS:
            for client in (leaves, is_gone):
                for _ in range(TIMES):
                    with self.subTest(version=version.name, client=client.__name__):
                        self.assertEqual(self.verdict(client, version), RESET)

    def test_client_that_reads_the_reply_has_disconnected(self) -> None:
        """Whether it reads the close_notify, and sends one, or not."""
        for version in VERSIONS:
            for client in POLITE:
                for _ in range(TIMES):
                    with self.subTest(version=version.name, client=client.__name__):
                        self.assertEqual(self.verdict(client, version), "")

    def test_server_without_a_reply(self) -> None:
        """A close_notify that nobody reads is nobody's fault."""
        def script(server: Any) -> None:
            server.expect_connect()
            server.expect_line(b"GET")
            server.disconnect()
            server.expect_disconnect()

        self.assertEqual(self.verdict(leaves, script=script), "")

    def test_disconnect_waits_for_nobody(self) -> None:
        """The step is satisfied before the client has read, and the client reads to the end all the same."""
        with mock.patch.object(close_notify, "_BOUND", 40.0), ThreadedMockTCPServer(timeout=60, tls=True) as server:
            server.expect_connect()
            server.send_bytes(REPLY)
            gone = server.disconnect()
            plain = socket.create_connection(server.address, 30)
            with tls.client_context().wrap_socket(plain, server_hostname="localhost") as client:
                begun = time.monotonic()
                gone.result()
                self.assertLess(time.monotonic() - begun, 30)
                reads_to_the_end(client)

    def test_server_is_left_before_the_client_has_read(self) -> None:
        """The client gets the whole reply, however large, and a clean end."""
        reply = bytes(1_000_000)
        ends: list[Any] = []

        def client(address: Any) -> None:
            plain = socket.create_connection(address, 30)
            send_at_once(plain)
            with tls.client_context().wrap_socket(plain, server_hostname="localhost",
                                                  suppress_ragged_eofs=False) as connected:
                connected.sendall(b"GET\r\n")
                left = len(reply)
                while left:
                    left -= len(connected.recv(1000))
                try:
                    ends.append(connected.recv(1))
                except ssl.SSLError as error:
                    ends.append(error)

        for _ in range(max(8, TIMES // 10)):
            with ThreadedMockTCPServer(timeout=10, tls=True) as server:
                server.expect_connect()
                server.expect_line(b"GET")
                server.send_bytes(reply)
                server.disconnect()
                thread = threading.Thread(target=client, args=(server.address,))
                thread.start()
            thread.join()
        self.assertEqual(ends, len(ends) * [b""])

    def test_client_that_takes_its_time(self) -> None:
        """When the server's end has gone out all the same, a reset may be of either kind: it is let pass."""
        with mock.patch.object(close_notify, "_BOUND", 0.0):
            self.assertEqual(self.verdict(leaves), "")

    def test_system_that_does_not_tell(self) -> None:
        """Where nobody can be asked, a reset may be of either kind: it is let pass."""
        with mock.patch("tcpclient_testing.aio.context.ServerContext.probe", return_value=None):
            self.assertEqual(self.verdict(leaves), "")

    def test_heartbeat_behind_the_reply(self) -> None:
        """What is sent beside the script is nobody's duty to read: a reset over it is let pass."""
        def script(server: Any) -> None:
            server.expect_connect()
            server.expect_line(b"GET")
            server.send_bytes(REPLY)
            server.every(0.0005, b"beat\r\n")
            server.delay(0.01)
            server.disconnect()
            server.expect_disconnect()

        def client(secured: ssl.SSLSocket) -> None:
            read_reply(secured)
            time.sleep(0.02)

        self.assertEqual(self.verdict(client, script=script), "")


class StreamsTests(TLSTestCase):
    """Clients with asyncio's streams, in the server's loop."""

    async def test_client_that_reads_the_reply(self) -> None:
        """It has disconnected."""
        answers(self.tcpserver)
        reader, writer = await asyncio.open_connection(*self.tcpserver.address, ssl=tls.client_context(),
                                                       server_hostname="localhost")
        writer.write(b"GET\r\n")
        self.assertEqual(await reader.read(-1), REPLY)
        writer.close()
        await writer.wait_closed()

    async def test_client_that_leaves_the_reply_unread(self) -> None:
        """Its transport has read the reply, so there is no reset; but the stream tells."""
        async def client(server: Any) -> None:
            reader, writer = await asyncio.open_connection(*server.address, ssl=tls.client_context(),
                                                           server_hostname="localhost")
            writer.write(b"GET\r\n")
            await reader.readexactly(10)
            writer.close()
            await writer.wait_closed()

        error = await self.failure(answers, client)
        self.assert_says(error, "the client left 990 bytes of the server's reply unread")
