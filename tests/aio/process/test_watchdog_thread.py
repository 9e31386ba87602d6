"""Tests of the watchdog's thread: when it lives, and what becomes of it in a forked child."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import time
import unittest
import warnings
import weakref
from typing import Callable, Optional
from unittest import mock

from tcpclient_testing.aio.process import watchdog
from tcpclient_testing.aio.process.blocked_call import BlockedCall
from tcpclient_testing.aio.process.watchdog import Watch, watch
from tests.support.collecting import collect
from tests.support.watchdogs import AGAIN, SHORTEST, TIMEOUT, linux, watchdogs


def wait_for_the_end() -> None:
    """Wait until the watchdog has ended, ten seconds at most."""
    for thread in watchdogs():
        thread.join(10)


class ThreadTests(unittest.TestCase):
    """The one thread: when it starts, when it ends, and what can't hurt it."""

    def setUp(self) -> None:
        for name, value in ("LINGER", 0.03), ("_SHORTEST", SHORTEST), ("_WANTED", AGAIN), ("_AGAIN", AGAIN):
            patch = mock.patch.object(watchdog, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    def watch(self, timeout: float = 20.0, attention: Optional[Callable[[], bool]] = None) -> Watch:
        made = watch(self.loop, threading.get_ident(), timeout, attention or bool, print)
        self.addCleanup(made.stop)
        return made

    def test_thread_when_the_last_watch_stops(self) -> None:
        """The thread outlives the last watch by its linger, and ends soon after that."""
        begun = time.monotonic()
        self.watch().stop()
        self.assertEqual(len(watchdogs()), 1)
        wait_for_the_end()
        self.assertGreaterEqual(time.monotonic() - begun, watchdog.LINGER)
        self.assertEqual(watchdogs(), [])

    def test_thread_keeps_no_watch_alive(self) -> None:
        """While the thread sleeps, it refers to no watch: the server behind a stopped one can go."""
        watchdog._end()  # begin with a new thread
        self.addCleanup(watchdog._end)
        watchdog.LINGER = 60.0
        made = watch(self.loop, threading.get_ident(), 20.0, bool, print)
        deadline = time.monotonic() + 10
        while not watchdogs()[0].wakes_at and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.001)
        made.stop()
        kept = weakref.ref(made)
        del made
        collect()
        self.assertIsNone(kept())

    def test_thread_when_a_watch_follows_another(self) -> None:
        """The next watch finds the thread running, and a stopped one starts again."""
        self.watch().stop()
        (first,) = watchdogs()
        second = self.watch()
        self.assertEqual(watchdogs(), [first])
        second.stop()
        wait_for_the_end()
        self.watch()
        self.assertNotEqual(watchdogs(), [first])
        self.assertTrue(watchdogs()[0].daemon)

    def test_thread_when_a_watch_is_in_more_hurry(self) -> None:
        """A watch with a short time-out wakes the thread from its longer sleep."""
        self.addCleanup(watchdog._end)
        watchdog.LINGER = 60.0  # of itself the thread looks in fifty seconds, a quarter of the time-out
        with mock.patch.object(watchdog, "_LONGEST", 60.0):
            self.watch(200.0)
        deadline = time.monotonic() + 30
        while not watchdogs()[0].wakes_at and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.001)
        begun = time.monotonic()
        made = self.watch(TIMEOUT)
        while not made._posted and time.monotonic() < deadline:
            time.sleep(0.001)
        self.assertLess(time.monotonic() - begun, 30)

    def test_thread_when_none_can_be_started(self) -> None:
        """Where no thread can be had the tests run all the same, unwatched."""
        watchdog._end()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            made = self.watch()
        self.assertEqual((watchdog._watches, watchdogs()), (set(), []))
        made.stop()

    @linux
    def test_thread_when_hundreds_watch(self) -> None:
        """Hundreds of watches have one thread, and leave no thread and no descriptor behind."""
        watchdog._end()
        before = len(os.listdir("/proc/self/fd"))
        watches = [self.watch(TIMEOUT) for _ in range(300)]
        self.assertEqual(len(watchdogs()), 1)
        self.loop.run_until_complete(asyncio.sleep(TIMEOUT))
        for made in watches:
            made.stop()
            made.stop()
        for _ in range(1000):
            self.watch().stop()
        self.assertLessEqual(len(watchdogs()), 1)
        self.assertEqual(watchdog._watches, set())
        wait_for_the_end()
        self.assertEqual(watchdogs(), [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)  # while the thread lives, it opens files of /proc

    def test_thread_when_a_loop_is_closed(self) -> None:
        """A watch that nobody stopped goes with its loop."""
        loop = asyncio.new_event_loop()
        made = watch(loop, threading.get_ident(), TIMEOUT, bool, print)
        loop.close()
        deadline = time.monotonic() + 10
        while made in watchdog._watches and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertNotIn(made, watchdog._watches)

    def test_thread_when_a_function_raises(self) -> None:
        """What a watch's function raises is reported, ends that watch, and hurts no other."""
        called = threading.Event()

        def attention() -> bool:
            raise LookupError("the server's own mistake")

        def other() -> bool:
            called.set()
            return False

        with mock.patch.object(threading, "excepthook") as hook:
            bad = self.watch(TIMEOUT, attention)
            deadline = time.monotonic() + 10
            while bad in watchdog._watches and time.monotonic() < deadline:
                time.sleep(0.01)
            self.watch(TIMEOUT, other)
            self.assertTrue(called.wait(10))
        reported = hook.call_args.args[0]
        self.assertEqual(repr(reported.exc_value), repr(LookupError("the server's own mistake")))
        self.assertEqual(reported.thread.name, "tcpclient_testing watchdog")
        self.assertNotIn(bad, watchdog._watches)

    def test_stop_while_the_sockets_are_freed(self) -> None:
        """A watch can't be stopped half-way through its work, and its own functions may stop it."""
        freeing, stopped, order = threading.Event(), threading.Event(), []

        def free(call: BlockedCall) -> None:
            freeing.set()
            stopped.wait(0.02)
            order.append("freed")
            made.stop()

        made = watch(self.loop, threading.get_ident(), TIMEOUT, lambda: True, free)
        self.assertTrue(freeing.wait(10))
        made.stop()
        order.append("stopped")
        stopped.set()
        self.assertEqual(order, ["freed", "stopped"])

    def test_thread_when_the_clock_was_turned_back(self) -> None:
        """A test that replaces the clock, and puts it back, doesn't put the thread to sleep for hours."""
        ends_at = time.monotonic()
        with mock.patch.object(watchdog, "_monotonic", lambda: 0.0):
            self.watch().stop()
            watchdog._ends_at = ends_at
            watchdog._notify()
            deadline = ends_at + 10
            while watchdogs()[0].wakes_at != ends_at and time.monotonic() < deadline:  # type: ignore[attr-defined]
                time.sleep(0.001)
        called = threading.Event()
        self.watch(TIMEOUT, lambda: bool(called.set()))
        self.assertTrue(called.wait(10))

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_thread_in_a_forked_child(self) -> None:
        """A forked child has no watchdog, can stop what its parent watched, and gets a thread of its own."""
        made = self.watch()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: threads and fork()
            with mock.patch.object(made, "_acting", 0):  # as if its thread were just looking
                child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                made.stop()
                empty = not watchdog._watches and watchdog._thread is None
                self.watch()
                status = int(not empty or len(watchdogs()) != 1)
            os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertIn(made, watchdog._watches)
        self.assertEqual(len(watchdogs()), 1)

    def test_watch_when_its_loop_is_closed(self) -> None:
        """A watch that nobody has stopped ends when its loop is closed, and keeps nothing alive."""
        loop = asyncio.new_event_loop()
        made = watch(loop, threading.get_ident(), TIMEOUT, bool, print)
        loop.close()
        deadline = time.monotonic() + 10
        while made in watchdog._watches and time.monotonic() < deadline:
            time.sleep(0.001)
        self.assertNotIn(made, watchdog._watches)

    def test_thread_when_it_is_ended(self) -> None:
        """The thread ends at once at the interpreter's exit, watches or not; a second time does no harm."""
        made = self.watch()
        watchdog._end()
        self.assertEqual(watchdogs(), [])
        watchdog._end()
        made.stop()

    def test_thread_when_the_interpreter_ends(self) -> None:
        """An interpreter that ends with a watch ends at once and silently."""
        program = (
            "import asyncio, threading, time\n"
            "from tcpclient_testing.aio.process.watchdog import watch\n"
            "loop = asyncio.new_event_loop()\n"
            "watch(loop, threading.get_ident(), 0.2, bool, print)\n"
            "loop.close()\n"
            "print('done', flush=True)\n"
        )
        begun = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
            cwd=pathlib.Path(__file__).parents[3],
        )
        self.assertEqual((result.returncode, result.stdout), (0, "done\n"))
        self.assertLess(time.monotonic() - begun, 10)


if __name__ == "__main__":
    unittest.main()
