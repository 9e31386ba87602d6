"""A database driver that blocks, PyMySQL: the server speaks first, and each packet carries a sequence number.

A packet is a header of four bytes (the payload's length, little-endian, and the sequence number, which begins anew with
each command), and the payload (MySQL Internals Manual, "MySQL Packets").
"""

from __future__ import annotations

import importlib.util
import struct
import unittest
from typing import Any, Optional

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.framing import Framing
from tcpclient_testing.matchers import Predicate, StartsWith

HAS_PYMYSQL = importlib.util.find_spec("pymysql") is not None

COM_QUIT, COM_QUERY = b"\x01", b"\x03"
NATIVE_PASSWORD = b"mysql_native_password\0"


class Packets(Framing):
    """Packets; the payload of a frame that is sent is preceded by its sequence number, as that of one that comes is."""

    def encode(self, payload: bytes) -> bytes:
        """The first byte of the payload is the sequence number."""
        return struct.pack("<I", len(payload) - 1)[:3] + payload

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The sequence number and the payload, when they are there."""
        if len(data) < 4:
            return None
        size = int.from_bytes(data[:3], "little") + 4
        return (data[3:size], size) if len(data) >= size else None


def greeting() -> bytes:
    """The server's first packet (protocol 10): protocol 4.1, its plugins, transactions, and a scramble of 20 bytes."""
    flags = 0x0000_0200 | 0x0000_8000 | 0x0008_0000 | 0x0000_2000 | 0x0000_0008
    return (b"\x0a" + b"8.0.0-scripted\0" + struct.pack("<I", 1) + b"12345678\0" + struct.pack("<H", flags & 0xffff)
            + b"\x21" + struct.pack("<HH", 2, flags >> 16) + bytes([21]) + bytes(10) + b"123456789012\0"
            + NATIVE_PASSWORD)


OK = b"\x00\x00\x00\x02\x00\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"


def text(value: bytes) -> bytes:
    """A string with its length before it."""
    return bytes([len(value)]) + value


def column(name: bytes) -> bytes:
    """The definition of a column of strings."""
    return (text(b"def") + text(b"") * 3 + text(name) + text(name) + b"\x0c" + struct.pack("<HIBHB", 33, 255, 253, 0, 0)
            + bytes(2))


def logs_in_as_tester(packet: bytes) -> bool:
    """Whether the client's answer to the greeting has the sequence number 1 and this user."""
    return packet[:1] == b"\1" and packet[33:].startswith(b"tester\0")


def numbered(first: int, *payloads: bytes) -> list[bytes]:
    """Payloads with their sequence numbers."""
    return [bytes([number]) + payload for number, payload in enumerate(payloads, first)]


@unittest.skipUnless(HAS_PYMYSQL, "needs the package pymysql")
class MySQLTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """One query that is answered, and one that never is."""

    tcpserver_options = {"framing": Packets()}

    def expect_login(self) -> None:
        """Script the greeting and the log-in, and let the client set what it likes to set."""
        server = self.tcpserver
        server.expect_connect()
        server.send_frame(b"\0" + greeting())
        server.expect_frame(Predicate(logs_in_as_tester))
        server.send_frame(b"\2" + OK)
        server.allow(StartsWith(b"\0" + COM_QUERY + b"SET "), framing=Packets(), reply=b"\1" + OK)

    def connect(self) -> Any:
        """The client under test."""
        import pymysql
        return pymysql.connect(host=self.tcpserver.host, port=self.tcpserver.port, user="tester", password="secret",
                               ssl_disabled=True, connect_timeout=10)

    def test_rows(self) -> None:
        """The rows of a result set arrive, and the client says good-bye."""
        self.expect_login()
        server = self.tcpserver
        server.expect_frame(b"\0" + COM_QUERY + b"SELECT name FROM users")
        for frame in numbered(1, b"\x01", column(b"name"), EOF, text(b"Ada"), text(b"Grace"), EOF):
            server.send_frame(frame)
        server.expect_frame(b"\0" + COM_QUIT)
        server.expect_disconnect()

        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM users")
            self.assertEqual(cursor.fetchall(), (("Ada",), ("Grace",)))
        connection.close()

    def test_server_goes_away(self) -> None:
        """A server that disconnects in the middle of a query is an OperationalError with MySQL's own number."""
        import pymysql
        self.expect_login()
        self.tcpserver.expect_frame(StartsWith(b"\0" + COM_QUERY))
        self.tcpserver.disconnect()

        connection = self.connect()
        with self.assertRaises(pymysql.OperationalError) as caught, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        self.assertEqual(caught.exception.args[0], 2013)  # CR_SERVER_LOST


if __name__ == "__main__":
    unittest.main()
