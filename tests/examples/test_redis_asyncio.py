"""A real client that none of us wrote: redis.asyncio, against a few lines of script.

The client would introduce itself with CLIENT SETINFO commands when it connects; it is told not to, so that the
scripts are about what the tests are about.
"""

from __future__ import annotations

import importlib.util
import inspect
import unittest
from typing import Any

from tcpclient_testing import MockTCPServerMixin

HAS_REDIS = importlib.util.find_spec("redis") is not None


def command(*words: bytes) -> bytes:
    """A command as a Redis client sends it: an array of bulk strings (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@unittest.skipUnless(HAS_REDIS, "needs the package redis")
class RedisTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """GET on a connection that holds, and on one that breaks."""

    async def asyncSetUp(self) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # RESP 2, and no word about the library: then the client begins with the command itself.
        silent: dict[str, Any] = {"lib_name": None, "lib_version": None}
        if "driver_info" in inspect.signature(Redis.__init__).parameters:
            silent = {"driver_info": None}
        self.redis: Any = Redis(host=self.tcpserver.host, port=self.tcpserver.port, protocol=2,
                                retry=Retry(NoBackoff(), 1), **silent)
        self.addAsyncCleanup(self.redis.aclose)

    async def test_get(self) -> None:
        """GET returns what the server's bulk string holds."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(command(b"GET", b"key"))
        self.tcpserver.send_bytes(b"$5\r\nvalue\r\n")
        self.tcpserver.expect_disconnect()

        self.assertEqual(await self.redis.get("key"), b"value")
        await self.redis.connection_pool.disconnect()

    async def test_get_of_nothing(self) -> None:
        """GET of a key that does not exist returns None."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(command(b"GET", b"no such key"))
        self.tcpserver.send_bytes(b"$-1\r\n")

        self.assertIsNone(await self.redis.get("no such key"))

    async def test_dropped_connection(self) -> None:
        """The server drops the connection instead of answering: the client connects again and asks once more."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(command(b"GET", b"key"))
        self.tcpserver.disconnect()

        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(command(b"GET", b"key"))
        self.tcpserver.send_bytes(b"$5\r\nvalue\r\n")

        self.assertEqual(await self.redis.get("key"), b"value")


if __name__ == "__main__":
    unittest.main()
