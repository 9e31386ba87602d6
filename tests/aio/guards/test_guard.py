"""A client that blocks its own server's loop is noticed, freed and named; nothing else is touched."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import os
import re
import select
import smtplib
import socket
import subprocess
import sys
import threading
import time
import traceback
import unittest
import urllib.request
from collections.abc import Coroutine
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin
from tcpclient_testing.aio.guards import waiting
from tcpclient_testing.aio.process import system_calls, watchdog
from tcpclient_testing.virtual_time.loop import VirtualClockEventLoop
from tests.support.blocking import Worker, connect
from tests.support.long import lasting
from tests.support.platforms import needs_threads
from tests.support.watchdogs import receive_in_vain

TIMEOUT = 0.02
LONGER = 0.1  # for a test that computes: a machine that stands still for so long must not make it look asleep
PATIENT = 30.0  # for steps, lest the script fail before the watchdog comes
SHORTEST = 0.005  # seconds between two looks
BOUND = 20.0  # much more than the time-out and two looks, and less than `PATIENT`: the machine may be busy


_patches = contextlib.ExitStack()


def setUpModule() -> None:
    """Let the watchdog look more often, and try again sooner."""
    for name, value in ("_SHORTEST", SHORTEST), ("_WANTED", 0.01), ("_AGAIN", 0.01):
        _patches.enter_context(mock.patch.object(watchdog, name, value))


def tearDownModule() -> None:
    """Look as ever again; pytest does no module's clean-ups, so they are none."""
    _patches.close()


Body = Callable[[MockTCPServer], Coroutine[Any, Any, None]]


async def with_server(body: Body, **options: Any) -> None:
    """Run the body with a server whose time-outs are short."""
    asyncio.get_running_loop().slow_callback_duration = 60  # says nothing of what blocks on purpose
    async with MockTCPServer(**{"timeout": TIMEOUT, **options}) as server:
        server.expect_connect(timeout=PATIENT)
        await body(server)


class BlockedTests(unittest.TestCase):
    """Loops that a client blocks."""

    def blocked(self, body: Body, *lines: str, **options: Any) -> ExpectationError:
        """Return the report on a body that blocks at a line, or in a loop of these lines."""
        started = time.monotonic()
        with self.assertRaises(ExpectationError) as caught:
            asyncio.run(with_server(body, **options))
        self.assertLess(time.monotonic() - started, BOUND)
        headline = str(caught.exception).partition("\n")[0]
        line = "|".join(re.escape(each if len(each) <= 30 else f"{each[:27]}...") for each in lines)
        self.assertRegex(headline, rf"^({line}) blocked the event loop of its server for \d+\.\d+ s: use "
                                   r"ThreadedMockTCPServer \(test_guard.py:\d+\)$")
        return caught.exception

    def test_client_that_was_not_accepted(self) -> None:
        """A client that blocks before the loop had a chance to accept it gets a reset."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                client.recv(1)
        self.assertIsInstance(self.blocked(body, "client.recv(1)").client_exception, ConnectionResetError)

    def test_client_that_was_accepted(self) -> None:
        """A client that waits for its answer is freed; what it had sent is in the report."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                await server.join()
                server.expect_bytes(b"hello")
                client.sendall(b"hello")
                client.recv(1)
        self.assertIn("received 5 bytes  b'hello'", str(self.blocked(body, "client.recv(1)")))

    def test_client_that_waits_for_a_greeting(self) -> None:
        """A client blocks although the server has only to send what the script says already."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                await server.join()
                server.send_bytes(b"welcome")
                client.recv(7)
        self.blocked(body, "client.recv(7)")

    def test_client_that_waits_for_a_delayed_answer(self) -> None:
        """A client blocks although the server has only to wait, and then to send."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                await server.join()
                server.delay(TIMEOUT / 3)
                server.send_bytes(b"welcome")
                await asyncio.sleep(0)
                client.recv(7)
        self.blocked(body, "client.recv(7)")

    @unittest.skipUnless(system_calls.known(), "asks the kernel")
    def test_client_that_waits_for_what_the_script_does_not_have(self) -> None:
        """A client blocks although it would be its turn: it is left alone for longer, but not for ever."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                await server.join()
                server.expect_line(b"QUIT")
                await asyncio.sleep(0)
                client.recv(1)
        with mock.patch("tcpclient_testing.aio.guards.guard._OVERDUE", TIMEOUT / 2):
            self.blocked(body, "client.recv(1)")

    def test_client_that_sends_too_much(self) -> None:
        """A client that blocks in sendall() is freed by a reset."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                await server.join()
                client.sendall(bytes(50_000_000))
        self.blocked(body, "client.sendall(bytes(50_000_000))")

    def test_client_that_waits_beyond_the_script(self) -> None:
        """A script that is complete sends nothing more: the client would wait for ever."""
        async def body(server: MockTCPServer) -> None:
            server.send_line(b"hello")
            with connect(server.address) as client:
                await server.join()
                client.recv(7)
                client.recv(1)
        self.blocked(body, "client.recv(1)")

    def test_client_that_swallows_the_end(self) -> None:
        """A client that takes the end of stream for an empty answer and asks again is freed by a reset."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                while not client.recv(1):
                    pass
        self.blocked(body, "while not client.recv(1):")

    @needs_threads
    def test_client_that_polls(self) -> None:
        """A client that asks again and again, with short sleeps, blocks the loop as well."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                client.setblocking(False)
                client.sendall(b"hello")
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    try:
                        client.recv(1)
                    except BlockingIOError:
                        pass
                    time.sleep(0.002)
        with mock.patch("tcpclient_testing.aio.guards.waiting._A_WHILE", 0.02):
            self.blocked(body, "time.sleep(0.002)", "client.recv(1)", "while time.monotonic() < deadline:")

    def test_client_in_a_thread_that_is_joined(self) -> None:
        """A client in a thread, whose end the test awaits by blocking, is freed all the same."""
        def converse(address: tuple[str, int]) -> None:
            with connect(address) as client:
                client.recv(1)

        async def body(server: MockTCPServer) -> None:
            worker = Worker(converse, server.address)
            worker.join()
            assert worker.error is not None
            raise worker.error
        self.assertIsInstance(self.blocked(body, "worker.join()").client_exception, ConnectionResetError)

    @unittest.skipUnless(system_calls.known(), "asks the kernel")
    def test_client_in_a_thread_that_waits_for_what_the_script_does_not_have(self) -> None:
        """It is its turn, but it waits as well: the test that joins it would wait for ever."""
        async def body(server: MockTCPServer) -> None:
            client = connect(server.address)
            await server.join()
            server.expect_line(b"QUIT")
            await asyncio.sleep(0)
            worker = Worker(client.recv, 1)
            worker.join()
            client.close()
        with mock.patch("tcpclient_testing.aio.guards.guard._OVERDUE", TIMEOUT / 2):
            self.blocked(body, "worker.join()")

    @needs_threads
    def test_client_in_a_process(self) -> None:
        """A client in a process whose end the test awaits by blocking is freed all the same."""
        program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"

        async def body(server: MockTCPServer) -> None:
            command = [sys.executable, "-c", program, str(server.address[1])]
            subprocess.run(command, stderr=subprocess.PIPE, check=True)
        self.blocked(body, "subprocess.run(command, stderr=subprocess.PIPE, check=True)")

    def test_client_of_the_standard_library(self) -> None:
        """The test's line is named, not the library's."""
        async def body(server: MockTCPServer) -> None:
            client = http.client.HTTPConnection(*server.address)
            try:
                client.request("GET", "/")
                client.getresponse()
            finally:
                client.close()
        self.blocked(body, "client.getresponse()")

    def test_client_that_returns_what_it_got(self) -> None:
        """A client that makes nothing of it has failed all the same."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                try:
                    client.recv(1)
                except ConnectionError:
                    return
        self.blocked(body, "client.recv(1)")

    def test_blocked_on_virtual_time(self) -> None:
        """On virtual time, too, a blocking client is noticed; the bound is in real seconds."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                client.recv(1)

        loop = VirtualClockEventLoop()
        try:
            with mock.patch("tcpclient_testing.aio.guards.guard._DEFAULT", TIMEOUT), \
                    self.assertRaisesRegex(ExpectationError, "blocked the event loop"):
                loop.run_until_complete(with_server(body, timeout=86400.0))
        finally:
            loop.close()

    def test_report_of_a_test_case(self) -> None:
        """A test case reports it once, as its failure."""
        class Case(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            tcpserver_options = {"timeout": TIMEOUT}

            async def test_it(self) -> None:
                """It blocks."""
                asyncio.get_running_loop().slow_callback_duration = 60
                self.tcpserver.expect_connect()
                client = connect(self.tcpserver.address)
                self.addCleanup(client.close)
                client.recv(1)

        result = unittest.TestResult()
        Case("test_it").run(result)
        ((_, report),) = result.failures
        self.assertEqual(result.errors, [])
        self.assertIn("client.recv(1) blocked the event loop", report)
        self.assertIn("then the client raised", report)


class GivesUpTests(unittest.TestCase):
    """Clients with a time-out of their own, which ends before the watchdog comes."""

    OWN = 0.25  # seconds

    def setUp(self) -> None:
        patch = mock.patch.object(watchdog, "_NOTICE", 0.01)
        patch.start()
        self.addCleanup(patch.stop)

    def run_body(self, body: Body) -> None:
        """Run the body with a server that has something to send."""
        async def sends(server: MockTCPServer) -> None:
            server.send_line(b"hello")
            await body(server)
        asyncio.run(with_server(sends, timeout=PATIENT))

    def blamed(self, body: Body, line: str) -> ExpectationError:
        """Return the report on a body that blocks at `line` until its client gives up."""
        with self.assertRaises(ExpectationError) as caught:
            self.run_body(body)
        shown = line if len(line) <= 30 else line[:27] + "..."
        self.assertRegex(str(caught.exception).partition("\n")[0],
                         rf"^{re.escape(shown)} blocked the event loop of its server for 0\.\d+ s: "
                         "use ThreadedMockTCPServer ")
        return caught.exception

    @lasting
    def test_client_that_times_out(self) -> None:
        """The verdict names the line that has blocked the loop, and the client's own exception follows from that."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address, self.OWN) as client:
                client.recv(1)
        self.assertIsInstance(self.blamed(body, "client.recv(1)").client_exception, socket.timeout)

    def test_client_that_was_accepted(self) -> None:
        """A client that waits for its second answer is noticed as well."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                await server.join()
                server.expect_line(b"PING")
                client.sendall(b"PING\r\n")
                client.recv(7)
                receive_in_vain(server, client)
        self.blamed(body, "return client.recv(1)")

    @lasting
    def test_client_that_selects(self) -> None:
        """A client that finds nothing to read, and raises an error of its own, has blocked the loop."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                if not select.select([client], [], [], self.OWN)[0]:
                    raise LookupError("no answer")
        self.assertIsInstance(self.blamed(body, "if not select.select([client], [], [], self.OWN)[0]:")
                              .client_exception, LookupError)

    @lasting
    def test_clients_of_the_standard_library(self) -> None:
        """The line of the test is named, whatever the library makes of the time-out."""
        async def requests(server: MockTCPServer) -> None:
            urllib.request.urlopen("http://{}:{}/".format(*server.address), timeout=self.OWN)

        async def mails(server: MockTCPServer) -> None:
            smtplib.SMTP(*server.address, timeout=self.OWN)
        self.blamed(requests, 'urllib.request.urlopen("http://{}:{}/".format(*server.address), timeout=self.OWN)')
        self.blamed(mails, "smtplib.SMTP(*server.address, timeout=self.OWN)")

    @needs_threads
    def test_client_whose_time_out_is_caught(self) -> None:
        """An assertion about what the client has got fails as a consequence."""
        async def body(server: MockTCPServer) -> None:
            got = b""
            with connect(server.address) as client, contextlib.suppress(socket.timeout):
                got = receive_in_vain(server, client)
            if got != b"hello":
                raise AssertionError(got)  # not by `assert`, which python -O leaves out
        self.assertIsInstance(self.blamed(body, "return client.recv(1)").client_exception, AssertionError)

    def test_parts_of_a_test_case(self) -> None:
        """In each part of a test, and in a subtest, it is reported once, as a failure."""
        def converse(case: Any) -> None:
            asyncio.get_running_loop().slow_callback_duration = 60
            case.tcpserver.expect_connect()
            case.tcpserver.send_line(b"hello")
            with connect(case.tcpserver.address) as client:
                receive_in_vain(case.tcpserver, client)

        def part(case: type[Any]) -> type[Any]:
            case.tcpserver_options = {"timeout": PATIENT}
            return case

        class Base(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def test_it(self) -> None:
                """It does nothing."""

        class SetUp(Base):
            async def asyncSetUp(self) -> None:
                converse(self)

        class TearDown(Base):
            async def asyncTearDown(self) -> None:
                converse(self)

        class Subtest(Base):
            async def test_it(self) -> None:
                """It has a subtest."""
                with self.subTest("one"):
                    converse(self)

        for case in SetUp, TearDown, Subtest:
            with self.subTest(case.__name__):
                result = unittest.TestResult()
                part(case)("test_it").run(result)
                ((_, report),) = result.failures + result.errors
                self.assertIn("return client.recv(1) blocked the event loop", report)

    def assertStands(self, error: type[Exception], body: Body) -> None:
        """Assert that the body's own error is the report."""
        with self.assertRaises(error) as caught:
            self.run_body(body)
        self.assertNotIn("blocked the event loop", "".join(traceback.format_exception(
            type(caught.exception), caught.exception, caught.exception.__traceback__)))

    @lasting
    def test_errors_that_stand(self) -> None:
        """A time-out in another thread or of an `await`, and an error after something else, stand by themselves."""
        def converse(server: MockTCPServer) -> None:
            with connect(server.address, 0.08) as client:
                while client.recv(7):
                    pass

        async def in_a_thread(server: MockTCPServer) -> None:
            await asyncio.get_running_loop().run_in_executor(None, converse, server)

        async def awaits(server: MockTCPServer) -> None:
            with connect(server.address, 0.08):
                await asyncio.wait_for(asyncio.Event().wait(), 0.08)

        async def elsewhere(server: MockTCPServer) -> None:
            ours, theirs = socket.socketpair()
            ours.settimeout(0.08)
            with connect(server.address), ours, theirs:
                ours.recv(1)

        async def sleeps(server: MockTCPServer) -> None:
            with connect(server.address):
                time.sleep(0.08)
                raise LookupError("the test's own")

        async def computes(server: MockTCPServer) -> None:
            with connect(server.address):
                deadline = time.monotonic() + 0.08
                while time.monotonic() < deadline:
                    sum(range(1000))
                raise LookupError("the test's own")

        self.assertStands(asyncio.TimeoutError, awaits)
        self.assertStands(socket.timeout, in_a_thread)
        self.assertStands(LookupError, sleeps)
        self.assertStands(LookupError, computes)
        if waiting.known():
            self.assertStands(socket.timeout, elsewhere)


class UnknownTests(GivesUpTests):
    """The same where the system doesn't say what a thread waits for: then the client's own time-out must show it."""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(waiting, "known", lambda: False)
        patch.start()
        self.addCleanup(patch.stop)

    def test_client_that_selects(self) -> None:
        """An error that is no time-out stands by itself."""
        async def body(server: MockTCPServer) -> None:
            with connect(server.address) as client:
                if not select.select([client], [], [], 0.08)[0]:
                    raise LookupError("no answer")
        self.assertStands(LookupError, body)

    @needs_threads
    def test_client_whose_time_out_is_caught(self) -> None:
        """So does an assertion about what the client has got."""
        async def body(server: MockTCPServer) -> None:
            got = b""
            with connect(server.address) as client, contextlib.suppress(socket.timeout):
                got = receive_in_vain(server, client)
            if got != b"hello":
                raise AssertionError(got)  # not by `assert`, which python -O leaves out
        self.assertStands(AssertionError, body)


class UntouchedTests(unittest.IsolatedAsyncioTestCase):
    """Loops that only look blocked."""

    async def converse(self, meanwhile: Callable[[], object], **options: Any) -> None:
        """Run a conversation in whose midst, while the server has work, the loop does not turn."""
        async def body(server: MockTCPServer) -> None:
            server.expect_bytes(b"hello", timeout=PATIENT)
            server.delay(0.01)
            server.send_bytes(b"welcome")
            server.expect_disconnect(timeout=PATIENT)
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"hello")
            meanwhile()
            self.assertEqual(await reader.read(7), b"welcome")
            writer.close()
            await writer.wait_closed()
        await with_server(body, **options)

    @unittest.skipUnless(system_calls.known(), "asks the kernel")
    async def test_test_that_sleeps(self) -> None:
        """A test that sleeps is left alone, although the server has work."""
        await self.converse(lambda: time.sleep(6 * TIMEOUT))

    @unittest.skipUnless(system_calls.known(), "asks the kernel")
    @lasting
    async def test_test_that_waits_for_what_is_no_client(self) -> None:
        """A test that waits for a thread or a process is left alone if that is no client, although one has work."""
        def nap() -> None:
            for _ in range(30):
                time.sleep(0.2 * TIMEOUT)

        thread = threading.Thread(target=time.sleep, args=(6 * TIMEOUT,))
        thread.start()
        process = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({6 * TIMEOUT})"],
                                   stdout=subprocess.PIPE)
        waits: dict[str, Callable[[], object]] = {
            "join": thread.join, "Event.wait": lambda: threading.Event().wait(6 * TIMEOUT),
            "communicate": process.communicate, "naps": nap}
        for name, wait in waits.items():
            with self.subTest(name):
                await self.converse(wait)

    @unittest.skipUnless(sys.platform == "linux", "needs a clock for each thread")
    @lasting
    async def test_test_that_computes(self) -> None:
        """A test that computes is left alone."""
        def compute() -> None:
            deadline = time.monotonic() + 1.5 * LONGER
            while time.monotonic() < deadline:
                sum(range(1000))
        await self.converse(compute, timeout=LONGER)

    async def test_test_that_waits_for_something_else(self) -> None:
        """A test that waits for another thread is left alone while no client wants anything."""
        async def body(server: MockTCPServer) -> None:
            server.expect_disconnect(timeout=PATIENT)
            client = connect(server.address)
            for _ in range(10):
                await asyncio.sleep(0)
            threading.Event().wait(3 * TIMEOUT)
            client.close()
            await server.join()
        await with_server(body)

    @unittest.skipUnless(sys.platform == "linux", "asks the kernel")
    @lasting
    async def test_test_that_waits_long_for_a_thread_or_a_process(self) -> None:
        """It is left alone however late the client is by then: the thread, or the process, may well come to an end."""
        async def body(wait: Callable[[], object], server: MockTCPServer) -> None:
            server.expect_disconnect(timeout=2 * TIMEOUT)
            client = connect(server.address)
            for _ in range(10):
                await asyncio.sleep(0)
            wait()
            client.close()
            await server.join()

        seconds = 6 * TIMEOUT
        waits: tuple[Callable[[], object], ...] = (
            lambda: threading.Event().wait(seconds),
            lambda: subprocess.run([sys.executable, "-c", f"import time; time.sleep({seconds})"],
                                   stdout=subprocess.PIPE, check=True))
        # Each in a loop of its own, at the same time.
        with mock.patch("tcpclient_testing.aio.guards.guard._OVERDUE", TIMEOUT / 2):
            await asyncio.gather(*(asyncio.to_thread(asyncio.run, with_server(functools.partial(body, wait)))
                                   for wait in waits))

    async def test_switch(self) -> None:
        """The switch in the environment keeps the thread from starting."""
        async def body(server: MockTCPServer) -> None:
            client = connect(server.address, 3 * TIMEOUT)
            with client, self.assertRaises(socket.timeout):
                client.recv(1)
        with mock.patch.dict(os.environ, TCPCLIENT_TESTING_WATCHDOG="0"):
            await with_server(body)
