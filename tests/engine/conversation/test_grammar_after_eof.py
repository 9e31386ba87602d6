"""What may be written after an expect_eof()."""

from __future__ import annotations

import unittest
from typing import Any, Callable

from tcpclient_testing.engine.conversation.events import Reset
from tcpclient_testing.engine.framing.netstring import Netstring
from tcpclient_testing.errors import ScriptError
from tests.engine.driver import Driver
from tests.engine.playing import Play


def after_eof() -> Driver:
    """A script in which the client has to end its stream."""
    driver = Driver()
    driver.expect_connect()
    driver.expect_eof()
    return driver


class AfterEofTests(unittest.TestCase):
    def test_what_takes_bytes_is_refused(self) -> None:
        """Whatever the client would have to say, it can't any more; a second end of its stream isn't one either."""
        write: tuple[Callable[[Driver], Any], ...] = (
            lambda driver: driver.expect_bytes(b"x"), lambda driver: driver.expect_line(),
            lambda driver: driver.expect_until(b";"), lambda driver: driver.expect_exactly(2),
            lambda driver: driver.expect_frame(), lambda driver: driver.expect_frame(framing=Netstring()),
            lambda driver: driver.expect_silence(1), lambda driver: driver.expect_eof(),
        )
        for each in write:
            for between in (0, 1, 3):
                driver = after_eof()
                for _ in range(between):
                    driver.send_bytes(b"a")
                with self.subTest(between=between), self.assertRaisesRegex(
                        ScriptError, r"comes after expect_eof\(\) on connection 1, with which the client has ended its "
                                     "stream: nothing can come any more"):
                    each(driver)
                self.assertEqual(len(driver.session.conversations[0].steps), 2 + between)

    def test_end_of_stream_when_it_was_written_on_the_connection(self) -> None:
        """What the server's own steps add to the same script is checked after it, too; likewise after a send_eof()."""
        for method, write in (("expect_eof", "expect_line"), ("send_eof", "send_line")):
            driver = Driver()
            driver.expect_connect()
            driver.expect_line()
            driver.expect_line()
            getattr(driver.handle(), method)()
            with self.subTest(method=method), self.assertRaisesRegex(ScriptError, rf"comes after {method}\(\)"):
                getattr(driver, write)(b"x")

    def test_what_takes_none_is_not(self) -> None:
        """Actions, the ends of the connection, a message without a byte, and other connections may follow."""
        driver = after_eof()
        driver.send_bytes(b"x")
        driver.delay(0.1)
        driver.expect_exactly(lambda _: 0)
        driver.expect_disconnect()
        driver.expect_connect()
        driver.expect_line()
        for last in ("expect_reset", "reset", "disconnect", "start_tls"):
            getattr(after_eof(), last)()
        self.assertEqual([len(each.steps) for each in driver.session.conversations], [6, 2])
        driver.connect()
        driver.half_close()
        driver.sleep(1)
        self.assertTrue(driver.session.conversations[0].complete)

    def test_block_of_messages_is_refused(self) -> None:
        """A message in any_order() would have to come in some order, too."""
        handle: Any = Play().expect_connect()
        handle.expect_eof()
        with self.assertRaisesRegex(ScriptError, r"comes after expect_eof\(\)"), handle.any_order():
            handle.expect_line()

    def test_step_that_was_refused_itself_forbids_nothing(self) -> None:
        """An expect_eof() that has no place where it was written leaves no trace."""
        handle: Any = Play().expect_connect()
        with handle.any_order():
            with self.assertRaises(ScriptError):
                handle.expect_eof()
            handle.expect_line()


class ResetAfterEofTests(unittest.TestCase):
    def watched(self, *between: str) -> Driver:
        """A client that has ended its stream, and shall reset the connection after these steps."""
        driver = after_eof()
        driver.connect()
        for method in between:
            getattr(driver, method)()
        driver.expect_reset()
        driver.half_close()
        driver.turn()
        return driver

    def test_reset_that_comes_later(self) -> None:
        """It is waited for, once; the end of the stream alone is none."""
        driver = self.watched()
        self.assertEqual((driver.watched, driver.verdict), ([driver.session.conversations[0]], None))
        driver.sleep(4)
        driver.reset_by_client()
        self.assertTrue(driver.session.complete)

    def test_reset_that_does_not_come(self) -> None:
        """It is overdue like any step."""
        driver = self.watched()
        driver.sleep(9)
        self.assertEqual(driver.verdict[2], "expected the client to reset the connection; it half-closed, and sent no "
                                            "reset for 5.0 s")

    def test_reset_that_can_not_come_any_more(self) -> None:
        """Once both streams have ended, there is none: nobody waits for it."""
        for method in ("send_eof", "disconnect"):
            driver = self.watched(method)
            self.assertEqual((driver.watched, driver.verdict[2]),
                             ([], "expected the client to reset the connection, it half-closed"))

    def test_half_close_and_reset_that_are_one(self) -> None:
        """They satisfy both steps, in either order of script and client; a reset alone does not."""
        for early in (False, True):
            for after_fin in (True, False):
                driver = Driver()
                driver.expect_connect()
                driver.connect()
                if early:
                    driver.tell(1, Reset(0.0, after_fin=after_fin))
                driver.expect_eof()
                if early and not after_fin:
                    self.assertRegex(driver.verdict[2], "^expected the client to end its stream, it reset")
                    continue
                driver.expect_reset()
                if not early:
                    driver.tell(1, Reset(0.0, after_fin=after_fin))
                self.assertEqual(driver.session.complete, after_fin)
                self.assertEqual(driver.verdict is None, after_fin)

    def test_reset_that_the_script_does_not_expect(self) -> None:
        """The step that follows tells, or the end of the script."""
        for method, index in (("expect_disconnect", 2), ("send_eof", 2), ("", 1)):
            driver = Driver()
            driver.expect_connect()
            driver.connect()
            driver.tell(1, Reset(0.0, after_fin=True))
            driver.expect_eof()
            if method:
                getattr(driver, method)()
            driver.turn()
            driver.session.settle(0.0, allow_open=False, allow_extra=False)
            with self.subTest(method=method):
                self.assertEqual(driver.verdict[1], index)
                self.assertIn("reset", driver.verdict[2])


if __name__ == "__main__":
    unittest.main()
