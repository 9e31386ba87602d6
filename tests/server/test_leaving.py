"""Whose exception is the report, and how the conversation is shown with it."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import traceback
import unittest
from typing import Any
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.server import leaving
from tests.support.collecting import collect
from tests.support.loops import TimelessTestCase, timeless
from tests.support.virtual import run_on_virtual_time

#: What is wrong with a client whose connection has this number.
_NOT_AWAITED = r"^the client closed its stream without awaiting wait_closed\(\) \(connection "


async def own_failure(error: BaseException, *, slowly: bool = False) -> None:
    """Let the body of a test raise `error`, with a chain of its own; `slowly`: the script fails in its clean-up."""
    async with MockTCPServer(allow_open=True, timeout=0.05 if slowly else 5.0) as server:
        server.expect_connect()
        server.expect_line()
        _, writer = await asyncio.open_connection(*server.address)
        try:
            try:
                raise KeyError("where it began")
            except KeyError as cause:
                if error.__suppress_context__:
                    raise error from None
                raise error from cause
        finally:
            if slowly:
                await asyncio.sleep(10)
            writer.close()


def shown(error: BaseException, **options: Any) -> str:
    """What is printed of it."""
    try:
        run_on_virtual_time(own_failure(error, **options))
    except BaseException as arrived:
        assert arrived is error
        return "".join(traceback.format_exception(type(arrived), arrived, arrived.__traceback__))
    raise AssertionError("nothing was raised")


class AttachingTests(unittest.TestCase):
    """The conversation beside the client's own exception."""

    def test_chain_of_the_clients_exception(self) -> None:
        """Nothing of it is lost, even where the script failed while the test cleaned up, and so was interrupted."""
        for slowly in (False, True):
            with self.subTest(slowly=slowly):
                text = shown(AssertionError("the client's own"), slowly=slowly)
                self.assertIn("KeyError: 'where it began'\n\nThe above exception was the direct cause of", text)
                self.assertIn("AssertionError: the client's own\n", text)
                self.assertEqual(text.count("the conversation with 127.0.0.1"), 1)
                self.assertIn("client connected from", text)
                self.assertNotIn("CancelledError", text)

    def test_chain_that_is_suppressed(self) -> None:
        """It stays so."""
        error = AssertionError("the client's own")
        error.__suppress_context__ = True
        text = shown(error)
        self.assertNotIn("where it began", text)
        self.assertEqual(text.count("the conversation with 127.0.0.1"), 1)

    @unittest.skipIf(sys.version_info >= (3, 11), "there are notes")
    def test_conversation_is_no_cause_where_there_are_no_notes(self) -> None:
        """It comes first, says that it is no error, and is not called the cause of what follows."""
        text = shown(AssertionError("the client's own"))
        self.assertTrue(text.startswith("tcpclient_testing.ConversationSoFar: not an error: the conversation until the "
                                        "exception below was raised\nthe conversation with 127.0.0.1"), text)
        self.assertEqual(text.count("direct cause"), 1, "that of the client's own chain")


class PassingTests(unittest.TestCase):
    """What is raised, where the script has failed first."""

    async def body(self, error: BaseException) -> None:
        """Let the script fail, and the body raise this then."""
        async with MockTCPServer(allow_open=True, timeout=0.05, cancel_body=False) as server:
            step = server.expect_connect()
            try:
                await step
            except ExpectationError:
                raise error from None

    def raised(self, error: BaseException) -> BaseException:
        """What arrives where the server is left."""
        try:
            run_on_virtual_time(self.body(error))
        except BaseException as arrived:
            return arrived
        raise AssertionError("nothing was raised")

    def test_error_is_a_consequence(self) -> None:
        """The verdict is raised; the error stands in its last section."""
        error = ConnectionResetError("gone")
        arrived = self.raised(error)
        self.assertIsInstance(arrived, ExpectationError)
        self.assertIs(getattr(arrived, "client_exception", None), error)
        self.assertRegex(str(arrived), r"\n  then the client raised\n"
                                       r"    ConnectionResetError: gone \(test_leaving\.py:\d+\)$")

    def test_what_is_no_error_passes(self) -> None:
        """A skip, and an exit."""
        for error in (unittest.SkipTest("not here"), SystemExit(3)):
            with self.subTest(error=error):
                self.assertIs(self.raised(error), error)


class ImpliedDisconnectTests(unittest.TestCase):
    """Scripts that do not say how their connection ends, left as the pytest plugin leaves them."""

    def leave(self, client: Any, write: Any = lambda server: None) -> str:
        """Let a client connect and do its part, then leave the server; return the verdict's first line, if any."""
        async def main() -> None:
            server = await MockTCPServer(timeout=5).start()
            server.expect_connect()
            write(server)
            _, writer = await asyncio.open_connection(*server.address)
            try:
                await client(server, writer)
                await server._judgement.leave(implied_disconnect=True)
            finally:
                server.close()
                writer.close()

        try:
            run_on_virtual_time(main())
        except ExpectationError as error:
            return str(error).splitlines()[0]
        return ""

    def test_client_closes(self) -> None:
        """All is well, even if it closes only when the server is being left."""
        async def at_once(_: Any, writer: Any) -> None:
            writer.close()
            await writer.wait_closed()

        async def late(_: Any, writer: Any) -> None:
            async def close() -> None:
                for _ in range(5):
                    await asyncio.sleep(0)
                writer.close()
                await writer.wait_closed()
            self.closing = asyncio.ensure_future(close())

        for client in (at_once, late):
            with self.subTest(client=client.__name__):
                self.assertEqual(self.leave(client), "")

    def test_client_does_not_wait_until_it_is_closed(self) -> None:
        """The step that nobody wrote asks for as much as one that somebody did."""
        async def client(_: Any, writer: Any) -> None:
            writer.close()

        self.assertIn("wait_closed()", self.leave(client))

    @mock.patch("tcpclient_testing.server.leaving._MOMENT", 0.02)
    def test_client_stays(self) -> None:
        """It is found out, also where the server has disconnected and waits for no answer."""
        async def client(server: Any, _: Any) -> None:
            await server.join()

        self.assertIn("the script is complete, but the client 127.0.0.1", self.leave(client))
        self.assertIn("the server has disconnected, but the client is still connected when the server is left",
                      self.leave(client, lambda server: server.disconnect()))

    def test_end_that_is_written_is_left_alone(self) -> None:
        """A script that says how it ends gets nothing added."""
        async def client(_: Any, writer: Any) -> None:
            # A close that leaves nothing to linger is a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        self.assertEqual(self.leave(client, lambda server: server.expect_reset()), "")


class UnfinishedClientTests(TimelessTestCase):
    """Clients that close in a task of their own, and get to `wait_closed()` later, or never."""

    NEVER = r"the client closed its stream without awaiting wait_closed\(\)"

    async def connect_and_close(self, server: Any, *, half: bool = False) -> asyncio.StreamWriter:
        """Be a client that ends its stream."""
        _, writer = await asyncio.open_connection(*server.address)
        if half:
            writer.write_eof()
        else:
            writer.close()
        return writer

    @timeless
    async def test_client_that_tidies_up_first(self) -> None:
        """Neither `join()` nor leaving is a race that it could lose."""
        async def turns() -> None:
            for _ in range(50):
                await asyncio.sleep(0)

        async def client(server: Any, tidy: Any, half: bool) -> None:
            writer = await self.connect_and_close(server, half=half)
            await tidy()
            writer.close()
            await writer.wait_closed()

        for half in (False, True):
            for tidy in (turns, lambda: asyncio.sleep(0.02)):
                for joined in (True, False):
                    with self.subTest(half=half, joined=joined):
                        async with MockTCPServer() as server:
                            server.expect_connect()
                            ended = server.expect_disconnect()
                            task = asyncio.create_task(client(server, tidy, half))
                            await (server.join() if joined else ended)
                        await task

    @timeless
    async def test_client_that_never_waits(self) -> None:
        """It is told when the server is left, however long its task goes on."""
        async def client(server: Any) -> None:
            self.writer = await self.connect_and_close(server)
            await asyncio.sleep(60)

        with mock.patch.object(leaving, "_LOOKS", 20), self.assertRaisesRegex(ExpectationError, self.NEVER):
            async with MockTCPServer(cancel_body=False) as server:
                server.expect_connect()
                server.expect_disconnect()
                task = asyncio.create_task(client(server))
                self.addCleanup(task.cancel)
                await server.join()

    async def test_client_that_has_ended(self) -> None:
        """Nothing can come any more of a task that is done, nor of the one that asks, nor of a stream that is gone."""
        async def dropped(server: Any) -> None:
            await self.connect_and_close(server)
            collect()
            await asyncio.sleep(60)

        async def in_a_task(server: Any) -> None:
            self.writer = await asyncio.ensure_future(self.connect_and_close(server))

        async def in_the_body(server: Any) -> None:
            self.writer = await self.connect_and_close(server)

        async def in_a_task_that_drops_it(server: Any) -> None:
            task = asyncio.create_task(dropped(server))
            self.addCleanup(task.cancel)

        for client in (in_a_task, in_the_body, in_a_task_that_drops_it):
            with self.subTest(client=client.__name__):
                server = await MockTCPServer(cancel_body=False).start()
                try:
                    server.expect_connect()
                    server.expect_disconnect()
                    await client(server)
                    with self.assertRaisesRegex(ExpectationError, self.NEVER):
                        await server.join()
                finally:
                    server.close()


class SameAddressTests(TimelessTestCase):
    """Clients that come one after the other from the same port."""

    async def connect(self, server: Any, port: int = 0) -> socket.socket:
        """Connect a socket from this port."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.setblocking(False)
        # The port is free at once: since the server ends its stream first, it is its side that lingers.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", port))
        await asyncio.get_running_loop().sock_connect(client, server.address)
        return client

    async def use_stream(self, client: socket.socket, *, waits: bool) -> None:
        """Read to the end by way of streams, and close."""
        reader, writer = await asyncio.open_connection(sock=client)
        await reader.read()
        writer.close()
        if waits:
            await writer.wait_closed()

    @timeless
    async def test_plain_socket_after_a_stream(self) -> None:
        """It is no stream's fault; but the fault of the stream before it is found all the same."""
        for demanded in (False, True):
            with self.subTest(demanded=demanded):
                server = await MockTCPServer(timeout=2).start()
                try:
                    server.expect_connect()
                    server.disconnect()
                    server.expect_disconnect(wait_closed=demanded)
                    server.expect_connect()
                    ended = server.expect_disconnect()
                    first = await self.connect(server)
                    port = first.getsockname()[1]
                    await self.use_stream(first, waits=False)
                    while first.fileno() >= 0:
                        await asyncio.sleep(0)
                    second = await self.connect(server, port)
                    await asyncio.sleep(0.01)
                    second.close()
                    await ended
                    if demanded:
                        with self.assertRaisesRegex(ExpectationError, f"{_NOT_AWAITED}1, "):
                            await server.join(final=True)
                    else:
                        await server.join(final=True)
                finally:
                    server.close()

    async def test_stream_after_a_stream(self) -> None:
        """Each is judged for itself."""
        server = await MockTCPServer(timeout=2).start()
        try:
            port = 0
            for waits in (True, False):
                server.expect_connect()
                server.disconnect()
                server.expect_disconnect()
                client = await self.connect(server, port)
                port = client.getsockname()[1]
                await self.use_stream(client, waits=waits)
                while client.fileno() >= 0:
                    await asyncio.sleep(0)
            with self.assertRaisesRegex(ExpectationError, f"{_NOT_AWAITED}2, "):
                await server.join(final=True)
        finally:
            server.close()


if __name__ == "__main__":
    unittest.main()
