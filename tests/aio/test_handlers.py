"""Handlers: coroutine functions that serve the connections that no script claims, or the rest of one."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any, Optional
from unittest import mock

from tcpclient_testing import Connection, ExpectationError, MockTCPServer, ScriptError
from tcpclient_testing.framing import Delimited, LengthPrefixed, read_frame, write_frame
from tcpclient_testing.matchers import JSON
from tests.support import streams
from tests.support.loops import TimelessTestCase, timeless


async def echo(connection: Connection) -> None:
    """Send each line back, until QUIT."""
    async for line in connection.lines():
        if line == b"QUIT":
            return
        if line == b"FAIL":
            raise KeyError("the handler's own")
        connection.send_line(line)


async def talk(server: MockTCPServer, data: bytes, *, close: bool = True) -> bytes:
    """Send, end the stream, and return what comes."""
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        writer.write(data)
        if close:
            writer.write_eof()
        return await reader.read()
    finally:
        await streams.close(writer)


class HandlerTests(TimelessTestCase):
    async def failure(self, server: MockTCPServer, data: bytes, *, close: bool = True) -> ExpectationError:
        """Talk to a server whose handler will fail; return the verdict."""
        with self.assertRaises(ExpectationError) as caught:
            async with server:
                try:
                    await talk(server, data, close=close)
                except OSError:
                    pass
                await server.join(final=True)
        return caught.exception

    async def test_lines_end_when_the_client_ends_its_stream_between_two(self) -> None:
        """The loop ends, the handler returns, and the server disconnects."""
        async with MockTCPServer(handler=echo) as server:
            self.assertEqual(await talk(server, b"a\r\nb\r\n"), b"a\r\nb\r\n")
            self.assertEqual(await talk(server, b""), b"")

    async def test_lines_when_the_handler_has_awaited_the_end_of_the_stream(self) -> None:
        """There are none; a line that it expects by name can't come, and is refused."""
        refused = []

        async def count(connection: Connection) -> None:
            await connection.expect_eof()
            connection.send_line(b"%d" % len([line async for line in connection.lines()]))
            try:
                connection.expect_line()
            except ScriptError as error:
                refused.append(str(error))

        async with MockTCPServer(handler=count) as server:
            self.assertEqual(await talk(server, b""), b"0\r\n")
        self.assertIn("nothing can come any more", refused[0])

    @timeless
    async def test_lines_end_when_the_connection_breaks(self) -> None:
        """Where a fault has ended the connection, the loop ends, and what the handler does then goes nowhere."""
        async def breaking(connection: Connection) -> None:
            await (connection.disconnect_after(3) if how == "disconnect" else connection.reset_after(3))
            async for line in connection.lines():
                connection.send_line(line)
            left.append(len(connection.sent))
            await connection.send_line(b"bye")
            await connection.delay(0.001)
            if not returns:
                await connection.disconnect()

        for how in ("disconnect", "reset"):
            for returns in (True, False):
                with self.subTest(how=how, returns=returns):
                    left: list[int] = []
                    async with MockTCPServer(handler=breaking) as server:
                        reader, writer = await asyncio.open_connection(*server.address)
                        writer.write(b"hello\r\nagain\r\n")
                        self.assertEqual(await reader.readexactly(3), b"hel")
                        if how == "disconnect":
                            self.assertEqual(await reader.read(), b"")
                        else:
                            with self.assertRaises(ConnectionResetError):
                                await reader.read()
                        await streams.close(writer)
                    self.assertEqual(left, [3])

    async def test_frames_end_when_nothing_at_all_is_sent(self) -> None:
        """A fault at the very beginning of the stream ends it before the first message."""
        async def breaking(connection: Connection) -> None:
            connection.disconnect_after(0)
            async for _ in connection.frames():
                self.fail("there is none")

        async with MockTCPServer(handler=breaking) as server:
            self.assertEqual(await talk(server, b""), b"")

    async def test_lines_go_on_when_the_server_only_stalls(self) -> None:
        """The connection is open, and the client is read."""
        got = []

        async def stalling(connection: Connection) -> None:
            connection.stall_after(3)
            async for line in connection.lines():
                got.append(line)
                connection.send_line(line)

        async with MockTCPServer(handler=stalling) as server:
            self.assertEqual(await talk(server, b"hello\r\nagain\r\n"), b"hel")
        self.assertEqual(got, [b"hello", b"again"])

    async def test_other_expectations_fail_when_the_connection_breaks(self) -> None:
        """Their results can't be had, and the report says why."""
        async def breaking(connection: Connection) -> None:
            connection.disconnect_after(3)
            connection.send_line(await connection.expect_line())
            await connection.expect_line()

        error = await self.failure(MockTCPServer(handler=breaking), b"hello\r\nagain\r\n")
        self.assertIn("expect_line() can't be done: the server disconnected after 3 bytes", str(error))

    async def test_handler_returns_when_the_client_goes_on(self) -> None:
        """Returning disconnects; what the client still sends is not judged."""
        async with MockTCPServer(handler=echo) as server:
            self.assertEqual(await talk(server, b"a\r\nQUIT\r\nmore", close=False), b"a\r\n")

    async def test_failure_when_the_stream_ends_within_a_line(self) -> None:
        """An end in the middle of a message is no clean end."""
        error = await self.failure(MockTCPServer(handler=echo), b"a\r\nb")
        self.assertRegex(str(error), r"^got b'b' without its ending b'\\r\\n' before the client half-closed "
                                     r"\(connection 1, step 5 of 5, test_handlers\.py:\d+\)\n")

    async def test_failure_when_the_handler_raises(self) -> None:
        """The report has the handler's traceback; the test is interrupted."""
        error = await self.failure(MockTCPServer(handler=echo), b"FAIL\r\n")
        self.assertRegex(str(error), r"^the handler echo\(\) raised KeyError: .* \(connection 1, step 2 of 3, ")
        self.assertIn('raise KeyError("the handler\'s own")', str(error))

    async def test_failure_when_the_handler_is_no_coroutine_function(self) -> None:
        """What returns nothing to await is told what it should be."""
        error = await self.failure(MockTCPServer(handler=lambda connection: None), b"")  # type: ignore[arg-type,return-value]
        self.assertIn("a handler is a coroutine function (async def)", str(error))

    async def test_steps_when_the_handler_awaits_them(self) -> None:
        """A handler uses the same steps as a script; a mismatch is the failure, and the handler ends."""
        ended = []

        async def login(connection: Connection) -> None:
            try:
                user = await connection.expect_line(timeout=5)
                await connection.send_line(b"hello " + user)
                await connection.expect_line(b"BYE")
            finally:
                ended.append(True)

        async with MockTCPServer(handler=login) as server:
            self.assertEqual(await talk(server, b"ann\r\nBYE\r\n", close=False), b"hello ann\r\n")
        error = await self.failure(MockTCPServer(handler=login), b"ann\r\nBUE\r\n")
        self.assertIn("expected b'BYE', got b'BU", str(error).splitlines()[0])
        self.assertEqual(len(ended), 2)

    async def test_frames_and_matchers_when_they_are_looped_over(self) -> None:
        """frames() takes a framing and a matcher, and gives the matcher's results."""
        framing = Delimited(b"\n")

        async def add(connection: Connection) -> None:
            async for request in connection.frames(JSON({"op": "add"}), framing=framing):
                connection.send_frame(b"%d" % sum(request["of"]), framing=framing)

        async with MockTCPServer(handler=add) as server:
            self.assertEqual(await talk(server, b'{"op": "add", "of": [1, 2]}\n'), b"3\n")
        async with MockTCPServer(handler=self.count_frames, framing=LengthPrefixed(2)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            for payload in (b"a", b"bc"):
                write_frame(writer, payload, framing=LengthPrefixed(2))
                self.assertEqual(await read_frame(reader, framing=LengthPrefixed(2)), payload * 2)
            writer.close()
            await writer.wait_closed()

    @staticmethod
    async def count_frames(connection: Connection) -> None:
        async for payload in connection.frames():
            await connection.send_frame(payload * 2)

    async def test_script_when_some_connections_are_expected(self) -> None:
        """A connection that an expect_connect() waits for is the script's; what comes without one is the handler's."""
        async with MockTCPServer(handler=echo) as server:
            self.assertEqual(await talk(server, b"a\r\n"), b"a\r\n")
            server.expect_connect()
            server.expect_line(b"scripted")
            server.send_line(b"yes")
            server.expect_disconnect()
            self.assertEqual(await talk(server, b"scripted\r\n"), b"yes\r\n")
            self.assertEqual(await talk(server, b"b\r\n"), b"b\r\n")
            self.assertEqual([connection.index for connection in server.connections], [0, 1, 2])

    async def test_hand_over_when_a_login_was_scripted(self) -> None:
        """The script serves the beginning, the handler the rest; the script can't go on after it."""
        async with MockTCPServer() as server:
            connection = server.expect_connect().connection
            server.expect_line(b"LOGIN ann")
            server.send_line(b"OK")
            server.hand_over(echo)
            with self.assertRaisesRegex(ScriptError, "after which only the handler adds steps"):
                server.expect_line()
            with self.assertRaisesRegex(ScriptError, "after which only the handler adds steps"):
                connection.send_line(b"x")
            self.assertEqual(await talk(server, b"LOGIN ann\r\nhello\r\n"), b"OK\r\nhello\r\n")

    @mock.patch("tcpclient_testing.server.leaving._MOMENT", 0.02)
    @timeless
    async def test_leaving_when_a_client_is_still_connected(self) -> None:
        """A handler that waits for its client is not waited for; the open client is the complaint, unless permitted."""
        for allow_open in (True, False):
            verdict: Optional[BaseException] = None
            try:
                async with MockTCPServer(handler=echo, allow_open=allow_open) as server:
                    reader, writer = await asyncio.open_connection(*server.address)
                    writer.write(b"a\r\n")
                    await reader.readline()
            except ExpectationError as error:
                verdict = error
            await streams.close(writer)
            self.assertEqual("still connected" in str(verdict), not allow_open, verdict)

    @timeless
    async def test_leaving_when_a_handler_does_not_return(self) -> None:
        """A handler at work after its client has gone is waited for, and in the end the failure."""
        async def stubborn(connection: Connection) -> None:
            await asyncio.Event().wait()

        error = await self.failure(MockTCPServer(handler=stubborn, idle_timeout=0.05), b"")
        self.assertIn("the handler has not returned, although the client", str(error))
        with mock.patch("tcpclient_testing.server.leaving._MOMENT", 0.02), \
                self.assertRaisesRegex(ExpectationError, r"the handler has not returned [01]\.\d+ s after"):
            async with MockTCPServer(handler=stubborn, timeout=0.04) as server:
                _, writer = await asyncio.open_connection(*server.address)
                writer.write(b"a")
                writer.close()
                await writer.wait_closed()

    @timeless
    async def test_idleness_when_both_sides_wait(self) -> None:
        """A handler and a client that wait for each other are told of it."""
        error = await self.failure(MockTCPServer(handler=self.mute, idle_timeout=0.05), b"what?\r\n", close=False)
        self.assertIn("the handler waits for the client; the client", str(error))

    @staticmethod
    async def mute(connection: Connection) -> None:
        async for _ in connection.lines():
            pass


    async def test_allow_when_it_is_written_for_all_connections(self) -> None:
        """Heartbeats are answered beside a handler, too."""
        async with MockTCPServer(handler=echo) as server:
            pings = server.allow(b"PING\r\n", reply=b"PONG\r\n")
            replies = await talk(server, b"PING\r\na\r\nPING\r\nb\r\n")
            self.assertEqual(sorted(replies.split()), [b"PONG", b"PONG", b"a", b"b"])
            self.assertEqual(pings.count, 2)

    async def test_tasks_when_the_server_is_left(self) -> None:
        """No handler's task outlives its server."""
        before = asyncio.all_tasks()
        with self.assertRaises(ZeroDivisionError):
            async with MockTCPServer(handler=echo) as server:
                _, writer = await asyncio.open_connection(*server.address)
                writer.write(b"a\r\n")
                await asyncio.sleep(0.01)
                raise ZeroDivisionError
        writer.close()
        self.assertEqual(asyncio.all_tasks(), before)

    async def test_misuse_when_the_server_is_made(self) -> None:
        """What can't be a handler is refused at once."""
        async def generator(connection: Connection) -> Any:
            yield connection

        for handler in (b"x", generator):
            with self.assertRaisesRegex(TypeError, r"MockTCPServer\(handler=...\) is a coroutine function"):
                MockTCPServer(handler=handler)  # type: ignore[arg-type]


class BesideTests(TimelessTestCase):
    """What stands beside a script, through real sockets."""

    @timeless
    async def test_heartbeats_when_the_server_sends_them(self) -> None:
        """every() sends beside the script, and never in the middle of what it sends."""
        async with MockTCPServer() as server:
            server.expect_connect()
            beats = server.every(0.005, b"tick\n")
            server.send_bytes(b"x" * 3_000_000 + b"\n")
            server.expect_disconnect()
            reader, writer = await asyncio.open_connection(*server.address, limit=1 << 23)
            await asyncio.sleep(0.05)
            lines = [line for line in [await reader.readline() for _ in range(6)] if line != b"tick\n"]
            self.assertEqual([len(line) for line in lines], [3_000_001])
            beats.stop()
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()

    async def test_pool_when_connections_come_in_any_order(self) -> None:
        """Each client of a pool finds the script that its first message means, and handles follow their scripts."""
        async with MockTCPServer() as server:
            handles = {}
            with server.any_order():
                for name in (b"one", b"two", b"three"):
                    handles[name] = server.expect_connect().connection
                    server.expect_line(name)
                    server.send_line(b"hello " + name)
                    server.expect_disconnect()
            names = [b"three", b"one", b"two"]
            replies = await asyncio.gather(*(self.ask(server, name) for name in names))
            self.assertEqual(replies, [b"hello " + name + b"\r\n" for name in names])
            for name, handle in handles.items():
                self.assertEqual(handle.received, name + b"\r\n")

    async def ask(self, server: MockTCPServer, name: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(name + b"\r\n")
        reply = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return reply

    async def test_pipelining_when_the_client_does_not_wait(self) -> None:
        """The second request is seen although it was a write of its own; a client that waits is all right."""
        for waits in (True, False):
            with self.subTest(waits=waits):
                problem: Optional[BaseException] = None
                try:
                    async with MockTCPServer(pipelining=False) as server:
                        server.expect_connect()
                        for name in (b"1", b"2"):
                            server.expect_line(name)
                            server.send_line(name)
                        server.expect_disconnect()
                        reader, writer = await asyncio.open_connection(*server.address)
                        writer.write(b"1\r\n")
                        if waits:
                            await reader.readline()
                        writer.write(b"2\r\n")
                        await reader.readline()
                        writer.close()
                        await writer.wait_closed()
                except ExpectationError as error:
                    problem = error
                writer.close()
                if waits:
                    self.assertIsNone(problem, problem and traceback.format_exception_only(type(problem), problem))
                else:
                    self.assertIn("before it was answered (pipelining=False)", str(problem))

    async def test_awaiting_when_the_block_has_not_ended(self) -> None:
        """It is refused in the block, and works after it."""
        async with MockTCPServer(allow_open=True) as server:
            connection = server.expect_connect().connection
            _, writer = await asyncio.open_connection(*server.address)
            with connection.any_order():
                step = connection.expect_line()
                with self.assertRaisesRegex(ScriptError, "awaited within any_order"):
                    await step
            writer.write(b"a\r\n")
            self.assertEqual(await step, b"a")
            writer.close()
            await writer.wait_closed()
