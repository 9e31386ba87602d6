"""Servers in a loop that has no `add_reader`: asyncio's Proactor loop, on top of selectors."""

from __future__ import annotations

import asyncio
import socket
import sys
import unittest
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.causes import lookout
from tcpclient_testing.aio.sockets.loop_inside import has_results, is_loops_own, watched, watches
from tests.support.streams import close, connect

with mock.patch.object(sys, "path", [str(Path(__file__).parents[2] / "support" / "simulated"), *sys.path]):
    from proactor import ProactorLoop  # type: ignore[import-not-found,unused-ignore]


@unittest.skipIf(sys.platform == "win32", "the real one is the default there")
class ProactorTests(unittest.TestCase):
    """Each test runs in such a loop."""

    def run_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run this, and close the loop; nothing may be logged by it."""
        loop = ProactorLoop()
        complaints: list[str] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        try:
            loop.run_until_complete(coroutine)
            for _ in range(20):  # transports close
                loop.run_until_complete(asyncio.sleep(0))
        finally:
            loop.close()
        self.assertEqual(complaints, [])

    def test_conversations(self) -> None:
        """Client after client is accepted."""
        async def main() -> None:
            async with MockTCPServer() as server:
                for _ in range(3):
                    server.expect_connect()
                    server.expect_line(b"PING")
                    server.send_line(b"PONG")
                    server.expect_disconnect()
                    reader, writer = await connect(server)
                    writer.write(b"PING\r\n")
                    self.assertEqual(await reader.readline(), b"PONG\r\n")
                    await close(writer)
        self.run_in_loop(main())

    def test_wrong_bytes(self) -> None:
        """The client is reset, and the verdict is as anywhere."""
        async def main() -> None:
            with self.assertRaisesRegex(ExpectationError, "expected b'PING', got b'PUNG'"):
                async with MockTCPServer() as server:
                    server.expect_connect()
                    server.expect_line(b"PING")
                    reader, writer = await connect(server)
                    try:
                        writer.write(b"PUNG\r\n")
                        await reader.read()
                    finally:
                        writer.close()
        self.run_in_loop(main())

    def test_reset(self) -> None:
        """It is a RST, not an end of stream: the transport shuts nothing down before."""
        async def main() -> None:
            async with MockTCPServer() as server:
                server.expect_connect()
                server.send_bytes(b"hello")
                server.reset()
                reader, writer = await connect(server)
                with self.assertRaises(ConnectionResetError):
                    await reader.readexactly(6)
                writer.close()
        self.run_in_loop(main())

    def test_refusing_for_a_while(self) -> None:
        """Clients are refused, and accepted again."""
        async def main() -> None:
            async with MockTCPServer() as server:
                server.refuse_connections()
                await server.join()
                with self.assertRaises(ConnectionRefusedError):
                    await connect(server)
                server.accept_connections()
                server.expect_connect()
                server.expect_disconnect()
                _, writer = await connect(server)
                await close(writer)
        self.run_in_loop(main())

    def test_client_that_was_accepted_when_the_server_closed(self) -> None:
        """The loop knows of it, and nobody else does: it is reset."""
        async def main() -> None:
            loop = asyncio.get_running_loop()
            server = await MockTCPServer().start()
            await asyncio.sleep(0)
            with socket.create_connection(server.address) as client:
                client.settimeout(20)
                loop._proactor.select(0)  # type: ignore[attr-defined] # the accept is carried out
                server.close()
                with self.assertRaises(ConnectionResetError):
                    client.recv(1)
        self.run_in_loop(main())

    def test_what_the_loop_waits_for(self) -> None:
        """Operations that are under way, and those whose results the loop doesn't know yet."""
        async def main() -> None:
            loop = asyncio.get_running_loop()
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                receiving = asyncio.ensure_future(loop.sock_recv(ours, 10))
                await asyncio.sleep(0)
                self.assertIn(ours.fileno(), [each.descriptor for each in watched(loop) or ()])
                self.assertFalse(has_results(loop, [ours]))
                theirs.send(b"x")
                self.assertTrue(has_results(loop, [ours]))
                self.assertFalse(has_results(loop, [theirs]))
                self.assertEqual(await receiving, b"x")
                self.assertNotIn(ours.fileno(), [each.descriptor for each in watched(loop) or ()])
        self.run_in_loop(main())

    def test_operation_that_has_no_socket(self) -> None:
        """On Windows a loop also waits for processes, by a plain number, and for pipes, which may be closed."""
        class Closed:
            def fileno(self) -> int:
                raise ValueError("I/O operation on closed pipe")

        class Loop:
            _proactor: Any = mock.Mock(_cache={
                number: (mock.Mock(_callbacks=None), mock.Mock(pending=False), each, None)
                for number, each in enumerate((0, None, Closed()))})
            _selector = _proactor

        del Loop._selector.get_map
        with socket.socket() as sock:
            self.assertEqual([each.descriptor for each in watched(Loop()) or ()], [-1, -1, -1])
            self.assertFalse(has_results(Loop(), [sock]))
            self.assertFalse(watches(Loop(), sock.fileno()))
            sock.close()
            self.assertFalse(has_results(Loop(), [sock]))

    def test_task_of_the_loops_own(self) -> None:
        """It waits for a client on behalf of the loop, and is no task of the test's."""
        async def main() -> None:
            async with MockTCPServer():
                await asyncio.sleep(0)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                self.assertTrue(others)
                self.assertTrue(all(map(is_loops_own, others)))
        self.run_in_loop(main())

    def test_operation_that_a_reset_ends(self) -> None:
        """Its exception, which nobody takes, is not that of a client: no client is said to have failed."""
        async def main() -> None:
            loop: Any = asyncio.get_running_loop()
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                operation = loop._proactor.recv(ours, 1)
                operation.set_exception(ConnectionResetError("the system's own"))
                loop._proactor.forget(operation)
                self.assertTrue(is_loops_own(operation))
                self.assertFalse(is_loops_own(loop.create_future()))
                with mock.patch.object(lookout, "_PAUSE", 0.001), \
                        self.assertRaisesRegex(ExpectationError, "no client connected") as caught:
                    async with MockTCPServer() as server:
                        server.expect_connect(timeout=0.1)
                        await server.join()
                self.assertNotIn("the system's own", str(caught.exception))
                operation.exception()
        self.run_in_loop(main())


if __name__ == "__main__":
    unittest.main()
