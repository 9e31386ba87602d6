"""Actions: callables of every kind, delays, holds and reading."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.memory.host import MemoryServer


class ActionTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()
        self.server.expect_connect()
        self.server.connect()


class CallableTests(ActionTestCase):
    def test_callable_gets_the_last_result(self) -> None:
        """A callable is called when its turn comes, with the result of the last expectation before it."""
        self.server.expect_line()
        self.server.send_line(lambda line: line.upper())
        self.server.send_frame(bytearray)
        self.server.receive(b"ab\r\n")
        self.assertEqual(self.server.connection().sent, b"AB\r\n\0\0\0\2ab")

    def test_coroutine_function(self) -> None:
        """A coroutine function is run, and what comes after waits for its bytes."""
        async def reply(last: Any) -> bytes:
            return b"reply"
        self.server.send_bytes(b"a")
        step = self.server.send_bytes(reply)
        self.server.send_bytes(b"z")
        self.server.turn()
        self.assertEqual(self.server.connection().sent, b"a")
        self.server.compute()
        self.assertEqual((self.server.connection().sent, step.satisfied), (b"areplyz", True))

    def test_what_goes_wrong_is_the_verdict(self) -> None:
        """A callable that raises, a coroutine that raises, and what is not bytes fail the step, with the reason."""
        async def raising(last: Any) -> bytes:
            raise LookupError("later")

        async def wrong(last: Any) -> Any:
            return "text"

        def raising_now(last: Any) -> bytes:
            raise LookupError("now")
        for source, words in ((raising, "LookupError: later"), (raising_now, "LookupError: now"),
                              (wrong, "'text', which is not bytes"), (lambda _: None, "None, which is not bytes"),
                              (lambda: b"", "TypeError")):
            self.setUp()
            self.server.send_bytes(source)
            self.server.turn()
            self.server.compute()
            self.assertIn(words, self.server.verdict[2])
            self.assertEqual(self.server.verdict[1], 1)

    def test_what_a_callable_returns_is_no_message(self) -> None:
        """It is what it returned that is at fault: the callable itself has raised nothing."""
        self.server.send_line(lambda _: b"a\r\nb")
        self.server.turn()
        self.assertRegex(self.server.verdict[2], "^what the callable of send_line.. returned can't be sent: a line is ")

    def test_coroutine_that_gives_nothing_is_overdue(self) -> None:
        """The step's time-out holds for the computing as well; bytes from the client do not put it off."""
        async def reply(last: Any) -> bytes:
            return b""
        self.server.send_bytes(reply, timeout=1.0)
        self.server.sleep(0.9)
        self.server.receive(b"x")
        self.server.sleep(0.2)
        self.assertEqual(self.server.verdict[2], "the coroutine of send_bytes() gave nothing within 1.0 s")
        for command in self.server.computing:
            command.drop()


class TimeTests(ActionTestCase):
    def test_delay_and_silence(self) -> None:
        """delay() lets time pass whatever the client does; expect_silence() fails at the first byte, and at the end."""
        self.server.delay(1.0)
        self.server.send_bytes(b"x")
        self.server.receive(b"a")
        self.server.sleep(0.9)
        self.assertEqual(self.server.connection().sent, b"")
        self.server.sleep(0.2)
        self.assertEqual(self.server.connection().sent, b"x")
        self.server.expect_bytes(b"a")
        silence = self.server.expect_silence(1.0)
        self.server.sleep(1.0)
        self.assertTrue(silence.satisfied)
        self.server.expect_silence(1.0)
        self.server.sleep(0.5)
        self.server.receive(b"!")
        self.assertIn("expected silence for 1.0 s, got 1 byte: b'!'", self.server.verdict[2])

    def test_hold_until_an_event(self) -> None:
        """A hold begins to wait when its turn comes; an event that is set already holds nothing."""
        class Event:
            def __init__(self, is_set: bool) -> None:
                self.is_set = lambda: is_set

            def wait(self) -> None:
                """Wait."""
        self.server.hold_until(Event(True))
        self.server.send_bytes(b"a")
        self.server.hold_until(Event(False))
        self.server.send_bytes(b"b")
        self.server.turn()
        self.assertEqual(self.server.connection().sent, b"a")
        self.server.release()
        self.assertEqual(self.server.connection().sent, b"ab")

    def test_reading_is_paused_and_resumed(self) -> None:
        """pause_reading() and resume_reading() are commands to the adapter."""
        self.server.pause_reading()
        self.assertFalse(self.server.connection().reading)
        self.server.resume_reading()
        self.assertTrue(self.server.connection().reading)


if __name__ == "__main__":
    unittest.main()
