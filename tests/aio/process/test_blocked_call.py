"""Blocked calls are named by the user's line, and return when their sockets are broken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import sysconfig
import threading
import time
import unittest
from typing import Any, Optional
from unittest import mock

import tcpclient_testing
from tcpclient_testing.aio.process import blocked_call
from tcpclient_testing.aio.process.blocked_call import BlockedCall, free_sockets, readable, writable
from tests.support.platforms import HAS_PROC, needs_proc

_STDLIB = os.path.join(os.path.dirname(os.__file__), "ssl.py")
_OURS = os.path.join(os.path.dirname(tcpclient_testing.__file__), "server", "threaded", "server.py")
_INSTALLED = os.path.join(sysconfig.get_paths()["purelib"], "redis", "connection.py")


def frame_of(*filenames: str) -> Any:
    """Return a frame of the last file, called by one of the file before, and so on; outermost first."""
    namespace: dict[str, Any] = {"_getframe": sys._getframe}
    called = "_getframe"
    for number, filename in enumerate(reversed(filenames)):
        exec(compile(f"\ndef in_{number}(): return {called}()", filename, "exec"), namespace)
        called = f"in_{number}"
    return namespace[called]()


class BlockedCallTests(unittest.TestCase):
    """Which frame of a stack is the blocked line."""

    def name_of(self, *filenames: str) -> tuple[str, Optional[str]]:
        call = BlockedCall(frame_of(*filenames), 5.0, 1)
        return call.place.filename, call.called_from and call.called_from.filename

    def test_place_when_the_standard_library_is_innermost(self) -> None:
        """The user's line is named, not the standard library's or this package's below it."""
        self.assertEqual(self.name_of("test_x.py", _STDLIB), ("test_x.py", None))
        self.assertEqual(self.name_of("test_x.py", "client.py", "<frozen codecs>", _STDLIB), ("client.py", None))
        self.assertEqual(self.name_of("test_x.py", _OURS, _STDLIB), ("test_x.py", None))

    def test_place_when_an_installed_client_blocks(self) -> None:
        """An installed client's line is named, and the line outside of it that called."""
        self.assertEqual(self.name_of("test_x.py", _INSTALLED, _STDLIB), (_INSTALLED, "test_x.py"))

    def test_place_when_no_frame_is_the_users(self) -> None:
        """Without a frame of the user's, the innermost is named."""
        call = BlockedCall(frame_of(_STDLIB), 5.0, 1)
        self.assertEqual(call.stack[-1].filename, _STDLIB)
        with mock.patch("tcpclient_testing.aio.process.blocked_call._is_users", return_value=False):
            self.assertEqual(self.name_of("test_x.py", _STDLIB), (_STDLIB, None))

    def test_stack_order(self) -> None:
        """The stack is a traceback's: the outermost call comes first, with its line of source."""
        call = BlockedCall(sys._getframe(), 1.25, 2)
        self.assertEqual(call.stack[-1].name, "test_stack_order")
        self.assertIn("BlockedCall(sys", call.stack[-1].line or "")
        self.assertEqual((call.seconds, call.attempt), (1.25, 2))
        self.assertEqual(repr(call), f"<BlockedCall {__file__}:{call.place.lineno} in test_stack_order, 1.2 s>")


class SocketCase(unittest.TestCase):
    """Makes sockets as a server in a loop has them: non-blocking, and some not accepted."""

    def setUp(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.listener.setblocking(False)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        self.addCleanup(client.close)
        return client

    def accept(self) -> socket.socket:
        server, _ = self.listener.accept()
        self.addCleanup(server.close)
        server.setblocking(False)
        return server


class ReadableTests(SocketCase):
    """What wants attention."""

    def test_readable_when_something_waits(self) -> None:
        """Data, an end and a connection want attention; an idle socket, a closed one and none at all don't."""
        self.assertFalse(readable([]))
        self.assertFalse(readable([self.listener]))
        client = self.connect()
        self.assertTrue(readable([self.listener]))
        server = self.accept()
        self.assertFalse(readable([self.listener, server]))
        client.sendall(b"x")
        self.assertTrue(readable([self.listener, server]))
        self.assertTrue(readable([server.fileno()]))
        server.recv(1)
        self.assertFalse(readable([server]))
        client.close()
        self.assertTrue(readable([server]))
        server.close()
        self.assertFalse(readable([server]))

    def test_readable_on_windows(self) -> None:
        """Where there is no poll(), select() tells the same."""
        with mock.patch.object(sys, "platform", "win32"):
            self.assertFalse(readable([]))
            self.assertFalse(readable([self.listener]))
            self.connect()
            self.assertTrue(readable([self.listener]))

    @unittest.skipIf(sys.platform == "win32", "poll() only")
    def test_readable_when_a_descriptor_is_stale(self) -> None:
        """A descriptor that was closed elsewhere doesn't want attention."""
        descriptor = os.dup(self.listener.fileno())
        os.close(descriptor)
        self.assertFalse(readable([descriptor]))
        self.assertFalse(writable([descriptor]))

    def test_writable_when_a_buffer_has_room(self) -> None:
        """Where data goes out at once a socket is writable; a full one, a closed one and none at all aren't."""
        self.assertFalse(writable([]))
        client = self.connect()
        server = self.accept()
        self.assertTrue(writable([server]))
        with mock.patch.object(sys, "platform", "win32"):
            self.assertTrue(writable([server]))
            self.assertFalse(writable([]))
        with contextlib.suppress(BlockingIOError):
            while True:
                server.send(bytes(65536))
        self.assertFalse(writable([server]))
        client.close()
        self.assertTrue(writable([server]))
        server.close()
        self.assertFalse(writable([server]))


class FreeSocketsTests(SocketCase):
    """Clients that block are freed, each within its bound."""

    def free_while(self, blocked: Any, *, reset: bool = False, **sockets: Any) -> Any:
        """Run a blocking call here, free its sockets from another thread once it sleeps; return what it returned."""
        started = threading.Event()
        native_id = threading.get_native_id()

        def free() -> None:
            started.wait()
            deadline = time.monotonic() + 5
            while HAS_PROC and time.monotonic() < deadline:
                with open(f"/proc/self/task/{native_id}/stat", encoding="ascii", errors="replace") as file:
                    if file.read().rpartition(")")[2].split()[0] == "S":
                        break
            free_sockets(sockets.get("connections", ()), sockets.get("listeners", ()), reset=reset)

        thread = threading.Thread(target=free)
        thread.start()
        started.set()
        begun = time.monotonic()
        try:
            return blocked()
        except OSError as error:
            return type(error)
        finally:
            self.assertLess(time.monotonic() - begun, 30)
            thread.join()

    def test_free_when_recv_blocks(self) -> None:
        """A client that waits for data from an accepted connection gets an end of stream."""
        client, server = self.connect(), self.accept()
        client.sendall(b"request")
        self.assertEqual(self.free_while(lambda: client.recv(1), connections=[server]), b"")
        self.assertEqual(server.recv(100), b"request", "what was received must not be lost")

    def test_free_when_the_connection_waits_in_the_backlog(self) -> None:
        """Clients that nobody has accepted are reset, all of them, and the listener goes on listening."""
        clients = [self.connect() for _ in range(3)]
        clients[0].sendall(b"request")
        freed = self.free_while(lambda: clients[0].recv(1), listeners=[self.listener])
        self.assertEqual(freed, ConnectionResetError)
        for client in clients[1:]:
            self.assertRaises(ConnectionResetError, client.recv, 1)
        self.connect()
        self.accept()

    def test_free_when_too_many_wait_in_the_backlog(self) -> None:
        """One call resets a bounded number of connections, lest clients that reconnect keep it for ever."""
        clients = [self.connect() for _ in range(3)]
        with mock.patch.object(blocked_call, "_BACKLOG", 2):
            free_sockets([], [self.listener])
            self.assertTrue(readable([self.listener]))
            free_sockets([], [self.listener])
        for client in clients:
            self.assertRaises(ConnectionResetError, client.recv, 1)

    def test_free_when_send_blocks(self) -> None:
        """A client that can't get rid of its data is freed by a reset, and only by that."""
        client, server = self.connect(), self.accept()

        def send() -> None:
            while True:
                client.sendall(bytes(1 << 20))

        client.settimeout(0.01)
        self.assertEqual(self.free_while(send, connections=[server]), socket.timeout)
        client.settimeout(10)
        freed = self.free_while(send, connections=[server], reset=True)
        self.assertIn(freed, (ConnectionResetError, BrokenPipeError))

    def test_free_when_the_client_spins(self) -> None:
        """A client that takes an end of stream for an empty answer and asks again is freed by a reset."""
        client, server = self.connect(), self.accept()

        def receive() -> None:
            while True:
                client.recv(1)

        self.assertEqual(self.free_while(receive, connections=[server], reset=True), ConnectionResetError)

    def test_free_returns_what_was_not_read(self) -> None:
        """What the loop didn't read is returned for the report, whichever way the connection is broken."""
        first, here = self.connect(), self.accept()
        first.sendall(b"request")
        self.assertEqual(free_sockets([here, -1], []), [b"request", b""])
        self.assertEqual(free_sockets([-1, here], [], reset=True), [b"", b"request"])
        self.assertEqual(free_sockets([here], [], reset=True), [b""])

    @unittest.skipIf(sys.platform == "win32", "descriptors can't be replaced")
    def test_descriptor_after_a_reset(self) -> None:
        """The number of a connection that was reset stays taken until its owner closes it."""
        client, server = self.connect(), self.accept()
        number = server.fileno()
        client.sendall(b"request")
        free_sockets([server], [], reset=True)
        with socket.socket() as another:
            self.assertNotEqual(another.fileno(), number)
        self.assertFalse(os.get_inheritable(number))
        self.assertFalse(os.get_blocking(number))
        self.assertEqual(server.recv(1), b"")
        server.close()
        self.assertRaises(OSError, os.fstat, number)

    def test_free_when_sockets_are_closed(self) -> None:
        """Closed and stale sockets, and those that were freed before, are passed over."""
        client, server = self.connect(), self.accept()
        closed = socket.socket()
        closed.close()
        for _ in range(2):
            free_sockets([closed, -1, server.fileno()], [closed, -1, self.listener])
        self.assertEqual(client.recv(1), b"")
        for _ in range(2):
            free_sockets([closed, -1, server.fileno()], [closed, -1, self.listener], reset=True)
        self.assertRaises((ConnectionResetError, BrokenPipeError), client.send, b"x")

    def test_free_on_windows(self) -> None:
        """Where descriptors can't be replaced, a connection is shut down in both directions."""
        client, server = self.connect(), self.accept()
        with mock.patch.object(sys, "platform", "win32"):
            free_sockets([server], [], reset=True)
        self.assertEqual(client.recv(1), b"")
        self.assertEqual(server.recv(1), b"")

    @needs_proc
    def test_descriptors_after_freeing(self) -> None:
        """Freeing leaves no descriptor behind, and none that the server holds closed."""
        client, server = self.connect(), self.accept()
        waiting = self.connect()
        before = os.listdir("/proc/self/fd")
        free_sockets([server], [self.listener])
        free_sockets([server], [self.listener], reset=True)
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))
        self.assertGreaterEqual(server.fileno(), 0)
        del client, waiting

    def test_free_when_a_loop_listens(self) -> None:
        """A loop that finds its backlog emptied under its hands goes on accepting."""

        async def main() -> None:
            accepted = asyncio.Event()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                accepted.set()
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            listener = server.sockets[0]
            with socket.create_connection(listener.getsockname()) as client:
                free_sockets([], [listener])
                self.assertRaises(ConnectionResetError, client.recv, 1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.assertFalse(accepted.is_set())
            _, writer = await asyncio.open_connection(*listener.getsockname())
            await asyncio.wait_for(accepted.wait(), 10)
            writer.close()
            await writer.wait_closed()
            server.close()

        asyncio.run(main())


if __name__ == "__main__":
    unittest.main()
