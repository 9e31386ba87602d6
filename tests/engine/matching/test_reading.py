"""Reading a message with a framing and a matcher of the user's that are wrong themselves."""

from __future__ import annotations

import unittest
from typing import Any, Callable, Optional

from tcpclient_testing.engine.arguments import BytesLike
from tcpclient_testing.engine.framing.base import FramePart, FrameReader, Framing
from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.netstring import Netstring
from tcpclient_testing.engine.framing.sized import FixedLength, LengthPrefixed
from tcpclient_testing.engine.framing.varint import Varint
from tcpclient_testing.engine.matching.base import Judge, Match, Matcher
from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.patterns import Regex
from tcpclient_testing.engine.matching.structure import Struct
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.memory.host import MemoryServer


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


def connected() -> MemoryServer:
    """A server whose client has connected."""
    server = MemoryServer()
    server.expect_connect()
    server.connect()
    return server


class UsersReadingTests(unittest.TestCase):
    """`MemoryServer.receive` is what the event loop's callback does: it must not raise."""

    def failure_of(self, server: MemoryServer) -> tuple[str, Any]:
        """How the script failed, and the exception that is shown with it."""
        assert server.verdict is not None
        failure = server.session.failure
        assert failure is not None
        return server.verdict[2], getattr(failure.mismatch, "exception", None)

    def test_exception_of_a_judge_is_the_mismatch(self) -> None:
        """Whichever method raises, the failure is at the step, and has the exception with its traceback."""
        for method in ("announce", "feed", "finish"):
            with self.subTest(method):
                server, error = connected(), KeyError("x")
                server.expect_frame(Judged(method, error))
                server.receive(b"\0\0\0\2ab")
                self.assertEqual(self.failure_of(server),
                                 ("PairJudge raised KeyError: 'x', while a message was read", error))
                assert error.__traceback__ is not None

    def test_exception_of_a_judge_beside_other_candidates(self) -> None:
        """Beside what is allowed, such a candidate is out; when all are, its exception is in the report."""
        server, error = MemoryServer(), KeyError("x")
        server.allow(b"ping")
        handle = server.expect_connect().connection
        handle.expect_frame(Judged("feed", error), framing=LengthPrefixed(4))
        server.connect()
        server.receive(b"\0\0\0\2ab")
        assert server.session.failure is not None
        mismatch: Any = server.session.failure.mismatch
        self.assertEqual(mismatch.summary, "PairJudge raised KeyError: 'x', while a message was read")
        self.assertIs(mismatch.exception, error)

    def test_judge_that_returns_nothing_at_the_end(self) -> None:
        """A `finish` without a verdict is the mismatch, rather than a message without an end."""
        server = connected()
        server.expect_frame(Judged("finish", None))
        server.receive(b"\0\0\0\2ab")
        self.assertEqual(self.failure_of(server)[0],
                         "PairJudge.finish() returned None, neither a Match nor a Mismatch")

    def test_exception_of_a_reader_is_the_mismatch(self) -> None:
        """So is what it can't mean: bytes that it neither consumes nor is done without."""
        error = IndexError("out of range")
        for outcome, summary, raised in (
            (error, "PairReader raised IndexError: out of range, while a message was read", error),
            (FramePart(b"", 0, False),
             ("PairReader.feed() returned FramePart(b'', consumed=0, complete=False) for 2 bytes; it must "
              "consume all of them, unless the message is complete before their end"), None),
        ):
            with self.subTest(summary):
                server = connected()
                server.expect_frame(framing=ReadPair(outcome))
                server.receive(b"ab")
                self.assertEqual(self.failure_of(server), (summary, raised))

    def test_exception_of_decode_is_the_mismatch(self) -> None:
        """Its traceback is shown, unless it is a ValueError, by which `decode` refuses bytes."""
        for error, raised in ((KeyError("x"), True), (ValueError("not a pair"), False)):
            with self.subTest(type(error).__name__):
                server = connected()
                server.expect_frame(framing=Pair(error))
                server.receive(b"ab")
                text = "KeyError: 'x'" if raised else "not a pair"
                self.assertEqual(self.failure_of(server),
                                 (f"expected a frame of Pair, got b'ab': {text}", error if raised else None))

    def test_reports_do_without_what_raises(self) -> None:
        """A time-out, and an end of stream, are reported as such where `partial` and `waiting_for` are missing."""
        for end in ("time-out", "end of stream"):
            with self.subTest(end):
                server = connected()
                server.expect_frame(Judged("", None), framing=ReadPair(FramePart(b"ab", 2, False)))
                server.receive(b"ab")
                if end == "time-out":
                    server.sleep(60)
                else:
                    server.half_close()
                self.assertIn("expected a message that PairReader reads, Judged()", self.failure_of(server)[0])


class PossibleTests(unittest.TestCase):
    """What no message can ever match is refused where it is written."""

    def assert_refused(self, words: str, write: Callable[[MemoryServer], Any]) -> None:
        """`write` must raise a ValueError with these words, and leave the script as it is."""
        server = MemoryServer()
        server.expect_connect()
        with self.subTest(words=words):
            with self.assertRaises(ValueError) as caught:
                write(server)
            self.assertIn(words, str(caught.exception))
            self.assertEqual(len(server.session.conversations[0].script.steps), 1)

    def test_fixed_length_when_it_is_another_than_the_expected_one(self) -> None:
        """A literal of another length, a longer prefix, and a structure of another size are refused."""
        self.assert_refused("expect_exactly(3, b'abcd') can never be met: the message has 3 bytes, and "
                            "Exactly(b'abcd') takes 4", lambda script: script.expect_exactly(3, b"abcd"))
        self.assert_refused("takes 2", lambda script: script.expect_exactly(3, b"ab"))
        self.assert_refused("takes at least 4", lambda script: script.expect_exactly(3, StartsWith(b"abcd")))
        self.assert_refused("takes 2", lambda script: script.expect_exactly(3, Struct(">H")))
        self.assert_refused("the message has 1 byte, and", lambda script: script.expect_frame(
            b"ab", framing=FixedLength(1)))
        self.assert_refused("allow(message) can never be met", lambda script: script.allow(
            b"ab", framing=FixedLength(1)))

    def test_payload_when_it_is_longer_than_the_framing_allows(self) -> None:
        """A payload beyond max_length, or beyond what the length's field can say, is refused."""
        for framing in (LengthPrefixed(4, max_length=5), Netstring(max_length=5), Varint(max_length=5),
                        Delimited(b";", max_length=5)):
            self.assert_refused(f"can never be met: 6 bytes are too long for {framing!r}",
                                lambda script, framing=framing: script.expect_frame(b"abcdef", framing=framing))
        self.assert_refused("256 bytes are too long for LengthPrefixed(1)",
                            lambda script: script.expect_frame(bytes(256), framing=LengthPrefixed(1)))

    def test_what_is_possible_is_taken(self) -> None:
        """What some message can match is taken; and of a user's own framing or matcher nothing is presumed."""
        class Shouted(LengthPrefixed):
            """Frames that another side may send, though this one can't."""

            def encode(self, payload: bytes) -> bytes:
                raise ValueError("read only")

        class Either(StartsWith):
            """A matcher that judges in its own way."""

            def judge(self) -> Judge[bytes]:
                raise AssertionError("nobody has sent anything")

        server = MemoryServer()
        server.expect_connect()
        server.expect_exactly(3, b"abc")
        server.expect_exactly(3, StartsWith(b"abc"))
        server.expect_exactly(3, Regex(b"abcd"))
        server.expect_exactly(2, Struct(">H"))
        server.expect_exactly(lambda _: 3, b"abcd")
        server.expect_frame(b"abcde", framing=LengthPrefixed(4, max_length=5))
        server.expect_frame(b"abc", framing=Shouted())
        server.expect_frame(b"abc", framing=Pair(None))
        server.expect_exactly(3, Either(b"abcd"))
        self.assertEqual(len(server.session.conversations[0].script.steps), 10)


class WholeMessageTests(unittest.TestCase):
    """Messages that are wrong, and over."""

    def test_shorter_message_when_it_is_complete(self) -> None:
        """Its ending is no part of it; what has come of one without its ending is shown alike."""
        for sent, got in ((b"QUIT\r\n", "b'QUIT'"), (b"QU", "b'QU'")):
            server = MemoryServer()
            server.expect_connect().connection.expect_line(b"USER a")
            server.connect()
            server.receive(sent)
            with self.subTest(sent=sent):
                self.assertEqual(server.verdict[2], f"expected b'USER a', got {got} at byte 0")


if __name__ == "__main__":
    unittest.main()
