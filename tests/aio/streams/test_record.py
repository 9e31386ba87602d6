"""Tests of `tcpclient_testing.aio.streams.record`: real clients with asyncio streams, and what was seen of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import socket
import sys
import threading
import unittest
import warnings
import weakref
from asyncio import open_connection
from typing import Any
from unittest import mock

from tcpclient_testing.aio.streams.record import ClientStream
from tcpclient_testing.aio.streams.rules import complaint
from tests.support.collecting import collect, counts_references
from tests.support.watched import (
    ORIGINAL,
    RESET_ON_CLOSE,
    Peer,
    Server,
    WatchedServerTestCase,
    close,
    tls_contexts,
    turns,
    until,
)

# Debian 12 has Python 3.11.2, whose streams don't.
COMPLAINS = hasattr(asyncio.StreamWriter, "__del__")


class ClosingTests(WatchedServerTestCase):
    """How clients end their streams."""

    async def test_nothing_is_wrong_when_a_client_closes_and_waits(self) -> None:
        """The textbook client, imported early, with a limit of its own: watched, and without blame."""
        reader, writer, stream = await self.connect(limit=64)
        self.assertIsInstance(writer, asyncio.StreamWriter)
        self.assertEqual(repr(writer)[:14], "<StreamWriter ")
        writer.write(b"hello")
        await reader.readexactly(14)
        self.assertEqual(complaint(stream), "the client never called writer.close()")
        self.assertRegex(repr(stream), r"^<ClientStream 127.0.0.1:[0-9]+ open>$")
        await close(writer)
        self.assertRegex(repr(stream), "close_called wait_closed_awaited wait_closed_done connection_lost>$")
        self.assertIs(self.server.watch.stream_of(self.server.peers[0].address), stream)
        self.assertTrue(stream.close_called and stream.wait_closed_awaited and stream.wait_closed_done)
        self.assertTrue(stream.connection_lost)
        self.assertFalse(stream.collected or stream.transport_closed_directly or stream.handed_over)
        self.assertEqual(stream.thread_id, threading.get_ident())
        self.assertIsNone(complaint(stream))

    async def test_the_facts_stand_before_the_server_sees_the_end(self) -> None:
        """In one plain loop a good client is beyond reproach when its FIN arrives: no grace is needed."""
        seen: list[str] = []
        stream: ClientStream
        with mock.patch.object(
            Peer,
            "eof_received",
            lambda peer: seen.append(complaint(stream) or str(stream.connection_lost)),
            create=True,
        ):
            _, writer, stream = await self.connect()
            await close(writer)
            await self.server.peers[0].ended
        self.assertEqual(seen, ["True"])

    async def test_a_missing_wait_closed_is_told_when_the_client_only_closes(self) -> None:
        """The commonest fault, and the switch that permits it."""
        _, writer, stream = await self.connect()
        writer.close()
        await self.server.peers[0].ended
        await turns()
        self.assertEqual(complaint(stream), "the client closed its stream without awaiting wait_closed()")
        self.assertIsNone(complaint(stream, wait_closed=False))

    async def test_a_missing_wait_closed_is_told_when_the_coroutine_is_not_awaited(self) -> None:
        """Calling is not awaiting; Python's own warning still names what the client called."""
        _, writer, stream = await self.connect()
        writer.close()
        with self.assertWarnsRegex(RuntimeWarning, "'StreamWriter.wait_closed' was never awaited"):
            writer.wait_closed()  # type: ignore[unused-coroutine]
            collect(cycles=True)
        self.assertFalse(stream.wait_closed_awaited)

    async def test_nothing_is_wrong_when_another_task_waits(self) -> None:
        """It doesn't matter who awaits."""
        _, writer, stream = await self.connect()
        writer.close()
        await asyncio.create_task(writer.wait_closed())
        self.assertIsNone(complaint(stream))

    async def test_a_wait_counts_as_begun_when_it_is_cancelled(self) -> None:
        """A time-out around wait_closed() is no fault, and neither is its second call."""
        _, writer, stream = await self.connect()
        self.server.peers[0].transport.pause_reading()
        writer.write(bytes(10_000_000))
        writer.close()
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 0.01)
        self.assertTrue(stream.wait_closed_awaited)
        self.assertFalse(stream.wait_closed_done or stream.connection_lost)
        self.assertIsNone(complaint(stream))
        writer.transport.abort()
        await until(lambda: stream.connection_lost)
        with contextlib.suppress(asyncio.CancelledError):
            await writer.wait_closed()
        self.assertTrue(stream.wait_closed_done)

    async def test_a_wait_is_done_when_it_raises_what_broke_the_connection(self) -> None:
        """A connection that the server reset is over for wait_closed(), too."""
        _, writer, stream = await self.connect()
        peer = self.server.peers[0].transport
        peer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        peer.abort()
        if hasattr(asyncio.get_running_loop(), "_proactor"):
            peer.get_extra_info("socket")._sock.close()  # its transport would shut the socket down first
        await until(lambda: stream.connection_lost)
        self.assertEqual(complaint(stream), "the client never called writer.close() after its connection was lost")
        self.assertFalse(stream.transport_closed_directly)
        writer.close()
        with self.assertRaises(ConnectionResetError):
            await writer.wait_closed()
        self.assertTrue(stream.wait_closed_done)
        self.assertIsNone(complaint(stream))

    async def test_the_close_counts_when_the_client_raises_after_it(self) -> None:
        """The record tells how far a client got that failed by itself."""

        async def client() -> None:
            _, writer, _ = await self.connect()
            writer.close()
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            await client()
        await self.server.peers[0].ended
        stream = self.server.watch.stream_of(self.server.peers[0].address)
        assert stream is not None
        self.assertTrue(stream.close_called)
        self.assertFalse(stream.collected or stream.wait_closed_awaited)

    async def test_a_half_close_is_not_a_close_when_nothing_follows(self) -> None:
        """On the wire they are the same FIN; the stream tells them apart."""
        reader, writer, stream = await self.connect()
        writer.write_eof()
        await reader.read()
        self.assertEqual(
            complaint(stream), "the client half-closed its stream with write_eof(), and never called writer.close()"
        )
        await close(writer)
        self.assertIsNone(complaint(stream))

    async def test_closing_the_transport_counts_as_closing_when_the_client_waits(self) -> None:
        """writer.transport.close() and .abort() do what writer.close() does."""
        for way in ("close", "abort"):
            with self.subTest(way):
                _, writer, stream = await self.connect()
                getattr(writer.transport, way)()
                self.assertTrue(stream.transport_closed_directly)
                self.assertEqual(
                    complaint(stream),
                    "the client's transport was closed without writer.close(), and wait_closed() was never awaited",
                )
                self.assertIsNone(complaint(stream, wait_closed=False))
                await writer.wait_closed()
                self.assertTrue(stream.transport_closed_directly)
                self.assertFalse(stream.close_called)
                self.assertIsNone(complaint(stream))

    async def test_a_closed_transport_is_remembered_when_the_writer_is_gone(self) -> None:
        """The last look at a writer is taken when it is collected."""
        _, writer, stream = await self.connect()
        writer.transport.abort()
        del writer
        collect()
        self.assertTrue(stream.collected and stream.transport_closed_directly)
        self.assertIn("transport was closed", complaint(stream) or "")
        await turns()

    async def test_nobody_is_blamed_when_the_transport_gets_another_protocol(self) -> None:
        """A client that speaks streams first and its own protocol later has left the streams behind."""
        _, writer, stream = await self.connect()
        transport: Any = writer.transport
        transport.set_protocol(asyncio.Protocol())
        self.assertTrue(stream.handed_over)
        transport.close()
        await self.server.peers[0].ended
        self.assertTrue(stream.handed_over)
        self.assertIsNone(complaint(stream))
        del writer
        self.assertIsNone(complaint(stream))


class UnreadTests(WatchedServerTestCase):
    """What clients leave in their readers."""

    async def test_the_rest_is_told_when_a_client_reads_part_of_the_reply(self) -> None:
        """Which bytes, and how many; they are known after the client dropped everything."""
        reader, writer, stream = await self.connect()
        writer.write(b"hello")
        self.assertEqual(await reader.readexactly(7), b"hello, ")
        await until(lambda: len(stream.unread()) == 7)
        self.assertNotIn("unread", complaint(stream) or "")
        await close(writer)
        del reader, writer
        self.assertEqual(stream.unread(), b"client!")
        self.assertEqual(complaint(stream), "the client left 7 bytes of the server's reply unread: b'client!'")
        self.assertIsNone(complaint(stream, wait_closed=False))

    async def test_nothing_is_unread_when_a_client_reads_after_closing(self) -> None:
        """The reader may be emptied late."""
        reader, writer, stream = await self.connect()
        writer.write(b"hello")
        await until(lambda: len(stream.unread()) == 14)
        await close(writer)
        self.assertEqual(len(await reader.read()), 14)
        self.assertEqual(stream.unread(), b"")
        self.assertIsNone(complaint(stream))

    async def test_a_read_is_seen_while_it_waits(self) -> None:
        """It has a future of its own; what the reader holds is counted, and nothing is once the writer is gone."""
        reader, writer, stream = await self.connect()
        self.assertIsNone(stream.read_waiter)
        reading = asyncio.ensure_future(reader.readexactly(10))
        await until(lambda: stream.read_waiter is not None)
        writer.write(b"hello")
        self.assertEqual(await reading, b"hello, cli")
        self.assertIsNone(stream.read_waiter)
        await until(lambda: stream.held == 4)
        await close(writer)
        del reader, writer
        self.assertEqual((stream.held, stream.read_waiter), (4, None))

    async def test_unread_follows_the_reader_whatever_the_way_of_reading(self) -> None:
        """Each method of StreamReader takes its bytes out of the same buffer."""
        self.server.reply = b"one\ntwo;three and so on"
        reader, writer, stream = await self.connect()
        writer.write(b"hello")
        await until(lambda: len(stream.unread()) == 23)
        self.assertEqual(await reader.readline(), b"one\n")
        self.assertEqual(stream.unread(), b"two;three and so on")
        self.assertEqual(await reader.readuntil(b";"), b"two;")
        self.assertEqual(await reader.readexactly(5), b"three")
        self.assertEqual(await reader.read(4), b" and")
        self.assertEqual(stream.unread(), b" so on")
        self.server.peers[0].transport.close()
        self.assertEqual(await reader.read(), b" so on")
        self.assertEqual(stream.unread(), b"")
        await close(writer)


class CollectionTests(WatchedServerTestCase):
    """Streams that are dropped instead of closed, and what watching keeps alive: nothing."""

    async def test_a_dropped_stream_is_told_from_a_closed_one(self) -> None:
        """A collected writer closes itself, from Python 3.11.3 on: that close is nobody's doing."""
        _, writer, stream = await self.connect()
        transport = writer.transport
        expected: Any = contextlib.nullcontext()
        if COMPLAINS:
            expected = self.assertWarnsRegex(ResourceWarning, "unclosed <StreamWriter transport")
        with expected:
            del writer
            collect()
        self.assertTrue(stream.collected)
        self.assertFalse(stream.close_called or stream.transport_closed_directly)
        transport.abort()
        await turns()
        self.assertFalse(stream.close_called or stream.transport_closed_directly)
        self.assertEqual(complaint(stream), "the client never called writer.close(); its stream was garbage collected")

    @unittest.skipUnless(COMPLAINS, "a collected writer warns of nothing before Python 3.11.3")
    async def test_a_dropped_stream_is_told_from_a_closed_one_where_warnings_are_errors(self) -> None:
        """The error of its destructor keeps the writer alive (pytest does): what it did then is nobody's doing."""
        _, writer, stream = await self.connect()
        kept: list[Any] = []
        with mock.patch.object(sys, "unraisablehook", kept.append), warnings.catch_warnings():
            warnings.simplefilter("error")
            del writer
            collect()
        self.assertEqual(len(kept), 1)
        await turns()
        self.assertEqual(complaint(stream), "the client never called writer.close(); its stream was garbage collected")
        kept.clear()

    @counts_references
    async def test_nothing_is_kept_alive_when_a_stream_was_closed(self) -> None:
        """What the client drops goes at once, without the collector, as it does when nobody watches."""
        gc.disable()
        self.addCleanup(gc.enable)

        async def still_there() -> list[bool]:
            reader, writer = await open_connection(*self.server.address)
            transport: Any = writer.transport
            refs = [weakref.ref(thing) for thing in (reader, writer, transport.get_protocol(), transport)]
            await close(writer)
            await turns()
            del reader, writer, transport
            return [ref() is not None for ref in refs]

        watched = await still_there()
        stream = self.server.watch.stream_of(self.server.peers[0].address)
        assert stream is not None
        self.assertEqual(watched[:3], [False] * 3)
        self.assertTrue(stream.connection_lost)
        self.assertFalse(stream.collected)
        self.assertIsNone(complaint(stream))
        self.server.watch.stop()
        self.assertEqual(watched, await still_there())


class TLSTests(unittest.IsolatedAsyncioTestCase):
    """Streams over TLS."""

    async def test_a_client_is_judged_as_without_tls(self) -> None:
        """The transport is asyncio's TLS transport; the facts are the same ones."""
        context, options = tls_contexts()
        async with Server(ssl=context) as server:
            reader, writer = await open_connection(*server.address, **options)
            stream = server.stream(writer)
            writer.write(b"hello")
            self.assertEqual(await reader.readexactly(7), b"hello, ")
            self.assertFalse(stream.handed_over or stream.transport_closed_directly)
            await close(writer)
            await server.peers[0].ended
            self.assertTrue(stream.connection_lost and stream.wait_closed_done)
            self.assertEqual(complaint(stream), "the client left 7 bytes of the server's reply unread: b'client!'")

    async def test_a_client_has_to_close_when_the_server_ended_the_stream(self) -> None:
        """asyncio closes the transport then, so that waiting is what is missing."""
        context, options = tls_contexts()
        async with Server(ssl=context) as server:
            reader, writer = await open_connection(*server.address, **options)
            stream = server.stream(writer)
            await until(lambda: server.peers)
            server.peers[0].transport.close()
            await reader.read()
            await until(lambda: stream.connection_lost)
            self.assertEqual(
                complaint(stream),
                "the client's transport was closed without writer.close(), and wait_closed() was never awaited",
            )
            await close(writer)
            self.assertIsNone(complaint(stream))

    async def test_a_dropped_stream_is_told(self) -> None:
        """Garbage collection is seen through TLS."""
        context, options = tls_contexts()
        async with Server(ssl=context) as server:
            _, writer = await open_connection(*server.address, **options)
            stream, transport = server.stream(writer), writer.transport
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del writer
                collect()
            self.assertTrue(stream.collected)
            self.assertIn("garbage collected", complaint(stream) or "")
            transport.abort()
            await until(lambda: stream.connection_lost)

    async def upgrade(self, server: Server) -> tuple[Any, dict[str, Any]]:
        """Let the server's side of its only connection speak TLS from here on; return its task, and client options."""
        context, options = tls_contexts()
        await until(lambda: server.peers)
        peer = server.peers[0]

        async def start() -> None:
            loop = asyncio.get_running_loop()
            peer.transport = await loop.start_tls(peer.transport, peer, context, server_side=True)

        return asyncio.create_task(start()), options

    @unittest.skipUnless(hasattr(asyncio.StreamWriter, "start_tls"), "needs Python 3.11")
    async def test_a_stream_is_followed_when_it_starts_tls(self) -> None:
        """The writer gets another transport; it is the same stream."""
        async with Server() as server:
            reader, writer = await open_connection(*server.address)
            stream = server.stream(writer)
            task, options = await self.upgrade(server)
            await writer.start_tls(options["ssl"], server_hostname=options["server_hostname"])
            await task
            self.assertFalse(stream.handed_over)
            writer.write(b"hello")
            self.assertEqual(await reader.readexactly(7), b"hello, ")
            await close(writer)
            self.assertTrue(stream.wait_closed_done)
            self.assertEqual(complaint(stream), "the client left 7 bytes of the server's reply unread: b'client!'")

    async def upgraded_by_hand(self, server: Server) -> tuple[ClientStream, asyncio.StreamWriter, asyncio.StreamWriter]:
        """Let a client upgrade as before Python 3.11, by another writer; return its record, the old writer, the new."""
        reader, writer = await open_connection(*server.address)
        stream, loop = server.stream(writer), asyncio.get_running_loop()
        task, options = await self.upgrade(server)
        transport: Any = writer.transport
        protocol = transport.get_protocol()
        secured: Any = await loop.start_tls(
            transport, protocol, options["ssl"], server_hostname=options["server_hostname"]
        )
        await task
        protocol._over_ssl = True  # as such clients do: the protocol was told of no TLS
        return stream, writer, ORIGINAL(secured, protocol, reader, loop)

    async def test_nobody_is_blamed_when_the_client_upgrades_by_hand(self) -> None:
        """The old writer may be dropped if the new one is closed."""
        async with Server() as server:
            stream, writer, new_writer = await self.upgraded_by_hand(server)
            self.assertIs(server.stream(new_writer), stream)
            self.assertFalse(stream.handed_over)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # 3.11+: the old writer closes what it can
                del writer
            self.assertFalse(stream.collected)
            await close(new_writer)
            self.assertTrue(stream.connection_lost)
            self.assertIsNone(complaint(stream))

    async def test_another_writer_is_seen_when_it_is_built_by_hand(self) -> None:
        """It is watched like the first one, although its class is asyncio's own."""
        async with Server() as server:
            stream, writer, new_writer = await self.upgraded_by_hand(server)
            self.assertEqual(complaint(stream), "the client never called writer.close()")
            new_writer.close()
            self.assertEqual(complaint(stream), "the client closed its stream without awaiting wait_closed()")
            await new_writer.wait_closed()
            self.assertIsNone(complaint(stream))
            writer.close()

    async def test_a_stream_is_closed_when_either_of_two_writers_is(self) -> None:
        """A client that makes a second writer for its plain connection may close the first one."""
        for closes_first in (True, False):
            with self.subTest(closes_first=closes_first):
                async with Server() as server:
                    reader, writer = await open_connection(*server.address)
                    protocol: Any = writer.transport.get_protocol()  # type: ignore[attr-defined]
                    second = ORIGINAL(writer.transport, protocol, reader, asyncio.get_running_loop())
                    await close(writer if closes_first else second)
                    self.assertIsNone(complaint(server.stream(second)))


@unittest.skipUnless(importlib.util.find_spec("uvloop"), "needs uvloop")
class UvloopTests(unittest.TestCase):
    """The same facts from another event loop's transports."""

    def run_scenario(self, scenario: Any, **server_options: Any) -> None:
        import uvloop

        async def main() -> None:
            async with Server(**server_options) as server:
                await scenario(server)

        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    async def good_client(self, server: Server, **options: Any) -> None:
        reader, writer = await open_connection(*server.address, **options)
        stream = server.stream(writer)
        writer.write(b"hello")
        self.assertEqual(await reader.readexactly(7), b"hello, ")
        self.assertEqual(complaint(stream), "the client never called writer.close()")
        await close(writer)
        self.assertTrue(stream.wait_closed_done and stream.connection_lost)
        self.assertFalse(stream.collected or stream.handed_over or stream.transport_closed_directly)
        self.assertEqual(complaint(stream), "the client left 7 bytes of the server's reply unread: b'client!'")

    def test_a_client_is_seen_over_tcp(self) -> None:
        """Closing, waiting and unread bytes."""
        self.run_scenario(self.good_client)

    def test_a_client_is_seen_over_tls(self) -> None:
        """Closing, waiting and unread bytes, with uvloop's own TLS."""
        context, options = tls_contexts()
        self.run_scenario(lambda server: self.good_client(server, **options), ssl=context)

    def test_a_transport_that_is_closed_directly_is_seen(self) -> None:
        """uvloop's transports can't be patched; they can be asked."""

        async def client(server: Server) -> None:
            _, writer = await open_connection(*server.address)
            stream = server.stream(writer)
            writer.transport.abort()
            self.assertTrue(stream.transport_closed_directly)
            await writer.wait_closed()
            self.assertTrue(stream.transport_closed_directly and stream.wait_closed_done)
            self.assertIsNone(complaint(stream))

        self.run_scenario(client)

    def test_a_dropped_stream_is_seen(self) -> None:
        """Garbage collection is no close."""

        async def client(server: Server) -> None:
            _, writer = await open_connection(*server.address)
            stream, transport = server.stream(writer), writer.transport
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del writer
            self.assertTrue(stream.collected)
            transport.abort()
            await until(lambda: stream.connection_lost)
            self.assertIn("garbage collected", complaint(stream) or "")

        self.run_scenario(client)

    def test_a_transport_that_gets_another_protocol_is_seen(self) -> None:
        """Nobody is blamed for streams that were left behind."""

        async def client(server: Server) -> None:
            _, writer = await open_connection(*server.address)
            stream, transport = server.stream(writer), writer.transport
            transport.set_protocol(asyncio.Protocol())
            self.assertTrue(stream.handed_over)
            transport.close()
            await turns()
            self.assertIsNone(complaint(stream))

        self.run_scenario(client)
