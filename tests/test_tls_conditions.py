"""Network conditions and broken streams over TLS, where the kernel counts records, and the script clear text."""

from __future__ import annotations

import asyncio
import functools
import unittest
from unittest import mock

from tcpclient_testing import MockTCPServer, Network, tls
from tcpclient_testing.aio.connection import closing, pacing
from tcpclient_testing.aio.sockets.inet_diag import PeerState, available
from tcpclient_testing.aio.tls import close_notify
from tcpclient_testing.aio.tls.layer import TLSLayer
from tests.support.fault_clients import CLIENTS, ends_of_a_reset
from tests.support.loops import TimelessTestCase, timeless


class TLSTestCase(unittest.IsolatedAsyncioTestCase):
    async def outcome(self, client, script, *, timeout=30, after=0, **options):
        """What a client over TLS saw, and the splits that the server claims."""
        async with MockTCPServer(tls=True, **options) as server:
            server.expect_connect()
            script(server)
            seen = await CLIENTS[client](server.address, tls.client_context(), timeout=timeout, after=after)
            await server.join()
            return seen, server.connections[0].splits


class ConditionsTests(TLSTestCase):
    """Chunks and splits count clear text, and what is claimed is what the client read."""

    async def assert_reads(self, network, expected):
        def script(server):
            server.send_bytes(b"hello")
            server.send_bytes(b"world")
            server.disconnect()

        # Of a client in another thread only the kernel tells what it has read.
        clients = [client for client in ("streams", "thread") if client != "thread" or available()]
        outcomes = await asyncio.gather(*(self.outcome(client, script, network=network) for client in clients))
        for client, (seen, splits) in zip(clients, outcomes):
            with self.subTest(client=client):
                self.assertEqual((seen.data, seen.sizes, seen.end), (b"helloworld", expected, "end"))
                self.assertEqual(splits, tuple(sum(expected[:end]) for end in range(1, len(expected))))

    async def test_every_byte_comes_alone(self):
        """`chunk=1` gives a record, and a read, for each byte."""
        await self.assert_reads(Network(chunk=1), [1] * 10)

    async def test_stream_is_split_inside_messages(self):
        """Offsets are those of the clear text."""
        await self.assert_reads(Network(splits=(2, 6)), [2, 4, 4])

    async def test_set_network_in_mid_script(self):
        """Conditions that begin with a step hold for what comes after it."""
        def script(server):
            server.set_network(Network(chunk=2))
            server.send_bytes(b"hello")
            server.disconnect()

        seen, splits = await self.outcome("streams", script)
        self.assertEqual((seen.sizes, splits), ([2, 2, 1], (2, 4)))


class TakingTests(TimelessTestCase):
    """When a chunk has arrived."""

    @timeless
    async def test_part_of_a_chunk_is_not_taken_for_the_chunk(self):
        """A client has it when its kernel got every record of it, not when it got some and all these are read."""
        for module, name in (pacing, "BOUND"), (close_notify, "_BOUND"):
            patch = mock.patch.object(module, name, 0.05)
            patch.start()
            self.addCleanup(patch.stop)
        for missing, expected in ((0, (4,)), (1, ())):
            with self.subTest(missing=missing):
                async with MockTCPServer(tls=True, network=Network(splits=(4,))) as server:
                    wire = []

                    class Probe:
                        def look(self, local, peer, wire=wire, missing=missing):
                            # Nothing is unread, and the last bytes of what was sent have not come.
                            return PeerState(0, sum(wire) - missing, False, "ESTABLISHED")

                    server._runtime.context.probe = Probe
                    flush, transport_write = TLSLayer._flush, TLSLayer.write

                    def counting_flush(layer, wire=wire, flush=flush):
                        wire.append(layer._outgoing.pending)
                        flush(layer)

                    def counting_write(layer, data, wire=wire, write=transport_write):
                        write(layer, data)
                        wire.append(layer._cipher)

                    with mock.patch.object(TLSLayer, "_flush", counting_flush), \
                            mock.patch.object(TLSLayer, "write", counting_write):
                        server.expect_connect()
                        server.send_bytes(b"abcdefgh")
                        server.disconnect()
                        seen = await CLIENTS["streams"](server.address, tls.client_context())
                        await server.join()
                    self.assertEqual((seen.data, server.connections[0].splits), (b"abcdefgh", expected))


class BreakAfterTests(TLSTestCase):
    """`n` counts clear text; the client decrypts all of it before the end that the fault says."""

    async def assert_broken(self, method, end, offsets=(0, 3, 5, 7, 10), **options):
        def script(server, n):
            getattr(server, method)(n)
            server.send_bytes(b"hello")
            server.send_bytes(b"world")
            if method == "stall_after":
                server.expect_disconnect()

        # All at once, since clients have to wait.
        cases = [(client, n) for client in ("streams", "thread") for n in offsets]
        outcomes = await asyncio.gather(*(self.outcome(client, functools.partial(script, n=n), after=n, **options)
                                          for client, n in cases))
        for (client, n), (seen, _) in zip(cases, outcomes):
            with self.subTest(client=client, n=n, **options):
                self.assertEqual(seen.data, b"helloworld"[:n])
                self.assertIn(seen.end, ends_of_a_reset(client, tls=True) if method == "reset_after" else (end,))

    async def test_reset_in_mid_message(self):
        """ECONNRESET, with and without conditions; see `ends_of_a_reset` for blocking clients of some versions."""
        patch = mock.patch.object(closing, "_READING", 5.0)  # clients that read are waited for, as long as it takes
        patch.start()
        self.addCleanup(patch.stop)
        await self.assert_broken("reset_after", "ConnectionResetError")
        await self.assert_broken("reset_after", "ConnectionResetError", (3,), network=Network(chunk=2))

    async def test_disconnect_in_mid_message(self):
        """A close_notify, so an end of stream and no SSLError."""
        await self.assert_broken("disconnect_after", "end")
        await self.assert_broken("disconnect_after", "end", (3,), network=Network(chunk=2))

    async def test_stall_in_mid_message(self):
        """Nothing until the client's own time-out."""
        await self.assert_broken("stall_after", "timeout", (0, 3), timeout=0.02)


