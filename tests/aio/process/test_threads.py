"""Tests of which threads let virtual time jump although they live: those of tools, and those at rest since before."""

from __future__ import annotations

import _thread
import asyncio
import importlib.util
import queue
import select
import socket
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from tcpclient_testing.aio.process import threads
from tcpclient_testing.aio.process.quiescence import living_thread
from tcpclient_testing.server.server import MockTCPServer
from tcpclient_testing.virtual_time.loop import VirtualClockEventLoop
from tests.support.long import LONG
from tests.support.platforms import needs_threads
from tests.support.virtual import HOUR

ASKS_THE_KERNEL = unittest.skipUnless(threads._FUTEX, "needs Linux, and the number of its system call")
REST = 0.01


def run_on_virtual_time(coroutine):
    """Run in a new loop; the virtual seconds that it took."""
    loop = VirtualClockEventLoop()
    try:
        loop.run_until_complete(coroutine)
        return loop.virtual_time_elapsed
    finally:
        loop.close()


@needs_threads
class BystanderTestCase(unittest.TestCase):
    """Starts threads that end with the test."""

    def setUp(self):
        self.over = threading.Event()

    def start(self, target, *, daemon=True, **options):
        """Start a thread that ends once the test is over."""
        thread = threading.Thread(target=target, daemon=daemon, **options)
        self.addCleanup(thread.join, 10)
        self.addCleanup(self.over.set)
        thread.start()
        return thread


@ASKS_THE_KERNEL
class SleepsTests(BystanderTestCase):
    """Which threads are at rest."""

    def at_rest(self, thread, within=10):
        """Whether the thread comes to rest within so many seconds."""
        # The first look that finds it at rest counts: a thread may wake for no reason.
        with mock.patch.object(threads, "_REST", REST):
            until = time.monotonic() + within
            while not threads.sleeps(thread):
                if time.monotonic() >= until:
                    return False
                time.sleep(0.002)
            return True

    def test_thread_that_waits_without_a_limit_is_at_rest(self):
        """An event, a queue, a lock in threading's code: only another thread can end it."""
        items, simple = queue.Queue(), queue.SimpleQueue()
        for name, target, end in (("event", self.over.wait, self.over.set), ("queue", items.get, lambda: items.put(1))):
            with self.subTest(name):
                thread = self.start(target)
                self.assertTrue(self.at_rest(thread))
                end()
                thread.join()
        simple.put(1)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(simple.get).result()
            self.assertTrue(self.at_rest(next(iter(pool._threads))))

    def test_thread_that_may_act_by_itself_is_not(self):
        """A time limit, a sleep, a socket, a pipe, a library's own waiting: nobody needs to wake it."""
        left, right = socket.socketpair()
        lock = _thread.allocate_lock()
        lock.acquire()
        acting = {name: self.start(target) for name, target in (
            ("limit", lambda: self.over.wait(60)), ("sleep", lambda: time.sleep(0.06)),
            ("socket", lambda: left.recv(1)), ("select", lambda: select.select([left], [], [])),
            ("lock", lock.acquire), ("computing", self.compute))}
        with mock.patch.object(threads, "_REST", REST):
            until, at_rest = time.monotonic() + 3 * REST, set()
            while time.monotonic() < until:
                at_rest |= {name for name, thread in acting.items() if threads.sleeps(thread)}
                time.sleep(0.002)
        self.assertEqual(at_rest, set())
        lock.release()
        right.sendall(b"xx")
        self.doCleanups()
        left.close()
        right.close()

    @unittest.skipUnless(importlib.util.find_spec("trio"), "needs trio")
    def test_worker_of_trio_is_at_rest_between_its_jobs(self):
        """It waits for a job for ten seconds, and then it ends: that is no act of its own."""
        from trio._core._thread_cache import start_thread_soon

        workers, done = [], threading.Event()
        began = threading.Event()

        def work():
            workers.append(threading.current_thread())
            began.set()
            self.over.wait(60)

        start_thread_soon(work, lambda result: done.set())
        began.wait()
        self.addCleanup(workers[0].join, 10)
        self.assertFalse(self.at_rest(workers[0], 3 * REST))
        with mock.patch("trio._core._thread_cache.IDLE_TIMEOUT", 0.5):  # seconds, not ten, since it is waited for
            self.over.set()
            done.wait()
            self.assertTrue(self.at_rest(workers[0]))

    def compute(self):
        while not self.over.is_set():
            pass

    def test_thread_is_at_rest_only_after_a_while(self):
        """What it did last may be under way for as long as that."""
        thread = self.start(self.over.wait)
        with mock.patch.object(threads, "_REST", 60):
            time.sleep(REST)
            threads.sleeps(thread)
            time.sleep(REST)
            self.assertFalse(threads.sleeps(thread))

    def test_thread_that_was_woken_is_not_at_rest(self):
        """From the instant at which it is woken it counts, though it has not run yet."""
        items = queue.Queue()

        def serve():
            while items.get() is not None:
                pass

        thread = self.start(serve)
        self.addCleanup(items.put, None)
        for _ in range(50 if LONG else 5):
            self.assertTrue(self.at_rest(thread))
            items.put(1)
            self.assertFalse(threads.sleeps(thread))

    def test_thread_that_waits_for_a_processor_is_not_at_rest(self):
        """Once woken it is shown as running, and in the call that it has not left yet."""
        thread = self.start(self.over.wait)
        self.assertTrue(self.at_rest(thread))
        with mock.patch.object(threads, "_state", return_value=b"R"):
            self.assertFalse(threads.sleeps(thread))
        self.assertTrue(self.at_rest(thread))

    def test_kernel_does_not_tell(self):
        """Where nothing is known, no thread is at rest."""
        thread = self.start(self.over.wait)
        for patch in (mock.patch.object(threads, "_FUTEX", None),
                      mock.patch.object(threads, "_read", side_effect=PermissionError)):
            with patch:
                self.assertFalse(self.at_rest(thread, 2 * REST))


class ToolsTests(BystanderTestCase):
    """Threads of tools that run tests."""

    def running_in(self, module):
        """A function of that module, which waits until the test is over."""
        began = threading.Event()
        space = {"__name__": module, "over": self.over, "began": began}
        exec("def work():\n    began.set()\n    while not over.wait(0.01):\n        pass", space)
        return space["work"], began

    def test_thread_of_xdist_is_not_counted(self):
        """The receiver of pytest-xdist's workers is none of threading's."""
        before = _thread._count()
        work, began = self.running_in("execnet.gateway_base")
        self.addCleanup(self.wait_for_count, before)
        self.addCleanup(self.over.set)
        _thread.start_new_thread(work, ())
        began.wait()
        self.assertIsNone(living_thread())

    def test_thread_of_rerunfailures_is_not_counted(self):
        """The thread in which pytest-rerunfailures counts for the workers of pytest-xdist serves no test."""
        before = _thread._count()
        work, began = self.running_in("pytest_rerunfailures")
        self.addCleanup(self.wait_for_count, before)
        self.addCleanup(self.over.set)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        began.wait()
        self.assertTrue(threads.is_tools_thread(thread))

    def wait_for_count(self, count):
        while _thread._count() > count:
            time.sleep(0.001)

    def test_thread_object_of_a_tool_is_not_counted(self):
        """Nor is one that has a Thread object, or was made by threading.Timer."""
        work, began = self.running_in("_pydevd_bundle.pydevd_comm")
        self.start(work)
        began.wait()
        self.assertIsNone(living_thread())
        function, _ = self.running_in("pytest_timeout")
        timer = threading.Timer(60, function)
        timer.start()
        self.addCleanup(timer.join)
        self.addCleanup(timer.cancel)
        self.assertIsNone(living_thread())

    def test_thread_of_anybody_else_is_counted(self):
        """A name that begins alike is another's."""
        work, began = self.running_in("execnetish.client")
        self.start(work, name="client")
        began.wait()
        self.assertEqual(living_thread(), "thread 'client' lives")


@ASKS_THE_KERNEL
class StandingThreadTests(BystanderTestCase):
    """What a loop makes of threads that lived before it."""

    def setUp(self):
        super().setUp()
        for patch in (mock.patch.object(threads, "_REST", REST),
                      mock.patch("tcpclient_testing.virtual_time.loop._LONG_WAIT", HOUR)):
            patch.start()
            self.addCleanup(patch.stop)

    def test_thread_at_rest_lets_time_jump(self):
        """An idle thread of before, of a logger say, does not keep time real."""
        self.start(self.over.wait)
        began = time.monotonic()
        self.assertGreaterEqual(run_on_virtual_time(asyncio.sleep(HOUR)), HOUR)
        self.assertLess(time.monotonic() - began, 20)

    def test_thread_of_the_test_is_waited_for(self):
        """One that was started when there was a loop counts as long as it lives, at rest or not."""
        async def main():
            self.start(self.over.wait, name="mine")
            await asyncio.sleep(3 * REST)
            self.assertEqual(asyncio.get_running_loop().why_real(), "thread 'mine' lives")
            self.over.set()

        run_on_virtual_time(main())

    def test_thread_that_is_woken_is_waited_for(self):
        """A worker of before that works for the test comes before every timer, again and again."""
        async def main():
            loop = asyncio.get_running_loop()
            for _ in range(300 if LONG else 5):
                await asyncio.sleep(HOUR)  # the worker comes to rest meanwhile
                before = loop.time()
                job = asyncio.wrap_future(pool.submit(sum, range(1000)))
                self.assertEqual(await asyncio.wait_for(job, HOUR), 499500)
                self.assertLess(loop.time() - before, HOUR)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
            run_on_virtual_time(main())

    def test_threads_come_to_rest_side_by_side(self):
        """Many workers of before that were woken cost no more than one."""
        async def main():
            await asyncio.sleep(HOUR)
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(pool, barrier.wait, 20) for _ in range(count)))
            began = time.monotonic()
            await asyncio.sleep(HOUR)
            return time.monotonic() - began

        count = 24
        barrier = threading.Barrier(count)
        with ThreadPoolExecutor(count) as pool, mock.patch.object(threads, "_REST", 0.05):
            for job in [pool.submit(barrier.wait, 20) for _ in range(count)]:
                job.result()
            loop = VirtualClockEventLoop()
            try:
                self.assertLess(loop.run_until_complete(main()), 0.05 * count / 2)
            finally:
                loop.close()

    def test_client_in_a_thread_of_before_is_waited_for(self):
        """A client whose thread was started by setUpClass, say, and that pauses, is in time."""
        def talk(address):
            with socket.create_connection(address, timeout=30) as connection:
                for part in (b"hel", b"lo"):
                    time.sleep(2 * REST)
                    connection.sendall(part)
                return connection.recv(100)

        async def main():
            await asyncio.sleep(HOUR)
            async with MockTCPServer(timeout=20) as server:
                server.expect_connect()
                server.expect_bytes(b"hello")
                server.send_bytes(b"welcome")
                server.expect_disconnect()
                self.assertEqual(await asyncio.wrap_future(pool.submit(talk, server.address)), b"welcome")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
            run_on_virtual_time(main())


class ToldTests(BystanderTestCase):
    """Whoever waits in real time is told why."""

    def flush_now_and_then(self):
        while not self.over.wait(0.02):
            pass

    def test_long_wait_is_a_warning_that_names_the_thread(self):
        """A thread that wakes by itself makes time real; after a while that is said, once."""
        self.start(self.flush_now_and_then, name="flusher")
        with mock.patch("tcpclient_testing.virtual_time.loop._LONG_WAIT", 0.01), \
                self.assertWarnsRegex(RuntimeWarning, r"because thread 'flusher' lives; .*set_aside") as caught:
            run_on_virtual_time(asyncio.sleep(0.04))
        self.assertEqual(len(caught.warnings), 1)

    def test_deliberate_waits_are_no_warning(self):
        """A job in an executor, or a clock that is held, is what the test wants."""
        async def main():
            loop = asyncio.get_running_loop()
            with loop.hold("a device"):
                await asyncio.sleep(0.02)
            await asyncio.wait_for(loop.run_in_executor(None, time.sleep, 0.1), HOUR)
            await loop.shutdown_default_executor()
            self.assertEqual(sorted(loop.really_waited), ["a device", "a job is in an executor"])

        with mock.patch("tcpclient_testing.virtual_time.loop._LONG_WAIT", 0.01), \
                mock.patch("tcpclient_testing.virtual_time.loop._warn") as warn:
            run_on_virtual_time(main())
        warn.assert_not_called()

    def test_failure_tells_of_real_time(self):
        """The report of a time-out says that time was real, and whose thread that was."""
        self.start(self.flush_now_and_then, name="flusher")

        async def main():
            async with MockTCPServer(timeout=0.3) as server:
                server.expect_connect()

        with mock.patch("tcpclient_testing.aio.host._WORTH_TELLING", 0.01), \
                self.assertRaisesRegex(AssertionError, r"(?s)no client connected.*  virtual time was real\n"
                                                       r"    for [0-9.]+ s, because thread 'flusher' lives"):
            run_on_virtual_time(main())

    def test_thread_is_set_aside(self):
        """A thread that does nothing for the test lets time jump, once somebody has said so."""
        thread = self.start(self.flush_now_and_then)
        VirtualClockEventLoop.set_aside(thread)
        self.assertEqual(run_on_virtual_time(asyncio.sleep(HOUR)), HOUR)
