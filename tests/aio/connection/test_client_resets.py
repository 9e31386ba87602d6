"""Tests of telling a client's close from its half-close and its reset, whatever the race between the two sides."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import unittest
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer, tls
from tcpclient_testing.aio.connection import client_resets
from tcpclient_testing.aio.sockets.inet_diag import available
from tests.support.blocking import send_at_once
from tests.support.folders import socket_folder
from tests.support.long import LONG
from tests.support.reports import verdict_of
from tests.support.transcripts import notes

#: What is wrong with a client that has not read the reply.
RESET = ("the client closed with the 7 bytes b'value\\r\\n' unread (a reset)\n"
         "expected the client to disconnect, but it reset the connection")
BOTH = {"the client ended its stream", "reset by the client"}
TIMES = 200 if LONG else 1


def request(client: socket.socket) -> None:
    """Ask for a line."""
    client.sendall(b"GET\r\n")


def read_all(client: socket.socket) -> None:
    """Read to the server's end."""
    client.settimeout(30)
    while client.recv(100):
        pass


def read_line(client: socket.socket) -> None:
    """Read the reply."""
    client.settimeout(30)
    line = b""
    while not line.endswith(b"\n"):
        line += client.recv(100)


def closes(client: socket.socket) -> None:
    """Ask, and be gone."""
    request(client)


def shuts_down(client: socket.socket) -> None:
    """As some libraries close: both directions, then the socket."""
    request(client)
    client.shutdown(socket.SHUT_RDWR)


def half_closes_and_leaves(client: socket.socket) -> None:
    """Half-close, and don't stay to read."""
    request(client)
    client.shutdown(socket.SHUT_WR)


def half_closes_and_leaves_later(client: socket.socket) -> None:
    """Stay a while, but don't read."""
    request(client)
    client.shutdown(socket.SHUT_WR)
    time.sleep(0.005)


def reads_a_little(client: socket.socket) -> None:
    """Read only the reply's first byte."""
    request(client)
    client.settimeout(30)
    client.recv(1)


def reads(client: socket.socket) -> None:
    """Read the reply, then close."""
    request(client)
    read_line(client)


def reads_and_shuts_down(client: socket.socket) -> None:
    """Read the reply, then close both directions, and the socket."""
    reads(client)
    client.shutdown(socket.SHUT_RDWR)


def half_closes(client: socket.socket) -> None:
    """Read on to the server's end."""
    request(client)
    client.shutdown(socket.SHUT_WR)
    read_all(client)


def half_closes_and_reads_later(client: socket.socket) -> None:
    """Be slow."""
    request(client)
    client.shutdown(socket.SHUT_WR)
    time.sleep(0.01)
    read_all(client)


def at_once(server: Any) -> None:
    """Reply as soon as the request is there."""
    server.expect_connect()
    server.expect_line(b"GET")
    server.send_line(b"value")


def after_a_while(server: Any) -> None:
    """Reply when the client may have closed."""
    server.expect_connect()
    server.expect_line(b"GET")
    server.delay(0.002)
    server.send_line(b"value")


def and_wait(server: Any) -> None:
    """Reply, and be late in looking how the client ends."""
    at_once(server)
    server.delay(0.002)


def after_the_end(server: Any) -> None:
    """Reply when the client has ended its stream."""
    server.expect_connect()
    server.expect_line(b"GET")
    server.expect_eof()
    server.send_line(b"value")


SCRIPTS = (at_once, after_a_while, and_wait)
RUDE = (closes, shuts_down, half_closes_and_leaves, half_closes_and_leaves_later, reads_a_little)
POLITE = (reads, reads_and_shuts_down, half_closes, half_closes_and_reads_later)


class BlockingClientTests(unittest.TestCase):
    """Clients in a thread of their own, whose close races the server's reply."""

    def verdict(self, script: Callable[[Any], None], client: Callable[[Any], None], end: str = "expect_disconnect",
                **options: Any) -> str:
        """What is wrong with the client, in the words of the report; "" if nothing is."""
        server = ThreadedMockTCPServer(timeout=10, **options)
        try:
            with server:
                script(server)
                getattr(server, end)()
                with socket.socket(socket.AF_UNIX if options.get("unix_path") else socket.AF_INET) as connected:
                    connected.connect(server.address)
                    client(connected)
        except ExpectationError as error:
            self.notes = set(notes(server))
            return verdict_of(error)
        self.notes = set(notes(server))
        return ""

    @unittest.skipUnless(available(), "the kernel does not tell what another thread has read")
    def test_client_that_leaves_something_unread_has_reset(self) -> None:
        """Always, whether its end or the reply comes first, and whichever way it closes."""
        for script in SCRIPTS:
            for client in RUDE:
                for _ in range(TIMES):
                    with self.subTest(script=script.__name__, client=client.__name__):
                        self.assertEqual(self.verdict(script, client), RESET)

    def test_reset_satisfies_an_expectation_of_one(self) -> None:
        """As it is one, also where a FIN comes before it."""
        for script in SCRIPTS:
            for _ in range(TIMES):
                with self.subTest(script=script.__name__):
                    self.assertEqual(self.verdict(script, closes, "expect_reset"), "")

    def test_transcript_tells_of_both(self) -> None:
        """The end of the stream, and the reset when something was sent after it."""
        self.assertEqual(self.verdict(after_a_while, closes), RESET)
        self.assertLessEqual(BOTH, self.notes)

    def test_reply_after_the_end(self) -> None:
        """A client that half-closed gets it; one that closed resets."""
        for _ in range(TIMES):
            self.assertEqual(self.verdict(after_the_end, half_closes), "")
            self.assertEqual(self.verdict(after_the_end, closes), RESET)

    def test_reply_that_cannot_be_sent(self) -> None:
        """The reset is known by the time of the next one."""
        def script(server: Any) -> None:
            after_a_while(server)
            server.delay(0.001)
            server.send_line(b"more")

        self.assertEqual(self.verdict(script, closes),
                         "the client reset the connection before 6 bytes b'more\\r\\n' could be sent")

    def test_client_that_reads_everything_has_not_reset(self) -> None:
        """Whether it closes or half-closes, and however slowly it reads."""
        for script in SCRIPTS:
            for client in POLITE:
                for _ in range(TIMES):
                    with self.subTest(script=script.__name__, client=client.__name__):
                        self.assertEqual(self.verdict(script, client), "")

    def test_server_that_disconnects(self) -> None:
        """It sends its own end with the reply; a client that had closed before resets all the same."""
        def script(server: Any) -> None:
            at_once(server)
            server.disconnect()

        for _ in range(TIMES):
            self.assertEqual(self.verdict(script, closes), RESET)
            for client in POLITE:
                with self.subTest(client=client.__name__):
                    self.assertEqual(self.verdict(script, client), "")

    @mock.patch.object(client_resets, "_POSSIBLE", 0.02)
    def test_client_that_half_closes_and_does_not_read_is_not_waited_for(self) -> None:
        """It may have a reason; only for a moment it could still be about to close."""
        with ThreadedMockTCPServer(timeout=60) as server:
            at_once(server)
            done = server.expect_disconnect()
            with socket.create_connection(server.address) as client:
                half_closes_and_leaves(client)
                begun = time.monotonic()
                done.result()
                self.assertLess(time.monotonic() - begun, 30)
                read_all(client)

    @mock.patch.object(client_resets, "_POSSIBLE", 0.04)
    def test_time_out_does_not_count_while_it_is_looked(self) -> None:
        """A client that has ended its stream is never said to be connected still."""
        with ThreadedMockTCPServer(timeout=10) as server:
            at_once(server)
            server.expect_disconnect(timeout=0.02)
            with socket.create_connection(server.address) as client:
                half_closes_and_leaves(client)
                server.join()
                read_all(client)

    @mock.patch.object(client_resets, "_POSSIBLE", 0.02)
    def test_leaving_while_it_is_looked(self) -> None:
        """A client that has ended its stream has disconnected."""
        with ThreadedMockTCPServer(timeout=10) as server:
            at_once(server)
            client = socket.create_connection(server.address)
            self.addCleanup(client.close)
            half_closes_and_leaves(client)

    def test_heartbeats_are_nobodys_duty_to_read(self) -> None:
        """One that meets the client's end is not held against it."""
        def script(server: Any) -> None:
            server.expect_connect()
            server.every(0.0005, b"beat\r\n")
            server.expect_line(b"GET")
            server.delay(0.003)

        def client(connected: socket.socket) -> None:
            request(connected)
            connected.shutdown(socket.SHUT_WR)
            read_all(connected)

        for _ in range(TIMES):
            self.assertEqual(self.verdict(script, client), "")

    def test_clients_with_tls(self) -> None:
        """They are judged by the same measure; the library's certificates come without tickets to read."""
        context = tls.client_context()

        def over_tls(client: Callable[[Any], None]) -> Callable[[socket.socket], None]:
            def wrapped(connected: socket.socket) -> None:
                send_at_once(connected)
                with context.wrap_socket(connected, server_hostname="localhost") as secured:
                    client(secured)
            return wrapped

        self.assertEqual(self.verdict(at_once, over_tls(reads), tls=True), "")
        self.assertEqual(self.verdict(after_a_while, over_tls(reads), tls=True), "")
        self.assertEqual(self.verdict(at_once, over_tls(closes), tls=True), RESET)
        self.assertEqual(self.verdict(after_a_while, over_tls(closes), tls=True), RESET)

    @unittest.skipUnless(hasattr(socket, "AF_UNIX"), "there are no Unix-domain sockets")
    def test_clients_of_unix_sockets(self) -> None:
        """They have no RST, but what is written to one that was closed fails."""
        with socket_folder() as directory:
            path = os.path.join(directory, "socket")
            for script in SCRIPTS:
                with self.subTest(script=script.__name__):
                    self.assertEqual(self.verdict(script, closes, unix_path=path), RESET)
                    self.assertEqual(self.verdict(script, reads, unix_path=path), "")
            self.assertEqual(self.verdict(after_the_end, half_closes, unix_path=path), "")


class StreamsTests(unittest.IsolatedAsyncioTestCase):
    """Clients with asyncio's streams, in the server's loop."""

    async def verdict(self, script: Callable[[Any], None], *, half_close: bool = False, read: bool = False) -> str:
        """What is wrong with a client that does so, in the words of the report; "" if nothing is."""
        try:
            async with MockTCPServer(timeout=10) as server:
                script(server)
                server.expect_disconnect()
                reader, writer = await asyncio.open_connection(*server.address)
                writer.write(b"GET\r\n")
                if half_close:
                    writer.write_eof()
                if read:
                    await (reader.read() if half_close else reader.readline())
                writer.close()
                await writer.wait_closed()
        except ExpectationError as error:
            return verdict_of(error)
        return ""

    async def test_client_that_is_gone_before_the_reply(self) -> None:
        """It has reset the connection."""
        for script in SCRIPTS:
            for half_close in (False, True):
                with self.subTest(script=script.__name__, half_close=half_close):
                    self.assertEqual(await self.verdict(script, half_close=half_close), RESET)

    async def test_client_that_reads_the_reply(self) -> None:
        """It has closed, or half-closed before."""
        for script in SCRIPTS:
            for half_close in (False, True):
                with self.subTest(script=script.__name__, half_close=half_close):
                    self.assertEqual(await self.verdict(script, half_close=half_close, read=True), "")
        self.assertEqual(await self.verdict(after_the_end, half_close=True, read=True), "")


if __name__ == "__main__":
    unittest.main()
