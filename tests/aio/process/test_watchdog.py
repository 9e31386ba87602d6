"""Tests of the watch over a loop: when it is blocked, and when it only looks so."""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import os
import socket
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Coroutine
from typing import Any, Callable
from unittest import mock

from tcpclient_testing.aio.process import watchdog
from tcpclient_testing.aio.process.blocked_call import BlockedCall, free_sockets, readable
from tcpclient_testing.aio.process.watchdog import Watch, watch
from tests.support.long import lasting
from tests.support.watchdogs import AGAIN, BOUND, LONGER, SHORTEST, TIMEOUT, Server, linux


class WatchTests(unittest.TestCase):
    """Loops that are blocked, and loops that only look so."""

    def setUp(self) -> None:
        # The first attempt is enough, however slow the machine is; tests of a second one wait less for it.
        for name, value in ("_SHORTEST", SHORTEST), ("_WANTED", AGAIN), ("_AGAIN", BOUND):
            patch = mock.patch.object(watchdog, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def run_with_server(self, body: Callable[[Server], Coroutine[Any, Any, None]], timeout: float = TIMEOUT) -> Server:
        async def main() -> Server:
            asyncio.get_running_loop().slow_callback_duration = 60  # says nothing of what blocks on purpose
            async with Server(timeout) as server:
                await body(server)
            return server

        return asyncio.run(main())

    def assertFreed(self, server: Server, line: str) -> None:
        """Assert that the one blocked call was at this line, in time."""
        self.assertEqual([call.attempt for call in server.freed], [1])
        place = server.freed[0].place
        self.assertEqual((place.filename, place.name), (__file__, "body"))
        self.assertEqual(linecache.getline(__file__, place.lineno or 0).strip(), line)
        self.assertGreaterEqual(server.freed[0].seconds, TIMEOUT - 0.01)
        self.assertLess(server.freed[0].seconds, BOUND)

    def test_watch_when_the_connection_is_not_accepted(self) -> None:
        """A blocking client that the loop had no chance to accept gets a reset, and its line is named."""

        async def body(server: Server) -> None:
            with server.connect() as client, self.assertRaises(ConnectionResetError):
                client.recv(1)

        self.assertFreed(self.run_with_server(body), "client.recv(1)")

    def test_watch_when_an_accepted_client_blocks(self) -> None:
        """A blocking client that waits for an answer gets an end of stream, and its line is named."""

        async def body(server: Server) -> None:
            with server.connect() as client:
                await server.accepted.wait()
                client.sendall(b"request")
                self.assertEqual(client.recv(1), b"")

        self.assertFreed(self.run_with_server(body), 'self.assertEqual(client.recv(1), b"")')

    def test_watch_when_a_client_retries(self) -> None:
        """A client that asks again and again with a short time-out of its own blocks the loop as well."""

        async def body(server: Server) -> None:
            with server.connect() as client:
                await server.accepted.wait()
                client.settimeout(0.01)
                client.sendall(b"request")
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    try:
                        client.recv(1)
                        break
                    except socket.timeout:
                        pass
                self.assertLess(time.monotonic(), deadline)

        server = self.run_with_server(body)
        self.assertEqual(len(server.freed), 1)

    def test_watch_when_a_client_sends_without_end(self) -> None:
        """A client whose data nobody reads is freed at the second attempt."""

        async def body(server: Server) -> None:
            with server.connect() as client:
                await server.accepted.wait()
                with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                    while True:
                        client.sendall(bytes(1 << 20))

        with mock.patch.object(watchdog, "_AGAIN", AGAIN):
            server = self.run_with_server(body)
        self.assertEqual([call.attempt for call in server.freed[:2]], [1, 2])

    def test_watch_when_a_client_spins(self) -> None:
        """A client that would ask again and again after the end of the stream is freed by a reset."""

        async def body(server: Server) -> None:
            server.reset_from = 1
            with server.connect() as client:
                await server.accepted.wait()
                client.sendall(b"request")
                with self.assertRaises(ConnectionResetError):
                    while True:
                        client.recv(1)

        server = self.run_with_server(body)
        self.assertFreed(server, "client.recv(1)")
        self.assertEqual(server.unread, [[b"request"]])

    def test_watch_when_a_client_reconnects(self) -> None:
        """A client that connects again after each failure is freed again, without waiting for another time-out."""

        async def body(server: Server) -> None:
            for _ in range(3):
                with server.connect() as client, self.assertRaises(ConnectionResetError):
                    client.recv(1)

        with mock.patch.object(watchdog, "_AGAIN", AGAIN):
            server = self.run_with_server(body)
        # A client that is quick may be reset again in the same go.
        self.assertEqual([call.attempt for call in server.freed], list(range(1, len(server.freed) + 1)))
        self.assertLess(server.freed[-1].seconds, BOUND)

    def test_watch_when_the_loop_blocks_twice(self) -> None:
        """Once the loop has turned, the next blocked call is another one."""

        async def body(server: Server) -> None:
            for _ in range(2):
                with server.connect() as client, self.assertRaises(ConnectionResetError):
                    client.recv(1)
                while server.watch._acting is not None:
                    time.sleep(0.001)  # what breaks the sockets would break the next client's as well
                while server.watch._posted:
                    await asyncio.sleep(0)

        with mock.patch.object(watchdog, "_AGAIN", AGAIN):
            server = self.run_with_server(body)
        self.assertEqual([call.attempt for call in server.freed], [1, 1])

    def test_watch_when_the_loop_does_not_run(self) -> None:
        """A client that blocks between two runs of the loop is freed as well."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        freed: list[BlockedCall] = []
        with listener, socket.create_connection(listener.getsockname(), timeout=20) as client:

            def free(call: BlockedCall) -> None:
                freed.append(call)
                free_sockets([], [listener])

            made = watch(loop, threading.get_ident(), TIMEOUT, lambda: readable([listener]), free)
            self.addCleanup(made.stop)
            self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertEqual(freed[0].place.name, self._testMethodName)

    @linux
    @lasting
    def test_watch_when_the_test_computes(self) -> None:
        """A test that computes is left alone, with the GIL and without, though a client waits."""

        async def body(server: Server) -> None:
            with server.connect() as client:
                client.sendall(b"request")
                begun = time.monotonic()
                while time.monotonic() < begun + 1.25 * LONGER:
                    sum(range(1000))
                data = bytes(1 << 20)
                while time.monotonic() < begun + 2.5 * LONGER:
                    __import__("hashlib").sha256(data)

        server = self.run_with_server(body, LONGER)
        self.assertEqual((server.freed, server.asked), ([], 0))

    @linux
    def test_watch_when_the_client_blocks_after_computing(self) -> None:
        """The time in which the test computes doesn't count, but the call that blocks then is noticed."""

        async def body(server: Server) -> None:
            with server.connect() as client:
                begun = time.monotonic()
                while time.monotonic() < begun + 2 * TIMEOUT:
                    sum(range(1000))
                with self.assertRaises(ConnectionResetError):
                    client.recv(1)

        self.assertEqual(len(self.run_with_server(body).freed), 1)

    def test_watch_when_the_test_sleeps(self) -> None:
        """A test that sleeps is left alone as long as no socket wants attention."""

        async def body(server: Server) -> None:
            with server.connect():
                await server.accepted.wait()
                deadline = time.monotonic() + 20
                while server.asked < 2 and time.monotonic() < deadline:
                    time.sleep(SHORTEST)

        server = self.run_with_server(body)
        self.assertEqual(server.freed, [])
        self.assertGreater(server.asked, 1)

    def test_watch_when_the_test_sleeps_and_then_closes_its_client(self) -> None:
        """What wants attention only from the last moment on, before the loop turns, is no client that blocks."""

        async def body(server: Server) -> None:
            wanted = [False] * 5 + [True] + [False] * 5
            with mock.patch.object(server.watch, "_attention", lambda: bool(wanted) and wanted.pop()):
                deadline = time.monotonic() + 20
                while wanted and time.monotonic() < deadline:
                    time.sleep(SHORTEST)

        self.assertEqual(self.run_with_server(body).freed, [])

    def test_watch_when_the_loop_idles(self) -> None:
        """A loop with nothing to do isn't blocked, and a client that waits in it isn't either."""

        async def body(server: Server) -> None:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"request")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1), 1.25 * LONGER)
            writer.close()
            await writer.wait_closed()

        server = self.run_with_server(body, LONGER)
        self.assertEqual((server.freed, server.asked), ([], 0))

    def test_watch_when_a_debugger_is_at_work(self) -> None:
        """Nothing is freed under a debugger, and what blocks afterwards has to block anew."""
        answers = iter([True, True])

        async def body(server: Server) -> None:
            with server.connect() as client, self.assertRaises(ConnectionResetError):
                client.recv(1)

        with mock.patch.object(watchdog, "debugger_active", lambda: next(answers, False)):
            server = self.run_with_server(body)
        self.assertEqual(len(server.freed), 1)
        self.assertGreaterEqual(server.freed[0].seconds, 3 * TIMEOUT - 0.01)

    def test_watch_when_a_subprocess_is_the_client(self) -> None:
        """A loop that waits for a subprocess, which waits for its server, is freed like any other."""
        program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"

        async def body(server: Server) -> None:
            command = [sys.executable, "-c", program, str(server.address[1])]
            result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
            self.assertIn("ConnectionResetError", result.stderr)

        self.assertEqual(self.run_with_server(body).freed[0].place.name, "body")

    def test_watch_when_switched_off(self) -> None:
        """With ``TCPCLIENT_TESTING_WATCHDOG=0`` nothing is watched, and no thread is started."""
        with mock.patch.dict(os.environ, TCPCLIENT_TESTING_WATCHDOG="0"):
            made = watch(asyncio.new_event_loop(), 0, TIMEOUT, bool, print)
        self.addCleanup(made._loop.close)
        self.assertNotIn(made, watchdog._watches)
        made.stop()


class LookTests(unittest.TestCase):
    """One look after the other, at a loop that doesn't turn, by a clock that the test sets."""

    def setUp(self) -> None:
        watchdog._end()  # the thread of an earlier test must not see this clock
        self.now = 1000.0
        self.processor = 0.0
        self.freed: list[BlockedCall] = []
        self.loop = mock.Mock()
        self.loop.is_closed.return_value = False
        patcher = mock.patch.object(watchdog, "_monotonic", lambda: self.now)
        patcher.start()
        self.addCleanup(patcher.stop)
        patch = mock.patch.object(watchdog, "debugger_active", lambda: False)
        patch.start()
        self.addCleanup(patch.stop)
        self.watch = Watch(self.loop, threading.get_ident(), 4.0, lambda: True, self.freed.append)
        self.thread = mock.Mock(wraps=self.watch._thread)
        self.thread.used = lambda: self.processor
        self.thread.sleeps.return_value, self.thread.idles.return_value = True, False
        self.watch._thread = self.thread
        self.look()  # posts the callback

    def look(self, *, late: float = 0.0, busy: float = 0.0, times: int = 1) -> None:
        """Look when it is due, or so much later, the thread having used this share of a processor since."""
        for _ in range(times):
            before = self.now
            self.now = self.watch.due + late
            self.processor += busy * (self.now - before)
            self.watch.look()

    def notice(self, *, busy: float = 0.0) -> None:
        """Notice what there is when it is time for that, the thread having used this share of a processor since."""
        before, self.now = self.now, max(self.now + 0.1, self.watch.wakes_at)
        self.processor += busy * (self.now - before)
        self.watch.notice()

    def test_look_when_the_loop_does_not_turn(self) -> None:
        """A call is freed after the time-out, and then every tenth of a second."""
        self.look(times=3)
        self.assertEqual(self.freed, [])
        self.look()
        self.assertEqual([(call.seconds, call.attempt) for call in self.freed], [(4.0, 1)])
        self.look(times=2)
        self.assertEqual([call.attempt for call in self.freed], [1, 2, 3])
        self.assertAlmostEqual(self.freed[-1].seconds, 4.2)
        self.loop.call_soon_threadsafe.assert_called_once_with(self.watch.beat)

    def test_look_when_the_loop_turns(self) -> None:
        """Each time the loop has turned the count starts again."""
        for _ in range(3):
            self.look(times=3)
            self.watch.beat()
            self.look()
        self.assertEqual(self.freed, [])
        self.assertEqual(self.loop.call_soon_threadsafe.call_count, 4)
        self.look(times=4)
        self.assertEqual(len(self.freed), 1)

    def test_notice_when_the_loop_does_not_turn(self) -> None:
        """What blocks the loop is noticed long before it is freed, and is known until the loop turns."""
        self.assertIsNone(self.watch.noticed())
        self.notice()
        call = self.watch.noticed()
        assert call is not None
        self.assertEqual(call.place.name, "notice")
        begun = call.seconds
        self.now += 1.0
        self.assertIs(self.watch.noticed(), call)
        self.assertAlmostEqual(call.seconds, begun + 1.0)
        self.watch.beat()
        self.assertIsNone(self.watch.noticed())
        self.assertEqual(self.freed, [])

    def test_notice_when_the_loop_has_turned(self) -> None:
        """What is noticed next is another call; the loop must not have turned since then."""
        self.notice()
        self.watch.beat()
        self.notice()
        call = self.watch.noticed()
        assert call is not None
        self.assertAlmostEqual(call.seconds, 0.0)
        self.assertEqual(self.loop.call_soon_threadsafe.call_count, 2)

    def test_notice_when_nothing_blocks(self) -> None:
        """Nothing is noticed, nor posted, while the thread works, or waits in its loop; nor after the watch."""
        self.watch.beat()
        self.notice(busy=0.9)
        self.thread.idles.return_value = True
        self.notice()
        self.watch.stop()
        self.notice()
        self.assertIsNone(self.watch.noticed())
        self.loop.call_soon_threadsafe.assert_called_once_with(self.watch.beat)

    def test_notice_when_a_look_is_due(self) -> None:
        """The loop that doesn't turn is noticed, and then freed."""
        deadline = self.now + 4.0
        while self.now < deadline:
            self.notice()
        self.assertEqual([call.attempt for call in self.freed], [1])

    def test_notice_when_many_watch(self) -> None:
        """The more watches there are, the less often each looks."""
        self.notice()
        with mock.patch.object(watchdog, "_watches", range(1000)):
            self.notice()
        self.assertGreater(self.watch._notice_at, self.now + 1.9)

    def test_look_when_the_thread_works_now_and_then(self) -> None:
        """A little processor time is what a client that retries needs; more is work."""
        self.look(times=3, busy=0.04)
        self.look(busy=0.06)
        self.assertEqual(self.freed, [])
        self.look(times=3, busy=0.04)
        self.assertEqual(self.freed, [])
        self.look()
        self.assertEqual(len(self.freed), 1)

    def test_look_when_the_process_was_stopped(self) -> None:
        """The time in which the whole process stood still (SIGSTOP, a suspended machine) doesn't count."""
        self.look(times=3)
        self.look(late=3600.0)
        self.look(times=3)
        self.assertEqual(self.freed, [])
        self.look()
        self.assertEqual(len(self.freed), 1)

    def test_look_when_the_thread_runs(self) -> None:
        """A thread that doesn't sleep at the last moment isn't blocked."""
        with mock.patch.object(self.thread, "sleeps", return_value=False):
            self.look(times=8)
        self.assertEqual(self.freed, [])

    def test_look_when_the_loop_turns_at_the_last_moment(self) -> None:
        """A loop that comes free while its server is asked isn't touched."""

        def attention() -> bool:
            self.watch.beat()
            return True

        self.watch._attention = attention
        self.look(times=4)
        self.assertEqual(self.freed, [])

    def test_look_when_it_was_stopped_meanwhile(self) -> None:
        """A watch that is stopped while its look is due asks for nothing."""
        self.look(times=3)
        self.watch.stop()
        self.look()
        self.assertEqual(self.freed, [])

    def test_look_when_the_loop_is_closed(self) -> None:
        """The watch over a closed loop ends by itself."""
        self.loop.call_soon_threadsafe.side_effect = RuntimeError("Event loop is closed")
        self.watch.beat()
        self.look()
        self.assertTrue(self.watch._stopped)

    def test_look_when_the_thread_has_ended(self) -> None:
        """The watch over a thread that has ended ends by itself, or finds nothing to free."""
        with mock.patch.object(sys, "_current_frames", return_value={}):
            self.look(times=4)
        self.assertEqual(self.freed, [])
        self.thread.used = mock.Mock(side_effect=OSError)
        self.look()
        self.assertTrue(self.watch._stopped)

    def test_look_at_long_and_short_timeouts(self) -> None:
        """The time between two looks is a quarter of the time-out, within bounds."""
        for timeout, expected in (0.01, 0.1), (2.0, 0.5), (86400.0, 5.0):
            made = Watch(self.loop, threading.get_ident(), timeout, bool, self.freed.append)
            self.assertAlmostEqual(made.due - self.now, expected)


if __name__ == "__main__":
    unittest.main()
