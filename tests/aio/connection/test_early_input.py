"""What a client sends before it is answered: seen in every run, and a client that waits never fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
import unittest
from collections.abc import Iterator
from typing import Any, Callable

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.matchers import Predicate
from tcpclient_testing.tls import client_context
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.platforms import HAS_PROC, SEES_CLIENTS, needs_asyncio_processes, needs_unix
from tests.support.virtual import run_on_virtual_time

#: Seconds that no test waits.
_LONG = 3600.0
#: Whether the system tells which of the process's sockets is the client's.
_SEES = SEES_CLIENTS and HAS_PROC

_EARLY = r"the client sent 3 bytes before it was answered \(pipelining=False\): b'2"
_CLEAR = "the client sent 3 bytes in clear before the server was ready for TLS"


def twice(server: Any) -> threading.Event:
    """Write a script of two requests and answers. The event is set when the server has the first request."""
    arrived = threading.Event()
    server.expect_connect()
    server.expect_line(Predicate(lambda line: arrived.set() or line == b"1"))
    server.send_line(b"one")
    server.expect_line(b"2")
    server.send_line(b"two")
    server.expect_disconnect()
    return arrived


def upgrades(server: Any) -> threading.Event:
    """Write a script of STARTTLS. The event is set when the server has the request."""
    arrived = threading.Event()
    server.expect_connect()
    server.expect_line(Predicate(lambda line: arrived.set() or line == b"STARTTLS"))
    server.send_line(b"go ahead")
    server.start_tls(True)
    server.expect_disconnect(wait_closed=False)
    return arrived


def hurries(address: Any, request: bytes, arrived: threading.Event) -> None:
    """Send a request, and more as soon as the server has it, although there is no answer yet."""
    with socket.create_connection(address) as client, contextlib.suppress(ConnectionError):
        client.sendall(request)
        arrived.wait(20)
        client.sendall(b"2\r\n")
        client.recv(100)


def waits(address: Any) -> None:
    """Send two requests, and read the answer to each."""
    with socket.create_connection(address) as client:
        for request in (b"1\r\n", b"2\r\n"):
            client.sendall(request)
            client.recv(100)


@contextlib.contextmanager
def another_thread() -> Iterator[None]:
    """Let a thread live that has nothing to do with the client."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


class ElsewhereTests(unittest.IsolatedAsyncioTestCase):
    """Clients in another thread."""

    async def test_client_that_does_not_wait(self) -> None:
        """What comes within the grace fails, at once."""
        with self.assertRaisesRegex(ExpectationError, _EARLY):
            async with MockTCPServer(pipelining=False, pipelining_grace=_LONG) as server:
                await asyncio.to_thread(hurries, server.address, b"1\r\n", twice(server))

    def test_client_that_does_not_wait_for_a_threaded_server(self) -> None:
        """The same with a server in a thread."""
        with self.assertRaisesRegex(ExpectationError, _EARLY), \
                ThreadedMockTCPServer(pipelining=False, pipelining_grace=_LONG) as server:
            hurries(server.address, b"1\r\n", twice(server))

    async def test_client_that_waits(self) -> None:
        """It gets its answers after the grace."""
        async with MockTCPServer(pipelining=False, pipelining_grace=0.001) as server:
            twice(server)
            await asyncio.to_thread(waits, server.address)

    def test_client_that_waits_on_virtual_time(self) -> None:
        """There the grace is real time, too, and takes none of the virtual time that the loop's timers see."""
        async def main() -> None:
            async with MockTCPServer(pipelining=False, pipelining_grace=0.001) as server:
                twice(server)
                await asyncio.to_thread(waits, server.address)
        run_on_virtual_time(main())

    def test_client_that_does_not_wait_on_virtual_time(self) -> None:
        """What comes within the grace fails on virtual time as well."""
        async def main() -> None:
            async with MockTCPServer(pipelining=False, pipelining_grace=_LONG) as server:
                await asyncio.to_thread(hurries, server.address, b"1\r\n", twice(server))
        with self.assertRaisesRegex(ExpectationError, _EARLY):
            run_on_virtual_time(main())

    @needs_asyncio_processes
    async def test_another_process(self) -> None:
        """A client in another process gets the grace, although no other thread lives."""
        code = ("import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
                "c.sendall(b'1\\r\\n'); sys.stdin.read(1); c.sendall(b'2\\r\\n'); c.recv(100)")
        with self.assertRaisesRegex(ExpectationError, _EARLY):
            async with MockTCPServer(pipelining=False, pipelining_grace=_LONG) as server:
                arrived = twice(server)
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-S", "-E", "-c", code, str(server.port), stdin=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL)
                try:
                    while not arrived.is_set():
                        await asyncio.sleep(0.001)
                    await process.communicate(b"\n")
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()


class InLoopTests(unittest.IsolatedAsyncioTestCase):
    """Clients in the server's own loop: they pay some turns, never the grace."""

    async def by_streams(self, server: Any) -> None:
        """A client that uses asyncio's streams."""
        reader, writer = await asyncio.open_connection(*server.address)
        for request in (b"1\r\n", b"2\r\n"):
            writer.write(request)
            await reader.readline()
        writer.close()
        await writer.wait_closed()

    async def by_protocol(self, server: Any) -> None:
        """A client with a protocol of its own."""
        received: asyncio.Queue[bytes] = asyncio.Queue()
        protocol = type("Client", (asyncio.Protocol,), {"data_received": lambda _, data: received.put_nowait(data)})()
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, *server.address)
        for request in (b"1\r\n", b"2\r\n"):
            transport.write(request)
            await received.get()
        transport.close()

    async def by_socket(self, server: Any) -> None:
        """A client that uses the loop's methods for sockets."""
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.address)
            for request in (b"1\r\n", b"2\r\n"):
                await loop.sock_sendall(client, request)
                await loop.sock_recv(client, 100)

    async def by_unix_protocol(self, server: Any) -> None:
        """A client with a protocol of its own, over a Unix-domain socket."""
        received: asyncio.Queue[bytes] = asyncio.Queue()
        protocol = type("Client", (asyncio.Protocol,), {"data_received": lambda _, data: received.put_nowait(data)})()
        transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: protocol, server.address)
        for request in (b"1\r\n", b"2\r\n"):
            transport.write(request)
            await received.get()
        transport.close()

    @needs_unix
    @unittest.skipUnless(_SEES, "the kernel does not tell which socket is the client's")
    async def test_no_grace_over_unix_sockets(self) -> None:
        """The kernel tells which socket is the client's there, too."""
        with socket_folder() as folder, another_thread():
            async with MockTCPServer(pipelining=False, pipelining_grace=_LONG, unix_path=f"{folder}/s") as server:
                twice(server)
                await self.by_unix_protocol(server)

    async def each(self, **options: Any) -> None:
        """Let each kind of client ask such a server, and wait for its answers."""
        clients: list[Callable[[Any], Any]] = [self.by_streams]
        if _SEES:
            clients += [self.by_protocol, self.by_socket]
        for client in clients:
            with self.subTest(client=client.__name__, **options):
                async with MockTCPServer(pipelining=False, pipelining_grace=_LONG, **options) as server:
                    twice(server)
                    await client(server)

    async def test_no_grace(self) -> None:
        """No client pays it when it is alone, with watched streams or without."""
        await self.each()
        if _SEES:
            await self.each(watch_streams=False)

    async def test_no_grace_when_another_thread_lives(self) -> None:
        """The client's socket is one that this loop serves, so the thread doesn't matter."""
        with another_thread():
            await self.each()
            if _SEES:
                await self.each(watch_streams=False)

    async def test_several_turns_between_two_requests(self) -> None:
        """A client that sends more some turns later is seen."""
        with self.assertRaisesRegex(ExpectationError, _EARLY):
            async with MockTCPServer(pipelining=False) as server:
                twice(server)
                reader, writer = await asyncio.open_connection(*server.address)
                try:
                    writer.write(b"1\r\n")
                    for _ in range(30):
                        await asyncio.sleep(0)
                    writer.write(b"2\r\n")
                    await reader.read()
                finally:
                    writer.close()

    async def test_client_that_half_closes(self) -> None:
        """It can send no more, so that it gets its answer at once."""
        def asks(address: Any) -> bytes:
            with socket.create_connection(address) as client:
                client.sendall(b"1\r\n")
                client.shutdown(socket.SHUT_WR)
                return client.recv(100)

        async with MockTCPServer(pipelining=False, pipelining_grace=0.5) as server:
            server.expect_connect()
            server.expect_line(b"1")
            server.send_line(b"one")
            server.expect_disconnect()
            self.assertEqual(await asyncio.to_thread(asks, server.address), b"one\r\n")


class GoAheadTests(unittest.IsolatedAsyncioTestCase):
    """The go-ahead for TLS."""

    @lasting
    async def test_client_that_does_not_wait(self) -> None:
        """What comes in clear within the grace fails; pipelining may be permitted."""
        with self.assertRaisesRegex(ExpectationError, _CLEAR):
            async with MockTCPServer(pipelining_grace=0.3) as server:
                await asyncio.to_thread(hurries, server.address, b"STARTTLS\r\n", upgrades(server))

    @lasting
    def test_client_that_does_not_wait_for_a_threaded_server(self) -> None:
        """The same with a server in a thread."""
        with self.assertRaisesRegex(ExpectationError, _CLEAR), ThreadedMockTCPServer(pipelining_grace=0.3) as server:
            hurries(server.address, b"STARTTLS\r\n", upgrades(server))

    def test_client_that_waits(self) -> None:
        """It gets the go-ahead after the grace, and its handshake succeeds."""
        with ThreadedMockTCPServer(pipelining_grace=0.001) as server:
            upgrades(server)
            with socket.create_connection(server.address) as client:
                client.sendall(b"STARTTLS\r\n")
                client.recv(100)
                with client_context().wrap_socket(client, server_hostname="localhost") as wrapped, \
                        contextlib.suppress(ssl.SSLError):
                    wrapped.unwrap()

    async def test_no_grace_for_other_sends(self) -> None:
        """Only the last send before start_tls() is the go-ahead; no other one waits, before or after."""
        async with MockTCPServer(pipelining_grace=0.001) as server:
            server.expect_connect()
            for _ in range(3):
                server.send_line(b"hello")
                server.expect_line(b"hello")
            server.send_line(b"more")
            server.delay(0)
            server.send_line(b"go ahead")
            server.start_tls(True)
            server.send_line(b"secret")
            server.expect_disconnect()
            await asyncio.to_thread(self._greets, server.address)

    @staticmethod
    def _greets(address: Any) -> None:
        with socket.create_connection(address) as client, client.makefile("rb", 0) as lines:
            for _ in range(3):
                client.sendall(lines.readline())
            lines.readline()
            lines.readline()
            with client_context().wrap_socket(client, server_hostname="localhost") as wrapped:
                wrapped.recv(100)


class OptionTests(unittest.TestCase):
    """The option."""

    def test_values(self) -> None:
        """It is a finite number of seconds; 0 is no grace."""
        for kind in (MockTCPServer, ThreadedMockTCPServer):
            kind(pipelining_grace=0)
            for value, error in ((-1, ValueError), (None, ValueError), (float("inf"), ValueError), ("1", TypeError)):
                with self.subTest(kind=kind, value=value), self.assertRaisesRegex(error, r"pipelining_grace="):
                    kind(pipelining_grace=value)


if __name__ == "__main__":
    unittest.main()
