"""What is sent beside a script, and what else the connection may be doing: TLS, an end, a fault."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.memory.host import CLOSED, RESET, MemoryServer

ENDS = {"reset_after": [RESET], "disconnect_after": [CLOSED], "stall_after": []}
UNREAD = "the client does not read: what was sent before start_tls() was not taken within 5.0 s"


class AsideTestCase(unittest.TestCase):
    def begin(self, **options: Any) -> Any:
        """A client is connected; return what its script is written with."""
        self.server = MemoryServer(**options)
        self.server.expect_connect()
        self.server.connect()
        return self.server.connection()

    def sent(self) -> bytes:
        """What the client was sent."""
        return bytes(self.server.connection().sent)


class StartTLSTests(AsideTestCase):
    """Nothing is sent in clear where the client takes everything for TLS."""

    def test_heartbeats_wait_while_hands_are_shaken(self) -> None:
        """One that is due during the handshake is sent when it is done; those after it come when they are due."""
        script = self.begin()
        script.send_bytes(b"go")
        script.every(1, b"beat")
        script.start_tls()
        self.server.sleep(3.5)
        self.assertEqual(self.sent(), b"go")
        self.server.upgraded()
        self.assertEqual(self.sent(), b"gobeat")
        self.server.sleep(2)
        self.assertEqual(self.sent(), b"go" + b"beat" * 3)

    def test_heartbeats_wait_between_the_go_ahead_and_the_handshake(self) -> None:
        """A client that has read the go-ahead expects TLS, however long it took to be sent."""
        for seconds in (0, 3):
            with self.subTest(seconds=seconds):
                script = self.begin(taking=False)
                script.every(1, b"beat")
                script.send_bytes(b"go")
                if seconds:
                    script.delay(seconds)
                script.start_tls()
                self.server.sleep(1.5)
                self.server.flush()
                self.server.sleep(seconds)
                self.assertEqual((self.sent(), len(self.server.upgrading)), (b"go", 1))
                self.server.upgraded()
                self.assertEqual(self.sent(), b"gobeat")

    def test_heartbeats_go_on_where_there_was_no_go_ahead(self) -> None:
        """A server that takes its time before it tells the client anything is alive, in clear."""
        script = self.begin()
        script.every(1, b"beat")
        script.expect_bytes(b"TLS")
        script.delay(2)
        script.send_bytes(b"go")
        script.start_tls()
        self.server.receive(b"TLS")
        self.server.sleep(3.5)
        self.assertEqual((self.sent(), len(self.server.upgrading)), (b"beatbeatgo", 1))

    def test_handshake_waits_while_a_reply_is_under_way(self) -> None:
        """What was begun in clear is handed over in clear; meanwhile it is not the client's handshake that is late."""
        for taken in (True, False):
            with self.subTest(taken=taken):
                script = self.begin(taking=False)
                script.allow(b"PING", reply=b"PONG")
                script.expect_bytes(b"TLS")
                step = script.start_tls()
                self.server.receive(b"PINGTLS")
                self.assertEqual((self.sent(), self.server.upgrading), (b"PONG", []))
                if taken:
                    self.server.flush()
                    self.assertEqual(len(self.server.upgrading), 1)
                    self.server.upgraded()
                    self.assertTrue(step.satisfied)
                else:
                    self.server.sleep(6)
                    self.assertEqual(self.server.verdict[1:], (step.index, UNREAD))

    def test_client_leaves_while_a_reply_is_under_way(self) -> None:
        """A client that ends its stream can't shake hands; nobody waits for it to read before that is said."""
        script = self.begin(taking=False)
        script.allow(b"PING", reply=b"PONG")
        self.server.receive(b"PING")
        script.start_tls()
        self.server.half_close()
        self.assertEqual(self.server.verdict[2], "the client half-closed before the TLS handshake")


class SlowClientTests(AsideTestCase):
    """A client that takes its time with what is sent aside, while the script has something to send, or to end."""

    def reply_under_way(self) -> Any:
        """The client is being sent a reply; return what its script is written with."""
        script = self.begin(taking=False)
        script.allow(b"PING", reply=b"PONG")
        self.server.receive(b"PING")
        return script

    def test_client_takes_the_reply_slowly(self) -> None:
        """As long as it takes some, the send behind the reply is not late; then the send's own time begins."""
        script = self.reply_under_way()
        step = script.send_bytes(b"data")
        for _ in range(3):
            self.server.sleep(4)
            self.server.take(1)
        self.server.sleep(4)
        self.server.flush()
        self.assertEqual((self.server.verdict, self.sent()), (None, b"PONGdata"))
        self.server.sleep(4)
        self.assertIsNone(self.server.verdict)
        self.server.sleep(2)
        self.assertEqual(self.server.verdict[1], step.index)
        self.assertIn("it took 0 of 4 bytes", self.server.verdict[2])

    def test_heartbeats_put_nothing_off(self) -> None:
        """Their being taken is no progress of an action that does not wait for it."""
        script = self.begin()
        script.every(1, b"beat")
        script.hold_until(mock.Mock(spec=("is_set", "wait"), is_set=lambda: False))
        self.server.sleep(6)
        self.assertIn("was held for 5.0 s", self.server.verdict[2])

    def test_client_resets_the_connection(self) -> None:
        """What is left of the reply keeps nobody: the connection can't be ended any more, and that is said at once."""
        script = self.reply_under_way()
        script.disconnect()
        self.server.reset_by_client()
        self.assertEqual(self.server.verdict[2], "the client reset the connection before disconnect()")


class FaultTests(AsideTestCase):
    """A stream that breaks after so many bytes, whoever sends them."""

    def test_sends_after_a_stall(self) -> None:
        """What is sent aside goes nowhere, as the script's sends do; these are satisfied all the same."""
        script = self.begin()
        script.allow(b"PING", reply=b"PONG")
        script.every(1, b"beat")
        script.stall_after(3)
        script.send_bytes(b"abcdef")
        script.expect_bytes(b"x")
        last = script.send_bytes(b"later")
        self.server.receive(b"PING")
        self.server.sleep(2)
        self.server.receive(b"x")
        self.server.turn()
        self.assertEqual((self.sent(), last.satisfied, self.server.verdict), (b"abc", True, None))

    def test_heartbeats_reach_the_place(self) -> None:
        """They are cut there, like sends; what is sent later is satisfied without a byte."""
        for method, end in ENDS.items():
            for limit in (3, 4, 5):
                with self.subTest(method=method, limit=limit):
                    script = self.begin()
                    getattr(script, method)(limit)
                    script.every(1, b"beat")
                    self.server.sleep(5)
                    self.assertEqual(script.wire, [b"beat"[:limit], *[b"b"] * (limit > 4), *end])
                    last = script.send_bytes(b"later")
                    self.server.turn()
                    self.assertEqual((last.satisfied, self.server.verdict), (True, None))

    def test_end_waits_until_a_reply_is_taken(self) -> None:
        """It comes when the bytes before it were handed over, also where it is written when they are under way."""
        for method, end in ENDS.items():
            for late in (False, True):
                with self.subTest(method=method, late=late):
                    script = self.begin(taking=False)
                    script.allow(b"PING", reply=b"PONG")
                    if not late:
                        getattr(script, method)(4)
                    self.server.receive(b"PING")
                    if late:
                        getattr(script, method)(4)
                    last = script.send_bytes(b"later")
                    self.server.turn()
                    self.assertEqual(script.wire, [b"PONG"])
                    self.server.flush()
                    self.assertEqual(script.wire, [b"PONG", *end])
                    self.server.flush()
                    self.server.flush()
                    self.assertEqual((script.wire, last.satisfied), ([b"PONG", *end], True))
                    self.assertIsNone(self.server.verdict)

    def test_expectation_had_its_turn_before(self) -> None:
        """Of a connection that heartbeats brought to its end only that can be expected, and that is said at once."""
        for method, words in (("stall_after", None), ("reset_after", "reset the connection"),
                              ("disconnect_after", "disconnected")):
            for allowing in (False, True):
                with self.subTest(method=method, allowing=allowing):
                    script = self.begin()
                    if allowing:
                        script.allow(b"PING")
                    getattr(script, method)(4)
                    script.every(1, b"beat")
                    step = script.expect_bytes(b"xy")
                    self.server.receive(b"x")
                    self.server.sleep(1.5)
                    if words is None:
                        self.server.receive(b"y")
                        self.assertEqual((step.satisfied, self.server.verdict), (True, None))
                    else:
                        self.assertEqual(self.server.verdict[1], step.index)
                        self.assertEqual(self.server.verdict[2], "expect_bytes(b'xy') can't be done: the server "
                                                                 f"{words} after 4 bytes, as {method}(4) says")

    def test_clients_end_can_be_expected(self) -> None:
        """`expect_disconnect` that had its turn before a `disconnect_after` is met afterwards."""
        script = self.begin()
        script.allow(b"PING")
        script.disconnect_after(4)
        script.every(1, b"beat")
        step = script.expect_disconnect()
        self.server.sleep(1.5)
        self.server.receive(b"drained")
        self.assertEqual((step.satisfied, script.wire), (False, [b"beat", CLOSED]))
        self.server.half_close()
        self.assertEqual((step.satisfied, self.server.verdict), (True, None))


class CountTests(AsideTestCase):
    """`every().count` is what was handed to the operating system."""

    def test_nothing_is_sent_any_more(self) -> None:
        """After an end none is counted, and the callable that gives the heartbeats is not called either."""
        for end in ("send_eof", "disconnect", "reset", "half_close", "stall_after"):
            with self.subTest(end=end):
                beat = mock.Mock(return_value=b"beat", spec=())
                script = self.begin()
                beats = script.every(1, beat)
                self.server.sleep(1.5)
                if end == "half_close":
                    self.server.half_close()
                elif end == "stall_after":
                    script.stall_after(4)
                else:
                    getattr(script, end)()
                self.server.sleep(5)
                self.assertEqual((self.sent(), beats.count, beat.call_count), (b"beat", 1, 1))

    def test_fault_cuts_one(self) -> None:
        """One of which the client gets only a part has not been sent; those whole ones in the same write have."""
        for limit, count in ((3, 0), (4, 1), (5, 1), (8, 2), (9, 2)):
            with self.subTest(limit=limit):
                script = self.begin(taking=False)
                script.stall_after(limit)
                counted = [script.every(1, b"beat") for _ in range(3)]
                self.server.sleep(1.5)
                self.assertEqual((script.wire, sum(beats.count for beats in counted)), ([b"beatbeatbeat"[:limit]], 0))
                self.server.flush()
                self.assertEqual(sum(beats.count for beats in counted), count)

    def test_handshake_holds_one_back(self) -> None:
        """It is counted when it goes out."""
        script = self.begin()
        beats = script.every(1, b"beat")
        script.start_tls()
        self.server.sleep(1.5)
        self.assertEqual(beats.count, 0)
        self.server.upgraded()
        self.assertEqual(beats.count, 1)


class FramingTests(AsideTestCase):
    def test_framing_of_the_users_raises(self) -> None:
        """Whatever it raises when a heartbeat is computed is the script's failure, and names where it was written."""
        class Broken(LengthPrefixed):
            def encode(self, payload: bytes) -> bytes:
                raise KeyError("length")

        self.begin().every(1, lambda _: b"beat", framing=Broken(1))
        self.server.sleep(1.5)
        self.assertRegex(self.server.verdict[2],
                         r"^the framing of every\(\) at test_interleaved.py:\d+ raised KeyError: 'length'$")


if __name__ == "__main__":
    unittest.main()
