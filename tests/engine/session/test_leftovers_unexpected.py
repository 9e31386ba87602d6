"""Connections that no step expects are named where something else is overdue."""

from __future__ import annotations

import unittest

from tests.engine.driver import Driver
from tests.engine.playing import Play


def waiting(*, connections: int, allow_extra: bool = False) -> str:
    """Let so many clients connect where one is expected, which then keeps silent; return the verdict's text."""
    driver = Driver()
    driver.session.allow_extra = allow_extra
    driver.expect_connect()
    driver.expect_disconnect()
    for _ in range(connections):
        driver.connect()
    driver.sleep(6)
    return str(driver.verdict[2])


class UninvitedTests(unittest.TestCase):
    def test_time_out_when_the_client_has_connected_again(self) -> None:
        """Each connection is named, the first few by their address."""
        silent = "expected the client to disconnect; it is still connected and was silent for 5.0 s"
        self.assertEqual(waiting(connections=1), silent)
        self.assertEqual(waiting(connections=2), f"{silent}; meanwhile the client connected a second time "
                                                 "(127.0.0.1:50001), which no step expects")
        self.assertEqual(waiting(connections=6), f"{silent}; meanwhile the client connected 5 more times "
                                                 "(127.0.0.1:50001, 127.0.0.1:50002, 127.0.0.1:50003, ...), which no "
                                                 "step expects")

    def test_time_out_when_extra_connections_are_allowed(self) -> None:
        """What is allowed is not blamed."""
        self.assertNotIn("meanwhile", waiting(connections=2, allow_extra=True))

    def test_time_out_when_a_step_expects_the_connection(self) -> None:
        """A connection that has a script, or waits for one of any_order(), is expected."""
        driver = Driver()
        driver.expect_connect()
        driver.expect_line()
        driver.expect_connect()
        driver.connect()
        driver.connect()
        driver.sleep(6)
        self.assertNotIn("meanwhile", driver.verdict[2])

        play = Play()
        play.expect_connect()
        play.server.expect_line()
        with play.server.any_order():
            play.expect_connect()
            play.server.expect_line(b"a")
        play.connect()
        play.connect()
        play.wait(6)
        self.assertEqual(play.summary, "expected a line ending in b'\\r\\n', nothing received for 5.0 s")

    def test_time_out_when_the_third_connection_is_not_expected(self) -> None:
        """Of several that were expected and one that was not, that one is named."""
        driver = Driver()
        driver.expect_connect()
        driver.expect_connect()
        driver.expect_line()
        for _ in range(3):
            driver.connect()
        driver.sleep(6)
        self.assertIn("meanwhile the client connected once more (127.0.0.1:50002)", driver.verdict[2])

    def test_action_when_it_is_overdue(self) -> None:
        """What the server can't send has other reasons."""
        driver = Driver(taking=False)
        driver.expect_connect()
        driver.send_bytes(b"x")
        driver.connect()
        driver.connect()
        driver.sleep(6)
        self.assertNotIn("meanwhile", driver.verdict[2])

    def test_leaving_when_the_first_connection_is_open(self) -> None:
        """A client that is still connected, and has connected again, is found out when the server is left."""
        driver = Driver()
        driver.expect_connect()
        driver.connect()
        driver.connect()
        driver.session.settle(driver.now, allow_open=False, allow_extra=False)
        self.assertIn("is still connected when the server is left; meanwhile the client connected a second time",
                      driver.verdict[2])


if __name__ == "__main__":
    unittest.main()
