"""Tests of what is known of a thread from outside."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import unittest
from unittest import mock

from tcpclient_testing.aio.process import watched_thread
from tcpclient_testing.aio.process.watched_thread import (
    WatchedThread,
    _clock_of,
    meters,
    sleeps,
    used_by_other_threads,
)
from tests.support.blocking import eventually
from tests.support.platforms import needs_proc
from tests.support.watchdogs import linux


class MeterTests(unittest.TestCase):
    """What is known of a thread from outside."""

    @linux
    def test_processor_time_of_a_thread(self) -> None:
        """It is that thread's alone, not this one's."""
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        native_id, used = meters(thread.ident or 0)
        self.assertEqual(native_id, thread.native_id)
        before = used()
        self.assertNotEqual(used, time.process_time)
        deadline = time.monotonic() + 10
        while not sleeps(native_id) and time.monotonic() < deadline:
            sum(range(1000))
        self.assertLess(used() - before, 0.05)
        done.set()
        thread.join()
        with contextlib.suppress(OSError):  # musl may still answer
            used()

    @linux
    def test_processor_time_where_there_is_no_function_for_the_clock(self) -> None:
        """PyPy lacks it; the kernel's number of the clock is the same."""
        ident, native_id = threading.get_ident(), threading.get_native_id()
        clock = _clock_of(ident, native_id)
        with mock.patch.object(watched_thread, "time", object()):
            self.assertEqual(_clock_of(ident, native_id), clock)
            with self.assertRaises(OSError):
                _clock_of(ident, None)

    def test_processor_time_of_an_unknown_thread(self) -> None:
        """For a thread that nobody knows the process must do, and it is taken to sleep."""
        native_id, used = meters(0)
        self.assertIsNone(native_id)
        self.assertIs(used, used_by_other_threads)
        self.assertTrue(sleeps(native_id))

    def test_processor_time_elsewhere(self) -> None:
        """Where the system has no clock for one thread, or refuses to read it, the process must do."""
        with mock.patch.object(sys, "platform", "darwin"):
            self.assertIs(meters(threading.get_ident())[1], used_by_other_threads)
        with mock.patch.object(time, "clock_gettime", side_effect=OSError, create=True):
            self.assertIs(meters(threading.get_ident())[1], used_by_other_threads)

    @linux
    @needs_proc
    def test_sleeps_of_this_thread(self) -> None:
        """The thread that asks is running."""
        self.assertFalse(sleeps(threading.get_native_id()))

    def test_idles(self) -> None:
        """A loop with nothing to do idles; one that runs something doesn't, nor does a thread that has ended."""
        async def main() -> None:
            ident = threading.get_ident()
            self.assertFalse(WatchedThread(ident).idles())
            await asyncio.get_running_loop().run_in_executor(None, self.assertIdles, ident)
        asyncio.run(main())
        self.assertFalse(WatchedThread(0).idles())

    def assertIdles(self, ident: int) -> None:
        """Assert that the loop in this thread idles."""
        self.assertTrue(eventually(WatchedThread(ident).idles))


if __name__ == "__main__":
    unittest.main()
