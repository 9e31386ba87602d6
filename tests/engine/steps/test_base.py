"""Steps as users hold them: results, status, repr, and waiting."""

from __future__ import annotations

import unittest

from tcpclient_testing.memory.host import MemoryServer, NotDone, Over


class StepTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()
        self.connect = self.server.expect_connect()

    def test_status_of_each_step(self) -> None:
        """waiting, satisfied, failed and not reached, as reports say it."""
        line = self.server.expect_line(b"a")
        end = self.server.expect_disconnect()
        self.assertEqual([step.status() for step in (self.connect, line, end)],
                         ["waiting", "not reached", "not reached"])
        self.server.connect()
        self.assertEqual([step.status() for step in (self.connect, line, end)], ["satisfied", "waiting", "not reached"])
        self.server.receive(b"b")
        self.assertEqual([step.status() for step in (self.connect, line, end)], ["satisfied", "failed", "not reached"])

    def test_repr_says_that_nobody_awaited_it(self) -> None:
        """The repr has the place, the step, its line and its state."""
        line = self.server.expect_line(b"a")
        self.assertRegex(repr(line), r"^<step 2 of connection 1: expect_line\(b'a'\) at test_base\.py:\d+, "
                                     r"not reached, not awaited>$")
        line.done()
        self.assertNotIn("not awaited", repr(line))

    def test_behaves_as_a_future(self) -> None:
        """done, result, exception and await, before and after."""
        line = self.server.expect_line()
        self.assertFalse(line.done())
        with self.assertRaises(NotDone):
            line.result()
        waiting = line.__await__()
        self.assertIs(next(waiting), line)
        self.server.connect()
        self.server.receive(b"x\r\n")
        self.assertEqual(self.server.woken, [line])
        with self.assertRaises(StopIteration) as stop:
            next(waiting)
        self.assertEqual((stop.exception.value, line.result(), line.exception(), line.done()), (b"x", b"x", None, True))

    def test_after_the_failure(self) -> None:
        """A step that never will be satisfied is done, and raises."""
        line, end = self.server.expect_line(b"a"), self.server.expect_disconnect()
        self.server.connect()
        self.server.receive(b"b")
        self.assertTrue(end.done())
        with self.assertRaises(Over):
            line.result()
        self.assertIsInstance(end.exception(), Over)
        self.assertIs(self.connect.result(), self.server.connection(1))


if __name__ == "__main__":
    unittest.main()
