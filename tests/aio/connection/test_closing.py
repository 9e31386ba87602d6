"""How the server ends connections: a reset that waits for the client, which goes away meanwhile."""

from __future__ import annotations

import asyncio
import socket
import unittest
from typing import Any
from unittest import mock

from tcpclient_testing import MockTCPServer
from tcpclient_testing.aio.connection import closing
from tests.support.platforms import needs_clients


@needs_clients  # elsewhere nobody knows whether the client has taken the data, and a reset does not wait for that
class ClientThatGoesTests(unittest.IsolatedAsyncioTestCase):
    """A client that doesn't read what was sent before the reset, and closes."""

    def setUp(self) -> None:
        patience = mock.patch.object(closing, "_READING", 60.0)  # a slow machine, too, is to see that it waits
        patience.start()
        self.addCleanup(patience.stop)

    async def check(self, write: Any) -> None:
        """Write the end of the script; the client closes before the server has reset the connection."""
        async with MockTCPServer(timeout=20) as server:
            server.expect_connect()
            write(server)
            with socket.create_connection(server.address):
                while not self.looks_seldom(server):
                    await asyncio.sleep(0)
            await server.join()

    @staticmethod
    def looks_seldom(server: MockTCPServer) -> bool:
        """Whether the reset has waited for so long that the server looks at the client only now and then."""
        waits = [each.closing._delivery for each in server._runtime.connections.by_number.values()]
        return any(wait is not None and wait._poller.count > 50 for wait in waits)

    async def test_reset(self) -> None:
        """`reset()` comes too late, and is done."""
        def write(server: MockTCPServer) -> None:
            server.send_bytes(b"hello")
            server.reset()
        await self.check(write)

    async def test_reset_after(self) -> None:
        """So is the fault."""
        def write(server: MockTCPServer) -> None:
            server.reset_after(5)
            server.send_bytes(b"hello, client")
        await self.check(write)


if __name__ == "__main__":
    unittest.main()
