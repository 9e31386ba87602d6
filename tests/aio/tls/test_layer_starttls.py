"""Tests of connections that begin in clear and go on over TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, tls
from tcpclient_testing.engine.connection.handshake import HANDSHAKE_DONE
from tests.support.loops import timeless
from tests.support.platforms import needs_clients
from tests.support.tls_cases import (
    VERSIONS,
    TLSTestCase,
    connect,
    only,
)
from tests.support.tls_client import FIN, TLSClient
from tests.support.transcripts import notes


class StartTLSTests(TLSTestCase):
    tcpserver_options = {}

    @staticmethod
    def script(server: MockTCPServer) -> None:
        server.expect_connect()
        server.expect_line(b"STARTTLS")
        server.send_line(b"220 go ahead")
        server.start_tls()
        server.expect_line(b"hello")
        server.send_line(b"world")
        server.expect_disconnect()

    @staticmethod
    async def ask(server: MockTCPServer, line: bytes = b"STARTTLS\r\n", **options: Any) -> TLSClient:
        """A client that has asked for TLS and got the go-ahead."""
        client = await TLSClient.connect(server, shake=False, **options)
        await client.loop.sock_sendall(client.sock, line)
        await client.loop.sock_recv(client.sock, 100)
        return client

    async def test_connection_is_upgraded(self) -> None:
        """In clear until the go-ahead, over TLS from there on; the transcript has it all."""
        for version in VERSIONS:
            server = self.start_tcpserver()
            self.script(server)
            client = await self.ask(server, context=only(version))
            await client.handshake()
            await client.send(b"hello\r\n")
            self.assertEqual(await client.receive_exactly(7), b"world\r\n")
            await client.leave()
            await server.join()
            connection = server.connections[0]
            self.assertEqual(connection.received, b"STARTTLS\r\nhello\r\n")
            assert connection.tls is not None
            self.assertEqual(connection.tls.server_name, "localhost")

    async def test_session_tickets_left_unread_are_named(self) -> None:
        """They are all that can be unread, since the client has read the go-ahead."""
        context = tls.server_context()
        context.num_tickets = 2

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line(b"STARTTLS")
            server.send_line(b"220 go ahead")
            server.start_tls(context)
            server.expect_disconnect()

        async def client(server: MockTCPServer) -> None:
            client = await self.ask(server, context=only(ssl.TLSVersion.TLSv1_3))
            await client.handshake()
            while not any(note.startswith(HANDSHAKE_DONE) for note in notes(server)):
                await asyncio.sleep(0)
            client.reset()
        said = await self.failure(script, client, tls=None)
        self.assert_says(said, "the client closed with the server's TLS session tickets unread (a reset)",
                         "num_tickets = 0")

    async def test_steps_may_be_awaited_one_by_one(self) -> None:
        """In imperative style the client may have begun its handshake, or gone on in clear, before the upgrade."""
        for late, words in ((b"", None), (b"EHLO me\r\n", "plain text instead of beginning the TLS handshake")):
            server = MockTCPServer()
            await server.start()
            self.addCleanup(server.close)
            client = await TLSClient.connect(server, shake=False)
            connection = await server.expect_connect()
            await connection.send_line(b"220 go ahead")
            await client.loop.sock_recv(client.sock, 100)
            shaking = asyncio.ensure_future(client.loop.sock_sendall(client.sock, late) if late else client.handshake())
            while not connection.received:
                await asyncio.sleep(0)
            if words is None:
                await connection.start_tls()
                await shaking
                await client.leave()
            else:
                await connection.start_tls()
                with self.assertRaisesRegex(ExpectationError, words):
                    await connection.expect_line()

    @needs_clients
    async def test_server_that_takes_its_time_after_the_go_ahead(self) -> None:
        """The client has begun its handshake when the server is ready at last, or has given up."""
        for patient in (True, False):
            server, ready = MockTCPServer(), asyncio.Event()
            await server.start()
            self.addCleanup(server.close)
            server.expect_connect()
            server.expect_line(b"STARTTLS")
            server.send_line(b"220 go ahead")
            server.hold_until(ready)
            server.delay(0.001)
            server.start_tls()
            client = await self.ask(server)
            shaking = asyncio.ensure_future(client.handshake())
            while b"\x16\x03" not in server.connections[0].received:
                await asyncio.sleep(0)
            if patient:
                ready.set()
                await shaking
                await client.leave()
            else:
                shaking.cancel()
                client.sock.shutdown(socket.SHUT_WR)
                while "ended its stream" not in "".join(server._judgement.conversation_so_far()):
                    await asyncio.sleep(0)
                ready.set()
                with self.assertRaises(ExpectationError) as caught:
                    await server.join()
                client.close()
                self.assert_says(caught.exception, "ended its stream before the TLS handshake")

    @timeless
    async def test_clear_bytes_before_a_go_ahead_and_a_delay_are_a_mismatch(self) -> None:
        """A client that does not wait for the go-ahead has not waited, however late the upgrade."""
        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line(b"STARTTLS")
            server.delay(0.01)
            server.send_line(b"220 go ahead")
            server.delay(0.01)
            server.start_tls()

        self.assert_says(await self.failure(script, self.hurry, tls=None),
                         "in clear before the server was ready")

    @staticmethod
    def without_go_ahead(server: MockTCPServer) -> None:
        """A script in which the client begins its handshake when it likes. What was sent before is no go-ahead."""
        server.expect_connect()
        server.send_line(b"220 welcome")
        server.expect_line(b"STARTTLS")
        server.start_tls()

    async def test_handshake_without_a_go_ahead(self) -> None:
        """It may have begun before the server was ready, since nothing was to be waited for."""
        for begins_with in ("the request", "connecting"):
            with self.subTest(begins_with=begins_with):
                async with MockTCPServer() as server:
                    client = await TLSClient.connect(server, shake=False)
                    client.begin_handshake()
                    first = client.outgoing.read()
                    if begins_with == "connecting":
                        await client.loop.sock_sendall(client.sock, first)
                        server.expect_connect()
                        server.start_tls()
                    else:
                        self.without_go_ahead(server)
                        await client.loop.sock_sendall(client.sock, b"STARTTLS\r\n" + first)
                        await client.loop.sock_recv(client.sock, len(b"220 welcome\r\n"))
                    await client.handshake()
                    await server.join()
                    await client.leave()

    async def test_clear_bytes_without_a_go_ahead_are_a_mismatch(self) -> None:
        """They are no handshake."""
        async def client(server: MockTCPServer) -> None:
            client = await self.ask(server, b"STARTTLS\r\nRSET\r\n")
            self.addCleanup(client.close)
        self.assert_says(await self.failure(self.without_go_ahead, client, tls=None),
                         "in clear before the server was ready for TLS: b'RSET\\r\\n'")

    async def test_handshake_that_begins_where_a_line_is_due(self) -> None:
        """The hint is not that the server speaks no TLS, where the script has an upgrade further on."""
        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line(b"STARTTLS")
            server.expect_line(b"AUTH")
            server.send_line(b"220 go ahead")
            server.start_tls()

        said = await self.failure(script, self.hurry, tls=None)
        self.assert_says(said, "the client began its TLS handshake before the script reached start_tls() (connection ",
                         "the client has to wait for the server's go-ahead")
        self.assertNotIn("expected b'AUTH', got", str(said))  # nobody compares that with a ClientHello

    async def test_clear_bytes_before_an_awaited_go_ahead_are_a_mismatch(self) -> None:
        """What came before the go-ahead stays before it, whenever the upgrade is asked for."""
        server = MockTCPServer()
        await server.start()
        self.addCleanup(server.close)
        client = await self.asking(server)
        connection = await server.expect_connect()
        await connection.expect_line(b"STARTTLS")
        await connection.send_line(b"220 go ahead")
        with self.assertRaisesRegex(ExpectationError, "in clear before the server was ready for TLS"):
            await connection.start_tls()
        client.close()

    async def hurry(self, server: MockTCPServer) -> None:
        """Ask for TLS, and begin the handshake when the server has read that, without waiting for the go-ahead."""
        client = await TLSClient.connect(server, shake=False)
        self.addCleanup(client.close)
        client.begin_handshake()
        await client.loop.sock_sendall(client.sock, b"STARTTLS\r\n")
        while not server.connections or not server.connections[0].received:
            await asyncio.sleep(0)
        await client.flush()

    @staticmethod
    async def asking(server: MockTCPServer) -> TLSClient:
        """A client that asks for TLS, and begins its handshake without waiting for the go-ahead."""
        client = await TLSClient.connect(server, shake=False)
        client.begin_handshake()
        await client.loop.sock_sendall(client.sock, b"STARTTLS\r\n" + client.outgoing.read())
        return client

    @unittest.skipUnless(hasattr(asyncio.StreamWriter, "start_tls"), "needs Python 3.11")
    async def test_streams_of_asyncio_are_upgraded(self) -> None:
        """A client that upgrades its streams passes, and is watched."""
        self.script(self.tcpserver)
        reader, writer = await asyncio.open_connection(*self.tcpserver.address)
        writer.write(b"STARTTLS\r\n")
        self.assertEqual(await reader.readline(), b"220 go ahead\r\n")
        await writer.start_tls(tls.client_context(), server_hostname="localhost")  # type: ignore[attr-defined]
        writer.write(b"hello\r\n")
        self.assertEqual(await reader.readline(), b"world\r\n")
        writer.close()
        await writer.wait_closed()

    async def test_clear_bytes_before_the_go_ahead_are_a_mismatch(self) -> None:
        """A command that came with the request for TLS is never taken for one under TLS (CVE-2011-0411)."""
        async def client(server: MockTCPServer) -> None:
            client = await self.ask(server, b"STARTTLS\r\nRSET\r\n")
            self.addCleanup(client.close)
        self.assert_says(await self.failure(self.script, client, tls=None),
                         "the client sent 6 bytes in clear before the server was ready for TLS: b'RSET\\r\\n'")

    async def test_client_that_does_not_wait_for_the_go_ahead_is_a_mismatch(self) -> None:
        """A ClientHello that came with the request for TLS is no better."""
        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server, shake=False)
            self.addCleanup(client.close)
            client.begin_handshake()
            await client.loop.sock_sendall(client.sock, b"STARTTLS\r\n" + client.outgoing.read())
        self.assert_says(await self.failure(self.script, client, tls=None), "in clear before the server was ready")

    async def test_clear_bytes_after_the_go_ahead_are_a_mismatch(self) -> None:
        """A client that goes on in clear does not begin its handshake."""
        async def client(server: MockTCPServer) -> None:
            client = await self.ask(server)
            self.addCleanup(client.close)
            await client.loop.sock_sendall(client.sock, b"EHLO me\r\n")
        self.assert_says(await self.failure(self.script, client, tls=None),
                         "the client sent plain text instead of beginning the TLS handshake: b'EHLO me\\r\\n'")

    @timeless
    async def test_client_never_begins_its_handshake(self) -> None:
        """The time-out is that of `start_tls`."""
        async def client(server: MockTCPServer) -> None:
            self.addCleanup((await self.ask(server)).close)
        error = await self.failure(self.script, client, tls=None, timeout=0.05)
        self.assert_says(error, "the client did not begin its TLS handshake for 0.", "configured to use TLS")
        self.assertEqual(error.step.method if error.step else None, "start_tls")

    async def test_heartbeats_wait_for_the_handshake(self) -> None:
        """One that is due before the client begins comes over TLS when the handshake is done, and then they go on."""
        due = asyncio.Event()

        def beat(_: Any) -> bytes:
            due.set()
            return b"beat\r\n"

        server = self.tcpserver
        server.expect_connect()
        server.expect_line(b"STARTTLS")
        server.send_line(b"220 go ahead")
        beats = server.every(0.001, beat)
        server.start_tls()
        server.expect_line(b"bye")
        server.disconnect()
        client = await self.ask(server)
        await asyncio.wait_for(due.wait(), 30)
        await client.handshake()
        self.assertEqual(await client.receive_exactly(18), b"beat\r\n" * 3)
        beats.stop()
        await client.send(b"bye\r\n")
        while await client.receive() not in (b"", FIN):
            pass
        await client.leave()

    async def test_client_leaves_instead(self) -> None:
        """A client that leaves after the go-ahead is told by when it did."""
        async def client(server: MockTCPServer) -> None:
            (await self.ask(server)).close()
        self.assert_says(await self.failure(self.script, client, tls=None), "before")

    async def test_client_has_left_before_the_upgrade(self) -> None:
        """A client whose stream has ended can begin nothing."""
        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_eof()
            server.start_tls()

        async def client(server: MockTCPServer) -> None:
            (await connect(server)).close()
        self.assert_says(await self.failure(script, client, tls=None), "ended its stream before the TLS handshake")

    async def test_client_must_refuse(self) -> None:
        """`expect_tls_failure()` after the upgrade: the client refuses the certificate."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"STARTTLS")
        self.tcpserver.send_line(b"220 go ahead")
        self.tcpserver.start_tls("expired")
        step = self.tcpserver.expect_tls_failure()
        client = await self.ask(self.tcpserver)
        with self.assertRaises(ssl.SSLCertVerificationError):
            await client.handshake()
        client.close()
        self.assertEqual(await step, "certificate expired")


if __name__ == "__main__":
    unittest.main()
