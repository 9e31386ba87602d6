"""The pytest plugin beside pytest-timeout, which ends a test that lasts too long, or the whole process."""

from __future__ import annotations

import re
import textwrap
import unittest

from tests.support.long import lasting
from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

# Each test hangs, and its own time-outs are later. Its conversation shows that the line is missing.
BEGINNING = """
import unittest
from tcpclient_testing import MockTCPServer, MockTCPServerMixin, ThreadedMockTCPServer, ThreadedMockTCPServerMixin

def script(server):
    server.expect_connect()
    server.expect_line(b"PING")
    server.expect_disconnect()

async def hang(server):
    script(server)
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()

async def leave(server):
    global kept
    script(server)
    kept = await asyncio.open_connection(*server.address)

def block(server):
    script(server)
    with socket.create_connection(server.address) as client:
        client.recv(1)
"""

ASYNCHRONOUS = """
async def test_client(tcpserver):
    await hang(tcpserver)

async def test_join(tcpserver):
    script(tcpserver)
    async with asyncio_client(tcpserver):
        await tcpserver.join()

async def test_verdict(tcpserver):
    await leave(tcpserver)

async def test_block():
    async with MockTCPServer() as server:
        await hang(server)

async def test_threaded(threaded_tcpserver):
    await hang(threaded_tcpserver)
"""

ASYNCIO_CLIENT = """
import contextlib

@contextlib.asynccontextmanager
async def asyncio_client(server):
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        yield
    finally:
        writer.close()
"""

CASES = """
class AsynchronousTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    async def test_client(self):
        await hang(self.tcpserver)

    async def test_verdict(self):
        await leave(self.tcpserver)

    async def test_block(self):
        async with MockTCPServer() as server:
            await hang(server)
"""

BLOCKING = """
def test_client(threaded_tcpserver):
    block(threaded_tcpserver)

def test_join(threaded_tcpserver):
    script(threaded_tcpserver)
    with socket.create_connection(threaded_tcpserver.address):
        threaded_tcpserver.join()

def test_verdict(threaded_tcpserver):
    global kept
    script(threaded_tcpserver)
    kept = socket.create_connection(threaded_tcpserver.address)

def test_block():
    with ThreadedMockTCPServer() as server:
        block(server)

class BlockingTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    def test_client(self):
        block(self.tcpserver)
"""

SECONDS = 0.5


@needs("pytest_timeout")
class TimeoutTests(PluginTestCase):
    """A test that pytest-timeout ends."""

    def check(self, source: str, count: int) -> None:
        """Let each of `count` tests be ended by the signal; check that it is reported once, and soon."""
        result = self.run_tests(BEGINNING + ASYNCIO_CLIENT + textwrap.dedent(source), f"--timeout={SECONDS}",
                                "--timeout-method=signal", "-p", "no:faulthandler", subprocess=True,
                                ignored="ignore::pytest.PytestUnraisableExceptionWarning")
        text = self.text(result)
        result.assert_outcomes(failed=count)
        failed = re.findall(r"(?m)^E +Failed: Timeout \(>0\.5s\) from pytest-timeout\.$", text)
        self.assertEqual(len(failed), count, text)
        self.assertNotIn("ExpectationError", text)
        self.assertNotIn("never retrieved", text)
        # A client that blocks closes its socket on the way out.
        self.assertEqual(len(re.findall(r"2 expect_line\(b'PING'\)  (waiting|failed)", text)), count, text)
        lasted = re.search(r" failed in ([\d.]+)s", text)  # without the start of the interpreter
        assert lasted is not None
        self.assertLess(float(lasted[1]), count * SECONDS + 4)  # each server's own time-out is five seconds

    @needs("pytest_asyncio")
    @lasting
    def test_signal_under_pytest_asyncio(self) -> None:
        """The report is pytest-timeout's, with the conversation; nothing is waited for, whatever the test waits for."""
        self.check("pytestmark = pytest.mark.asyncio\n" + ASYNCHRONOUS, 5)

    @needs("anyio")
    @lasting
    def test_signal_under_anyio(self) -> None:
        """The same with anyio's plugin, whose fixtures are torn down all the same."""
        self.check("""
            pytestmark = pytest.mark.anyio

            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            @pytest.fixture(autouse=True)
            async def around():
                yield
        """ + textwrap.indent(ASYNCHRONOUS, " " * 12), 5)

    @lasting
    def test_signal_in_a_case(self) -> None:
        """The same in an `unittest.IsolatedAsyncioTestCase`."""
        self.check(CASES, 3)

    @lasting
    def test_signal_while_a_test_blocks(self) -> None:
        """The same for clients that block: that they close their sockets on the way out is a consequence."""
        self.check(BLOCKING, 5)

    @lasting
    def test_end_of_the_process(self) -> None:
        """Before the process is ended, all stacks are printed: the test's line, and two threads of ours, by name."""
        result = self.run_tests(BEGINNING + """
def test_join(threaded_tcpserver):
    script(threaded_tcpserver)
    threaded_tcpserver.join()
""", f"--timeout={SECONDS}", "--timeout-method=thread", subprocess=True)
        self.assertEqual(result.ret, 1)
        text = self.text(result) + "\n".join(result.stderr.lines)
        self.assertEqual(text.count("~ Stack of tcpclient_testing server ("), 1, text)
        self.assertLessEqual(text.count("~ Stack of tcpclient_testing watchdog ("), 1)
        self.assertEqual(text.count("~ Stack of "), 2 + text.count("~ Stack of tcpclient_testing watchdog ("))
        self.assertRegex(text, r"(?m)in test_join\n +threaded_tcpserver\.join\(\)")


class FailTests(PluginTestCase):
    """What `pytest.fail` raises is no `Exception`, but an error all the same."""

    def test_fail_while_a_client_is_open(self) -> None:
        """If the client is closed on the way out, that is a consequence, as it is for a failed assertion."""
        text = self.fails_once(BEGINNING + """
def test_it(threaded_tcpserver):
    script(threaded_tcpserver)
    with socket.create_connection(threaded_tcpserver.address):
        threaded_tcpserver.connections
        pytest.fail("by the test")
""", "Failed: by the test")
        self.assertNotIn("tcpclient_testing.ExpectationError", text.partition("tcpserver transcript")[0])


if __name__ == "__main__":
    unittest.main()
