"""Tests of virtual time where users meet it: servers, steps, clients' time-outs, test cases, pytest's tools."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

import tcpclient_testing
from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin, ScriptError, VirtualClockEventLoop
from tcpclient_testing.aio.sockets.inet_diag import available
from tcpclient_testing.virtual_time.clock import DEFAULT_GRACE
from tests.support.long import LONG, lasting
from tests.support.platforms import SEES_CLIENTS

HOUR = 3600.0
#: Where the kernel does not tell what has become of a client that ended its stream, a moment is waited for that.
UNKNOWN = 0.0 if SEES_CLIENTS else 0.1


def run(coroutine):
    """Run in a new loop on virtual time."""
    loop = VirtualClockEventLoop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def connect_with_backoff(address, pauses):
    """A client that is refused or reset, and tries again after each pause; the stream, and when it tried."""
    clock, tries = asyncio.get_running_loop().time, []
    for pause in (*pauses, None):
        tries.append(clock())
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"hello")
            if await reader.read(100):
                return writer, tries
            writer.close()
        except OSError:
            pass
        if pause is not None:
            await asyncio.sleep(pause)
    raise ConnectionError("gave up")


async def an_hour_of_backoff():
    """A client that is reset again and again for an hour, then served; how long it took in virtual seconds."""
    start = asyncio.get_running_loop().time()
    async with MockTCPServer() as server:
        server.fail_connections(6)
        server.expect_connect()
        server.expect_bytes(b"hello")
        server.send_bytes(b"welcome")
        server.expect_disconnect()
        pauses = [60.0, 120.0, 240.0, 480.0, 960.0, 1740.0]
        writer, tries = await connect_with_backoff(server.address, pauses)
        writer.close()
        await writer.wait_closed()
        assert [after - before for before, after in zip(tries, tries[1:])] == pauses
    return asyncio.get_running_loop().time() - start


class ServerTests(unittest.TestCase):
    """Servers and clients on virtual time."""

    def test_an_hour_of_backoff_takes_no_time(self):
        """An hour of a client's pauses takes a moment, again and again."""
        taken = []
        for _ in range(1000 if LONG else 3 if DEFAULT_GRACE else 25):
            real = time.perf_counter()
            elapsed = run(an_hour_of_backoff())
            taken.append(time.perf_counter() - real)
            self.assertAlmostEqual(elapsed, HOUR, delta=UNKNOWN)
        self.assertLess(max(taken), 60)  # the shortest of the pauses

    def test_default_time_outs_are_a_day(self):
        """Nobody's default time-out is in the way of a client that takes hours; a given one counts."""
        async def silent(**options):
            async with MockTCPServer(**options) as server:
                server.expect_connect()
                await server.join()

        for options, duration in (({}, "86400.0 s"), ({"timeout": 7}, "7.0 s")):
            text = f"no client connected .* for {duration}"
            with self.subTest(options=options), self.assertRaisesRegex(ExpectationError, text):
                run(silent(**options))

    @unittest.skipUnless(available() and hasattr(socket, "TCP_QUICKACK"), "needs Linux")
    def test_reset_behind_a_late_acknowledgement_takes_no_time(self):
        """A reply that the client's system has, and has not acknowledged yet, doesn't let the clock run on."""
        async def talk():
            async with MockTCPServer() as server:
                server.expect_connect()
                server.expect_line(b"GET")
                server.send_line(b"half")
                server.reset()
                reader, writer = await asyncio.open_connection(*server.address)
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                writer.write(b"GET\r\n")
                start = asyncio.get_running_loop().time()
                self.assertEqual(await reader.readline(), b"half\r\n")
                with self.assertRaises(ConnectionResetError):
                    await reader.read()
                elapsed = asyncio.get_running_loop().time() - start
                writer.close()
            return elapsed

        self.assertLess(min(run(talk()) for _ in range(10)), 0.2)

    def test_idleness_is_a_day(self):
        """So it is with a complete script whose client stays connected."""
        async def idle(**options):
            async with MockTCPServer(**options) as server:
                server.expect_connect()
                _, writer = await asyncio.open_connection(*server.address)
                try:
                    await asyncio.sleep(1000 * HOUR)
                finally:
                    writer.close()

        for options, duration in (({}, "86400.0 s"), ({"idle_timeout": 9}, "9.0 s")):
            with self.subTest(options=options), self.assertRaisesRegex(ExpectationError, f"happened for {duration}"):
                run(idle(**options))

    def test_all_of_a_script_is_on_virtual_time(self):
        """`delay`, `hold_until`, `expect_silence` and a client's time-out share one clock, which jumps."""
        async def talk():
            loop = asyncio.get_running_loop()
            start, event = loop.time(), asyncio.Event()
            async with MockTCPServer() as server:
                server.expect_connect()
                server.delay(HOUR)
                server.hold_until(event)
                server.expect_silence(HOUR)
                server.send_bytes(b"late")
                server.expect_disconnect()
                loop.call_later(2 * HOUR, event.set)
                reader, writer = await asyncio.open_connection(*server.address)
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.read(100), HOUR / 2)
                self.assertEqual((loop.time() - start, await reader.read(100)), (HOUR / 2, b"late"))
                writer.close()
                await writer.wait_closed()
            return loop.time() - start

        real = time.monotonic()
        self.assertAlmostEqual(run(talk()), 3 * HOUR, delta=UNKNOWN)
        self.assertLess(time.monotonic() - real, HOUR / 2)

    def test_client_in_an_executor_takes_real_time(self):
        """While a blocking client works in an executor time is real, so that no time-out strikes it."""
        def client(address):
            with socket.create_connection(address, timeout=30) as connection:
                time.sleep(0.02)
                connection.sendall(b"hello")
                return connection.recv(100)

        async def talk():
            async with MockTCPServer(timeout=20) as server:
                server.expect_connect()
                server.expect_bytes(b"hello")
                server.send_bytes(b"welcome")
                server.expect_disconnect()
                self.assertEqual(await asyncio.get_running_loop().run_in_executor(None, client, server.address),
                                 b"welcome")

        run(talk())

    def test_client_in_a_process_takes_real_time(self):
        """So it is with a client in another process."""
        program = ("import socket, sys, time; c = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
                   "time.sleep(0.02); c.sendall(b'hello'); c.recv(1)")

        async def talk():
            async with MockTCPServer(timeout=20) as server:
                server.expect_connect()
                server.expect_bytes(b"hello")
                server.disconnect()
                with subprocess.Popen([sys.executable, "-S", "-c", program, str(server.port)]):
                    await server.join()

        run(talk())

    def test_event_of_a_thread_releases_a_step(self):
        """`hold_until` with a thread's event waits in real time while the thread lives."""
        async def talk():
            event = threading.Event()
            async with MockTCPServer(timeout=20) as server:
                server.expect_connect()
                server.hold_until(event)
                server.disconnect()
                thread = threading.Thread(target=lambda: (time.sleep(0.02), event.set()))
                thread.start()
                reader, writer = await asyncio.open_connection(*server.address)
                self.assertEqual(await reader.read(), b"")
                writer.close()
                await writer.wait_closed()
                thread.join()

        run(talk())


class CountedEvent(threading.Event):
    """Counts how often it is looked at."""

    looks = 0

    def is_set(self):
        """Whether it is set."""
        self.looks += 1
        return super().is_set()


class HoldTests(unittest.TestCase):
    """`hold_until` with an event that wakes no loop."""

    async def held(self, event, release):
        """A client that is answered when the event is set; how long that took."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with MockTCPServer() as server:
            server.expect_connect()
            server.hold_until(event)
            server.disconnect()
            release()
            reader, writer = await asyncio.open_connection(*server.address)
            await reader.read()
            writer.close()
            await writer.wait_closed()
        return loop.time() - start

    def test_event_of_threading_is_set_by_a_timer(self):
        """Time jumps to that timer, and the event is looked at in a few turns only."""
        async def talk():
            event = CountedEvent()
            elapsed = await self.held(event, lambda: asyncio.get_running_loop().call_later(HOUR, event.set))
            self.assertLess(event.looks, 50)
            return elapsed

        self.assertEqual(run(talk()), HOUR)

    def test_event_of_threading_is_set_while_the_loop_never_rests(self):
        """Nor does it have to wait for the loop to become quiet."""
        async def talk():
            event = threading.Event()
            loop = asyncio.get_running_loop()

            async def spin():
                while True:
                    await asyncio.sleep(0)

            spinning = loop.create_task(spin())
            try:
                await asyncio.wait_for(self.held(event, lambda: loop.call_soon(event.set)), HOUR)
            finally:
                spinning.cancel()

        run(talk())

    def test_event_that_nobody_sets(self):
        """The step's time-out of a day comes at once, and does not spin until then."""
        event = CountedEvent()
        with self.assertRaisesRegex(ExpectationError, r"held for 86400.0 s: CountedEvent is not set"):
            run(self.held(event, int))
        self.assertLess(event.looks, 50)

    def test_step_of_another_server(self):
        """A step is looked at as an event is."""
        async def talk():
            async with MockTCPServer() as other:
                other.expect_connect()
                line = other.expect_line(b"go")

                async def client():
                    _, writer = await asyncio.open_connection(*other.address)
                    await asyncio.sleep(HOUR)
                    writer.write(b"go\r\n")
                    writer.close()
                    await writer.wait_closed()

                tasks = []
                elapsed = await self.held(line, lambda: tasks.append(asyncio.ensure_future(client())))
                await tasks[0]
                return elapsed

        self.assertEqual(run(talk()), HOUR)


class BackoffTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """`expect_connect(after=, within=)`, and `virtual_time` on the mixin."""

    virtual_time = True

    async def reconnect(self, pause, **options):
        """A client that closes and connects again after `pause` seconds, against these limits."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_disconnect()
        self.tcpserver.expect_connect(**options)
        self.tcpserver.expect_disconnect()
        for wait in (0, pause):
            await asyncio.sleep(wait)
            _, writer = await asyncio.open_connection(*self.tcpserver.address)
            writer.close()
            await writer.wait_closed()
        await self.tcpserver.join()

    async def test_client_comes_back_in_time(self):
        """Between `after` and `within`, the limits included, everything is all right."""
        await self.reconnect(60, after=60, within=90)

    async def test_client_comes_back_at_the_latest_moment(self):
        """The last moment of `within` is in time."""
        await self.reconnect(89.999, after=60, within=90)

    async def test_after_postpones_the_time_out(self):
        """The server's own time-out begins where `after` ends."""
        await self.reconnect(63, after=60, timeout=5)

    async def test_within_replaces_the_time_out(self):
        """Where `within` is given, the server's time-out says nothing."""
        self.start_tcpserver(timeout=1)  # a second one, unused
        self.__dict__["_tcpserver"] = self.start_tcpserver(timeout=1)
        await self.reconnect(60, within=90)

    async def test_time_jumps_in_the_test(self):
        """The loop of such a test is virtual."""
        start = time.monotonic()
        await asyncio.sleep(HOUR)
        self.assertLess(time.monotonic() - start, 10)
        self.assertIsInstance(asyncio.get_running_loop(), VirtualClockEventLoop)


class BadBackoffTests(unittest.TestCase):
    """Clients that come back too early or too late."""

    def failure_of(self, pause, **options):
        """The headline of the failure of a client that comes back after so many seconds."""
        class Case(BackoffTests):
            async def runTest(self):
                await self.reconnect(pause, **options)

        result = unittest.TestResult()
        Case().run(result)
        self.assertEqual((len(result.failures), result.errors), (1, []))
        return next(line for line in result.failures[0][1].splitlines() if "ExpectationError:" in line)

    def test_client_comes_back_too_early(self):
        """The report says when it came, and what was asked for."""
        self.assertIn("connect after 60.0 s at the earliest, it connected after 59.0 s", self.failure_of(59, after=60))

    def test_client_comes_back_too_late(self):
        """The failure comes when the time is over."""
        self.assertIn("the client did not connect again to 127.0.0.1:", self.failure_of(91, after=60, within=90))
        self.assertIn("within 90.0 s", self.failure_of(91, after=60, within=90))
        self.assertIn("for 65.0 s", self.failure_of(91, after=60, timeout=5))

    @lasting
    def test_client_never_disconnects(self):
        """`expect_disconnect(within=)` fails when the time is over, whatever the server's time-out is."""
        class Case(BackoffTests):
            tcpserver_options = {"timeout": 1}

            async def runTest(self):
                self.tcpserver.expect_connect()
                self.tcpserver.expect_disconnect(within=40)
                _, writer = await asyncio.open_connection(*self.tcpserver.address)
                self.addCleanup(writer.close)
                start = asyncio.get_running_loop().time()
                try:
                    await self.tcpserver.join()
                finally:
                    assert asyncio.get_running_loop().time() - start == 40

        result = unittest.TestResult()
        Case().run(result)
        self.assertIn("expected the client to disconnect within 40.0 s; it is still connected", result.failures[0][1])


class MixinTests(unittest.TestCase):
    """`virtual_time` on the mixin."""

    def result_of(self, case):
        """The result of one test case."""
        result = unittest.TestResult()
        case.run(result)
        return result

    def test_test_runs_on_another_loop(self):
        """A loop that isn't ours is an error of that test, which names both."""
        class Case(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            virtual_time = True

            async def runTest(self):
                self.tcpserver.expect_connect()

        with mock.patch("tcpclient_testing.virtual_time.loop.is_virtual", lambda loop: False):
            result = self.result_of(Case())
        self.assertEqual((len(result.errors), result.testsRun), (1, 1))
        self.assertRegex(result.errors[0][1], "ScriptError: .*virtual_time = True, which needs an event loop of this "
                                              "library, but runs on .*: remove one of the two")

    @unittest.skipUnless(sys.version_info >= (3, 13), "test cases have a loop_factory from Python 3.13 on")
    def test_case_has_chosen_a_loop(self):
        """A `loop_factory` of the test's own is an error of that test too."""
        class Case(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            virtual_time = True
            loop_factory = asyncio.SelectorEventLoop

            async def runTest(self):
                self.fail("not reached")

        result = self.result_of(Case())
        self.assertIn("runs on asyncio.unix_events._UnixSelectorEventLoop: remove one", result.errors[0][1])

    def test_debug_runs_on_virtual_time(self):
        """`debug()` is on virtual time too."""
        class Case(BackoffTests):
            async def runTest(self):
                await self.test_time_jumps_in_the_test()

        Case().debug()

    def test_time_is_real_by_default(self):
        """Who asks for nothing gets asyncio's own loop."""
        class Case(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def runTest(self):
                self.assertNotIsInstance(asyncio.get_running_loop(), VirtualClockEventLoop)

        self.assertTrue(self.result_of(Case()).wasSuccessful())

    def test_public_names_are_the_clocks(self):
        """What pytest's tools need has a short path."""
        from tcpclient_testing.virtual_time import loop, policies

        self.assertIs(tcpclient_testing.VirtualClockEventLoop, loop.VirtualClockEventLoop)
        self.assertIs(tcpclient_testing.virtual_policy, policies.virtual_policy)
        self.assertTrue(issubclass(ScriptError, Exception))
