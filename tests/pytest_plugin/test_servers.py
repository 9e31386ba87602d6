"""The pytest plugin: servers in tests with subtests (pytest 9's, or pytest-subtests')."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import unittest
from typing import Any

from tests.support.pytest_runs import PYTEST, PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

BUILT_IN = PYTEST and int(importlib.metadata.version("pytest").partition(".")[0]) >= 9
SUBTESTS = BUILT_IN or importlib.util.find_spec("pytest_subtests") is not None

PARTS = {
    "joined": "await tcpserver.join()",
    "raised": "await reader.readexactly(7)",
    "hanging": "await asyncio.sleep(60)",
    "found fault with": "await anything(reader); assert not 'an answer'",
    "failed": "await anything(reader); pytest.fail('no answer')",
}
RESTS = {
    "nothing": "pass",
    "another": "with subtests.test(number=2): tcpserver.expect_connect()",
    "written": "tcpserver.expect_connect()",
    "hangs": "await asyncio.sleep(60)",
}

CONNECTED = """
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"hello")
    reader, writer = await asyncio.open_connection(*tcpserver.address)
    request.addfinalizer(writer.close)
    writer.write(b"hullo")
"""

# First: when others have it, pytest 9 lets a test fail whose subtest has, which is no report of its own.
COUNTING = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    if report.failed:
        with open("counted", "a") as file:
            file.write("x")
"""

BLOCKING = """
def wrong(server):
    server.expect_connect()
    server.expect_bytes(b"hello")
    with socket.create_connection(server.address) as client:
        client.sendall(b"hullo")
        client.recv(1)
"""


@unittest.skipUnless(SUBTESTS, "needs pytest 9, or pytest-subtests")
class SubtestTests(PluginTestCase):
    """What a subtest reports, and the test that has it."""

    def reports(self, source: str, *arguments: str) -> tuple[int, str]:
        """Run tests; return how many reports of failures there are, and the output."""
        counted = self.pytester.path / "counted"
        counted.write_text("")
        self.pytester.makeconftest(COUNTING)
        text = self.text(self.run_tests(source, *arguments, ignored="ignore"))
        return len(counted.read_text()), text

    @needs("pytest_asyncio")
    def test_verdict_that_a_subtest_reports(self) -> None:
        """It is the one report, with what the client raised; what comes after it is a consequence."""
        for part, code in PARTS.items():
            for rest, further in RESTS.items():
                with self.subTest(part=part, rest=rest):
                    count, text = self.reports(f"""
@pytest.mark.asyncio
async def test_it(tcpserver, subtests, request):
{CONNECTED}
    async def anything(reader):
        with pytest.raises(OSError):
            await reader.read()
    with subtests.test(number=1):
        {code}
    {further}
""")
                    self.assertEqual(count, 1, text)
                    self.assertIn("expected b'hello', got b'hullo' at byte 1 (connection 1, ", text)
                    self.assertIn("tcpserver transcript", text)
                    self.assertEqual("ConnectionResetError" in text, part == "raised", text)

    def test_blocking_test(self) -> None:
        """It is no different, and the step that was not met is shown."""
        count, text = self.reports(BLOCKING + """
def test_it(threaded_tcpserver, subtests):
    with subtests.test(number=1):
        wrong(threaded_tcpserver)
""")
        self.assertEqual(count, 1, text)
        self.assertRegex(text, r">\s+wrong\(threaded_tcpserver\)")

    def test_client_that_a_fixture_closes(self) -> None:
        """What it raises after the verdict was reported is a consequence."""
        for kind in "", "threaded_":
            asynchronous = "async " if not kind else ""
            if asynchronous and not importlib.util.find_spec("pytest_asyncio"):
                continue
            with self.subTest(kind=kind):
                count, text = self.reports(BLOCKING + f"""
@pytest.fixture
def client({kind}tcpserver):
    yield
    raise ConnectionResetError("while closing")

{"@pytest.mark.asyncio" if asynchronous else ""}
{asynchronous}def test_it({kind}tcpserver, client, subtests):
    with subtests.test(number=1):
        {"await tcpserver.expect_connect(timeout=0.05)" if asynchronous else "wrong(threaded_tcpserver)"}
""")
                self.assertEqual(count, 1, text)

    def test_other_faults(self) -> None:
        """What a test finds by itself, and what happens at a server made later, are reports of their own."""
        count, text = self.reports(BLOCKING + """
@pytest.fixture
def client(threaded_tcpserver_factory):
    yield

def test_it(threaded_tcpserver_factory, client, subtests):
    for number in range(3):
        with subtests.test(number=number):
            if number == 1:
                pytest.fail("something else")
            wrong(threaded_tcpserver_factory())
    with pytest.raises(OSError):
        wrong(threaded_tcpserver_factory())

def test_end(threaded_tcpserver, subtests):
    with subtests.test(number=1):
        wrong(threaded_tcpserver)
    assert not "in the end"
""")
        self.assertEqual(count, 6, text)
        for words in "something else", "in the end":
            self.assertIn(words, text)

    @needs("pytest_asyncio")
    def test_server_that_an_asynchronous_test_makes_later(self) -> None:
        """Its verdict is a report of its own, be it found when the test ends, or when it is torn down."""
        for fixture in "tcpserver_factory", "client":
            with self.subTest(fixture):
                count, text = self.reports(f"""
@pytest.fixture
def client(tcpserver_factory):
    yield

@pytest.mark.asyncio
async def test_it(tcpserver_factory, {fixture.replace("tcpserver_factory", "request")}, subtests):
    with subtests.test(number=1):
        first = tcpserver_factory()
        first.expect_connect(timeout=0.01)
        await first.join()
    second = tcpserver_factory()
    second.expect_connect(timeout=0.05)
""")
                self.assertEqual(count, 2, text)

    def test_marks(self) -> None:
        """A skip and an expected failure in a subtest are what they are; a test that is expected to fail may do so."""
        count, text = self.reports(BLOCKING + """
def test_controls(threaded_tcpserver, subtests):
    with subtests.test(number=1):
        pytest.skip("not here")
    with subtests.test(number=2):
        pytest.xfail("not yet")
    with subtests.test(number=3):
        threaded_tcpserver.expect_connect()
        socket.create_connection(threaded_tcpserver.address).close()
""")
        self.assertEqual(count, 0, text)
        self.assertIn("1 passed", text)

    def test_stop_at_the_first_failure(self) -> None:
        """With -x the subtest ends the test, whose report it is."""
        count, text = self.reports(BLOCKING + """
def test_it(threaded_tcpserver, subtests):
    with subtests.test(number=1):
        wrong(threaded_tcpserver)
    raise LookupError
def test_next(): pass
""", "-x")
        self.assertEqual(count, 1, text)
        self.assertNotIn("LookupError", text)

    def test_test_without_a_failure(self) -> None:
        """It passes, and so does another test with a subtest that has no server."""
        result: Any = self.run_tests("""
def test_it(threaded_tcpserver, subtests):
    threaded_tcpserver.expect_connect()
    threaded_tcpserver.expect_disconnect()
    for number in range(2):
        with subtests.test(number=number):
            if not number:
                socket.create_connection(threaded_tcpserver.address).close()

def test_none(subtests):
    with subtests.test(number=1):
        pass
""")
        self.assertEqual(result.ret, 0, self.text(result))


if __name__ == "__main__":
    unittest.main()
