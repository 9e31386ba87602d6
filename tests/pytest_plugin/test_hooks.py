"""The pytest plugin and the reports that it leads to: `python -m pytest tests/pytest_plugin/test_hooks.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import unittest

from tests.support.pytest_runs import (
    FAREWELL,
    GREETING,
    INI,
    PREAMBLE,
    PYTESTER,
    PluginTestCase,
    needs,
    plugin_arguments,
)
from tests.support.readme import ROOT

pytest_plugins = PYTESTER


@needs("pytest_asyncio")
class VerdictTests(PluginTestCase):
    """Outcome failed, in the call, once, with the cause first."""

    def test_mismatch_that_nobody_asks_for(self) -> None:
        """A test that ends without join() fails at the line of the script, in one report."""
        text = self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                await talk(tcpserver, b"hullo")
        """, "1 failed", "expected b'hello', got b'hullo'", ">       tcpserver.expect_bytes(b\"hello\")",
                               "- tcpserver transcript -", "received 5 bytes  b'hullo'")
        self.assertEqual(text.count("received 5 bytes"), 1)
        self.assertNotIn("tcpclient_testing/", text)

    def test_mismatch_that_the_client_stumbles_over(self) -> None:
        """What the client raised after the script had failed is told last."""
        text = self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                tcpserver.send_bytes(b"hi")
                await talk(tcpserver, b"hullo", b"hi")
        """, "then the client raised", ">       tcpserver.expect_bytes(b\"hello\")")
        self.assertLess(text.index("expected b'hello', got b'hullo'"), text.index("then the client raised"))

    def test_mismatch_that_join_raises(self) -> None:
        """join() raises at its own line, and none of the library's frames is shown."""
        text = self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                await talk(tcpserver, b"hullo")
                await tcpserver.join()
        """, "expected b'hello', got b'hullo'", ">       await tcpserver.join()")
        self.assertNotIn("server.py", text)

    def test_mismatch_that_the_test_catches(self) -> None:
        """pytest.fail() and an assertion that come after the script had failed are consequences."""
        for consequence in ("pytest.fail('no reply')", "assert False, 'no reply'"):
            with self.subTest(consequence):
                self.fails_once(f"""
                    @pytest.mark.asyncio
                    async def test_it(tcpserver):
                        tcpserver.expect_connect()
                        tcpserver.expect_bytes(b"hello")
                        try:
                            await talk(tcpserver, b"hullo", b"hi")
                        except Exception:
                            {consequence}
                """, "ExpectationError: expected b'hello', got b'hullo' at byte 1 (connection 1, step 2 of 2",
                    "no reply")

    def test_client_that_would_wait_for_ever(self) -> None:
        """The test is interrupted, and fails with the cause."""
        self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                reader, writer = await asyncio.open_connection(*tcpserver.address)
                writer.write(b"hullo")
                try:
                    await asyncio.Event().wait()
                finally:
                    writer.close()
        """, "expected b'hello', got b'hullo'")

    def test_client_that_fails_by_itself(self) -> None:
        """Its own exception is the report, with the conversation in a section."""
        text = self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                tcpserver.send_bytes(b"hi")
                assert await talk(tcpserver, b"hello", b"hi") == b"ho"
        """, "AssertionError", "- tcpserver transcript -", "3 send_bytes(b'hi')", "sent 2 bytes  b'hi'")
        self.assertNotIn("ExpectationError", text)

    def test_script_that_is_left_unfinished(self) -> None:
        """The rest of the script is waited for when the test has ended."""
        self.fails_once("""
            @pytest.mark.asyncio
            @pytest.mark.tcpserver(timeout=0.1)
            async def test_it(tcpserver):
                tcpserver.expect_connect()
        """, "no client connected", ">       tcpserver.expect_connect()")

    def test_skip_and_expected_failure(self) -> None:
        """pytest.skip() in the test passes untouched; an expected failure is one."""
        self.run_tests("""
            @pytest.mark.asyncio
            async def test_skipped(tcpserver):
                tcpserver.expect_connect()
                pytest.skip("not here")

            @pytest.mark.xfail(strict=True)
            @pytest.mark.asyncio
            async def test_expected(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                await talk(tcpserver, b"hullo")
        """).assert_outcomes(skipped=1, xfailed=1)

    def test_expected_failure_that_shows_at_tear_down(self) -> None:
        """Until the client was closed, nothing is said of a success; then what there is to say, once."""
        for strict in False, True:
            result = self.run_tests(FAREWELL.format(
                fixture="@pytest_asyncio.fixture",
                mark=f"@pytest.mark.asyncio\n@pytest.mark.xfail(strict={strict}, reason='QUIT')"))
            with self.subTest(strict=strict):
                unexpected = {"failed": 1} if strict else {"xpassed": 1}
                result.assert_outcomes(xfailed=1, **unexpected)
                self.assertEqual("[XPASS(strict)] QUIT" in self.text(result), strict)

    def test_expected_failure_that_shows_at_the_end(self) -> None:
        """The verdict that ends the test is the failure; a script that is kept to is none."""
        self.run_tests("""
            pytestmark = [pytest.mark.asyncio, pytest.mark.xfail]

            async def test_expected(tcpserver):
                tcpserver.expect_connect(timeout=0.01)

            async def test_unexpected(tcpserver):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
        """).assert_outcomes(xfailed=1, xpassed=1)

    def test_fixture_closes_the_client(self) -> None:
        """What only the tear-down of a fixture does is judged after it."""
        result = self.run_tests(FAREWELL.format(fixture="@pytest_asyncio.fixture", mark="@pytest.mark.asyncio"))
        result.assert_outcomes(passed=2, errors=1)
        text = self.text(result)
        self.assertIn("expected b'EXIT', got b'QUIT'", text)
        self.assertIn(">       tcpserver.expect_bytes(expected)", text)

    def test_fixture_stumbles_while_it_closes_the_client(self) -> None:
        """After the verdict, what a fixture raises because the server has given up is no second report."""
        for end in "pass", "await tcpserver.join()":
            with self.subTest(end):
                self.fails_once(f"""
            @pytest_asyncio.fixture
            async def client(tcpserver):
                reader, writer = await asyncio.open_connection(*tcpserver.address)
                yield writer
                writer.close()
                assert await reader.read() == b"bye"

            @pytest.mark.asyncio
            async def test_it(tcpserver, client):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                client.write(b"hullo")
                {end}
        """, "expected b'hello', got b'hullo'")

    def test_fixture_fails_by_itself_while_it_closes_the_client(self) -> None:
        """A fixture's own error at tear-down is reported."""
        self.run_tests("""
            @pytest.fixture
            def broken(tcpserver):
                yield
                raise RuntimeError("broken")

            @pytest.mark.asyncio
            async def test_it(tcpserver, broken):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
        """).assert_outcomes(passed=1, errors=1)

    def test_script_fails_while_a_fixture_is_set_up(self) -> None:
        """The cause is reported, with what the fixture raised last."""
        result = self.run_tests("""
            @pytest_asyncio.fixture
            async def client(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                await talk(tcpserver, b"hullo", b"hi")

            @pytest.mark.asyncio
            async def test_it(tcpserver, client):
                pass
        """)
        result.assert_outcomes(errors=1)
        self.assertRegex(self.text(result), r"(?s)expected b'hello', got b'hullo'.*then the client raised")

    def test_several_servers(self) -> None:
        """The earliest failure is the verdict, and the section has each server's conversation."""
        text = self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver_factory):
                one, two = await tcpserver_factory(), await tcpserver_factory(timeout=0.1)
                one.expect_connect()
                two.expect_connect()
                two.expect_bytes(b"hello")
                await talk(one, b"")
                await talk(two, b"hullo")
        """, "expected b'hello', got b'hullo'")
        self.assertEqual(text.count("client connected from"), 2)

    def test_nothing_is_left_behind(self) -> None:
        """After the tests there are as many threads as before, and the stream class is asyncio's own."""
        self.run_tests(GREETING.format(mark="@pytest.mark.asyncio") + textwrap.dedent("""
            @pytest.mark.xfail(strict=True)
            @pytest.mark.asyncio
            async def test_wrong(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                await talk(tcpserver, b"hullo")

            def test_end():
                assert asyncio.streams.StreamWriter.__module__ == "asyncio.streams"
        """)).assert_outcomes(passed=2, xfailed=1)


@needs("pytest_asyncio")
class SessionTests(PluginTestCase):
    """What users ask of pytest."""

    TWO = """
        @pytest.mark.asyncio
        async def test_bad(tcpserver):
            tcpserver.expect_connect()
            tcpserver.expect_bytes(b"hello")
            await talk(tcpserver, b"hullo")

        @pytest.mark.asyncio
        async def test_good(tcpserver):
            tcpserver.expect_connect()
            await talk(tcpserver, b"")
    """

    def test_stop_at_the_first_failure(self) -> None:
        """-x stops after it."""
        self.run_tests(self.TWO, "-x").assert_outcomes(failed=1)

    def test_run_what_failed_last(self) -> None:
        """--lf runs the failed test alone."""
        self.run_tests(self.TWO).assert_outcomes(failed=1, passed=1)
        self.pytester.runpytest_inprocess(*plugin_arguments(), "--lf").assert_outcomes(failed=1)

    def test_summary(self) -> None:
        """-rA lists both, the failed one with what is wrong and where, without the exception's name."""
        os.environ["COLUMNS"] = "200"
        self.addCleanup(os.environ.pop, "COLUMNS")
        text = self.text(self.run_tests(self.TWO, "-rA"))
        self.assertRegex(text, r"FAILED \S+::test_bad - expected b'hello', got b'hullo' at byte 1 "
                               r"\(connection 1, step 2 of 2, test_summary\.py:\d+\)")
        self.assertRegex(text, r"PASSED .*::test_good")

    def test_debugger(self) -> None:
        """--pdb stops at the step; the time that is spent there is nobody's time-out."""
        self.pytester.makepyfile(PREAMBLE + textwrap.dedent("""
            import time

            @pytest_asyncio.fixture
            async def client(tcpserver):
                reader, writer = await asyncio.open_connection(*tcpserver.address)
                yield writer
                writer.close()
                await writer.wait_closed()

            @pytest.mark.tcpserver(timeout=0.5)
            @pytest.mark.asyncio
            async def test_bad(tcpserver, client):
                tcpserver.expect_connect()
                tcpserver.expect_disconnect()
                secret = "in the frame"
                assert secret == 0
        """))
        self.pytester.makeini(INI.format(mode="strict", more="", ignored=""))
        done = subprocess.run([sys.executable, "-m", "pytest", "--pdb", *plugin_arguments()], cwd=self.pytester.path,
                              env={**os.environ, "PYTHONPATH": str(ROOT)},
                              input=b"import time; time.sleep(2)\np secret\nc\n", stdout=subprocess.PIPE,
                              timeout=60, check=False)
        text = done.stdout.decode()
        self.assertIn("'in the frame'", text)
        self.assertIn("1 failed", text)
        self.assertNotIn("1 error", text)

    def test_breakpoint(self) -> None:
        """Time-outs stand still while the test itself stands at a breakpoint."""
        self.pytester.makepyfile(PREAMBLE + textwrap.dedent("""
            @pytest.mark.tcpserver(timeout=0.5)
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                reader, writer = await asyncio.open_connection(*tcpserver.address)
                await asyncio.sleep(0.01)
                breakpoint()
                writer.write(b"hello")
                await tcpserver.join()
                writer.close()
                await writer.wait_closed()
        """))
        self.pytester.makeini(INI.format(mode="strict", more="", ignored=""))
        done = subprocess.run([sys.executable, "-m", "pytest", *plugin_arguments()], cwd=self.pytester.path,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}, input=b"import time; time.sleep(2)\nc\n",
                              stdout=subprocess.PIPE, timeout=60, check=False)
        self.assertIn("1 passed", done.stdout.decode())

    @needs("xdist")
    def test_parallel_runs(self) -> None:
        """With -n 4 no two servers collide, and reports arrive whole."""
        many = "".join(GREETING.format(mark="@pytest.mark.asyncio").replace("_greeting", f"_{number}")
                       for number in range(24))
        result = self.run_tests(many + textwrap.dedent(self.TWO), "-n", "4", subprocess=True)
        result.assert_outcomes(passed=25, failed=1)
        self.assertIn("tcpserver transcript", self.text(result))
        self.assertIn("expected b'hello', got b'hullo'", self.text(result))

    def test_same_test_again(self) -> None:
        """A test that is run again has a server of its own each time, as with plugins that repeat tests."""
        result = self.run_tests("""
            @pytest.mark.parametrize("number", range(20))
            @pytest.mark.asyncio
            async def test_it(tcpserver, number):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"%d" % number)
                await talk(tcpserver, b"%d" % number)
                assert tcpserver.connections[0].index == 0
        """)
        result.assert_outcomes(passed=20)


if __name__ == "__main__":
    unittest.main()
