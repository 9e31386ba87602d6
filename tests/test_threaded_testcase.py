"""Blocking test cases: a server of their own, and one report a test, the cause first."""

from __future__ import annotations

import asyncio
import contextlib
import time
import unittest
from typing import Any, Optional
from unittest import mock

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.server.threaded import runtime as threaded_runtime
from tests.support.blocking import connect, threads
from tests.support.loops import AsyncTestCase
from tests.support.outcomes import Outcome, threaded_outcome_of


def script(case: Any) -> None:
    """Script a short conversation."""
    case.tcpserver.expect_connect()
    case.tcpserver.expect_bytes(b"hello")
    case.tcpserver.send_bytes(b"welcome")
    case.tcpserver.expect_disconnect()


def converse(case: Any, request: bytes = b"hello") -> bytes:
    """Do what the script says, if it is this request; the client is closed after the test."""
    client = connect(case.tcpserver.address)
    case.addCleanup(client.close)
    client.sendall(request)
    return client.recv(7)


def right(case: Any) -> None:
    """A test whose client keeps to the script."""
    script(case)
    converse(case)


def wrong(case: Any) -> None:
    """A test whose client says something else."""
    script(case)
    converse(case, b"howdy")


def write_on(server: Any) -> None:
    """Write a script that never ends, as it seems."""
    connection = server.connections[0]
    while True:
        connection.send_bytes(b"x")
        time.sleep(0.01)


class ThreadedMixinTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """The mixin at work."""

    def setUp(self) -> None:
        self.client = connect(self.tcpserver.address)
        self.addCleanup(self.client.close)

    def test_server_when_it_is_first_used_in_set_up(self) -> None:
        """The server is the same in setUp and in the test, and judges after the clean-ups that close the client."""
        self.assertIs(self.tcpserver, self.tcpserver)
        self.tcpserver.expect_connect()
        line = self.tcpserver.expect_line()
        self.tcpserver.expect_disconnect()
        self.client.sendall(b"hello\r\n")
        self.assertEqual(line.result(), b"hello")

    def test_start_tcpserver(self) -> None:
        """Further servers have options of their own."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_disconnect()
        other = self.start_tcpserver(ending=b"\n")
        other.expect_connect()
        other.expect_line(b"hello")
        other.expect_disconnect()
        with connect(other.address) as client:
            client.sendall(b"hello\n")


class ThreadedReportTests(unittest.TestCase):
    """What is reported, and how often."""

    def setUp(self) -> None:
        self.before = threads()

    def tearDown(self) -> None:
        self.assertEqual(threads(), self.before)

    def assertOne(self, kind: Optional[str], *parts: str, **attributes: Any) -> None:
        """Assert that there is one report of this kind (None: no report), with these parts in this order."""
        outcome = threaded_outcome_of(**attributes)
        self.assertEqual(outcome.kinds, [] if kind is None else [kind], outcome)
        place = 0
        for part in parts:
            self.assertIn(part, outcome.text[place:])
            place = outcome.text.index(part, place)

    def test_report_when_the_client_is_right(self) -> None:
        """A client that keeps to the script is not reported, nor is a test without a server."""
        self.assertOne(None, test=right)
        self.assertOne(None, test=lambda _: None)

    def test_report_when_the_client_is_wrong(self) -> None:
        """The mismatch comes first, and what the client raised for it stands in the last section."""
        self.assertOne("failure", "expected b'hello', got b'howdy'", "then the client raised", "ConnectionResetError",
                       test=wrong)

    def test_report_when_the_client_only_looks_right(self) -> None:
        """What the end shows is a failure of the test, too."""
        def test(case: Any) -> None:
            script(case)
            converse(case)
            case.tcpserver.expect_connect(timeout=0.02)
        self.assertOne("failure", "the client did not connect again", test=test)

    def test_report_when_the_client_fails_by_itself(self) -> None:
        """The client's own exception is the report, and the conversation is shown with it."""
        def test(case: Any) -> None:
            script(case)
            with connect(case.tcpserver.address):
                raise LookupError("by itself")
        for _ in range(5):
            self.assertOne("error", "by itself", test=test)

    def test_report_when_set_up_or_tear_down_raises(self) -> None:
        """What comes of the script's failure is part of its report, wherever it is raised; the rest is reported."""
        def broken(case: Any) -> None:
            raise ConnectionResetError("in vain")

        def hasty(case: Any) -> None:
            script(case)
            client = connect(case.tcpserver.address)
            case.addCleanup(client.close)
            client.sendall(b"howdy")
            case.tcpserver.join(10)

        def cleaned(case: Any) -> None:
            case.tcpserver  # noqa: B018 - made now, judged after the clean-up
            case.addCleanup(broken, case)
            hasty(case)

        self.assertOne("failure", "got b'howdy'", test=hasty, tearDown=broken)
        self.assertOne("failure", "got b'howdy'", test=cleaned)
        self.assertOne("error", "in vain", setUp=lambda case: (script(case), broken(case)), test=lambda case: None)
        self.assertOne("error", "in vain", tearDown=broken, test=right)

    def test_report_when_a_subtest_fails_by_itself(self) -> None:
        """It is the report on the script that it has cut short, which fails in the next, or in the end."""
        def test(case: Any, numbers: range = range(3)) -> None:
            for number in numbers:
                with case.subTest(number=number):
                    case.tcpserver.expect_connect()
                    case.tcpserver.expect_bytes(b"ready")
                    case.tcpserver.expect_disconnect()
                    with connect(case.tcpserver.address) as client:
                        case.assertNotEqual(number, 1)
                        client.sendall(b"ready")
                    case.tcpserver.join(10)

        self.assertOne("failure", "1 == 1", test=test)
        self.assertOne("failure", "1 == 1", test=lambda case: test(case, range(2)))

    def test_report_when_two_servers_fail(self) -> None:
        """Of two servers whose clients never come, one is reported."""
        def test(case: Any) -> None:
            case.start_tcpserver().expect_connect(timeout=0.02)
            case.tcpserver.expect_connect(timeout=0.02)
        self.assertOne("failure", "no client connected", test=test)

    def test_report_when_the_test_waits_at_another_server(self) -> None:
        """When one server's script fails, whoever waits at another is freed, and the first failure is the report."""
        ways: list[tuple[str, Any]] = [
            ("recv", lambda case: case.client.recv(1)), ("join", lambda case: case.other.join()),
            ("result", lambda case: case.step.result()), ("writing on", lambda case: write_on(case.other))]
        for name, wait in ways:
            def test(case: Any, wait: Any = wait) -> None:
                case.other = case.start_tcpserver()
                case.other.expect_connect()
                case.step = case.other.expect_line()
                case.client = connect(case.other.address)
                case.addCleanup(case.client.close)
                script(case)
                with connect(case.tcpserver.address) as client:
                    client.sendall(b"howdy")
                    wait(case)
            with self.subTest(name), mock.patch.object(threaded_runtime, "_MOMENT", 0.01):
                self.assertOne("failure", "expected b'hello', got b'howdy'", test=test,
                               tcpserver_options={"timeout": 60})

    def test_report_when_a_server_is_made_after_the_failure(self) -> None:
        """Who waits at that one is freed, too."""
        def test(case: Any) -> None:
            script(case)
            with connect(case.tcpserver.address) as client:
                client.sendall(b"howdy")
                with contextlib.suppress(AssertionError):
                    case.tcpserver.join()
                other = case.start_tcpserver(timeout=60)
                other.expect_connect()
                other.join()
        with mock.patch.object(threaded_runtime, "_MOMENT", 0.01):
            self.assertOne("failure", "expected b'hello', got b'howdy'", test=test)

    def test_other_servers_go_on_if_that_is_asked_for(self) -> None:
        """The failure of a server with cancel_body=False changes nothing for those who wait at another."""
        seen = []

        def test(case: Any) -> None:
            other = case.start_tcpserver(timeout=60, cancel_body=True)
            other.expect_connect()
            script(case)
            with connect(case.tcpserver.address) as client, connect(other.address) as another:
                client.sendall(b"howdy")
                another.settimeout(0.03)
                try:
                    another.recv(1)
                except OSError as error:
                    seen.append(type(error).__name__)
        with mock.patch.object(threaded_runtime, "_MOMENT", 0.01):
            self.assertOne("failure", "got b'howdy'", test=test, tcpserver_options={"cancel_body": False})
        self.assertIn(seen[0], ("timeout", "TimeoutError"))

    def test_verdict_that_a_subtest_reports(self) -> None:
        """It is the one report; what comes after it is a consequence."""
        def nothing(case: Any) -> None:
            pass

        def another(case: Any) -> None:
            with case.subTest(number=2):
                case.tcpserver.expect_connect()

        def written(case: Any) -> None:
            case.tcpserver.expect_connect()
        for rest in nothing, another, written:
            def test(case: Any, rest: Any = rest) -> None:
                with case.subTest(number=1):
                    wrong(case)
                rest(case)
            with self.subTest(rest=rest.__name__):
                self.assertOne("failure", "got b'howdy'", "then the client raised", test=test)

    def test_other_faults_than_the_one_that_a_subtest_reports(self) -> None:
        """What the test finds by itself is a report of its own."""
        def test(case: Any) -> None:
            with case.subTest(number=1):
                wrong(case)
            with case.subTest(number=2):
                case.fail("something else")
            case.fail("in the end")
        outcome = threaded_outcome_of(test=test)
        self.assertEqual(outcome.kinds, ["failure"] * 3, outcome)

    def test_failure_of_a_subtest_before_the_verdict(self) -> None:
        """A subtest that finds fault with something else reports that, and the verdict is the test's."""
        def test(case: Any) -> None:
            with case.subTest(number=1):
                case.fail("something else")
            wrong(case)
        outcome = threaded_outcome_of(test=test)
        self.assertEqual(outcome.kinds, ["failure", "failure"], outcome)

    def test_debug_when_a_subtest_fails(self) -> None:
        """Where a subtest reports nothing, the verdict ends the test."""
        def test(case: Any) -> None:
            with case.subTest(number=1):
                wrong(case)
        case = type("Case", (ThreadedMockTCPServerMixin, unittest.TestCase), {"test": test})("test")
        with self.assertRaisesRegex(AssertionError, "got b'howdy'"):
            case.debug()
        case.doCleanups()

    def test_skips_and_expected_failures(self) -> None:
        """A skip in the middle stays a skip, and an expected failure is one wherever it shows."""
        def skip(case: Any) -> None:
            script(case)
            case.skipTest("not today")

        @unittest.expectedFailure
        def fail(case: Any) -> None:
            wrong(case)

        @unittest.expectedFailure
        def fail_in_the_end(case: Any) -> None:
            case.tcpserver.expect_connect(timeout=0.01)

        @unittest.expectedFailure
        def passes(case: Any) -> None:
            right(case)

        self.assertOne("skipped", "not today", test=skip)
        self.assertOne("expected failure", "got b'howdy'", test=fail)
        for base in unittest.TestCase, AsyncTestCase:
            self.assertOne("expected failure", "no client", test=fail_in_the_end, base=base)
            self.assertOne("unexpected success", test=passes, base=base)
        self.assertOne("skipped", test=unittest.skip("never")(lambda case: None))

    def test_debug_when_the_test_fails(self) -> None:
        """debug() raises what the report would say, and leaves no thread."""
        case = type("Case", (ThreadedMockTCPServerMixin, unittest.TestCase), {"test": wrong})("test")
        with self.assertRaisesRegex(AssertionError, "got b'howdy'"):
            case.debug()
        case.doCleanups()


async def talk(case: Any, request: bytes = b"hello") -> bytes:
    """Do what the script says, if it is this request, in the test's own loop."""
    reader, writer = await asyncio.open_connection(*case.tcpserver.address)
    try:
        writer.write(request)
        return await reader.readexactly(7)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class AsynchronousTests(unittest.TestCase):
    """The mixin with an `IsolatedAsyncioTestCase`."""

    def setUp(self) -> None:
        self.seen: list[str] = []

    def outcome_of(self, **attributes: Any) -> Outcome:
        """Run such a case; return how it ended."""
        return threaded_outcome_of(base=AsyncTestCase, **attributes)

    def part(self, name: str) -> Any:
        """Return a part of a test that notes that it was run."""
        async def run(case: Any) -> None:
            await asyncio.sleep(0)
            self.seen.append(name)
        return run

    def test_each_part_is_run(self) -> None:
        """Set-up, test, tear-down and clean-ups of both kinds are awaited, in this order."""
        async def test(case: Any) -> None:
            case.addAsyncCleanup(self.part("asynchronous clean-up"), case)
            case.addCleanup(self.seen.append, "clean-up")
            await self.part("test")(case)
        outcome = self.outcome_of(
            setUp=lambda case: self.seen.append("setUp"), asyncSetUp=self.part("asyncSetUp"), test=test,
            asyncTearDown=self.part("asyncTearDown"), tearDown=lambda case: self.seen.append("tearDown"))
        self.assertEqual(outcome.kinds, [], outcome)
        self.assertEqual(self.seen, ["setUp", "asyncSetUp", "test", "asyncTearDown", "tearDown", "clean-up",
                                     "asynchronous clean-up"])

    def test_each_part_may_fail(self) -> None:
        """What each of them raises is reported."""
        async def fail(case: Any) -> None:
            await asyncio.sleep(0)
            case.fail("it was run")

        async def clean(case: Any) -> None:
            case.addAsyncCleanup(fail, case)
        nothing = self.part("test")
        for parts in ({"test": fail}, {"asyncSetUp": fail}, {"asyncTearDown": fail}, {"test": clean}):
            with self.subTest(parts=list(parts)):
                outcome = self.outcome_of(**{"test": nothing, **parts})
                self.assertEqual(outcome.kinds, ["failure"], outcome)
                self.assertIn("it was run", outcome.text)

    def test_verdict(self) -> None:
        """It is one report, the cause first, be it found in the test or at the end; a good client passes."""
        async def good(case: Any) -> None:
            script(case)
            case.assertEqual(await talk(case), b"welcome")

        async def bad(case: Any) -> None:
            script(case)
            await talk(case, b"howdy")

        async def missing(case: Any) -> None:
            case.tcpserver.expect_connect(timeout=0.02)

        async def by_itself(case: Any) -> None:
            script(case)
            await talk(case)
            raise LookupError("by itself")
        for test, kinds, words in ((good, [], ""), (bad, ["failure"], "got b'howdy'"),
                                   (missing, ["failure"], "no client connected"), (by_itself, ["error"], "by itself")):
            with self.subTest(test=test.__name__):
                outcome = self.outcome_of(test=test)
                self.assertEqual(outcome.kinds, kinds, outcome)
                self.assertIn(words, outcome.text)

    def test_loop_goes_on_while_the_verdict_is_awaited(self) -> None:
        """A client in the test's loop may do its part until the end."""
        async def test(case: Any) -> None:
            script(case)
            case.client = asyncio.ensure_future(talk(case))
        self.assertEqual(self.outcome_of(test=test, tcpserver_options={}).kinds, [])

    def test_server_that_fails_because_that_of_a_subtest_has_failed(self) -> None:
        """What a subtest has reported is not reported again by another server, which has failed because of that."""
        def test(case: Any) -> None:
            script(case)
            with connect(case.tcpserver.address) as client:
                with case.subTest("one"):
                    server = case.start_tcpserver()
                    server.expect_connect()
                    server.expect_bytes(b"hello")
                    with connect(server.address) as other:
                        other.sendall(b"howdy")
                        server.join()
                client.recv(1)  # until the other server has failed, too
        outcome = threaded_outcome_of(test=test, tcpserver_options={})
        self.assertEqual(outcome.kinds, ["failure"], outcome)
        self.assertIn("got b'howdy'", outcome.text)

    def test_debug(self) -> None:
        """debug() runs the body, and raises what it raises."""
        async def test(case: Any) -> None:
            script(case)
            await talk(case, b"howdy")
        case = type("Case", (ThreadedMockTCPServerMixin, AsyncTestCase), {"test": test})("test")
        with self.assertRaisesRegex(AssertionError, "got b'howdy'"):
            case.debug()
        case._cleanups.clear()
        getattr(case, "_tearDownAsyncioRunner", lambda: None)()  # else unittest does it whenever the test is collected

    def test_synchronous_test(self) -> None:
        """A test that is no coroutine function is judged as ever."""
        outcome = self.outcome_of(test=wrong)
        self.assertEqual(outcome.kinds, ["failure"], outcome)
