"""Tests of servers whose `with` blocks are open at the same time: they belong together."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import unittest
import weakref
from contextlib import suppress
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError
from tcpclient_testing.threaded import ThreadedMockTCPServer, inner
from tcpclient_testing.threaded.blocks import servers_in_use
from tests.support.blocking import Worker, connect, eventually
from tests.support.greetings import script_greeting


def misspell(server: ThreadedMockTCPServer) -> None:
    """A client, in a thread that nobody waits for, makes the script of `script_greeting` fail."""
    def client() -> None:
        with connect(server.address) as sock, suppress(ConnectionError):
            sock.sendall(b"hullo")
            sock.recv(1)
    Worker(client)


def waits_in_join(server: ThreadedMockTCPServer) -> None:
    """Wait for the whole script."""
    server.join()


def waits_for_a_result(server: ThreadedMockTCPServer) -> None:
    """Wait for one step."""
    server.expect_connect().result()


def waits_in_a_client(server: ThreadedMockTCPServer) -> None:
    """Wait for an answer that the script does not give."""
    with connect(server.address, None) as client:
        client.recv(1)


def waits_when_it_leaves(server: ThreadedMockTCPServer) -> None:
    """Let the end of the `with` blocks wait."""


class NestedTests(unittest.TestCase):
    """Two servers, each in a `with` of its own."""

    WAYS = (waits_in_join, waits_for_a_result, waits_in_a_client, waits_when_it_leaves)

    def failure_of(self, body: Callable[[ThreadedMockTCPServer, ThreadedMockTCPServer], object],
                   **options: Any) -> ExpectationError:
        """Return the verdict of two nested servers, which comes long before their time is over."""
        started = time.monotonic()
        with mock.patch.object(inner, "_MOMENT", 0.02), self.assertRaises(ExpectationError) as caught, \
                ThreadedMockTCPServer(timeout=20) as first, ThreadedMockTCPServer(timeout=20, **options) as second:
            script_greeting(first)
            script_greeting(second)
            body(first, second)
        self.assertLess(time.monotonic() - started, 10)
        return caught.exception

    def test_thread_when_it_waits_at_the_inner_server(self) -> None:
        """It is freed when the outer one's script fails, whatever it waits for; and that is the verdict."""
        for wait in self.WAYS:
            with self.subTest(wait.__name__):
                def body(first: ThreadedMockTCPServer, second: ThreadedMockTCPServer, wait: Any = wait) -> None:
                    misspell(first)
                    wait(second)
                self.assertIn("expected b'hello', got b'hullo'", str(self.failure_of(body)))

    def test_thread_when_it_waits_at_the_outer_server(self) -> None:
        """It is freed when the inner one's script fails, too."""
        for wait in self.WAYS:
            with self.subTest(wait.__name__):
                def body(first: ThreadedMockTCPServer, second: ThreadedMockTCPServer, wait: Any = wait) -> None:
                    misspell(second)
                    wait(first)
                self.assertIn("expected b'hello', got b'hullo'", str(self.failure_of(body)))

    def test_client_that_is_freed(self) -> None:
        """What it raises is a consequence, and stands in the verdict."""
        def body(first: ThreadedMockTCPServer, second: ThreadedMockTCPServer) -> None:
            misspell(first)
            waits_in_a_client(second)
        error = self.failure_of(body)
        self.assertIsInstance(error.client_exception, ConnectionResetError)
        self.assertIn("then the client raised", str(error))

    def test_server_that_is_entered_after_the_failure(self) -> None:
        """It hears of that, and whoever waits there is freed."""
        with mock.patch.object(inner, "_MOMENT", 0.02), \
                self.assertRaisesRegex(ExpectationError, "expected b'hello', got b'hullo'"), \
                ThreadedMockTCPServer() as first:
            script_greeting(first)
            misspell(first)
            self.assertTrue(eventually(lambda: first.failed_at() < float("inf")))
            with ThreadedMockTCPServer(timeout=20) as second:
                second.expect_connect()
                second.join()

    def test_failure_that_is_kept_from_others(self) -> None:
        """With cancel_body=False a server does not end what waits elsewhere."""
        def body(first: ThreadedMockTCPServer, second: ThreadedMockTCPServer) -> None:
            misspell(second)
            self.assertTrue(eventually(lambda: second.failed_at() < float("inf")))
            with connect(first.address) as client:
                client.sendall(b"hello")
                self.assertFalse(eventually(lambda: first.failed_at() < float("inf"), 0.1))
                self.assertEqual(client.recv(7), b"welcome")
        self.assertIn("expected b'hello', got b'hullo'", str(self.failure_of(body, cancel_body=False)))

    def test_failure_that_is_over(self) -> None:
        """A server whose block was left, and whose verdict was caught, is no concern of the others."""
        with mock.patch.object(inner, "_MOMENT", 0.02), ThreadedMockTCPServer() as first:
            script_greeting(first)
            with self.assertRaises(ExpectationError), ThreadedMockTCPServer() as second:
                script_greeting(second)
                misspell(second)
                second.join()
            with connect(first.address) as client:
                client.sendall(b"hello")
                self.assertFalse(eventually(lambda: first.failed_at() < float("inf"), 0.1))
                self.assertEqual(client.recv(7), b"welcome")

    def test_failure_of_the_outer_server_came_first(self) -> None:
        """The one whose script failed first gives the verdict, though the other has given one by then."""
        with self.assertRaisesRegex(ExpectationError, "expected b'hello', got b'hullo'"), \
                ThreadedMockTCPServer() as outer, ThreadedMockTCPServer(timeout=0.1) as inner:
            script_greeting(outer)
            script_greeting(inner)
            with connect(outer.address) as client:
                client.sendall(b"hullo")
                self.assertRaises(ConnectionResetError, client.recv, 1)
                inner.join()

    def test_failure_of_the_inner_server_came_first(self) -> None:
        """Its verdict passes the outer one."""
        with self.assertRaisesRegex(ExpectationError, "no client connected"), \
                ThreadedMockTCPServer() as outer, ThreadedMockTCPServer(timeout=0.05) as inner:
            script_greeting(outer)
            script_greeting(inner)
            inner.join()


class ServersInUseTests(unittest.TestCase):
    """Which servers are taken to belong together."""

    def test_blocks_of_a_thread(self) -> None:
        """They are those that it is in; another thread has its own."""
        self.assertEqual(servers_in_use(), [])
        with ThreadedMockTCPServer() as first:
            with ThreadedMockTCPServer() as second:
                self.assertEqual(servers_in_use(), [first, second])
                worker = Worker(servers_in_use)
                self.assertTrue(worker.ended())
                self.assertEqual(worker.value, [])
            self.assertEqual(servers_in_use(), [first])
        self.assertEqual(servers_in_use(), [])

    def test_block_that_another_thread_leaves(self) -> None:
        """It is taken from those of the thread that has entered it."""
        server = ThreadedMockTCPServer().__enter__()
        worker = Worker(server.__exit__, None, None, None)
        self.assertTrue(worker.ended())
        self.assertIsNone(worker.error)
        self.assertEqual(servers_in_use(), [])

    def test_blocks_of_tasks(self) -> None:
        """Tasks of one thread have nothing to do with each other, nor with what the thread does around them."""
        async def use() -> None:
            with ThreadedMockTCPServer() as server:
                await asyncio.sleep(0.01)
                self.assertEqual(servers_in_use(), [server])

        async def main() -> None:
            await asyncio.gather(use(), use())
        with ThreadedMockTCPServer():
            asyncio.run(main())

    def test_thread_that_has_ended(self) -> None:
        """A server that it has not left is forgotten with it."""
        kept: list[Any] = []

        def enter() -> None:
            server = ThreadedMockTCPServer().__enter__()
            kept.append(weakref.ref(servers_in_use()[0]))
            server.close()
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        gc.collect()
        self.assertIsNone(kept[0]())


if __name__ == "__main__":
    unittest.main()
