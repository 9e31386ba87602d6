"""Tests of the virtual clock: how time jumps, and which loops have such a clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import sys
import threading
import time
import unittest
import warnings
from unittest import mock

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.virtual_time import clock
from tcpclient_testing.virtual_time.loop import VirtualClockEventLoop, is_virtual
from tcpclient_testing.virtual_time.policies import virtual_loop_factory, virtual_loops, virtual_policy
from tests.support.collecting import collect
from tests.support.long import LONG, lasting
from tests.support.virtual import HOUR, PYTHON, LoopTestCase, close, echo_server


class JumpTests(LoopTestCase):
    """Time that passes at once."""

    def test_sleep_takes_no_real_time(self):
        """An hour's sleep lasts exactly an hour of virtual time, and no time."""
        real = self.loop.real_time()
        self.run_in_loop(asyncio.sleep(HOUR))
        self.assertEqual(self.loop.virtual_time_elapsed, HOUR)
        self.assertLess(self.loop.real_time() - real, 30)

    def test_sleep_is_longer_than_a_day(self):
        """The day that asyncio waits at most in one go is no limit, nor does it spoil the sum."""
        self.run_in_loop(asyncio.sleep(400 * 86400))
        self.assertEqual(self.loop.virtual_time_elapsed, 400 * 86400)

    def test_timers_are_due_when_time_is_late(self):
        """Timers of an hour and of zero come at their time even where the clock counts in whole nanoseconds no more."""
        came = []

        async def main():
            for late in (2.0**24, 2.0**35):
                await asyncio.sleep(late)
                start, turns = self.loop.time(), 0
                self.loop.call_later(0, came.append, late)
                while not came:
                    await asyncio.sleep(0)
                    turns += 1
                self.assertLess(turns, 5)
                self.assertEqual(came.pop(), late)
                await asyncio.sleep(HOUR)
                self.assertEqual(self.loop.time() - start, HOUR)

        self.run_in_loop(main())

    def test_timers_come_in_order_when_there_are_very_many(self):
        """Thousands of timers come in the order of their times, each at its own time."""
        delays = [number / 8 for number in range(10_000 if LONG else 100 if clock.DEFAULT_GRACE else 2_000)]
        shuffled = random.Random(6).sample(delays, len(delays))
        came = []

        async def main():
            start = self.loop.time()
            for delay in shuffled:
                self.loop.call_later(delay, lambda delay=delay: came.append((delay, self.loop.time() - start)))
            await asyncio.sleep(delays[-1])

        self.run_in_loop(main())
        self.assertEqual(came, [(delay, delay) for delay in delays])

    def test_cancelled_timers_are_not_jumped_to(self):
        """Only a timer that is still wanted makes time pass."""

        async def main():
            for delay in range(1, 500):
                self.loop.call_later(delay, self.fail).cancel()
            await asyncio.sleep(HOUR)

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, HOUR)

    def test_timer_of_zero_takes_no_time(self):
        """Timers of zero and of the past come at once, in order, before those of the future."""
        came = []

        async def main():
            self.loop.call_later(1, came.append, "late")
            self.loop.call_later(0, came.append, "zero")
            self.loop.call_at(self.loop.time() - 5, came.append, "past")
            self.loop.call_soon(came.append, "soon")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.assertEqual(self.loop.virtual_time_elapsed, 0)
            await asyncio.sleep(1)

        self.run_in_loop(main())
        self.assertEqual(came, ["soon", "past", "zero", "late"])

    def test_time_stands_still_while_callbacks_run(self):
        """A computation, however long, makes no time-out fire."""

        async def compute():
            for _ in range(10):
                end = time.monotonic() + 0.002
                while time.monotonic() < end:
                    pass
                await asyncio.sleep(0)
            return "done"

        self.assertEqual(self.run_in_loop(asyncio.wait_for(compute(), 0.001)), "done")
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_wait_for_runs_out(self):
        """`asyncio.wait_for` runs out after its time, and cancels what it waited for."""
        cancelled = []

        async def wait():
            try:
                await asyncio.sleep(HOUR)
            except asyncio.CancelledError:
                cancelled.append(self.loop.virtual_time_elapsed)
                raise

        with self.assertRaises(asyncio.TimeoutError):
            self.run_in_loop(asyncio.wait_for(wait(), 30))
        self.assertEqual(cancelled, [30])

    @unittest.skipUnless(hasattr(asyncio, "timeout"), "new in Python 3.11")
    def test_timeout_runs_out(self):
        """`asyncio.timeout` runs out after its time, and not when what it covers is quicker."""

        async def main():
            async with asyncio.timeout(31):
                await asyncio.sleep(30)
            async with asyncio.timeout(30):
                await asyncio.sleep(31)

        with self.assertRaises(TimeoutError):
            self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 60)

    def test_sleeping_task_is_cancelled(self):
        """Cancelling a sleeper ends it at the time of the cancelling."""

        async def main():
            sleeper = asyncio.ensure_future(asyncio.sleep(HOUR))
            self.loop.call_later(5, sleeper.cancel)
            with self.assertRaises(asyncio.CancelledError):
                await sleeper

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 5)

    def test_task_that_spins_is_ended_by_its_timeout(self):
        """Polling without a pause gets real time in the end, so that a time-out around it can end it."""

        async def spin():
            while True:
                await asyncio.sleep(0)

        with mock.patch.object(clock, "_SPINNING_SECONDS", 0.02), self.assertRaises(asyncio.TimeoutError):
            self.run_in_loop(asyncio.wait_for(spin(), 0.05))

    def test_debug_mode_warns_of_no_slow_callback(self):
        """A jump is not taken for a slow callback."""
        self.loop.set_debug(True)
        records = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = records.append
        logging.getLogger("asyncio").addHandler(handler)
        self.addCleanup(logging.getLogger("asyncio").removeHandler, handler)

        async def main():
            for _ in range(100):
                await asyncio.sleep(HOUR)
            await self.loop.getaddrinfo("localhost", 1)

        self.run_in_loop(main())
        self.assertEqual(records, [])

    def test_grace_is_no_number_of_seconds(self):
        """A grace that can't be waited for is refused."""
        for grace in (-0.1, math.inf, math.nan):
            with self.subTest(grace=grace), self.assertRaisesRegex(ValueError, "grace is a number of seconds"):
                VirtualClockEventLoop(grace=grace)


class LifetimeTests(unittest.TestCase):
    """Loops that come and go."""

    @lasting
    def test_closed_loops_leave_nothing_behind(self):
        """Many loops, each made inside another's lifetime, leave no descriptor, thread or warning behind."""
        unraisable = []
        with mock.patch.object(sys, "unraisablehook", unraisable.append), warnings.catch_warnings():
            warnings.simplefilter("error")
            self.use_loop(2)
            collect(cycles=True)
            descriptors, threads = self.descriptors(), threading.active_count()
            for _ in range(50 if LONG else 12):
                self.use_loop(2)
            collect(cycles=True)
            self.assertEqual(self.descriptors(), descriptors)
            # The watchdog of a test before this one may end meanwhile.
            self.assertLessEqual(threading.active_count(), threads)
        self.assertEqual(unraisable, [])

    @staticmethod
    def descriptors():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def use_loop(self, depth):
        loop = virtual_loop_factory()
        try:
            if depth > 1:
                self.use_loop(depth - 1)
            loop.run_until_complete(self.talk())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
        self.assertTrue(loop.is_closed())

    async def talk(self):
        async with echo_server() as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"hello\n")
            await asyncio.wait_for(reader.readline(), 1)
            await asyncio.get_running_loop().run_in_executor(None, abs, 1)
            await asyncio.sleep(HOUR)
            await close(writer)

    def test_is_virtual_tells_loops_apart(self):
        """Only a loop of this library is virtual."""
        for factory, expected in ((virtual_loop_factory, True), (asyncio.SelectorEventLoop, False)):
            with contextlib.closing(factory()) as loop:
                self.assertIs(is_virtual(loop), expected)


class VirtualTimeMixin:
    """What a mixin for test cases needs."""

    virtual_time = True

    def run(self, result=None):
        """Run the test, on virtual time if it asks for that."""
        with virtual_loops(self) if self.virtual_time else contextlib.nullcontext():
            return super().run(result)


def isolated(**members):
    """Run a test case with the mixin, whose `test` and other members are given; give back the result."""
    case = type("Case", (VirtualTimeMixin, unittest.IsolatedAsyncioTestCase), members)("test")
    result = unittest.TestResult()
    case.run(result)
    return case, result


def present_policy():
    """Give the present policy, where policies are not deprecated."""
    return None if sys.version_info >= (3, 14) else asyncio.get_event_loop_policy()


class VirtualLoopsTests(unittest.TestCase):
    """Test cases on virtual time."""

    def setUp(self):
        before = present_policy()
        self.addCleanup(lambda: self.assertIs(present_policy(), before, "the policy was not put back"))

    def assert_passed(self, result):
        """Check that one test ran and passed."""
        self.assertEqual(result.failures + result.errors + result.skipped, [])
        self.assertEqual(result.testsRun, 1)

    def test_all_of_a_case_runs_on_virtual_time(self):
        """Set-up, test, tear-down and clean-ups run in one virtual loop; the case keeps no trace."""
        seen = []

        async def note(self):
            loop = asyncio.get_running_loop()
            await asyncio.sleep(HOUR)
            seen.append((is_virtual(loop), loop.virtual_time_elapsed))

        async def set_up(self):
            self.addAsyncCleanup(note, self)
            await note(self)

        case, result = isolated(asyncSetUp=set_up, test=note, asyncTearDown=note)
        self.assert_passed(result)
        self.assertEqual(seen, [(True, number * HOUR) for number in range(1, 5)])
        self.assertNotIn("loop_factory", vars(case))

    def test_case_wants_real_time(self):
        """A case with `virtual_time = False` runs in an ordinary loop."""
        seen = []

        async def test(_self):
            seen.append(is_virtual(asyncio.get_running_loop()))

        self.assert_passed(isolated(virtual_time=False, test=test)[1])
        self.assertEqual(seen, [False])

    def test_case_fails(self):
        """A failing case fails as ever, and leaves nothing behind."""

        async def test(self):
            await asyncio.sleep(HOUR)
            self.fail("as it should")

        _case, result = isolated(test=test)
        self.assertEqual(len(result.failures), 1)
        self.assertIn("as it should", result.failures[0][1])

    def test_case_starts_a_process(self):
        """A case on virtual time can run asyncio's processes: child watchers are as ever."""

        async def test(self):
            process = await asyncio.create_subprocess_exec(*PYTHON, "pass")
            self.assertEqual(await asyncio.wait_for(process.wait(), HOUR), 0)

        self.assert_passed(isolated(test=test)[1])

    @unittest.skipUnless(sys.version_info >= (3, 13), "before Python 3.13 a case could not choose its loop")
    def test_case_has_chosen_another_loop(self):
        """Virtual time and a loop of the case's own can't both be; a virtual one of its own can."""

        async def test(self):
            self.assertIsInstance(asyncio.get_running_loop(), VirtualClockEventLoop)

        with self.assertRaisesRegex(ScriptError, r"Case\.loop_factory is .*SelectorEventLoop.*; remove one of the two"):
            isolated(test=test, loop_factory=asyncio.SelectorEventLoop)
        for factory in (type("Mine", (VirtualClockEventLoop,), {}), staticmethod(virtual_loop_factory)):
            self.assert_passed(isolated(test=test, loop_factory=factory)[1])

    @unittest.skipIf(sys.version_info >= (3, 14), "policies are deprecated")
    def test_other_loops_of_the_block_are_virtual(self):
        """Without a case, whatever makes a new loop inside the block gets a virtual one, and no longer after it."""
        with virtual_loops():
            elapsed = asyncio.run(self.sleep())
            with contextlib.closing(asyncio.new_event_loop()) as loop:
                self.assertTrue(is_virtual(loop))
        # The thread in which asyncio waited for the process of the test before (until 3.11) may be ending only now;
        # while it lives, time is real.
        self.assertAlmostEqual(elapsed, HOUR, delta=1)
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            self.assertFalse(is_virtual(loop))

    @staticmethod
    async def sleep():
        await asyncio.sleep(HOUR)
        return asyncio.get_running_loop().virtual_time_elapsed

    @unittest.skipIf(sys.version_info >= (3, 14), "policies are deprecated")
    def test_policy_set_inside_the_block_stays(self):
        """Somebody who sets a policy inside the block means it."""
        before, other = asyncio.get_event_loop_policy(), asyncio.DefaultEventLoopPolicy()
        try:
            with virtual_loops():
                asyncio.set_event_loop_policy(other)
            self.assertIs(asyncio.get_event_loop_policy(), other)
        finally:
            asyncio.set_event_loop_policy(before)

    @unittest.skipIf(sys.version_info >= (3, 14), "policies are deprecated")
    def test_policy_is_the_one_before_in_all_else(self):
        """The policy hands everything but new loops on to the one that it builds on."""
        policy = virtual_policy(asyncio.DefaultEventLoopPolicy())
        with contextlib.closing(policy.new_event_loop()) as loop:
            self.assertTrue(is_virtual(loop))
            policy.set_event_loop(loop)
            self.assertIs(policy.get_event_loop(), loop)
            policy.set_event_loop(None)

    @unittest.skipUnless(sys.version_info >= (3, 14), "policies still serve")
    def test_policy_is_refused_where_they_are_deprecated(self):
        """Where policies are deprecated the error says what to do instead."""
        with self.assertRaisesRegex(ScriptError, "pass loop_factory="), virtual_loops():
            self.fail("the block was entered")
        with self.assertRaisesRegex(ScriptError, "pass loop_factory="):
            virtual_policy()
