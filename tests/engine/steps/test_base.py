"""Steps as users hold them: results, status, repr, and waiting."""

from __future__ import annotations

import unittest

from tests.engine.driver import Driver, NotDone, Over


class StepTests(unittest.TestCase):
    def setUp(self) -> None:
        self.driver = Driver()
        self.connect = self.driver.expect_connect()

    def test_status_of_each_step(self) -> None:
        """waiting, satisfied, failed and not reached, as reports say it."""
        line = self.driver.expect_line(b"a")
        end = self.driver.expect_disconnect()
        self.assertEqual([step.status() for step in (self.connect, line, end)],
                         ["waiting", "not reached", "not reached"])
        self.driver.connect()
        self.assertEqual([step.status() for step in (self.connect, line, end)], ["satisfied", "waiting", "not reached"])
        self.driver.receive(b"b")
        self.assertEqual([step.status() for step in (self.connect, line, end)], ["satisfied", "failed", "not reached"])

    def test_repr_says_that_nobody_awaited_it(self) -> None:
        """The repr has the place, the step, its line and its state."""
        line = self.driver.expect_line(b"a")
        self.assertRegex(repr(line), r"^<step 2 of connection 1: expect_line\(b'a'\) at test_base\.py:\d+, "
                                     r"not reached, not awaited>$")
        line.done()
        self.assertNotIn("not awaited", repr(line))

    def test_behaves_as_a_future(self) -> None:
        """done, result, exception and await, before and after."""
        line = self.driver.expect_line()
        self.assertFalse(line.done())
        with self.assertRaises(NotDone):
            line.result()
        waiting = line.__await__()
        self.assertIs(next(waiting), line)
        self.driver.connect()
        self.driver.receive(b"x\r\n")
        self.assertEqual(self.driver.woken, [line])
        with self.assertRaises(StopIteration) as stop:
            next(waiting)
        self.assertEqual((stop.exception.value, line.result(), line.exception(), line.done()), (b"x", b"x", None, True))

    def test_after_the_failure(self) -> None:
        """A step that never will be satisfied is done, and raises."""
        line, end = self.driver.expect_line(b"a"), self.driver.expect_disconnect()
        self.driver.connect()
        self.driver.receive(b"b")
        self.assertTrue(end.done())
        with self.assertRaises(Over):
            line.result()
        self.assertIsInstance(end.exception(), Over)
        self.assertIs(self.connect.result(), self.driver.handle(1))


if __name__ == "__main__":
    unittest.main()
