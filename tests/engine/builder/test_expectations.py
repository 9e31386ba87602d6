"""The methods by which scripts are written: what they refuse, and how a report shows what they were given."""

from __future__ import annotations

import threading
import unittest
from typing import Any, Callable

from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.sized import FixedLength, LengthPrefixed
from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.patterns import Regex
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.memory.host import MemoryServer


def helper(server: MemoryServer) -> Step[Any]:
    """A step that is written in a function of the test's."""
    return server.expect_line(b"helped")


async def answer(last: Any) -> bytes:
    """A reply that is computed."""
    return bytes(last)


class ScriptTestCase(unittest.TestCase):
    def setUp(self) -> None:
        """A script that has begun."""
        self.server = MemoryServer()
        self.server.expect_connect()

    def assert_refused(self, kind: type[Exception], words: str, write: Callable[..., Any], *args: Any,
                       **options: Any) -> None:
        """Writing the step must raise this, with a text that begins so, and leave the script as it is."""
        with self.subTest(words=words):
            with self.assertRaises(kind) as caught:
                write(*args, **options)
            self.assertTrue(str(caught.exception).startswith(words), str(caught.exception))
            self.assertEqual(len(self.server.session.conversations[0].script.steps), 1)


class ArgumentTests(ScriptTestCase):
    def test_bytes_of_another_type(self) -> None:
        """Each method names its argument, and what to write instead."""
        server = self.server
        self.assert_refused(TypeError, "expect_bytes(data) is bytes, since StartsWith(b'a') could not tell where the "
                                       "message ends", server.expect_bytes, StartsWith(b"a"))
        for method, argument in ((server.expect_bytes, "expect_bytes(data)"), (server.expect_line, "expect_line(line)"),
                                 (server.expect_frame, "expect_frame(payload)"),
                                 (server.expect_until, "expect_until(separator)"),
                                 (server.send_bytes, "send_bytes(data)"), (server.send_line, "send_line(line)"),
                                 (server.send_frame, "send_frame(payload)")):
            self.assert_refused(TypeError, f"{argument} takes bytes", method, "text")
        self.assert_refused(TypeError, "expect_line(line) takes bytes or a matcher, got the class Regex",
                            server.expect_line, Regex)
        self.assert_refused(TypeError, "expect_line(ending=...) takes bytes", server.expect_line, ending="\n")

    def test_messages_of_each(self) -> None:
        """They are several, of the right types, and can come."""
        each = self.server.expect_each
        takes = "expect_each(messages) takes a sequence or an iterator of messages, got"
        for messages, got in ((b"abc", "one: b'abc'"), ("abc", "one: 'abc'"), (Regex(b"a"), "one: Regex(b'a')"),
                              (3, "3"), (None, "None")):
            self.assert_refused(TypeError, f"{takes} {got}", each, messages)
        self.assert_refused(ValueError, "expect_each(messages) is empty; nothing would be expected", each, [])
        self.assert_refused(ValueError, "expect_each(messages) is empty; nothing would be expected", each, {})
        self.assert_refused(ValueError, "expect_each(messages) has an empty message", each, [b"a", b""])
        self.assert_refused(ValueError, "expect_each(messages) is an iterator of messages of no bytes", each,
                            iter([b""]), framing=FixedLength(0))
        self.assert_refused(TypeError, "expect_each(messages) takes bytes, got the str 'b'; write b'b'", each,
                            [b"a", "b"])
        self.assert_refused(TypeError, "expect_each(messages) takes bytes, since Regex(b'a') could not tell where",
                            each, [Regex(b"a")])
        self.assert_refused(TypeError, "expect_each(messages) takes bytes or a matcher, got the str", each, ["a"],
                            ending=b"\n")
        self.assert_refused(TypeError, "expect_each(framing=..., ending=...): each message is a frame or a line", each,
                            [b"a"], ending=b"\n", framing=LengthPrefixed(4))
        self.assert_refused(TypeError, "expect_each(framing=...) is a Framing such as", each, [b"a"], framing=4)
        self.assert_refused(ValueError, "expect_each(b'a\\nb', ending=b'\\n') can never be met", each, [b"a\nb"],
                            ending=b"\n")
        self.assertEqual(str(each([b"a", b"b"], ending=b"\n")), "expect_each(2 messages, ending=b'\\n')")
        self.assertEqual(str(each(iter([b"a"]))), "expect_each(messages)")

    def test_nothing_at_all(self) -> None:
        """What is empty can't be expected, nor be an ending."""
        server = self.server
        self.assert_refused(ValueError, "expect_bytes(data) is empty", server.expect_bytes, b"")
        self.assert_refused(ValueError, "expect_until(separator) is empty", server.expect_until, b"")
        self.assert_refused(ValueError, "send_line(ending=...) is empty; lines would never end", server.send_line,
                            b"x", ending=b"")

    def test_times_that_can_not_be(self) -> None:
        """Negative, not finite, or no numbers; where a time is what the step is about, None is no time either."""
        server = self.server
        self.assert_refused(TypeError, "expect_silence(seconds) is a number of seconds", server.expect_silence, None)
        self.assert_refused(TypeError, "delay(seconds) is a number of seconds", server.delay, None)
        for method in ("expect_eof", "expect_disconnect", "expect_reset", "send_eof", "disconnect", "reset"):
            self.assert_refused(ValueError, f"{method}(timeout=...)", getattr(server, method), timeout=-1)
            self.assert_refused(TypeError, f"{method}(within=...)", getattr(server, method), within="soon")

    def test_other_arguments(self) -> None:
        """Framings, events and sides are checked as well."""
        server = self.server
        self.assert_refused(TypeError, "expect_frame(framing=...) is a Framing such as LengthPrefixed(4), not int: 4",
                            server.expect_frame, framing=4)
        self.assert_refused(TypeError, "send_frame(framing=...) is a Framing", server.send_frame, b"", framing=b"\n")
        self.assert_refused(TypeError, "hold_until(event) is an asyncio.Event, a threading.Event or a step, not int",
                            server.hold_until, 1)
        self.assert_refused(ValueError, "expect_tls_failure(by=...) is 'client' or 'server', not 'me'",
                            server.expect_tls_failure, by="me")
        self.assert_refused(TypeError, "expect_exactly(keep=False) discards the bytes", server.expect_exactly, 3,
                            b"abc", keep=False)

    def test_replies_that_can_not_be_framed(self) -> None:
        """A line with its ending in it, and a payload that is too long, are refused where they are written."""
        server = self.server
        self.assert_refused(ValueError, "send_line(line): a line is given without the b'\\r\\n'", server.send_line,
                            b"a\r\n")
        self.assert_refused(ValueError, "send_frame(payload): 300 bytes are too long for LengthPrefixed(1)",
                            server.send_frame, bytes(300), framing=LengthPrefixed(1))

    def test_bytes_of_every_kind(self) -> None:
        """A bytearray and a memoryview are copied: what becomes of them later does not matter."""
        data = bytearray(b"abc")
        self.server.expect_bytes(memoryview(data))
        step = self.server.send_bytes(data)
        data[:] = b"xyz"
        self.server.connect()
        self.server.receive(b"abc")
        self.assertEqual((self.server.verdict, step.satisfied, self.server.connection().sent), (None, True, b"abc"))


class ShownTests(ScriptTestCase):
    def test_steps_as_reports_show_them(self) -> None:
        """The method, and its arguments shortened; what was not given is not shown."""
        server = self.server
        for step, shown in (
                (server.expect_bytes(b"a"), "expect_bytes(b'a')"),
                (server.expect_line(), "expect_line()"),
                (server.expect_line(b"a", ending=b"\n"), "expect_line(b'a', ending=b'\\n')"),
                (server.expect_line(StartsWith(b"a")), "expect_line(StartsWith(b'a'))"),
                (server.expect_until(b";"), "expect_until(b';')"),
                (server.expect_until(b";", b"a"), "expect_until(b';', b'a')"),
                (server.expect_exactly(2), "expect_exactly(2)"),
                (server.expect_exactly(2, keep=False), "expect_exactly(2, keep=False)"),
                (server.expect_exactly(len), "expect_exactly(len)"),
                (server.expect_frame(), "expect_frame()"),
                (server.expect_frame(b"a", framing=Delimited(b";")), "expect_frame(b'a', framing=Delimited(b';'))"),
                (server.expect_silence(0.5), "expect_silence(0.5)"),
                (server.delay(0.25), "delay(0.25)"),
                (server.send_bytes(b"a"), "send_bytes(b'a')"),
                (server.send_line(answer), "send_line(answer)"),
                (server.hold_until(threading.Event()), "hold_until(Event)"),
                (server.pause_reading(), "pause_reading()"),
                (server.resume_reading(), "resume_reading()"),
                (server.send_eof(), "send_eof()"),
                (server.expect_disconnect(wait_closed=False), "expect_disconnect(wait_closed=False)"),
        ):
            with self.subTest(shown=shown):
                self.assertEqual(str(step), shown)

    def test_long_data_is_shortened(self) -> None:
        """Its length is said."""
        self.assertIn("of 5000 bytes", str(self.server.expect_bytes(bytes(5000))))
        self.assertLess(len(str(self.server.expect_frame(bytes(5000)))), 200)

    def test_line_is_that_of_the_test(self) -> None:
        """A step that a helper wrote knows the helper's line and that of its caller."""
        step = helper(self.server)
        method: Any = type(self).test_line_is_that_of_the_test
        self.assertEqual([(line.path, line.line) for line in step.lines()],
                         [(__file__, helper.__code__.co_firstlineno + 2),
                          (__file__, method.__code__.co_firstlineno + 2)])

    def test_numbers_of_bytes_that_can_not_be(self) -> None:
        """The method is named, what it counts, and the callable where it was that."""
        server = MemoryServer()
        server.expect_connect()
        for n, kind, text in ((-1, ValueError, "expect_exactly(n) must be 1 or more, got -1"),
                              (0, ValueError, "expect_exactly(n) must be 1 or more, got 0"),
                              ("3", TypeError, "expect_exactly(n) takes a number of bytes, got '3'")):
            with self.subTest(n=n), self.assertRaises(kind) as caught:
                server.expect_exactly(n)  # type: ignore[call-overload]
            self.assertEqual(str(caught.exception), text)
        for value, text in (("x", "TypeError: what it returned takes a number of bytes, got 'x'"),
                            (-1, "ValueError: what it returned must be 0 or more, got -1")):
            server = MemoryServer()
            server.expect_connect()
            server.expect_exactly(lambda _, value=value: value)  # type: ignore[misc]
            server.connect()
            self.assertIn(f"the callable of expect_exactly() raised {text}", server.verdict[2])
        server = MemoryServer()
        server.expect_connect()
        step = server.expect_exactly(lambda _: 0)
        server.connect()
        self.assertEqual(step.result(), b"")


if __name__ == "__main__":
    unittest.main()
