"""What stands beside a script: allowed messages, heartbeats, and pipelining."""

from __future__ import annotations

import hashlib
import unittest
from collections.abc import Callable
from typing import Any

from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.netstring import Netstring
from tcpclient_testing.engine.framing.sized import FixedLength, LengthPrefixed
from tcpclient_testing.engine.framing.varint import Varint
from tcpclient_testing.engine.matching.digest import Digest
from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.json_text import JSON
from tcpclient_testing.engine.matching.patterns import Regex, anything
from tests.engine.driver import Driver
from tests.engine.playing import Play

_LINES = Delimited(b"\r\n")


class AllowTests(unittest.TestCase):
    def setUp(self) -> None:
        self.play = Play()

    def test_reply_when_the_message_comes_between_steps(self) -> None:
        """An allowed message is answered, counted, and no step's; also in pieces, and after the script's end."""
        allowed = self.play.server.allow(b"PING\r\n", reply=b"PONG\r\n")
        handle = self.play.expect_connect()
        line = handle.expect_line(b"PIN")
        client = self.play.connect()
        self.play.receive(client, b"PING\r\nPI", b"NG\r\nPIN", b"\r\nPING\r\n")
        self.assertEqual((allowed.count, line.result(), self.play.stream()), (3, b"PIN", b"PONG\r\n" * 3))

    def test_last_result_when_an_allowed_message_came_after_it(self) -> None:
        """A callable of the script gets the last expectation's result, that of allow() the allowed message's."""
        self.play.server.allow(JSON({"op": "ping"}), framing=_LINES,
                               reply=lambda message: b"pong %d" % message["id"])
        handle = self.play.expect_connect()
        handle.expect_line()
        handle.hold_until(gate := Gate())
        handle.send_line(lambda line: line.upper())
        client = self.play.connect()
        self.play.receive(client, b'hello\r\n{"op": "ping", "id": 7}\r\n')
        gate.release(handle)
        self.assertEqual(self.play.stream(), b"pong 7\r\nHELLO\r\n")

    def test_times_when_the_message_comes_more_often(self) -> None:
        """Once the number is used up, the message is a mismatch like any other."""
        allowed = self.play.server.allow(b"!", times=2)
        handle = self.play.expect_connect()
        handle.expect_bytes(b"end")
        self.play.receive(self.play.connect(), b"!!!")
        self.assertEqual(allowed.count, 2)
        self.assertIn("expected b'end', got b'!'", self.play.summary)

    def test_allow_holds_from_where_it_is_written(self) -> None:
        """Before the step that it is written behind, the message is a mismatch."""
        handle = self.play.expect_connect()
        handle.expect_bytes(b"a")
        handle.allow(b"!")
        handle.expect_bytes(b"b")
        self.play.receive(self.play.connect(), b"!ab")
        self.assertIn("expected b'a', got b'!'", self.play.summary)
        other = Play()
        handle = other.expect_connect()
        handle.expect_bytes(b"a")
        handle.allow(b"!")
        handle.expect_bytes(b"b")
        other.receive(other.connect(), b"a!b")
        self.assertEqual((other.summary, other.session.complete), ("", True))

    def test_allowed_message_over_tls_when_the_handshake_came_early(self) -> None:
        """What was pending belongs to the handshake; behind it, allowed messages are read from their beginning."""
        for early in (b"\x16\x03", b"PI"):
            with self.subTest(early=early):
                driver = Driver()
                driver.expect_connect()
                allowed = driver.allow(b"PING")
                driver.send_line(b"go ahead")
                driver.connect()
                driver.turn()
                driver.receive(early)
                driver.start_tls(object())
                end = driver.expect_disconnect()
                driver.upgraded()
                driver.receive(b"PING")
                driver.half_close()
                self.assertEqual((driver.verdict, allowed.count, end.satisfied), (None, 1, True))

    def test_allow_written_when_a_message_is_half_there(self) -> None:
        """The message goes on where it was, however it is expected, and what is allowed may come behind it."""
        expectations: list[Callable[[Any], Any]] = [
            lambda handle: handle.expect_line(b"abc"), lambda handle: handle.expect_bytes(b"abc\r\n"),
            lambda handle: (handle.expect_bytes(b"a"), handle.expect_bytes(b"bc\r\n")),
            lambda handle: handle.expect_exactly(5), lambda handle: handle.expect_exactly(lambda _: 5)]
        for number, expect in enumerate(expectations):
            for come in (b"", b"ab"):
                with self.subTest(number=number, come=come):
                    play = Play()
                    handle = play.expect_connect()
                    expect(handle)
                    client = play.connect()
                    play.receive(client, come)
                    allowed = handle.allow(b"!")
                    handle.expect_bytes(b"end")
                    play.receive(client, b"abc\r\n!end"[len(come):])
                    self.assertEqual((play.summary, play.session.complete, allowed.count), ("", True, 1))

    def test_shorter_expectation_when_it_is_written_late(self) -> None:
        """Written in time, it takes the message's beginning; a whole message that was there before was let through."""
        for come, late, count in ((b"", False, 0), (b"\xc0", True, 0), (b"\xc0\x00", True, 1)):
            with self.subTest(come=come):
                play = Play()
                allowed = play.server.allow(b"\xc0\x00")
                handle = play.expect_connect()
                steps = [] if late else [handle.expect_exactly(1), handle.expect_exactly(1)]
                client = play.connect()
                play.receive(client, come)
                steps = steps or [handle.expect_exactly(1), handle.expect_exactly(1)]
                play.receive(client, b"\xc0\x00\x10\x20"[len(come):])
                self.assertEqual(allowed.count, count)
                self.assertEqual(b"".join(step.result() for step in steps), b"\x10\x20" if count else b"\xc0\x00")

    def test_length_by_a_callable_when_allowed_messages_come_before_it(self) -> None:
        """It is asked once, with the result of the step before, whatever comes meanwhile, and never before its turn."""
        asked: list[Any] = []

        def length(header: Any) -> int:
            asked.append(header)
            return 3

        self.play.server.allow(b"!")
        handle = self.play.expect_connect()
        handle.expect_exactly(1)
        handle.hold_until(gate := Gate())
        body = handle.expect_exactly(length)
        handle.expect_bytes(b".")
        client = self.play.connect()
        self.play.receive(client, b"!", b"h", b"!")
        self.assertEqual(asked, [])
        gate.release(handle)
        self.play.receive(client, b"!", b"!!a", b"bc", b"!.")
        self.assertEqual((asked, body.result(), self.play.summary), ([b"h"], b"abc", ""))
        self.assertTrue(self.play.session.complete)

    def test_mismatch_names_the_candidates(self) -> None:
        """When nothing can match any more, the report has the step's mismatch, and why it is no allowed message."""
        self.play.server.allow(b"PING\r\n")
        handle = self.play.expect_connect()
        handle.expect_line(b"QUIT")
        self.play.receive(self.play.connect(), b"PINX")
        failure = self.play.session.failure
        assert failure is not None
        self.assertIn("QUIT", failure.mismatch.summary)
        details = "\n".join(failure.mismatch.details)
        self.assertIn("nor is it what allow(b'PING\\r\\n')", details)
        self.assertIn("first difference at byte 3", details)

    def test_expect_disconnect_when_an_allowed_message_comes_first(self) -> None:
        """Allowed messages don't count as bytes too many; the beginning of one does when the stream ends."""
        for sent, good in ((b"PING", True), (b"PINGPING", True), (b"PI", False), (b"PINGX", False)):
            with self.subTest(sent=sent):
                play = Play()
                play.server.allow(b"PING")
                handle = play.expect_connect()
                handle.expect_disconnect()
                client = play.connect()
                play.receive(client, *(bytes([byte]) for byte in sent))
                play.end(client)
                self.assertEqual(play.session.failure is None, good, play.summary)

    def test_expect_silence_when_an_allowed_message_comes(self) -> None:
        """Heartbeats don't break the silence, not even one that has only begun when it is over."""
        self.play.server.allow(b"PING")
        handle = self.play.expect_connect()
        handle.expect_silence(1)
        handle.expect_bytes(b"x")
        client = self.play.connect()
        self.play.receive(client, b"PINGPI")
        self.play.wait(1.5)
        self.play.receive(client, b"NGx")
        self.assertEqual((self.play.summary, self.play.session.complete), ("", True))

    def heartbeats(self, expect: Callable[[Any], Any], *chunks: bytes, every: float = 1.0) -> str:
        """The failure of a script whose client sends these chunks, again and again, and nothing else."""
        play = Play()
        play.server.allow(b"PING\r\n", reply=b"PONG\r\n")
        handle = play.expect_connect()
        expect(handle)
        client = play.connect()
        for _ in range(30):
            for chunk in chunks:
                play.wait(every)
                play.receive(client, chunk)
        return play.summary

    def test_allowed_messages_are_no_progress_when_a_message_is_due(self) -> None:
        """A client that sends nothing but heartbeats is overdue; the time in which one arrives does not count."""
        line, pings = r"expected a line ending in b'\r\n'", r"allowed messages (b'PING\r\n')"
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(b"hello"), b"PING\r\n"),
                         f"{line} that is b'hello', nothing but 4 {pings} received for 5.0 s")
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(), b"PI", b"NG\r\n", every=0.6),
                         f"{line}, nothing but 8 {pings} received for 5.0 s")
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(b"hello"), b"PING\r\nPI", b"NG\r\n"),
                         f"{line} that is b'hello', nothing but 8 {pings} received for 5.0 s")
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(b"hello", within=7), b"PING\r\n"),
                         f"{line} that is b'hello', not complete within 7.0 s; 6 {pings} came meanwhile")

    def test_allowed_messages_are_no_progress_when_an_end_is_due(self) -> None:
        """So it is where the client is to go."""
        self.assertRegex(self.heartbeats(lambda handle: handle.expect_disconnect(), b"PING\r\n"),
                         r"disconnect within 5.0 s; it is still connected; "
                         r"4 allowed messages \(b'PING.r.n'\) came meanwhile$")

    def test_bytes_of_the_message_are_progress_between_allowed_ones(self) -> None:
        """What the step waits for restarts its time-out, also behind an allowed message in one chunk."""
        self.play.server.allow(b"PING\r\n")
        handle = self.play.expect_connect()
        handle.expect_line(b"hello")
        client = self.play.connect()
        for chunk in (b"PING\r\nhe", b"l", b"l", b"o"):
            self.play.wait(4)
            self.play.receive(client, chunk)
        self.assertEqual(self.play.summary, "")
        self.play.wait(5.1)
        self.assertEqual(self.play.summary, r"expected a line ending in b'\r\n' that is b'hello', nothing received for "
                                            r"5.0 s; got 5 bytes (b'hello'); 1 allowed message (b'PING\r\n') "
                                            "came meanwhile")

    def test_end_of_the_stream_behind_an_allowed_message(self) -> None:
        """What was let through may be the beginning of what was meant: the report names it."""
        self.play.server.allow(b"\0")
        handle = self.play.expect_connect()
        handle.expect_line(b"bye, now")
        client = self.play.connect()
        self.play.receive(client, b"\0bye,")
        self.play.end(client)
        self.assertEqual(self.play.summary, r"expected a line ending in b'\r\n' that is b'bye, now'; got 4 bytes "
                                            "(b'bye,') before the client ended its stream; 1 allowed message "
                                            r"(b'\x00') came meanwhile")

    def test_allowed_message_that_takes_long_to_come(self) -> None:
        """While its bytes come, nothing else can: they put the time-out off."""
        self.play.server.allow(StartsWith(b"LOG"), framing=Delimited(b"\r\n"))
        handle = self.play.expect_connect()
        handle.expect_line(b"go")
        client = self.play.connect()
        for byte in b"LOG abcdefgh\r\ngo\r\n":
            self.play.wait(1)
            self.play.receive(client, bytes([byte]))
        self.assertEqual((self.play.summary, self.play.session.complete), ("", True))

    def test_silence_in_the_middle_of_an_allowed_message(self) -> None:
        """A message that does not go on is as late as any."""
        self.play.server.allow(b"PING\r\n")
        self.play.expect_connect().expect_line(b"hello")
        client = self.play.connect()
        self.play.wait(4)
        self.play.receive(client, b"PI")
        self.play.wait(4)
        self.assertEqual(self.play.summary, "")
        self.play.wait(1.1)
        self.assertEqual(self.play.summary, r"expected a line ending in b'\r\n' that is b'hello', nothing received for "
                                            "5.0 s; got 2 bytes (b'PI')")

    def test_complete_script_when_only_allowed_messages_come(self) -> None:
        """Heartbeats are no reason to wait for ever for a client that nobody expects anything of."""
        self.play.session.idle_timeout = 30.0
        self.play.server.allow(b"PING\r\n", reply=b"PONG\r\n")
        self.play.expect_connect()
        client = self.play.connect()
        for _ in range(5):
            self.play.wait(7)
            self.play.receive(client, b"PING\r\n")
        self.assertRegex(self.play.summary, r"the script is complete; the client .* is still connected and waits; "
                                            r"nothing but 4 allowed messages \(b'PING.r.n'\) happened for 30.0 s")

    def test_callable_raises_when_it_computes_the_reply(self) -> None:
        """The failure names the line of the allow(), and keeps the exception."""
        self.play.server.allow(b"PING", reply=lambda message: message.nothing)
        handle = self.play.expect_connect()
        handle.expect_bytes(b"x")
        self.play.receive(self.play.connect(), b"PING")
        failure = self.play.session.failure
        assert failure is not None
        self.assertIn("the callable of allow() at test_selection.py:", failure.mismatch.summary)
        self.assertIsInstance(getattr(failure.mismatch, "exception", None), AttributeError)

    def test_framing_raises_when_a_message_begins(self) -> None:
        """So does a framing of the test's own that gives no reader."""
        class Broken(Delimited):
            def reader(self) -> Any:
                if written:
                    raise RuntimeError("nothing to read with")
                return super().reader()
        written: list[Any] = []
        written.append(self.play.server.allow(b"PING", framing=Broken(b"\n")))
        self.play.expect_connect().expect_bytes(b"x")
        self.play.receive(self.play.connect(), b"PING\n")
        self.assertRegex(self.play.summary, r"^allow\(.*\) at test_selection.py:\d+ raised RuntimeError: nothing to "
                                            r"read with, while a message was read$")

    def test_wrong_type_when_a_callable_computes_the_reply(self) -> None:
        """What is not bytes is refused."""
        self.play.server.allow(b"PING", reply=lambda message: "pong")  # type: ignore[arg-type,return-value]
        self.play.expect_connect()
        self.play.receive(self.play.connect(), b"PING")
        self.assertIn("returned 'pong', which is not bytes", self.play.summary)

    def test_coroutine_when_it_computes_the_reply(self) -> None:
        """The reply goes out when the coroutine has ended, and those after it wait for it."""
        async def pong(message: bytes) -> bytes:
            return message
        self.play.server.allow(b"SLOW", reply=pong)
        self.play.server.allow(b"FAST", reply=b"fast")
        self.play.expect_connect()
        self.play.receive(self.play.connect(), b"SLOWFAST")
        self.assertEqual(self.play.stream(), b"")
        self.play.compute(b"slow")
        self.assertEqual(self.play.stream(), b"slowfast")

    def test_reply_when_a_write_of_the_script_is_under_way(self) -> None:
        """A reply never splits a write, and leaves in the order in which the messages came."""
        play = Play(eager=False)
        play.server.allow(b"PING", reply=b"pong")
        handle = play.expect_connect()
        handle.send_bytes(b"first")
        handle.expect_bytes(b"a")
        handle.send_bytes(b"A")
        handle.expect_bytes(b"b")
        handle.send_bytes(b"B")
        client = play.connect()
        play.receive(client, b"PINGaPINGbPING")
        self.assertEqual(play.sent[1], [b"first"])
        play.flush()
        self.assertEqual(play.sent[1], [b"first", b"pong", b"A", b"pong", b"B", b"pong"])
        self.assertTrue(play.session.complete)

    def test_disconnect_when_a_reply_is_under_way(self) -> None:
        """The server ends its stream behind the reply."""
        play = Play(eager=False)
        play.server.allow(b"PING", reply=b"pong")
        handle = play.expect_connect()
        client = play.connect()
        play.receive(client, b"PING")
        step = handle.disconnect()
        self.assertFalse(step.satisfied)
        play.flush()
        self.assertTrue(step.satisfied)

    def test_bulk_is_let_go_when_only_the_expectation_is_left(self) -> None:
        """Memory stays bounded for a digest, although something is allowed beside it."""
        self.play.server.allow(b"PING")
        handle = self.play.expect_connect()
        step = handle.expect_exactly(1_000_000, Digest(hashlib.sha256(b"x" * 1_000_000).hexdigest()))
        client = self.play.connect()
        for _ in range(100):
            self.play.receive(client, b"x" * 10_000)
            self.assertLess(sum(map(len, client.pending)), 20_000)
        self.assertTrue(step.satisfied)

    def test_malformed_message_when_a_framing_refuses_it(self) -> None:
        """Too long a frame, a malformed netstring or varint, invalid JSON, a line without an end: a mismatch each."""
        cases: list[tuple[Any, Any, bytes]] = [
            (LengthPrefixed(4, max_length=10), anything, b"\x00\x00\x00\x0b"),
            (Netstring(), anything, b"x:"),
            (Varint(), anything, b"\xff" * 11),
            (_LINES, JSON({"a": 1}), b"{nothing}\r\n"),
            (_LINES, anything, b"x" * 70_000),
            (_LINES, Regex(rb"\d+"), b"a\r\n"),
        ]
        for framing, matcher, data in cases:
            with self.subTest(framing=framing, matcher=matcher):
                play = Play()
                play.server.allow(matcher, framing=framing)
                handle = play.expect_connect()
                handle.expect_bytes(b"quit")
                client = play.connect()
                play.receive(client, data)
                self.assertIsNotNone(play.session.failure)
                self.assertIn("quit", play.summary)

    def test_misuse_when_it_is_written(self) -> None:
        """What can't be right is refused where it is written, and the argument is named."""
        server = self.play.server
        misuses: list[tuple[type[Exception], str, Any]] = [
            (TypeError, r"allow\(message\) takes bytes, got the str", lambda: server.allow("PING")),  # type: ignore[arg-type]
            (ValueError, r"allow\(message\) is empty", lambda: server.allow(b"")),
            (TypeError, r"give framing=", lambda: server.allow(JSON({}))),
            (ValueError, r"messages of no bytes", lambda: server.allow(anything, framing=FixedLength(0))),
            (TypeError, r"allow\(framing=...\) is a Framing", lambda: server.allow(b"a", framing=4)),  # type: ignore[arg-type]
            (TypeError, r"allow\(times=...\)", lambda: server.allow(b"a", times="1")),  # type: ignore[arg-type]
            (ValueError, r"allow\(times=...\) is 1 or more", lambda: server.allow(b"a", times=0)),
            (TypeError, r"allow\(reply=...\) takes bytes", lambda: server.allow(b"a", reply="b")),  # type: ignore[arg-type]
            (ValueError, "is given without the", lambda: server.allow(b"a", reply=b"b\r\n", framing=_LINES)),
            (ValueError, r"every\(seconds\)", lambda: server.every(0, b"a")),
            (TypeError, r"every\(seconds\)", lambda: server.every(None, b"a")),  # type: ignore[arg-type]
            (ValueError, r"every\(data\) is empty", lambda: server.every(1, b"")),
            (TypeError, r"every\(data\) takes bytes", lambda: server.every(1, "tick")),  # type: ignore[arg-type]
            (TypeError, r"every\(framing=...\)", lambda: server.every(1, b"tick", framing=4)),  # type: ignore[arg-type]
            (TypeError, r"hand_over\(handler\) is a coroutine function", lambda: server.hand_over(b"x")),  # type: ignore[arg-type]
        ]
        for kind, pattern, write in misuses:
            with self.subTest(pattern=pattern), self.assertRaisesRegex(kind, pattern):
                write()


class Gate:
    """Stands for an event that is set by hand."""

    def __init__(self) -> None:
        self.set = False

    def is_set(self) -> bool:
        return self.set

    def wait(self) -> None:
        raise AssertionError

    def release(self, handle: Any) -> None:
        conversation = handle.conversation
        self.set = True
        conversation.released(conversation.steps[conversation.cursor])
        handle.play.perform()


class EveryTests(unittest.TestCase):
    def test_heartbeats_when_time_passes(self) -> None:
        """One comes each interval, counted from where it is written, until it is stopped."""
        play = Play()
        handle = play.expect_connect()
        handle.expect_bytes(b"a")
        beats = handle.every(1, b"tick ")
        client = play.connect()
        play.wait(3)
        self.assertEqual(play.stream(), b"")
        play.receive(client, b"a")
        play.wait(2.5)
        self.assertEqual((play.stream(), beats.count), (b"tick tick ", 2))
        beats.stop()
        play.wait(5)
        self.assertEqual(beats.count, 2)

    def test_no_backlog_when_the_client_does_not_read(self) -> None:
        """A heartbeat is left out while the one before it has not been taken."""
        play = Play(eager=False)
        handle = play.expect_connect()
        beats = handle.every(1, b"tick")
        play.connect()
        play.wait(10)
        self.assertEqual((play.stream(), beats.count), (b"tick", 0))
        play.flush()
        self.assertEqual(beats.count, 1)
        play.wait(1.5)
        play.flush()
        self.assertEqual((play.stream(), beats.count), (b"ticktick", 2))

    def test_no_heartbeat_when_a_stream_has_ended(self) -> None:
        """After either side's end nothing is sent."""
        for end in (lambda play, handle, client: play.end(client), lambda play, handle, client: handle.send_eof(),
                    lambda play, handle, client: handle.disconnect()):
            play = Play(timeout=None)
            handle = play.expect_connect()
            handle.every(1, b"tick", framing=LengthPrefixed(1))
            client = play.connect()
            play.wait(1.5)
            end(play, handle, client)
            play.wait(5)
            self.assertEqual(play.stream(), b"\x04tick")

    def test_callable_when_it_gives_the_heartbeat(self) -> None:
        """It is given the last result each time; the time-out of the due step goes on, since it is not the client's."""
        play = Play()
        play.server.every(1, lambda last: b"%b " % (last or b"-"))
        handle = play.expect_connect()
        handle.expect_line()
        handle.expect_line()
        client = play.connect()
        play.receive(client, b"one\r\n")
        play.wait(6)
        self.assertEqual(play.stream(), b"one one one one ")
        self.assertIn("expected a line", play.summary)


class PipeliningTests(unittest.TestCase):
    def play(self, *, eager: bool = True) -> tuple[Play, Any, Any]:
        play = Play(pipelining=False, eager=eager)
        handle = play.expect_connect()
        return play, handle, play.connect()

    def test_second_request_when_it_is_in_the_same_read(self) -> None:
        """The next request beside the one that is to be answered was sent too early."""
        play, handle, client = self.play()
        handle.expect_line(b"1")
        handle.send_line(b"one")
        handle.expect_line(b"2")
        play.receive(client, b"1\r\n2\r\n")
        self.assertEqual(play.summary, "the client sent 3 bytes before it was answered (pipelining=False): b'2\\r\\n'")

    def test_second_request_when_the_answer_is_under_way(self) -> None:
        """So was one that comes before the last byte of the answer was handed over."""
        play, handle, client = self.play(eager=False)
        handle.expect_line(b"1")
        answer = handle.send_line(b"one")
        handle.expect_line(b"2")
        play.receive(client, b"1\r\n", b"2")
        failure = play.session.failure
        assert failure is not None
        self.assertIs(failure.step, answer)

    def test_second_request_when_it_comes_after_the_answer(self) -> None:
        """A client that waits is never accused: not before a second send, either, which may not be its answer."""
        play, handle, client = self.play()
        handle.expect_line(b"1")
        handle.send_line(b"one")
        handle.delay(1)
        handle.send_line(b"news")
        handle.expect_line(b"2")
        play.receive(client, b"1\r\n", b"2\r\n")
        play.wait(2)
        self.assertEqual((play.summary, play.session.complete), ("", True))

    def test_pieces_of_a_request_when_nothing_is_to_be_answered(self) -> None:
        """Requests without an answer, and what comes before a greeting, are none of its business."""
        play, handle, client = self.play()
        handle.send_line(b"hello")
        handle.expect_line(b"1")
        handle.expect_line(b"2")
        handle.send_line(b"both")
        play.receive(client, b"1\r\n2", b"\r\n")
        self.assertEqual((play.summary, play.stream()), ("", b"hello\r\nboth\r\n"))

    def test_allowed_message_when_an_answer_is_due(self) -> None:
        """Heartbeats are no requests."""
        play, handle, client = self.play()
        handle.allow(b"!")
        handle.expect_line(b"1")
        handle.send_line(b"one")
        play.receive(client, b"1\r\n!")
        self.assertEqual(play.summary, "")
