"""What may be written after an expect_eof()."""

from __future__ import annotations

import unittest
from typing import Any, Callable

from tcpclient_testing.engine.framing import Netstring
from tcpclient_testing.errors import ScriptError

from .driver import Driver
from .playing import Play


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


if __name__ == "__main__":
    unittest.main()
