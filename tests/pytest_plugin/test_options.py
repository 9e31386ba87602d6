"""The options of the fixtures of pytest: `python -m pytest tests/pytest_plugin/test_options.py`."""

from __future__ import annotations

import os
import unittest

from tests.support.pytest_runs import GREETING, PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER


@needs("pytest_asyncio")
class OptionTests(PluginTestCase):
    """Time-outs, the marker, and what pytest tells of them."""

    SLOW = """
        @pytest.mark.asyncio
        {mark}
        async def test_it(tcpserver):
            assert tcpserver._runtime.session.environment.timeout == {seconds}
            tcpserver.expect_connect()
            await tcpserver.join()
    """

    def test_time_out(self) -> None:
        """The marker goes before the command line, and that before the ini file."""
        for name, mark, arguments, more, seconds in (
            ("ini", "", (), "tcpserver_timeout = 0.11", 0.11),
            ("command line", "", ("--tcpserver-timeout=0.22",), "tcpserver_timeout = 50", 0.22),
            ("marker", "@pytest.mark.tcpserver(timeout=0.33)", ("--tcpserver-timeout=50",), "", 0.33),
            ("scale", "@pytest.mark.tcpserver(timeout=0.04)", ("--tcpserver-timeout-scale=10",), "", 0.4),
        ):
            with self.subTest(name):
                result = self.run_tests(self.SLOW.format(mark=mark, seconds=seconds), *arguments, more=more)
                result.assert_outcomes(failed=1)
                self.assertIn("no client connected to 127.0.0.1:", self.text(result))
        self.assertNotEqual(os.environ.get("TCPCLIENT_TESTING_TIMEOUT_SCALE"), "10.0")

    def test_scale_of_a_step(self) -> None:
        """The scale multiplies what is written in a script, too."""
        source = """
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect(timeout=50)
                await tcpserver.join()
        """
        result = self.run_tests(source, "--tcpserver-timeout-scale=0.004")
        result.assert_outcomes(failed=1)
        self.assertRegex(self.text(result), r"for 0\.[2-9] s")

    def test_time_out_none(self) -> None:
        """The time-outs can be switched off."""
        self.run_tests(GREETING.format(mark="@pytest.mark.asyncio"), "--tcpserver-timeout=none",
                       "--tcpserver-idle-timeout=none").assert_outcomes(passed=1)

    def test_values_that_are_none(self) -> None:
        """A time-out that is no number is refused before any test runs."""
        for argument in ("--tcpserver-timeout=soon", "--tcpserver-timeout=0", "--tcpserver-timeout-scale=none"):
            with self.subTest(argument):
                result = self.run_tests(GREETING.format(mark="@pytest.mark.asyncio"), argument, subprocess=True)
                self.assertEqual(result.ret, 4)
                name, _, value = argument.partition("=")
                self.assertIn(f"{name} is a number greater than 0", "\n".join(result.stderr.lines))
                self.assertIn(repr(value), "\n".join(result.stderr.lines))

    def test_in_memory(self) -> None:
        """The marker puts a server in memory; the fixture for clients that block refuses that."""
        result = self.run_tests("""
            import asyncio

            @pytest.mark.asyncio
            @pytest.mark.tcpserver(in_memory=True)
            async def test_it(tcpserver):
                assert "sock_connect" in vars(asyncio.get_running_loop())
                tcpserver.expect_connect()
                tcpserver.expect_line(b"hello")
                await talk(tcpserver, b"hello\\r\\n")

            @pytest.mark.asyncio
            @pytest.mark.tcpserver(in_memory=True)
            async def test_wrong(tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_line(b"hello")
                await talk(tcpserver, b"hullo\\r\\n")

            @pytest.mark.tcpserver(in_memory=True)
            def test_blocking(threaded_tcpserver):
                pass
        """)
        result.assert_outcomes(passed=1, failed=1, errors=1)
        self.assertIn("expected b'hello', got b'hullo'", self.text(result))
        self.assertIn("ThreadedMockTCPServer can't be in memory", self.text(result))

    def test_marker_options_meet(self) -> None:
        """Options of markers on the class and the test are taken together; the closest wins; the factory's go first."""
        self.run_tests("""
            @pytest.mark.tcpserver(ending=b";", transcript_limit=7)
            class TestIt:
                @pytest.mark.tcpserver(transcript_limit=8)
                @pytest.mark.asyncio
                async def test_it(self, tcpserver, tcpserver_factory):
                    tcpserver.expect_connect()
                    tcpserver.expect_line(b"hello")
                    await talk(tcpserver, b"hello;")
                    assert tcpserver.transcript.limit == 8
                    assert (await tcpserver_factory(transcript_limit=9)).transcript.limit == 9
        """).assert_outcomes(passed=1)

    def test_marker_with_an_unknown_option(self) -> None:
        """The option is named, and the ones that there are."""
        for mark, message in (("timout=1", "no option 'timout'; did you mean 'timeout'?"), ("1.0", "options by name")):
            with self.subTest(mark):
                result = self.run_tests(self.SLOW.format(mark=f"@pytest.mark.tcpserver({mark})", seconds=5))
                result.assert_outcomes(errors=1)
                self.assertIn(message, self.text(result))

    def test_help(self) -> None:
        """--help, --markers and --fixtures say what there is."""
        for argument, *expected in (
            ("--help", "--tcpserver-timeout=SECONDS", "--tcpserver-timeout-scale=FACTOR", "tcpserver_idle_timeout"),
            ("--markers", "@pytest.mark.tcpserver(timeout=5.0"),
            ("--fixtures", "tcpserver_factory", "A real TCP server that follows a script", "clients that block"),
        ):
            with self.subTest(argument):
                text = self.text(self.run_tests("", argument))
                for each in expected:
                    self.assertIn(each, text)


if __name__ == "__main__":
    unittest.main()
