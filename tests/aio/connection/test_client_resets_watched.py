"""Tests of clients that half-close, and reset the connection later."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import sys
import time
import unittest
from typing import Any, Callable, Optional
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer, VirtualClockEventLoop, tls
from tcpclient_testing.aio.connection import client_resets
from tcpclient_testing.aio.sockets.listening import LINGER_RESET
from tcpclient_testing.virtual_time.clock import DEFAULT_GRACE
from tests.support.blocking import send_at_once
from tests.support.folders import socket_folder
from tests.support.reports import verdict_of
from tests.support.transcripts import notes

LATER = r"^expected the client to reset the connection; it ended its stream, and sent no reset for \S+ m?s$"
NOT_EOF = "expected the client to end its stream, but it reset the connection"


def script(server: Any, *, reply: bool = False, answer: bool = False, **timing: float) -> None:
    """Expect a half-close and a reset, with something sent before, or between the two."""
    server.expect_connect()
    server.expect_line(b"GET")
    if reply:
        server.send_line(b"value")
    server.expect_eof()
    if answer:
        server.send_line(b"value")
    server.expect_reset(**timing)


def overdue(server: Any) -> None:
    """Expect them, and wait for the reset no more than a moment."""
    script(server, timeout=0.02)


def half_close(client: socket.socket) -> None:
    """Ask, and end the stream."""
    client.sendall(b"GET\r\n")
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    """Reset the connection, whatever is unread."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    client.close()


class BlockingClientTests(unittest.TestCase):
    def verdict(self, client: Callable[[Any], None], *, write: Callable[[Any], None] = script, early: bool = True,
                **options: Any) -> str:
        """What is wrong with the client, in the words of the report; "" if nothing is."""
        options.setdefault("timeout", 10)
        try:
            with ThreadedMockTCPServer(**options) as server:
                if early:
                    write(server)
                with socket.socket(socket.AF_UNIX if options.get("unix_path") else socket.AF_INET) as connected:
                    connected.connect(server.address)
                    client(connected)
                    if not early:
                        write(server)
                    server.join()
                self.notes = notes(server)
        except ExpectationError as error:
            return verdict_of(error)
        return ""

    def client(self, wait: float, leave: Callable[[Any], None]) -> Callable[[Any], None]:
        """A client that half-closes, waits so many seconds, and leaves then."""
        def client(connected: socket.socket) -> None:
            half_close(connected)
            time.sleep(wait)
            leave(connected)
        return client

    def test_client_that_resets_after_its_half_close(self) -> None:
        """At once or later, before or after the script was written, whether or not anything was sent to it before."""
        for wait in (0, 0.01):
            for early in (True, False):
                for reply in (True, False):
                    with self.subTest(wait=wait, early=early, reply=reply):
                        text = self.verdict(self.client(wait, reset), early=early,
                                            write=lambda server, reply=reply: script(server, reply=reply))
                        self.assertEqual(text, "")

    def test_client_that_resets_over_an_answer_to_its_half_close(self) -> None:
        """It may look at the answer for a while, or not."""
        for wait in (0, 0.01):
            def client(connected: socket.socket, wait: float = wait) -> None:
                half_close(connected)
                connected.recv(1, socket.MSG_PEEK)
                time.sleep(wait)
                connected.close()
            self.assertEqual(self.verdict(client, write=lambda server: script(server, answer=True)), "")

    def test_client_that_closes_with_something_unread(self) -> None:
        """That is a reset."""
        for early in (True, False):
            self.assertEqual(self.verdict(self.client(0.01, socket.socket.close), early=early,
                                          write=lambda server: script(server, reply=True)), "")
        self.assertIn("the client ended its stream", self.notes)

    def test_client_that_only_half_closes(self) -> None:
        """It is overdue, whether it closes then, or stays."""
        for leave in (socket.socket.close, socket.socket.fileno):
            self.assertRegex(self.verdict(self.client(0, leave), write=overdue), LATER)

    def test_client_that_only_resets(self) -> None:
        """It has not ended its stream."""
        self.assertEqual(self.verdict(reset, write=lambda server: (server.expect_connect(), server.expect_eof(),
                                                                   server.expect_reset())), NOT_EOF)

    def test_reset_that_no_step_expects(self) -> None:
        """Where nothing is written behind the expect_eof(), a reset is judged when something is, or at the end."""
        def alone(server: Any) -> None:
            server.expect_connect()
            server.expect_line(b"GET")
            server.send_line(b"value")
            server.expect_eof()

        def and_disconnect(server: Any) -> None:
            alone(server)
            server.disconnect()

        for write in (alone, and_disconnect):
            for early in (True, False):
                with self.subTest(write=write.__name__, early=early):
                    text = self.verdict(self.client(0.01, reset), write=write, early=early)
                    self.assertIn(text, (NOT_EOF, "the client reset the connection before disconnect()"))

    def test_server_that_has_ended_its_stream(self) -> None:
        """No reset comes then: that is said at once."""
        def write(server: Any) -> None:
            server.expect_connect()
            server.expect_line(b"GET")
            server.expect_eof()
            server.send_eof()
            server.expect_reset()

        self.assertEqual(self.verdict(self.client(0, socket.socket.fileno), write=write),
                         "expected the client to reset the connection, but it ended its stream")

    def test_clients_with_tls(self) -> None:
        """A client that has said goodbye can reset the connection as well, with a FIN between the two or without."""
        context = tls.client_context()
        for fin in (True, False):
            def client(connected: socket.socket, fin: bool = fin) -> None:
                send_at_once(connected)
                secured = context.wrap_socket(connected, server_hostname="localhost", suppress_ragged_eofs=False)
                secured.sendall(b"GET\r\n")
                self.assertEqual(secured.recv(100), b"value\r\n")
                secured.setblocking(False)
                try:
                    secured.unwrap()
                except OSError:
                    pass  # the server's goodbye doesn't come
                if fin:
                    secured.shutdown(socket.SHUT_WR)
                time.sleep(0.02)
                reset(secured)
            with self.subTest(fin=fin):
                self.assertEqual(self.verdict(client, tls=True, write=lambda server: script(server, reply=True)), "")

    @unittest.skipUnless(hasattr(socket, "AF_UNIX"), "there are no Unix-domain sockets")
    def test_clients_of_unix_sockets(self) -> None:
        """To close with something unread is their reset; a plain close is told from it, at once where that can be."""
        with socket_folder() as directory:
            path = os.path.join(directory, "socket")
            self.assertEqual(self.verdict(self.client(0.01, socket.socket.close), unix_path=path,
                                          write=lambda server: script(server, reply=True)), "")
            if sys.platform == "linux":
                self.assertEqual(self.verdict(self.client(0.01, socket.socket.close), unix_path=path),
                                 "expected the client to reset the connection, but it ended its stream")

    def test_system_without_epoll(self) -> None:
        """The socket is asked for its error; so it is where there are no descriptors left."""
        with mock.patch.object(client_resets, "sys", mock.Mock(platform="other")):
            self.assertEqual(self.verdict(self.client(0.01, reset)), "")
            self.assertRegex(self.verdict(self.client(0, socket.socket.close), write=overdue), LATER)
        if sys.platform == "linux":
            with mock.patch.object(client_resets.originals, "epoll", side_effect=OSError(24, "Too many open files")):
                self.assertEqual(self.verdict(self.client(0.01, reset)), "")


class AsyncioClientTests(unittest.TestCase):
    """Clients in the server's loop."""

    def verdict(self, wait: float, linger: bool, loop: Optional[asyncio.AbstractEventLoop] = None) -> str:
        """What is wrong with a client that half-closes, waits, and aborts its connection, with a reset if `linger`."""
        async def client() -> None:
            async with MockTCPServer(timeout=5, watch_streams=False) as server:
                script(server, reply=True)
                reader, writer = await asyncio.open_connection(*server.address)
                writer.write(b"GET\r\n")
                writer.write_eof()
                await reader.readline()
                await asyncio.sleep(wait)
                if linger:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                writer.transport.abort()
                await server.join()
        loop = asyncio.new_event_loop() if loop is None else loop
        try:
            loop.run_until_complete(client())
        except ExpectationError as error:
            return verdict_of(error)
        finally:
            loop.close()
        return ""

    def test_client_that_resets_after_its_half_close(self) -> None:
        """At once or later."""
        for wait in (0, 0.01):
            self.assertEqual(self.verdict(wait, True), "")

    def test_client_that_resets_in_virtual_time(self) -> None:
        """The wait costs no time, also where it ends in vain."""
        began = time.monotonic()
        self.assertEqual(self.verdict(4, True, VirtualClockEventLoop()), "")
        self.assertRegex(self.verdict(0, False, VirtualClockEventLoop()), r"and sent no reset for 5\.0 s$")
        if not DEFAULT_GRACE:
            self.assertLess(time.monotonic() - began, 4 + 5)

    @unittest.skipUnless(importlib.util.find_spec("uvloop"), "needs uvloop")
    def test_client_that_resets_under_uvloop(self) -> None:
        """Another loop, the same answer."""
        import uvloop  # type: ignore[import-not-found,unused-ignore]
        for wait in (0, 0.01):
            self.assertEqual(self.verdict(wait, True, uvloop.new_event_loop()), "")


if __name__ == "__main__":
    unittest.main()
