"""Tests of sending under network conditions, with clients of every kind that record the sizes of their reads."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import unittest
from unittest import mock

from tcpclient_testing import MockTCPServer, Network
from tcpclient_testing.aio.connection import delivery, pacing
from tcpclient_testing.aio.sockets.inet_diag import available
from tcpclient_testing.transcript.entries import SENT
from tests.support import sizes
from tests.support.long import LONG
from tests.support.loops import TimelessTestCase, timeless
from tests.support.transcripts import notes


class ReadsTests(TimelessTestCase):
    """The client's reads are the chunks that were asked for."""

    async def reads(self, client, network, *messages):
        """The sizes of a client's reads of these messages, and where the server says that it has split them."""
        async with MockTCPServer(network=network) as server:
            server.expect_connect()
            for message in messages:
                server.send_bytes(message)
            server.disconnect()
            got = await client(server.address)
            return got, server.connections[0].splits

    async def assert_reads(self, kind, times):
        """Every kind of split gives exactly the reads asked for, so many times in a row."""
        client = sizes.KINDS[kind]
        for number in range(times):
            source = random.Random(number)
            total = source.randint(2, 60)
            splits = tuple(sorted(source.sample(range(1, total), source.randint(1, min(5, total - 1)))))
            ends = (0, *splits, total)
            got, achieved = await self.reads(client, Network(splits=splits), bytes(total))
            self.assertEqual(got, [end - start for start, end in zip(ends, ends[1:])], (number, splits))
            self.assertEqual(achieved, splits)

    def tearDown(self):
        sizes.end_the_process()

    async def test_reads_are_exact_with_streams(self):
        """A client with asyncio's streams."""
        await self.assert_reads("streams", 1000 if LONG else 10)

    async def test_reads_are_exact_with_wait_for(self):
        """A client whose reads have a time-out each."""
        await self.assert_reads("wait_for", 1000 if LONG else 10)

    async def test_reads_are_exact_with_a_protocol(self):
        """A client with a protocol of asyncio's."""
        await self.assert_reads("protocol", 1000 if LONG else 10)

    @unittest.skipUnless(available(), "the kernel does not tell what another thread has read")
    async def test_reads_are_exact_with_a_thread(self):
        """A blocking client in another thread."""
        await self.assert_reads("thread", 1000 if LONG else 10)

    @unittest.skipUnless(available(), "the kernel does not tell what another process has read")
    async def test_reads_are_exact_with_a_process(self):
        """A blocking client in another process."""
        await self.assert_reads("process", 1000 if LONG else 6)

    async def test_every_byte_comes_alone(self):
        """`chunk=1` gives one byte a read, across messages."""
        got, achieved = await self.reads(sizes.with_streams, Network(chunk=1), b"abc", b"de")
        self.assertEqual((got, achieved), ([1] * 5, (1, 2, 3, 4)))

    async def test_sends_that_are_due_together_are_joined(self):
        """Chunks know nothing of the sends that their bytes come from."""
        got, _ = await self.reads(sizes.with_streams, Network(chunk=4), b"abc", b"def", b"g")
        self.assertEqual(got, [4, 3])

    async def test_connections_differ(self):
        """Splits for connection 2 leave connection 1 alone."""
        async with MockTCPServer(network=Network(splits={2: (4,)})) as server:
            for expected in ([7], [4, 3]):
                server.expect_connect()
                server.send_bytes(b"abcdefg")
                server.disconnect()
                self.assertEqual(await sizes.with_streams(server.address), expected)
                await server.join()

    async def test_reads_are_separate_where_the_kernel_does_not_tell(self):
        """Without the kernel's word a pause separates the reads of a client in this loop."""
        found, taking_probe = [], delivery.DeliveryWait.__init__

        def without_probe(self, link, probe):
            found.append(probe)
            taking_probe(self, link, None)

        delivery.DeliveryWait.__init__ = without_probe
        self.addCleanup(setattr, delivery.DeliveryWait, "__init__", taking_probe)
        got, _ = await self.reads(sizes.with_streams, Network(chunk=3), b"abcdefg")
        self.assertEqual((got, len(found)), ([3, 3, 1], 1))

    async def test_bulk_arrives_whole(self):
        """Megabytes under conditions arrive, though the system does not take them at once."""
        got, _ = await self.reads(sizes.with_a_thread, Network(splits=(1, 3_000_000)), bytes(5_000_000))
        self.assertEqual((got[0], sum(got)), (1, 5_000_000))

    @mock.patch.object(pacing, "BOUND", 10.0)
    async def test_client_wants_more_than_a_chunk(self):
        """A read that takes only many chunks together gets them one by one, and without delay."""
        async with MockTCPServer(network=Network(chunk=1)) as server:
            server.expect_connect()
            server.send_bytes(b"0123456789")
            server.expect_disconnect()
            reader, writer = await asyncio.open_connection(*server.address)
            start = time.monotonic()
            self.assertEqual(await reader.readexactly(10), b"0123456789")
            self.assertLess(time.monotonic() - start, 50)
            writer.close()
            await writer.wait_closed()
            self.assertEqual(server.connections[0].splits, tuple(range(1, 10)))

    @timeless
    async def test_client_does_not_read(self):
        """A client that doesn't read gets the next chunk after a while; that is noted, and no split is claimed."""
        before, pacing.BOUND = pacing.BOUND, 0.05
        self.addCleanup(setattr, pacing, "BOUND", before)
        async with MockTCPServer(network=Network(splits=(2,)), timeout=0.02) as server:
            server.expect_connect()
            sent = server.send_bytes(b"abcd")
            server.expect_disconnect(timeout=5)
            reader, writer = await asyncio.open_connection(*server.address)
            await sent
            self.assertEqual(await reader.readexactly(4), b"abcd")
            writer.close()
            await writer.wait_closed()
            self.assertEqual(server.connections[0].splits, ())
            self.assertIn("has not read all of the first 2 bytes", notes(server)[1])

    async def test_client_leaves_between_chunks(self):
        """A client that closes after the first chunk ends the sending at once, with a verdict."""
        with self.assertRaisesRegex(AssertionError, "(closed|reset) the connection when it had taken [0-9]+ of 1000 "):
            async with MockTCPServer(network=Network(chunk=1, latency=0.001)) as server:
                server.expect_connect()
                server.send_bytes(bytes(1000))
                server.expect_eof()
                _, writer = await asyncio.open_connection(*server.address)
                writer.transport.abort()
                await server.join()


class TimeTests(TimelessTestCase):
    """Latency and rate."""

    async def duration(self, network, count, **options):
        """How long a client waits for so many bytes, in seconds."""
        async with MockTCPServer(network=network, **options) as server:
            server.expect_connect()
            server.send_bytes(bytes(count))
            server.disconnect()
            start = asyncio.get_running_loop().time()
            self.assertEqual(sum(await sizes.with_streams(server.address)), count)
            return asyncio.get_running_loop().time() - start

    @timeless
    async def test_latency_comes_before_each_chunk(self):
        """Three chunks, three times the latency."""
        self.assertGreaterEqual(await self.duration(Network(chunk=2, latency=0.02), 6), 0.059)

    @timeless
    async def test_rate_is_kept(self):
        """So many bytes take so many seconds."""
        self.assertGreaterEqual(await self.duration(Network(rate=1000), 60), 0.059)

    @timeless
    async def test_own_slowness_is_no_time_out(self):
        """The time for which conditions hold a chunk back is not the client's silence."""
        self.assertGreaterEqual(await self.duration(Network(latency=0.06), 5, timeout=0.02), 0.059)


class SetNetworkTests(TimelessTestCase):
    """Conditions from a step on."""

    async def reads(self, script):
        """The sizes of a client's reads under the conditions that `script(server)` sets."""
        async with MockTCPServer() as server:
            script(server)
            got = await sizes.with_streams(server.address)
            await server.join()
            return got, notes(server)

    async def test_conditions_begin_and_end_with_steps(self):
        """From its step on a condition holds, and None ends it."""
        def script(server):
            server.expect_connect()
            server.send_bytes(b"abcd")
            server.set_network(Network(chunk=2))
            server.send_bytes(b"efgh")
            server.set_network(None)
            server.send_bytes(b"ijkl")
            server.disconnect()

        got, noted = await self.reads(script)
        self.assertEqual(got, [4, 2, 2, 4])
        self.assertEqual(noted[:2], ["network conditions: Network(chunk=2)", "no network conditions any more"])

    @unittest.skipUnless(available(), "the kernel does not tell what another thread has read")
    async def test_what_follows_the_conditions_is_read_apart(self):
        """By each kind of client, and once only: what is sent after that has no conditions."""
        self.addCleanup(sizes.end_the_process)
        for kind, client in sizes.KINDS.items():
            with self.subTest(kind=kind):
                async with MockTCPServer() as server:
                    server.expect_connect()
                    server.set_network(Network(chunk=1))
                    server.send_bytes(b"abc")
                    server.set_network(None)
                    server.send_bytes(b"defg")
                    server.send_bytes(b"hi")
                    server.disconnect()
                    self.assertEqual(await client(server.address), [1, 1, 1, 6])
                    self.assertEqual(server.connections[0].sent, b"abcdefghi")
                    self.assertEqual([entry.content for entry in server.transcript if entry.what == SENT],
                                     [b"a", b"b", b"c", b"defg", b"hi"])

    async def test_conditions_come_before_the_script(self):
        """On a server, before the first connection, they are those of every connection."""
        def script(server):
            server.set_network(Network(chunk=3))
            server.expect_connect()
            server.send_bytes(b"abcd")
            server.disconnect()

        self.assertEqual((await self.reads(script))[0], [3, 1])

    async def test_conditions_of_a_server_last(self):
        """Set on a server in mid-script, they are those of later ones too; on a connection, of that one alone."""
        for on_connection, expected in ((False, [2, 2]), (True, [4])):
            async with MockTCPServer() as server:
                connection = server.expect_connect().connection
                (connection if on_connection else server).set_network(Network(chunk=2))
                server.send_bytes(b"abcd")
                server.disconnect()
                self.assertEqual(await sizes.with_streams(server.address), [2, 2])
                await server.join()
                server.expect_connect()
                server.send_bytes(b"abcd")
                server.disconnect()
                self.assertEqual(await sizes.with_streams(server.address), expected)

    @timeless
    async def test_seed_is_in_the_report(self):
        """A failure under random sizes shows the conditions, with the seed that repeats them."""
        network = Network(chunk=(1, 3))
        with self.assertRaisesRegex(AssertionError, f"seed={network.seed}"):
            async with MockTCPServer(network=network) as server:
                server.expect_connect()
                server.send_bytes(b"abcdefgh")
                server.expect_bytes(b"x", timeout=0.05)
                reader, writer = await asyncio.open_connection(*server.address)
                self.addCleanup(writer.close)
                await reader.readexactly(8)
                await server.join()

    async def test_transcript_has_each_chunk(self):
        """The transcript has what was sent when; `sent` is the whole."""
        async with MockTCPServer(network=Network(chunk=2)) as server:
            server.expect_connect()
            server.send_bytes(b"abcde")
            server.disconnect()
            await sizes.with_streams(server.address)
            self.assertEqual([entry.content for entry in server.transcript if entry.what == SENT],
                             [b"ab", b"cd", b"e"])
            self.assertEqual(server.connections[0].sent, b"abcde")

    async def test_conditions_are_refused_where_they_can_not_be(self):
        """What is no Network is a TypeError; conditions after the connection's end are a ScriptError."""
        with self.assertRaisesRegex(TypeError, r"MockTCPServer\(network=\.\.\.\) is a Network"):
            MockTCPServer(network=5)
        async with MockTCPServer() as server:
            connect = server.expect_connect()
            with self.assertRaisesRegex(TypeError, r"set_network\(conditions\) is a Network.*not int: 5"):
                server.set_network(5)
            server.disconnect()
            for place in (server, connect.connection):
                with self.assertRaisesRegex(Exception, r"comes after disconnect\(\) on connection 1"):
                    place.set_network(Network(chunk=1))
            await sizes.with_streams(server.address)


if sys.platform != "linux":
    del ReadsTests.test_client_wants_more_than_a_chunk  # a pause for each chunk, and nobody says when it was taken
