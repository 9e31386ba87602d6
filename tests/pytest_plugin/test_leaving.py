"""The pytest plugin: which fixtures leave their server as soon as they go on after their ``yield``."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import AsyncIterator, Iterator
from typing import Any

import tcpclient_testing
from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer
from tests.support.pytest_runs import PYTEST

if PYTEST:
    from tcpclient_testing.pytest_plugin.leaving import leaves_at_once


async def block() -> AsyncIterator[Any]:
    """The server is left next."""
    async with MockTCPServer() as server:
        yield server


def threaded_block() -> Iterator[Any]:
    """So it is here, in the order of leaving."""
    with contextlib.ExitStack(), tcpclient_testing.ThreadedMockTCPServer() as server:
        yield server


async def stopped() -> AsyncIterator[Any]:
    """It is stopped next."""
    server = await MockTCPServer().start()
    yield server
    await server.stop()


def stopped_finally() -> Iterator[Any]:
    """It is stopped next."""
    server = ThreadedMockTCPServer().start()
    try:
        yield server
    finally:
        server.stop()


async def two_blocks() -> AsyncIterator[Any]:
    """One of two is left next, then the other."""
    async with MockTCPServer() as server, MockTCPServer() as other:
        yield server, other


async def closes_first(writer: Any) -> AsyncIterator[Any]:
    """A client is closed before."""
    async with MockTCPServer() as server:
        yield server
        writer.close()


async def client_in_the_block(client: Any) -> AsyncIterator[Any]:
    """The inner block is a client's."""
    async with MockTCPServer() as server, client(server) as it:
        yield it


async def stack() -> AsyncIterator[Any]:
    """Nobody knows what else is on the stack."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


async def catches(server: Any) -> AsyncIterator[Any]:
    """What is in the `finally` is not the server's end."""
    async with MockTCPServer() as server:
        try:
            yield server
        finally:
            print()


async def yields_twice(server: Any) -> AsyncIterator[Any]:
    """It goes on twice."""
    async with MockTCPServer() as server:
        if server:
            yield server
        else:
            yield None


async def returns() -> Any:
    """There is no yield."""
    return await MockTCPServer().start()


@unittest.skipUnless(PYTEST, "needs pytest")
class LeavesAtOnceTests(unittest.TestCase):
    """Each test asks about some fixtures."""

    def test_server_is_left_next(self) -> None:
        """Nothing else happens in between."""
        for function in block, threaded_block, stopped, stopped_finally, two_blocks:
            with self.subTest(function.__name__):
                self.assertTrue(leaves_at_once(function))

    def test_something_else_comes_next(self) -> None:
        """Or nobody can tell."""
        for function in closes_first, client_in_the_block, stack, catches, yields_twice, returns, len:
            with self.subTest(function.__name__):
                self.assertFalse(leaves_at_once(function))


if __name__ == "__main__":
    unittest.main()
