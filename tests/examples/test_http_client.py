"""A client of the standard library that blocks: `http.client`.

A client that blocks needs a server in another thread: `ThreadedMockTCPServerMixin`, with `unittest.TestCase`. The
script reads as it would for an asynchronous client.
"""

from __future__ import annotations

import http.client
import unittest

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.matchers import StartsWith


class HTTPClientTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """What http.client says, and how it takes answers that real servers seldom give."""

    def setUp(self) -> None:
        self.client = http.client.HTTPConnection(*self.tcpserver.address, timeout=10)
        self.addCleanup(self.client.close)  # the server judges after this

    def test_get(self) -> None:
        """A request is one block of lines; the body ends where the header says."""
        self.tcpserver.expect_connect()
        request = self.tcpserver.expect_until(b"\r\n\r\n", StartsWith(b"GET /index.html HTTP/1.1\r\n"))
        self.tcpserver.send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        self.tcpserver.expect_disconnect()

        self.client.request("GET", "/index.html")
        self.assertEqual(self.client.getresponse().read(), b"hello")
        self.assertIn(b"Host: 127.0.0.1:%d" % self.tcpserver.port, request.result())

    def test_two_requests_on_one_connection(self) -> None:
        """The connection is kept for the next request."""
        self.tcpserver.expect_connect()
        for body in (b"one", b"two"):
            self.tcpserver.expect_until(b"\r\n\r\n")
            self.tcpserver.send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)
        self.tcpserver.expect_disconnect()

        for body in (b"one", b"two"):
            self.client.request("GET", "/")
            self.assertEqual(self.client.getresponse().read(), body)

    def test_body_that_is_cut_short(self) -> None:
        """A server that goes away in the midst of a body is no complete answer."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_until(b"\r\n\r\n")
        self.tcpserver.send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        self.tcpserver.disconnect()

        self.client.request("GET", "/")
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.client.getresponse().read()
        self.assertEqual(caught.exception.partial, b"hello")

    def test_answer_without_an_answer(self) -> None:
        """A server that closes instead of answering is an error of its own."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_until(b"\r\n\r\n")
        self.tcpserver.disconnect()

        self.client.request("GET", "/")
        with self.assertRaises(http.client.RemoteDisconnected):
            self.client.getresponse()
