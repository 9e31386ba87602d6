"""A client that is not written in Python: curl."""

from __future__ import annotations

import shutil
import subprocess
import unittest

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.matchers import StartsWith


@unittest.skipUnless(shutil.which("curl"), "curl is not installed")
class CurlTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """What curl does with answers that are right, and with one that is not."""

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run curl for the server's address."""
        url = f"http://127.0.0.1:{self.tcpserver.port}/"
        # -q: no ~/.curlrc; --noproxy: whatever the environment says.
        command = ["curl", "-q", "--silent", "--noproxy", "*", "--max-time", "30", *arguments, url]
        return subprocess.run(command, capture_output=True, timeout=60, check=False)

    def test_get(self) -> None:
        """curl prints the body."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_until(b"\r\n\r\n", StartsWith(b"GET / HTTP/1.1\r\n"))
        self.tcpserver.send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        self.tcpserver.expect_disconnect()

        ended = self.curl()
        self.assertEqual((ended.returncode, ended.stdout), (0, b"hello"))

    def test_post(self) -> None:
        """curl sends what it is told to, and how much that is."""
        self.tcpserver.expect_connect()
        header = self.tcpserver.expect_until(b"\r\n\r\n", StartsWith(b"POST / HTTP/1.1\r\n"))
        self.tcpserver.expect_bytes(b"a=1&b=2")
        self.tcpserver.send_bytes(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.tcpserver.expect_disconnect()

        self.assertEqual(self.curl("--data", "a=1&b=2").returncode, 0)
        self.assertIn(b"content-length: 7", header.result().lower())

    def test_body_that_is_cut_short(self) -> None:
        """curl tells by its exit status (18) that a body was not complete."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_until(b"\r\n\r\n")
        self.tcpserver.send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        self.tcpserver.disconnect()

        self.assertEqual(self.curl().returncode, 18)
