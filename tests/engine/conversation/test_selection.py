"""What stands beside a script: allowed messages, heartbeats, and pipelining."""

from __future__ import annotations

import hashlib
import threading
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
from tcpclient_testing.memory.host import CLOSED, MemoryServer

_LINES = Delimited(b"\r\n")


def take_all(server: MemoryServer) -> None:
    """The client's system takes all that is being sent, and what is sent then."""
    outbox = server.conversation().outbox
    while not server.session.over and (outbox.sending or outbox.interleaving):
        server.flush()


class AllowTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer(at_once=True)

    def test_reply_when_the_message_comes_between_steps(self) -> None:
        """An allowed message is answered, counted, and no step's; also in pieces, and after the script's end."""
        allowed = self.server.allow(b"PING\r\n", reply=b"PONG\r\n")
        handle = self.server.expect_connect().connection
        line = handle.expect_line(b"PIN")
        self.server.connect()
        self.server.receive(b"PING\r\nPI")
        self.server.receive(b"NG\r\nPIN")
        self.server.receive(b"\r\nPING\r\n")
        self.assertEqual((allowed.count, line.result(), self.server.connection().sent), (3, b"PIN", b"PONG\r\n" * 3))

    def test_last_result_when_an_allowed_message_came_after_it(self) -> None:
        """A callable of the script gets the last expectation's result, that of allow() the allowed message's."""
        self.server.allow(JSON({"op": "ping"}), framing=_LINES,
                          reply=lambda message: b"pong %d" % message["id"])
        handle = self.server.expect_connect().connection
        handle.expect_line()
        handle.hold_until(threading.Event())
        handle.send_line(lambda line: line.upper())
        self.server.connect()
        self.server.receive(b'hello\r\n{"op": "ping", "id": 7}\r\n')
        self.server.release()
        self.assertEqual(self.server.connection().sent, b"pong 7\r\nHELLO\r\n")

    def test_times_when_the_message_comes_more_often(self) -> None:
        """Once the number is used up, the message is a mismatch like any other."""
        allowed = self.server.allow(b"!", times=2)
        handle = self.server.expect_connect().connection
        handle.expect_bytes(b"end")
        self.server.connect()
        self.server.receive(b"!!!")
        self.assertEqual(allowed.count, 2)
        self.assertIn("expected b'end', got b'!'", self.server.verdict[2])

    def test_allow_holds_from_where_it_is_written(self) -> None:
        """Before the step that it is written behind, the message is a mismatch."""
        handle = self.server.expect_connect().connection
        handle.expect_bytes(b"a")
        handle.allow(b"!")
        handle.expect_bytes(b"b")
        self.server.connect()
        self.server.receive(b"!ab")
        self.assertIn("expected b'a', got b'!'", self.server.verdict[2])
        other = MemoryServer(at_once=True)
        handle = other.expect_connect().connection
        handle.expect_bytes(b"a")
        handle.allow(b"!")
        handle.expect_bytes(b"b")
        other.connect()
        other.receive(b"a!b")
        self.assertEqual((other.verdict, other.session.complete), (None, True))

    def test_allowed_message_over_tls_when_the_handshake_came_early(self) -> None:
        """What was pending belongs to the handshake; behind it, allowed messages are read from their beginning."""
        for early in (b"\x16\x03", b"PI"):
            with self.subTest(early=early):
                server = MemoryServer()
                server.expect_connect()
                allowed = server.allow(b"PING")
                server.send_line(b"go ahead")
                server.connect()
                server.turn()
                server.receive(early)
                server.start_tls(object())
                end = server.expect_disconnect()
                server.upgraded()
                server.receive(b"PING")
                server.half_close()
                self.assertEqual((server.verdict, allowed.count, end.satisfied), (None, 1, True))

    def test_allow_written_when_a_message_is_half_there(self) -> None:
        """The message goes on where it was, however it is expected, and what is allowed may come behind it."""
        expectations: list[Callable[[Any], Any]] = [
            lambda handle: handle.expect_line(b"abc"), lambda handle: handle.expect_bytes(b"abc\r\n"),
            lambda handle: (handle.expect_bytes(b"a"), handle.expect_bytes(b"bc\r\n")),
            lambda handle: handle.expect_exactly(5), lambda handle: handle.expect_exactly(lambda _: 5)]
        for number, expect in enumerate(expectations):
            for come in (b"", b"ab"):
                with self.subTest(number=number, come=come):
                    server = MemoryServer(at_once=True)
                    handle = server.expect_connect().connection
                    expect(handle)
                    server.connect()
                    server.receive(come)
                    allowed = handle.allow(b"!")
                    handle.expect_bytes(b"end")
                    server.receive(b"abc\r\n!end"[len(come):])
                    self.assertEqual((server.verdict, server.session.complete, allowed.count), (None, True, 1))

    def test_shorter_expectation_when_it_is_written_late(self) -> None:
        """Written in time, it takes the message's beginning; a whole message that was there before was let through."""
        for come, late, count in ((b"", False, 0), (b"\xc0", True, 0), (b"\xc0\x00", True, 1)):
            with self.subTest(come=come):
                server = MemoryServer(at_once=True)
                allowed = server.allow(b"\xc0\x00")
                handle = server.expect_connect().connection
                steps = [] if late else [handle.expect_exactly(1), handle.expect_exactly(1)]
                server.connect()
                server.receive(come)
                steps = steps or [handle.expect_exactly(1), handle.expect_exactly(1)]
                server.receive(b"\xc0\x00\x10\x20"[len(come):])
                self.assertEqual(allowed.count, count)
                self.assertEqual(b"".join(step.result() for step in steps), b"\x10\x20" if count else b"\xc0\x00")

    def test_length_by_a_callable_when_allowed_messages_come_before_it(self) -> None:
        """It is asked once, with the result of the step before, whatever comes meanwhile, and never before its turn."""
        asked: list[Any] = []

        def length(header: Any) -> int:
            asked.append(header)
            return 3

        self.server.allow(b"!")
        handle = self.server.expect_connect().connection
        handle.expect_exactly(1)
        handle.hold_until(threading.Event())
        body = handle.expect_exactly(length)
        handle.expect_bytes(b".")
        self.server.connect()
        self.server.receive(b"!")
        self.server.receive(b"h")
        self.server.receive(b"!")
        self.assertEqual(asked, [])
        self.server.release()
        self.server.receive(b"!")
        self.server.receive(b"!!a")
        self.server.receive(b"bc")
        self.server.receive(b"!.")
        self.assertEqual((asked, body.result(), self.server.verdict), ([b"h"], b"abc", None))
        self.assertTrue(self.server.session.complete)

    def test_mismatch_names_the_candidates(self) -> None:
        """When nothing can match any more, the report has the step's mismatch, and why it is no allowed message."""
        self.server.allow(b"PING\r\n")
        handle = self.server.expect_connect().connection
        handle.expect_line(b"QUIT")
        self.server.connect()
        self.server.receive(b"PINX")
        failure = self.server.session.failure
        assert failure is not None
        self.assertIn("QUIT", failure.mismatch.summary)
        details = "\n".join(failure.mismatch.details)
        self.assertIn("nor is it what allow(b'PING\\r\\n')", details)
        self.assertIn("expected b'PING\\r\\n', got b'PINX' at byte 3", details)

    def test_expect_disconnect_when_an_allowed_message_comes_first(self) -> None:
        """Allowed messages don't count as bytes too many; the beginning of one does when the stream ends."""
        for sent, good in ((b"PING", True), (b"PINGPING", True), (b"PI", False), (b"PINGX", False)):
            with self.subTest(sent=sent):
                server = MemoryServer(at_once=True)
                server.allow(b"PING")
                handle = server.expect_connect().connection
                handle.expect_disconnect()
                server.connect()
                for byte in sent:
                    server.receive(bytes([byte]))
                server.half_close()
                self.assertEqual(server.session.failure is None, good, server.verdict)

    def test_expect_silence_when_an_allowed_message_comes(self) -> None:
        """Heartbeats don't break the silence, not even one that has only begun when it is over."""
        self.server.allow(b"PING")
        handle = self.server.expect_connect().connection
        handle.expect_silence(1)
        handle.expect_bytes(b"x")
        self.server.connect()
        self.server.receive(b"PINGPI")
        self.server.sleep(1.5)
        self.server.receive(b"NGx")
        self.assertEqual((self.server.verdict, self.server.session.complete), (None, True))

    def heartbeats(self, expect: Callable[[Any], Any], *chunks: bytes, every: float = 1.0) -> str:
        """The failure of a script whose client sends these chunks, again and again, and nothing else."""
        server = MemoryServer(at_once=True)
        server.allow(b"PING\r\n", reply=b"PONG\r\n")
        handle = server.expect_connect().connection
        expect(handle)
        server.connect()
        for _ in range(30):
            for chunk in chunks:
                server.sleep(every)
                server.receive(chunk)
        return str(server.verdict[2])

    def test_allowed_messages_are_no_progress_when_a_message_is_due(self) -> None:
        """A client that sends nothing but heartbeats is overdue; the time in which one arrives does not count."""
        hello, pings = "expected the line b'hello'", r"allowed messages (b'PING\r\n')"
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(b"hello"), b"PING\r\n"),
                         f"{hello}, nothing but 4 {pings} received for 5.0 s")
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(), b"PI", b"NG\r\n", every=0.6),
                         rf"expected a line ending in b'\r\n', nothing but 8 {pings} received for 5.0 s")
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(b"hello"), b"PING\r\nPI", b"NG\r\n"),
                         f"{hello}, nothing but 8 {pings} received for 5.0 s")
        self.assertEqual(self.heartbeats(lambda handle: handle.expect_line(b"hello", within=7), b"PING\r\n"),
                         f"{hello}, nothing but 6 {pings} received within 7.0 s")

    def test_allowed_messages_are_no_progress_when_an_end_is_due(self) -> None:
        """So it is where the client is to go."""
        self.assertRegex(self.heartbeats(lambda handle: handle.expect_disconnect(), b"PING\r\n"),
                         r"disconnect within 5.0 s; it is still connected; "
                         r"4 allowed messages \(b'PING.r.n'\) came meanwhile$")

    def test_bytes_of_the_message_are_progress_between_allowed_ones(self) -> None:
        """What the step waits for restarts its time-out, also behind an allowed message in one chunk."""
        self.server.allow(b"PING\r\n")
        handle = self.server.expect_connect().connection
        handle.expect_line(b"hello")
        self.server.connect()
        for chunk in (b"PING\r\nhe", b"l", b"l", b"o"):
            self.server.sleep(4)
            self.server.receive(chunk)
        self.assertIsNone(self.server.verdict)
        self.server.sleep(5.1)
        self.assertEqual(self.server.verdict[2],
                         r"got b'hello' without its ending b'\r\n', then nothing for 5.0 s; 1 allowed message "
                         r"(b'PING\r\n') came meanwhile")

    def test_end_of_the_stream_behind_an_allowed_message(self) -> None:
        """What was let through may be the beginning of what was meant: the report names it."""
        self.server.allow(b"\0")
        handle = self.server.expect_connect().connection
        handle.expect_line(b"bye, now")
        self.server.connect()
        self.server.ending = "ended its stream"
        self.server.receive(b"\0bye,")
        self.server.half_close()
        self.assertEqual(self.server.verdict[2],
                         "expected the line b'bye, now'; got 4 bytes (b'bye,') before the client ended its stream; "
                         r"1 allowed message (b'\x00') came meanwhile")

    def test_allowed_message_that_takes_long_to_come(self) -> None:
        """While its bytes come, nothing else can: they put the time-out off."""
        self.server.allow(StartsWith(b"LOG"), framing=Delimited(b"\r\n"))
        handle = self.server.expect_connect().connection
        handle.expect_line(b"go")
        self.server.connect()
        for byte in b"LOG abcdefgh\r\ngo\r\n":
            self.server.sleep(1)
            self.server.receive(bytes([byte]))
        self.assertEqual((self.server.verdict, self.server.session.complete), (None, True))

    def test_silence_in_the_middle_of_an_allowed_message(self) -> None:
        """A message that does not go on is as late as any."""
        self.server.allow(b"PING\r\n")
        self.server.expect_connect().connection.expect_line(b"hello")
        self.server.connect()
        self.server.sleep(4)
        self.server.receive(b"PI")
        self.server.sleep(4)
        self.assertIsNone(self.server.verdict)
        self.server.sleep(1.1)
        self.assertEqual(self.server.verdict[2],
                         "expected the line b'hello', got 2 bytes (b'PI'), then nothing for 5.0 s")

    def test_complete_script_when_only_allowed_messages_come(self) -> None:
        """Heartbeats are no reason to wait for ever for a client that nobody expects anything of."""
        self.server = MemoryServer(idle_timeout=30.0, at_once=True)
        self.server.allow(b"PING\r\n", reply=b"PONG\r\n")
        self.server.expect_connect()
        self.server.connect()
        for _ in range(5):
            self.server.sleep(7)
            self.server.receive(b"PING\r\n")
        self.assertRegex(self.server.verdict[2],
                         r"the script is complete; the client .* is still connected and waits; "
                         r"nothing but 4 allowed messages \(b'PING.r.n'\) happened for 30.0 s")

    def test_callable_raises_when_it_computes_the_reply(self) -> None:
        """The failure names the line of the allow(), and keeps the exception."""
        self.server.allow(b"PING", reply=lambda message: message.nothing)
        handle = self.server.expect_connect().connection
        handle.expect_bytes(b"x")
        self.server.connect()
        self.server.receive(b"PING")
        failure = self.server.session.failure
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
        written.append(self.server.allow(b"PING", framing=Broken(b"\n")))
        self.server.expect_connect().connection.expect_bytes(b"x")
        self.server.connect()
        self.server.receive(b"PING\n")
        self.assertRegex(self.server.verdict[2],
                         r"^allow\(.*\) at test_selection.py:\d+ raised RuntimeError: nothing to "
                         r"read with, while a message was read$")

    def test_wrong_type_when_a_callable_computes_the_reply(self) -> None:
        """What is not bytes is refused."""
        self.server.allow(b"PING", reply=lambda message: "pong")  # type: ignore[arg-type,return-value]
        self.server.expect_connect()
        self.server.connect()
        self.server.receive(b"PING")
        self.assertIn("returned 'pong', which is not bytes", self.server.verdict[2])

    def test_coroutine_when_it_computes_the_reply(self) -> None:
        """The reply goes out when the coroutine has ended, and those after it wait for it."""
        async def pong(message: bytes) -> bytes:
            return message.lower()
        self.server.allow(b"SLOW", reply=pong)
        self.server.allow(b"FAST", reply=b"fast")
        self.server.expect_connect()
        self.server.connect()
        self.server.receive(b"SLOWFAST")
        self.assertEqual(self.server.connection().sent, b"")
        self.server.compute()
        self.assertEqual(self.server.connection().sent, b"slowfast")

    def test_reply_when_a_write_of_the_script_is_under_way(self) -> None:
        """A reply never splits a write, and leaves in the order in which the messages came."""
        server = MemoryServer(taking=False, at_once=True)
        server.allow(b"PING", reply=b"pong")
        handle = server.expect_connect().connection
        handle.send_bytes(b"first")
        handle.expect_bytes(b"a")
        handle.send_bytes(b"A")
        handle.expect_bytes(b"b")
        handle.send_bytes(b"B")
        server.connect()
        server.receive(b"PINGaPINGbPING")
        self.assertEqual(server.connection().wire, [b"first"])
        take_all(server)
        self.assertEqual(server.connection().wire, [b"first", b"pong", b"A", b"pong", b"B", b"pong"])
        self.assertTrue(server.session.complete)

    def test_disconnect_when_a_reply_is_under_way(self) -> None:
        """The server ends its stream behind the reply."""
        server = MemoryServer(taking=False, at_once=True)
        server.allow(b"PING", reply=b"pong")
        handle = server.expect_connect().connection
        server.connect()
        server.receive(b"PING")
        step = handle.disconnect()
        self.assertFalse(step.satisfied)
        self.assertEqual(server.connection().wire, [b"pong"])
        server.flush()
        self.assertEqual(server.connection().wire, [b"pong", CLOSED])
        server.flush()
        self.assertTrue(step.satisfied)

    def test_bulk_is_let_go_when_only_the_expectation_is_left(self) -> None:
        """Memory stays bounded for a digest, although something is allowed beside it."""
        self.server.allow(b"PING")
        handle = self.server.expect_connect().connection
        step = handle.expect_exactly(1_000_000, Digest(hashlib.sha256(b"x" * 1_000_000).hexdigest()))
        self.server.connect()
        for _ in range(100):
            self.server.receive(b"x" * 10_000)
            self.assertLess(sum(map(len, self.server.conversation().inbox.pending)), 20_000)
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
                server = MemoryServer(at_once=True)
                server.allow(matcher, framing=framing)
                handle = server.expect_connect().connection
                handle.expect_bytes(b"quit")
                server.connect()
                server.receive(data)
                self.assertIsNotNone(server.session.failure)
                self.assertIn("quit", server.verdict[2])

    def test_misuse_when_it_is_written(self) -> None:
        """What can't be right is refused where it is written, and the argument is named."""
        server = self.server
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


class EveryTests(unittest.TestCase):
    def test_heartbeats_when_time_passes(self) -> None:
        """One comes each interval, counted from where it is written, until it is stopped."""
        server = MemoryServer(at_once=True)
        handle = server.expect_connect().connection
        handle.expect_bytes(b"a")
        beats = handle.every(1, b"tick ")
        server.connect()
        server.sleep(3)
        self.assertEqual(server.connection().sent, b"")
        server.receive(b"a")
        server.sleep(2.5)
        self.assertEqual((server.connection().sent, beats.count), (b"tick tick ", 2))
        beats.stop()
        server.sleep(5)
        self.assertEqual(beats.count, 2)

    def test_no_backlog_when_the_client_does_not_read(self) -> None:
        """A heartbeat is left out while the one before it has not been taken."""
        server = MemoryServer(taking=False, at_once=True)
        handle = server.expect_connect().connection
        beats = handle.every(1, b"tick")
        server.connect()
        server.sleep(10)
        self.assertEqual((server.connection().sent, beats.count), (b"tick", 0))
        server.flush()
        self.assertEqual(beats.count, 1)
        server.sleep(1.5)
        server.flush()
        self.assertEqual((server.connection().sent, beats.count), (b"ticktick", 2))

    def test_no_heartbeat_when_a_stream_has_ended(self) -> None:
        """After either side's end nothing is sent."""
        for end in (lambda server, _: server.half_close(), lambda _, handle: handle.send_eof(),
                    lambda _, handle: handle.disconnect()):
            server = MemoryServer(timeout=None, at_once=True)
            handle = server.expect_connect().connection
            handle.every(1, b"tick", framing=LengthPrefixed(1))
            server.connect()
            server.sleep(1.5)
            end(server, handle)
            server.sleep(5)
            self.assertEqual(server.connection().sent, b"\x04tick")

    def test_callable_when_it_gives_the_heartbeat(self) -> None:
        """It is given the last result each time; the time-out of the due step goes on, since it is not the client's."""
        server = MemoryServer(at_once=True)
        server.every(1, lambda last: b"%b " % (last or b"-"))
        handle = server.expect_connect().connection
        handle.expect_line()
        handle.expect_line()
        server.connect()
        server.receive(b"one\r\n")
        server.sleep(6)
        self.assertEqual(server.connection().sent, b"one one one one ")
        self.assertIn("expected a line", server.verdict[2])


class PipeliningTests(unittest.TestCase):
    def connected(self, *, taking: bool = True) -> tuple[MemoryServer, Any]:
        """A server whose client has connected, and its connection."""
        server = MemoryServer(pipelining=False, taking=taking, at_once=True)
        handle = server.expect_connect().connection
        server.connect()
        return server, handle

    def test_second_request_when_it_is_in_the_same_read(self) -> None:
        """The next request beside the one that is to be answered was sent too early."""
        server, handle = self.connected()
        handle.expect_line(b"1")
        handle.send_line(b"one")
        handle.expect_line(b"2")
        server.receive(b"1\r\n2\r\n")
        self.assertEqual(server.verdict[2],
                         "the client sent 3 bytes before it was answered (pipelining=False): b'2\\r\\n'")

    def test_second_request_when_the_answer_is_under_way(self) -> None:
        """So was one that comes before the last byte of the answer was handed over."""
        server, handle = self.connected(taking=False)
        handle.expect_line(b"1")
        answer = handle.send_line(b"one")
        handle.expect_line(b"2")
        server.receive(b"1\r\n")
        server.receive(b"2")
        failure = server.session.failure
        assert failure is not None
        self.assertIs(failure.step, answer)

    def test_second_request_when_it_comes_after_the_answer(self) -> None:
        """A client that waits is never accused: not before a second send, either, which may not be its answer."""
        server, handle = self.connected()
        handle.expect_line(b"1")
        handle.send_line(b"one")
        handle.delay(1)
        handle.send_line(b"news")
        handle.expect_line(b"2")
        server.receive(b"1\r\n")
        server.receive(b"2\r\n")
        server.sleep(2)
        self.assertEqual((server.verdict, server.session.complete), (None, True))

    def test_pieces_of_a_request_when_nothing_is_to_be_answered(self) -> None:
        """Requests without an answer, and what comes before a greeting, are none of its business."""
        server, handle = self.connected()
        handle.send_line(b"hello")
        handle.expect_line(b"1")
        handle.expect_line(b"2")
        handle.send_line(b"both")
        server.receive(b"1\r\n2")
        server.receive(b"\r\n")
        self.assertEqual((server.verdict, server.connection().sent), (None, b"hello\r\nboth\r\n"))

    def test_allowed_message_when_an_answer_is_due(self) -> None:
        """Heartbeats are no requests."""
        server, handle = self.connected()
        handle.allow(b"!")
        handle.expect_line(b"1")
        handle.send_line(b"one")
        server.receive(b"1\r\n!")
        self.assertIsNone(server.verdict)
