"""Tests of the pytest plugin, in pytest sessions of their own: what they share.

They are unittest's, and need pytest all the same, whose `pytester` runs those sessions: `python -m pytest FILE`. Such a
file says ``pytest_plugins = PYTESTER``.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import os
import sys
import textwrap
import unittest
import unittest.mock
import warnings
from typing import Any, Callable

from tests.support.readme import ROOT

__all__ = [
    "FAREWELL", "GREETING", "INI", "PREAMBLE", "PYTESTER", "PluginTestCase", "needs", "needs_loop_scopes",
    "plugin_arguments",
]

PYTEST = importlib.util.find_spec("pytest") is not None
#: The plugins of pytest that a file with such tests asks for.
PYTESTER: list[str] = []
if PYTEST:
    import pytest

    PYTESTER = ["pytester"]

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


def _has_loop_scopes() -> bool:
    try:
        version = importlib.metadata.version("pytest-asyncio")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(map(int, version.split(".")[:2])) >= (0, 24)


#: Skips a test of fixtures that say in which loop they run.
needs_loop_scopes = unittest.skipUnless(_has_loop_scopes(), "needs pytest-asyncio 0.24")


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
            self.skipTest("pytest itself has to run this: python -m pytest tests/pytest_plugin")
        environment = unittest.mock.patch.dict(os.environ)
        environment.start()
        self.addCleanup(environment.stop)
        for name in ("CI", "BUILD_NUMBER"):  # with one of these, pytest's summary repeats whole reports
            os.environ.pop(name, None)

    def run_tests(self, source: str, *arguments: str, mode: str = "strict", more: str = "", ignored: str = "",
                  subprocess: bool = False) -> Any:
        """Run the tests in `source` with pytest; return the result."""
        self.pytester.makepyfile(PREAMBLE + textwrap.dedent(source))
        self.pytester.makeini(INI.format(mode=mode, more=textwrap.dedent(more), ignored=ignored))
        if subprocess:
            return self.run_in_subprocess(*arguments)
        try:
            # Else what is written next, in the same second and of the same size, is not compiled again.
            with unittest.mock.patch.object(sys, "dont_write_bytecode", True):
                return self.pytester.runpytest_inprocess(*plugin_arguments(), *arguments)
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # those loops again
                gc.collect()

    def run_in_subprocess(self, *arguments: str) -> Any:
        """Run pytest on the files that were made, in a process of its own; return the result."""
        # The package is not installed where the suite runs from a checkout.
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with unittest.mock.patch.dict(os.environ, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1"):
            return self.pytester.runpytest_subprocess(*plugin_arguments(), *arguments)

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

# The client's last word is said when the fixture is torn down: after the one test, and not what the other expects.
FAREWELL = """
{fixture}
async def client(tcpserver):
    reader, writer = await asyncio.open_connection(*tcpserver.address)
    yield writer
    writer.write(b"QUIT")
    writer.close()
    await writer.wait_closed()

{mark}
@pytest.mark.parametrize("expected", [b"QUIT", b"EXIT"])
async def test_it(tcpserver, client, expected):
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"hello")
    tcpserver.expect_bytes(expected)
    client.write(b"hello")
"""
