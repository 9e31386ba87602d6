"""Tests of `tcpclient_testing.aio.streams.watch`: which streams are recorded, and what becomes of the others."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import unittest
import warnings
from asyncio import open_connection, streams
from typing import Any
from unittest import mock

from tcpclient_testing.aio.streams.rules import complaint
from tcpclient_testing.aio.streams.watch import StreamWatch
from tests.support.collecting import collect
from tests.support.folders import socket_folder
from tests.support.platforms import needs_unix
from tests.support.watched import (
    ORIGINAL,
    RESET_ON_CLOSE,
    Server,
    WatchedServerTestCase,
    close,
    turns,
    until,
)


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

    def test_the_constructor_is_replaced_while_watching(self) -> None:
        """The original class gets its constructor back, unless somebody else has replaced ours since."""
        before = ORIGINAL.__init__
        self.watch.start()
        ours = ORIGINAL.__init__
        self.assertIsNot(ours, before)
        self.watch.stop()
        self.assertIs(ORIGINAL.__init__, before)
        self.watch.start()
        with mock.patch.object(ORIGINAL, "__init__") as theirs:
            self.watch.stop()
            self.assertIs(ORIGINAL.__init__, theirs)
        self.watch.start()
        self.watch.stop()
        self.assertIs(ORIGINAL.__init__, before)

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
        collect(cycles=True)  # what other tests left behind warns now

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
            collect(cycles=True)
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

    @needs_unix
    async def test_the_original_class_is_used_on_other_unix_sockets(self) -> None:
        """A Unix-domain socket of somebody else is none of our business, nor is the side of a stream server."""
        with socket_folder() as folder:
            path, writers = f"{folder}/socket", []

            def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writers.append(writer)
                writer.close()

            server = await asyncio.start_unix_server(serve, path)
            for owned in ("", path):
                self.server.watch._owns = lambda address: address == owned  # noqa: B023
                reader, writer = await asyncio.open_unix_connection(path)
                self.assertEqual(type(writer) is ORIGINAL, not owned)
                await reader.read()
                await close(writer)
            server.close()
        self.assertEqual([type(each) for each in writers], [ORIGINAL, ORIGINAL])
        self.assertIsNone(self.server.watch.stream_of(""))

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

    async def test_a_watch_stops_when_its_server_is_garbage(self) -> None:
        """Nobody can stop it any more then."""
        class Server:
            def owns(self, _: object) -> bool:
                return False

        self.server.watch.stop()
        forgotten = Server()
        watch = StreamWatch(forgotten.owns)
        watch.start()
        self.assertIsNot(streams.StreamWriter, ORIGINAL)
        del forgotten
        collect(cycles=True)
        self.assertIs(streams.StreamWriter, ORIGINAL)

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
