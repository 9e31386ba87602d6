"""TLS on real sockets: every way in which it begins, goes on, ends, and comes to nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
import unittest
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin, ScriptError, tls
from tcpclient_testing.transcript.entries import NOTED
from tests.support.loops import AsyncTestCase
from tests.support.tls_client import FIN, TLSClient

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def only(version: ssl.TLSVersion, **options: Any) -> ssl.SSLContext:
    """A client's context that speaks one version of TLS."""
    return tls.client_context(minimum_version=version, maximum_version=version, **options)


def notes(server: MockTCPServer) -> list[str]:
    """What the transcript says beside the bytes."""
    return [entry.content for entry in server.transcript if entry.what == NOTED]


async def connect(server: MockTCPServer) -> socket.socket:
    """A client that speaks no TLS."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.address)
    return sock


class TLSTestCase(MockTCPServerMixin, AsyncTestCase):
    tcpserver_options = {"tls": True}

    def setUp(self) -> None:
        self.addCleanup(TLSClient.close_all)

    async def failure(self, script: Callable[[MockTCPServer], object],
                      client: Callable[[MockTCPServer], Awaitable[object]], **options: Any) -> ExpectationError:
        """Return the verdict on a client that does not keep to the script."""
        with self.assertRaises(ExpectationError) as caught:
            async with MockTCPServer(**{"tls": True, "timeout": 5.0, **options}) as server:
                script(server)
                await asyncio.wait_for(client(server), 10)
                await asyncio.wait_for(server.join(), 10)
        return caught.exception

    def assert_says(self, error: ExpectationError, words: str, hint: str | None = None) -> None:
        """The report's first line has these words, and its hint those."""
        report = str(error)
        self.assertIn(words, report.split("\n", 1)[0])
        if hint is None:
            self.assertNotIn("\n  hint\n", report)
        else:
            self.assertIn(hint, report.partition("\n  hint\n")[2])


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
        error = await self.failure(script, client, timeout=0.1)
        self.assertRegex(str(error), r"does not read: it took \d+ of 20000000 bytes")

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
        self.assert_says(await self.failure(script, client, tls=context), "it reset the connection", "num_tickets = 0")

    async def test_what_is_not_tls_after_the_handshake_is_a_mismatch(self) -> None:
        """Bytes in clear in the midst of TLS are reported at once."""
        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server)
            self.addCleanup(client.close)
            await client.loop.sock_sendall(client.sock, b"QUIT\r\n")

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line()
        self.assert_says(await self.failure(script, client), "what the client sent is not valid TLS: wrong version")

    @mock.patch("tcpclient_testing.aio.verdict._MOMENT", 0.02)
    async def test_server_is_left_with_a_handshake_under_way(self) -> None:
        """Leaving waits for no handshake; the client is told of as connected."""
        with self.assertRaisesRegex(ExpectationError, "still connected when the server is left|expects no connection"):
            async with MockTCPServer(tls=True) as server:
                client = await TLSClient.connect(server, shake=False)
                self.addCleanup(client.close)


async def plain(server: MockTCPServer) -> None:
    """A client that speaks no TLS."""
    sock = await connect(server)
    try:
        await asyncio.get_running_loop().sock_sendall(sock, b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.get_running_loop().sock_recv(sock, 100)
    except ConnectionError:
        pass
    finally:
        sock.close()


async def distrusting(server: MockTCPServer, context: ssl.SSLContext | None = None) -> None:
    """A client that refuses the certificate by an alert."""
    client = await TLSClient.connect(server, context or ssl.create_default_context(), shake=False)
    try:
        await client.handshake()
    except ssl.SSLCertVerificationError:
        pass  # its alert is out
    finally:
        client.close()


async def distrusting_stream(server: MockTCPServer) -> None:
    """An asyncio client that refuses the certificate: it closes without a word."""
    try:
        await asyncio.open_connection(server.host, server.port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        pass


async def leaving_midway(server: MockTCPServer, *, how: str) -> None:
    """A client that goes away when it has seen the server's part of the handshake."""
    client = await TLSClient.connect(server, shake=False)
    try:
        client.tls.do_handshake()
    except ssl.SSLWantReadError:
        await client.flush()
    await client.fill()
    client.reset() if how == "reset" else client.close()


class BrokenHandshakeTests(TLSTestCase):
    """Handshakes that come to nothing where the script does not want that: a report, at once, with its cause."""

    @staticmethod
    def script(server: MockTCPServer) -> None:
        server.expect_connect()
        server.expect_line(b"hello")
        server.expect_disconnect()

    async def test_plain_text(self) -> None:
        """A client that speaks no TLS is told by its first byte."""
        error = await self.failure(self.script, plain)
        self.assert_says(error, "the client sent plain text to a TLS server: b'GET / HTTP/1.1\\r\\n\\r\\n'", "use TLS")
        self.assertEqual(error.step.method if error.step else None, "expect_connect")

    async def test_one_byte_of_plain_text(self) -> None:
        """Nothing is waited for when the first byte can't be TLS."""
        async def client(server: MockTCPServer) -> None:
            sock = await connect(server)
            self.addCleanup(sock.close)
            await asyncio.get_running_loop().sock_sendall(sock, b"h")
        self.assert_says(await self.failure(self.script, client), "the client sent plain text to a TLS server: b'h'",
                         "use TLS")

    async def test_distrust(self) -> None:
        """A client that does not trust the certificate sends an alert that says so."""
        self.assert_says(await self.failure(self.script, distrusting),
                         "the client refused the server's certificate: alert 'unknown CA'", "client_context()")

    async def test_distrust_by_closing(self) -> None:
        """An asyncio client just closes: the report says when, and what the reason may be."""
        self.assert_says(await self.failure(self.script, distrusting_stream),
                         "the client ended its stream during the TLS handshake, when it had seen the server's "
                         "certificate", "client_context()")

    async def test_reset_midway(self) -> None:
        """A RST in the handshake is told as one."""
        async def client(server: MockTCPServer) -> None:
            await leaving_midway(server, how="reset")
        self.assert_says(await self.failure(self.script, client), "the client reset the connection during the TLS "
                                                                  "handshake", "client_context()")

    async def test_client_leaves_before_it_begins(self) -> None:
        """A client that connects and closes has not refused anything."""
        async def client(server: MockTCPServer) -> None:
            (await connect(server)).close()
        self.assert_says(await self.failure(self.script, client), "ended its stream before it began the TLS handshake")

    async def test_client_leaves_within_its_first_message(self) -> None:
        """A ClientHello that isn't finished is told by its size."""
        async def client(server: MockTCPServer) -> None:
            sock = await connect(server)
            await asyncio.get_running_loop().sock_sendall(sock, b"\x16\x03\x01\x02\x00")
            sock.close()
        self.assert_says(await self.failure(self.script, client),
                         "ended its stream in its first 5 bytes of the TLS handshake")

    async def test_client_never_begins(self) -> None:
        """A client that waits for the server's greeting is overdue after the step's time-out."""
        async def client(server: MockTCPServer) -> None:
            self.addCleanup((await connect(server)).close)
        error = await self.failure(self.script, client, timeout=0.05)
        self.assert_says(error, "the client did not begin its TLS handshake for 0.", "is the client told to use TLS?")

    async def test_client_never_finishes(self) -> None:
        """A handshake that stops midway is overdue after the step's time-out, counted from its last byte."""
        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server, shake=False)
            self.addCleanup(client.close)
            try:
                client.tls.do_handshake()
            except ssl.SSLWantReadError:
                await client.flush()
        error = await self.failure(self.script, client, timeout=0.05)
        self.assertRegex(str(error), r"the client did not finish its TLS handshake for 0\.\d+ s; \d+ bytes of it came")

    async def test_nothing_in_common(self) -> None:
        """Versions that exclude each other are a refusal of ours; the client reads the alert."""
        async def client(server: MockTCPServer) -> None:
            with self.assertRaisesRegex(ssl.SSLError, "(?i)alert.*protocol.version"):
                await TLSClient.connect(server, only(ssl.TLSVersion.TLSv1_2))
        context = tls.server_context(minimum_version=ssl.TLSVersion.TLSv1_3)
        self.assert_says(await self.failure(self.script, client, tls=context),
                         "client and server have no way to speak in common: unsupported protocol", "load_cert_chain")

    async def test_server_context_without_certificate(self) -> None:
        """A context that lacks its certificate looks alike, and the hint asks for it."""
        async def client(server: MockTCPServer) -> None:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                await TLSClient.connect(server)
        self.assert_says(await self.failure(self.script, client, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
                         "no way to speak in common", "load_cert_chain")

    async def test_client_without_certificate(self) -> None:
        """A client that shows no certificate where one is required reads the alert that a real server sends."""
        for version in VERSIONS:
            async def client(server: MockTCPServer, version: ssl.TLSVersion = version) -> None:
                with self.assertRaisesRegex(ssl.SSLError, "(?i)alert"):
                    await (await TLSClient.connect(server, only(version))).receive()
            error = await self.failure(self.script, client, tls=tls.server_context(client_certificates="required"))
            self.assert_says(error, "the client showed no certificate, and the server's context requires one")

    async def test_client_with_a_certificate_that_is_not_accepted(self) -> None:
        """A certificate that the server does not accept is told with OpenSSL's reason."""
        async def client(server: MockTCPServer) -> None:
            with self.assertRaisesRegex(ssl.SSLError, "(?i)alert"):
                await (await TLSClient.connect(server, tls.client_context(certificate="self-signed"))).receive()
        error = await self.failure(self.script, client, tls=tls.server_context(client_certificates="required"))
        self.assert_says(error, "the server does not accept the client's certificate: self")

    async def test_failure_that_came_early_is_kept(self) -> None:
        """A handshake that came to nothing before the script was written fails the first step that is."""
        for imperative in (False, True):
            server = MockTCPServer(tls=True)
            with self.assertRaisesRegex(ExpectationError, "plain text"):
                async with server:
                    if imperative:
                        server.expect_connect()
                    await plain(server)
                    if not imperative:
                        server.expect_connect()
                    server.expect_line(b"hello")

    async def test_failure_that_no_step_claims_is_judged_in_the_end(self) -> None:
        """A script that ends with `expect_connect()` fails when the server is left."""
        with self.assertRaisesRegex(ExpectationError, "connection 1: the client sent plain text"):
            async with MockTCPServer(tls=True) as server:
                server.expect_connect()
                await plain(server)
                await server.join()

    async def test_second_connection_is_the_one_that_failed(self) -> None:
        """A failed handshake does not make the next connection take its place."""
        def script(server: MockTCPServer) -> None:
            server.expect_connect().connection.expect_disconnect()
            server.expect_connect().connection.expect_disconnect()

        async def client(server: MockTCPServer) -> None:
            first = await TLSClient.connect(server)
            await distrusting(server)
            first.close()
        self.assertEqual((await self.failure(script, client)).connection, 2)

    async def test_tls_client_on_a_plain_server(self) -> None:
        """The reverse: the bytes of a ClientHello are a mismatch, with the advice to let the server speak TLS."""
        async def client(server: MockTCPServer) -> None:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                await TLSClient.connect(server)
        said = await self.failure(self.script, client, tls=None)
        # A random byte of it may be a quotation mark, for which repr() takes the other one.
        self.assertRegex(str(said), r"""got b['"]\\x16\\x03""")
        self.assert_says(said, "got b", "MockTCPServer(tls=True)")


class ExpectTLSFailureTests(TLSTestCase):
    async def check(self, client: Callable[[MockTCPServer], Awaitable[object]], **options: Any) -> str:
        """The client satisfies `expect_tls_failure()`; return the reason."""
        server = self.start_tcpserver(**options)
        server.expect_connect()
        step = server.expect_tls_failure()
        await client(server)
        return await step

    async def test_every_bad_certificate_is_refused(self) -> None:
        """A client that verifies refuses each of the bad certificates."""
        async def client(server: MockTCPServer) -> None:
            await distrusting(server, tls.client_context())
        for name in tls.BAD_CERTIFICATES:
            with self.subTest(name):
                reason = await self.check(client, tls=name)
                self.assertRegex(reason, "certificate|unknown CA")

    async def test_refusal_by_closing(self) -> None:
        """asyncio's clients close without an alert."""
        self.assertEqual(await self.check(distrusting_stream), "ended its stream")

    async def test_refusal_by_reset(self) -> None:
        """A RST in the handshake is a refusal."""
        async def client(server: MockTCPServer) -> None:
            await leaving_midway(server, how="reset")
        self.assertEqual(await self.check(client), "reset the connection")

    async def test_refusal_after_the_handshake(self) -> None:
        """A client that leaves after the handshake, without a byte of data, has refused."""
        for ending in ("leave", "close", "reset"):
            async def client(server: MockTCPServer, ending: str = ending) -> None:
                done = getattr(await TLSClient.connect(server), ending)()
                if ending == "leave":
                    await done
            with self.subTest(ending):
                self.assertIn(await self.check(client), ("ended its stream", "reset the connection"))

    async def test_failure_may_come_before_the_step_is_written(self) -> None:
        """In imperative style the handshake may have come to nothing when the step is written."""
        step = self.tcpserver.expect_connect()
        await distrusting(self.tcpserver)
        connection = await step
        self.assertIsNone(connection.tls)
        self.assertEqual(await connection.expect_tls_failure(), "unknown CA")

    async def test_client_that_accepts_any_certificate_is_the_mismatch(self) -> None:
        """A client that does not verify is found out by its first bytes."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server, context)
            self.addCleanup(client.close)
            await client.send(b"LOGIN root\r\n")
        self.assert_says(await self.failure(self.script, client, tls="expired"),
                         "expected the client to refuse TLS, it finished the handshake and sent 12 bytes: "
                         "b'LOGIN root\\r\\n'")

    async def test_client_that_stays_is_the_mismatch(self) -> None:
        """A client that stays connected after the handshake has not refused."""
        async def client(server: MockTCPServer) -> None:
            self.addCleanup((await TLSClient.connect(server)).close)
        self.assert_says(await self.failure(self.script, client, timeout=0.1),
                         "it finished the handshake and is still connected after 0.1 s")

    async def test_client_that_saw_no_certificate_is_the_mismatch(self) -> None:
        """Who leaves before the certificate came, or speaks no TLS, has not refused it."""
        async def leaving(server: MockTCPServer) -> None:
            (await connect(server)).close()
        self.assert_says(await self.failure(self.script, leaving),
                         "expected the client to refuse TLS, but the client ended its stream before it began the TLS")
        self.assert_says(await self.failure(self.script, plain),
                         "expected the client to refuse TLS, but the client sent plain text")

    async def test_server_may_have_to_refuse(self) -> None:
        """``by="server"`` wants the refusal to be ours, and nothing else."""
        required = tls.server_context(client_certificates="required")
        server = self.start_tcpserver(tls=required)
        server.expect_connect()
        step = server.expect_tls_failure(by="server")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)alert"):
            await (await TLSClient.connect(server)).receive()
        self.assertEqual(await step, "no certificate")

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_tls_failure(by="server")
        self.assert_says(await self.failure(script, distrusting, tls=required),
                         "expected the server to refuse the client's TLS, but the client refused")

        async def client(server: MockTCPServer) -> None:
            await (await TLSClient.connect(server)).leave()
        self.assert_says(await self.failure(script, client), "the handshake was finished before the client")

    @staticmethod
    def script(server: MockTCPServer) -> None:
        server.expect_connect()
        server.expect_tls_failure()


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

    @staticmethod
    async def asking(server: MockTCPServer) -> TLSClient:
        """A client that asks for TLS, and begins its handshake without waiting for the go-ahead."""
        client = await TLSClient.connect(server, shake=False)
        try:
            client.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
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
            try:
                client.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
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

    async def test_client_never_begins_its_handshake(self) -> None:
        """The time-out is that of `start_tls`."""
        async def client(server: MockTCPServer) -> None:
            self.addCleanup((await self.ask(server)).close)
        error = await self.failure(self.script, client, tls=None, timeout=0.05)
        self.assert_says(error, "the client did not begin its TLS handshake for 0.", "told to use TLS")
        self.assertEqual(error.step.method if error.step else None, "start_tls")

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


class MisuseTests(TLSTestCase):
    def test_argument_is_checked_when_the_server_is_made(self) -> None:
        """What can't be a server's TLS is refused before anything listens."""
        for wrong, error, words in (
            ("nothing-such", ValueError, "no certificate is called 'nothing-such'"),
            ("no/such/file.pem", FileNotFoundError, "no/such/file.pem"),
            (ssl.create_default_context(), ValueError, "is for clients"),
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
        with self.assertRaisesRegex(ScriptError, r"comes after start_tls\(\), or after the expect_connect\(\)"):
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
