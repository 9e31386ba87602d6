"""The pytest plugin: tests that are run again, by a plugin or by a conftest."""

from __future__ import annotations

import textwrap
import unittest
from typing import Any

from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

# Runs each test three times, and reports all, as plugins do that rerun tests.
RERUNNING = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(3):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""

# Which runs fail by themselves, which because of their script, and which pass.
SOURCE = """
@pytest_asyncio.fixture
async def client(tcpserver):
    reader, writer = await asyncio.open_connection(*tcpserver.address)
    yield writer
    writer.close()
    await writer.wait_closed()

@pytest.fixture
def fragile(tcpserver):
    yield
    assert runs != 2, "in the tear-down"

runs = 0

@pytest.fixture(autouse=True)
def count():
    global runs
    runs += 1

def script(server):
    server.expect_connect()
    server.expect_line(b"PING", timeout=.2)
    server.expect_disconnect()
"""

WRONG = """
@pytest.mark.asyncio
async def test_wrong(tcpserver):
    script(tcpserver)
    await talk(tcpserver, b"PUNG\\r\\n")

def test_wrong_in_a_thread(threaded_tcpserver):
    script(threaded_tcpserver)
    with socket.create_connection(threaded_tcpserver.address) as client:
        client.sendall(b"PUNG\\r\\n")

@pytest.mark.asyncio
async def test_unfinished(tcpserver):
    tcpserver.expect_connect(timeout=.05)

@pytest.mark.asyncio
async def test_decided_at_tear_down(client, tcpserver):
    script(tcpserver)
    client.write(b"PING")
"""


class RerunTests(PluginTestCase):
    """Each run of a test starts from nothing."""

    def rerun(self, source: str) -> Any:
        """Run each test three times."""
        self.pytester.makeconftest(RERUNNING)
        return self.run_tests(SOURCE + textwrap.dedent(source))

    @needs("pytest_asyncio")
    def test_failing_client(self) -> None:
        """It fails each time, with the same verdict."""
        result = self.rerun(WRONG)
        result.assert_outcomes(failed=9, passed=3, errors=3)
        text = self.text(result)
        second = "(connection 1, step 2 of 3, test_failing_client.py:"
        for verdict, times in ((f"expected b'PING', got b'PUNG' at byte 1 {second}", 6), ("no client connected to ", 3),
                               (rf"got b'PING' without its ending b'\r\n' before the client closed {second}", 3)):
            self.assertEqual(text.count(f"ExpectationError: {verdict}"), times, text)
        self.assertNotIn("another event loop", text)

    @needs("pytest_asyncio")
    def test_one_run_fails(self) -> None:
        """Of three runs the second fails, by its script; with the sections of its own server alone."""
        result = self.rerun("""
            @pytest.mark.asyncio
            async def test_second(tcpserver):
                script(tcpserver)
                await talk(tcpserver, b"PUNG\\r\\n" if runs == 2 else b"PING\\r\\n")

            def test_in_a_thread(threaded_tcpserver):
                script(threaded_tcpserver)
                with socket.create_connection(threaded_tcpserver.address) as client:
                    client.sendall(b"PUNG\\r\\n" if runs == 5 else b"PING\\r\\n")
        """)
        result.assert_outcomes(failed=2, passed=4)
        self.assertEqual(self.text(result).count("client connected from"), 2)

    @needs("pytest_asyncio")
    def test_failure_of_its_own_hides_no_later_verdict(self) -> None:
        """A test that failed by itself in its first run is judged in the others."""
        result = self.rerun("""
            @pytest.mark.asyncio
            async def test_first(tcpserver):
                assert runs != 1, "by itself"
                tcpserver.expect_connect(timeout=.05)
        """)
        result.assert_outcomes(failed=3)
        self.assertEqual(self.text(result).count("E       tcpclient_testing.ExpectationError: "), 2)

    @needs("pytest_asyncio")
    def test_error_in_a_tear_down_after_a_verdict(self) -> None:
        """A fixture whose tear-down raises in a run that passes is reported, though an earlier run had a verdict."""
        result = self.rerun("""
            @pytest.mark.asyncio
            async def test_fragile(tcpserver, fragile):
                script(tcpserver)
                await talk(tcpserver, b"PUNG\\r\\n" if runs == 1 else b"PING\\r\\n")
        """)
        result.assert_outcomes(failed=1, passed=2, errors=1)
        self.assertIn("AssertionError: in the tear-down", self.text(result))

    @needs("pytest_asyncio")
    @needs("pytest_rerunfailures")
    def test_rerunfailures(self) -> None:
        """With pytest-rerunfailures, what fails each time fails in the end, and what fails once passes."""
        self.pytester.makeconftest("")
        result = self.run_tests(SOURCE + WRONG + """
@pytest.mark.asyncio
async def test_flaky(tcpserver):
    script(tcpserver)
    await talk(tcpserver, b"PUNG\\r\\n" if runs == 9 else b"PING\\r\\n")
""", "--reruns", "1", "-p", "no:flaky")
        outcomes = result.parseoutcomes()
        self.assertEqual([outcomes[each] for each in ("failed", "errors", "rerun", "passed")], [3, 1, 5, 3],
                         self.text(result))


if __name__ == "__main__":
    unittest.main()
