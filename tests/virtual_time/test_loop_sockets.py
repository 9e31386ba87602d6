"""Tests of the virtual clock beside sockets: what is under way comes before a timer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
import unittest
from unittest import mock

from tcpclient_testing.virtual_time import clock
from tests.support.long import LONG
from tests.support.virtual import HOUR, THOUSAND, LoopTestCase, close, echo, echo_server


class SocketTests(LoopTestCase):
    """Time and real connections in the same process."""

    def test_reply_comes_before_the_timer_every_time(self):
        """A reply that is under way comes before any timer, however short: 0 wrong of many."""

        async def main():
            async with echo_server() as address:
                reader, writer = await asyncio.open_connection(*address)
                for number in range(THOUSAND):
                    line = b"%d\n" % number
                    writer.write(line)
                    self.assertEqual(await asyncio.wait_for(reader.readline(), 1e-6), line)
                await close(writer)

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_many_connections_race_their_timers(self):
        """Of 20 clients at once, reconnecting, none loses a reply to a timer: 0 wrong of many."""

        async def client(address):
            for number in range(THOUSAND // 20):
                reader, writer = await asyncio.wait_for(asyncio.open_connection(*address), 1e-6)
                writer.write(b"%d\n" % number)
                self.assertEqual(await asyncio.wait_for(reader.readline(), 1e-6), b"%d\n" % number)
                await close(writer)

        async def main():
            async with echo_server() as address:
                await asyncio.gather(*(client(address) for _ in range(20)))

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_large_reply_comes_before_the_timer(self):
        """Megabytes that go through full buffers, both ways at once, come before the timer."""
        size = 4_000_000

        async def main():
            async def handler(reader, writer):
                writer.write(bytes(size))
                await reader.readexactly(size)
                await writer.drain()
                writer.close()

            async with echo_server(handler) as address:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(bytes(size))
                self.assertEqual(len(await asyncio.wait_for(reader.readexactly(size), 1e-6)), size)
                await close(writer)

        for _ in range(5 if LONG else 1):
            self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_an_hour_of_backing_off_takes_no_time(self):
        """A client that tries again after 1, 2, 4 ... seconds succeeds after an hour, many hours in a row."""

        async def client(address, events):
            delay = 1
            while True:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"hello\n")
                with contextlib.suppress(ConnectionError):
                    line = await asyncio.wait_for(reader.readline(), 30)
                    if line:
                        events.append((self.loop.time(), line))
                        await close(writer)
                        return
                events.append((self.loop.time(), b""))
                await close(writer)
                await asyncio.sleep(delay)
                delay *= 2

        async def hour():
            attempts = []

            async def handler(reader, writer):
                attempts.append(self.loop.time())
                if len(attempts) > 11:
                    await echo(reader, writer)
                else:
                    await reader.readline()
                    writer.close()

            start, events = self.loop.time(), []
            async with echo_server(handler) as address:
                await client(address, events)
            times = [float(2**number - 1) for number in range(12)]
            self.assertEqual([when - start for when in attempts], times)
            self.assertEqual(
                [(when - start, line) for when, line in events],
                [*((when, b"") for when in times[:-1]), (times[-1], b"hello\n")],
            )

        real = time.monotonic()
        hours = 100 if LONG else 3
        for _ in range(hours):
            self.run_in_loop(hour())
        self.assertEqual(self.loop.virtual_time_elapsed, hours * 2047)
        self.assertLess(time.monotonic() - real, 60)

    def test_silent_server_runs_into_the_timeout(self):
        """A reply that never comes costs its time-out in virtual time only."""

        async def silent(reader, writer):
            await reader.read()
            writer.close()

        async def main():
            async with echo_server(silent) as address:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"hello\n")
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.readline(), HOUR)
                await close(writer)

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, HOUR)

    def test_writer_that_is_not_read_runs_into_the_timeout(self):
        """A client whose writes block for an hour is left to its time-out; what was written arrives afterwards."""
        size = 20_000_000

        async def main():
            received = []

            async def late(reader, writer):
                writer.transport.pause_reading()
                await asyncio.sleep(2 * HOUR)
                writer.transport.resume_reading()
                received.append(len(await reader.read(-1)))
                writer.close()

            async with echo_server(late) as address:
                _reader, writer = await asyncio.open_connection(*address)
                writer.write(bytes(size))
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(writer.drain(), HOUR)
                self.assertEqual(self.loop.virtual_time_elapsed, HOUR)
                await close(writer)
            self.assertEqual(received, [size])

        with mock.patch.object(clock, "_KERNEL_PATIENCE", 0.01):
            self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 2 * HOUR)

    @unittest.skipUnless(sys.platform == "linux", "asks the Linux kernel")
    def test_write_held_back_by_the_kernel_comes_before_the_timer(self):
        """A request that Nagle's algorithm holds back for 40 real milliseconds, and its reply, come before a timer."""

        async def main():
            async with echo_server() as address:
                with socket.socket() as client:
                    client.setblocking(False)
                    await self.loop.sock_connect(client, address)
                    for number in range(30):
                        await self.loop.sock_sendall(client, b"%d\n" % number)
                        await asyncio.wait_for(self.loop.sock_recv(client, 100), 1)
                    for _ in range(3 if LONG else 1):
                        await self.loop.sock_sendall(client, b"in two ")
                        await self.loop.sock_sendall(client, b"parts\n")
                        self.assertEqual(await asyncio.wait_for(self.loop.sock_recv(client, 100), 1), b"in two parts\n")

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)
