"""A server that was started and never stopped warns; any other doesn't."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
import unittest
import warnings
from typing import Any, Callable

from tcpclient_testing import (
    MockTCPServer,
    MockTCPServerMixin,
    ThreadedMockTCPServer,
    ThreadedMockTCPServerMixin,
)
from tests.support.collecting import collect, traces_memory
from tests.support.long import lasting
from tests.support.readme import ROOT


def warnings_of(function: Callable[[], Any], expected: int = 0) -> list[warnings.WarningMessage]:
    """Call a function. Return the warnings about servers, until all garbage is collected.

    A thread that looks at what all threads do, as the watchdog does, keeps what it sees for a moment: so wait until
    there are as many warnings as are `expected`.
    """
    collect()  # what other tests left behind warns now

    def told() -> list[warnings.WarningMessage]:
        collect(cycles=True)
        return [each for each in caught if "never stopped" in str(each.message)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
        deadline = time.monotonic() + 10
        while len(told()) < expected and time.monotonic() < deadline:
            time.sleep(0.001)
        return told()


def run(main: Callable[[], Any], expected: int = 0) -> list[warnings.WarningMessage]:
    """Run a coroutine function in a loop of its own; return the warnings."""
    return warnings_of(lambda: asyncio.run(main()), expected)


def failing(server: Any) -> Any:
    """Write a script that fails at once: nobody connects."""
    return server.expect_connect(timeout=0.01)


class ForgottenTests(unittest.TestCase):
    """Servers that nobody has stopped."""

    def test_asynchronous_server(self) -> None:
        """The warning names the server, and is a ResourceWarning; the failure's first line is in it."""
        async def main() -> None:
            server = await MockTCPServer().start()
            try:
                await failing(server)
            except AssertionError:
                pass
        found = run(main, 1)
        self.assertEqual([each.category for each in found], [ResourceWarning])
        self.assertRegex(str(found[0].message),
                         r"^<MockTCPServer at 127.0.0.1:\d+, failed> was never stopped; its script had failed: "
                         r"no client connected to \S+ for \S+ s \(step 1 of 1, test_forgotten.py:\d+ from "
                         r"test_forgotten.py:\d+\)$")

    def test_threaded_server(self) -> None:
        """It warns too, and its thread is stopped."""
        before = set(threading.enumerate())
        started: list[threading.Thread] = []

        def main() -> None:
            server = ThreadedMockTCPServer().start()
            started.extend(set(threading.enumerate()) - before)
            failing(server).exception(10)
        found = warnings_of(main, 1)
        self.assertEqual(len(found), 1)
        self.assertRegex(str(found[0].message),
                         r"<ThreadedMockTCPServer at .*, failed> was never stopped; its script had failed: .*connected")
        for thread in started:
            thread.join(10)
            self.assertFalse(thread.is_alive())

    def test_script_that_has_not_failed(self) -> None:
        """Then there is nothing more to say."""
        async def main() -> None:
            await MockTCPServer().start()
        for found in (run(main, 1), warnings_of(lambda: ThreadedMockTCPServer().start(), 1)):
            self.assertEqual(len(found), 1)
            self.assertTrue(str(found[0].message).endswith(", running> was never stopped"), found[0].message)

    def test_server_in_a_reference_cycle(self) -> None:
        """The garbage collector finds it."""
        async def main() -> None:
            cycle: list[Any] = [await MockTCPServer().start()]
            cycle.append(cycle)
        self.assertEqual(len(run(main, 1)), 1)

    @unittest.skipIf(sys.version_info[:2] == (3, 11), "tracemalloc of Python 3.11 finds no instance of a plain class")
    @traces_memory
    def test_source(self) -> None:
        """tracemalloc shows where the server was made."""
        import tracemalloc
        tracemalloc.start(10)
        self.addCleanup(tracemalloc.stop)
        found = warnings_of(lambda: ThreadedMockTCPServer().start(), 1)
        trace = tracemalloc.get_object_traceback(found[0].source)
        assert trace is not None
        self.assertIn(__file__, [frame.filename for frame in trace])

    def test_connection_outlives_the_server_object(self) -> None:
        """What runs in a loop goes on: a test that has kept a handle can still use it."""
        async def main() -> None:
            server = await MockTCPServer().start()
            address, connection = server.address, server.expect_connect().connection
            connection.send_line(b"hello")
            connection.disconnect()
            del server
            reader, writer = await asyncio.open_connection(*address)
            self.assertEqual(await reader.read(), b"hello\r\n")
            writer.close()
            await writer.wait_closed()
        self.assertEqual(len(run(main, 1)), 1)

    @lasting
    def test_exit_of_the_interpreter(self) -> None:
        """Servers that live until the exit warn there, each once, and the exit is as usual."""
        source = """
import asyncio, sys
from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer
async def main():
    global server
    server = await MockTCPServer().start()
asyncio.run(main())
threaded = ThreadedMockTCPServer().start()
other = MockTCPServer()
sys.exit(3)
"""
        for option in "always::ResourceWarning", "error":
            with self.subTest(option=option):
                done = self.run_python(source, option)
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn("ResourceWarning: <", done.stderr)
                if option != "error":
                    self.assertEqual(done.stderr.count("never stopped\n"), 2, done.stderr)
                self.assertNotIn("AttributeError", done.stderr)

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    @lasting
    def test_forked_child(self) -> None:
        """A forked child has forgotten nothing: it warns of nothing, and the parent's server is untouched."""
        done = self.run_python("""
import asyncio, gc, os, sys
from tcpclient_testing import MockTCPServer
async def main():
    server = await MockTCPServer().start()
    if not (child := os.fork()):
        del server
        collect(cycles=True)
        sys.stderr.flush()
        os._exit(0)
    os.waitpid(child, 0)
    async with server:
        server.expect_connect()
        server.expect_disconnect()
        _, writer = await asyncio.open_connection(*server.address)
        writer.close()
        await writer.wait_closed()
asyncio.run(main())
""", "always::ResourceWarning")
        self.assertEqual((done.returncode, "never stopped" in done.stderr), (0, False), done.stderr)

    @staticmethod
    def run_python(source: str, option: str) -> Any:
        """Run Python with this filter of warnings."""
        return subprocess.run([sys.executable, "-W", option, "-c", source], cwd=ROOT, capture_output=True, text=True,
                              timeout=60, check=False)


class NotForgottenTests(unittest.TestCase):
    """Servers that are left in any of the usual ways."""

    def test_asynchronous_servers(self) -> None:
        """A server that was stopped, closed, left by a block or never started does not warn."""
        async def main() -> None:
            stopped = await MockTCPServer().start()
            await stopped.stop()
            closed = await MockTCPServer().start()
            closed.close()
            async with MockTCPServer():
                pass
            failed = await MockTCPServer().start()
            failing(failed)
            try:
                await failed.stop()
            except AssertionError:
                pass
            MockTCPServer()
        self.assertEqual(run(main), [])

    def test_threaded_servers(self) -> None:
        """The same, for servers in threads."""
        def main() -> None:
            stopped = ThreadedMockTCPServer().start()
            stopped.stop()
            closed = ThreadedMockTCPServer().start()
            closed.close()
            with ThreadedMockTCPServer():
                pass
            ThreadedMockTCPServer()
        self.assertEqual(warnings_of(main), [])

    def test_constructor_that_raises(self) -> None:
        """What was never made says nothing, and raises nothing."""
        def main() -> None:
            for kind in MockTCPServer, ThreadedMockTCPServer:
                with self.assertRaises(TypeError):
                    kind(framing=b"\n")
        self.assertEqual(warnings_of(main), [])

    def test_port_that_is_taken(self) -> None:
        """A server that could not be started does not warn."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            def main() -> None:
                with self.assertRaises(OSError):
                    ThreadedMockTCPServer("127.0.0.1", taken.getsockname()[1]).start()
            self.assertEqual(warnings_of(main), [])

    @lasting
    def test_mixins(self) -> None:
        """A test need not keep the server that it gets: it lives until the test has ended."""
        async def test(self: Any) -> None:
            address = self.start_tcpserver(allow_extra=True).address
            collect(cycles=True)
            socket.create_connection(address).close()

        def threaded(self: Any) -> None:
            address = self.start_tcpserver(allow_extra=True).address
            collect(cycles=True)
            socket.create_connection(address).close()
        cases = (type("Case", (MockTCPServerMixin, unittest.IsolatedAsyncioTestCase), {"test": test}),
                 type("Case", (ThreadedMockTCPServerMixin, unittest.IsolatedAsyncioTestCase), {"test": test}),
                 type("Case", (ThreadedMockTCPServerMixin, unittest.TestCase), {"test": threaded}))
        for case in cases:
            with self.subTest(bases=case.__bases__):
                result = unittest.TestResult()
                self.assertEqual(warnings_of(lambda: case("test").run(result)), [])  # noqa: B023
                self.assertEqual(result.failures + result.errors, [])


if __name__ == "__main__":
    unittest.main()
