"""Expectations of a client that the server has stopped listening to."""

from __future__ import annotations

import unittest

from .driver import Driver


class PausedTests(unittest.TestCase):
    """What a time-out is called then."""

    def setUp(self) -> None:
        self.driver = Driver()
        self.driver.expect_connect()
        self.driver.connect()

    def verdict(self) -> str:
        """What went wrong."""
        return str(self.driver.verdict[2])

    def test_time_out_while_the_server_does_not_read(self) -> None:
        """The client is not called silent or still connected, which nobody can know."""
        for method, arguments in (("expect_line", (b"x",)), ("expect_bytes", (b"x",)), ("expect_disconnect", ()),
                                  ("expect_reset", ())):
            self.setUp()
            self.driver.pause_reading()
            step = getattr(self.driver, method)(*arguments)
            with self.subTest(method=method):
                self.driver.sleep(6)
                self.assertRegex(self.verdict(), r"^expect_.* was not satisfied for 5\.0 s, but the server has stopped "
                                                 r"reading \(pause_reading\(\), .*test_paused\.py:[0-9]+\) and sees "
                                                 r"nothing of the client: resume_reading\(\) has to come first$")
                self.assertIn(str(step), self.verdict())

    def test_what_came_before(self) -> None:
        """It may satisfy an expectation."""
        self.driver.receive(b"x")
        self.driver.pause_reading()
        self.assertTrue(self.driver.expect_bytes(b"x").satisfied)

    def test_time_out_when_the_server_reads_again(self) -> None:
        """The client is late then."""
        self.driver.pause_reading()
        self.driver.resume_reading()
        self.driver.expect_disconnect()
        self.driver.sleep(6)
        self.assertIn("it is still connected and was silent for 5.0 s", self.verdict())

    def test_leaving_while_the_server_does_not_read(self) -> None:
        """Whether the client has disconnected can't be told either."""
        self.driver.pause_reading()
        self.driver.session.settle(self.driver.now, allow_open=False, allow_extra=False)
        self.assertRegex(self.verdict(), r"the server is left and has not seen the client disconnect: the server has "
                                         r"stopped reading \(pause_reading\(\), .*test_paused\.py:[0-9]+\)$")


if __name__ == "__main__":
    unittest.main()
