"""Tests of faults, told apart by what the client's operating system says."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import unittest
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin, Network, ScriptError
from tcpclient_testing.aio.connection import closing
from tests.support.fault_clients import with_a_thread, with_streams
from tests.support.loops import TimelessTestCase, timeless


async def stream_outcome(address):
    """What a client of asyncio's streams gets: bytes, and how it ended ("end", "timeout", an exception's name)."""
    seen = await with_streams(address)
    return seen.data, seen.end


async def blocking_outcome(address, **options):
    """What a client gets that blocks, in a thread."""
    seen = await with_a_thread(address, **options)
    return seen.data, seen.end


class BreakAfterTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The outgoing stream ends in the middle of a message."""

    async def broken(self, method, n, *messages, client=stream_outcome, network=None, then=None):
        """What a client gets when the stream is broken by `method` after `n` bytes."""
        server = self.server = self.start_tcpserver(network=network)
        server.expect_connect()
        getattr(server, method)(n)
        for message in messages:
            server.send_bytes(message)
        if then:
            then(server)
        got = await client(server.address)
        await server.join(final=True)
        return got

    async def test_reset_comes_in_mid_message(self):
        """The client reads `n` bytes, then ECONNRESET, however it reads."""
        for client in (stream_outcome, blocking_outcome):
            for n in range(6):
                with self.subTest(client=client.__name__, n=n):
                    self.assertEqual(await self.broken("reset_after", n, b"hello", client=client),
                                     (b"hello"[:n], "ConnectionResetError"))

    async def test_disconnect_comes_in_mid_message(self):
        """The client reads `n` bytes, then an end of stream."""
        for client in (stream_outcome, blocking_outcome):
            for n in range(6):
                with self.subTest(client=client.__name__, n=n):
                    self.assertEqual(await self.broken("disconnect_after", n, b"hel", b"lo", client=client),
                                     (b"hello"[:n], "end"))

    async def test_client_closes_after_a_disconnect(self):
        """The client's own close can be judged after it."""
        got = await self.broken("disconnect_after", 2, b"hello", then=lambda server: server.expect_disconnect())
        self.assertEqual(got, (b"he", "end"))

    async def test_stream_stalls_in_mid_message(self):
        """The client reads `n` bytes, and then nothing until it gives up; what it sends is still judged."""
        def then(server):
            server.expect_bytes(b"ping")
            server.send_bytes(b"pong")
            server.expect_disconnect()

        async def client(n, address):
            return await blocking_outcome(address, request=b"ping", timeout=0.02, after=n)

        offsets = (0, 3, 5)
        outcomes = await asyncio.gather(*(self.broken("stall_after", n, b"hello", client=functools.partial(client, n),
                                                      then=then) for n in offsets))
        for n, got in zip(offsets, outcomes):
            with self.subTest(n=n):
                self.assertEqual(got, (b"hello"[:n], "timeout"))

    async def test_place_is_counted_from_the_connections_beginning(self):
        """Bytes that were sent before the step count too, and the place may be reached already."""
        server = self.tcpserver
        for n in (5, 7):
            server.expect_connect()
            server.send_bytes(b"hello")
            server.reset_after(n)
            server.send_bytes(b"world")
            self.assertEqual(await stream_outcome(server.address), (b"helloworld"[:n], "ConnectionResetError"))
            await server.join()

    async def test_conditions_apply_until_the_break(self):
        """Chunks and a break go together."""
        got = await self.broken("reset_after", 5, b"hello world", network=Network(chunk=2))
        self.assertEqual(got, (b"hello", "ConnectionResetError"))
        self.assertEqual(self.server.connections[0].splits, (2, 4))

    async def test_connection_after_the_break_works(self):
        """The fault is one connection's."""
        server = self.tcpserver
        server.expect_connect()
        server.reset_after(2)
        server.send_bytes(b"hello")
        server.expect_connect()
        server.send_bytes(b"hello")
        server.disconnect()
        self.assertEqual([await stream_outcome(server.address) for _ in range(2)],
                         [(b"he", "ConnectionResetError"), (b"hello", "end")])

    async def failure(self, script):
        """The headline of the failure of a script, with a client that reads to the end."""
        with self.assertRaises(ExpectationError) as raised:
            async with MockTCPServer(cancel_body=False) as server:
                server.expect_connect()
                script(server)
                await stream_outcome(server.address)
        return str(raised.exception).splitlines()[0]

    async def test_break_comes_too_late(self):
        """More was sent already: a mismatch."""
        def script(server):
            server.send_bytes(b"hello")
            server.reset_after(3)

        self.assertIn("reset_after(3) comes too late: it counts from the connection's first byte, and the server has "
                      "sent 5 bytes already", await self.failure(script))

    async def test_break_never_comes(self):
        """The script sends less: a mismatch, when the server is left."""
        def script(server):
            server.reset_after(7)
            server.send_bytes(b"hello")
            server.disconnect()

        self.assertIn("reset_after(7) never took effect: the server sent only 5 bytes", await self.failure(script))

    async def test_something_is_expected_after_the_end(self):
        """What a broken connection can't bring any more is a mismatch at once."""
        def script(server):
            server.disconnect_after(3)
            server.send_bytes(b"hello")
            server.expect_bytes(b"thanks", timeout=60)

        self.assertIn("expect_bytes(b'thanks') can't be done: the server disconnected after 3 bytes, as "
                      "disconnect_after(3) says", await self.failure(script))

    async def test_numbers_are_checked(self):
        """Negative and strange numbers are refused where they are written."""
        self.tcpserver.expect_connect()
        for method in ("reset_after", "disconnect_after", "stall_after"):
            with self.assertRaisesRegex(ValueError, rf"{method}\(n\)"):
                getattr(self.tcpserver, method)(-1)
            with self.assertRaisesRegex(TypeError, rf"{method}\(n\)"):
                getattr(self.tcpserver, method)("3")
        self.tcpserver.disconnect()
        with self.assertRaisesRegex(ScriptError, r"reset_after\(3\) comes after disconnect\(\)"):
            self.tcpserver.reset_after(3)
        await stream_outcome(self.tcpserver.address)


class ServerFaultTests(MockTCPServerMixin, TimelessTestCase):
    """Refused and failing connections."""

    async def test_connections_are_refused_and_accepted_again(self):
        """ECONNREFUSED on every address until connections are accepted again, on the same port."""
        server = self.tcpserver
        self.assertTrue(server.refuse_connections().done())
        for host in ("127.0.0.1", "localhost"):
            self.assertEqual(await blocking_outcome((host, server.port)), (b"", "ConnectionRefusedError"))
        server.refuse_connections()
        server.accept_connections()
        server.accept_connections()
        for host in ("127.0.0.1", "localhost"):
            server.expect_connect()
            server.disconnect()
            self.assertEqual(await blocking_outcome((host, server.port)), (b"", "end"))
            await server.join()

    async def test_refusal_waits_for_its_turn(self):
        """Written after other steps it begins when these are done; connections that are open stay open."""
        server = self.tcpserver
        server.expect_connect()
        server.expect_bytes(b"stop")
        refused = server.refuse_connections()
        server.send_bytes(b"stopped")
        server.expect_disconnect()
        reader, writer = await asyncio.open_connection(*server.address)
        self.assertFalse(refused.done())
        self.assertIn("refuse_connections()", repr(refused))
        writer.write(b"stop")
        self.assertEqual(await reader.read(100), b"stopped")
        await refused
        self.assertEqual(await blocking_outcome(server.address), (b"", "ConnectionRefusedError"))
        writer.close()
        await writer.wait_closed()
        await server.join()
        server.accept_connections()
        server.expect_connect()
        server.disconnect()
        self.assertEqual(await blocking_outcome(server.address), (b"", "end"))

    async def test_connections_are_accepted_in_mid_script(self):
        """Called while connections are refused it takes effect at once, though the script awaits a connection."""
        server = self.tcpserver
        server.refuse_connections()
        server.expect_connect()
        server.disconnect()
        later = server.fail_connections(1)
        self.assertEqual(await blocking_outcome(server.address), (b"", "ConnectionRefusedError"))
        self.assertTrue(server.accept_connections().done())
        self.assertFalse(later.done())
        self.assertEqual(await blocking_outcome(server.address), (b"", "end"))
        await later
        self.assertEqual(await blocking_outcome(server.address), (b"", "ConnectionResetError"))

    async def test_connection_waits_for_acceptance(self):
        """An `expect_connect()` behind these settings has its turn after them."""
        server = self.tcpserver
        server.expect_connect()
        server.expect_disconnect()
        server.refuse_connections()
        accepted = server.accept_connections()
        again = server.expect_connect()
        server.disconnect()
        _, writer = await asyncio.open_connection(*server.address)
        self.assertFalse(accepted.done())
        writer.close()
        await writer.wait_closed()
        await accepted
        self.assertFalse(again.done())
        self.assertEqual(await blocking_outcome(server.address), (b"", "end"))

    async def test_first_connections_fail(self):
        """The first ones are reset, and the script does not count them."""
        server = self.tcpserver
        server.fail_connections(2)
        server.expect_connect()
        server.send_bytes(b"hello")
        server.disconnect()
        self.assertEqual([await blocking_outcome(server.address) for _ in range(3)],
                         [(b"", "ConnectionResetError")] * 2 + [(b"hello", "end")])
        await server.join()
        self.assertEqual(len(server.connections), 1)
        with self.assertRaisesRegex(ValueError, r"fail_connections\(n\)"):
            server.fail_connections(-1)

    @timeless
    async def test_client_that_does_not_come_back(self):
        """A client that was turned away did connect: the report says so."""
        # The client is a thread, which takes real time: only where time has to run out may there be little of it.
        for outside, timeout, late, left in ((True, 0.1, r" for 0\.1 s", ""),
                                             (False, 20, "", ", and nothing is left that could conn.*")):
            with self.assertRaisesRegex(ExpectationError, rf"^the client did not connect again to \S+{late} after "
                                        rf"fail_connections\(\) had reset 1 connection{left} "
                                        r"\(step 1 of 1, test_faults\.py:\d+\)\n"):
                async with MockTCPServer(timeout=timeout, cancel_body=False, outside_clients=outside) as server:
                    server.fail_connections(2)
                    server.expect_connect()
                    self.assertEqual(await blocking_outcome(server.address), (b"", "ConnectionResetError"))

    async def test_connections_belong_to_servers(self):
        """A connection can't refuse connections."""
        self.assertFalse(hasattr(self.tcpserver.expect_connect().connection, "refuse_connections"))
        self.tcpserver.disconnect()
        await stream_outcome(self.tcpserver.address)


class BackpressureTests(MockTCPServerMixin, TimelessTestCase):
    """A server that does not read."""

    async def test_client_writes_block(self):
        """The client's `drain()` waits until the server reads again."""
        server, release = self.tcpserver, asyncio.Event()
        server.expect_connect()
        server.pause_reading()
        server.hold_until(release)
        server.resume_reading()
        server.expect_exactly(20_000_000, keep=False)
        server.expect_disconnect()
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(bytes(20_000_000))
        drained = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.02)
        self.assertFalse(drained.done())
        release.set()
        await drained
        writer.close()
        await writer.wait_closed()

    async def test_blocking_client_runs_into_its_time_out(self):
        """A blocking client's `sendall` times out."""
        def client(address):
            with socket.create_connection(address, timeout=30) as mine:
                mine.settimeout(0.02)
                with self.assertRaises((socket.timeout, TimeoutError)):
                    mine.sendall(bytes(20_000_000))

        server = self.start_tcpserver(allow_extra=True)
        server.expect_connect()
        server.pause_reading()
        await asyncio.get_running_loop().run_in_executor(None, client, server.address)
        await server.join()
        server.connections[0].resume_reading()


async def echo(connection):
    """A handler that sends each line back."""
    async for line in connection.lines():
        connection.send_line(line)


class BesideTests(MockTCPServerMixin, TimelessTestCase):
    """Faults where it is no step of the script that sends."""

    ENDS = {"reset_after": "reset", "disconnect_after": "end"}

    async def outcome(self, method, *, sent=b"", beside=None, then=None):
        """What a client gets that sends something, when `method` strikes after 7 bytes of what it is sent."""
        async with MockTCPServer(idle_timeout=5) as server:
            connection = server.expect_connect().connection
            if beside is not None:
                beside(connection)
            getattr(connection, method)(7)
            (then or (lambda connection: connection.hand_over(echo)))(connection)
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(sent)
            data, end = b"", "end"
            try:
                while piece := await reader.read(100):
                    data += piece
            except ConnectionResetError:
                end = "reset"
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()
        return data, end

    async def test_handler(self):
        """A reply of a fake is cut as any other, and its loop over lines ends."""
        for method, end in self.ENDS.items():
            with self.subTest(method=method):
                self.assertEqual(await self.outcome(method, sent=b"abc\r\ndef\r\n"), (b"abc\r\nde", end))

    @timeless
    async def test_heartbeats_and_replies_while_a_handler_waits(self):
        """They count, are cut, and let it strike."""
        for method, end in self.ENDS.items():
            with self.subTest(method=method):
                every = functools.partial(self.outcome, beside=lambda connection: connection.every(0.005, b"beat "))
                self.assertEqual(await every(method), (b"beat be", end))
                allow = functools.partial(self.outcome, sent=b"?", beside=lambda connection: connection.allow(
                    b"?", reply=b"0123456789"))
                self.assertEqual(await allow(method), (b"0123456", end))

    @timeless
    async def test_heartbeats_while_the_script_expects_something(self):
        """What can't come any more is a mismatch at once."""
        for method in self.ENDS:
            with self.subTest(method=method), self.assertRaisesRegex(ExpectationError, r"line\(\) can't be done"):
                await self.outcome(method, beside=lambda connection: connection.every(0.005, b"beat "),
                                   then=lambda connection: connection.expect_line())

    async def test_heartbeats_while_the_script_waits_for_the_end(self):
        """The end that disconnect_after() brings about is the one that may be expected."""
        self.assertEqual(await self.outcome("disconnect_after", then=lambda connection: connection.expect_disconnect(),
                                            beside=lambda connection: connection.every(0.005, b"beat ")),
                         (b"beat be", "end"))

    @timeless
    async def test_heartbeats_while_the_server_has_stalled(self):
        """They fall silent too, and sends go on to be satisfied without a byte."""
        server = self.tcpserver
        server.expect_connect()
        beats = server.every(0.002, b"beat ")
        server.stall_after(7)
        server.delay(0.05)
        server.send_line(b"lost")
        server.expect_line(b"bye")
        server.expect_disconnect()
        reader, writer = await asyncio.open_connection(*server.address)
        self.assertEqual(await reader.readexactly(7), b"beat be")
        writer.write(b"bye\r\n")
        writer.close()
        await writer.wait_closed()
        await server.join()
        self.assertGreater(beats.count, 0)
        self.assertEqual(server.connections[0].sent, b"beat be")


class ResetTests(MockTCPServerMixin, TimelessTestCase):
    """What was sent is taken before a reset."""

    async def test_stream_reads_what_came_before_the_reset(self):
        """A client with asyncio's streams gets the last bytes, and then the error, every time."""
        for _ in range(50):
            self.tcpserver.expect_connect()
            self.tcpserver.send_bytes(b"bye")
            self.tcpserver.reset()
            self.assertEqual(await stream_outcome(self.tcpserver.address), (b"bye", "ConnectionResetError"))
            await self.tcpserver.join()

    async def test_slow_client_reads_all_of_a_long_reply_before_the_reset(self):
        """What the client's system has not even acknowledged is not thrown away by the reset either."""
        size = 4 * 1024 * 1024

        def read_slowly() -> int:
            count = 0
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.settimeout(20)
                client.connect(self.tcpserver.address)
                with contextlib.suppress(ConnectionResetError):
                    while data := client.recv(4096):
                        count += len(data)
            return count
        self.tcpserver.expect_connect()
        self.tcpserver.send_bytes(bytes(size))
        self.tcpserver.reset()
        self.assertEqual(await asyncio.get_running_loop().run_in_executor(None, read_slowly), size)

    @timeless
    async def test_client_that_does_not_read_is_reset(self):
        """A client that leaves the last bytes unread is not waited for long."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_bytes(b"bye")
        self.tcpserver.reset()
        with mock.patch.object(closing, "_READING", 0.05), socket.create_connection(self.tcpserver.address):
            await self.tcpserver.join()


