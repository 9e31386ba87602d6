"""The mixin: tests that pass, marks, and mistakes in its use."""

from __future__ import annotations

import asyncio
import sys
import time
import unittest
import unittest.mock
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServerMixin, ScriptError, ThreadedMockTCPServerMixin
from tests.support.long import lasting
from tests.support.loops import AsyncTestCase
from tests.support.outcomes import outcome_of, quick
from tests.support.reports import MISSPELT, ReportsTestCase, greeting
from tests.support.streams import close, connect


class PassingTests(ReportsTestCase):
    def test_good_client_passes(self) -> None:
        """A test whose client does what the script says is reported as nothing at all."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            reader, writer = await connect(self.tcpserver)
            writer.write(b"hello")
            self.assertEqual(await reader.readexactly(7), b"welcome")
            await close(writer)
        self.assertPasses(test=test)

    def test_unused_server_is_not_made(self) -> None:
        """A test that does not use the server pays nothing for it."""
        async def test(self: Any) -> None:
            pass
        with unittest.mock.patch("tcpclient_testing.testcase.MockTCPServer", side_effect=AssertionError):
            self.assertPasses(test=test)

    def test_clean_up_may_close_the_client(self) -> None:
        """The verdict comes after clean-ups that were registered after the first use."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            reader, writer = await connect(self.tcpserver)
            self.addAsyncCleanup(close, writer)
            writer.write(b"hello")
            await reader.readexactly(7)
        self.assertPasses(test=test)

    def test_tear_down_may_close_the_client(self) -> None:
        """The verdict comes after asyncTearDown, and asyncSetUp need not call super()."""
        async def set_up(self: Any) -> None:
            self.reader, self.writer = await connect(self.tcpserver)

        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            self.writer.write(b"hello")
            await self.reader.readexactly(7)

        async def tear_down(self: Any) -> None:
            await close(self.writer)
        self.assertPasses(asyncSetUp=set_up, test=test, asyncTearDown=tear_down)

    def test_server_used_in_set_up_listens_and_takes_a_script(self) -> None:
        """In setUp no loop runs yet, and the server has its address and takes steps all the same."""
        def set_up(self: Any) -> None:
            self.where = self.tcpserver.address
            greeting(self.tcpserver)

        async def test(self: Any) -> None:
            reader, writer = await asyncio.open_connection(*self.where)
            writer.write(b"hello")
            self.assertEqual(await reader.readexactly(7), b"welcome")
            await close(writer)
        self.assertPasses(setUp=set_up, test=test)

    def test_server_used_in_set_up_fails_the_test(self) -> None:
        """A script written in setUp is judged like any other."""
        def set_up(self: Any) -> None:
            greeting(self.tcpserver)

        async def test(self: Any) -> None:
            _, writer = await connect(self.tcpserver)
            writer.write(b"hullo")
            await asyncio.sleep(10)
        self.assertOneFailure(outcome_of(setUp=set_up, test=test, patience=0.02, timeless=True), "b'hullo'")

    def test_several_servers(self) -> None:
        """Each server of start_tcpserver() is another one, with the options given."""
        async def test(self: Any) -> None:
            second = self.start_tcpserver(ending=b"\n")
            self.assertNotEqual(second.port, self.tcpserver.port)
            for server in (self.tcpserver, second):
                server.expect_connect()
                server.expect_line(b"x")
                server.expect_disconnect()
            for server, data in ((self.tcpserver, b"x\r\n"), (second, b"x\n")):
                _, writer = await connect(server)
                writer.write(data)
                await close(writer)
        self.assertPasses(test=test)

    def test_debug_runs_the_test(self) -> None:
        """debug() runs the test, its clean-ups and the verdict, and raises what is wrong."""
        class Good(MockTCPServerMixin, AsyncTestCase):
            tcpserver_options = quick

            async def test(self) -> None:
                self.tcpserver.expect_connect()
                self.tcpserver.expect_disconnect()
                _, writer = await connect(self.tcpserver)
                await close(writer)

            async def test_bad(self) -> None:
                self.tcpserver.expect_connect(timeout=0.02)

        Good("test").debug()
        case = Good("test_bad")
        with self.assertRaises(ExpectationError):
            case.debug()
        self.assertTrue(case.tcpserver.closed)


class MarksTests(ReportsTestCase):
    @lasting
    def test_expected_failure(self) -> None:
        """expectedFailure takes the server's verdict in the body and at the end, and nothing else after the body."""
        async def unmarked(self: Any) -> None:
            self.tcpserver.expect_connect(timeout=0.03)

        @unittest.expectedFailure
        async def in_the_end(self: Any) -> None:
            await unmarked(self)

        @unittest.expectedFailure
        async def at_once(self: Any) -> None:
            greeting(self.tcpserver)
            _, writer = await connect(self.tcpserver)
            writer.write(b"hullo")
            await asyncio.sleep(60)

        @unittest.expectedFailure
        async def passing(self: Any) -> None:
            self.tcpserver.expect_connect()
            self.tcpserver.expect_disconnect()
            _, writer = await connect(self.tcpserver)
            await close(writer)

        def broken(self: Any) -> None:
            raise LookupError("no device")

        def exiting(self: Any) -> None:
            self.addCleanup(sys.exit, "after the verdict")  # no consequence of it
            self.assertTrue(self.tcpserver)
        self.assertEqual(outcome_of(test=at_once, patience=0.02, timeless=True).kinds, ["expected failure"])
        self.assertEqual(outcome_of(test=passing).kinds, ["unexpected success"])
        outcome = outcome_of(test=in_the_end, timeless=True)
        self.assertEqual(outcome.kinds, ["expected failure"])
        self.assertIn("no client connected", outcome.text)
        self.assertEqual(outcome_of(test=in_the_end, timeless=True, tearDown=broken).kinds, ["error"])
        self.assertEqual(outcome_of(test=in_the_end, timeless=True, setUp=exiting).kinds, ["error"])
        outcome = outcome_of(test=unmarked, timeless=True, __unittest_expecting_failure__=True)
        self.assertEqual(outcome.kinds, ["expected failure"])

    def test_skip(self) -> None:
        """A skipped test is skipped, by its mark and by SkipTest, with a server or without."""
        @unittest.skip("not today")
        async def marked(self: Any) -> None:
            raise AssertionError

        async def raising(self: Any) -> None:
            greeting(self.tcpserver)
            self.skipTest("not here")
        self.assertEqual(outcome_of(test=marked).kinds, ["skipped"])
        started = time.monotonic()
        self.assertEqual(outcome_of(test=raising, tcpserver_options={"timeout": 60}).kinds, ["skipped"])
        self.assertLess(time.monotonic() - started, 30)

    def test_subtests_go_on(self) -> None:
        """A failure in a subTest is reported by it; the server's verdict is the test's."""
        async def test(self: Any) -> None:
            for number in range(2):
                with self.subTest(number=number):
                    self.tcpserver.expect_connect()
                    self.tcpserver.expect_bytes(b"x")
                    _, writer = await connect(self.tcpserver)
                    writer.write(b"x")
                    await self.tcpserver.join()
                    self.tcpserver.expect_disconnect()
                    await close(writer)
                    self.assertEqual(number, 0)
        outcome = outcome_of(test=test)
        self.assertEqual(outcome.kinds, ["failure"], outcome)
        self.assertIn("1 != 0", outcome.text)

    def test_traceback_of_a_verdict(self) -> None:
        """The cause stands first: of the way to it only the test's own lines are shown, where there are any."""
        async def sends_the_wrong_bytes(case: Any) -> None:
            greeting(case.tcpserver)
            _, writer = await connect(case.tcpserver)
            case.addCleanup(writer.close)
            writer.write(b"hullo")

        async def at_the_end(case: Any) -> None:
            await sends_the_wrong_bytes(case)

        async def in_join(case: Any) -> None:
            await sends_the_wrong_bytes(case)
            await case.tcpserver.join()
        for test, lines in (at_the_end, 0), (in_join, 1):
            with self.subTest(test=test.__name__):
                outcome = outcome_of(test=test)
                self.assertEqual(outcome.kinds, ["failure"], outcome)
                way, _, _ = outcome.text.partition("tcpclient_testing.ExpectationError: ")
                self.assertEqual((way.count("  File "), way.count("test_testcase.py")), (lines, lines), way)

    def test_other_faults_than_the_one_that_a_subtest_reports(self) -> None:
        """What the test finds by itself, and the verdict on a server that is made later, are reports of their own."""
        async def wrong(case: Any) -> None:
            server = case.start_tcpserver()
            greeting(server)
            _, writer = await connect(server)
            case.addCleanup(writer.close)
            writer.write(b"hullo")
            await server.join()

        async def test(case: Any) -> None:
            for number in range(3):
                with case.subTest(number=number):
                    if number == 1:
                        case.fail("something else")
                    await wrong(case)
            case.fail("in the end")
        outcome = outcome_of(test=test)
        self.assertEqual(outcome.kinds, ["failure"] * 4, outcome)
        for text in "something else", "in the end":
            self.assertIn(text, outcome.text)

    def test_verdict_that_a_subtest_reports(self) -> None:
        """It is the one report, with what the client raised; what comes after it is a consequence."""
        async def joined(case: Any, reader: Any) -> None:
            await case.tcpserver.join()

        async def raised(case: Any, reader: Any) -> None:
            await reader.readexactly(7)

        async def hanging(case: Any, reader: Any) -> None:
            await asyncio.sleep(60)

        async def nothing(case: Any) -> None:
            pass

        async def another(case: Any) -> None:
            with case.subTest(number=2):
                case.tcpserver.expect_connect()

        async def written(case: Any) -> None:
            case.tcpserver.expect_connect()

        async def hangs(case: Any) -> None:
            await asyncio.sleep(60)
        for part in joined, raised, hanging:
            for rest in nothing, another, written, hangs:
                async def test(self: Any, part: Any = part, rest: Any = rest) -> None:
                    with self.subTest(number=1):
                        greeting(self.tcpserver)
                        reader, writer = await connect(self.tcpserver)
                        self.addCleanup(writer.close)
                        writer.write(b"hullo")
                        await part(self, reader)
                    await rest(self)
                with self.subTest(part=part.__name__, rest=rest.__name__):
                    outcome = outcome_of(test=test, patience=0.02, timeless=True)
                    self.assertOneFailure(outcome, MISSPELT)
                    self.assertEqual("ConnectionResetError" in outcome.text, part is raised)
                    self.assertNotRegex(outcome.text, r"in (subtest|raise_alone|__exit__)\b")  # no lines of the library

    def test_subtests_after_the_one_that_reports(self) -> None:
        """They run to their end, however long their clients take: the failure is reported, and concerns no other."""
        ended: list[int] = []

        async def test(self: Any) -> None:
            for number in range(3):
                with self.subTest(number=number):
                    server = self.start_tcpserver()
                    greeting(server)
                    reader, writer = await connect(server)
                    self.addCleanup(writer.close)
                    if number == 0:
                        writer.write(b"hullo")
                        await server.join()
                    for byte in b"hello":
                        await asyncio.sleep(3)
                        writer.write(bytes([byte]))
                    await reader.readexactly(7)
                    await close(writer)
                    ended.append(number)
        outcome = outcome_of(test=test, timeless=True, tcpserver_options={})
        self.assertOneFailure(outcome, MISSPELT)
        self.assertEqual(ended, [1, 2])

    def test_script_that_a_subtest_cuts_short(self) -> None:
        """A subtest that fails by itself in mid-conversation is the report on that, whoever hears of it later."""
        async def talk(case: Any, server: Any, number: int, *, fails: bool) -> None:
            server.expect_connect()
            server.expect_bytes(b"%d" % number)
            server.expect_disconnect()
            _, writer = await connect(server)
            try:
                if fails:
                    case.fail("its own")
                writer.write(b"%d" % number)
            finally:
                await close(writer)
            await server.join()

        async def shared(case: Any) -> None:
            for number in range(3):
                with case.subTest(number=number):
                    await talk(case, case.tcpserver, number, fails=number == 1)

        async def last(case: Any) -> None:
            with case.subTest(number=0):
                await talk(case, case.tcpserver, 0, fails=True)

        async def before_the_body_goes_on(case: Any) -> None:
            await last(case)
            await asyncio.sleep(0.01)
            await case.tcpserver.join()

        async def of_its_own(case: Any) -> None:
            for number in range(3):
                with case.subTest(number=number):
                    await talk(case, case.start_tcpserver(), number, fails=number == 1)

        async def before_it_connects(case: Any) -> None:
            with case.subTest(number=0):
                case.tcpserver.expect_connect()
                case.fail("its own")

        for test in shared, last, before_the_body_goes_on, of_its_own, before_it_connects:
            with self.subTest(test=test.__name__):
                started = time.monotonic()
                outcome = outcome_of(test=test, tcpserver_options={"timeout": 60})
                self.assertEqual(outcome.kinds, ["failure"], outcome)
                self.assertIn("its own", outcome.text)
                self.assertLess(time.monotonic() - started, 30)

    def test_other_scripts_than_what_a_subtest_cuts_short(self) -> None:
        """What was written before the subtest, and what another has written, is judged as ever."""
        async def before(case: Any) -> None:
            greeting(case.tcpserver)
            _, writer = await connect(case.tcpserver)
            case.addCleanup(writer.close)
            with case.subTest(number=1):
                case.fail("its own")
            writer.write(b"hullo")
            await case.tcpserver.join()

        async def after(case: Any) -> None:
            with case.subTest(number=1):
                case.start_tcpserver().expect_connect()
                case.fail("its own")
            with case.subTest(number=2):
                greeting(case.tcpserver)
                _, writer = await connect(case.tcpserver)
                case.addCleanup(writer.close)
                writer.write(b"hullo")
                await case.tcpserver.join()
        for test in before, after:
            with self.subTest(test=test.__name__):
                outcome = outcome_of(test=test)
                self.assertEqual(outcome.kinds, ["failure"] * 2, outcome)
                self.assertIn(MISSPELT, outcome.text)

    def test_skip_in_a_subtest(self) -> None:
        """It hides no failure of the script's."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            _, writer = await connect(self.tcpserver)
            self.addCleanup(writer.close)
            writer.write(b"hullo")
            await asyncio.wait([asyncio.ensure_future(self.tcpserver.join())])
            with self.subTest(number=1):
                self.skipTest("not here")
        self.assertIn("failure", outcome_of(test=test).kinds)

    def test_subtest_of_an_expected_failure(self) -> None:
        """A verdict in a subtest is the failure that was expected."""
        @unittest.expectedFailure
        async def test(self: Any) -> None:
            with self.subTest(number=1):
                self.tcpserver.expect_connect(timeout=0.01)
                await self.tcpserver.join()
        self.assertEqual(outcome_of(test=test).kinds, ["expected failure"])

    def test_keyboard_interrupt_passes(self) -> None:
        """KeyboardInterrupt is nobody's to keep, and the server is closed all the same."""
        servers: list[Any] = []

        async def test(self: Any) -> None:
            servers.append(self.tcpserver)
            greeting(self.tcpserver)
            raise KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            outcome_of(test=test)

    def test_cancellation_by_others_passes(self) -> None:
        """A body that somebody else cancels is reported as that."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.01, task.cancel)
            await asyncio.sleep(60)
        outcome = outcome_of(test=test, tcpserver_options={})
        self.assertEqual(outcome.kinds, ["error"], outcome)
        self.assertIn("CancelledError", outcome.text)


class MisuseTests(ReportsTestCase):
    def test_synchronous_test_names_the_threaded_mixin(self) -> None:
        """A `def test` has no loop that could serve a client: an error says what to use."""
        def test(self: Any) -> None:
            self.tcpserver.expect_connect()
        self.assertOneError(outcome_of(test=test), "ScriptError", "ThreadedMockTCPServerMixin")

    def test_script_error_is_an_error_of_the_test(self) -> None:
        """Misuse is an error, not a failure of the client."""
        async def test(self: Any) -> None:
            self.tcpserver.expect_bytes(b"x")
        self.assertOneError(outcome_of(test=test), "ScriptError", "every script begins with expect_connect()")
        self.assertTrue(issubclass(ScriptError, Exception))

    def test_method_keeps_its_name(self) -> None:
        """What the wrapper of the test method shows is the method's."""
        seen = []

        async def test(self: Any) -> None:
            """Say it."""
            seen.append((self.id(), self.shortDescription()))
        outcome_of(test=test)
        said = test.__doc__  # "Say it.", but for python -OO
        self.assertEqual(seen, [("tests.support.outcomes.Inner.test", said)])


    def test_loop_that_the_test_stops(self) -> None:
        """One error says so, soon; a RuntimeError of the test's own stands."""
        async def stop(self: Any) -> None:
            self.tcpserver.expect_connect()
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
            await asyncio.sleep(60)

        async def own(self: Any) -> None:
            raise RuntimeError("of the test's own")
        started = time.monotonic()
        self.assertOneError(outcome_of(test=stop, tcpserver_options={"timeout": 60}), "ScriptError",
                            "the event loop was stopped or closed while the test ran in it")
        self.assertLess(time.monotonic() - started, 30)
        self.assertOneError(outcome_of(test=own), "of the test's own")

    def test_parts_that_the_test_calls(self) -> None:
        """A test may tear down and set up again by itself, and is interrupted all the same."""
        seen = []

        async def part(self: Any) -> None:
            await asyncio.sleep(0)
            seen.append(self)

        async def test(self: Any) -> None:
            await self.asyncTearDown()
            await self.asyncSetUp()
            greeting(self.tcpserver)
            _, self.writer = await connect(self.tcpserver)
            self.writer.write(b"hullo")
            await asyncio.sleep(60)
        outcome = outcome_of(test=test, asyncSetUp=part, asyncTearDown=part, patience=0.02, timeless=True)
        self.assertOneFailure(outcome, MISSPELT)
        self.assertEqual(len(seen), 4)


class BasesTests(unittest.TestCase):
    """Test cases of the wrong kind are refused where they are written, before they could stop the whole run."""

    def assertRefused(self, bases: tuple[type, ...], *words: str) -> None:
        """A class with these bases can't be made, and the error has these words."""
        with self.assertRaises(TypeError) as caught:
            type("Wrong", bases, {})
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_plain_test_case(self) -> None:
        """The asynchronous mixin needs a test case with a loop; the error says what to write."""
        self.assertRefused((MockTCPServerMixin, unittest.TestCase),
                           "MockTCPServerMixin is for unittest.IsolatedAsyncioTestCase, which Wrong is not",
                           "class Wrong(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase)",
                           "ThreadedMockTCPServerMixin")
        own = type("Own", (unittest.TestCase,), {})
        self.assertRefused((MockTCPServerMixin, own), "which Wrong is not: derive Own from that, or use Threaded")

    def test_mixin_after_the_test_case(self) -> None:
        """Its methods would never be called; the error says what to write."""
        self.assertRefused((unittest.IsolatedAsyncioTestCase, MockTCPServerMixin),
                           "MockTCPServerMixin is to be named before the test case class",
                           "class Wrong(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase)")
        self.assertRefused((AsyncTestCase, MockTCPServerMixin), "class Wrong(MockTCPServerMixin, AsyncTestCase)")
        self.assertRefused((unittest.TestCase, ThreadedMockTCPServerMixin),
                           "class Wrong(ThreadedMockTCPServerMixin, unittest.TestCase)")

    def test_bases_that_will_do(self) -> None:
        """A mixin of mixins is no test case yet; test cases derived from others, with the mixin first, are fine."""
        class Site(MockTCPServerMixin):
            pass

        class Base(unittest.IsolatedAsyncioTestCase):
            pass

        for bases in ((Site, Base), (Site, unittest.IsolatedAsyncioTestCase), (MockTCPServerMixin, Base),
                      (Base, MockTCPServerMixin, unittest.IsolatedAsyncioTestCase),
                      (ThreadedMockTCPServerMixin, Base), (ThreadedMockTCPServerMixin, unittest.TestCase)):
            with self.subTest(bases=bases):
                case = type("Right", bases, {})
                self.assertTrue(issubclass(type("Derived", (case,), {}), unittest.TestCase))
        self.assertRefused((Base, Site), "class Wrong(Site, Base)")
