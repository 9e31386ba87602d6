"""Streams that are broken after so many bytes, and the order in which a server's faults take effect."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine import commands
from tests.engine.driver import CLOSED, RESET, Driver

MESSAGES = (b"abc", b"de")
STREAM = b"".join(MESSAGES)
#: Before the first byte, inside a message, at the boundary between two sends, inside the next, after the last byte.
OFFSETS = (0, 1, 3, 4, 5)
ENDS = {"reset_after": [RESET], "disconnect_after": [CLOSED], "stall_after": []}


class FaultTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.driver = Driver()

    def script(self, method: str, n: int, *, before: int = 0) -> list[Any]:
        """Write the messages' sends, and the fault after the first `before` of them; return the sends."""
        self.driver.expect_connect()
        sends = []
        for number, message in enumerate(MESSAGES):
            if number == before:
                self.fault = getattr(self.driver, method)(n)
            sends.append(self.driver.send_bytes(message))
        return sends

    def wire(self) -> tuple[bytes, list[Any]]:
        """The bytes that went out, and what came after them."""
        handle = self.driver.handle()
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
                            self.driver.connect()
                        else:
                            self.driver.connect()
                            sends = self.script(method, n)
                        self.driver.turn()
                        self.assertEqual(self.wire(), (STREAM[:n], end))
                        self.assertEqual([step.satisfied for step in [self.fault, *sends]], [True] * 3)
                        self.assertIsNone(self.driver.verdict)

    def test_bytes_that_were_sent_before_count(self) -> None:
        """Armed between two sends, it counts the first one's bytes; its own place may be the boundary."""
        for method, end in ENDS.items():
            for n in (3, 4, 5):
                with self.subTest(method=method, n=n):
                    self.setUp()
                    self.script(method, n, before=1)
                    self.driver.connect()
                    self.driver.turn()
                    self.assertEqual(self.wire(), (STREAM[:n], end))
                    self.assertIsNone(self.driver.verdict)

    def test_end_waits_until_the_bytes_are_taken(self) -> None:
        """The end comes after the bytes before it were handed over, not with them."""
        for method, end in ENDS.items():
            with self.subTest(method=method):
                self.driver = Driver(taking=False)
                sends = self.script(method, 4)
                self.driver.connect()
                self.driver.turn()
                self.assertEqual(self.wire(), (b"abcd", []))
                self.assertFalse(sends[1].satisfied)
                self.driver.flush()
                self.assertEqual(self.wire(), (b"abcd", end))
                self.driver.flush()
                self.assertTrue(sends[1].satisfied)

    def test_place_that_is_never_reached_strikes_nothing(self) -> None:
        """Everything goes out and the step is satisfied; it can say for the verdict that it never struck."""
        for method in ENDS:
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 6)
                self.driver.connect()
                self.driver.turn()
                self.assertEqual(self.wire(), (STREAM, []))
                self.assertTrue(self.fault.satisfied)
                self.assertFalse(self.fault.struck)
                self.assertEqual(self.fault.missed(self.driver.handle().conversation).summary,
                                 f"{method}(6) never took effect: the server sent only 5 bytes")

    def test_place_that_is_passed_is_a_mismatch(self) -> None:
        """Armed when more was sent already, it fails, and names both figures."""
        for method in ENDS:
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 2, before=1)
                self.driver.connect()
                self.driver.turn()
                summary = (f"{method}(2) comes too late: it counts from the connection's first byte, and the server "
                           "has sent 3 bytes already")
                self.assertEqual(self.driver.verdict[1:], (2, summary))

    def test_stream_breaks_only_once(self) -> None:
        """A second break would undo the first one without a word; it fails at its line."""
        for first in ENDS:
            self.setUp()
            self.script(first, 6)
            self.driver.stall_after(7)
            self.driver.connect()
            self.driver.turn()
            self.assertEqual(self.driver.verdict[2],
                             f"stall_after(7) can't be done: {first}(6) came before it, and a stream breaks only once")

    def test_sends_after_the_end_put_nothing_out(self) -> None:
        """What is written later is satisfied, without a byte."""
        for method, end in ENDS.items():
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 1)
                self.driver.connect()
                self.driver.turn()
                later = self.driver.send_bytes(b"later")
                self.driver.turn()
                self.assertEqual((self.wire(), later.satisfied), ((b"a", end), True))

    def test_expectations_after_the_end(self) -> None:
        """A stalled server judges what comes; of an ended connection only its end can be expected."""
        for method, words in (("stall_after", None), ("reset_after", "the server reset the connection after 1 byte"),
                              ("disconnect_after", "the server disconnected after 1 byte")):
            with self.subTest(method=method):
                self.setUp()
                self.script(method, 1)
                step = self.driver.expect_bytes(b"x")
                self.driver.connect()
                self.driver.turn()
                if words is None:
                    self.driver.receive(b"x")
                    self.assertTrue(step.satisfied)
                    self.assertIsNone(self.driver.verdict)
                else:
                    self.assertEqual(self.driver.verdict[2],
                                     f"expect_bytes(b'x') can't be done: {words}, as {method}(1) says")

    def test_message_that_came_before_the_end_when_there_is_an_allow(self) -> None:
        """What was read beside the sends is judged as without: it can't be expected of an ended connection."""
        for method in ENDS:
            for early in (b"", b"x", b"x!", b"!x", b"!"):
                with self.subTest(method=method, early=early):
                    self.driver = Driver(taking=False)
                    self.script(method, 1)
                    allowed = self.driver.allow(b"!")
                    step = self.driver.expect_bytes(b"x")
                    self.driver.connect()
                    self.driver.turn()
                    self.driver.receive(early)
                    self.driver.flush()
                    if method == "stall_after":
                        self.assertEqual((step.satisfied, allowed.count), (b"x" in early, early.count(b"!")))
                        self.assertIsNone(self.driver.verdict)
                    else:
                        self.driver.flush()
                        self.assertIn("expect_bytes(b'x') can't be done: the server ", self.driver.verdict[2])

    def test_clients_end_when_a_message_came_before_a_disconnect_beside_an_allow(self) -> None:
        """What came before the server's end, whole or begun, is drained, and no message after it."""
        for early in (b"PI", b"PINGPI", b"x"):
            with self.subTest(early=early):
                self.driver = Driver(taking=False)
                self.script("disconnect_after", 1)
                self.driver.allow(b"PING")
                step = self.driver.expect_disconnect()
                self.driver.connect()
                self.driver.turn()
                self.driver.receive(early)
                self.driver.flush()
                self.driver.flush()
                self.driver.half_close()
                self.assertIsNone(self.driver.verdict)
                self.assertTrue(step.satisfied)

    def test_clients_end_can_be_expected_after_a_disconnect(self) -> None:
        """`expect_disconnect` has its turn after `disconnect_after`."""
        self.script("disconnect_after", 1)
        step = self.driver.expect_disconnect()
        self.driver.connect()
        self.driver.turn()
        self.assertFalse(step.satisfied)
        self.driver.half_close()
        self.assertTrue(step.satisfied)
        self.assertIsNone(self.driver.verdict)


class ServerFaultTests(unittest.TestCase):
    """The settings of a server reach the adapter in the order of the script, each at its turn."""

    def setUp(self) -> None:
        self.seen: list[Any] = []
        seen = self.seen

        class Recording(Driver):
            def _on_SetAccepting(self, command: commands.SetAccepting) -> None:
                seen.append(command.accepting)

            def _on_FailConnections(self, command: commands.FailConnections) -> None:
                seen.append(command.count)

            def _on_SetNetwork(self, command: commands.SetNetwork) -> None:
                seen.append((command.conversation and command.conversation.number, command.network, command.for_all))

        self.driver = Recording()
        from tcpclient_testing.engine.builder.faults import ServerFaultMethods
        self.server: Any = type("Server", (ServerFaultMethods,), {"_add": lambda _, step: self.driver._add(step)})()

    def test_settings_before_the_first_connection_take_effect_at_once(self) -> None:
        """In the order in which they are written."""
        self.server.fail_connections(2)
        self.server.refuse_connections()
        self.server.accept_connections()
        self.server.fail_connections(0)
        self.assertEqual(self.seen, [2, False, True, 0])

    def test_settings_after_a_step_wait_for_it(self) -> None:
        """Each takes effect when the steps before it are done, and lets those after it go on."""
        self.driver.expect_connect()
        self.driver.expect_bytes(b"a")
        failing = self.server.fail_connections(1)
        self.driver.send_bytes(b"b")
        self.driver.connect()
        self.assertEqual((self.seen, failing.satisfied), ([], False))
        self.driver.receive(b"a")
        self.driver.turn()
        self.assertEqual((self.seen, failing.satisfied, self.driver.handle().sent), ([1], True, b"b"))

    def test_accepting_again_waits_for_no_turn_while_connections_are_refused(self) -> None:
        """Else the script would wait for a connection that nobody can make."""
        self.server.refuse_connections()
        self.driver.expect_connect()
        later = self.server.fail_connections(1)
        again = self.server.accept_connections()
        self.assertEqual((self.seen, again.satisfied, later.satisfied), ([False, True], True, False))
        self.driver.connect()
        self.assertEqual((self.seen, later.satisfied), ([False, True, 1], True))

    def test_accepting_waits_for_its_turn_while_refusing_does(self) -> None:
        """Written in one go after a step, refusing and accepting come in their order."""
        self.driver.expect_connect()
        self.driver.expect_bytes(b"a")
        self.server.refuse_connections()
        self.server.accept_connections()
        self.driver.connect()
        self.assertEqual(self.seen, [])
        self.driver.receive(b"a")
        self.assertEqual(self.seen, [False, True])
