"""Tests of handshakes that come to nothing, where the script does not want that, and where it does."""

from __future__ import annotations

import asyncio
import ssl
import unittest
from collections.abc import Awaitable, Callable
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, tls
from tests.support.loops import timeless
from tests.support.tls_cases import (
    VERSIONS,
    TLSTestCase,
    connect,
    distrusting,
    distrusting_stream,
    leaving_midway,
    only,
    plain,
)
from tests.support.tls_client import TLSClient


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

    @timeless
    async def test_client_never_begins(self) -> None:
        """A client that waits for the server's greeting is overdue after the step's time-out."""
        async def client(server: MockTCPServer) -> None:
            self.addCleanup((await connect(server)).close)
        error = await self.failure(self.script, client, timeout=0.05)
        self.assert_says(error, "the client did not begin its TLS handshake for 0.",
                         "is the client configured to use TLS?")

    @timeless
    async def test_client_never_finishes(self) -> None:
        """A handshake that stops midway is overdue after the step's time-out, counted from its last byte."""
        async def client(server: MockTCPServer) -> None:
            client = await TLSClient.connect(server, shake=False)
            self.addCleanup(client.close)
            client.begin_handshake()
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
                         "client and server could not agree on TLS parameters: unsupported protocol", "load_cert_chain")

    async def test_server_context_without_certificate(self) -> None:
        """A context that lacks its certificate looks alike, and the hint asks for it."""
        async def client(server: MockTCPServer) -> None:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                await TLSClient.connect(server)
        self.assert_says(await self.failure(self.script, client, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
                         "could not agree on TLS parameters", "load_cert_chain")

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
        with self.assertRaisesRegex(ExpectationError, r"^the client sent plain text to a TLS server: b'.*' "
                                                      r"\(connection 1, step 1 of 1, "):
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
        """The reverse: a ClientHello is named, and its bytes are a mismatch. The advice: let the server speak TLS."""
        async def client(server: MockTCPServer) -> None:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                await TLSClient.connect(server)
        said = await self.failure(self.script, client, tls=None)
        self.assert_says(said, "the client began a TLS handshake, and this server speaks plain text (connection 1, ",
                         "give the server the option tls=True")
        # A random byte of it may be a quotation mark, for which repr() takes the other one.
        self.assertRegex(said.mismatch.summary, r"""got b['"]\\x16\\x03""")


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

    @timeless
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


if __name__ == "__main__":
    unittest.main()
