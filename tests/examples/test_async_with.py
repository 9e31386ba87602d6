"""No test framework at all: the server is an asynchronous context manager."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import ExpectationError, MockTCPServer


async def check_client() -> bytes:
    """Hold a client to a script; raises `ExpectationError` if it does something else."""
    async with MockTCPServer() as server:
        server.expect_connect()
        server.expect_line(b"PING")
        server.send_line(b"PONG")
        server.expect_disconnect()

        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer


async def check_wrong_client() -> None:
    """The same with a client that sends something else, and then waits for an answer that never comes."""
    async with MockTCPServer() as server:
        server.expect_connect()
        server.expect_line(b"PING")
        server.send_line(b"PONG")
        server.expect_disconnect()

        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"PUNG\r\n")
        try:
            await reader.readline()
        finally:
            writer.close()


class AsyncWithTests(unittest.TestCase):
    """The functions above, run as a program would run them."""

    def test_right_client(self) -> None:
        """The script is kept to: nothing is raised."""
        self.assertEqual(asyncio.run(check_client()), b"PONG\r\n")

    def test_wrong_client(self) -> None:
        """The script is not kept to: the error says which step, and which byte."""
        with self.assertRaisesRegex(ExpectationError, r"^expected b'PING', got b'PU(NG)?' at byte 1 "
                                                      r"\(connection 1, step 2 of 4, test_async_with\.py:\d+\)\n"):
            asyncio.run(check_wrong_client())


if __name__ == "__main__":
    unittest.main()
