"""Tests of how virtual time passes: the clock, and the selector that decides when it jumps."""

from __future__ import annotations

import selectors
import socket
import time
import unittest
from unittest import mock

from tcpclient_testing.aio.sockets.polling import TICK
from tcpclient_testing.virtual_time import clock as timekeeping
from tcpclient_testing.virtual_time.clock import DecidingSelector, VirtualClock


class VirtualClockTests(unittest.TestCase):
    """A clock that stands, flows or jumps."""

    def test_time_stands_still_at_first(self):
        """A new clock stands, at a whole second near real time."""
        before = time.monotonic()
        clock = VirtualClock()
        self.assertEqual(clock.time(), clock.start)
        self.assertEqual(clock.start, int(clock.start))
        self.assertLessEqual(abs(clock.start - before), 1.5)
        self.assertEqual(clock.time(), clock.time())

    def test_time_flows_from_where_it_stands(self):
        """Flowing time goes on from the present virtual time and stops where it has come to."""
        clock = VirtualClock()
        clock.jump(clock.start + 3600)
        real = time.monotonic()
        clock.flow()
        clock.flow()
        flowing = clock.time()
        self.assertGreaterEqual(flowing, clock.start + 3600)
        clock.stand_still()
        self.assertGreaterEqual(clock.time(), flowing)
        self.assertLessEqual(clock.time() - clock.start - 3600, time.monotonic() - real)
        self.assertEqual(clock.time(), clock.time())

    def test_time_never_goes_back(self):
        """A jump to an earlier time stays where it is."""
        clock = VirtualClock()
        clock.jump(clock.start + 5)
        clock.jump(clock.start + 1)
        self.assertEqual(clock.time(), clock.start + 5)


class FakeLoop:
    """A loop as its selector sees it, with answers to be set."""

    def __init__(self, clock, timer=None):
        self.reasons = []
        self.timer = timer
        self.clock = clock
        self.ready = False
        self.waited = 0.0

    def _really_waited(self, reason, seconds):
        self.waited += seconds

    def why_real(self):
        reason = self.reasons.pop(0) if self.reasons else None
        return reason() if callable(reason) else reason

    def _next_timer(self):
        return self.timer

    def _work_is_ready(self):
        return self.ready

    def _sockets(self):
        return []

    def _real_timer_in(self):
        return None

    def _polls_conditions(self):
        return False


class DecidingSelectorTests(unittest.TestCase):
    """When the selector waits, and when it jumps."""

    def setUp(self):
        self.clock = VirtualClock()
        self.loop = FakeLoop(self.clock, self.clock.start + 100)
        self.selector = self.make(grace=0.0)
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.selector.register(self.ours, selectors.EVENT_READ, "data")

    def make(self, grace):
        selector = DecidingSelector(selectors.DefaultSelector(), self.loop, self.clock, grace)
        self.addCleanup(selector.close)
        return selector

    def elapsed(self):
        return self.clock.time() - self.clock.start

    def test_nothing_else_can_happen(self):
        """Time jumps to exactly the next timer."""
        self.assertEqual(self.selector.select(100), [])
        self.assertEqual(self.elapsed(), 100)

    def test_socket_is_ready(self):
        """A ready socket comes first, and time stands still."""
        self.theirs.send(b"x")
        [(key, _events)] = self.selector.select(100)
        self.assertEqual(key.data, "data")
        self.assertEqual(self.elapsed(), 0)

    def test_thread_acts_and_ends_between_the_two_looks(self):
        """What the last thread did before it ended is seen: threads are looked at before sockets."""
        self.loop.reasons = [lambda: self.theirs.send(b"x") and None]
        self.assertEqual(len(self.selector.select(100)), 1)
        self.assertEqual(self.elapsed(), 0)

    def test_time_is_real_for_a_while(self):
        """While there is a reason time flows; when there is none any more it jumps on from there."""
        self.loop.reasons = ["a thread lives"] * 3
        seen = []
        self.loop.reasons.append(lambda: seen.append(self.elapsed()))
        self.selector.select(100)
        self.assertGreater(seen[0], 0.002 - TICK)
        self.assertLess(seen[0], 100)
        self.assertEqual(self.elapsed(), 100)

    def test_timer_comes_in_real_time(self):
        """A timer that becomes due while time is real ends the wait."""
        self.loop.timer = self.clock.start + 0.01
        self.loop.reasons = ["a thread lives"] * 100
        self.assertEqual(self.selector.select(0.01), [])
        self.assertGreaterEqual(self.elapsed(), 0.01)
        self.assertTrue(self.loop.reasons)
        self.assertGreaterEqual(self.loop.waited, 0.01)

    def test_callbacks_are_ready(self):
        """With callbacks to run there is no waiting and no jump."""
        self.assertEqual(self.selector.select(0), [])
        self.assertEqual(self.elapsed(), 0)

    def test_callbacks_are_ready_while_time_is_real(self):
        """A busy turn too lets time flow while there is a reason for it."""
        self.loop.reasons = ["a thread lives"]
        self.selector.select(0)
        first = self.elapsed()
        while self.elapsed() == first:
            pass
        self.assertGreater(self.elapsed(), first)

    def test_signal_handler_schedules_a_callback(self):
        """Work that appeared during the look goes before the timer."""
        self.loop.ready = True
        self.assertEqual(self.selector.select(100), [])
        self.assertEqual(self.elapsed(), 0)

    def test_grace_is_waited_before_a_jump(self):
        """Where the system delivers with a delay, the last look waits that long."""
        selector = self.make(grace=0.01)
        real = time.perf_counter()
        selector.select(100)
        self.assertGreaterEqual(time.perf_counter() - real, 0.0075)
        self.assertEqual(self.elapsed(), 100)

    def test_data_is_held_back(self):
        """Data that the kernel holds back is waited for once, and again when something has changed."""
        answers = [((3, 1, 2),), ((3, 1, 2),), ((3, 1, 2),), ((3, 5, 9),), ((3, 5, 9),), ()]
        with (
            mock.patch.object(timekeeping, "held_back", lambda _descriptors: answers.pop(0)),
            mock.patch.object(timekeeping, "_KERNEL_PATIENCE", 0.01),
        ):
            for left, shortest in ((4, 0.0075), (3, 0.0), (1, 0.0075), (0, 0.0)):
                real = time.perf_counter()
                self.selector.select(100)
                self.assertGreaterEqual(time.perf_counter() - real, shortest)
                self.assertEqual(len(answers), left)

    def test_held_back_data_arrives(self):
        """When the data arrives within the patience the socket comes before the timer."""

        def held_back(_descriptors):
            self.theirs.send(b"x")
            return ((3, 1, 2),)

        with mock.patch.object(timekeeping, "held_back", held_back):
            self.assertEqual(len(self.selector.select(100)), 1)
        self.assertEqual(self.elapsed(), 0)

    def test_loop_spins(self):
        """A loop that does nothing but call back gets real time in the end, and stands again once it is quiet."""
        with mock.patch.object(timekeeping, "_SPINNING_SECONDS", 0.01):
            give_up = time.monotonic() + 30
            while not self.elapsed():
                self.selector.select(0)
                self.assertLess(time.monotonic(), give_up)
        self.selector.select(100)
        now = self.elapsed()
        self.selector.select(0)
        self.assertEqual(self.elapsed(), now)

    def test_loop_talks_without_a_pause(self):
        """Sockets that are always ready count as spinning too, only later."""
        self.theirs.send(b"x")
        with mock.patch.object(timekeeping, "_SPINNING_SECONDS", 0.0):
            for _ in range(3000):
                self.assertTrue(self.selector.select(100))
            self.assertEqual(self.elapsed(), 0)
            with mock.patch.object(timekeeping, "_TALKING_SECONDS", 0.01):
                give_up = time.monotonic() + 30
                while not self.elapsed():
                    self.assertTrue(self.selector.select(100))
                    self.assertLess(time.monotonic(), give_up)

    def test_registrations_are_those_of_the_selector_underneath(self):
        """What is registered, changed and removed is so underneath."""
        self.selector.modify(self.ours, selectors.EVENT_WRITE, "other")
        self.assertEqual(self.selector.get_key(self.ours).data, "other")
        self.assertEqual(len(self.selector.get_map()), 1)
        self.selector.unregister(self.ours)
        self.assertEqual(len(self.selector.get_map()), 0)
