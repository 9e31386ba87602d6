"""Steps and faults that are defined outside of the package: no file of it needs to know them."""

from __future__ import annotations

import sys
import unittest
from typing import Any, Optional

from tcpclient_testing.engine.commands import Command, HalfClose
from tcpclient_testing.engine.connection.streams import Limit
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.steps.base import DONE, NOTHING, QUEUED, WAITING, Outcome, Step
from tcpclient_testing.engine.steps.sending import Action
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import CLOSED, MemoryServer


class ExpectRepeated(Step[int]):
    """The client sends one and the same byte, `count` times. Its result is that byte."""

    __slots__ = ("count", "seen")
    method = "expect_repeated"
    needs_stream = True

    def __init__(self, count: int) -> None:
        super().__init__(origin_of(sys._getframe(1)))
        self.count = count
        self.seen = b""

    def arguments(self) -> str:
        return str(self.count)

    def proceed(self, context: Any) -> Outcome:
        inbox = context.inbox
        came = inbox.unclaimed(self.count - len(self.seen))
        inbox.consume(len(came))
        self.seen += came
        if self.seen.strip(self.seen[:1]):
            return Mismatch(f"expected one byte {self.count} times, got {self.seen!r}")
        if len(self.seen) < self.count:
            return Mismatch(f"expected {self.count} bytes, got {len(self.seen)} before the client "
                            f"{context.ending()}") if inbox.ended else WAITING
        self.value = self.seen[0]
        return DONE

    def overdue(self, context: Any, seconds: float, silent: bool) -> Mismatch:
        return Mismatch(f"expected {self.count} bytes, got {len(self.seen)} in {seconds:g} s")


class Note(Action):
    """Does something that only the test knows of, `count` events after its turn has come."""

    __slots__ = ("notes", "count")
    method = "note"

    def __init__(self, notes: list[str], count: int = 0) -> None:
        super().__init__(origin_of(sys._getframe(1)))
        self.notes = notes
        self.count = count

    def begin(self, context: Any) -> Optional[Mismatch]:
        self.notes.append(f"begun at {context.began:g}")
        return None

    def proceed(self, context: Any) -> Outcome:
        if self.count:
            self.count -= 1
            return WAITING
        self.notes.append(f"done at {context.environment.now:g}")
        return DONE


class Twice(Action):
    """Sends the same bytes twice."""

    __slots__ = ("data",)
    method = "twice"
    sends = True

    def __init__(self, data: bytes) -> None:
        super().__init__(origin_of(sys._getframe(1)))
        self.data = data

    def arguments(self) -> str:
        return repr(self.data)

    def proceed(self, context: Any) -> Outcome:
        context.outbox.queue(2 * self.data, self.index)
        return QUEUED


class Farewell(Action):
    """The last step of a script: nothing may follow it."""

    __slots__ = ()
    method = "farewell"
    followers = NOTHING

    def __init__(self) -> None:
        super().__init__(origin_of(sys._getframe(1)))

    def proceed(self, context: Any) -> Outcome:
        return DONE


class Corrupting(Limit):
    """Flips the byte at the limit, and lets everything through."""

    __slots__ = ()

    def cut(self, chunks: list[bytes], sent: int) -> list[bytes]:
        data = bytearray(b"".join(chunks))
        if 0 <= self.count - sent < len(data):
            data[self.count - sent] ^= 0xFF
        return [bytes(data)]


class Dropping(Limit):
    """Drops the byte at the limit, and lets everything else through."""

    __slots__ = ()

    def cut(self, chunks: list[bytes], sent: int) -> list[bytes]:
        data = b"".join(chunks)
        place = self.count - sent
        return [data[:place] + data[place + 1:]] if 0 <= place < len(data) else [data]


class Vanishing(Limit):
    """Ends the connection after the limit."""

    __slots__ = ()
    ends = True
    ending = "vanished"

    def command(self, number: int) -> Command:
        return HalfClose(number, True)


class Break(Action):
    """Arms a fault."""

    __slots__ = ("fault",)
    method = "break_with"

    def __init__(self, kind: type[Limit], count: int) -> None:
        super().__init__(origin_of(sys._getframe(1)))
        self.fault = kind(self, count)

    def arguments(self) -> str:
        return f"{type(self.fault).__name__}, {self.fault.count}"

    def proceed(self, context: Any) -> Outcome:
        if self.fault.struck:
            return WAITING  # until what it does to the connection is done
        context.outbox.arm(self.fault)
        return WAITING if context.strike() else DONE


def connected(*steps: Step[Any], **options: Any) -> MemoryServer:
    """A server with these steps, whose client has connected."""
    server = MemoryServer(**options)
    server.expect_connect()
    for step in steps:
        server._add(step)
    server.connect()
    return server


class ExpectationTests(unittest.TestCase):
    """An expectation of one's own."""

    def test_bytes_when_they_are_right(self) -> None:
        """It is satisfied however they come, has its result, and leaves the next bytes to the next step."""
        for pieces in ((b"aaab",), (b"a", b"a", b"a", b"b"), (b"aa", b"ab")):
            with self.subTest(pieces=pieces):
                step = ExpectRepeated(3)
                server = connected(step)
                after = server.expect_bytes(b"b")
                for piece in pieces:
                    server.receive(piece)
                self.assertEqual((step.result(), after.satisfied, server.verdict), (ord("a"), True, None))

    def test_bytes_when_they_are_wrong(self) -> None:
        """Its mismatch is the verdict, at its place."""
        server = connected(ExpectRepeated(3))
        server.receive(b"aab")
        self.assertEqual(server.verdict, (1, 1, "expected one byte 3 times, got b'aab'"))

    def test_bytes_when_they_are_late_or_cut_off(self) -> None:
        """Its own words are used for the time-out and for the end of the stream."""
        server = connected(ExpectRepeated(3))
        server.receive(b"aa")
        server.sleep(6)
        self.assertEqual(server.verdict[2], "expected 3 bytes, got 2 in 5 s")
        server = connected(ExpectRepeated(3))
        server.receive(b"aa")
        server.half_close()
        self.assertEqual(server.verdict[2], "expected 3 bytes, got 2 before the client half-closed")

    def test_place_when_the_client_has_ended_its_stream(self) -> None:
        """The grammar knows it by its traits, and refuses it with its name."""
        server = connected()
        server.expect_eof()
        with self.assertRaisesRegex(ScriptError, r"^expect_repeated\(3\) comes after expect_eof\(\) on connection 1"):
            server._add(ExpectRepeated(3))

    def test_text_when_it_is_shown(self) -> None:
        """Its repr has its place and its state, as that of any step."""
        step = ExpectRepeated(3)
        connected(step)
        self.assertRegex(repr(step), r"^<step 2 of connection 1: expect_repeated\(3\) at test_\w+\.py:\d+, waiting")

    def test_message_that_is_allowed_beside_it(self) -> None:
        """What allow() lets through before it is still let through."""
        step = ExpectRepeated(2)
        server = MemoryServer()
        allowed = server.allow(b"PING")
        server.expect_connect()
        server.expect_line()
        server._add(step)
        server.connect()
        server.receive(b"PINGx\r\nzz")
        self.assertEqual((allowed.count, step.satisfied, server.verdict), (1, True, None))


class ActionTests(unittest.TestCase):
    """An action of one's own."""

    def test_action_when_it_is_done_at_once(self) -> None:
        """It begins and is done in its turn, between the steps around it."""
        notes: list[str] = []
        server = connected()
        server.expect_bytes(b"a")
        server._add(Note(notes))
        server.send_bytes(b"b")
        self.assertEqual(notes, [])
        server.receive(b"a")
        self.assertEqual((notes, server.connection().sent), (["begun at 0", "done at 0"], b"b"))

    def test_action_when_it_is_never_done(self) -> None:
        """It is overdue like any action, and named by its method."""
        notes: list[str] = []
        server = connected(Note(notes, count=99))
        server.sleep(6)
        self.assertEqual((notes, server.verdict), (["begun at 0"], (1, 1, "note() was not done within 5.0 s")))

    def test_step_after_it_when_nothing_may_follow(self) -> None:
        """Whatever it is, it is refused."""
        server = connected(Farewell())
        with self.assertRaisesRegex(ScriptError, r"^send_bytes\(b'x'\) comes after farewell\(\) on connection 1, where "
                                                 "none may follow"):
            server.send_bytes(b"x")


class SendingTests(unittest.TestCase):
    """A step of one's own that sends."""

    def server(self) -> MemoryServer:
        """A connection on which such a step sends between two others, of which nothing is taken."""
        server = MemoryServer(taking=False)
        server.expect_connect()
        server.send_bytes(b"a")
        server._add(Twice(b"bc"))
        server.send_bytes(b"d")
        server.connect()
        server.turn()
        return server

    def test_bytes_when_they_are_taken(self) -> None:
        """They go out in one write with those of the steps beside it."""
        server = self.server()
        self.assertEqual(server.connection().writes, [b"abcbcd"])
        server.flush()
        self.assertIsNone(server.verdict)
        self.assertTrue(server.session.complete)

    def test_reset_when_they_are_taken_in_part(self) -> None:
        """The failure names the step."""
        server = self.server()
        server.take(3)
        server.reset_by_client()
        self.assertEqual(server.verdict, (1, 2, "the client reset the connection in the middle of twice(b'bc')"))


class FaultTests(unittest.TestCase):
    """A fault of one's own, in what is sent."""

    def settled(self, server: MemoryServer) -> Optional[str]:
        """Leave the server; return the verdict's text."""
        server.turn()
        server.session.settle(server.now, allow_open=True, allow_extra=False)
        return server.verdict and str(server.verdict[2])

    def test_byte_when_it_is_flipped_or_dropped(self) -> None:
        """Only that byte is, whichever send it is in; all sends are satisfied, and the test passes."""
        for kind, streams in ((Corrupting, (b"\x9ebcde", b"ab\x9cde", b"abcd\x9a")),
                              (Dropping, (b"bcde", b"abde", b"abcd"))):
            for place, stream in zip((0, 2, 4), streams):
                for at_once in (False, True):
                    with self.subTest(kind=kind.__name__, place=place, at_once=at_once):
                        server = connected(Break(kind, place), at_once=at_once)
                        sends = [server.send_bytes(data) for data in (b"ab", b"cd", b"e")]
                        self.assertIsNone(self.settled(server))
                        self.assertEqual(server.connection().sent, stream)
                        self.assertTrue(all(step.satisfied for step in sends))

    def test_fault_when_it_was_never_reached(self) -> None:
        """The test fails at the step that armed it."""
        server = connected(Break(Corrupting, 9))
        server.send_bytes(b"abc")
        self.assertEqual(self.settled(server),
                         "break_with(Corrupting, 9) never took effect: the server sent only 3 bytes")
        self.assertEqual(server.verdict[:2], (1, 1))

    def test_fault_when_it_ends_the_connection(self) -> None:
        """What comes before it is sent, then its command is carried out; sends after it are satisfied."""
        server = connected(Break(Vanishing, 3))
        sends = [server.send_bytes(b"ab"), server.send_bytes(b"cd")]
        self.assertIsNone(self.settled(server))
        self.assertEqual(server.connection().wire, [b"abc", CLOSED])
        self.assertTrue(all(step.satisfied for step in sends))

    def test_expectation_after_a_fault_that_has_ended_the_connection(self) -> None:
        """It can't be met: the text says what the fault has done."""
        server = connected(Break(Vanishing, 1))
        server.send_bytes(b"ab")
        server.expect_line()
        server.turn()
        self.assertEqual(server.verdict[2], "expect_line() can't be done: the server vanished after 1 byte, as "
                                            "break_with(Vanishing, 1) says")


if __name__ == "__main__":
    unittest.main()
