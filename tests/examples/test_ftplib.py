"""A client that needs two servers: `ftplib` (RFC 959), with a connection for commands and one for data."""

from __future__ import annotations

import ftplib
import io
import unittest

from tcpclient_testing import ThreadedMockTCPServerMixin


class FTPTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """Files are fetched and stored; one server has the commands, the other the data."""

    def setUp(self) -> None:
        self.data = self.start_tcpserver(host="127.0.0.1")

    def expect_command(self, command: bytes, reply: bytes) -> None:
        """Script a command and its reply."""
        self.tcpserver.expect_line(command)
        self.tcpserver.send_line(reply)

    def expect_login(self) -> None:
        """Script the beginning of every session, to the point at which the client knows where the data are."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_line(b"220 ready")
        self.expect_command(b"USER anonymous", b"331 password, please")
        self.expect_command(b"PASS anonymous@", b"230 welcome")
        self.expect_command(b"TYPE I", b"200 binary it is")
        self.expect_command(b"PASV", b"227 entering passive mode (127,0,0,1,%d,%d)" % divmod(self.data.port, 256))

    def connect(self) -> ftplib.FTP:
        """Make the client under test."""
        client = ftplib.FTP(timeout=10)
        client.connect(*self.tcpserver.address)
        client.login()
        return client

    def test_retrieve(self) -> None:
        """A file is what comes on the data connection, to its end."""
        self.expect_login()
        self.expect_command(b"RETR notes.txt", b"150 here it comes")
        self.data.expect_connect()
        self.data.send_bytes(b"line 1\nline 2\n")
        sent = self.data.disconnect()
        self.tcpserver.hold_until(sent)  # the reply comes when the file has been sent
        self.tcpserver.send_line(b"226 done")
        self.expect_command(b"QUIT", b"221 bye")
        self.tcpserver.expect_disconnect()

        received: list[bytes] = []
        client = self.connect()
        client.retrbinary("RETR notes.txt", received.append)
        client.quit()
        self.assertEqual(b"".join(received), b"line 1\nline 2\n")

    def test_retrieve_when_there_is_no_such_file(self) -> None:
        """A refusal is an exception with the server's words; the data connection is closed unused."""
        self.expect_login()
        self.expect_command(b"RETR notes.txt", b"550 no such file")
        self.data.expect_connect()
        self.data.expect_disconnect()
        self.tcpserver.expect_disconnect()

        client = self.connect()
        with self.assertRaisesRegex(ftplib.error_perm, "550 no such file"):
            client.retrbinary("RETR notes.txt", lambda data: None)
        client.close()

    def test_store(self) -> None:
        """What is stored arrives whole."""
        self.expect_login()
        self.expect_command(b"STOR big.bin", b"150 go on")
        self.data.expect_connect()
        stored = self.data.expect_exactly(100_000)
        closed = self.data.expect_disconnect()
        self.tcpserver.hold_until(closed)
        self.tcpserver.send_line(b"226 done")
        self.expect_command(b"QUIT", b"221 bye")
        self.tcpserver.expect_disconnect()

        content = bytes(range(250)) * 400
        client = self.connect()
        client.storbinary("STOR big.bin", io.BytesIO(content))
        client.quit()
        self.assertEqual(stored.result(), content)
