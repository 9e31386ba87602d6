"""RESP with pipelining, by a real client: redis-py sends several commands at once, and blocks until all are answered.

With ``pipelining=False`` a server finds a client that does so.
"""

from __future__ import annotations

import importlib.util
import inspect
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, ThreadedMockTCPServer

HAS_REDIS = importlib.util.find_spec("redis") is not None


def command(*words: bytes) -> bytes:
    """A command as a Redis client sends it: an array of bulk strings (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@unittest.skipUnless(HAS_REDIS, "needs the package redis")
class PipelineTests(unittest.TestCase):
    """A pipeline of three commands."""

    def client(self, server: ThreadedMockTCPServer) -> Any:
        """A client that says nothing of itself, and does not try again."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        silent: dict[str, Any] = {"lib_name": None, "lib_version": None}
        if "driver_info" in inspect.signature(Redis.__init__).parameters:
            silent = {"driver_info": None}
        return Redis(host=server.host, port=server.port, protocol=2, retry=Retry(NoBackoff(), 0), **silent)

    def script(self, server: ThreadedMockTCPServer) -> None:
        """SET, STRLEN, GET, each answered at once."""
        server.expect_connect()
        server.expect_bytes(command(b"SET", b"n", b"1"))
        server.send_bytes(b"+OK\r\n")
        server.expect_bytes(command(b"STRLEN", b"n"))
        server.send_bytes(b":1\r\n")
        server.expect_bytes(command(b"GET", b"n"))
        server.send_bytes(b"$1\r\n1\r\n")
        server.expect_disconnect()

    def test_pipeline(self) -> None:
        """The replies come back in the order of the commands."""
        with ThreadedMockTCPServer() as server:
            self.script(server)
            with self.client(server) as redis:
                pipeline = redis.pipeline(transaction=False)
                pipeline.set("n", 1)
                pipeline.strlen("n")
                pipeline.get("n")
                self.assertEqual(pipeline.execute(), [True, 1, b"1"])

    def test_commands_one_by_one(self) -> None:
        """A client that waits for each answer is all right with a server that does not take pipelines."""
        with ThreadedMockTCPServer(pipelining=False) as server:
            self.script(server)
            with self.client(server) as redis:
                self.assertEqual([redis.set("n", 1), redis.strlen("n"), redis.get("n")], [True, 1, b"1"])

    def test_pipeline_where_none_is_taken(self) -> None:
        """One that does not wait is found, with the bytes that it sent too early."""
        from redis.exceptions import ConnectionError as RedisConnectionError

        with self.assertRaisesRegex(ExpectationError, r"before it was answered \(pipelining=False\)"), \
                ThreadedMockTCPServer(pipelining=False) as server:
            self.script(server)
            with self.client(server) as redis, self.assertRaises(RedisConnectionError):
                redis.pipeline(transaction=False).set("n", 1).strlen("n").get("n").execute()
