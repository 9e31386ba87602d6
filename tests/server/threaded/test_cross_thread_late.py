"""What is raised where somebody waits no longer for a threaded server's script."""

from __future__ import annotations

import asyncio
import pickle
import socket
import traceback
import unittest
from typing import Any, Callable

from tcpclient_testing import ThreadedMockTCPServer


class LateTests(unittest.TestCase):
    def setUp(self) -> None:
        """A server whose client has sent the first of two lines."""
        self.server = ThreadedMockTCPServer(allow_open=True)
        self.server.start()
        self.addCleanup(self.server.close)
        self.server.expect_connect()
        first = self.server.expect_line()
        self.second = self.server.expect_line(b"second")
        self.client = socket.create_connection(self.server.address)
        self.addCleanup(self.client.close)
        self.client.sendall(b"first\r\n")
        first.result(30)

    def text_of(self, wait: Callable[[], Any]) -> list[str]:
        """Wait in vain; return the lines of the error's text."""
        with self.assertRaises(TimeoutError) as caught:
            wait()
        return str(caught.exception).split("\n")

    def assert_conversation(self, lines: list[str]) -> None:
        """The text must have the script with the states of its steps, and the transcript."""
        self.assertEqual(lines[1:3], ["", "  script"])
        self.assertRegex(lines[4], r"    2 expect_line\(\) +satisfied")
        self.assertRegex(lines[5], r"    3 expect_line\(b'second'\) +waiting")
        self.assertEqual(lines[6], "  transcript")
        self.assertIn("received 7 bytes  b'first\\r\\n'", lines[8])

    def test_join_when_the_time_is_over(self) -> None:
        """The first line says what is waited for; the state of the script and the transcript follow."""
        lines = self.text_of(lambda: self.server.join(0.01))
        self.assertRegex(lines[0], r"^the script is not complete after 0\.01 s; it waits for step 3 of connection 1, "
                                   r"expect_line\(b'second'\) \(test_cross_thread_late\.py:\d+\)$")
        self.assert_conversation(lines)

    def test_join_of_a_connection_when_the_time_is_over(self) -> None:
        """It names the step of that connection, even if an earlier one has steps that are not satisfied either."""
        self.server.expect_connect()
        lines = self.text_of(lambda: self.server.connections[0].join(0.01))
        self.assertIn("the script of connection 1 is not complete after 0.01 s; it waits for step 3", lines[0])
        second = self.server.expect_connect().connection
        lines = self.text_of(lambda: second.join(0.01))
        self.assertIn("the script of connection 3 is not complete after 0.01 s; it waits for step 1 of connection 3",
                      lines[0])

    def test_result_when_the_time_is_over(self) -> None:
        """A single step is waited for in the same way."""
        lines = self.text_of(lambda: self.second.result(0.01))
        self.assertRegex(lines[0], r"^step 3 of connection 1, expect_line\(b'second'\) "
                                   r"\(test_cross_thread_late\.py:\d+\) is not satisfied after 0\.01 s$")
        self.assert_conversation(lines)

    def test_join_when_an_event_loop_waits(self) -> None:
        """What is awaited raises the same."""
        async def wait() -> None:
            await self.server.join(0.01)

        self.assert_conversation(self.text_of(lambda: asyncio.run(wait())))

    def test_error_is_an_ordinary_time_out(self) -> None:
        """It is shown as the TimeoutError that it is, and travels to other processes as one."""
        with self.assertRaises(TimeoutError) as caught:
            self.server.join(0.01)
        error = caught.exception
        self.assertTrue(traceback.format_exception_only(type(error), error)[0].startswith("TimeoutError: the script"))
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(copy), str(copy)), (TimeoutError, str(error)))

    def test_conversation_is_told_once(self) -> None:
        """Where it leaves the contexts of client and server it stands, and nothing is attached to it."""
        with self.assertRaises(TimeoutError) as caught, ThreadedMockTCPServer(allow_open=True) as server:
            server.expect_connect()
            with socket.create_connection(server.address):
                server.join()
                server.expect_line()
                server.join(0.01)
        told = "".join(traceback.format_exception(type(caught.exception), caught.exception, None))
        self.assertEqual(told.count("  transcript\n"), 1, told)


if __name__ == "__main__":
    unittest.main()
