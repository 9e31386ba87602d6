"""Clearing a server that outlives a test: what is judged, what it raises, and when it can't be done."""

from __future__ import annotations

import asyncio
import socket
import unittest
import unittest.mock

from tcpclient_testing import ExpectationError, MockTCPServer, ScriptError
from tests.support.clearing import ask, client, connect, exchange, say
from tests.support.long import lasting


class ClearingTests(unittest.IsolatedAsyncioTestCase):
    """What is judged, and what comes afterwards."""

    async def test_sound_exchange(self) -> None:
        """It is judged, and the next one begins with an empty script, at the same address."""
        async with MockTCPServer() as server:
            address = server.address
            for _ in range(3):
                exchange(server)
                self.assertEqual(await ask(server), b"PONG\r\n")
                self.assertEqual([each.index for each in server.connections], [0])
                await server.clear()
                self.assertEqual((server.connections, list(server.transcript)), ([], []))
                self.assertEqual((server.address, server.closed), (address, False))

    async def test_unfinished_exchange(self) -> None:
        """The test that clears gets the failure; the next one is sound."""
        async with MockTCPServer() as server:
            exchange(server, timeout=0.05)
            async with client(server):
                with self.assertRaisesRegex(ExpectationError, "PING"):
                    await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_failed_exchange(self) -> None:
        """Its failure is raised, and nothing of it is left, although the server had stopped listening."""
        async with MockTCPServer() as server:
            address = server.address
            exchange(server)
            await ask(server, b"PUNG")
            with self.assertRaises(ConnectionRefusedError):
                await connect(server)
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear()
            self.assertEqual(server.address, address)
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_failure_that_is_not_caught(self) -> None:
        """It is the one report of the test."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'") as caught:
            async with MockTCPServer() as server:
                exchange(server)
                await ask(server, b"PUNG")
                await server.clear()
        self.assertIsNone(caught.exception.client_exception)

    async def test_failure_after_clearing(self) -> None:
        """It is raised where the server is left, and shows only what came after that."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'") as caught:
            async with MockTCPServer() as server:
                server.expect_connect()
                server.expect_line(b"EARLIER")
                server.expect_disconnect()
                await say(server, b"EARLIER\r\n")
                await server.clear()
                exchange(server)
                await ask(server, b"PUNG")
        self.assertNotIn("EARLIER", str(caught.exception))

    async def test_failure_after_clearing_interrupts_the_test(self) -> None:
        """The body of the test is that of the new script, too."""
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
            async with MockTCPServer() as server:
                await server.clear()
                exchange(server)
                await ask(server, b"PUNG")
                await asyncio.sleep(60)

    @lasting
    async def test_interrupted_test_that_clears(self) -> None:
        """A test that was interrupted, and clears in its clean-up, goes on after that."""
        async with MockTCPServer() as server:
            exchange(server)
            await ask(server, b"PUNG")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                    await server.clear()
            exchange(server)
            await asyncio.sleep(0.2)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_exception_that_is_on_its_way(self) -> None:
        """It stands, nothing is waited for, and the server is cleared all the same."""
        async with MockTCPServer(timeout=None) as server:
            with self.assertRaisesRegex(LookupError, "the test's own"):
                try:
                    exchange(server)
                    raise LookupError("the test's own")
                finally:
                    await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_arguments(self) -> None:
        """They are those of `stop`."""
        async with MockTCPServer() as server:
            exchange(server)
            await server.clear(LookupError("on its way"))
            exchange(server)
            await server.clear(judge=False)
            exchange(server, timeout=0.01)
            with self.assertRaisesRegex(ExpectationError, "no client connected"):
                await server.clear(None)
            exchange(server)
            await ask(server, b"PUNG")
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear(judge=False)

    async def test_clearing_that_is_cancelled(self) -> None:
        """The server is cleared all the same."""
        async with MockTCPServer(timeout=None) as server:
            exchange(server)
            clearing = asyncio.ensure_future(server.clear())
            await asyncio.sleep(0)
            clearing.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await clearing
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")


class MisuseTests(unittest.IsolatedAsyncioTestCase):
    """When a server can't be cleared."""

    async def test_twice(self) -> None:
        """A fresh server, and one that was just cleared, has nothing to judge."""
        async with MockTCPServer() as server:
            await server.clear()
            await server.clear()
            exchange(server)
            self.assertEqual(await ask(server), b"PONG\r\n")

    async def test_twice_at_once(self) -> None:
        """Both wait for the script, which is cleared once, and what is written afterwards stays."""
        async with MockTCPServer() as server:
            exchange(server)
            clearing = asyncio.gather(server.clear(), server.clear(), return_exceptions=True)
            self.assertEqual(await ask(server), b"PONG\r\n")
            self.assertEqual(await clearing, [None, None])

    async def test_server_that_was_not_started(self) -> None:
        """It says so."""
        with self.assertRaisesRegex(ScriptError, "the server was not started"):
            await MockTCPServer().clear()

    async def test_server_that_was_stopped(self) -> None:
        """It is told as for a step."""
        for end in ("stop", "close"):
            server = await MockTCPServer().start()
            result = getattr(server, end)()
            if result is not None:
                await result
            with self.assertRaisesRegex(ScriptError, "this server was stopped"):
                await server.clear()

    async def test_server_that_is_stopped_meanwhile(self) -> None:
        """It stays stopped."""
        server = await MockTCPServer(timeout=None).start()
        exchange(server)
        clearing = asyncio.ensure_future(server.clear())
        await asyncio.sleep(0)
        server.close()
        with self.assertRaisesRegex(ExpectationError, "the server was left before this step was satisfied"):
            await clearing
        self.assertTrue(server.closed)

    async def test_another_loop(self) -> None:
        """A server lives in its own loop."""
        async with MockTCPServer() as server:
            def elsewhere() -> None:
                with self.assertRaisesRegex(ScriptError, "another event loop"):
                    asyncio.run(server.clear())
            await asyncio.get_running_loop().run_in_executor(None, elsewhere)

    async def test_port_that_was_lost(self) -> None:
        """If another server has the port by now, the verdict is raised, and the server is closed."""
        server = await MockTCPServer().start()
        exchange(server)
        await ask(server, b"PUNG")
        async with MockTCPServer(port=server.port) as other:
            with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
                await server.clear()
            self.assertTrue(server.closed)
            with self.assertRaisesRegex(ScriptError, "this server was stopped"):
                exchange(server)
            exchange(other)
            self.assertEqual(await ask(other), b"PONG\r\n")

    async def test_port_that_was_lost_at_once(self) -> None:
        """The same if the server could not keep the port when its script failed."""
        server = await MockTCPServer().start()
        exchange(server)

        def lose(listeners: list[socket.socket]) -> None:
            for listener in listeners:
                listener.close()
            raise OSError("taken")
        with unittest.mock.patch("tcpclient_testing.aio.accepting.refusing", lose):
            await ask(server, b"PUNG")
        with self.assertRaisesRegex(ExpectationError, "expected b'PING'"):
            await server.clear()
        self.assertTrue(server.closed)
