"""`expect_each`: one step for many messages."""

from __future__ import annotations

import random
import unittest
from collections.abc import Iterator
from typing import Any, Callable, Optional

from tcpclient_testing.engine.matching.patterns import Regex
from tcpclient_testing.framing import LengthPrefixed
from tcpclient_testing.matchers import JSON
from tcpclient_testing.memory.host import MemoryServer

MESSAGES = [b"MULTI\r\n", b"INCR n\r\n", b"EXEC\r\n"]


def connected(**options: Any) -> MemoryServer:
    """A script whose client has connected."""
    server = MemoryServer(**options)
    server.expect_connect()
    server.connect()
    return server


def outcome(server: MemoryServer, step: Any) -> Any:
    """The step's results if it is satisfied, the verdict's text if there is one, else None."""
    if server.verdict is not None:
        return str(server.verdict[2])
    return step.result() if step.satisfied else None


def fails_late() -> Iterator[bytes]:
    """One message, and an error of the test's own."""
    yield b"a"
    raise LookupError("no more")


class EachTests(unittest.TestCase):
    """What is satisfied, what is not, and in which words."""

    def check(self, write: Callable[[MemoryServer], Any], data: bytes, expected: Any, then: str = "",
              sleep: float = 0.0) -> None:
        """However the client's bytes are divided, the outcome is this one."""
        for size in (1, 2, 3, 7, 100):
            with self.subTest(expected=expected, size=size):
                server = connected()
                step = write(server)
                for start in range(0, len(data), size):
                    server.receive(data[start:start + size])
                if then:
                    getattr(server, then)()
                server.sleep(sleep)
                self.assertEqual(outcome(server, step), expected)

    def test_bytes(self) -> None:
        """Every message comes whole, and nothing but these; the results are the messages."""
        data = b"".join(MESSAGES)
        for kind in (list, tuple, iter):
            self.check(lambda s, kind=kind: s.expect_each(kind(MESSAGES)), data, MESSAGES)
        self.check(lambda s: s.expect_each([bytearray(b"a"), memoryview(b"b")]), b"ab", [b"a", b"b"])
        of = "expected b'INCR n\\r\\n', got b'INCR m\\r\\n' at byte 5, message 2"
        wrong = data.replace(b"n", b"m")
        server = connected()
        server.expect_each(MESSAGES)
        server.receive(wrong)
        self.assertEqual(str(server.verdict[2]), f"{of} of 3")
        server = connected()
        server.expect_each(iter(MESSAGES))
        server.receive(wrong)
        self.assertEqual(str(server.verdict[2]), of)

    def test_lines_and_frames(self) -> None:
        """Bytes and matchers, each in its framing; the results are those of the matchers."""
        self.check(lambda s: s.expect_each([b"a", JSON({"n": 1})], ending=b"\n"), b'a\n{"n": 1}\n', [b"a", {"n": 1}])
        self.check(lambda s: s.expect_each(iter([b"a", b""]), framing=LengthPrefixed(1)), b"\1a\0", [b"a", b""])
        self.check(lambda s: s.expect_each([b"a", b"b"], ending=b"\n"), b"a\nc",
                   "expected b'b', got b'c' at byte 0, message 2 of 2")

    def test_more_than_is_joined(self) -> None:
        """Thousands of small ones, and some that are large."""
        messages = [b"%d;" % number for number in range(2000)] + [b"x" * 70_000, b"y" * 60_000, b"z" * 10_000, b"."]
        data = b"".join(messages)
        for size in (1000, 65536, len(data)):
            server = connected()
            step = server.expect_each(messages)
            for start in range(0, len(data), size):
                self.assertFalse(step.satisfied)
                server.receive(data[start:start + size])
            self.assertEqual(step.result(), messages)
        server = connected()
        server.expect_each(messages)
        server.receive(data.replace(b"1999;", b"1998;"))
        self.assertEqual(str(server.verdict[2]), "expected b'1999;', got b'1998;' at byte 3, message 2000 of 2004")

    def test_stream_ends(self) -> None:
        """It is said which message has not come, or only in part."""
        self.check(lambda s: s.expect_each(MESSAGES), MESSAGES[0], then="half_close", expected=(
            "the client half-closed without sending the 8 bytes b'INCR n\\r\\n', message 2 of 3"))
        self.check(lambda s: s.expect_each(iter(MESSAGES)), b"MULTI\r\nINCR", then="half_close", expected=(
            "expected 8 bytes b'INCR n\\r\\n', got 4 (b'INCR') before the client half-closed, message 2"))
        self.check(lambda s: s.expect_each([b"a", b"b"], ending=b"\n"), b"a\nb", then="half_close", expected=(
            "got b'b' without its ending b'\\n' before the client half-closed, message 2 of 2"))

    def test_time_is_over(self) -> None:
        """`timeout` counts from the last progress, `within` from the step's turn."""
        self.check(lambda s: s.expect_each([b"ab", b"cd"]), b"abc", sleep=9, expected=(
            "expected 2 bytes b'cd', got only 1 (b'c'), then nothing for 5.0 s, message 2 of 2"))
        self.check(lambda s: s.expect_each([b"ab", b"cd"], ending=b"\n"), b"ab\n", sleep=9, expected=(
            "expected the line b'cd', nothing received for 5.0 s, message 2 of 2"))
        server = connected()
        step = server.expect_each([b"a"] * 4, within=6)
        for _ in range(2):
            server.sleep(2.5)
            server.receive(b"a")
        self.assertIsNone(server.verdict)
        server.sleep(2.5)
        self.assertEqual(outcome(server, step), "expected 1 byte b'a', nothing received within 6.0 s, message 3 of 4")

    def test_messages_around_are_shown(self) -> None:
        """The one before, the one that was expected, and the one after it, if that is known."""
        server = connected()
        server.expect_each(MESSAGES)
        server.receive(b"MULTI\r\nEXEC")
        self.assertEqual(server.session.environment.failure.mismatch.details[-4:], (
            "messages", "  1  b'MULTI\\r\\n'", "> 2  b'INCR n\\r\\n'", "  3  b'EXEC\\r\\n'"))
        server = connected()
        server.expect_each(iter([b"a", Regex(b"b+"), b"c"]), ending=b"\n")
        server.receive(b"a\nc\n")
        self.assertEqual(server.session.environment.failure.mismatch.details[-3:], (
            "messages", "  1  b'a'", "> 2  Regex(b'b+')"))

    def test_iterator(self) -> None:
        """It is asked for a message when its turn comes, and not before; it may be endless, or give nothing."""
        asked: list[int] = []

        def endless() -> Iterator[bytes]:
            while True:
                asked.append(len(asked))
                yield b"%d\n" % asked[-1]
        server = connected()
        server.send_bytes(b"ready")
        step = server.expect_each(endless())
        server.receive(b"0\n1\n")
        self.assertEqual((asked, step.satisfied), ([0, 1, 2], False))
        self.check(lambda s: s.expect_each(iter(())), b"", [])
        self.check(lambda s: (s.allow(b"P"), s.expect_each(iter(())))[1], b"", [])

    def test_iterator_raises(self) -> None:
        """The script fails with what it raises, or with what is wrong with what it gives."""
        self.check(lambda s: s.expect_each(fails_late()), b"ab",
                   "the messages of expect_each() raised LookupError: no more")
        self.check(lambda s: (s.allow(b"P"), s.expect_each(fails_late()))[1], b"PaP",
                   "the messages of expect_each() raised LookupError: no more")
        for wrong, kind, text in (
                (None, "TypeError", "takes bytes, got None"),
                ("b", "TypeError", "takes bytes, got the str 'b'; write b'b'"),
                (b"", "ValueError", "has an empty message; nothing would be expected")):
            self.check(lambda s, wrong=wrong: s.expect_each(iter([b"a", wrong])), b"ab",
                       f"the messages of expect_each() raised {kind}: expect_each(messages) {text}")

    def test_iterator_raises_no_exception(self) -> None:
        """What is no `Exception` goes on to whoever runs the loop; the script fails all the same, and never passes."""
        def stops() -> Iterator[bytes]:
            yield b"a"
            raise KeyboardInterrupt("enough")
        for options, data, more in (({}, b"a", b"b"), ({"ending": b"\n"}, b"a\n", b"b\n")):
            for sleep in (0, 9):
                with self.subTest(options=options, sleep=sleep):
                    server = connected()
                    step = server.expect_each(stops(), **options)
                    with self.assertRaises(KeyboardInterrupt):
                        server.receive(data)
                    if sleep:
                        server.sleep(sleep)
                    else:
                        server.receive(more)
                    self.assertEqual(outcome(server, step), "the messages of expect_each() raised RuntimeError: "
                                                            "the iterator has ended with KeyboardInterrupt: enough")

    def test_iterator_that_uses_the_server(self) -> None:
        """It may write on the server while it is asked."""
        server = connected()

        def writes() -> Iterator[bytes]:
            yield b"a"
            server.allow(b"P")
            server.send_bytes(b"c")
            yield b"b"
        step = server.expect_each(writes())
        server.receive(b"ab")
        server.turn()
        self.assertEqual(outcome(server, step), [b"a", b"b"])
        self.assertEqual(server.connection().sent, b"c")

    def test_iterator_is_not_asked_before_its_turn(self) -> None:
        """Where others may come, too, and actions before it are under way, it has to wait for these."""
        asked: list[bytes] = []

        def tokens() -> Iterator[bytes]:
            asked.append(b"asked")
            yield b"token"
        server = connected()
        server.allow(b"P")
        server.expect_bytes(b"hello")
        server.delay(1)
        step = server.expect_each(tokens())
        server.receive(b"hello")
        self.assertEqual(asked, [])
        server.sleep(1)
        server.receive(b"Ptoken")
        self.assertEqual(outcome(server, step), [b"token"])

    def test_results_are_the_tests(self) -> None:
        """Whoever gets them may change the list."""
        server = connected()
        step = server.expect_each([b"a", b"b"])
        server.send_bytes(list.pop)
        server.receive(b"ab")
        self.assertEqual(server.connection().sent, b"b")
        step.result().clear()
        self.assertEqual(step.result(), [b"a", b"b"])

    def test_actions_wait_for_all(self) -> None:
        """What is written behind the step happens when the last message has come; a callable gets the results."""
        server = connected()
        server.expect_each([b"a", b"b"])
        server.send_bytes(b"+".join)
        server.receive(b"a")
        self.assertEqual(server.connection().sent, b"")
        server.receive(b"b")
        self.assertEqual(server.connection().sent, b"a+b")


class AmongOthersTests(unittest.TestCase):
    """On connections where more than the due step is possible, other messages may come between any two."""

    def test_allowed_messages(self) -> None:
        """Before the first, between any two, and after the last."""
        for options in ({}, {"ending": b"\n"}):
            server = connected()
            server.allow(b"P\n", reply=b"p")
            messages = [b"a", b"b", b"c"] if options else [b"a\n", b"b\n", b"c\n"]
            step = server.expect_each(messages, **options)
            server.receive(b"P\na\nP\nP\nb\nc\nP\n")
            self.assertEqual(outcome(server, step), messages)
            self.assertEqual(server.connection().sent, b"pppp")

    def test_mismatch(self) -> None:
        """It says which message it was, and what is allowed."""
        server = connected()
        server.allow(b"P\n")
        server.expect_each([b"a\n", b"b\n"])
        server.receive(b"P\na\nP\nx\n")
        mismatch = server.session.environment.failure.mismatch
        self.assertEqual(mismatch.summary, r"expected b'b\n', got b'x\n' at byte 0, message 2 of 2")
        self.assertIn(r"> 2  b'b\n'", mismatch.details)
        server = connected()
        server.allow(b"P\n")
        step = server.expect_each([b"a\n", b"b\n"])
        server.receive(b"a\nP\n")
        server.sleep(9)
        self.assertEqual(outcome(server, step),
                         r"expected 2 bytes b'b\n', nothing but 1 allowed message (b'P\n') received for 5.0 s, "
                         "message 2 of 2")

    def test_any_order(self) -> None:
        """Its messages come in their order, and others of the block may come between them."""
        for data in (b"abcX", b"aXbc", b"Xabc", b"abXc"):
            server = connected()
            connection = server.connection()
            with connection.any_order():
                step = connection.expect_each([b"a", b"b", b"c"])
                connection.send_bytes(b"1")
                connection.expect_bytes(b"X")
                connection.send_bytes(b"2")
            server.receive(data)
            self.assertIsNone(server.verdict)
            self.assertEqual(step.result(), [b"a", b"b", b"c"])
            self.assertEqual(server.connection().sent, b"21" if data != b"abcX" else b"12")
        server = connected()
        connection = server.connection()
        with connection.any_order():
            connection.expect_each([b"a", b"b"])
            connection.expect_bytes(b"X")
        server.receive(b"ba")
        self.assertIn("none of 2 messages in any order begins", str(server.verdict[2]))

    def test_place_in_any_order(self) -> None:
        """It is said where the step is, not where the mismatch of several is."""
        for first in (True, False):
            server = connected()
            connection = server.connection()
            with connection.any_order():
                if not first:
                    connection.expect_bytes(b"X")
                connection.expect_each([b"aa", b"bb", b"cc"])
                if first:
                    connection.expect_bytes(b"X")
            server.receive(b"aa")
            server.receive(b"q")
            mismatch = server.session.environment.failure.mismatch
            self.assertEqual(mismatch.summary, "got b'q', with which none of 2 messages in any order begins")
            self.assertRegex("\n".join(mismatch.details),
                             r"expect_each\(3 messages\) from message 2 of 3 on at test_each.py:\d+")
            self.assertNotIn("messages", mismatch.details)
        server = connected()
        connection = server.connection()
        with connection.any_order():
            connection.expect_bytes(b"X")
            connection.expect_each([b"a", b"b"])
        server.receive(b"aX")
        server.sleep(9)
        self.assertIn("is missing: expect_each(2 messages) from message 2 of 2 on", str(server.verdict[2]))

    def test_scripts_in_any_order(self) -> None:
        """A connection is told whose script it has begun by the first message of that, and by no later one."""
        def messages() -> Iterator[bytes]:
            yield b"ab"
            yield b"cd"
            raise AssertionError("asked for a report")
        for given in ([b"ab", b"cd"], messages()):
            server = MemoryServer()
            with server.any_order():
                for each in (given, [b"ef", b"gh"], [b"ij", b"kl"]):
                    server.expect_connect()
                    server.expect_each(each)
            server.connect()
            server.receive(b"ab", 1)
            server.connect()
            server.receive(b"cd", 2)
            self.assertIn("none of 2 messages in any order begins", str(server.verdict[2]))
            self.assertNotIn("connection 1 has the script", str(server.verdict[2]))


class AgreementTests(unittest.TestCase):
    """One step for many messages is judged as one step for each."""

    def test_random_messages(self) -> None:
        """With and without a wrong byte, with the end of the stream anywhere, and however the bytes are divided."""
        for seed in range(300):
            source = random.Random(seed)
            messages = [bytes(source.choices(b"ab", k=source.randint(1, 4))) for _ in range(source.randint(1, 9))]
            data = bytearray(b"".join(messages))
            if source.random() < 0.5:
                data[source.randrange(len(data))] = 0x63
            del data[source.randint(0, 2 * len(data)):]
            one, many = connected(), connected()
            together = one.expect_each(messages if source.random() < 0.5 else iter(messages))
            apart = [many.expect_bytes(message) for message in messages]
            position = 0
            while position < len(data):
                size = source.randint(1, 5)
                for server in (one, many):
                    server.receive(bytes(data[position:position + size]))
                position += size
            for server in (one, many):
                server.half_close()
            with self.subTest(seed=seed):
                self.assertEqual(together.satisfied, all(step.satisfied for step in apart))
                self.assertEqual(place_and_cause(one), place_and_cause(many))


def place_and_cause(server: MemoryServer) -> Optional[tuple[str, int]]:
    """The verdict's text without the message's number, and that number: it is the step's, if each has one."""
    if server.verdict is None:
        return None
    text, behind, number = str(server.verdict[2]).rpartition(", message ")
    if behind:
        return text, int(number.split()[0])
    return number, server.verdict[1]


if __name__ == "__main__":
    unittest.main()
