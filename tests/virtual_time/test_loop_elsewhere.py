"""Tests of the virtual clock while work is done elsewhere: in executors, threads, processes and signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from tcpclient_testing import ThreadedMockTCPServer
from tcpclient_testing.aio.process.quiescence import child_lives, own_thread
from tcpclient_testing.aio.sockets.polling import TICK
from tests.support.long import LONG
from tests.support.platforms import needs_fine_clock
from tests.support.virtual import HOUR, PYTHON, THOUSAND, LoopTestCase, close, echo, echo_server


class ExecutorTests(LoopTestCase):
    """Time is real while a job is in an executor."""

    def test_job_comes_before_the_timer(self):
        """A job that takes real time is done before a time-out of an hour."""

        async def main():
            job = self.loop.run_in_executor(None, self.work, 0.02)
            self.assertEqual(self.loop.why_real(), "a job is in an executor")
            self.assertEqual(await asyncio.wait_for(job, HOUR), "worked")
            self.assertTrue(0 < self.loop.virtual_time_elapsed < HOUR / 2)

        self.run_in_loop(main())

    @staticmethod
    def work(seconds):
        time.sleep(seconds)
        return "worked"

    def test_name_is_looked_up(self):
        """A look-up of a name is a job: it comes before the timer. 0 wrong of many."""

        async def main():
            for _ in range(THOUSAND // 10):
                await asyncio.wait_for(self.loop.getaddrinfo("localhost", 80), HOUR)

        self.run_in_loop(main())
        self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)

    def test_short_jobs_race_the_timer(self):
        """However a job's end and the timer meet, the job wins: 0 wrong of many."""

        async def main():
            for number in range(THOUSAND):
                self.assertEqual(await asyncio.wait_for(self.loop.run_in_executor(None, abs, number), HOUR), number)

        self.run_in_loop(main())
        self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)

    def test_idle_workers_let_time_jump(self):
        """When the jobs are done, time jumps again although the workers live."""

        async def main():
            await asyncio.gather(*(self.loop.run_in_executor(None, self.work, 0.01) for _ in range(3)))
            self.assertGreater(threading.active_count(), 1)
            self.assertIsNone(self.loop.why_real())
            await asyncio.sleep(HOUR)

        self.run_in_loop(main())
        self.assertGreaterEqual(self.loop.virtual_time_elapsed, HOUR)

    def test_job_outlives_the_task_that_awaited_it(self):
        """A job counts until it has ended, even if nobody waits for it any more."""
        begun, go_on = threading.Event(), threading.Event()

        def job():
            begun.set()
            go_on.wait()

        async def main():
            waiter = asyncio.ensure_future(self.loop.run_in_executor(None, job))
            begun.wait(10)  # a job that has not begun could still be cancelled
            waiter.cancel()
            await asyncio.wait([waiter])
            self.assertEqual(self.loop.why_real(), "a job is in an executor")
            before = self.loop.time()
            await asyncio.sleep(0.01)
            self.assertGreaterEqual(self.loop.time() - before, 0.01)
            go_on.set()
            while self.loop.why_real() is not None:
                await asyncio.sleep(0)

        try:
            self.run_in_loop(main())
        finally:
            go_on.set()

    def test_job_that_never_began_is_cancelled(self):
        """A job that was cancelled in the queue does not count."""
        go_on = threading.Event()

        async def main():
            self.loop.set_default_executor(ThreadPoolExecutor(1))
            first = self.loop.run_in_executor(None, go_on.wait)
            second = self.loop.run_in_executor(None, self.fail)
            second.cancel()
            go_on.set()
            await first
            await asyncio.wait([second])
            self.assertIsNone(self.loop.why_real())

        try:
            self.run_in_loop(main())
        finally:
            go_on.set()

    def test_job_raises(self):
        """What a job raises comes out where it is awaited, and the job no longer counts."""

        async def main():
            with self.assertRaises(ZeroDivisionError):
                await self.loop.run_in_executor(None, divmod, 1, 0)
            self.assertIsNone(self.loop.why_real())

        self.run_in_loop(main())

    def test_executor_of_somebody_else_keeps_time_real(self):
        """Workers of an executor that others can use too count as threads, until they have ended."""

        async def main():
            with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
                self.assertEqual(await self.loop.run_in_executor(pool, abs, -1), 1)
                self.assertRegex(self.loop.why_real(), "^thread 'pool_0' lives$")
            self.assertIsNone(self.loop.why_real())

        self.run_in_loop(main())

    def test_loop_has_shut_its_executor_down(self):
        """A job after `shutdown_default_executor()` is refused, as by any loop."""

        async def main():
            await self.loop.shutdown_default_executor()
            with self.assertRaisesRegex(RuntimeError, "shutdown"):
                self.loop.run_in_executor(None, abs, 1)

        self.run_in_loop(main())


class ThreadTests(LoopTestCase):
    """Time is real while another thread lives."""

    def start(self, target):
        thread = threading.Thread(target=target, name="other")
        self.addCleanup(thread.join)
        thread.start()
        return thread

    def test_call_from_a_thread_comes_before_the_timer(self):
        """What a thread does with `call_soon_threadsafe`, sooner or later, comes before a time-out of an hour."""

        async def main():
            for pause in [0.01] + (200 if LONG else 50) * [0]:
                event = asyncio.Event()

                def act(event=event, pause=pause):
                    time.sleep(pause)
                    self.loop.call_soon_threadsafe(event.set)

                self.start(act)
                await asyncio.wait_for(event.wait(), HOUR)

        self.run_in_loop(main())
        self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)

    def test_timers_pass_in_real_time(self):
        """Timers take their time while a thread lives, and time goes on from where it was, without a jump back."""
        over = threading.Event()

        async def main():
            await asyncio.sleep(HOUR)
            self.start(over.wait)
            self.assertEqual(self.loop.why_real(), "thread 'other' lives")
            real, times = time.monotonic(), [self.loop.virtual_time_elapsed]
            for _ in range(5):
                await asyncio.sleep(0.004)
                times.append(self.loop.virtual_time_elapsed)
            passed = time.monotonic() - real
            over.set()
            self.assertEqual(times, sorted(times))
            self.assertEqual(times[0], HOUR)
            self.assertGreaterEqual(passed, 0.02)
            self.assertTrue(0.02 <= times[-1] - HOUR <= passed, (times, passed))

        try:
            self.run_in_loop(main())
        finally:
            over.set()

    def test_time_jumps_on_when_the_thread_has_ended(self):
        """A sleep that began in real time is cut short when the last thread ends, and is as long as it should be."""

        async def main():
            before = self.loop.time()
            self.start(lambda: time.sleep(0.02))
            await asyncio.sleep(HOUR)
            self.assertEqual(self.loop.time() - before, HOUR)

        self.run_in_loop(main())

    def test_server_in_a_thread_is_waited_for(self):
        """A peer that lives in a thread is as slow as it is: no time-out of ours comes before its answer."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve():
                connection, _ = listener.accept()
                with connection:
                    for _ in range(5):
                        line = connection.recv(100)
                        time.sleep(0.004)
                        connection.sendall(line)

            self.start(serve)

            async def main():
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                for _ in range(5):
                    writer.write(b"hello\n")
                    self.assertEqual(await asyncio.wait_for(reader.readline(), HOUR), b"hello\n")
                await close(writer)

            self.run_in_loop(main())
        self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)

    def test_thread_set_aside_lets_time_jump(self):
        """A thread of the library's own does not hold time up."""
        over = threading.Event()
        thread = own_thread(threading.Thread(target=over.wait))
        thread.start()
        try:
            self.run_in_loop(asyncio.sleep(HOUR))
        finally:
            over.set()
            thread.join()
        self.assertEqual(self.loop.virtual_time_elapsed, HOUR)

    def test_loop_without_timers_blocks(self):
        """Without a timer, or with none before the end of time, the loop waits, as any loop does, and does not spin."""

        async def main(endless):
            event = asyncio.Event()
            thread = own_thread(threading.Timer(0.03, self.loop.call_soon_threadsafe, (event.set,)))
            with mock.patch.object(self.loop, "_run_once", wraps=self.loop._run_once) as turns:
                thread.start()
                if endless:
                    await asyncio.wait_for(event.wait(), math.inf)
                else:
                    await event.wait()
                thread.join()
            self.assertLess(turns.call_count, 20)

        self.run_in_loop(main(endless=False))
        self.run_in_loop(main(endless=True))
        self.assertTrue(0.045 - 2 * TICK < self.loop.virtual_time_elapsed < HOUR)

    @needs_fine_clock
    def test_event_of_a_thread_is_looked_out_for_without_timers(self):
        """A loop that has nothing else to do looks now and then, at a bounded rate."""
        looks = []

        async def main():
            event = threading.Event()
            thread = own_thread(threading.Timer(0.05, event.set))
            thread.start()
            await self.loop.wait_until(lambda: looks.append(1) or event.is_set())
            thread.join()

        self.run_in_loop(main())
        self.assertTrue(0.045 - 2 * TICK < self.loop.virtual_time_elapsed < HOUR)
        self.assertLess(len(looks), 40)

    def test_what_is_looked_out_for_raises(self):
        """The exception comes out where it is waited for, and is asked for no longer."""
        async def main():
            answers = [False]
            with self.assertRaises(IndexError):
                await self.loop.wait_until(answers.pop)
            await asyncio.sleep(HOUR)

        self.run_in_loop(main())

    def test_clock_is_held(self):
        """Inside `hold()` time is real, for the reason given; holds may be nested."""

        async def main():
            with self.loop.hold("a device"), self.loop.hold():
                self.assertEqual(self.loop.why_real(), "the clock is held")
                real = time.monotonic()
                await asyncio.sleep(0.02)
                self.assertGreaterEqual(time.monotonic() - real, 0.02)
            self.assertIsNone(self.loop.why_real())

        self.run_in_loop(main())


@unittest.skipUnless(hasattr(os, "waitid") or sys.platform == "linux", "children can't be asked for here")
class SubprocessTests(LoopTestCase):
    """Time is real while a child process lives."""

    def test_output_of_a_process_comes_before_the_timer(self):
        """A process of asyncio's own is waited for in real time; afterwards time jumps again."""

        async def main():
            process = await asyncio.create_subprocess_exec(
                *PYTHON, "import time; time.sleep(0.03); print('done')", stdout=subprocess.PIPE
            )
            self.assertEqual(self.loop.why_real() is not None, True)
            output, _ = await asyncio.wait_for(process.communicate(), HOUR)
            self.assertEqual(output.strip(), b"done")
            self.assertEqual(process.returncode, 0)
            self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)
            await asyncio.sleep(HOUR)

        if sys.version_info < (3, 12):
            watcher = asyncio.ThreadedChildWatcher()  # the default one, without a loop or thread left from other tests
            self.addCleanup(asyncio.set_child_watcher, None)
            asyncio.set_child_watcher(watcher)
        self.run_in_loop(main())
        self.assertGreaterEqual(self.loop.virtual_time_elapsed, HOUR)
        self.assertFalse(child_lives())

    def test_client_in_a_process_is_waited_for(self):
        """A client in a process that `subprocess.Popen` made comes before the server's time-out of an hour."""
        code = (
            "import socket, sys, time\n"
            "time.sleep(0.03)\n"
            "with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as s:\n"
            "    s.sendall(b'hello\\n'); time.sleep(0.02); assert s.recv(100) == b'hello\\n'\n"
        )

        async def main():
            served = asyncio.Event()

            async def handler(reader, writer):
                await echo(reader, writer)
                served.set()

            async with echo_server(handler) as address:
                with subprocess.Popen([*PYTHON, code, str(address[1])]) as process:
                    self.assertEqual(self.loop.why_real(), "a child process lives")
                    await asyncio.wait_for(served.wait(), HOUR)
                self.assertEqual(process.returncode, 0)
            self.assertIsNone(self.loop.why_real())

        self.run_in_loop(main())
        self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)


@unittest.skipUnless(hasattr(signal, "setitimer"), "needs Unix signals")
class SignalTests(LoopTestCase):
    """Signals, above all the user's Ctrl-C."""

    def setUp(self):
        super().setUp()
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, signal.default_int_handler))
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)

    def interrupt_soon(self):
        """Let the user interrupt the loop once it runs: one that only begins to stays marked as running."""
        self.loop.call_soon(signal.setitimer, signal.ITIMER_REAL, 0.02)

    def test_interrupt_ends_a_loop_that_blocks(self):
        """KeyboardInterrupt comes out of a loop that has nothing to do, and of one that waits in real time."""
        for held in (False, True):
            with self.subTest(held=held), contextlib.ExitStack() as stack:
                if held:
                    stack.enter_context(self.loop.hold())
                    timer = self.loop.call_later(HOUR, self.loop.stop)
                    stack.callback(timer.cancel)
                self.interrupt_soon()
                with self.assertRaises(KeyboardInterrupt):
                    self.loop.run_forever()

    def test_interrupt_comes_between_jumps(self):
        """KeyboardInterrupt comes out of a loop that jumps from timer to timer."""

        def tick():
            self.loop.call_later(HOUR, tick)

        tick()
        self.interrupt_soon()
        with self.assertRaises(KeyboardInterrupt):
            self.loop.run_forever()

    def test_interrupt_is_raised_in_a_callback(self):
        """KeyboardInterrupt raised at a virtual time comes out at that time."""
        self.loop.call_later(HOUR, signal.raise_signal, signal.SIGINT)
        with self.assertRaises(KeyboardInterrupt):
            self.loop.run_forever()
        self.assertEqual(self.loop.virtual_time_elapsed, HOUR)

    def test_signal_handler_of_the_loop_comes_before_the_timer(self):
        """A handler of `add_signal_handler` is called before a timer when the signal was raised before."""
        came = []
        self.loop.add_signal_handler(signal.SIGALRM, came.append, "signal")

        async def main():
            signal.raise_signal(signal.SIGALRM)
            await asyncio.sleep(HOUR)
            came.append("timer")

        self.run_in_loop(main())
        self.assertEqual(came, ["signal", "timer"])

    def test_plain_signal_handler_cancels_a_task(self):
        """What a handler of `signal.signal` does to the loop takes effect at once, not at the next timer."""

        async def main():
            sleeper = asyncio.ensure_future(asyncio.sleep(HOUR))
            signal.signal(signal.SIGALRM, lambda *_: sleeper.cancel())
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with self.loop.hold(), self.assertRaises(asyncio.CancelledError):
                await sleeper

        self.run_in_loop(main())
        self.assertLess(self.loop.virtual_time_elapsed, HOUR / 2)


class ServerTests(LoopTestCase):
    """Servers in threads beside a loop on virtual time."""

    def test_server_that_nobody_uses(self):
        """One that is shared by many tests, and waits for the next, doesn't keep time real. One that is used does."""
        with ThreadedMockTCPServer() as server:
            async def main():
                self.assertIsNone(self.loop.why_real())
                began = time.monotonic()
                await asyncio.sleep(HOUR)
                self.assertLess(time.monotonic() - began, HOUR / 2)
                server.expect_connect()
                server.expect_disconnect()
                self.assertEqual(self.loop.why_real(), "thread 'tcpclient_testing server' lives")
                with socket.create_connection(server.address):
                    pass
                await server.clear()
                self.assertIsNone(self.loop.why_real())

            self.run_in_loop(main())
