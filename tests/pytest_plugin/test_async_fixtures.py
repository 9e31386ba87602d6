"""Asynchronous fixtures of a test that has a server: `python -m pytest tests/pytest_plugin/test_async_fixtures.py`."""

from __future__ import annotations

import importlib
import importlib.util
import unittest
from unittest import mock

from tcpclient_testing.harness import interruption
from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

FIXTURE = """
{fixture}
async def client(tcpserver):
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"hello")
    reader, writer = await asyncio.open_connection(*tcpserver.address)
    {before}
    yield writer
    {after}
    writer.close()

{mark}
async def test_it(client):
    client.write(b"hello")
"""

# The client waits for something of its own, for good, as it seems.
HANGS = 'writer.write(b"hullo"); await asyncio.sleep(60)'
HANGS_IN_TEAR_DOWN = 'tcpserver.expect_bytes(b"bye"); writer.write(b"by!"); await asyncio.sleep(60)'


def looks_early() -> bool:
    """Whether this is a pytest-asyncio with which fixtures can't be interrupted."""
    plugin = importlib.import_module("pytest_asyncio.plugin") if importlib.util.find_spec("pytest_asyncio") else None
    return hasattr(plugin, "_preprocess_async_fixtures")


in_time = unittest.skipIf(looks_early(), "this pytest-asyncio has looked at fixtures by then")


class PartsTestCase(PluginTestCase):
    """Fixtures that hang; they are interrupted soon, and sooner."""

    fixture = "@pytest_asyncio.fixture"
    mark = "@pytest.mark.asyncio"

    def setUp(self) -> None:
        super().setUp()
        for name in "_PATIENCE", "_PATIENCE_WHILE_CLEANING", "_INSISTENCE":
            patch = mock.patch.object(interruption, name, 0.05)
            patch.start()
            self.addCleanup(patch.stop)

    def errs_once(self, source: str, *expected: str) -> None:
        """Assert that one test has one error, outside its call, with these texts in its report."""
        result = self.run_tests(source)
        outcomes = result.parseoutcomes()
        self.assertEqual(outcomes.get("errors"), 1, outcomes)
        self.assertNotIn("failed", outcomes)
        text = self.text(result)
        for each in expected:
            self.assertIn(each, text)
        self.assertNotIn("CancelledError", text)

    def source(self, before: str = "", after: str = "") -> str:
        """A test and its fixture, which does these things before and after its value."""
        return FIXTURE.format(fixture=self.fixture, mark=self.mark, before=before, after=after)


@needs("pytest_asyncio")
class AsyncioTests(PartsTestCase):
    """Under pytest-asyncio."""

    @in_time
    def test_set_up_hangs(self) -> None:
        """The verdict is the error of the set-up."""
        self.errs_once(self.source(before=HANGS), "ERROR at setup", "expected b'hello', got b'hullo'",
                       ">       tcpserver.expect_bytes(b\"hello\")")

    @in_time
    def test_set_up_hangs_and_raises(self) -> None:
        """What the client raises when it is interrupted is told last."""
        raising = f"""try:
        {HANGS}
    finally:
        raise LookupError("no device")"""
        self.errs_once(self.source(before=raising), "got b'hullo'", "then the client raised", "no device")

    @in_time
    def test_set_up_of_a_coroutine_hangs(self) -> None:
        """It is the same for a fixture that is no generator."""
        source = self.source(before=f"{HANGS}; return").replace("    yield writer\n", "")
        self.errs_once(source, "ERROR at setup", "got b'hullo'")

    @in_time
    def test_tear_down_hangs(self) -> None:
        """The verdict is given after it, as that of any test whose fixtures close the client."""
        self.errs_once(self.source(after=HANGS_IN_TEAR_DOWN), "ERROR at teardown", "expected b'bye', got b'by!'")

    @in_time
    def test_tear_down_raises_because_the_script_has_failed(self) -> None:
        """What it raises is a consequence: the verdict is the one report."""
        after = 'tcpserver.expect_bytes(b"bye"); writer.write(b"by!"); await reader.readexactly(1)'
        result = self.run_tests(FIXTURE.format(fixture=self.fixture, mark=self.mark, before="pass", after=after))
        result.assert_outcomes(passed=1, errors=1)
        self.assertIn("expected b'bye', got b'by!'", self.text(result))
        self.assertNotIn("errors while tearing down", self.text(result))

    def test_fixtures_that_are_none_of_our_business(self) -> None:
        """Methods get the test's own instance; what is wrong with a fixture is said by the plugin that runs it."""
        result = self.run_tests("""
            class TestIt:
                @pytest_asyncio.fixture
                async def this(self, tcpserver):
                    self.noted = True
                    yield self
                    assert self.noted

                @pytest.mark.asyncio
                async def test_self(self, this):
                    assert this is self and self.noted

            @pytest_asyncio.fixture
            async def twice(tcpserver):
                yield 1
                yield 2

            @pytest_asyncio.fixture
            async def never(tcpserver):
                if tcpserver is None:
                    yield

            @pytest.mark.asyncio
            async def test_twice(twice): pass

            @pytest.mark.asyncio
            async def test_never(never): pass
        """)
        result.assert_outcomes(passed=2, errors=2)
        text = self.text(result)
        for each in "didn't stop", "ERROR at setup of test_never":
            self.assertIn(each, text)


@needs("anyio")
class AnyioTests(PartsTestCase):
    """Under anyio's plugin, which runs all of a test in one task."""

    fixture = "@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n\n@pytest.fixture"
    mark = "@pytest.mark.anyio"

    def test_set_up_hangs(self) -> None:
        """The verdict is the error of the set-up."""
        self.errs_once(self.source(before=HANGS), "ERROR at setup", "expected b'hello', got b'hullo'")

    def test_tear_down_hangs(self) -> None:
        """The verdict is given after it."""
        self.errs_once(self.source(after=HANGS_IN_TEAR_DOWN), "ERROR at teardown", "expected b'bye', got b'by!'")
