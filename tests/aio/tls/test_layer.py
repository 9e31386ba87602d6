"""Tests of `tcpclient_testing.aio.tls.layer`: what passes over TLS, what was agreed on, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
import unittest
from typing import Any
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, ScriptError, tls
from tests.support.loops import timeless
from tests.support.tls_cases import (
    VERSIONS,
    TLSTestCase,
    connect,
    default_context,
    distrusting,
    only,
)
from tests.support.tls_client import FIN, TLSClient
from tests.support.transcripts import notes


class ConversationTests(TLSTestCase):
    async def test_messages_pass_in_both_directions_over_each_version(self) -> None:
        """A script over TLS is the same as over plain TCP; what is received and sent is the clear text."""
        for version in VERSIONS:
            server = self.start_tcpserver()
            server.expect_connect()
            server.expect_line(b"hello")
            server.send_line(b"world")
            server.expect_disconnect()
            client = await TLSClient.connect(server, only(version))
            await client.send(b"hello\r\n")
            self.assertEqual(await client.receive_exactly(7), b"world\r\n")
            await client.leave()
            await server.join()
            connection = server.connections[0]
            self.assertEqual((connection.received, connection.sent), (b"hello\r\n", b"world\r\n"))
            assert connection.tls is not None
            self.assertEqual(connection.tls.version, version.name.replace("_", "."))

    async def test_streams_of_asyncio_talk_and_close(self) -> None:
        """An asyncio client that closes in good order satisfies `expect_disconnect()`, its streams watched."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"hello")
        self.tcpserver.send_line(b"world")
        self.tcpserver.expect_disconnect()
        reader, writer = await asyncio.open_connection("localhost", self.tcpserver.port, ssl=tls.client_context())
        writer.write(b"hello\r\n")
        self.assertEqual(await reader.readline(), b"world\r\n")
        writer.close()
        await writer.wait_closed()

    async def test_server_speaks_first(self) -> None:
        """What the server sends first waits for the handshake."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_line(b"220 ready")
        self.tcpserver.expect_disconnect()
        client = await TLSClient.connect(self.tcpserver)
        self.assertEqual(await client.receive_exactly(11), b"220 ready\r\n")
        await client.leave()

    async def test_bulk_passes_both_ways(self) -> None:
        """Megabytes arrive whole in both directions, under flow control."""
        size = 3_000_000
        data = bytes(range(256)) * (size // 256)
        self.tcpserver.expect_connect()
        received = self.tcpserver.expect_exactly(len(data))
        self.tcpserver.send_bytes(data)
        self.tcpserver.expect_disconnect()
        client = await TLSClient.connect(self.tcpserver)
        await client.send(data)
        self.assertEqual(await client.receive_exactly(len(data)), data)
        await client.leave()
        await self.tcpserver.join()
        self.assertEqual(received.result(), data)

    async def test_records_split_byte_by_byte_are_joined(self) -> None:
        """How the wire splits the handshake and the records is never visible."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"hello")
        self.tcpserver.expect_disconnect()
        client = await TLSClient.connect(self.tcpserver, shake=False)

        async def flush() -> None:
            for byte in client.outgoing.read():
                await client.loop.sock_sendall(client.sock, bytes((byte,)))
                await asyncio.sleep(0)
        client.flush = flush  # type: ignore[method-assign]
        await client.handshake()
        await client.send(b"hello\r\n")
        await client.leave()
        await self.tcpserver.join()
        self.assertEqual([entry.content for entry in self.tcpserver.transcript if entry.what == "received"],
                         [b"hello\r\n"])

    async def test_wrong_byte_is_reported_in_clear(self) -> None:
        """A mismatch over TLS is about the clear text."""
        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server)
            self.addCleanup(client.close)
            await client.send(b"hallo\r\n")

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line(b"hello")
        self.assert_says(await self.failure(script, client), "expected b'hello', got b'hallo'")

    async def test_client_that_does_not_read_is_told_by_what_was_taken(self) -> None:
        """The count of bytes taken is of clear text, and never more than there is."""
        async def client(server: MockTCPServer) -> None:
            self.addCleanup((await TLSClient.connect(server)).close)

        def script(server: MockTCPServer) -> None:
            server.expect_connect(timeout=30)
            server.send_bytes(bytes(20_000_000))
        error = await self.failure(script, client, timeout=0.03)
        self.assertRegex(str(error), r"does not read: it took \d+ of 20000000 bytes")

    @timeless
    async def test_reading_can_be_paused(self) -> None:
        """While reading is paused nothing is judged; then all of it is."""
        self.tcpserver.expect_connect()
        self.tcpserver.pause_reading()
        self.tcpserver.delay(0.02)
        self.tcpserver.resume_reading()
        self.tcpserver.expect_exactly(300_000, keep=False)
        self.tcpserver.expect_disconnect()
        client = await TLSClient.connect(self.tcpserver)
        await client.send(bytes(300_000))
        await client.leave()

    async def test_two_connections_keep_their_numbers(self) -> None:
        """A connection's number is that of its acceptance, whichever handshake is done first."""
        self.tcpserver.expect_connect().connection.expect_line(b"first")
        self.tcpserver.expect_connect().connection.expect_line(b"second")
        first = await TLSClient.connect(self.tcpserver, shake=False)
        second = await TLSClient.connect(self.tcpserver)
        await second.send(b"second\r\n")
        await first.handshake()
        await first.send(b"first\r\n")
        await self.tcpserver.join()
        for client in (first, second):
            await client.leave()


class BesideTheScriptTests(TLSTestCase):
    """What stands beside a script, or in place of one, works in clear text, after the handshake."""

    async def test_scripts_in_any_order(self) -> None:
        """Each connection is bound to the script that its first clear bytes satisfy."""
        with self.tcpserver.any_order():
            for name in (b"a", b"b"):
                self.tcpserver.expect_connect()
                self.tcpserver.expect_line(name)
                self.tcpserver.expect_disconnect()
        for name in (b"b", b"a"):
            client = await TLSClient.connect(self.tcpserver)
            await client.send(name + b"\r\n")
            await client.leave()

    @timeless
    async def test_heartbeats_of_both_sides(self) -> None:
        """`allow` and `every` work as over plain TCP; nothing is sent before the handshake is done."""
        self.tcpserver.allow(b"PING\r\n", reply=b"PONG\r\n")
        self.tcpserver.expect_connect()
        self.tcpserver.every(0.01, b"beat\r\n")
        self.tcpserver.expect_line(b"bye")
        self.tcpserver.disconnect()
        client = await TLSClient.connect(self.tcpserver, shake=False)
        await asyncio.sleep(0.03)
        await client.handshake()
        await client.send(b"PING\r\n")
        self.assertIn(b"PONG\r\n", [await client.receive_exactly(6) for _ in range(4)])
        await client.send(b"bye\r\n")
        while await client.receive() not in (b"", FIN):
            pass
        await client.leave()

    @timeless
    async def test_handler_upgrades_and_tells(self) -> None:
        """A handler gets connections whose handshake is done, and may upgrade those that began in clear."""
        async def serve(connection: Any) -> None:
            if connection.tls is None:
                await connection.send_line(b"go")
                await asyncio.sleep(0.02)  # the client's handshake has begun by then
                await connection.start_tls()
            await connection.send_line(connection.tls.version.encode())
            await connection.expect_disconnect()
        for in_clear in (False, True):
            server = self.start_tcpserver(handler=serve, tls=not in_clear)
            client = await TLSClient.connect(server, only(ssl.TLSVersion.TLSv1_2), shake=False)
            if in_clear:
                self.assertEqual(await client.loop.sock_recv(client.sock, 100), b"go\r\n")
            await client.handshake()
            self.assertEqual(await client.receive_exactly(9), b"TLSv1.2\r\n")
            await client.leave()


class AgreementTests(TLSTestCase):
    async def test_connection_tells_version_cipher_and_name(self) -> None:
        """`connection.tls` tells what was agreed on; None before the handshake, and on a plain connection."""
        step = self.tcpserver.expect_connect()
        self.assertIsNone(step.connection.tls)
        client = await TLSClient.connect(self.tcpserver, only(ssl.TLSVersion.TLSv1_3))
        connection = await step
        assert connection.tls is not None
        self.assertEqual((connection.tls.version, connection.tls.server_name, connection.tls.alpn_protocol,
                          connection.tls.peer_certificate), ("TLSv1.3", "localhost", None, None))
        self.assertEqual(connection.tls.cipher, client.tls.cipher()[0])  # type: ignore[index]
        self.assertRegex(repr(connection.tls), r"<TLSInfo TLSv1.3, TLS_\w+, for 'localhost'>")
        await client.leave()

    async def test_client_that_names_an_address_sends_no_name(self) -> None:
        """An IP address is not sent as a server name (RFC 6066, 3)."""
        step = self.tcpserver.expect_connect()
        client = await TLSClient.connect(self.tcpserver, hostname="127.0.0.1")
        connection = await step
        assert connection.tls is not None
        self.assertIsNone(connection.tls.server_name)
        await client.leave()

    async def test_client_certificate_is_shown(self) -> None:
        """A client's certificate is there as `ssl` decodes it."""
        for version in VERSIONS:
            server = self.start_tcpserver(tls=tls.server_context(client_certificates="required"))
            step = server.expect_connect()
            client = await TLSClient.connect(server, only(version, certificate="client"))
            connection = await step
            assert connection.tls is not None and connection.tls.peer_certificate is not None
            self.assertIn("subject", connection.tls.peer_certificate)
            self.assertIn("with a client certificate", str(connection.tls))
            await client.leave()

    async def test_protocol_is_negotiated(self) -> None:
        """ALPN's choice is there."""
        context, own = tls.server_context(), tls.client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        own.set_alpn_protocols(["http/1.1"])
        server = self.start_tcpserver(tls=context)
        step = server.expect_connect()
        client = await TLSClient.connect(server, own)
        connection = await step
        assert connection.tls is not None
        self.assertEqual(connection.tls.alpn_protocol, "http/1.1")
        await client.leave()


class EndTests(TLSTestCase):
    async def test_close_notify_and_bare_fin_are_both_a_disconnect(self) -> None:
        """`expect_disconnect()` takes either, and the transcript says which it was."""
        for version in VERSIONS:
            for polite, words in ((True, "the client ended its stream (close_notify)"),
                                  (False, "the client ended its stream without close_notify")):
                server = self.start_tcpserver()
                server.expect_connect()
                server.expect_bytes(b"bye")
                server.expect_disconnect()
                client = await TLSClient.connect(server, only(version))
                await client.send(b"bye")
                await (client.leave() if polite else asyncio.sleep(0))
                client.close()
                await server.join()
                self.assertIn(words, notes(server))

    @timeless
    async def test_client_half_closes_by_close_notify(self) -> None:
        """After a client's close_notify the server can still send (RFC 8446, 6.1)."""
        for version in VERSIONS:
            server = self.start_tcpserver()
            server.expect_connect()
            server.expect_bytes(b"question")
            server.expect_eof()
            server.send_bytes(b"answer")
            server.disconnect()
            client = await TLSClient.connect(server, only(version))
            await client.send(b"question")
            await client.say_goodbye()
            await server.join()
            # OpenSSL reads no more after its own close_notify but by its lower layers: look at the wire.
            wire = await client.fill()
            self.assertEqual(wire[:1], b"\x17")
            client.close()

    async def test_server_half_closes_and_goes_on_reading(self) -> None:
        """`send_eof()` is a close_notify and a FIN; the client may go on sending."""
        for version in VERSIONS:
            server = self.start_tcpserver()
            server.expect_connect()
            server.send_bytes(b"that is all")
            server.send_eof()
            server.expect_line(b"and from me")
            server.expect_disconnect()
            client = await TLSClient.connect(server, only(version))
            self.assertEqual(await client.receive_exactly(11), b"that is all")
            self.assertEqual(await client.receive(), b"")
            self.assertIs(await client.fill(), FIN)
            await client.send(b"and from me\r\n")
            await client.leave()
            await server.join()

    async def test_server_half_closes_when_the_client_has_sent_already(self) -> None:
        """What comes in one piece with the end of the handshake is read behind the server's farewell, too."""
        for version in VERSIONS:
            server = self.start_tcpserver()
            server.expect_connect()
            server.send_eof()
            server.expect_line(b"first")
            server.expect_line(b"second")
            server.expect_disconnect()
            client = await TLSClient.connect(server, only(version), shake=False)
            while True:
                try:
                    client.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await client.flush()
                    await client.fill()
            client.tls.write(b"first\r\n")
            await client.flush()
            self.assertEqual(await client.receive(), b"")
            await client.send(b"second\r\n")
            await client.leave()
            await server.join()

    async def test_server_disconnects(self) -> None:
        """`disconnect()` delivers everything, then a close_notify, then a FIN."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_bytes(bytes(100_000))
        self.tcpserver.disconnect()
        self.tcpserver.expect_disconnect()
        client = await TLSClient.connect(self.tcpserver)
        await client.receive_exactly(100_000)
        self.assertEqual(await client.receive(), b"")
        self.assertIs(await client.fill(), FIN)
        await client.leave()

    async def test_client_that_does_not_read_our_farewell_has_disconnected(self) -> None:
        """A close that leaves our close_notify unread is a reset on the wire; after `disconnect()` it is a close."""
        self.tcpserver.expect_connect()
        self.tcpserver.disconnect()
        self.tcpserver.expect_disconnect()
        client = await TLSClient.connect(self.tcpserver)
        while "disconnected by the server" not in notes(self.tcpserver):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        client.close()

    async def test_server_resets(self) -> None:
        """`reset()` is a RST, after what was sent."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_bytes(b"half an ans")
        self.tcpserver.reset()
        client = await TLSClient.connect(self.tcpserver)
        self.addCleanup(client.close)
        self.assertEqual(await client.receive_exactly(11), b"half an ans")
        with self.assertRaises(ConnectionResetError):
            await client.receive()

    async def test_client_resets(self) -> None:
        """A RST after the handshake is one."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_reset()
        client = await TLSClient.connect(self.tcpserver)
        client.reset()

    async def test_session_tickets_left_unread_are_named(self) -> None:
        """A context that sends tickets makes a client that never reads close by a reset: the report says so."""
        context = tls.server_context()
        context.num_tickets = 2

        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server, only(ssl.TLSVersion.TLSv1_3))
            await client.send(b"hi")
            await asyncio.sleep(0.01)
            client.close()

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_bytes(b"hi")
            server.expect_disconnect()
        said = await self.failure(script, client, tls=context)
        self.assert_says(said, "the client closed with the server's TLS session tickets unread (a reset)",
                         "num_tickets = 0")
        self.assert_cause(said, "expected the client to disconnect, but it reset the connection")

    async def test_reply_left_unread_is_named_before_session_tickets(self) -> None:
        """Tickets come before all that is sent, so that whoever has read a reply has read them, too."""
        context = tls.server_context()
        context.num_tickets = 2

        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server, only(ssl.TLSVersion.TLSv1_3))
            await client.send(b"hi")
            self.assertEqual(await client.receive_exactly(5), b"hello")
            client.reset()

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_bytes(b"hi")
            server.send_bytes(b"hello")
            server.expect_disconnect()
        said = await self.failure(script, client, tls=context)
        self.assert_says(said, "the client closed with the 5 bytes b'hello' unread (a reset)",
                         "let the client read all that it was sent before it closes")
        self.assertNotIn("tickets", str(said))

    async def test_what_is_not_tls_after_the_handshake_is_a_mismatch(self) -> None:
        """Bytes in clear in the midst of TLS are reported at once."""
        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server)
            self.addCleanup(client.close)
            await client.loop.sock_sendall(client.sock, b"QUIT\r\n")

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line()
        self.assert_says(await self.failure(script, client), "what the client sent is not valid TLS: ")

    @mock.patch("tcpclient_testing.server.leaving._MOMENT", 0.02)
    @timeless
    async def test_server_is_left_with_a_handshake_under_way(self) -> None:
        """Leaving waits for no handshake; the client is told of as connected."""
        unexpected = r"^unexpected connection 1: the script has no expect_connect\(\)\n"
        with self.assertRaisesRegex(ExpectationError, f"still connected when the server is left|{unexpected}"):
            async with MockTCPServer(tls=True) as server:
                client = await TLSClient.connect(server, shake=False)
                self.addCleanup(client.close)


class MisuseTests(TLSTestCase):
    def test_argument_is_checked_when_the_server_is_made(self) -> None:
        """What can't be a server's TLS is refused before anything listens."""
        for wrong, error, words in (
            ("nothing-such", ValueError, "no certificate is called 'nothing-such'"),
            ("no/such/file.pem", FileNotFoundError, "no/such/file.pem"),
            (default_context(), ValueError, "is for clients"),
            (42, TypeError, "got 42"),
        ):
            with self.subTest(wrong), self.assertRaisesRegex(error, words):
                MockTCPServer(tls=wrong)

    async def test_false_is_plain(self) -> None:
        """``tls=False`` is the same as none."""
        server = self.start_tcpserver(tls=False)
        server.expect_connect()
        server.expect_disconnect()
        (await connect(server)).close()

    async def test_tls_within_tls_is_refused(self) -> None:
        """`start_tls()` on a connection that speaks TLS is a mistake in the script."""
        self.tcpserver.expect_connect()
        with self.assertRaisesRegex(ScriptError, "speaks TLS already: the server has tls="):
            self.tcpserver.start_tls()
        self.tcpserver.expect_disconnect()
        await (await TLSClient.connect(self.tcpserver)).leave()

    async def test_wrong_path_is_named_where_the_step_is_written(self) -> None:
        """A certificate that isn't there is named by `start_tls` itself."""
        server = self.start_tcpserver(tls=None)
        server.expect_connect()
        with self.assertRaisesRegex(FileNotFoundError, "missing.pem"):
            server.start_tls("./missing.pem")
        server.expect_disconnect()
        (await connect(server)).close()

    async def test_failure_is_expected_only_where_a_handshake_is(self) -> None:
        """`expect_tls_failure()` has its place right after the handshake, and nothing may follow it."""
        server = self.start_tcpserver(tls=None)
        server.expect_connect()
        with self.assertRaisesRegex(ScriptError,
                                    r"must come directly after start_tls\(\), or after the expect_connect\(\)"):
            server.expect_tls_failure()
        with self.assertRaisesRegex(ValueError, "'client' or 'server', not 'me'"):
            server.expect_tls_failure(by="me")
        server.start_tls()
        with self.assertRaisesRegex(ScriptError, "speaks TLS already: start_tls()"):
            server.start_tls()
        server.expect_tls_failure()
        with self.assertRaisesRegex(ScriptError, "none may follow"):
            server.expect_disconnect()
        await distrusting(server)


if __name__ == "__main__":
    unittest.main()
