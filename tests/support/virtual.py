"""What tests of the virtual clock share: a loop of their own, and a server to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import unittest

from tcpclient_testing.aio.process.quiescence import own_thread
from tcpclient_testing.virtual_time.policies import virtual_loop_factory
from tests.support.long import LONG

__all__ = ["HOUR", "THOUSAND", "PYTHON", "echo", "echo_server", "close", "LoopTestCase", "run_on_virtual_time"]

HOUR = 3600.0
THOUSAND = 1000 if LONG else 25
PYTHON = [sys.executable, "-S", "-E", "-c"]


async def echo(reader, writer):
    """Serve a connection: every line comes back."""
    with contextlib.suppress(ConnectionError):
        async for line in reader:
            writer.write(line)
    writer.close()


@contextlib.asynccontextmanager
async def echo_server(handler=echo):
    """Serve in the running loop; the value is the address."""
    handlers = []

    async def handle(reader, writer):
        handlers.append(asyncio.current_task())
        await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        if handlers:
            await asyncio.wait(handlers)


async def close(writer):
    """Close a stream and wait until it is closed."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def run_on_virtual_time(coroutine):
    """Run a coroutine as asyncio.run() does, but in a virtual loop; return what it returns."""
    loop = virtual_loop_factory()
    try:
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


class LoopTestCase(unittest.TestCase):
    """Runs coroutines in a virtual loop of the test's own, and closes it as asyncio.run() does."""

    def setUp(self):
        self.loop = virtual_loop_factory()
        self.addCleanup(self.close)

    def close(self):
        """Close the loop, and what runs in it."""
        if not self.loop.is_closed():
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def run_in_loop(self, coroutine):
        """Run until the coroutine is done; 60 real seconds at most, and no exception may be left to the loop."""
        lost = []
        self.loop.set_exception_handler(lambda _loop, context: lost.append(context))
        watchdog = own_thread(threading.Timer(60, os.kill, (os.getpid(), signal.SIGABRT)))
        watchdog.start()
        try:
            return self.loop.run_until_complete(coroutine)
        finally:
            watchdog.cancel()
            watchdog.join()
            self.assertEqual(lost, [])
