"""A client in another process, in another language: curl, over TLS, run without blocking the test's loop."""

from __future__ import annotations

import asyncio
import shutil
import unittest

from tcpclient_testing import MockTCPServer, MockTCPServerMixin, tls
from tests.support.platforms import needs_asyncio_processes

# curl's own exit codes: curl(1), EXIT CODES.
PEER_FAILED_VERIFICATION = 60


async def curl(port: int, *options: str) -> tuple[int, bytes]:
    """Run the client under test; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--noproxy", "*", "--http1.1", *options, f"https://localhost:{port}/hello",
        stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output


@unittest.skipUnless(shutil.which("curl"), "needs curl")
@needs_asyncio_processes
class CurlTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """curl meets servers whose certificate it trusts, and others."""

    def expect_request(self, server: MockTCPServer) -> None:
        """The client asks for /hello, and is answered."""
        server.expect_until(b"\r\n\r\n")
        server.send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nworld\n")
        server.expect_disconnect()

    async def test_request(self) -> None:
        """With the package's authority as its ``--cacert``, curl trusts the server."""
        server = self.start_tcpserver(tls=True)
        server.expect_connect()
        self.expect_request(server)

        self.assertEqual(await curl(server.port, "--cacert", str(tls.authority_path)), (0, b"world\n"))

    async def test_untrusted_and_misnamed_certificates_are_refused(self) -> None:
        """curl sends an alert for the one; it looks at the name when the handshake is over, and leaves."""
        for certificate in ("unknown-authority", "wrong-name"):
            server = self.start_tcpserver(tls=certificate)
            server.expect_connect()
            server.expect_tls_failure()

            code, _ = await curl(server.port, "--cacert", str(tls.authority_path))
            self.assertEqual(code, PEER_FAILED_VERIFICATION)
            await server.join()


if __name__ == "__main__":
    unittest.main()
