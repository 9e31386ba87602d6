"""Clients that use gevent or eventlet, with everything patched, before or after the library is imported.

The patching can't be undone, so each test runs in an interpreter of its own. There the client is a greenlet: what
`threading` starts is one, and its sockets let other greenlets run while they wait.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

from tests.support.long import lasting

ROOT = Path(__file__).resolve().parent.parent.parent
HAS_PYTEST = importlib.util.find_spec("pytest") is not None

# The module that is tested with: the client, and tests that pass or fail as their names say.
CLIENT_AND_TESTS = '''
import asyncio, socket, threading, time, unittest
from tcpclient_testing import MockTCPServerMixin, ThreadedMockTCPServer, ThreadedMockTCPServerMixin
from tcpclient_testing.tls import client_context

def ping(address, line=b"PING"):
    """The client."""
    with socket.create_connection(address) as client:
        client.sendall(line and line + b"\\r\\n")
        return client.recv(100)

class Greenlet(threading.Thread):
    """The client beside the test. In the end, `outcome` is what it got or raised."""

    def __init__(self, *args):
        super().__init__()
        self.args, self.outcome = args, None
        self.start()

    def run(self):
        try:
            self.outcome = ping(*self.args)
        except OSError as error:
            self.outcome = error

def script(server):
    server.expect_connect()
    line = server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_disconnect()
    return line

class Threaded(ThreadedMockTCPServerMixin, unittest.TestCase):
    tcpserver_options = {"timeout": 0.5}

    def test_passes(self):
        script(self.tcpserver)
        self.assertEqual(ping(self.tcpserver.address), b"PONG\\r\\n")

    def test_waits_for_a_greenlet(self):
        line = script(self.tcpserver)
        client = Greenlet(self.tcpserver.address)
        self.assertEqual(line.result(5), b"PING")
        self.tcpserver.join(5)
        client.join()
        self.assertEqual(client.outcome, b"PONG\\r\\n")

    def test_waits_in_vain(self):
        line, began = script(self.tcpserver), time.monotonic()
        with socket.create_connection(self.tcpserver.address) as client:
            for wait in (self.tcpserver.join, line.result):
                with self.assertRaises(TimeoutError):
                    wait(0.1)
            self.assertGreaterEqual(time.monotonic() - began, 0.2)
            self.assertFalse(line.done())
            client.sendall(b"PING\\r\\n")
            self.assertEqual((line.result(5), client.recv(100)), (b"PING", b"PONG\\r\\n"))

    def test_over_tls(self):
        server = self.start_tcpserver(tls=True)
        script(server)
        with socket.create_connection(server.address) as plain, \\
                client_context().wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"PING\\r\\n")
            self.assertEqual(client.recv(100), b"PONG\\r\\n")

    def test_without_mixin(self):
        with ThreadedMockTCPServer() as server:
            script(server)
            client = Greenlet(server.address)
            server.join(5)

    def test_fails_with_wrong_bytes(self):
        script(self.tcpserver)
        client = Greenlet(self.tcpserver.address, b"PUNG")
        client.join()  # it is freed
        self.tcpserver.join()

    def test_fails_if_it_never_connects(self):
        script(self.tcpserver)
        self.tcpserver.join()

    def test_fails_if_it_hangs(self):
        script(self.tcpserver)
        client = Greenlet(self.tcpserver.address, b"")
        client.join()  # it is freed

    def test_fails_if_a_reply_blocks(self):
        self.tcpserver.expect_connect()
        self.tcpserver.send_bytes(lambda _: time.sleep(60))
        ping(self.tcpserver.address, b"")

class Asynchronous(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    tcpserver_options = {"timeout": 0.5}

    async def ping(self, line):
        script(self.tcpserver)
        reader, writer = await asyncio.open_connection(*self.tcpserver.address)
        try:
            writer.write(line)
            return await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()

    async def test_passes(self):
        self.assertEqual(await self.ping(b"PING\\r\\n"), b"PONG\\r\\n")

    async def test_waits_for_a_greenlet(self):
        line = script(self.tcpserver)
        client = Greenlet(self.tcpserver.address)
        self.assertEqual(await line, b"PING")
        await self.tcpserver.join()

    async def test_fails_with_wrong_bytes(self):
        await self.ping(b"PUNG\\r\\n")

    async def test_fails_if_it_hangs(self):
        await self.ping(b"")

    async def test_fails_if_it_blocks(self):
        script(self.tcpserver)
        ping(self.tcpserver.address)
'''

_WRONG = r"expected b'PING', got b'PUNG' at byte 1 \(connection 1, step 2 of 4, greenlet_tests\.py:\d+ from "
_HANGS = r"expected the line b'PING', nothing received for 0\.5 s \(connection 1, step 2 of 4, greenlet_tests\.py:\d+ "

# What the reports of the tests that fail begin with.
REPORTS = {
    "Threaded.test_fails_with_wrong_bytes": _WRONG,
    "Threaded.test_fails_if_it_never_connects":
        r"no client connected to \S+ for \d+\.\d s \(step 1 of 4, greenlet_tests",
    "Threaded.test_fails_if_it_hangs": _HANGS,
    "Threaded.test_fails_if_a_reply_blocks": r"the server's thread is blocked at greenlet_tests\.py:\d+ \(.*sleep",
    "Asynchronous.test_fails_with_wrong_bytes": _WRONG,
    "Asynchronous.test_fails_if_it_hangs": _HANGS,
    "Asynchronous.test_fails_if_it_blocks": r"return client\.recv\(100\) blocked the event loop",
}
TESTS = 14

TESTS_OF_PYTEST = """
from greenlet_tests import Greenlet, script

def test_passes(threaded_tcpserver):
    line = script(threaded_tcpserver)
    client = Greenlet(threaded_tcpserver.address)
    assert line.result(5) == b"PING"
    client.join()

def test_fails(threaded_tcpserver):
    script(threaded_tcpserver)
    Greenlet(threaded_tcpserver.address, b"PUNG").join()
"""

# Runs the statements in sys.argv[2], which patch everything, before the library is imported; or afterwards, if
# sys.argv[1] is "late", when a server has been there.
BEGINNING = """
import faulthandler, sys, warnings
faulthandler.dump_traceback_later(50, exit=True)  # a test that hangs
when, patch = sys.argv.pop(1), sys.argv.pop(1)
if when == "late":
    from tcpclient_testing import ThreadedMockTCPServer
    with ThreadedMockTCPServer():
        pass
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    exec(patch)
sys.path.insert(0, "")
"""


class _GreenletTests:
    """The tests of the module above, beside greenlets."""

    patch: ClassVar[str]

    def run_patched(self, when: str, program: str, *arguments: str) -> str:
        """Run a program in an interpreter where everything is patched. Return all that it prints."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "greenlet_tests.py").write_text(CLIENT_AND_TESTS, encoding="utf-8")
            Path(folder, "test_fixture.py").write_text(TESTS_OF_PYTEST, encoding="utf-8")
            ran = subprocess.run([sys.executable, "-c", BEGINNING + program, when, self.patch, *arguments], cwd=folder,
                                 env=environment, capture_output=True, text=True, timeout=60, check=False)
        return ran.stdout + ran.stderr

    def check(self, when: str) -> None:
        """Run the module; check which of its tests fail, and what they report."""
        printed = self.run_patched(when, "import unittest; unittest.main('greenlet_tests')")
        case = unittest.TestCase()
        case.assertIn(f"Ran {TESTS} tests in", printed)
        case.assertIn(f"FAILED (failures={len(REPORTS)})\n", printed)
        for name, report in REPORTS.items():
            test = name.rpartition(".")[2]
            case.assertRegex(printed, rf"(?s)FAIL: {test} \(greenlet_tests\.{name.partition('.')[0]}[^=]*"
                                      rf"ExpectationError: (?-s:{report})")
        case.assertNotRegex(printed, "ResourceWarning|never retrieved")

    @lasting
    def test_patched_first(self) -> None:
        """Sound clients pass, broken ones are reported, and freed, as without greenlets."""
        self.check("first")

    @lasting
    def test_patched_late(self) -> None:
        """The same if the library was imported, and used, before everything was patched."""
        self.check("late")

    @lasting
    @unittest.skipUnless(HAS_PYTEST, "needs the package pytest")
    def test_fixture(self) -> None:
        """The same with the fixture of pytest."""
        # Without the plugins that are installed: anyio's and hypothesis' import trio, which fails beside eventlet.
        program = "import os, pytest; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'; pytest.main(sys.argv[1:])"
        printed = self.run_patched("first", program, "-p", "tcpclient_testing.pytest_plugin", "-p", "no:cacheprovider",
                                   "-q", "test_fixture.py")
        case = unittest.TestCase()
        case.assertRegex(printed, "(?m)^(=+ )?1 failed, 1 passed")
        case.assertRegex(printed, f"ExpectationError: {_WRONG}")


@unittest.skipUnless(importlib.util.find_spec("gevent"), "needs the package gevent")
class GeventTests(_GreenletTests, unittest.TestCase):
    """Clients that use gevent."""

    patch = "from gevent import monkey; monkey.patch_all()"


@unittest.skipUnless(importlib.util.find_spec("eventlet"), "needs the package eventlet")
class EventletTests(_GreenletTests, unittest.TestCase):
    """Clients that use eventlet."""

    patch = "import eventlet; eventlet.monkey_patch()"


if __name__ == "__main__":
    unittest.main()
