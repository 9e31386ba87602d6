"""Tests of the address at which connecting never comes to an end."""

from __future__ import annotations

import asyncio
import socket
import time
import unittest
from unittest import mock

from tcpclient_testing import UnansweringAddress, VirtualClockEventLoop
from tcpclient_testing.aio.sockets import unanswering


def unanswering_address(case):
    """Enter such an address for a test; skip the test where there is none."""
    place = UnansweringAddress()
    try:
        address = place.__enter__()
    except OSError as error:
        case.skipTest(str(error))
    case.addCleanup(place.close)
    return place, address


class UnansweringAddressTests(unittest.TestCase):
    """Clients that connect there."""

    def setUp(self):
        # On this machine a connection gets through within the call, or not at all.
        patch = mock.patch.object(unanswering, "_PATIENCE", 0.01)
        patch.start()
        self.addCleanup(patch.stop)

    def test_blocking_client_runs_into_its_time_out(self):
        """Connecting takes as long as the client waits, and fails with a time-out."""
        _, address = unanswering_address(self)
        for _ in range(3):
            start = time.perf_counter()
            with self.assertRaises((socket.timeout, TimeoutError)):
                socket.create_connection(address, timeout=0.01)
            self.assertGreaterEqual(time.perf_counter() - start, 0.008)

    def test_client_on_virtual_time_takes_no_time(self):
        """A time-out of an hour for connecting takes no time on virtual time."""
        _, address = unanswering_address(self)

        async def connect():
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.open_connection(*address), 3600)
            return loop.virtual_time_elapsed

        loop = VirtualClockEventLoop()
        self.addCleanup(loop.close)
        self.assertEqual(loop.run_until_complete(connect()), 3600)

    def test_address_is_given_up(self):
        """After the block connecting is refused."""
        place, address = unanswering_address(self)
        place.close()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)

    def test_block_is_asynchronous_too(self):
        """`async with` gives the same."""
        unanswering_address(self)

        async def use():
            async with UnansweringAddress() as address:
                return address

        self.assertEqual(asyncio.run(use())[0], "127.0.0.1")

    def test_platform_completes_every_connection(self):
        """Where connecting always succeeds entering the block says so."""
        with mock.patch.object(unanswering.UnansweringAddress, "_gets_through", lambda self, address: True), \
                self.assertRaisesRegex(OSError, "completes every connection"):
            UnansweringAddress().__enter__()
