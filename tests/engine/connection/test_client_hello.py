"""What is read from a client's first bytes over TLS."""

from __future__ import annotations

import ssl
import unittest

from tcpclient_testing import tls
from tcpclient_testing.engine.connection.client_hello import begins_tls, is_client_hello, server_name


def hello(name: str) -> bytes:
    """The first bytes of a client that wants this server."""
    outgoing = ssl.MemoryBIO()
    client = tls.client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class ServerNameTests(unittest.TestCase):
    def test_name_is_read(self) -> None:
        """The name that the client asks for is there, whatever else it sent."""
        self.assertEqual(server_name(hello("some.localhost")), "some.localhost")
        self.assertEqual(server_name(hello("localhost") + b"\x14\x03\x03\x00\x01\x01"), "localhost")

    def test_name_is_read_across_records(self) -> None:
        """A ClientHello may be spread over records (RFC 8446, 5.1)."""
        whole = hello("localhost")
        head, body = whole[:3], whole[5:]
        records = b"".join(head + len(body[at:at + 50]).to_bytes(2, "big") + body[at:at + 50]
                           for at in range(0, len(body), 50))
        self.assertEqual(server_name(records), "localhost")

    def test_none_for_an_address_and_for_an_unfinished_message(self) -> None:
        """No name was sent, or not all of it: None, and never an exception."""
        self.assertIsNone(server_name(hello("127.0.0.1")))
        whole = hello("localhost")
        for length in range(len(whole)):
            self.assertIsNone(server_name(whole[:length]), length)

    def test_none_for_what_is_damaged(self) -> None:
        """Any byte may be wrong: there is a name, or None."""
        whole = hello("localhost")
        for position in range(len(whole)):
            for value in (0x00, 0x7F, 0xFF):
                damaged = whole[:position] + bytes((value,)) + whole[position + 1:]
                self.assertIsInstance(server_name(damaged) or "", str)


class RecognitionTests(unittest.TestCase):
    def test_first_bytes_of_tls(self) -> None:
        """A handshake record, or the old form of a ClientHello, may begin TLS; text may not."""
        whole = hello("localhost")
        for data in (whole, whole[:1], whole[:2], b"\x80\x2e\x01\x03\x01"):
            self.assertTrue(begins_tls(data), data)
        for text in (b"G", b"GET / HTTP/1.1\r\n", b"\x00\x00\x00\x05hello", b"\x16\x16", b"\x17\x03\x03"):
            self.assertFalse(begins_tls(text), text)

    def test_client_hello(self) -> None:
        """Only a ClientHello is one."""
        whole = hello("localhost")
        self.assertTrue(is_client_hello(whole))
        for data in (b"", whole[:5], b"\x16\x03\x01\x00\x05\x02", b"GET /x"):
            self.assertFalse(is_client_hello(data), data)
