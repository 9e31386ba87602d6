"""Sessions: which step waits for which across connections, misuse, and what is left at the end."""

from __future__ import annotations

import random
import unittest
from typing import Any

from tcpclient_testing.errors import ScriptError
from tests.engine.driver import Driver


class WritingTests(unittest.TestCase):
    def test_script_that_is_written_while_the_client_talks(self) -> None:
        """Whenever a step is written, before the client has done it, meanwhile or after, it has the same outcome."""
        for seed in range(200):
            with self.subTest(seed=seed):
                self.write_and_talk(random.Random(seed))

    def write_and_talk(self, rng: random.Random) -> None:
        """Write the steps of a script and do what it says, both in order, but now the one, now the other."""
        messages = [rng.choice([b"a", b"bc", b"def"]) for _ in range(rng.randrange(1, 20))]
        replies = rng.random() < 0.5  # without them, it is known at each moment what has to be satisfied
        driver = Driver()
        driver.expect_connect()
        talk: list[Any] = [b"".join(messages)]
        while rng.random() < 0.9 and len(talk[-1]) > 1:
            cut = rng.randrange(1, len(talk[-1]))
            talk[-1:] = [talk[-1][:cut], talk[-1][cut:]]
        talk.insert(0, None)
        steps, sent, came = [], b"", 0
        while len(steps) < len(messages) or talk:
            if talk and (len(steps) == len(messages) or rng.random() < 0.3):
                data = talk.pop(0)
                if data is None:
                    driver.connect()
                else:
                    driver.receive(data)
                    came += len(data)
            else:
                steps.append(driver.expect_bytes(messages[len(steps)]))
                if replies and rng.random() < 0.3:
                    driver.send_bytes(b"r%d" % len(steps))
                    sent += b"r%d" % len(steps)
            if not replies:
                self.assertEqual([step.satisfied for step in steps],
                                 [len(b"".join(messages[:index + 1])) <= came for index in range(len(steps))])
        driver.turn()
        self.assertEqual([step.result() for step in steps], messages)
        self.assertEqual((driver.verdict, driver.session.complete, driver.handle(1).sent), (None, True, sent))


class OrderAcrossConnectionsTests(unittest.TestCase):
    def test_reconnect_waits_for_the_server_level_step_before(self) -> None:
        """A connection that comes before its turn waits; its bytes are judged when the turn comes."""
        driver = Driver()
        driver.expect_connect()
        driver.expect_disconnect()
        again = driver.expect_connect()
        line = driver.expect_line()
        driver.connect()
        driver.connect()
        driver.receive(b"x\r\n", 2)
        self.assertFalse(again.satisfied)
        self.assertEqual(again.status(), "not reached")
        driver.half_close(1)
        self.assertEqual((again.satisfied, line.result()), (True, b"x"))

    def test_handles_run_side_by_side(self) -> None:
        """Steps that are written through a connection's handle wait for that connection alone."""
        driver = Driver()
        driver.expect_connect()
        driver.expect_connect()
        one = driver.handle(1).expect_line()
        two = driver.handle(2).expect_line()
        driver.connect()
        driver.connect()
        driver.receive(b"b\r\n", 2)
        self.assertEqual((one.satisfied, two.result()), (False, b"b"))

    def test_chain_of_thousands_of_connections(self) -> None:
        """Connections that all came early are worked off in one go, however many."""
        driver = Driver()
        count = 3000
        for _ in range(count):
            driver.expect_connect()
            driver.expect_disconnect()
        for _ in range(count):
            driver.connect()
        for number in range(count, 0, -1):
            driver.half_close(number)
        self.assertTrue(driver.session.complete)

    def test_hold_until_a_step(self) -> None:
        """A hold ends with the other connection's step, or at once; the step after the hold is not skipped."""
        driver = Driver()
        first = driver.expect_connect()
        driver.expect_connect()
        line = driver.handle(1).expect_line()
        driver.handle(2).hold_until(line)
        reply = driver.handle(2).send_bytes(b"go")
        driver.connect()
        driver.connect()
        driver.turn()
        self.assertEqual(driver.handle(2).wire, [])
        driver.receive(b"x\r\n", 1)
        self.assertEqual((driver.handle(2).wire, reply.satisfied), ([b"go"], True))
        driver.handle(2).hold_until(first)
        after = driver.handle(2).expect_bytes(b"y")
        self.assertFalse(after.satisfied)


class MisuseTests(unittest.TestCase):
    def test_script_begins_with_expect_connect(self) -> None:
        """Any other step first is a ScriptError, on the server and on a connection."""
        driver = Driver()
        with self.assertRaisesRegex(ScriptError, "every script begins with expect_connect"):
            driver.send_bytes(b"x")
        driver.connect()
        with self.assertRaisesRegex(ScriptError, "every script begins with expect_connect"):
            driver.handle(1).expect_eof()

    def test_nothing_follows_the_end(self) -> None:
        """After a last step another is a ScriptError that says what may follow."""
        for method, allowed in (("disconnect", True), ("reset", False), ("expect_disconnect", False),
                                ("expect_reset", False)):
            driver = Driver()
            driver.expect_connect()
            getattr(driver, method)()
            with self.assertRaisesRegex(ScriptError, "only expect_disconnect" if allowed else "none may follow"):
                driver.send_bytes(b"x")

    def test_arguments_are_checked_at_the_line(self) -> None:
        """str, emptiness and times that can't be are refused before anything runs."""
        driver = Driver()
        driver.expect_connect()
        for error, call in (
            (TypeError, lambda: driver.expect_bytes("x")),
            (ValueError, lambda: driver.expect_bytes(b"")),
            (TypeError, lambda: driver.send_bytes(None)),
            (TypeError, lambda: driver.send_line("x")),
            (ValueError, lambda: driver.expect_until(b"")),
            (ValueError, lambda: driver.expect_line(ending=b"")),
            (ValueError, lambda: driver.expect_eof(timeout=-1)),
            (TypeError, lambda: driver.expect_eof(timeout="1")),
            (ValueError, lambda: driver.delay(float("nan"))),
            (TypeError, lambda: driver.delay(None)),
            (ValueError, lambda: driver.expect_silence(0)),
            (ValueError, lambda: driver.expect_connect(after=2, within=1)),
            (TypeError, lambda: driver.hold_until("x")),
            (TypeError, lambda: driver.expect_frame(framing=4)),
            (ValueError, lambda: driver.expect_exactly(-1)),
            (TypeError, lambda: driver.expect_exactly(3, b"abc", keep=False)),
        ):
            with self.assertRaises(error):
                call()
        self.assertEqual(len(driver.session.conversations[0].steps), 1)


    def test_nothing_is_sent_after_the_end_of_the_stream(self) -> None:
        """Once the server has half-closed it can expect, but not send, however far back its send_eof() is."""
        for between in (0, 1, 3):
            with self.subTest(between=between):
                driver = Driver()
                driver.expect_connect()
                driver.send_eof()
                for _ in range(between):
                    driver.expect_bytes(b"a")
                with self.assertRaisesRegex(ScriptError, r"send_line\(b'x'\) comes after send_eof\(\) on connection 1"):
                    driver.send_line(b"x")
                driver.expect_disconnect()

    def test_block_of_the_server_begins_with_a_connection(self) -> None:
        """The server's any_order() holds connections; a message in it is a ScriptError that names the other one."""
        for many in (False, True):
            with self.subTest(many=many):
                driver = Driver()
                driver.expect_connect()
                if many:
                    driver.expect_bytes(b"a")
                    driver.expect_bytes(b"b")
                driver.session.open_pool(driver.now)
                with self.assertRaisesRegex(ScriptError, "use any_order.. of expect_connect...connection"):
                    driver.expect_line(b"x")

    def test_message_that_can_never_come_is_refused(self) -> None:
        """A line with its ending in it is refused where it is written."""
        driver = Driver()
        driver.expect_connect()
        for words, call in (
            (r"expect_line\(b'a.*'\) can never be met: a line is given without", lambda: driver.expect_line(b"a\r\n")),
            (r"expect_until\(b';', b'a;b'\) can never be met: .* without", lambda: driver.expect_until(b";", b"a;b")),
            (r"send_line\(line\): a line is given without", lambda: driver.send_line(b"a\r\n")),
        ):
            with self.subTest(words=words), self.assertRaisesRegex(ValueError, words):
                call()
        driver.expect_line(b"a\r\n", ending=b"\0")
        self.assertEqual(len(driver.session.conversations[0].steps), 2)


class SettlingTests(unittest.TestCase):
    def settled(self, driver: Driver, *, allow_open: bool = False, allow_extra: bool = False) -> str:
        """Leave the server; return the verdict's text, or nothing."""
        driver.session.settle(driver.now, allow_open=allow_open, allow_extra=allow_extra)
        return driver.verdict[2] if driver.verdict else ""

    def test_what_no_step_explains_is_judged(self) -> None:
        """Bytes, connections and clients that stay, each unless permitted."""
        def extra_bytes() -> Driver:
            driver = Driver()
            driver.expect_connect()
            driver.connect()
            driver.receive(b"more")
            return driver

        def extra_connection() -> Driver:
            driver = extra_bytes()
            driver.expect_bytes(b"more")
            driver.connect()
            return driver
        self.assertIn("sent 4 more bytes: b'more'", self.settled(extra_bytes()))
        self.assertIn("still connected when the server is left", self.settled(extra_bytes(), allow_extra=True))
        self.assertEqual(self.settled(extra_bytes(), allow_extra=True, allow_open=True), "")
        self.assertIn("connected twice, but the script expects 1", self.settled(extra_connection(), allow_open=True))


if __name__ == "__main__":
    unittest.main()
