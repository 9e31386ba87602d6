"""The pytest plugin: client streams that a test drops before they are closed, where warnings are errors."""

from __future__ import annotations

import asyncio
import sys
import unittest
import warnings
from typing import Any
from unittest import mock

from tcpclient_testing.aio.streams.watch import StreamWatch
from tcpclient_testing.pytest_plugin.dropped_streams import DroppedStreams
from tests.support.collecting import collect
from tests.support.loops import AsyncTestCase
from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

COMPLAINS = hasattr(asyncio.StreamWriter, "__del__")
SECTION = "streams that the test left open"
DROPPED = """
@pytest.fixture
def later(tcpserver):
    yield

@pytest.mark.asyncio
@pytest.mark.tcpserver(allow_open=True)
async def test_it(tcpserver, {fixture}):
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"hello")
    _, writer = await asyncio.open_connection(*tcpserver.address)
    writer.write({message})
    {end}
"""


@unittest.skipUnless(COMPLAINS, "a stream that is dropped does not complain before Python 3.11.3")
class ReportsTests(PluginTestCase):
    """One report, where the script has failed; and that of the stream alone, where it has not."""

    @needs("pytest_asyncio")
    def test_script_that_has_failed(self) -> None:
        """The verdict is the report, be it given when the test function ends or later, and tells of the stream."""
        for fixture, message, end, outcomes, words in (
                ("tmp_path", b"hullo", "pass", {"failed": 1}, "got b'hullo'"),
                ("later", b"hullo", "pass", {"failed": 1}, "got b'hullo'"),
                ("later", b"hello", "tcpserver.expect_connect(timeout=0.1)", {"passed": 1, "errors": 1},
                 "did not connect again")):
            with self.subTest(fixture=fixture, end=end):
                result = self.run_tests(DROPPED.format(fixture=fixture, message=message, end=end))
                result.assert_outcomes(**outcomes)
                text = self.text(result)
                for each in words, SECTION, "ResourceWarning: unclosed <StreamWriter":
                    self.assertIn(each, text)
                self.assertNotIn("PytestUnraisableExceptionWarning", text)

    @needs("pytest_asyncio")
    def test_script_that_is_kept_to(self) -> None:
        """The complaint is the report, in the phase of the test in which that is known."""
        for fixture in "tmp_path", "later":
            with self.subTest(fixture):
                text = self.text(self.run_tests(DROPPED.format(fixture=fixture, message="b'hello'",
                                                               end="await tcpserver.join()")))
                self.assertIn("PytestUnraisableExceptionWarning", text)
                self.assertIn("unclosed <StreamWriter", text)
                self.assertNotIn("ExpectationError", text)
                self.assertRegex(text, "1 (failed|error)")

    @needs("pytest_asyncio")
    def test_fault_of_the_test(self) -> None:
        """Where it is no verdict that a test reports, nothing is kept from pytest."""
        text = self.text(self.run_tests(DROPPED.format(
            fixture="tmp_path", message="b'hello'", end="await tcpserver.join(); del writer, _; assert not 'right'")))
        self.assertIn("PytestUnraisableExceptionWarning", text)
        self.assertNotIn(SECTION, text)

    @needs("pytest_asyncio")
    def test_loop_that_the_test_stops(self) -> None:
        """The body never ends, and the next test is told of its own faults all the same."""
        text = self.text(self.run_tests("""
            import sys
            hook = []

            def test_first():
                hook.append(sys.unraisablehook)

            @pytest.mark.asyncio
            async def test_it(tcpserver):
                asyncio.get_running_loop().stop()
                await asyncio.sleep(60)

            def test_last():
                assert type(hook[0]) is type(sys.unraisablehook)
        """, ignored="ignore"))
        self.assertIn("1 failed, 2 passed", text)


class DroppedStreamsTests(AsyncTestCase):
    """What is held back, and what is not."""

    async def drop(self) -> None:
        """Open a stream to a watched server, and drop it."""
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1")
        watch = StreamWatch(lambda _: True)
        watch.start()
        try:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            del _, writer
            collect()
        finally:
            watch.stop()
            server.close()

    def heard(self) -> list[Any]:
        """What Python's own hook is called with from now on."""
        heard: list[Any] = []
        patch = mock.patch.object(sys, "unraisablehook", heard.append)
        patch.start()
        self.addCleanup(patch.stop)
        return heard

    @unittest.skipUnless(COMPLAINS, "a stream that is dropped does not complain before Python 3.11.3")
    async def test_complaint(self) -> None:
        """It is told in the end, or kept; either way once."""
        heard = self.heard()
        dropped = DroppedStreams()
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            with dropped:
                await self.drop()
            dropped.keep()
            (line,) = dropped.kept
            self.assertIn("ResourceWarning: unclosed <StreamWriter", line)
            dropped.tell()
            self.assertEqual(heard, [])
            with dropped:
                await self.drop()
            dropped.tell()
            self.assertEqual([each.exc_type for each in heard], [ResourceWarning])
            dropped.keep()
            self.assertEqual(dropped.kept, [line])
            heard.clear()

    async def test_other_exceptions_that_cannot_be_raised(self) -> None:
        """They pass; and afterwards the hook is what it was, or what somebody else has made it."""
        class Broken:
            def __del__(self) -> None:
                raise ValueError("broken")
        heard = self.heard()
        before = sys.unraisablehook
        with DroppedStreams():
            Broken()
            collect()
        self.assertEqual([each.exc_type for each in heard], [ValueError])
        heard.clear()
        self.assertIs(sys.unraisablehook, before)
        with DroppedStreams():
            sys.unraisablehook = print
        self.assertIs(sys.unraisablehook, print)
        sys.unraisablehook = before


if __name__ == "__main__":
    unittest.main()
