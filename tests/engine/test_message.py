"""Reading a message with a framing and a matcher of the user's that are wrong themselves."""

from __future__ import annotations

import unittest
from typing import Any, Optional

from tcpclient_testing.engine.frames import FramePart, FrameReader, Framing
from tcpclient_testing.engine.framing import LengthPrefixed
from tcpclient_testing.engine.judging import BytesLike, Judge, Match, Matcher
from tcpclient_testing.engine.mismatches import Mismatch

from .driver import Driver
from .playing import Play


def outcome_of(value: Any) -> Any:
    """Raise an exception, return anything else."""
    if isinstance(value, Exception):
        raise value
    return value


class Pair(Framing):
    """Two bytes; `decode` raises, or returns, what the test says."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def decode(self, data: bytes) -> Any:
        return outcome_of(self.outcome)


class PairReader(FrameReader):
    """Raises, or returns, what the test says."""

    def __init__(self, outcome: Any) -> None:
        super().__init__()
        self.outcome = outcome

    def feed(self, data: memoryview) -> FramePart:
        if not data:
            return FramePart(b"", 0, False)
        self.started = True
        part: FramePart = outcome_of(self.outcome)
        return part


class ReadPair(Framing):
    """Two bytes, with a reader of its own."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def reader(self) -> FrameReader:
        return PairReader(self.outcome)


class PairJudge(Judge[bytes]):
    """Raises, or returns, what the test says, in one of its methods."""

    def __init__(self, method: str, outcome: Any) -> None:
        super().__init__()
        self.outcomes = {method: outcome}

    def announce(self, length: int) -> Optional[Mismatch]:
        answer: Optional[Mismatch] = outcome_of(self.outcomes.get("announce"))
        return answer

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        self.received += len(piece)
        answer: Optional[Mismatch] = outcome_of(self.outcomes.get("feed"))
        return answer

    def finish(self) -> Any:
        return outcome_of(self.outcomes.get("finish", Match(b"ok")))


class Judged(Matcher[bytes]):
    """A matcher with such a judge."""

    def __init__(self, method: str, outcome: Any) -> None:
        self.arguments = (method, outcome)

    def __repr__(self) -> str:
        return "Judged()"

    def judge(self) -> Judge[bytes]:
        return PairJudge(*self.arguments)


def connected() -> Driver:
    """A driver whose client has connected."""
    driver = Driver()
    driver.expect_connect()
    driver.connect()
    return driver


class UsersReadingTests(unittest.TestCase):
    """`Driver.receive` is what the event loop's callback does: it must not raise."""

    def failure_of(self, driver: Driver) -> tuple[str, Any]:
        """How the script failed, and the exception that is shown with it."""
        assert driver.verdict is not None
        failure = driver.session.failure
        assert failure is not None
        return driver.verdict[2], getattr(failure.mismatch, "exception", None)

    def test_exception_of_a_judge_is_the_mismatch(self) -> None:
        """Whichever method raises, the failure is at the step, and has the exception with its traceback."""
        for method in ("announce", "feed", "finish"):
            with self.subTest(method):
                driver, error = connected(), KeyError("x")
                driver.expect_frame(Judged(method, error))
                driver.receive(b"\0\0\0\2ab")
                self.assertEqual(self.failure_of(driver),
                                 ("PairJudge raised KeyError: 'x', while a message was read", error))
                assert error.__traceback__ is not None

    def test_exception_of_a_judge_beside_other_candidates(self) -> None:
        """Beside what is allowed, such a candidate is out; when all are, its exception is in the report."""
        play, error = Play(), KeyError("x")
        play.server.allow(b"ping")
        handle = play.expect_connect()
        handle.expect_frame(Judged("feed", error), framing=LengthPrefixed(4))
        play.receive(play.connect(), b"\0\0\0\2ab")
        assert play.session.failure is not None
        mismatch: Any = play.session.failure.mismatch
        self.assertEqual(mismatch.summary, "PairJudge raised KeyError: 'x', while a message was read")
        self.assertIs(mismatch.exception, error)

    def test_judge_that_returns_nothing_at_the_end(self) -> None:
        """A `finish` without a verdict is the mismatch, rather than a message without an end."""
        driver = connected()
        driver.expect_frame(Judged("finish", None))
        driver.receive(b"\0\0\0\2ab")
        self.assertEqual(self.failure_of(driver)[0],
                         "PairJudge.finish() returned None, neither a Match nor a Mismatch")

    def test_exception_of_a_reader_is_the_mismatch(self) -> None:
        """So is what it can't mean: bytes that it neither consumes nor is done without."""
        error = IndexError("out of range")
        for outcome, summary, raised in (
            (error, "PairReader raised IndexError: out of range, while a message was read", error),
            (FramePart(b"", 0, False),
             ("PairReader.feed() returned FramePart(b'', consumed=0, complete=False) for 2 bytes; all of them are "
              "consumed, unless the message is complete before their end"), None),
        ):
            with self.subTest(summary):
                driver = connected()
                driver.expect_frame(framing=ReadPair(outcome))
                driver.receive(b"ab")
                self.assertEqual(self.failure_of(driver), (summary, raised))

    def test_exception_of_decode_is_the_mismatch(self) -> None:
        """Its traceback is shown, unless it is a ValueError, by which `decode` refuses bytes."""
        for error, raised in ((KeyError("x"), True), (ValueError("not a pair"), False)):
            with self.subTest(type(error).__name__):
                driver = connected()
                driver.expect_frame(framing=Pair(error))
                driver.receive(b"ab")
                text = "KeyError: 'x'" if raised else "not a pair"
                self.assertEqual(self.failure_of(driver),
                                 (f"expected a frame of Pair, got b'ab': {text}", error if raised else None))

    def test_reports_do_without_what_raises(self) -> None:
        """A time-out, and an end of stream, are reported as such where `partial` and `waiting_for` are missing."""
        for end in ("time-out", "end of stream"):
            with self.subTest(end):
                driver = connected()
                driver.expect_frame(Judged("", None), framing=ReadPair(FramePart(b"ab", 2, False)))
                driver.receive(b"ab")
                if end == "time-out":
                    driver.sleep(60)
                else:
                    driver.half_close()
                self.assertIn("expected a message that PairReader reads, Judged()", self.failure_of(driver)[0])


if __name__ == "__main__":
    unittest.main()
