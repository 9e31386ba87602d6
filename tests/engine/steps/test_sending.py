"""Actions: callables of every kind, delays, holds and reading."""

from __future__ import annotations

import unittest
from typing import Any

from tests.engine.driver import Driver


class ActionTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.driver = Driver()
        self.driver.expect_connect()
        self.driver.connect()


class CallableTests(ActionTestCase):
    def test_callable_gets_the_last_result(self) -> None:
        """A callable is called when its turn comes, with the result of the last expectation before it."""
        self.driver.expect_line()
        self.driver.send_line(lambda line: line.upper())
        self.driver.send_frame(bytearray)
        self.driver.receive(b"ab\r\n")
        self.assertEqual(self.driver.handle().sent, b"AB\r\n\0\0\0\2ab")

    def test_coroutine_function(self) -> None:
        """A coroutine function is run, and what comes after waits for its bytes."""
        async def reply(last: Any) -> bytes:
            return b"reply"
        self.driver.send_bytes(b"a")
        step = self.driver.send_bytes(reply)
        self.driver.send_bytes(b"z")
        self.driver.turn()
        self.assertEqual(self.driver.handle().sent, b"a")
        self.driver.compute()
        self.assertEqual((self.driver.handle().sent, step.satisfied), (b"areplyz", True))

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
            self.driver.send_bytes(source)
            self.driver.turn()
            self.driver.compute()
            self.assertIn(words, self.driver.verdict[2])
            self.assertEqual(self.driver.verdict[1], 1)

    def test_what_a_callable_returns_is_no_message(self) -> None:
        """It is what it returned that is at fault: the callable itself has raised nothing."""
        self.driver.send_line(lambda _: b"a\r\nb")
        self.driver.turn()
        self.assertRegex(self.driver.verdict[2], "^what the callable of send_line.. returned can't be sent: a line is ")

    def test_coroutine_that_gives_nothing_is_overdue(self) -> None:
        """The step's time-out holds for the computing as well; bytes from the client do not put it off."""
        async def reply(last: Any) -> bytes:
            return b""
        self.driver.send_bytes(reply, timeout=1.0)
        self.driver.sleep(0.9)
        self.driver.receive(b"x")
        self.driver.sleep(0.2)
        self.assertEqual(self.driver.verdict[2], "the coroutine of send_bytes() gave nothing within 1.0 s")
        for command in self.driver.computing:
            command.drop()


class TimeTests(ActionTestCase):
    def test_delay_and_silence(self) -> None:
        """delay() lets time pass whatever the client does; expect_silence() fails at the first byte, and at the end."""
        self.driver.delay(1.0)
        self.driver.send_bytes(b"x")
        self.driver.receive(b"a")
        self.driver.sleep(0.9)
        self.assertEqual(self.driver.handle().sent, b"")
        self.driver.sleep(0.2)
        self.assertEqual(self.driver.handle().sent, b"x")
        self.driver.expect_bytes(b"a")
        silence = self.driver.expect_silence(1.0)
        self.driver.sleep(1.0)
        self.assertTrue(silence.satisfied)
        self.driver.expect_silence(1.0)
        self.driver.sleep(0.5)
        self.driver.receive(b"!")
        self.assertIn("expected silence for 1.0 s, got 1 byte: b'!'", self.driver.verdict[2])

    def test_hold_until_an_event(self) -> None:
        """A hold begins to wait when its turn comes; an event that is set already holds nothing."""
        class Event:
            def __init__(self, is_set: bool) -> None:
                self.is_set = lambda: is_set

            def wait(self) -> None:
                """Wait."""
        self.driver.hold_until(Event(True))
        self.driver.send_bytes(b"a")
        self.driver.hold_until(Event(False))
        self.driver.send_bytes(b"b")
        self.driver.turn()
        self.assertEqual(self.driver.handle().sent, b"a")
        self.driver.release()
        self.assertEqual(self.driver.handle().sent, b"ab")

    def test_reading_is_paused_and_resumed(self) -> None:
        """pause_reading() and resume_reading() are commands to the adapter."""
        self.driver.pause_reading()
        self.assertFalse(self.driver.handle().reading)
        self.driver.resume_reading()
        self.assertTrue(self.driver.handle().reading)


if __name__ == "__main__":
    unittest.main()
