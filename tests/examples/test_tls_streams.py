"""An asyncio client over TLS: what it says, which server it asks for, and which certificates it has to refuse."""

from __future__ import annotations

import asyncio
import ssl
import unittest

from tcpclient_testing import MockTCPServerMixin, tls


async def greet(port: int, context: ssl.SSLContext) -> bytes:
    """The client under test: says hello over TLS, and returns the answer."""
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    try:
        writer.write(b"hello\r\n")
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


class GreetingTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """A client meets a server that speaks TLS from the first byte."""

    async def test_greeting(self) -> None:
        """The script is the same as over plain TCP; the connection tells what was agreed on."""
        server = self.start_tcpserver(tls=True)
        connected = server.expect_connect()
        server.expect_line(b"hello")
        server.send_line(b"world")
        server.expect_disconnect()

        self.assertEqual(await greet(server.port, tls.client_context()), b"world\r\n")
        agreed = (await connected).tls
        assert agreed is not None
        self.assertEqual(agreed.server_name, "localhost")

    async def test_client_certificate(self) -> None:
        """The client shows its certificate to a server that requires one."""
        server = self.start_tcpserver(tls=tls.server_context(client_certificates="required"))
        connected = server.expect_connect()
        server.expect_line(b"hello")
        server.send_line(b"world")
        server.expect_disconnect()

        await greet(server.port, tls.client_context(certificate="client"))
        agreed = (await connected).tls
        assert agreed is not None
        self.assertIsNotNone(agreed.peer_certificate)

    async def test_bad_certificates_are_refused(self) -> None:
        """The client refuses every certificate that is wrong in one respect."""
        for certificate in tls.BAD_CERTIFICATES:
            server = self.start_tcpserver(tls=certificate)
            server.expect_connect()
            server.expect_tls_failure()
            with self.assertRaises(ssl.SSLCertVerificationError):
                await greet(server.port, tls.client_context())
            await server.join()


if __name__ == "__main__":
    unittest.main()
