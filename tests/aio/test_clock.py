"""Tests of the event loop on virtual time, with real sockets, threads and processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import warnings
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from tcpclient_testing.aio import timekeeping
from tcpclient_testing.aio.clock import (
    VirtualClockEventLoop,
    is_virtual,
    own_thread,
    virtual_loop_factory,
    virtual_loops,
    virtual_policy,
)
from tcpclient_testing.aio.quiet import child_lives
from tcpclient_testing.errors import ScriptError
from tests.support.long import LONG

HOUR = 3600.0
THOUSAND = 1000 if LONG else 50
PYTHON = [sys.executable, "-S", "-E", "-c"]


async def echo(reader, writer):
    """Serve a connection: every line comes back."""
    with contextlib.suppress(ConnectionError):
        async for line in reader:
            writer.write(line)
    writer.close()


@contextlib.asynccontextmanager
async def echo_server(handler=echo):
    """Serve in the running loop; the value is the address."""
    handlers = []

    async def handle(reader, writer):
        handlers.append(asyncio.current_task())
        await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        if handlers:
            await asyncio.wait(handlers)


async def close(writer):
    """Close a stream and wait until it is closed."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


class LoopTestCase(unittest.TestCase):
    """Runs coroutines in a virtual loop of the test's own, and closes it as asyncio.run() does."""

    def setUp(self):
        self.loop = virtual_loop_factory()
        self.addCleanup(self.close)

    def close(self):
        """Close the loop, and what runs in it."""
        if not self.loop.is_closed():
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def run_in_loop(self, coroutine):
        """Run until the coroutine is done; 60 real seconds at most, and no exception may be left to the loop."""
        lost = []
        self.loop.set_exception_handler(lambda _loop, context: lost.append(context))
        watchdog = own_thread(threading.Timer(60, os.kill, (os.getpid(), signal.SIGABRT)))
        watchdog.start()
        try:
            return self.loop.run_until_complete(coroutine)
        finally:
            watchdog.cancel()
            watchdog.join()
            self.assertEqual(lost, [])


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
        delays = [number / 8 for number in range(10_000 if LONG else 2_000)]
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

        with mock.patch.object(timekeeping, "_SPINNING_SECONDS", 0.02), self.assertRaises(asyncio.TimeoutError):
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


class SocketTests(LoopTestCase):
    """Time and real connections in the same process."""

    def test_reply_comes_before_the_timer_every_time(self):
        """A reply that is under way comes before any timer, however short: 0 wrong of many."""

        async def main():
            async with echo_server() as address:
                reader, writer = await asyncio.open_connection(*address)
                for number in range(THOUSAND):
                    line = b"%d\n" % number
                    writer.write(line)
                    self.assertEqual(await asyncio.wait_for(reader.readline(), 1e-6), line)
                await close(writer)

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_many_connections_race_their_timers(self):
        """Of 20 clients at once, reconnecting, none loses a reply to a timer: 0 wrong of many."""

        async def client(address):
            for number in range(THOUSAND // 20):
                reader, writer = await asyncio.wait_for(asyncio.open_connection(*address), 1e-6)
                writer.write(b"%d\n" % number)
                self.assertEqual(await asyncio.wait_for(reader.readline(), 1e-6), b"%d\n" % number)
                await close(writer)

        async def main():
            async with echo_server() as address:
                await asyncio.gather(*(client(address) for _ in range(20)))

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_large_reply_comes_before_the_timer(self):
        """Megabytes that go through full buffers, both ways at once, come before the timer."""
        size = 4_000_000

        async def main():
            async def handler(reader, writer):
                writer.write(bytes(size))
                await reader.readexactly(size)
                await writer.drain()
                writer.close()

            async with echo_server(handler) as address:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(bytes(size))
                self.assertEqual(len(await asyncio.wait_for(reader.readexactly(size), 1e-6)), size)
                await close(writer)

        for _ in range(5 if LONG else 1):
            self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)

    def test_an_hour_of_backing_off_takes_no_time(self):
        """A client that tries again after 1, 2, 4 ... seconds succeeds after an hour, many hours in a row."""

        async def client(address, events):
            delay = 1
            while True:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"hello\n")
                with contextlib.suppress(ConnectionError):
                    line = await asyncio.wait_for(reader.readline(), 30)
                    if line:
                        events.append((self.loop.time(), line))
                        await close(writer)
                        return
                events.append((self.loop.time(), b""))
                await close(writer)
                await asyncio.sleep(delay)
                delay *= 2

        async def hour():
            attempts = []

            async def handler(reader, writer):
                attempts.append(self.loop.time())
                if len(attempts) > 11:
                    await echo(reader, writer)
                else:
                    await reader.readline()
                    writer.close()

            start, events = self.loop.time(), []
            async with echo_server(handler) as address:
                await client(address, events)
            times = [float(2**number - 1) for number in range(12)]
            self.assertEqual([when - start for when in attempts], times)
            self.assertEqual(
                [(when - start, line) for when, line in events],
                [*((when, b"") for when in times[:-1]), (times[-1], b"hello\n")],
            )

        real = time.monotonic()
        hours = 100 if LONG else 3
        for _ in range(hours):
            self.run_in_loop(hour())
        self.assertEqual(self.loop.virtual_time_elapsed, hours * 2047)
        self.assertLess(time.monotonic() - real, 60)

    def test_silent_server_runs_into_the_timeout(self):
        """A reply that never comes costs its time-out in virtual time only."""

        async def silent(reader, writer):
            await reader.read()
            writer.close()

        async def main():
            async with echo_server(silent) as address:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"hello\n")
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.readline(), HOUR)
                await close(writer)

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, HOUR)

    def test_writer_that_is_not_read_runs_into_the_timeout(self):
        """A client whose writes block for an hour is left to its time-out; what was written arrives afterwards."""
        size = 20_000_000

        async def main():
            received = []

            async def late(reader, writer):
                writer.transport.pause_reading()
                await asyncio.sleep(2 * HOUR)
                writer.transport.resume_reading()
                received.append(len(await reader.read(-1)))
                writer.close()

            async with echo_server(late) as address:
                _reader, writer = await asyncio.open_connection(*address)
                writer.write(bytes(size))
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(writer.drain(), HOUR)
                self.assertEqual(self.loop.virtual_time_elapsed, HOUR)
                await close(writer)
            self.assertEqual(received, [size])

        with mock.patch.object(timekeeping, "_KERNEL_PATIENCE", 0.05):
            self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 2 * HOUR)

    @unittest.skipUnless(sys.platform == "linux", "asks the Linux kernel")
    def test_write_held_back_by_the_kernel_comes_before_the_timer(self):
        """A request that Nagle's algorithm holds back for 40 real milliseconds, and its reply, come before a timer."""

        async def main():
            async with echo_server() as address:
                with socket.socket() as client:
                    client.setblocking(False)
                    await self.loop.sock_connect(client, address)
                    for number in range(30):
                        await self.loop.sock_sendall(client, b"%d\n" % number)
                        await asyncio.wait_for(self.loop.sock_recv(client, 100), 1)
                    for _ in range(3 if LONG else 1):
                        await self.loop.sock_sendall(client, b"in two ")
                        await self.loop.sock_sendall(client, b"parts\n")
                        self.assertEqual(await asyncio.wait_for(self.loop.sock_recv(client, 100), 1), b"in two parts\n")

        self.run_in_loop(main())
        self.assertEqual(self.loop.virtual_time_elapsed, 0)


class ExecutorTests(LoopTestCase):
    """Time is real while a job is in an executor."""

    def test_job_comes_before_the_timer(self):
        """A job that takes real time is done before a time-out of an hour."""

        async def main():
            job = self.loop.run_in_executor(None, self.work, 0.05)
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
        go_on = threading.Event()

        async def main():
            waiter = asyncio.ensure_future(self.loop.run_in_executor(None, go_on.wait))
            await asyncio.sleep(0)
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
            for pause in [0.03] + 200 * [0]:
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
                await asyncio.sleep(0.01)
                times.append(self.loop.virtual_time_elapsed)
            passed = time.monotonic() - real
            over.set()
            self.assertEqual(times, sorted(times))
            self.assertEqual(times[0], HOUR)
            self.assertGreaterEqual(passed, 0.05)
            self.assertTrue(0.05 <= times[-1] - HOUR <= passed, (times, passed))

        try:
            self.run_in_loop(main())
        finally:
            over.set()

    def test_time_jumps_on_when_the_thread_has_ended(self):
        """A sleep that began in real time is cut short when the last thread ends, and is as long as it should be."""

        async def main():
            before = self.loop.time()
            self.start(lambda: time.sleep(0.05))
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
                        time.sleep(0.01)
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
            thread = own_thread(threading.Timer(0.1, self.loop.call_soon_threadsafe, (event.set,)))
            computed = time.process_time()
            thread.start()
            if endless:
                await asyncio.wait_for(event.wait(), math.inf)
            else:
                await event.wait()
            thread.join()
            self.assertLess(time.process_time() - computed, 0.09)

        self.run_in_loop(main(endless=False))
        self.run_in_loop(main(endless=True))
        self.assertTrue(0.15 < self.loop.virtual_time_elapsed < HOUR)

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


@unittest.skipUnless(hasattr(os, "waitid"), "children can't be asked for here")
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

    def test_interrupt_ends_a_loop_that_blocks(self):
        """KeyboardInterrupt comes out of a loop that has nothing to do, and of one that waits in real time."""
        for held in (False, True):
            with self.subTest(held=held), contextlib.ExitStack() as stack:
                if held:
                    stack.enter_context(self.loop.hold())
                    timer = self.loop.call_later(HOUR, self.loop.stop)
                    stack.callback(timer.cancel)
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with self.assertRaises(KeyboardInterrupt):
                    self.loop.run_forever()

    def test_interrupt_comes_between_jumps(self):
        """KeyboardInterrupt comes out of a loop that jumps from timer to timer."""

        def tick():
            self.loop.call_later(HOUR, tick)

        tick()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
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


class LifetimeTests(unittest.TestCase):
    """Loops that come and go."""

    def test_closed_loops_leave_nothing_behind(self):
        """Many loops, each made inside another's lifetime, leave no descriptor, thread or warning behind."""
        unraisable = []
        with mock.patch.object(sys, "unraisablehook", unraisable.append), warnings.catch_warnings():
            warnings.simplefilter("error")
            self.use_loop(2)
            gc.collect()
            descriptors, threads = self.descriptors(), threading.active_count()
            for _ in range(50 if LONG else 12):
                self.use_loop(2)
            gc.collect()
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


del LoopTestCase  # it holds no tests of its own
