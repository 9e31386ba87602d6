"""Servers in fixtures of the test's own: `python -m pytest tests/pytest_plugin/test_fixtures_of_users.py`.

The contract runs each case with such fixtures. Here are fixtures of other shapes, several of them, and what is around.
"""

from __future__ import annotations

import re
import unittest
from typing import Any

from tests.pytest_plugin.test_async_fixtures import in_time
from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs, needs_loop_scopes

pytest_plugins = PYTESTER

# Each test ends as its name says, in one report.
HEAD = """
import contextlib
from tcpclient_testing import ExpectationError, MockTCPServer, ThreadedMockTCPServer

def script(server):
    server.expect_connect()
    server.expect_bytes(b"PING")
    server.send_bytes(b"PONG")
    server.expect_disconnect()

async def good(server):
    script(server)
    assert await talk(server, b"PING", b"PONG") == b"PONG"

async def hang(server):
    script(server)
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        writer.write(b"PUNG")
        await asyncio.sleep(60)
    finally:
        writer.close()

def blocking(server):
    script(server)
    with socket.create_connection(server.address) as client:
        client.sendall(b"PUNG")
        client.recv(10)
"""

ASYNCHRONOUS = HEAD + """
pytestmark = pytest.mark.asyncio

@pytest_asyncio.fixture
async def server():
    async with MockTCPServer() as server:
        yield server

@pytest_asyncio.fixture
async def other():
    server = await MockTCPServer().start()
    yield server
    await server.stop()

@pytest_asyncio.fixture
async def pair():
    async with MockTCPServer() as server:
        script(server)
        reader, writer = await asyncio.open_connection(*server.address)
        yield reader, writer
        writer.close()
        await writer.wait_closed()

@pytest_asyncio.fixture
async def stack():
    async with contextlib.AsyncExitStack() as stack:
        yield stack

@pytest_asyncio.fixture
async def raises(server):
    script(server)
    raise LookupError("the fixture's own")
    yield server

async def test_pair_passed(pair):
    pair[1].write(b"PING")
    assert await pair[0].readexactly(4) == b"PONG"

async def test_pair_failed(pair):
    pair[1].write(b"PUNG")
    await pair[0].readexactly(4)

async def test_two_passed(server, other):
    await good(server)
    await good(other)

async def test_two_failed(server, other):
    script(other)
    await hang(server)

async def test_two_undone_failed(server, other):
    server.expect_connect(timeout=0.02)
    other.expect_connect(timeout=0.02)

async def test_beside_tcpserver_passed(server, tcpserver, other):
    for each in server, tcpserver, other:
        await good(each)

async def test_beside_tcpserver_failed(server, tcpserver, other):
    script(tcpserver)
    await hang(server)

async def test_beside_tcpserver_undone_failed(server, tcpserver, other):
    for each in server, tcpserver, other:
        each.expect_connect(timeout=0.02)

async def test_beside_a_block_failed(tcpserver):
    async with MockTCPServer() as server:
        await good(server)
    tcpserver.expect_connect(timeout=0.02)

async def test_on_a_stack_passed(stack):
    await good(await stack.enter_async_context(MockTCPServer()))

async def test_on_a_stack_failed(stack):
    await hang(await stack.enter_async_context(MockTCPServer()))

async def test_block_in_the_body_passed(stack):
    with pytest.raises(ExpectationError, match="PUNG"):
        async with MockTCPServer() as server:
            await hang(server)

async def test_block_in_the_body_failed(stack):
    async with MockTCPServer() as server:
        await hang(server)

async def test_set_up_of_its_own_error(raises):
    pass

async def test_verdict_that_the_test_expects_failed(server):
    server.expect_connect(timeout=0.02)
    with pytest.raises(ExpectationError):
        await server.join()

async def test_skipped(server):
    script(server)
    pytest.skip("not here")

@pytest.mark.xfail
async def test_expected_xfailed(server):
    await hang(server)

@pytest.mark.xfail
async def test_expected_undone_xfailed(server):
    server.expect_connect(timeout=0.02)
"""

SET_UP = ASYNCHRONOUS.partition("async def test_")[0] + """
@pytest_asyncio.fixture
async def hangs(server):
    await hang(server)
    yield server

async def test_set_up_error(hangs):
    pass

async def test_after_that_passed(server):
    await good(server)
"""

BLOCKING = HEAD + """
@pytest.fixture
def server():
    with ThreadedMockTCPServer() as server:
        yield server

@pytest.fixture(params=["one", "two"])
def one_of_two(request):
    server = ThreadedMockTCPServer().start()
    yield server
    server.stop()

def test_blocking_failed(server):
    blocking(server)

def test_blocking_undone_failed(server):
    server.expect_connect(timeout=0.02)

def test_parameters_failed(one_of_two):
    blocking(one_of_two)

def test_after_that_passed(server):
    pass

class TestSetUp:
    def setup_method(self):
        self.server = ThreadedMockTCPServer().start()

    def teardown_method(self):
        self.server.stop()

    def test_set_up_failed(self):
        blocking(self.server)
"""

SHARED = HEAD + """
pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def shared():
    async with MockTCPServer() as server:
        yield server

@pytest.fixture
async def server():
    async with MockTCPServer() as server:
        yield server

async def test_shared_passed(shared):
    script(shared)
    reader, writer = await asyncio.open_connection(*shared.address)
    writer.write(b"PUNG")
    await asyncio.sleep(0.3)
    writer.close()

async def test_own_failed(shared, server):
    await hang(server)

async def test_after_that_passed(shared, server):
    await good(server)

def test_end_error(shared):
    "The verdict on the shared server comes when that is left."
"""

# Servers that are cleared.

CLEARED = HEAD + """
@pytest.fixture(scope="module")
def module_server():
    with ThreadedMockTCPServer() as server:
        yield server

@pytest.fixture
def shared(module_server):
    yield module_server
    module_server.clear()

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_server_in_loop():
    async with MockTCPServer() as server:
        yield server

@pytest_asyncio.fixture(loop_scope="module")
async def shared_in_loop(module_server_in_loop):
    yield module_server_in_loop
    await module_server_in_loop.clear()

def test_undone(shared):
    shared.expect_connect(timeout=0.02)

def test_undone_too(shared):
    shared.expect_connect(timeout=0.02)

def test_sound(shared):
    pass

@pytest.mark.asyncio(loop_scope="module")
async def test_undone_in_loop(shared_in_loop):
    shared_in_loop.expect_connect(timeout=0.02)

@pytest.mark.asyncio(loop_scope="module")
async def test_undone_in_loop_too(shared_in_loop):
    shared_in_loop.expect_connect(timeout=0.02)

@pytest.mark.asyncio(loop_scope="module")
async def test_sound_in_loop(shared_in_loop):
    await good(shared_in_loop)
"""

# A fixture forgets to stop its server.

FORGOTTEN = HEAD + """
import gc
import weakref

@pytest.fixture
def server():
    server = ThreadedMockTCPServer().start()
    kept.append(weakref.ref(server))
    return server

kept = []

def test_forgets(server):
    pass

def test_forgotten():
    gc.collect()
    assert kept[0]() is None
"""


class UsersFixturesTests(PluginTestCase):
    """Each test runs a session of tests whose names say how they end."""

    def run_named(self, source: str, *arguments: str, **options: Any) -> str:
        """Run the tests; each ends once, as its name says. Return the output."""
        result = self.run_tests(source, "-rA", *arguments, **options)
        text = self.text(result)
        ends = {"passed": "PASSED", "failed": "FAILED", "error": "ERROR", "xfailed": "XFAIL"}
        told = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL) \S*::(test_\w+)(\[\S+\])?", text, re.MULTILINE)
        expected = {name for name in re.findall(r"def (test_\w+)", source) if not name.endswith("skipped")}
        self.assertEqual({name for _, name, _ in told}, expected, text)
        for status, name, _ in told:
            if not (name == "test_end_error" and status == "PASSED"):
                self.assertEqual(status, ends[name.rpartition("_")[2]], f"{name}\n{text}")
        seen = [(name, parameters) for status, name, parameters in told if name != "test_end_error"]
        self.assertEqual(len(seen), len(set(seen)), text)
        return text

    @needs("pytest_asyncio")
    def test_asynchronous(self) -> None:
        """With pytest-asyncio."""
        self.run_named(ASYNCHRONOUS)

    @needs("pytest_asyncio")
    @in_time
    def test_set_up(self) -> None:
        """A fixture is interrupted, too."""
        self.run_named(SET_UP)

    def test_blocking(self) -> None:
        """Without a plugin."""
        self.run_named(BLOCKING)

    @needs("anyio")
    def test_shared(self) -> None:
        """With anyio's plugin, which runs all in one task: no other test is touched."""
        self.run_named(SHARED, "-p", "no:asyncio")

    @needs_loop_scopes
    def test_cleared(self) -> None:
        """A server of a module that a fixture clears after each test: each test has its own verdict."""
        self.run_tests(CLEARED).assert_outcomes(passed=6, errors=4)

    def test_forgotten(self) -> None:
        """A server that a fixture has never stopped is garbage when the test is over."""
        self.run_tests(FORGOTTEN, "-W", "ignore::ResourceWarning").assert_outcomes(passed=2)


if __name__ == "__main__":
    unittest.main()
