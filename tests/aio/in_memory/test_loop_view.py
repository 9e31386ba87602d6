"""asyncio's transports over sockets in memory, and the turns in which callbacks are called."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import tempfile
import unittest
import weakref
from typing import Any, Callable, Optional

from tcpclient_testing.aio.in_memory.loop_view import LoopView
from tcpclient_testing.aio.in_memory.sockets import CAPACITY, connected_pair
from tcpclient_testing.tls import client_context, server_context
from tests.support.collecting import collect

CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 5000)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ViewTestCase(unittest.IsolatedAsyncioTestCase):
    """Each test makes a view of its loop."""

    def view(self, *, hooked: bool = True) -> LoopView:
        """Make the view; let it take part in the loop's wait, if `hooked`."""
        view = LoopView(asyncio.get_running_loop())
        if hooked:
            view.hook()
            self.addCleanup(view.unhook)
        return view

    async def connect(self, view: LoopView, *, client_tls: Any = None, server_tls: Any = None) -> list[Stream]:
        """Connect a client and a server by asyncio's streams, over TLS if there are contexts for it."""
        loop = asyncio.get_running_loop()
        client, server = connected_pair(CLIENT, SERVER)
        readers = [asyncio.StreamReader(loop=loop) for _ in range(2)]
        protocols = [asyncio.StreamReaderProtocol(reader, loop=loop) for reader in readers]
        name = None if client_tls is None else "localhost"
        create_connection: Any = asyncio.BaseEventLoop.create_connection
        ends = await asyncio.gather(
            create_connection(view, lambda: protocols[0], sock=client, ssl=client_tls, server_hostname=name),
            view.connect_accepted_socket(lambda: protocols[1], server, ssl=server_tls))
        streams = [(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
                   for reader, protocol, (transport, _) in zip(readers, protocols, ends)]
        self.addAsyncCleanup(self.leave, streams)
        return streams

    @staticmethod
    async def leave(streams: list[Stream]) -> None:
        """Close both ends."""
        for _, writer in streams:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for _, writer in streams), return_exceptions=True)


class StreamTests(ViewTestCase):
    """What asyncio's streams do over such transports."""

    async def test_request_and_reply(self) -> None:
        """With the loop's wait, and without it."""
        for hooked in (True, False):
            with self.subTest(hooked=hooked):
                (reader, writer), (other, reply) = await self.connect(self.view(hooked=hooked))
                writer.write(b"PING\r\n")
                self.assertEqual(await other.readline(), b"PING\r\n")
                reply.write(b"PONG\r\n")
                self.assertEqual(await reader.readline(), b"PONG\r\n")

    async def test_half_close(self) -> None:
        """The other direction stays open."""
        (reader, writer), (other, reply) = await self.connect(self.view())
        writer.write_eof()
        self.assertEqual(await other.read(), b"")
        reply.write(b"bye")
        reply.close()
        self.assertEqual(await reader.read(), b"bye")
        writer.close()
        await asyncio.gather(writer.wait_closed(), reply.wait_closed())

    async def test_reset(self) -> None:
        """A close with data unread is one."""
        (reader, writer), (_, reply) = await self.connect(self.view())
        reply.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"unread")
        await asyncio.sleep(0)
        reply.transport.abort()
        with self.assertRaises(ConnectionResetError):
            await reader.read()

    async def test_backpressure(self) -> None:
        """A writer waits for a reader that doesn't read, and goes on when it does."""
        (_, writer), (other, _) = await self.connect(self.view())
        size = CAPACITY + 1_000_000
        writer.write(bytes(size))
        drained = asyncio.ensure_future(writer.drain())
        while writer.transport.get_write_buffer_size() == size:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.assertFalse(drained.done())
        self.assertEqual(len(await other.readexactly(size)), size)
        await drained

    async def test_file(self) -> None:
        """There is no descriptor to which the operating system could send it."""
        (_, writer), (other, _) = await self.connect(self.view())
        with tempfile.TemporaryFile() as file:
            file.write(bytes(100_000))
            file.seek(0)
            sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(writer.transport, file))
            self.assertEqual(len(await other.readexactly(100_000)), 100_000)
            self.assertEqual(await sending, 100_000)

    async def test_tls(self) -> None:
        """asyncio's own TLS at both ends."""
        streams = await self.connect(self.view(), client_tls=client_context(), server_tls=server_context())
        (reader, writer), (other, reply) = streams
        writer.write(b"secret\n")
        self.assertEqual(await other.readline(), b"secret\n")
        reply.write(b"answer\n")
        self.assertEqual(await reader.readline(), b"answer\n")
        self.assertIsNotNone(writer.get_extra_info("cipher"))

    async def test_what_the_transport_tells(self) -> None:
        """Addresses, and a socket whose options can be set."""
        (_, writer), _ = await self.connect(self.view())
        self.assertEqual((writer.get_extra_info("sockname"), writer.get_extra_info("peername")), (CLIENT, SERVER))
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.assertRegex(repr(writer.transport), "_SelectorSocketTransport fd=.* read=polling")


class WatchTests(ViewTestCase):
    """Callbacks on sockets."""

    async def turns(self, view: LoopView, act: Callable[[list[str]], None]) -> list[str]:
        """Return what happened in the turns of the loop after `act`, in order."""
        told: list[str] = []
        act(told)
        for _ in range(3):
            await asyncio.sleep(0)
            told.append("turn")
        return told

    async def test_what_is_seen_in_the_next_turn(self) -> None:
        """It comes behind what was scheduled in the meantime, and again, as long as there is something to read."""
        view = self.view()
        client, server = connected_pair(CLIENT, SERVER)
        view.add(server)
        loop = asyncio.get_running_loop()

        def act(told: list[str]) -> None:
            view.add_reader(server.fileno(), lambda: told.append("readable"))
            client.send(b"x")
            loop.call_soon(told.append, "scheduled later")
        self.assertEqual(await self.turns(view, act),
                         ["scheduled later", "turn", "readable", "turn", "readable", "turn"])

    async def test_callback_that_is_removed(self) -> None:
        """It isn't called any more, although it was due."""
        view = self.view()
        client, server = connected_pair(CLIENT, SERVER)
        view.add(server)

        def act(told: list[str]) -> None:
            view.add_reader(server.fileno(), told.append, "readable")
            client.send(b"x")
            self.assertTrue(view.remove_reader(server.fileno()))
            self.assertFalse(view.remove_reader(server.fileno()))
        self.assertEqual(await self.turns(view, act), ["turn"] * 3)

    async def test_writer(self) -> None:
        """A writable socket calls back in each turn; another callback takes the place of the one before."""
        view = self.view()
        client, _ = connected_pair(CLIENT, SERVER)
        view.add(client)

        def act(told: list[str]) -> None:
            view.add_writer(client.fileno(), told.append, "before")
            view.add_writer(client.fileno(), told.append, "writable")
        self.assertEqual(await self.turns(view, act), ["turn", "writable", "turn", "writable", "turn"])
        self.assertTrue(view.remove_writer(client.fileno()))
        self.assertFalse(view.remove_writer(client.fileno()))

    async def test_context(self) -> None:
        """A callback sees the context variables of the line that has added it."""
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
        view, seen = self.view(), asyncio.get_running_loop().create_future()
        client, server = connected_pair(CLIENT, SERVER)
        view.add(server)

        def readable() -> None:
            view.remove_reader(server.fileno())
            seen.set_result(variable.get())
        variable.set("adding")
        view.add_reader(server.fileno(), readable)
        variable.set("sending")
        client.send(b"x")
        self.assertEqual(await seen, "adding")

    async def test_sockets_that_nobody_has(self) -> None:
        """The view keeps none."""
        view = self.view()
        client, _ = connected_pair(CLIENT, SERVER)
        view.add(client)
        kept = weakref.ref(client)
        del client, _
        collect(cycles=True)
        self.assertIsNone(kept())


class HookTests(unittest.TestCase):
    """The loop's own selector."""

    def test_selector_is_given_back(self) -> None:
        """Another layer above it stays."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        view, before = LoopView(loop), loop._selector  # type: ignore[attr-defined]
        view.hook()
        self.assertIs(loop._selector.inner, before)  # type: ignore[attr-defined]
        self.assertEqual(loop._selector.close, before.close)  # type: ignore[attr-defined]
        view.unhook()
        self.assertIs(loop._selector, before)  # type: ignore[attr-defined]
        view.hook()
        above = loop._selector = type(loop._selector)(loop._selector, lambda: False)  # type: ignore[attr-defined]
        view.unhook()
        self.assertIs(loop._selector, above)  # type: ignore[attr-defined]
        loop._selector = before  # type: ignore[attr-defined]

    def test_wait(self) -> None:
        """The loop doesn't wait while a socket is ready."""
        asked: list[Optional[float]] = []

        class Inner:
            def select(self, timeout: Optional[float]) -> list[Any]:
                asked.append(timeout)
                return []
        ready = [True, False]
        from tcpclient_testing.aio.in_memory.loop_view import PollingSelector
        selector = PollingSelector(Inner(), lambda: ready.pop(0))
        selector.select(5)
        selector.select(5)
        self.assertEqual(asked, [0, 5])


if __name__ == "__main__":
    unittest.main()
