"""The time-outs of steps, as they are written."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING, UNSET, Timing, timing_of
from tcpclient_testing.memory.host import MemoryServer


def values(timing: Timing) -> tuple[object, ...]:
    """All that a timing says."""
    return timing.timeout, timing.within, timing.after, timing.default


class TimingTests(unittest.TestCase):
    def test_what_is_written_is_what_holds(self) -> None:
        """The server's time-out holds where neither `timeout` nor `within` is given."""
        self.assertIs(timing_of("expect_line", UNSET, None), DEFAULT_TIMING)
        for arguments, expected in (
            ((UNSET, None, 2), (None, None, 2.0, True)),
            ((UNSET, 30), (None, 30.0, None, False)),
            ((2, 30), (2.0, 30.0, None, False)),
            ((None, None), (None, None, None, False)),
        ):
            with self.subTest(arguments):
                self.assertEqual(values(timing_of("expect_connect", *arguments)), expected)

    def test_what_can_not_be_is_refused(self) -> None:
        """The text names the method and the argument."""
        with self.assertRaisesRegex(ValueError, r"^expect_line\(within=\.\.\.\) is a number of seconds"):
            timing_of("expect_line", UNSET, -1)
        with self.assertRaisesRegex(ValueError, r"^expect_connect\(after=2, within=1\) can't be"):
            timing_of("expect_connect", UNSET, 1, 2)


class ScaleTests(unittest.TestCase):
    """Time-outs that are multiplied on slow machines: `Environment.scale`."""

    def failure(self, write: Callable[[Any], Any], *, received: bytes = b"", seconds: float = 60) -> tuple[float, str]:
        """When a script that this writes fails, and how, if time-outs are four times as long."""
        server = MemoryServer(timeout=5.0, idle_timeout=None)
        server.session.environment.configure(scale=4.0)
        server.expect_connect()
        write(server)
        server.connect()
        server.receive(received)
        server.sleep(seconds)
        failure = server.session.failure
        return (0.0, "") if failure is None else (failure.now, failure.mismatch.summary)

    def test_time_outs_of_steps_are_multiplied(self) -> None:
        """`timeout` and `within` are, and the report says how long was waited; the session's default is already."""
        for options, expected, text in (({}, 5.0, "for 5.0 s"), ({"timeout": 2}, 8.0, "for 8.0 s"),
                                        ({"within": 3}, 12.0, "within 12.0 s"),
                                        ({"timeout": 4, "within": 3}, 12.0, "within 12.0 s"),
                                        ({"timeout": None}, 0.0, "")):
            for name, write in (("line", lambda script, options=options: script.expect_line(b"x", **options)),
                                ("end", lambda script, options=options: script.expect_disconnect(**options))):
                with self.subTest(name, options=options):
                    now, summary = self.failure(write)
                    self.assertEqual(now, expected)
                    self.assertIn(text, summary)

    def test_time_outs_of_any_order_are_multiplied(self) -> None:
        """So are those of a block, and of a script with something beside it, once."""
        def block(script: Any) -> None:
            with script.connection().any_order():
                script.connection().expect_line(b"a", timeout=2)
                script.connection().expect_line(b"b", within=1)

        def beside(script: Any) -> None:
            script.allow(b"!")
            script.expect_line(b"a", timeout=2)

        self.assertEqual(self.failure(block)[0], 4.0)
        self.assertEqual(self.failure(beside)[0], 8.0)

    def test_what_is_part_of_the_meaning_is_not_multiplied(self) -> None:
        """A delay, a silence, and `after`; of `within`, only what lies behind `after`."""
        def quiet(script: Any) -> None:
            script.delay(1)
            script.expect_silence(1)
            script.expect_line(b"x", timeout=1)

        self.assertEqual(self.failure(quiet)[0], 6.0)
        server = MemoryServer()
        server.session.environment.configure(scale=4.0)
        server.expect_connect(after=10, within=15)
        server.sleep(29)
        self.assertIsNone(server.session.failure)
        server.sleep(2)
        self.assertEqual(server.session.failure and server.session.failure.now, 30.0)
        self.assertEqual(str(server.session.conversations[0].script.steps[0]), "expect_connect(after=10, within=15)")

    def test_connection_any_order_is_multiplied(self) -> None:
        """And where connections may come in any order."""
        server = MemoryServer(timeout=None)
        server.session.environment.configure(scale=4.0)
        with server.any_order():
            server.expect_connect(timeout=2)
            server.expect_line(b"a")
            server.expect_connect(within=3)
            server.expect_line(b"b")
        server.sleep(20)
        self.assertEqual(server.session.failure and server.session.failure.now, 8.0)


if __name__ == "__main__":
    unittest.main()
