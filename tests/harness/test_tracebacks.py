"""Tracebacks of what a server raises where no test framework cuts them: one line of the library, in a public method."""

from __future__ import annotations

import asyncio
import traceback
import unittest
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Callable

import tcpclient_testing
from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tests.support.blocking import connect as connect_blocking
from tests.support.streams import close, connect

LIBRARY = str(Path(tcpclient_testing.__file__).parent)


async def leave() -> None:
    """The block is left, and nobody has come."""
    async with MockTCPServer() as server:
        server.expect_connect(timeout=0.02)


async def leave_after_the_failure() -> None:
    """The block is left by what the failure did to the client."""
    async with MockTCPServer() as server:
        server.expect_connect()
        server.expect_bytes(b"hello")
        reader, writer = await connect(server)
        try:
            writer.write(b"howdy")
            await reader.read()
        finally:
            await close(writer)


async def leave_in_an_exception() -> None:
    """An exception of the test leaves the block."""
    async with MockTCPServer() as server:
        server.expect_connect()
        raise LookupError("of the test")


async def stop() -> None:
    """The server is stopped."""
    server = await MockTCPServer().start()
    server.expect_connect(timeout=0.02)
    await server.stop()


async def clear() -> None:
    """The server is cleared, in a block."""
    async with MockTCPServer() as server:
        server.expect_connect(timeout=0.02)
        await server.clear()


async def join() -> None:
    """The script is waited for, outside of any block."""
    server = await MockTCPServer().start()
    server.expect_connect(timeout=0.02)
    try:
        await server.join()
    finally:
        server.close()


async def leave_threaded() -> None:
    """The block of a threaded server is left, in a loop."""
    async with ThreadedMockTCPServer() as server:
        server.expect_connect(timeout=0.02)


def leave_blocking() -> None:
    """So it is in code that blocks, by a client that was reset."""
    with ThreadedMockTCPServer() as server:
        server.expect_connect()
        server.expect_bytes(b"hello")
        with connect_blocking(server.address) as client:
            client.sendall(b"howdy")
            client.recv(1)


def stop_blocking() -> None:
    """A threaded server is stopped."""
    server = ThreadedMockTCPServer().start()
    server.expect_connect(timeout=0.02)
    server.stop()


def clear_blocking() -> None:
    """A threaded server is cleared, in a block."""
    with ThreadedMockTCPServer() as server:
        server.expect_connect(timeout=0.02)
        server.clear()


class PublicMethodTests(unittest.TestCase):
    """Each way of leaving, in a program of the user's own."""

    def methods(self, program: Callable[[], Any], expected: type[Exception] = ExpectationError) -> list[str]:
        """Return the names of the functions that follow the program's own in the traceback with which it ends."""
        try:
            result = program()
            if isinstance(result, Coroutine):
                asyncio.run(result)
        except expected as error:
            frames = traceback.extract_tb(error.__traceback__)
        else:
            self.fail("the program has not raised")
        mine = [number for number, frame in enumerate(frames) if frame.filename == __file__]
        self.assertEqual(frames[mine[-1]].name, program.__name__)
        self.assertTrue(all(frame.filename.startswith(LIBRARY) for frame in frames[mine[-1] + 1:]), frames)
        return [frame.name for frame in frames[mine[-1] + 1:]]

    def test_leaving(self) -> None:
        """A block that is left ends its traceback with the method that Python calls for it."""
        self.assertEqual(self.methods(leave), ["__aexit__"])
        self.assertEqual(self.methods(leave_after_the_failure), ["__aexit__"])
        self.assertEqual(self.methods(leave_threaded), ["__aexit__"])
        self.assertEqual(self.methods(leave_blocking), ["__exit__"])

    def test_methods(self) -> None:
        """So does a call of a method, except in a block: leaving that hides all of the library's frames."""
        self.assertEqual(self.methods(stop), ["stop"])
        self.assertEqual(self.methods(join), ["join"])
        self.assertEqual(self.methods(clear), [])
        self.assertEqual(self.methods(stop_blocking), ["stop"])
        self.assertEqual(self.methods(clear_blocking), [])

    def test_exception_of_the_test(self) -> None:
        """An exception of the test's own passes, and no line of the library is in its traceback."""
        self.assertEqual(self.methods(leave_in_an_exception, LookupError), [])
