"""Runs of exact expectations: which step a byte belongs to, however the bytes come."""

from __future__ import annotations

import unittest

from tests.engine.driver import Driver


class ExactRunTests(unittest.TestCase):
    def run_of(self, *pieces: bytes, data: tuple[bytes, ...] = (b"ab", b"cde", b"f")) -> Driver:
        """Expect `data` step by step, and receive the pieces."""
        driver = Driver()
        driver.expect_connect()
        for each in data:
            driver.expect_bytes(each)
        driver.connect()
        for piece in pieces:
            driver.receive(piece)
        return driver

    def test_cursor_follows_the_bytes(self) -> None:
        """Each byte moves the script to the step that it belongs to."""
        for count, cursor in enumerate((1, 1, 2, 2, 2, 3, 4)):
            self.assertEqual(self.run_of(b"abcdef"[:count]).session.conversations[0].cursor, cursor)

    def test_difference_is_told_of_its_step(self) -> None:
        """The step and the offset are those of the byte that differs, for every split."""
        for split in range(6):
            driver = self.run_of(b"abcdXf"[:split], b"abcdXf"[split:])
            self.assertEqual(driver.verdict[:2], (1, 2))
            failure = driver.session.failure
            assert failure is not None
            self.assertEqual(failure.mismatch.offset, 2)

    def test_own_time_out_ends_a_run(self) -> None:
        """A step with a time-out of its own is compared alone, and is overdue by it."""
        driver = Driver()
        driver.expect_connect()
        driver.expect_bytes(b"a")
        driver.expect_bytes(b"b", timeout=1.0)
        driver.expect_bytes(b"c")
        driver.connect()
        driver.receive(b"a")
        driver.sleep(1.1)
        self.assertEqual(driver.verdict[:2], (1, 2))

    def test_thousands_of_steps(self) -> None:
        """A run that is longer than what is joined at once goes on after it."""
        driver = self.run_of(b"xyz" * 4000, data=(b"x", b"y", b"z") * 4000)
        self.assertTrue(driver.session.complete)


if __name__ == "__main__":
    unittest.main()
