"""Debuggers are told from coverage tracers, in this thread and in others."""

from __future__ import annotations

import asyncio
import bdb
import contextlib
import io
import os
import pathlib
import pdb  # noqa: T100 - it is the subject here
import socket
import subprocess
import sys
import tempfile
import threading
import types
import unittest
from typing import Any, Optional

from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.aio.process.debugger import debugger_active
from tests.support.long import lasting

# This very suite may be run under a debugger.
_DEBUGGED = debugger_active()


class _Answering(io.StringIO):
    """The keyboard of somebody who is asked by a debugger, and says at its prompt whether one is active."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def readline(self, size: Optional[int] = -1, /) -> str:  # type: ignore[override]
        self.seen.append(debugger_active())
        return "continue\n"


@unittest.skipIf(_DEBUGGED, "a debugger is at work")
class DebuggerActiveTests(unittest.TestCase):
    """What counts as a debugger at work."""

    def setUp(self) -> None:
        self.addCleanup(sys.settrace, sys.gettrace())

    def in_another_thread(self) -> bool:
        """Return what a thread finds that isn't traced itself."""
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(debugger_active()))
        thread.start()
        thread.join()
        return found[0]

    def test_active_when_nobody_debugs(self) -> None:
        """Nothing is found where there is nothing, though the debugger's modules are imported."""
        self.assertFalse(debugger_active())
        self.assertFalse(self.in_another_thread())

    def test_active_when_a_tracer_measures_coverage(self) -> None:
        """A trace function that is no debugger's doesn't count, be it a function or a method."""

        def trace(frame: types.FrameType, event: str, argument: Any) -> Any:
            return trace

        class Tracer:
            def trace(self, frame: types.FrameType, event: str, argument: Any) -> Any:
                return self.trace

        for tracer in trace, Tracer().trace:
            sys.settrace(tracer)
            seen = debugger_active(), self.in_another_thread()
            sys.settrace(None)
            self.assertEqual(seen, (False, False))

    def test_active_when_a_debugger_traces_this_thread(self) -> None:
        """A debugger that waits for a breakpoint is at work, and other threads see it too."""

        class Debugger(bdb.Bdb):
            pass

        def check() -> None:
            seen.append((debugger_active(), self.in_another_thread()))

        seen: list[tuple[bool, bool]] = []
        debugger = Debugger()
        debugger.reset()
        sys.settrace(debugger.trace_dispatch)
        try:
            check()
        finally:
            sys.settrace(None)
        self.assertEqual(seen, [(True, True)])

    def test_active_when_a_prompt_waits_in_another_thread(self) -> None:
        """A prompt of pdb in one thread is seen from others."""
        keyboard = _Answering()
        found: list[bool] = []

        def prompt() -> None:
            pdb.Pdb(stdin=keyboard, stdout=io.StringIO(), nosigint=True, readrc=False).set_trace()
            found.append(True)

        thread = threading.Thread(target=prompt)
        thread.start()
        thread.join()
        self.assertEqual(found, [True])
        self.assertEqual(set(keyboard.seen), {True})
        self.assertFalse(debugger_active())

    def test_active_when_a_debugger_was_told_to_go_on(self) -> None:
        """One that has nothing left to stop at is over, whatever trace functions it leaves in the runner's frames."""
        for answer, over in ("continue\n", True), ("quit\n", True), ("break self.fail\ncontinue\n", False):
            with self.subTest(answer):
                debugger = pdb.Pdb(stdin=io.StringIO(answer), stdout=io.StringIO(), nosigint=True, readrc=False)
                with contextlib.suppress(bdb.BdbQuit):
                    debugger.set_trace()
                    debugger.reset  # noqa: B018 - the line at which it stops
                seen = debugger_active(), self.in_another_thread()
                sys.settrace(None)
                debugger.clear_all_breaks()
                self.assertEqual(seen, (not over, not over))

    def test_active_when_a_frame_elsewhere_is_traced(self) -> None:
        """A debugger that traces a frame of another thread is at work."""
        ready, done = threading.Event(), threading.Event()

        def run() -> None:
            sys._getframe().f_trace = bdb.Bdb().trace_dispatch
            ready.set()
            done.wait()

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(done.set)
        ready.wait()
        self.assertTrue(debugger_active())

    def test_active_when_a_debuggers_thread_runs(self) -> None:
        """A debugger that serves an editor has a thread of its own, in a module of its own."""
        ready, done = threading.Event(), threading.Event()
        namespace = {"__name__": "_pydevd_bundle.pydevd_comm", "ready": ready, "done": done}
        exec("def run():\n    ready.set()\n    done.wait()", namespace)
        thread = threading.Thread(target=namespace["run"])  # type: ignore[arg-type]
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(done.set)
        ready.wait()
        self.assertTrue(debugger_active())

    @unittest.skipUnless(sys.version_info >= (3, 12), "needs sys.monitoring")
    def test_active_when_a_debugger_monitors(self) -> None:
        """A tool that registered as a debugger is at work; one that measures coverage is not."""
        if sys.version_info >= (3, 12):
            sys.monitoring.use_tool_id(sys.monitoring.PROFILER_ID, "a profiler")
            self.addCleanup(sys.monitoring.free_tool_id, sys.monitoring.PROFILER_ID)
            self.assertFalse(debugger_active())
            sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "a debugger")
            self.addCleanup(sys.monitoring.free_tool_id, sys.monitoring.DEBUGGER_ID)
            self.assertTrue(debugger_active())

    def test_active_under_the_debuggers_command(self) -> None:
        """A program that was started by ``python -m pdb`` is being debugged, one that wasn't is not."""
        root = pathlib.Path(__file__).parents[3]
        with tempfile.TemporaryDirectory() as directory:
            program = pathlib.Path(directory, "program.py")
            program.write_text(
                f"import sys; sys.path.insert(0, {str(root)!r})\n"
                "from tcpclient_testing.aio.process.debugger import debugger_active\n"
                "print('active:', debugger_active())\n",
                encoding="utf-8",
            )
            # pdb prints the program's path, which may have any letters.
            environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"}
            # At the same time, since interpreters take their time to start.
            with contextlib.ExitStack() as stack:
                started = [
                    (stack.enter_context(subprocess.Popen(
                        [sys.executable, *debugger, str(program)], env=environment, encoding="utf-8",
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)), expected)
                    for debugger, expected in ((("-m", "pdb", "-c", "continue"), True), ((), False))
                ]
                for process, expected in started:
                    stack.callback(process.kill)
                    self.assertIn(f"active: {expected}", process.communicate("q\n", timeout=30)[0])


class _Thinking(io.StringIO):
    """The keyboard of somebody who thinks for longer than any time-out of the server."""

    def readline(self, size: Optional[int] = -1, /) -> str:  # type: ignore[override]
        threading.Event().wait(0.2)
        return "continue\n"


def think() -> None:
    """Stop in a debugger, and go on after a while."""
    pdb.Pdb(stdin=_Thinking(), stdout=io.StringIO(), nosigint=True, readrc=False).set_trace()


@unittest.skipIf(_DEBUGGED, "a debugger is at work")
class PauseTests(unittest.TestCase):
    """A test that stops in a debugger, in the middle of its conversation, is not failed for that."""

    def setUp(self) -> None:
        self.addCleanup(sys.settrace, sys.gettrace())

    @lasting
    def test_server_in_a_thread(self) -> None:
        """Its time-outs stand still, although its own thread isn't stopped."""
        with ThreadedMockTCPServer(timeout=0.05, idle_timeout=0.05) as server:
            server.expect_connect()
            server.expect_line(b"PING")
            server.send_line(b"PONG")
            server.expect_disconnect()
            with socket.create_connection(server.address) as client:
                think()
                client.sendall(b"PING\r\n")
                think()
                self.assertEqual(client.recv(6), b"PONG\r\n")

    @lasting
    def test_asynchronous_server(self) -> None:
        """The loop is stopped as well, and no client is said to have blocked it."""
        async def main() -> None:
            async with MockTCPServer(timeout=0.05, idle_timeout=0.05) as server:
                server.expect_connect()
                server.expect_line(b"PING")
                server.send_line(b"PONG")
                server.expect_disconnect()
                reader, writer = await asyncio.open_connection(*server.address)
                think()
                writer.write(b"PING\r\n")
                think()
                self.assertEqual(await reader.readline(), b"PONG\r\n")
                writer.close()
                await writer.wait_closed()
        asyncio.run(main())


if __name__ == "__main__":
    unittest.main()
