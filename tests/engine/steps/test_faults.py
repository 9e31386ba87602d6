"""Streams that are broken after so many bytes, and the order in which a server's faults take effect."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.builder.faults import ServerFaultMethods
from tcpclient_testing.memory.host import CLOSED, RESET, MemoryServer

MESSAGES = (b"abc", b"de")
STREAM = b"".join(MESSAGES)
#: Before the first byte, inside a message, at the boundary between two sends, inside the next, after the last byte.
OFFSETS = (0, 1, 3, 4, 5)
ENDS = {"reset_after": [RESET], "disconnect_after": [CLOSED], "stall_after": []}


class FaultTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()

    def script(self, method: str, n: int, *, before: int = 0) -> list[Any]:
        """Write the messages' sends, and the fault after the first `before` of them; return the sends."""
        self.server.expect_connect()
        sends = []
        for number, message in enumerate(MESSAGES):
            if number == before:
                self.fault = getattr(self.server, method)(n)
            sends.append(self.server.send_bytes(message))
        return sends

    def wire(self) -> tuple[bytes, list[Any]]:
        """The bytes that went out, and what came after them."""
        handle = self.server.connection()
        return handle.sent, [item for item in handle.wire if not isinstance(item, bytes)]


class BreakAfterTests(FaultTestCase):
    def test_stream_is_cut_at_each_offset_of_joined_sends(self) -> None:
        """The client gets `n` bytes and the end that the fault says, and every send is satisfied."""
        for method, end in ENDS.items():
            for n in OFFSETS:
                for early in (True, False):
                    with self.subTest(method=method, n=n, written_before_the_client_connects=early):
                        self.setUp()
                        if early:
                            sends = self.script(method, n)
                            self.server.connect()
                        else:
                            self.server.connect()
                            sends = self.script(method, n)
                        self.server.turn()
                        self.assertEqual(self.wire(), (STREAM[:n], end))
                        self.assertEqual([step.satisfied for step in [self.fault, *sends]], [True] * 3)
                        self.assertIsNone(self.server.verdict)

    def test_bytes_that_were_sent_before_count(self) -> None:
        """Armed between two sends, it counts the first one's bytes; its own place may be the boundary."""
        for method, end in ENDS.items():
            for n in (3, 4, 5):
                with self.subTest(method=method, n=n):
                    self.setUp()
                    self.script(method, n, before=1)
                    self.server.connect()
                    self.server.turn()
                    self.assertEqual(self.wire(), (STREAM[:n], end))
                    self.assertIsNone(self.server.verdict)

    def test_end_waits_until_the_bytes_are_taken(self) -> None:
        """The end comes after the bytes before it were handed over, not with them."""
        for method, end in ENDS.items():
            with self.subTest(method=method):
                self.server = MemoryServer(taking=False)
                sends = self.script(method, 4)
                self.server.connect()
                self.server.turn()
                self.assertEqual(self.wire(), (b"abcd", []))
                self.assertFalse(sends[1].satisfied)
                self.server.flush()
                self.assertEqual(self.wire(), (b"abcd", end))
                self.server.flush()
                self.assertTrue(sends[1].satisfied)

    def test_place_that_is_never_reached_strikes_nothing(self) -> None:
        """Everything goes out and the step is satisfied; it can say for the verdict that it never struck."""
        for method in ENDS:
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 6)
                self.server.connect()
                self.server.turn()
                self.assertEqual(self.wire(), (STREAM, []))
                self.assertTrue(self.fault.satisfied)
                self.assertFalse(self.fault.limit.struck)
                self.assertEqual(self.fault.limit.missed(self.server.connection().conversation.outbox.total).summary,
                                 f"{method}(6) never took effect: the server sent only 5 bytes")

    def test_place_that_is_passed_is_a_mismatch(self) -> None:
        """Armed when more was sent already, it fails, and names both figures."""
        for method in ENDS:
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 2, before=1)
                self.server.connect()
                self.server.turn()
                summary = (f"{method}(2) comes too late: it counts from the connection's first byte, and the server "
                           "has sent 3 bytes already")
                self.assertEqual(self.server.verdict[1:], (2, summary))

    def test_stream_breaks_only_once(self) -> None:
        """A second break would undo the first one without a word; it fails at its line."""
        for first in ENDS:
            self.setUp()
            self.script(first, 6)
            self.server.stall_after(7)
            self.server.connect()
            self.server.turn()
            self.assertEqual(self.server.verdict[2],
                             f"stall_after(7) can't be done: {first}(6) came before it, and a stream breaks only once")

    def test_sends_after_the_end_put_nothing_out(self) -> None:
        """What is written later is satisfied, without a byte."""
        for method, end in ENDS.items():
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 1)
                self.server.connect()
                self.server.turn()
                later = self.server.send_bytes(b"later")
                self.server.turn()
                self.assertEqual((self.wire(), later.satisfied), ((b"a", end), True))

    def test_expectations_after_the_end(self) -> None:
        """A stalled server judges what comes; of an ended connection only its end can be expected."""
        for method, words in (("stall_after", None), ("reset_after", "the server reset the connection after 1 byte"),
                              ("disconnect_after", "the server disconnected after 1 byte")):
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 1)
                step = self.server.expect_bytes(b"x")
                self.server.connect()
                self.server.turn()
                if words is None:
                    self.server.receive(b"x")
                    self.assertTrue(step.satisfied)
                    self.assertIsNone(self.server.verdict)
                else:
                    self.assertEqual(self.server.verdict[2],
                                     f"expect_bytes(b'x') can't be done: {words}, as {method}(1) says")

    def test_message_that_came_before_the_end_when_there_is_an_allow(self) -> None:
        """What was read beside the sends is judged as without: it can't be expected of an ended connection."""
        for method in ENDS:
            for early in (b"", b"x", b"x!", b"!x", b"!"):
                with self.subTest(method=method, early=early):
                    self.server = MemoryServer(taking=False)
                    self.script(method, 1)
                    allowed = self.server.allow(b"!")
                    step = self.server.expect_bytes(b"x")
                    self.server.connect()
                    self.server.turn()
                    self.server.receive(early)
                    self.server.flush()
                    if method == "stall_after":
                        self.assertEqual((step.satisfied, allowed.count), (b"x" in early, early.count(b"!")))
                        self.assertIsNone(self.server.verdict)
                    else:
                        self.server.flush()
                        self.assertIn("expect_bytes(b'x') can't be done: the server ", self.server.verdict[2])

    def test_clients_end_when_a_message_came_before_a_disconnect_beside_an_allow(self) -> None:
        """What came before the server's end, whole or begun, is drained, and no message after it."""
        for early in (b"PI", b"PINGPI", b"x"):
            with self.subTest(early=early):
                self.server = MemoryServer(taking=False)
                self.script("disconnect_after", 1)
                self.server.allow(b"PING")
                step = self.server.expect_disconnect()
                self.server.connect()
                self.server.turn()
                self.server.receive(early)
                self.server.flush()
                self.server.flush()
                self.server.half_close()
                self.assertIsNone(self.server.verdict)
                self.assertTrue(step.satisfied)

    def test_clients_end_can_be_expected_after_a_disconnect(self) -> None:
        """`expect_disconnect` has its turn after `disconnect_after`."""
        self.script("disconnect_after", 1)
        step = self.server.expect_disconnect()
        self.server.connect()
        self.server.turn()
        self.assertFalse(step.satisfied)
        self.server.half_close()
        self.assertTrue(step.satisfied)
        self.assertIsNone(self.server.verdict)


class ServerFaultTests(unittest.TestCase):
    """The settings of a server reach the adapter in the order of the script, each at its turn."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.faults: Any = type("Server", (ServerFaultMethods,), {"_add": lambda _, step: self.server._add(step)})()

    @property
    def seen(self) -> list[Any]:
        """What each setting says, in the order in which they took effect."""
        return [getattr(command, "accepting", getattr(command, "count", None)) for command in self.server.settings]

    def test_settings_before_the_first_connection_take_effect_at_once(self) -> None:
        """In the order in which they are written."""
        self.faults.fail_connections(2)
        self.faults.refuse_connections()
        self.faults.accept_connections()
        self.faults.fail_connections(0)
        self.assertEqual(self.seen, [2, False, True, 0])

    def test_settings_after_a_step_wait_for_it(self) -> None:
        """Each takes effect when the steps before it are done, and lets those after it go on."""
        self.server.expect_connect()
        self.server.expect_bytes(b"a")
        failing = self.faults.fail_connections(1)
        self.server.send_bytes(b"b")
        self.server.connect()
        self.assertEqual((self.seen, failing.satisfied), ([], False))
        self.server.receive(b"a")
        self.server.turn()
        self.assertEqual((self.seen, failing.satisfied, self.server.connection().sent), ([1], True, b"b"))

    def test_accepting_again_waits_for_no_turn_while_connections_are_refused(self) -> None:
        """Else the script would wait for a connection that nobody can make."""
        self.faults.refuse_connections()
        self.server.expect_connect()
        later = self.faults.fail_connections(1)
        again = self.faults.accept_connections()
        self.assertEqual((self.seen, again.satisfied, later.satisfied), ([False, True], True, False))
        self.server.connect()
        self.assertEqual((self.seen, later.satisfied), ([False, True, 1], True))

    def test_accepting_waits_for_its_turn_while_refusing_does(self) -> None:
        """Written in one go after a step, refusing and accepting come in their order."""
        self.server.expect_connect()
        self.server.expect_bytes(b"a")
        self.faults.refuse_connections()
        self.faults.accept_connections()
        self.server.connect()
        self.assertEqual(self.seen, [])
        self.server.receive(b"a")
        self.assertEqual(self.seen, [False, True])
