"""What a server waits for on behalf of single steps: coroutines, and events of every kind."""

from __future__ import annotations

import asyncio
import socket
import threading
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer
from tests.support.loops import AsyncTestCase, timeless


class Client:
    """A client with streams; ``async with`` closes it."""

    def __init__(self, server: MockTCPServer) -> None:
        self.server = server

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection(*self.server.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


class CoroutineTests(AsyncTestCase):
    """Replies that a coroutine function computes."""

    @timeless
    async def test_reply_waits_for_its_coroutine(self) -> None:
        """It is called with the last result; what stands after it in the script waits, and the loop does not."""
        may = asyncio.Event()

        async def reply(line: bytes) -> bytes:
            await may.wait()
            return line.upper()

        async with MockTCPServer(allow_open=True) as server:
            server.expect_connect()
            line = server.expect_line()
            server.send_line(reply)
            server.send_line(b"bye")
            async with Client(server) as client:
                client.writer.write(b"hello\r\n")
                await line
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.reader.read(1), 0.02)
                may.set()
                self.assertEqual(await asyncio.wait_for(client.reader.readexactly(12), 30), b"HELLO\r\nbye\r\n")

    async def test_coroutine_raises(self) -> None:
        """Its exception is the report, with the traceback."""
        async def reply(_: Any) -> bytes:
            await asyncio.sleep(0)
            raise KeyError("the test's own")

        with self.assertRaises(ExpectationError) as caught:
            async with MockTCPServer(allow_open=True) as server:
                server.expect_connect()
                step = server.send_bytes(reply)
                async with Client(server):
                    await step
        self.assertIn("raised KeyError", str(caught.exception).splitlines()[0])
        self.assertIn('raise KeyError("the test\'s own")', str(caught.exception))

    async def test_coroutine_raises_cancelled_error(self) -> None:
        """Something that it awaits was cancelled, and not by the server's being left: that is the report, at once."""
        async def reply(_: Any) -> bytes:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
            return b""

        for beside in (False, True):
            with self.subTest(beside=beside), self.assertRaises(ExpectationError) as caught:
                async with MockTCPServer(timeout=None, idle_timeout=None, allow_open=True) as server:
                    server.expect_connect()
                    if beside:
                        server.allow(b"PING", reply=reply)
                        server.expect_bytes(b"x")
                    else:
                        server.send_bytes(reply)
                    async with Client(server) as client:
                        client.writer.write(b"PING")
                        await asyncio.wait_for(server.join(), 30)
            self.assertRegex(str(caught.exception).splitlines()[0],
                             r"^the callable of "
                             r"(allow\(\) at test_tasks\.py:\d+ raised CancelledError \(connection 1\)|"
                             r"send_bytes\(\) raised CancelledError \(connection 1, step 2 of 2, test_tasks\.py:\d+\)"
                             r")$")

    async def test_coroutine_is_cancelled_when_the_server_is_left(self) -> None:
        """One that waits for ever keeps nobody waiting; it can clean up."""
        ended, begun = [], asyncio.Event()

        async def reply(_: Any) -> bytes:
            begun.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)
            return b""

        server = await MockTCPServer().start()
        server.expect_connect()
        server.send_bytes(reply)
        async with Client(server):
            await asyncio.wait_for(begun.wait(), 30)
            server.close()
            await asyncio.sleep(0)
        self.assertEqual(ended, [True])


class HoldTests(AsyncTestCase):
    """Steps that are held until something has happened."""

    async def held(self, event: Any, release: Any) -> None:
        """The step behind the hold must wait for the release, and follow it."""
        async with MockTCPServer(allow_open=True) as server:
            server.expect_connect()
            hold = server.hold_until(event)
            server.send_bytes(b"go")
            async with Client(server) as client:
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.reader.read(1), 0.01)
                self.assertFalse(hold.done())
                release()
                self.assertEqual(await asyncio.wait_for(client.reader.readexactly(2), 30), b"go")

    @timeless
    async def test_event_of_asyncio(self) -> None:
        """It is awaited."""
        event = asyncio.Event()
        await self.held(event, event.set)

    async def test_event_of_threading(self) -> None:
        """It is looked at now and then, since it can't be awaited; whichever thread sets it."""
        event = threading.Event()

        def release() -> None:
            thread = threading.Thread(target=event.set)
            thread.start()
            thread.join()

        await self.held(event, release)

    async def test_step_of_a_server_in_another_thread(self) -> None:
        """It is looked at, too."""
        with ThreadedMockTCPServer(allow_open=True, allow_extra=True) as other:
            step = other.expect_connect()
            clients: list[Any] = []

            def release() -> None:
                clients.append(socket.create_connection(other.address))
                self.addCleanup(clients[0].close)

            await self.held(step, release)

    async def test_event_that_never_comes(self) -> None:
        """The hold has a time-out, like every step; whoever waits for the event is forgotten then."""
        with self.assertRaises(ExpectationError) as caught:
            async with MockTCPServer(allow_open=True) as server:
                server.expect_connect()
                server.hold_until(threading.Event(), timeout=0.01)
                async with Client(server):
                    await server.join()
        self.assertIn("hold_until(Event)", str(caught.exception))

    def test_event_of_asyncio_on_a_threaded_server(self) -> None:
        """It belongs to another loop, so that it is looked at, not awaited."""
        event = asyncio.Event()
        with ThreadedMockTCPServer(allow_open=True) as server:
            server.expect_connect()
            server.hold_until(event)
            server.send_bytes(b"go")
            with socket.create_connection(server.address, 30) as client:
                event.set()
                self.assertEqual(client.recv(2), b"go")


if __name__ == "__main__":
    unittest.main()
