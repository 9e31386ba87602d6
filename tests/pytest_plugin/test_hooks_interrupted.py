"""The pytest plugin after Ctrl-C or SystemExit in each phase of a test: every server is closed, every patch undone."""

from __future__ import annotations

import unittest

from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

SOURCE = """
import atexit
from asyncio import streams

servers = []

@atexit.register
def tell():
    print("closed:", [server.closed for server in servers], streams.StreamWriter.__module__)

def begin(phase, server):
    if server not in servers:
        server.expect_connect()
        servers.append(server)
    if phase == {phase!r}:
        raise {ending}

@pytest.fixture
def before(tcpserver):
    begin("set-up", tcpserver)
    yield
    begin("tear-down", tcpserver)

@pytest.mark.asyncio
async def test_asynchronous(tcpserver, before):
    begin("call", tcpserver)

@pytest.fixture
def before_blocking(threaded_tcpserver):
    begin("set-up", threaded_tcpserver)
    yield
    begin("tear-down", threaded_tcpserver)

def test_blocking(threaded_tcpserver, before_blocking):
    begin("call", threaded_tcpserver)
"""


class InterruptedTests(PluginTestCase):
    @needs("pytest_asyncio")
    def test_each_phase(self) -> None:
        """Ctrl-C ends the session, SystemExit the phase; nothing is waited for, and nothing left behind."""
        for test in "test_asynchronous", "test_blocking":
            for phase in "set-up", "call", "tear-down":
                for ending in "KeyboardInterrupt", "SystemExit":
                    with self.subTest(test=test, phase=phase, ending=ending):
                        result = self.run_tests(SOURCE.format(phase=phase, ending=ending), "-k", test, subprocess=True)
                        text = self.text(result)
                        self.assertIn("closed: [True] asyncio.streams", text)
                        self.assertEqual(int(result.ret), 2 if ending == "KeyboardInterrupt" else 1, text)


if __name__ == "__main__":
    unittest.main()
