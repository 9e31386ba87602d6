"""The pytest plugin, in pytest sessions of its own: `python -m pytest tests/test_pytest_plugin.py`."""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import textwrap
import unittest
import unittest.mock
import warnings
from typing import Any, Callable

from tests.support.readme import ROOT

PYTEST = importlib.util.find_spec("pytest") is not None
if PYTEST:
    import pytest

    pytest_plugins = ["pytester"]

INI = """
[pytest]
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Unknown config option. asyncio_:pytest.PytestConfigWarning
    # Early versions of pytest-asyncio leave loops unclosed, whose sockets are noticed in any later test.
    ignore:unclosed (event loop|.socket.socket.*family=(1|AddressFamily.AF_UNIX)):ResourceWarning
    {ignored}
{more}
"""

PREAMBLE = """
import asyncio, socket
import pytest
try:
    import pytest_asyncio
except ImportError:
    pass

async def talk(server, message, reply=b""):
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        writer.write(message)
        return await reader.readexactly(len(reply))
    finally:
        writer.close()
        await writer.wait_closed()
"""


def needs(module: str) -> Callable[[Any], Any]:
    """Skip a test where a module is not installed."""
    return unittest.skipUnless(importlib.util.find_spec(module), f"needs {module}")


@unittest.skipUnless(PYTEST, "needs pytest")
class PluginTestCase(unittest.TestCase):
    """A test that runs tests with pytest, in a directory of its own."""

    pytester: Any = None

    if PYTEST:
        @pytest.fixture(autouse=True)
        def _take_pytester(self, pytester: Any) -> None:
            self.pytester = pytester

    def setUp(self) -> None:
        if self.pytester is None:
            self.skipTest("pytest itself has to run this: python -m pytest tests/test_pytest_plugin.py")

    def run_tests(self, source: str, *arguments: str, mode: str = "strict", more: str = "", ignored: str = "",
                  subprocess: bool = False) -> Any:
        """Run the tests in `source` with pytest; return the result."""
        self.pytester.makepyfile(PREAMBLE + textwrap.dedent(source))
        self.pytester.makeini(INI.format(mode=mode, more=textwrap.dedent(more), ignored=ignored))
        if subprocess:
            # The package is not installed where the suite runs from a checkout.
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            with unittest.mock.patch.dict(os.environ, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1"):
                return self.pytester.runpytest_subprocess(*plugin_arguments(), *arguments)
        try:
            # Else what is written next, in the same second and of the same size, is not compiled again.
            with unittest.mock.patch.object(sys, "dont_write_bytecode", True):
                return self.pytester.runpytest_inprocess(*plugin_arguments(), *arguments)
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # those loops again
                gc.collect()

    def text(self, result: Any) -> str:
        """What pytest has printed."""
        return "\n".join(result.stdout.lines)

    def fails_once(self, source: str, *expected: str, **options: Any) -> str:
        """Assert that the one test in `source` fails in its call, with these texts in its report; return the output."""
        result = self.run_tests(source, **options)
        result.assert_outcomes(failed=1)
        text = self.text(result)
        for each in expected:
            self.assertIn(each, text)
        return text


def plugin_arguments() -> list[str]:
    """The arguments with which pytest loads the plugin, once, and nothing that changes the order of tests."""
    found: Any = importlib.metadata.entry_points()
    points = found.select(group="pytest11") if hasattr(found, "select") else found.get("pytest11", ())
    installed = any(point.value == "tcpclient_testing.pytest_plugin" for point in points)
    load = [] if installed else ["-p", "tcpclient_testing.pytest_plugin"]
    return [*load, "-p", "no:randomly", "-p", "no:random_order"]


GREETING = """
{mark}
async def test_greeting(tcpserver):
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"hello")
    tcpserver.send_bytes(b"hi")
    tcpserver.expect_disconnect()
    assert await talk(tcpserver, b"hello", b"hi") == b"hi"
"""


class LoopTests(PluginTestCase):
    """The loops in which tests run."""

    @needs("pytest_asyncio")
    def test_strict_mode_of_pytest_asyncio(self) -> None:
        """A test marked for pytest-asyncio talks to the server."""
        self.run_tests(GREETING.format(mark="@pytest.mark.asyncio")).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_auto_mode_of_pytest_asyncio(self) -> None:
        """In automatic mode no mark is needed; a test that is marked for anyio is pytest-asyncio's, too."""
        # In a process of its own: early versions leave their mark on the fixtures of plugins.
        source = GREETING.format(mark="") + textwrap.dedent("""
            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            async def test_both_plugins(tcpserver, anyio_backend):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
        """)
        self.run_tests(source, mode="auto", subprocess=True).assert_outcomes(passed=2)

    @needs("anyio")
    def test_anyio_plugin_on_asyncio(self) -> None:
        """A test marked for anyio talks to the server, and its failure is its own."""
        source = """
            @pytest.fixture
            def anyio_backend():
                return "asyncio"
        """
        wrong = GREETING.replace("hello", "hullo", 1).replace("test_greeting", "test_wrong")
        result = self.run_tests(textwrap.dedent(source) + (GREETING + wrong).format(mark="@pytest.mark.anyio"))
        result.assert_outcomes(passed=1, failed=1)
        self.assertIn("expected b'hullo', got b'hello'", self.text(result))

    @needs("anyio")
    @needs("trio")
    def test_anyio_plugin_on_trio(self) -> None:
        """On trio's backend tcpserver skips the test, and threaded_tcpserver serves it."""
        result = self.run_tests("""
            @pytest.fixture(params=["asyncio", "trio"])
            def anyio_backend(request):
                return request.param

            @pytest.mark.anyio
            async def test_loop(tcpserver):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")

            @pytest.mark.anyio
            async def test_thread(threaded_tcpserver):
                import anyio
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(b"hello")
                async with await anyio.connect_tcp(*threaded_tcpserver.address) as stream:
                    await stream.send(b"hello")
        """, "-rs")
        result.assert_outcomes(passed=3, skipped=1)
        self.assertIn("threaded_tcpserver serves both", self.text(result))

    @needs("anyio")
    def test_fixture_of_anyio_closes_the_client(self) -> None:
        """anyio keeps its loop until the server was judged, after the fixture that closes the client."""
        client = """
            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            @pytest.fixture
            async def client(tcpserver):
                reader, writer = await asyncio.open_connection(*tcpserver.address)
                yield writer
                writer.write(b"QUIT")
                writer.close()
                await writer.wait_closed()

            @pytest.mark.anyio
            @pytest.mark.parametrize("expected", [b"QUIT", b"EXIT"])
            async def test_client(tcpserver, client, expected):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                tcpserver.expect_bytes(expected)
                client.write(b"hello")
        """
        result = self.run_tests(client)
        result.assert_outcomes(passed=2, errors=1)
        self.assertIn("expected b'EXIT', got b'QUIT'", self.text(result))

    @needs("pytest_asyncio")
    def test_loops_of_wider_scope(self) -> None:
        """Each test has a server of its own where they share the loop of a module or session."""
        if importlib.metadata.version("pytest-asyncio") < "0.24":
            argument = "scope"
        else:
            argument = "loop_scope"
        for scope in ("module", "session"):
            with self.subTest(scope=scope):
                mark = f'@pytest.mark.asyncio({argument}="{scope}")'
                first = GREETING.format(mark=mark)
                result = self.run_tests(first + first.replace("_greeting", "_again")
                                        + first.replace("_greeting", "_wrong").replace("hello", "hullo", 1))
                result.assert_outcomes(passed=2, failed=1)

    @needs("pytest_asyncio")
    def test_address_before_the_loop_runs(self) -> None:
        """Synchronous fixtures have the address, and may write a script; a client that connects early waits."""
        self.run_tests("""
            @pytest.fixture
            def port(tcpserver):
                return tcpserver.service_port

            @pytest.fixture
            def scripted(tcpserver):
                tcpserver.expect_connect(timeout=0.5)
                tcpserver.send_bytes(b"welcome")
                return tcpserver

            @pytest_asyncio.fixture
            async def client(port, scripted):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.readexactly(7) == b"welcome"
                yield reader, writer
                writer.close()
                await writer.wait_closed()

            @pytest.mark.asyncio
            async def test_client(client, tcpserver):
                tcpserver.expect_bytes(b"hello")
                client[1].write(b"hello")
                await tcpserver.join()
        """).assert_outcomes(passed=1)


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
                """, "ExpectationError: connection 1, step 2 of 2", "no reply")

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

    def test_fixture_closes_the_client(self) -> None:
        """What only the tear-down of a fixture does is judged after it."""
        result = self.run_tests("""
            @pytest_asyncio.fixture
            async def client(tcpserver):
                reader, writer = await asyncio.open_connection(*tcpserver.address)
                yield writer
                writer.write(b"QUIT")
                writer.close()
                await writer.wait_closed()

            @pytest.mark.asyncio
            @pytest.mark.parametrize("expected", [b"QUIT", b"EXIT"])
            async def test_it(tcpserver, client, expected):
                tcpserver.expect_connect()
                tcpserver.expect_bytes(b"hello")
                tcpserver.expect_bytes(expected)
                client.write(b"hello")
        """)
        result.assert_outcomes(passed=2, errors=1)
        text = self.text(result)
        self.assertIn("expected b'EXIT', got b'QUIT'", text)
        self.assertIn(">       tcpserver.expect_bytes(expected)", text)

    def test_fixture_stumbles_while_it_closes_the_client(self) -> None:
        """After the verdict, what a fixture raises because the server has given up is no second report."""
        self.fails_once("""
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


# Conversations as suites for pytest-tcpclient 0.7 have them, and their verdicts.
COMPATIBLE = (
    ("positional time-outs, join as a barrier, and the automatic end", "passed", """
        tcpserver.expect_connect(1)
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        tcpserver.expect_bytes(b"one", 1)
        writer.write(b"one")
        await tcpserver.join()
        tcpserver.send_bytes(b"two")
        await tcpserver.join()
        assert await reader.readexactly(3) == b"two"
        writer.close()
        await writer.wait_closed()
    """),
    ("arguments by name", "passed", """
        tcpserver.expect_connect(timeout=1)
        tcpserver.expect_bytes(expected_bytes=b"one", timeout=1)
        tcpserver.expect_frame(expected_payload=b"two", timeout=1)
        tcpserver.send_frame(payload=b"three")
        tcpserver.send_bytes(data=b"four")
        tcpserver.expect_disconnect(timeout=1)
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.write(b"one\\x00\\x00\\x00\\x03two")
        assert await reader.readexactly(13) == b"\\x00\\x00\\x00\\x05threefour"
        writer.close()
        await writer.wait_closed()
        await tcpserver.join()
    """),
    ("the server disconnects", "passed", """
        tcpserver.expect_connect()
        tcpserver.disconnect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await tcpserver.join()
    """),
    ("the client connects before it is expected", "passed", """
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.close()
        await writer.wait_closed()
        tcpserver.expect_connect()
        tcpserver.expect_disconnect()
        await tcpserver.join()
    """),
    ("no client connects", "failed", """
        tcpserver.expect_connect(0.05)
        await tcpserver.join()
    """),
    ("no expect_connect", "failed", """
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        tcpserver.expect_bytes(b"one")
        writer.write(b"one")
        await tcpserver.join()
    """),
    ("a client that does not close", "failed", """
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        tcpserver.expect_connect()
        tcpserver.expect_disconnect(0.05)
        await tcpserver.join()
    """),
    ("a client that does not close, at the automatic end", "failed", """
        tcpserver.expect_connect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        asyncio.current_task().kept = writer
    """),
    ("a client that does not close after the server did", "failed", """
        tcpserver.expect_connect()
        tcpserver.disconnect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        assert await reader.read() == b""
        asyncio.current_task().kept = writer
    """),
    ("no wait_closed", "failed", """
        tcpserver.expect_connect()
        tcpserver.expect_disconnect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.close()
        await tcpserver.join()
    """),
    ("no wait_closed, at the automatic end", "failed", """
        tcpserver.expect_connect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.close()
    """),
    ("a reply that is not read", "failed", """
        tcpserver.expect_connect()
        tcpserver.send_bytes(b"onetwo")
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        assert await reader.readexactly(3) == b"one"
        writer.close()
        await writer.wait_closed()
    """),
    ("a second connection", "failed", """
        tcpserver.expect_connect()
        for _ in range(2):
            reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
            writer.close()
            await writer.wait_closed()
    """),
    ("another frame", "failed", """
        tcpserver.expect_connect()
        tcpserver.expect_frame(b"one", 1)
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.write(b"\\x00\\x00\\x00\\x03two")
        await tcpserver.join()
    """),
)


@needs("pytest_asyncio")
class CompatibilityTests(PluginTestCase):
    """Suites that were written for pytest-tcpclient 0.7."""

    def test_conversations(self) -> None:
        """Names, positional arguments and verdicts are those of pytest-tcpclient."""
        source, outcomes = "", {"passed": 0, "failed": 0}
        for number, (what, outcome, body) in enumerate(COMPATIBLE):
            source += f"\n@pytest.mark.asyncio()\nasync def test_{number}_{outcome}(tcpserver):\n    # {what}"
            source += textwrap.indent(textwrap.dedent(body), "    ")
            outcomes[outcome] += 1
        result = self.run_tests(source, "-rA", ignored="ignore:unclosed:ResourceWarning\n    "
                                "ignore::pytest.PytestUnraisableExceptionWarning", subprocess=True)
        wrong = [line for line in result.stdout.lines
                 if line.startswith(("PASSED", "FAILED")) and ("PASSED" in line) != ("_passed" in line)]
        self.assertEqual(wrong, [])
        result.assert_outcomes(**outcomes)

    def test_factory(self) -> None:
        """`await tcpserver_factory()` makes a server; `await tcpserver_factory.stop()` judges them."""
        result = self.run_tests("""
            @pytest.mark.asyncio
            async def test_good(tcpserver_factory):
                servers = [await tcpserver_factory(), await tcpserver_factory()]
                for server in servers:
                    server.expect_connect()
                    server.expect_bytes(b"one")
                    await talk(server, b"one")
                await tcpserver_factory.stop()

            @pytest.mark.asyncio
            async def test_bad(tcpserver_factory):
                server = await tcpserver_factory()
                server.expect_connect(timeout=0.05)
                with pytest.raises(AssertionError, match="no client connected"):
                    await tcpserver_factory.stop()
        """)
        result.assert_outcomes(passed=2)


@needs("pytest_asyncio")
class OptionTests(PluginTestCase):
    """Time-outs, the marker, and what pytest tells of them."""

    SLOW = """
        @pytest.mark.asyncio
        {mark}
        async def test_it(tcpserver):
            assert tcpserver._runtime.session.timeout == {seconds}
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


BACK_OFF = """
import time
from tcpclient_testing.aio.clock import is_virtual

async def back_off(server):
    server.expect_connect()
    server.disconnect()
    server.expect_disconnect()
    server.expect_connect(after=3600)
    server.expect_disconnect()
    reader, writer = await asyncio.open_connection(*server.address)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(3600)
    await talk(server, b"")
    await server.join()

{mark}
@pytest.mark.tcpserver(virtual_time=True)
async def test_hour(tcpserver):
    loop, began = asyncio.get_running_loop(), time.monotonic()
    await back_off(tcpserver)
    assert 3600 <= loop.virtual_time_elapsed < 3660
    assert time.monotonic() - began < 60

{mark}
async def test_real():
    assert not is_virtual(asyncio.get_running_loop())
"""


class VirtualTimeTests(PluginTestCase):
    """Tests that are marked with `virtual_time=True`."""

    ANYIO = """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
    """

    @needs("pytest_asyncio")
    def test_hour_under_pytest_asyncio(self) -> None:
        """A client that backs off for an hour passes in no time, and only the marked test has virtual time."""
        self.run_tests(BACK_OFF.format(mark="@pytest.mark.asyncio")).assert_outcomes(passed=2)

    @needs("pytest_asyncio")
    def test_hour_in_automatic_mode(self) -> None:
        """In automatic mode the marker for virtual time is the only one."""
        self.run_tests(BACK_OFF.format(mark=""), mode="auto", subprocess=True).assert_outcomes(passed=2)

    @needs("anyio")
    def test_hour_under_anyio(self) -> None:
        """A client that backs off for an hour passes in no time under anyio's plugin."""
        source = textwrap.dedent(self.ANYIO) + BACK_OFF.format(mark="@pytest.mark.anyio")
        self.run_tests(source).assert_outcomes(passed=2)

    @needs("anyio")
    def test_server_of_ones_own_under_anyio(self) -> None:
        """A marked test that takes no fixture of ours has virtual time, too."""
        self.run_tests(textwrap.dedent(self.ANYIO) + textwrap.dedent("""
            @pytest.mark.anyio
            @pytest.mark.tcpserver(virtual_time=True)
            async def test_it():
                await asyncio.sleep(3600)
                assert asyncio.get_running_loop().virtual_time_elapsed >= 3600
        """)).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_fixture_that_connects(self) -> None:
        """Asynchronous fixtures run in the same virtual loop, whether they come before the server or after it."""
        self.run_tests("""
            @pytest_asyncio.fixture
            async def early():
                await asyncio.sleep(3600)
                yield

            @pytest_asyncio.fixture
            async def late(tcpserver):
                await asyncio.sleep(3600)
                yield
                await asyncio.sleep(3600)

            @pytest.mark.asyncio
            @pytest.mark.tcpserver(virtual_time=True)
            async def test_it(early, tcpserver, late):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
                assert asyncio.get_running_loop().virtual_time_elapsed >= 7200
        """).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_loop_that_tests_share(self) -> None:
        """A mark for the whole module makes the module's loop virtual; a mark for one of its tests is refused."""
        argument = "scope" if importlib.metadata.version("pytest-asyncio") < "0.24" else "loop_scope"
        source = """
            @pytest.mark.asyncio({argument}="module")
            {mark}
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
                await asyncio.sleep(3600)
        """
        mark = "pytest.mark.tcpserver(virtual_time=True)"
        shared = textwrap.dedent(source).format(argument=argument, mark="")
        self.run_tests(f"pytestmark = {mark}\n{shared}").assert_outcomes(passed=1)
        result = self.run_tests(source.format(argument=argument, mark=f"@{mark}"))
        result.assert_outcomes(errors=1)
        self.assertIn("asks for virtual_time=True, but runs in a", self.text(result))
        self.assertIn("mark all that share it", self.text(result))

    @needs("anyio")
    def test_loop_that_the_suite_has_chosen(self) -> None:
        """A loop factory of another kind is refused; ours is welcome."""
        for factory, outcome in (("asyncio.SelectorEventLoop", "errors"), ("VirtualClockEventLoop", "passed")):
            with self.subTest(factory):
                result = self.run_tests(f"""
                    from tcpclient_testing import VirtualClockEventLoop

                    @pytest.fixture
                    def anyio_backend():
                        return "asyncio", {{"loop_factory": {factory}}}

                    @pytest.mark.anyio
                    @pytest.mark.tcpserver(virtual_time=True)
                    async def test_it(tcpserver):
                        tcpserver.expect_connect()
                        await talk(tcpserver, b"")
                """)
                result.assert_outcomes(**{outcome: 1})

    @needs("pytest_asyncio")
    def test_closest_marker(self) -> None:
        """The marker of the test goes before that of its class."""
        self.run_tests("""
            @pytest.mark.tcpserver(virtual_time=True)
            class TestIt:
                @pytest.mark.tcpserver(virtual_time=False)
                @pytest.mark.asyncio
                async def test_it(self, tcpserver):
                    tcpserver.expect_connect()
                    await talk(tcpserver, b"")
                    assert not hasattr(asyncio.get_running_loop(), "virtual_time_elapsed")
        """).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_mistakes(self) -> None:
        """A value that is no truth value, and a server in a thread, are refused."""
        for value, fixture, message in (
            ("'yes'", "tcpserver", "virtual_time is True or False, not 'yes'"),
            ("True", "threaded_tcpserver", "take the fixture tcpserver"),
        ):
            with self.subTest(fixture):
                result = self.run_tests(f"""
                    @pytest.mark.asyncio
                    @pytest.mark.tcpserver(virtual_time={value})
                    async def test_it({fixture}):
                        pass
                """)
                result.assert_outcomes(errors=1)
                self.assertIn(message, self.text(result))


@needs("pytest_asyncio")
class MisuseTests(PluginTestCase):
    """Clear errors for what can't work."""

    def fails_at_setup(self, source: str, *expected: str) -> None:
        """Assert that the one test can't be set up, for this reason."""
        result = self.run_tests(source)
        result.assert_outcomes(errors=1)
        for each in expected:
            self.assertIn(each, self.text(result))

    def test_blocking_test(self) -> None:
        """A test that is no coroutine function is told of threaded_tcpserver."""
        self.fails_at_setup("def test_it(tcpserver): pass", "test_it is not `async def`", "threaded_tcpserver")

    def test_both_fixtures(self) -> None:
        """A test takes one kind of server."""
        for names in ("tcpserver, threaded_tcpserver", "threaded_tcpserver, tcpserver_factory"):
            with self.subTest(names):
                self.fails_at_setup(f"@pytest.mark.asyncio\nasync def test_it({names}): pass", "test_it takes both")

    def test_fixture_of_wider_scope(self) -> None:
        """A fixture of a module can't have the server of a test."""
        self.fails_at_setup("""
            @pytest.fixture(scope="module")
            def client(tcpserver): pass

            def test_it(client): pass
        """, "ScopeMismatch", "tcpserver")

    def test_loop_that_is_closed_too_early(self) -> None:
        """The server can't be judged in a loop that was closed, and says so."""
        result = self.run_tests("""
            import functools

            def in_own_loop(function):
                @functools.wraps(function)
                def test(**fixtures):
                    asyncio.run(function(**fixtures))
                return test

            @in_own_loop
            async def test_it(tcpserver):
                tcpserver.expect_connect()
        """, subprocess=True)
        result.assert_outcomes(passed=1, errors=1)
        self.assertIn("was closed before the server could be judged", self.text(result))


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
        """-rA lists both, the failed one with the cause."""
        os.environ["COLUMNS"] = "200"
        self.addCleanup(os.environ.pop, "COLUMNS")
        text = self.text(self.run_tests(self.TWO, "-rA"))
        self.assertRegex(text, r"FAILED .*::test_bad - tcpclient_testing.ExpectationError: connection 1, step 2 of 2")
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


class ThreadedTests(PluginTestCase):
    """The fixtures for clients that block."""

    def test_conversation(self) -> None:
        """A blocking client talks to the server, in a test that is no coroutine."""
        self.run_tests("""
            def test_it(threaded_tcpserver):
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(b"hello")
                threaded_tcpserver.send_bytes(b"hi")
                with socket.create_connection(threaded_tcpserver.address) as client:
                    client.sendall(b"hello")
                    assert client.recv(2) == b"hi"
        """).assert_outcomes(passed=1)

    def test_mismatch(self) -> None:
        """The test fails in its call at the line of the script, whether its client has raised or not."""
        for reply in ("", "assert client.recv(2) == b'hi'"):
            with self.subTest(reply):
                self.fails_once(f"""
                    def test_it(threaded_tcpserver):
                        threaded_tcpserver.expect_connect()
                        threaded_tcpserver.expect_bytes(b"hello")
                        with socket.create_connection(threaded_tcpserver.address) as client:
                            client.sendall(b"hullo")
                            {reply}
                """, "expected b'hello', got b'hullo'", ">       threaded_tcpserver.expect_bytes(b\"hello\")",
                                "- tcpserver transcript -")

    def test_fixture_closes_the_client(self) -> None:
        """What only the tear-down of a fixture does is judged after it."""
        self.run_tests("""
            @pytest.fixture
            def client(threaded_tcpserver):
                with socket.create_connection(threaded_tcpserver.address) as client:
                    yield client
                    client.sendall(b"QUIT")

            @pytest.mark.parametrize("expected", [b"QUIT", b"EXIT"])
            def test_it(threaded_tcpserver, client, expected):
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(expected)
        """).assert_outcomes(passed=2, errors=1)

    def test_factory(self) -> None:
        """The factory makes servers, and judges them."""
        self.run_tests("""
            def test_it(threaded_tcpserver_factory):
                servers = [threaded_tcpserver_factory(), threaded_tcpserver_factory(timeout=0.05)]
                for server in servers:
                    server.expect_connect()
                socket.create_connection(servers[0].address).close()
                with pytest.raises(AssertionError, match="no client connected"):
                    threaded_tcpserver_factory.stop()
        """).assert_outcomes(passed=1)


if __name__ == "__main__":
    unittest.main()
