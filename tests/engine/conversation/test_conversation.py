"""Conversations: order, early input, joined sends, time-outs, and ends of streams in every place."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.conversation.events import Flushed
from tests.engine.driver import CLOSED, HALF_CLOSED, RESET, Driver


def connected(**options: Any) -> Driver:
    """A driver with a script that expects one client, which has connected."""
    driver = Driver(**options)
    driver.expect_connect()
    driver.connect()
    return driver


class OrderTests(unittest.TestCase):
    def test_steps_are_done_in_order(self) -> None:
        """A reply goes out once what stands before it is satisfied, and not before."""
        driver = connected()
        driver.expect_bytes(b"ab")
        driver.send_bytes(b"1")
        driver.expect_line()
        driver.send_bytes(b"2")
        driver.receive(b"a")
        self.assertEqual(driver.handle().wire, [])
        driver.receive(b"bx")
        self.assertEqual(driver.handle().sent, b"1")
        driver.receive(b"\r\n")
        self.assertEqual(driver.handle().sent, b"12")
        self.assertIsNone(driver.verdict)

    def test_early_input_waits_for_its_step(self) -> None:
        """Connections, bytes and ends that come before the script mentions them are kept."""
        driver = Driver()
        driver.connect()
        driver.receive(b"one\r\ntwo")
        driver.half_close()
        driver.expect_connect()
        self.assertEqual(driver.expect_line().result(), b"one")
        self.assertEqual(driver.expect_exactly(3).result(), b"two")
        self.assertTrue(driver.expect_disconnect().satisfied)
        self.assertEqual(driver.handle().wire, [CLOSED])

    def test_adjacent_sends_are_one_write(self) -> None:
        """Sends that are due together are one write; an expectation between them makes two."""
        driver = Driver()
        driver.expect_connect()
        driver.send_bytes(b"a")
        driver.send_bytes(b"")
        driver.send_line(b"b")
        driver.send_bytes(lambda _: b"c")
        driver.expect_bytes(b"x")
        driver.send_frame(b"d")
        driver.connect()
        self.assertEqual(driver.handle().writes, [b"ab\r\nc"])
        driver.receive(b"x")
        self.assertEqual(driver.handle().writes, [b"ab\r\nc", b"\0\0\0\1d"])

    def test_send_that_comes_during_a_write_is_the_next_write(self) -> None:
        """What is added while bytes are on their way follows them, and each step is told of when it is taken."""
        driver = connected(taking=False)
        first = driver.send_bytes(b"abc")
        driver.turn()
        second = driver.send_bytes(b"def")
        next(first.__await__())
        driver.take(2)
        self.assertFalse(first.satisfied)
        driver.take(1)
        self.assertTrue(first.satisfied)
        self.assertEqual(driver.woken, [first])
        driver.flush()
        self.assertEqual(driver.handle().writes, [b"abc", b"def"])
        self.assertFalse(second.satisfied)
        driver.flush()
        self.assertTrue(second.satisfied)

    def test_nothing_moves_after_the_verdict(self) -> None:
        """Events that come after the failure change nothing."""
        driver = connected(taking=False)
        send = driver.send_bytes(b"abc")
        driver.turn()
        driver.reset_by_client()
        verdict = driver.verdict
        driver.take(3)
        driver.flush()
        driver.receive(b"x")
        self.assertFalse(send.satisfied)
        self.assertEqual((driver.verdict, driver.gave_up), (verdict, 1))


class TimeOutTests(unittest.TestCase):
    def test_progress_restarts_the_time_out(self) -> None:
        """`timeout` counts from the last byte; `within` from the step's turn."""
        driver = connected()
        driver.expect_bytes(b"abc", timeout=1.0)
        for byte in (b"a", b"b"):
            driver.sleep(0.9)
            driver.receive(byte)
        self.assertIsNone(driver.verdict)
        driver.sleep(1.1)
        self.assertEqual(driver.verdict, (1, 1, "expected 3 bytes b'abc', got only 2 (b'ab'), then nothing for 1.0 s"))

    def test_within_is_in_all(self) -> None:
        """Bytes that trickle do not restart `within`."""
        driver = connected()
        driver.expect_line(within=1.0)
        for _ in range(4):
            driver.receive(b"x")
            driver.sleep(0.3)
        self.assertIn("not complete within 1.0 s; 4 bytes are waiting", driver.verdict[2])

    def test_within_alone_takes_the_place_of_the_servers_time_out(self) -> None:
        """`within` may be longer than the server's time-out; with `timeout` as well, both hold."""
        driver = connected()
        driver.expect_line(within=30.0)
        driver.sleep(29.9)
        self.assertIsNone(driver.verdict)
        driver.sleep(0.2)
        self.assertIn(", nothing received within 30.0 s", driver.verdict[2])
        driver = connected()
        driver.expect_line(timeout=2.0, within=30.0)
        driver.sleep(2.1)
        self.assertIn("nothing received for 2", driver.verdict[2])

    def test_what_the_client_sends_is_no_progress_of_an_action(self) -> None:
        """A client that sends but does not read is overdue; so is a hold whose event never comes."""
        for method in ("send", "hold"):
            driver = connected(taking=False)
            if method == "send":
                driver.send_bytes(b"abc")
            else:
                driver.hold_until(driver.expect_connect())
            driver.turn()
            for _ in range(7):
                driver.receive(b"x")
                driver.sleep(1.0)
            self.assertIsNotNone(driver.verdict, method)

    def test_connect_after_and_within(self) -> None:
        """A client that connects before `after` or later than `within` has failed; between them it has not."""
        for moment, good in ((0.5, False), (1.5, True), (2.5, False)):
            driver = Driver(timeout=1.0)
            driver.expect_connect(after=1.0, within=2.0)
            driver.sleep(moment)
            if driver.verdict is None:
                driver.connect()
            self.assertEqual(driver.verdict is None, good, moment)

    def test_idle_client_is_noticed(self) -> None:
        """With the script complete, a client that waits, floods or stays after disconnect() is noticed in the end."""
        for kind in ("waits", "floods", "drained", "again"):
            driver = connected(idle_timeout=2.0)
            if kind == "drained":
                driver.disconnect()
            if kind == "again":
                driver.half_close()
            for _ in range(8):
                driver.sleep(0.5)
                if kind in ("floods", "drained"):
                    driver.receive(b"x")
                if kind == "again" and driver.verdict is None:
                    driver.half_close(driver.connect())
            self.assertIsNotNone(driver.verdict, kind)

    def test_idleness_is_found_after_a_step_without_a_time_out(self) -> None:
        """A step that may take for ever does not stop the watch for idleness after it."""
        driver = connected(timeout=None, idle_timeout=1.0)
        driver.expect_bytes(b"x")
        driver.sleep(10)
        self.assertIsNone(driver.verdict)
        driver.receive(b"x")
        driver.sleep(3)
        self.assertIn("still connected and waits", driver.verdict[2])

    def test_time_outs_begin_anew_after_a_standstill(self) -> None:
        """Nobody is overdue for time during which the loop stood still."""
        driver = connected()
        driver.expect_bytes(b"x")
        driver.turn()
        self.stand_still(driver, 100.0)
        driver.sleep(4.9)
        self.assertIsNone(driver.verdict)
        driver.sleep(0.2)
        self.assertIsNotNone(driver.verdict)

    def stand_still(self, driver: Driver, duration: float) -> None:
        """For so many seconds the loop does not turn."""
        driver.now += duration
        driver.session.excuse(driver.now)
        driver.session.tick(driver.now)
        driver.perform()

    def test_standstills_without_progress_are_an_excuse_once(self) -> None:
        """A client that blocks the loop again and again is overdue as any other, and idle as any other."""
        for name, write in (("overdue", lambda d: d.expect_bytes(b"xy")), ("idle", lambda d: None)):
            with self.subTest(name):
                driver = connected(timeout=5.0, idle_timeout=5.0)
                write(driver)
                driver.turn()
                self.stand_still(driver, 6.0)
                self.assertIsNone(driver.verdict)
                self.stand_still(driver, 6.0)
                self.assertIsNotNone(driver.verdict)

    def test_standstills_with_progress_are_an_excuse_each_time_but_not_for_the_time_in_all(self) -> None:
        """What the client sends in between is progress; `within` begins anew once."""
        for within, patient in ((None, True), (8.0, False)):
            with self.subTest(within=within):
                driver = connected(timeout=5.0)
                driver.expect_bytes(b"xyz", timeout=5.0, within=within)
                driver.turn()
                self.stand_still(driver, 6.0)
                for byte in (b"x", b"y"):
                    driver.sleep(0.1)
                    driver.receive(byte)
                    self.stand_still(driver, 6.0)
                self.assertEqual(driver.verdict is None, patient)


class EndTests(unittest.TestCase):
    def test_end_of_stream_in_a_message_is_reported_at_once(self) -> None:
        """Each kind of message, cut short by a close or a reset, fails without a time-out."""
        for write in (lambda d: d.expect_bytes(bytes(4)), lambda d: d.expect_line(), lambda d: d.expect_frame(),
                      lambda d: d.expect_until(b";"), lambda d: d.expect_exactly(4)):
            for end, words in (("half_close", "before the client half-closed"),
                               ("reset_by_client", "before the client reset the connection")):
                for data in (b"", b"\0\0"):
                    driver = connected()
                    write(driver)
                    if data:
                        driver.receive(data)
                    getattr(driver, end)()
                    self.assertIn(words, driver.verdict[2])

    def test_reset_in_the_middle_of_a_write_is_reported_at_once(self) -> None:
        """It says how much the client had taken."""
        driver = connected(taking=False)
        driver.send_bytes(b"abc")
        driver.turn()
        driver.take(1)
        driver.reset_by_client()
        self.assertEqual(driver.verdict[2], "the client reset the connection when it had taken 1 of 3 bytes")

    def test_endings_are_told_apart(self) -> None:
        """A close satisfies expect_eof and expect_disconnect, a reset expect_reset, and nothing else does."""
        for method, good in (("expect_eof", "half_close"), ("expect_disconnect", "half_close"),
                             ("expect_reset", "reset_by_client")):
            for end in ("half_close", "reset_by_client"):
                driver = connected()
                getattr(driver, method)()
                getattr(driver, end)()
                self.assertEqual(driver.verdict is None, end == good, (method, end))
            driver = connected()
            getattr(driver, method)()
            driver.receive(b"x")
            self.assertIn("got 1 byte: b'x'", driver.verdict[2])

    def test_what_follows_a_disconnect_is_not_judged(self) -> None:
        """After disconnect() bytes are drained; the client's own close can be judged."""
        driver = connected()
        driver.send_eof()
        driver.disconnect()
        driver.receive(b"QUIT")
        driver.expect_disconnect()
        driver.half_close()
        self.assertIsNone(driver.verdict)
        self.assertEqual(driver.handle().wire[:2], [HALF_CLOSED, CLOSED])
        self.assertTrue(driver.session.complete)

    def test_reset_by_the_server(self) -> None:
        """reset() is the script's last step."""
        driver = connected()
        driver.send_bytes(b"x")
        driver.reset()
        driver.turn()
        self.assertEqual(driver.handle().wire, [b"x", RESET])


class ResetAfterTheEndTests(unittest.TestCase):
    """What was sent after the end of the client's stream, and was answered with a reset."""

    def test_send_is_satisfied(self) -> None:
        """It was handed over; what comes next finds the reset."""
        for following, expected in (("expect_disconnect", "expected the client to disconnect, it reset the connection"),
                                    ("send_eof", "the client reset the connection before send_eof()"),
                                    ("expect_reset", None)):
            with self.subTest(following=following):
                driver = Driver()
                driver.taking = False
                driver.expect_connect()
                driver.connect()
                driver.half_close()
                sent = driver.send_bytes(b"value")
                getattr(driver, following)()
                driver.turn()
                driver.tell(1, Flushed(driver.now, reset=True))
                self.assertTrue(sent.satisfied)
                self.assertEqual(None if driver.verdict is None else str(driver.verdict[2]), expected)

    def test_send_that_was_to_follow(self) -> None:
        """It can't be done any more."""
        driver = Driver()
        driver.taking = False
        driver.expect_connect()
        driver.connect()
        driver.half_close()
        driver.send_bytes(b"value")
        driver.turn()
        driver.send_bytes(b"more")
        driver.tell(1, Flushed(driver.now, reset=True))
        self.assertEqual(str(driver.verdict[2]), "the client reset the connection when it had taken 0 of 4 bytes")


if __name__ == "__main__":
    unittest.main()
