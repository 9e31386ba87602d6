"""A client that blocks, and that none of us wrote: `redis.Redis`, against a few lines of script."""

from __future__ import annotations

import importlib.util
import inspect
import unittest
from typing import Any

from tcpclient_testing import ThreadedMockTCPServerMixin

HAS_REDIS = importlib.util.find_spec("redis") is not None


def command(*words: bytes) -> bytes:
    """A command as Redis clients send it: an array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@unittest.skipUnless(HAS_REDIS, "needs the package redis")
class RedisTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """What redis.Redis says and how it takes what it is told."""

    def setUp(self) -> None:
        from redis import Redis

        # RESP 2, and no word about the library: then the client begins with the command itself.
        silent: dict[str, Any] = {"lib_name": None, "lib_version": None}
        if "driver_info" in inspect.signature(Redis.__init__).parameters:
            silent = {"driver_info": None}
        self.redis: Any = Redis(host=self.tcpserver.host, port=self.tcpserver.port, protocol=2, socket_timeout=10,
                                **silent)
        self.addCleanup(self.redis.close)

    def test_get(self) -> None:
        """A value comes back as bytes; None is none."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(command(b"GET", b"key"))
        self.tcpserver.send_bytes(b"$5\r\nvalue\r\n")
        self.tcpserver.expect_bytes(command(b"GET", b"nothing"))
        self.tcpserver.send_bytes(b"$-1\r\n")
        self.tcpserver.expect_disconnect()

        self.assertEqual((self.redis.get("key"), self.redis.get("nothing")), (b"value", None))

    def test_error(self) -> None:
        """An error of the server is an exception."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(command(b"INCRBY", b"key", b"1"))
        self.tcpserver.send_bytes(b"-WRONGTYPE not a number\r\n")
        self.tcpserver.expect_disconnect()

        from redis import ResponseError
        with self.assertRaisesRegex(ResponseError, "not a number"):
            self.redis.incr("key")
