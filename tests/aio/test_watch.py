"""Tests of `tcpclient_testing.aio.watch`: real clients with asyncio streams, and what was seen of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import re
import socket
import struct
import sys
import tempfile
import threading
import types
import unittest
import warnings
import weakref
from asyncio import open_connection, streams
from typing import TYPE_CHECKING, Any
from unittest import mock

from tcpclient_testing.aio.watch import ClientStream, StreamWatch, complaint

if TYPE_CHECKING:
    from typing_extensions import Self

ORIGINAL = asyncio.StreamWriter
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # for SO_LINGER


class Peer(asyncio.Protocol):
    """The server's side of one connection: answers whatever it gets, and closes when the client ends its stream."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("peername")
        self.server.peers.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.server.reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Server:
    """A server on a free port of the loopback interface, and the watch over its clients; an async context."""

    def __init__(self, reply: bytes = b"hello, client!", *, ssl: Any = None, host: str = "127.0.0.1") -> None:
        self.reply, self.ssl, self.host = reply, ssl, host
        self.peers: list[Peer] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Peer(self), self.host, 0, ssl=self.ssl)
        self.address = self.server.sockets[0].getsockname()[:2]
        self.watch = StreamWatch(lambda address: address == self.address)
        self.watch.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.watch.stop()
        self.server.close()
        for peer in self.peers:
            peer.transport.abort()
        await turns()

    def stream(self, writer: asyncio.StreamWriter) -> ClientStream:
        """Return the record of that writer."""
        stream = self.watch.stream_of(writer.get_extra_info("sockname"))
        assert stream is not None
        return stream


async def turns(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Any) -> None:
    """Wait until something that no event announces has become true; five seconds at most."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(look(), 5)


async def close(writer: asyncio.StreamWriter) -> None:
    """Do what a client should."""
    writer.close()
    await writer.wait_closed()


def tls_contexts() -> tuple[Any, dict[str, Any]]:
    """Return a server's context, and the arguments of a client."""
    from tcpclient_testing import tls

    return tls.server_context(), {"ssl": tls.client_context(), "server_hostname": "localhost"}


class SubstitutionTests(unittest.TestCase):
    """What becomes of ``asyncio.streams.StreamWriter``."""

    def setUp(self) -> None:
        self.addCleanup(setattr, streams, "StreamWriter", streams.StreamWriter)
        self.watch = StreamWatch(lambda address: True)
        self.addCleanup(self.watch.stop)

    def test_only_the_name_in_streams_is_replaced_while_watching(self) -> None:
        """Client code that names asyncio.StreamWriter gets the original."""
        self.watch.start()
        self.assertIsNot(streams.StreamWriter, ORIGINAL)
        self.assertIs(asyncio.StreamWriter, ORIGINAL)
        self.watch.stop()
        self.assertIs(streams.StreamWriter, ORIGINAL)

    def test_start_and_stop_count_once_when_called_twice(self) -> None:
        """Both are idempotent, and a watch can be started again."""
        for _ in range(2):
            self.watch.start()
            self.watch.start()
            self.watch.stop()
            self.assertIs(streams.StreamWriter, ORIGINAL)
            self.watch.stop()

    def test_the_name_is_kept_until_the_last_watch_stops(self) -> None:
        """Watches overlap in any order."""
        other = StreamWatch(lambda address: False)
        self.watch.start()
        other.start()
        self.watch.stop()
        self.assertIsNot(streams.StreamWriter, ORIGINAL)
        other.stop()
        self.assertIs(streams.StreamWriter, ORIGINAL)

    def test_somebody_elses_class_is_left_alone_when_it_came_later(self) -> None:
        """What isn't ours any more isn't restored; given back late, our class watches nothing, and goes in the end."""
        self.watch.start()
        ours: Any = streams.StreamWriter
        theirs = type("Theirs", (ours,), {})
        with mock.patch.object(streams, "StreamWriter", theirs):
            self.watch.stop()
            self.assertIs(streams.StreamWriter, theirs)
        self.assertIs(streams.StreamWriter, ours)
        self.watch.start()
        self.assertIs(streams.StreamWriter, ours)
        self.watch.stop()
        self.assertIs(streams.StreamWriter, ORIGINAL)

    def test_somebody_elses_class_is_derived_from_when_it_was_there_before(self) -> None:
        """Another tool's writer goes on working, and is what comes back."""
        theirs = type("Theirs", (ORIGINAL,), {})
        with mock.patch.object(streams, "StreamWriter", theirs):
            self.watch.start()
            self.assertIsNot(streams.StreamWriter, theirs)
            self.assertIn(theirs, streams.StreamWriter.__mro__)
            self.assertEqual(streams.StreamWriter.__name__, "Theirs")
            self.watch.stop()
            self.assertIs(streams.StreamWriter, theirs)

    def test_a_mock_is_left_alone_when_it_was_there_before(self) -> None:
        """What can't be derived from is not replaced."""
        with mock.patch.object(streams, "StreamWriter") as theirs:
            self.watch.start()
            self.assertIs(streams.StreamWriter, theirs)
            self.watch.stop()
            self.assertIs(streams.StreamWriter, theirs)

    def test_a_kept_class_means_the_original_when_asked_about_types(self) -> None:
        """A client that is imported while a server runs may keep our class under the name of StreamWriter."""
        self.watch.start()
        kept: Any = streams.StreamWriter
        derived = type("Derived", (kept,), {})
        self.watch.stop()
        written_before = ORIGINAL.__new__(ORIGINAL)
        written_before._transport = mock.Mock()  # type: ignore[attr-defined]
        self.assertIsInstance(written_before, kept)
        self.assertTrue(issubclass(ORIGINAL, kept))
        self.assertNotIsInstance(written_before, derived)
        self.assertFalse(issubclass(ORIGINAL, derived))

    def test_the_original_comes_back_when_threads_start_and_stop_at_once(self) -> None:
        """The reference count survives threads."""

        def start_and_stop() -> None:
            watch = StreamWatch(lambda address: False)
            for _ in range(200):
                watch.start()
                assert streams.StreamWriter is not ORIGINAL
                watch.stop()

        threads = [threading.Thread(target=start_and_stop) for _ in range(4)]
        with mock.patch.object(threading, "excepthook") as failed:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        failed.assert_not_called()
        self.assertIs(streams.StreamWriter, ORIGINAL)


class WatchedServerTestCase(unittest.IsolatedAsyncioTestCase):
    """A test with a server whose clients are watched."""

    async def asyncSetUp(self) -> None:
        context = contextlib.AsyncExitStack()
        self.addAsyncCleanup(context.aclose)
        self.server = await context.enter_async_context(Server())

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, ClientStream]:
        """Connect a client, and return its record too."""
        reader, writer = await open_connection(*self.server.address, **options)
        await until(lambda: self.server.peers)
        return reader, writer, self.server.stream(writer)


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
            gc.collect()
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

    async def test_a_record_is_replaced_when_a_later_client_has_the_same_address(self) -> None:
        """Ports come back; forgetting an old record doesn't touch the new one."""
        records = []
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            local = holder.getsockname()
        for _ in range(2):
            self.server.peers.clear()
            _, writer, stream = await self.connect(local_addr=local)
            writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            records.append(stream)
            await close(writer)
            await self.server.peers[0].ended
        self.assertIsNot(records[0], records[1])
        self.assertIs(self.server.watch.stream_of(local), records[1])
        self.server.watch.forget(records[0])
        self.assertIs(self.server.watch.stream_of(local), records[1])
        self.server.watch.forget(records[1])
        self.assertIsNone(self.server.watch.stream_of(local))


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
        self.assertEqual(complaint(stream, wait_closed=False), complaint(stream))

    async def test_nothing_is_unread_when_a_client_reads_after_closing(self) -> None:
        """The reader may be emptied late."""
        reader, writer, stream = await self.connect()
        writer.write(b"hello")
        await until(lambda: len(stream.unread()) == 14)
        await close(writer)
        self.assertEqual(len(await reader.read()), 14)
        self.assertEqual(stream.unread(), b"")
        self.assertIsNone(complaint(stream))

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
        """Since Python 3.11 a collected writer closes itself: that close is nobody's doing."""
        _, writer, stream = await self.connect()
        transport = writer.transport
        expected: Any = contextlib.nullcontext()
        if sys.version_info >= (3, 11):
            expected = self.assertWarnsRegex(ResourceWarning, "unclosed <StreamWriter transport")
        with expected:
            del writer
        self.assertTrue(stream.collected)
        self.assertFalse(stream.close_called or stream.transport_closed_directly)
        transport.abort()
        await turns()
        self.assertFalse(stream.close_called or stream.transport_closed_directly)
        self.assertEqual(complaint(stream), "the client never called writer.close(); its stream was garbage collected")

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


class WarningsTests(unittest.TestCase):
    """What Python says of careless clients."""

    def warnings_of(self, watched: bool) -> list[list[str]]:
        """Return what is warned of when a client drops its stream, when its loop closes, and when all is collected."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        watch = StreamWatch(lambda address: watched)
        watch.start()
        self.addCleanup(watch.stop)
        told: list[list[str]] = []
        gc.collect()  # what other tests left behind warns now

        async def client() -> None:
            reader, writer = await open_connection(*listener.getsockname())
            self.assertIs(type(writer) is not ORIGINAL, watched)
            del reader, writer
            note()
            await turns(3)

        def note() -> None:
            told.append(
                [re.sub("0x[0-9a-f]+|fd=[0-9]+|[0-9]{4,5}|asyncio.streams.", "N", str(w.message)) for w in seen]
            )

        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            loop = asyncio.new_event_loop()
            loop.run_until_complete(client())
            note()
            loop.close()
            note()
            del loop
            gc.collect()
            note()
        return told

    def test_warnings_come_at_the_same_time_when_streams_are_watched(self) -> None:
        """An unclosed stream is complained about as it would be without us."""
        unwatched = self.warnings_of(False)
        self.assertTrue(unwatched[-1])
        self.assertEqual(self.warnings_of(True), unwatched)


class OtherStreamsTests(WatchedServerTestCase):
    """Streams that are none of our business."""

    async def test_the_original_class_is_used_when_the_peer_is_another_server(self) -> None:
        """A stream to elsewhere is not merely ignored: its writer is what it would be without us."""
        async with Server() as other:
            other.watch.stop()
            _, writer = await open_connection(*other.address)
            self.assertIs(type(writer), ORIGINAL)
            self.assertIsNone(self.server.watch.stream_of(writer.get_extra_info("sockname")))
            await close(writer)

    async def test_the_original_class_is_used_on_the_side_of_a_stream_server(self) -> None:
        """The streams of asyncio.start_server have clients for peers, whatever their addresses."""
        self.server.watch._owns = lambda address: True
        writers: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await close(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await open_connection(*server.sockets[0].getsockname())
        await reader.read()
        await close(writer)
        server.close()
        self.assertEqual([type(each) for each in writers], [ORIGINAL])
        self.assertIsNot(type(writer), ORIGINAL)

    @unittest.skipUnless(hasattr(asyncio, "open_unix_connection"), "needs Unix sockets")
    async def test_the_original_class_is_used_on_unix_sockets(self) -> None:
        """A Unix client has no address by which its record could be found."""
        self.server.watch._owns = lambda address: True
        with tempfile.TemporaryDirectory() as folder:
            server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), f"{folder}/socket")
            reader, writer = await asyncio.open_unix_connection(f"{folder}/socket")
            self.assertIs(type(writer), ORIGINAL)
            await reader.read()
            await close(writer)
            server.close()
        self.assertIsNone(self.server.watch.stream_of(""))  # type: ignore[arg-type]

    async def test_another_tools_writer_is_used_and_watched_when_it_was_there_before(self) -> None:
        """Its class goes on working, below ours."""
        self.server.watch.stop()
        written: list[bytes] = []

        class Theirs(ORIGINAL):
            def write(self, data: Any) -> None:
                written.append(data)
                super().write(data)

        with mock.patch.object(streams, "StreamWriter", Theirs):
            self.server.watch.start()
            _, writer, stream = await self.connect()
            self.assertIsInstance(writer, Theirs)
            writer.write(b"hello")
            await close(writer)
            self.server.watch.stop()
        self.assertEqual(written, [b"hello"])
        self.assertTrue(stream.wait_closed_done)

    async def test_each_watch_knows_its_own_when_two_servers_run(self) -> None:
        """Streams are told apart by the server that they are connected to."""
        async with Server() as other:
            pairs = [await open_connection(*server.address) for server in (self.server, other)]
            names = [writer.get_extra_info("sockname") for _, writer in pairs]
            watches = [self.server.watch, other.watch]
            found = [[watch.stream_of(name) is not None for name in names] for watch in watches]
            self.assertEqual(found, [[True, False], [False, True]])
            for _, writer in pairs:
                await close(writer)

    async def test_a_stream_goes_on_being_recorded_when_its_watch_stops(self) -> None:
        """A verdict may be given after the server stopped; new streams are not recorded any more."""
        _, writer, stream = await self.connect()
        self.server.watch.stop()
        await close(writer)
        self.assertTrue(stream.wait_closed_done)
        _, writer = await open_connection(*self.server.address)
        self.assertIs(type(writer), ORIGINAL)
        await close(writer)

    async def test_a_kept_class_watches_nothing_when_the_watch_has_stopped(self) -> None:
        """Our class, or one that was derived from it, does no harm where it was kept."""
        kept: Any = streams.StreamWriter
        derived: Any = type("Derived", (kept,), {})
        for build, made in ((kept, ORIGINAL), (derived, derived)):
            with self.subTest(build=build):
                _, writer, stream = await self.connect()
                self.server.watch.stop()
                transport: Any = writer.transport
                reader, loop = asyncio.StreamReader(), asyncio.get_running_loop()
                again = build(transport, transport.get_protocol(), reader, loop)
                self.assertIs(type(again), made)
                again.write_eof()
                await close(again)
                self.assertFalse(stream.close_called or stream.eof_written or stream.wait_closed_awaited)
                self.server.watch.start()

    async def test_an_ipv4_mapped_address_finds_the_stream(self) -> None:
        """The two ends of a connection may write the same address in two ways."""
        _, writer, stream = await self.connect()
        host, port = stream.client_address
        self.assertIs(self.server.watch.stream_of((f"::ffff:{host}", port, 0, 0)), stream)
        await close(writer)


class IPv6Tests(unittest.IsolatedAsyncioTestCase):
    """Streams over IPv6."""

    async def test_a_stream_is_found_when_addresses_have_four_items(self) -> None:
        """Only the host and the port of an address count."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("needs IPv6")
        async with Server(host="::1") as server:
            _, writer = await open_connection(*server.address)
            await until(lambda: server.peers)
            self.assertEqual(len(server.peers[0].address), 4)
            stream = server.watch.stream_of(server.peers[0].address)
            assert stream is not None
            await close(writer)
            self.assertTrue(stream.wait_closed_done)


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

    async def test_nobody_is_blamed_when_the_client_upgrades_by_hand(self) -> None:
        """Before Python 3.11 the way to STARTTLS was another writer for the new transport; the old one is dropped."""
        async with Server() as server:
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
            new_writer = ORIGINAL(secured, protocol, reader, loop)
            self.assertTrue(stream.handed_over)
            self.assertIsNone(complaint(stream))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # 3.11+: the old writer closes what it can
                del writer
            await close(new_writer)
            self.assertTrue(stream.connection_lost and stream.collected)
            self.assertIsNone(complaint(stream))


class ThreadTests(unittest.TestCase):
    """Servers and clients in several loops at once."""

    def test_streams_are_seen_when_their_loops_run_in_other_threads(self) -> None:
        """A server in one thread, clients in two: each is found by the server, and known to live elsewhere."""
        ready, over = threading.Event(), threading.Event()
        found: list[Any] = []
        held: list[Server] = []

        def serve() -> None:
            async def main() -> None:
                async with Server() as server:
                    held.append(server)
                    ready.set()
                    await until(lambda: len(server.peers) == 2)
                    await asyncio.gather(*(peer.ended for peer in server.peers))
                    streams_ = [server.watch.stream_of(peer.address) for peer in server.peers]
                    await until(lambda: all(stream is not None and stream.wait_closed_done for stream in streams_))
                    found.extend((stream, complaint(stream)) for stream in streams_ if stream is not None)

            asyncio.run(main())
            over.set()

        def client() -> None:
            async def main() -> None:
                reader, writer = await open_connection(*held[0].address)
                writer.write(b"hello")
                await reader.readexactly(14)
                await close(writer)

            asyncio.run(main())

        server = threading.Thread(target=serve)
        server.start()
        self.addCleanup(server.join)
        self.assertTrue(ready.wait(5))
        other = threading.Thread(target=client)
        other.start()
        client()
        other.join()
        self.assertTrue(over.wait(5))
        self.assertEqual([said for _, said in found], [None, None])
        self.assertEqual({stream.thread_id for stream, _ in found}, {threading.get_ident(), other.ident})


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


GOOD_CLIENT = dict.fromkeys(("close_called", "wait_closed_awaited", "wait_closed_done", "connection_lost"), True)


class ComplaintTests(unittest.TestCase):
    """The judgement, as a function of the facts."""

    NEVER = "the client never called writer.close()"
    TABLE: tuple[tuple[dict[str, Any], str | None], ...] = (
        ({}, NEVER),
        ({"wait_closed_awaited": True}, NEVER),
        ({"unread": b"x"}, NEVER),
        ({"collected": True}, f"{NEVER}; its stream was garbage collected"),
        ({"collected": True, "connection_lost": True}, f"{NEVER}; its stream was garbage collected"),
        ({"connection_lost": True}, f"{NEVER} after its connection was lost"),
        ({"handed_over": True, "collected": True, "connection_lost": True, "unread": b"x"}, None),
        ({"close_called": True}, "the client closed its stream without awaiting wait_closed()"),
        ({"close_called": True, "handed_over": True}, "the client closed its stream without awaiting wait_closed()"),
        ({"close_called": True, "wait_closed_awaited": True}, None),
        ({"close_called": True, "wait_closed_awaited": True, "unread": b"x"}, None),
        (GOOD_CLIENT, None),
        ({**GOOD_CLIENT, "unread": b"x"}, "the client left 1 byte of the server's reply unread: b'x'"),
        ({**GOOD_CLIENT, "unread": b"-" * 40}, f"the client left 40 bytes of the server's reply unread: b'{'-' * 40}'"),
        (
            {**GOOD_CLIENT, "unread": b"-" * 41},
            f"the client left 41 bytes of the server's reply unread: b'{'-' * 40}'...",
        ),
    )

    def test_each_set_of_facts_has_its_words(self) -> None:
        """One fault is named, the first in the order of the client's duties."""
        for facts, expected in self.TABLE:
            with self.subTest(**facts):
                self.assertEqual(complaint(self.stream(facts)), expected)

    def test_no_fault_is_found_in_a_missing_wait_when_none_is_demanded(self) -> None:
        """Closing and reading stay duties."""
        closed = self.stream({"close_called": True, "connection_lost": True})
        self.assertIsNone(complaint(closed, wait_closed=False))
        self.assertEqual(complaint(self.stream({}), wait_closed=False), self.NEVER)

    def stream(self, facts: dict[str, Any]) -> Any:
        """Return a stream of which nothing is true but these facts."""
        left = facts.get("unread", b"")
        names = (*ClientStream.__slots__, "connection_lost", "handed_over", "transport_closed_directly")
        return types.SimpleNamespace(**{**dict.fromkeys(names, False), **facts, "unread": lambda: left})
