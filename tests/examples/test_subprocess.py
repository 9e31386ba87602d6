"""A client in another process, which might be written in any language."""

from __future__ import annotations

import subprocess
import sys
import unittest

from tcpclient_testing import ExpectationError, ThreadedMockTCPServer, ThreadedMockTCPServerMixin

CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as client:
    client.sendall(b"hello from process\\r\\n")
    answer = client.recv(100)
print(answer.decode().strip())
"""


class SubprocessTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """The client is a program; what it does and what it prints are tested together."""

    def run_client(self, port: int) -> subprocess.CompletedProcess[str]:
        """Run the program that is tested."""
        command = [sys.executable, "-c", CLIENT, str(port)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_program(self) -> None:
        """The program says its line, and prints the answer."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_line(b"hello from process")
        self.tcpserver.send_line(b"hello, process")
        self.tcpserver.expect_disconnect()

        ended = self.run_client(self.tcpserver.port)
        self.assertEqual((ended.returncode, ended.stdout), (0, "hello, process\n"), ended.stderr)

    def test_program_when_it_says_something_else(self) -> None:
        """A program that does not keep to the script is let go at once, and reported."""
        with self.assertRaisesRegex(ExpectationError, "expected b'HELLO"), ThreadedMockTCPServer() as server:
            server.expect_connect()
            server.expect_line(b"HELLO")
            ended = self.run_client(server.port)
        self.assertIn("ConnectionResetError", ended.stderr)
