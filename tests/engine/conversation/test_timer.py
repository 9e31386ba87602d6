"""The clock of a conversation: which step is due, and since when."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.conversation.timer import Timer
from tcpclient_testing.engine.steps.base import TimedStep


def step() -> TimedStep:
    """A step that nobody asks anything."""
    return TimedStep(1.0, ())


class TimerTests(unittest.TestCase):
    def setUp(self) -> None:
        self.timer = Timer()
        self.one, self.two = step(), step()

    def test_turn_when_it_is_given(self) -> None:
        """It begins then, for time-outs and for the step itself, and the alarm of the step before is off."""
        self.timer.give_turn(self.one, 1.0)
        self.timer.alarm(9.0)
        self.timer.give_turn(self.two, 2.0)
        self.assertIs(self.timer.due, self.two)
        self.assertEqual((self.timer.turn, self.timer.began, self.timer.alarm_at), (2.0, 2.0, None))

    def test_turn_when_time_outs_count_from_earlier(self) -> None:
        """Only the time-outs do: the step's own beginning is another matter."""
        self.timer.give_turn(self.one, 5.0)
        self.timer.count_from(self.one, 1.0)
        self.assertEqual((self.timer.turn, self.timer.began), (1.0, 5.0))

    def test_turn_when_it_is_restarted(self) -> None:
        """The time-outs count from then; the alarm stays where it was."""
        self.timer.give_turn(self.one, 1.0)
        self.timer.alarm(4.0)
        self.timer.restart(3.0)
        self.assertEqual((self.timer.turn, self.timer.began, self.timer.alarm_at), (3.0, 1.0, 4.0))

    def test_turn_when_it_is_nobodys(self) -> None:
        """No step is due any more."""
        self.timer.give_turn(self.one, 1.0)
        self.timer.clear()
        self.assertIsNone(self.timer.due)

    def test_alarm_when_the_clock_is_set(self) -> None:
        """It is put off by as much; where there is none, none comes into being."""
        self.timer.shift(10.0)
        self.assertIsNone(self.timer.alarm_at)
        self.timer.alarm(2.0)
        self.timer.shift(10.0)
        self.assertEqual(self.timer.alarm_at, 12.0)

    def test_excuse_when_the_loop_is_blocked_again_and_again(self) -> None:
        """The first time all time-outs restart; later only `timeout`, and only if there was progress between."""
        self.timer.give_turn(self.one, 0.0)
        self.assertEqual([self.timer.excuse(progress, now) for progress, now in (
            (0.0, 1.0), (0.0, 2.0), (1.0, 3.0), (1.5, 4.0), (1.5, 5.0), (4.5, 6.0))],
            [True, None, None, False, None, False])

    def test_excuse_when_it_is_another_steps_turn(self) -> None:
        """Each step is excused in full once."""
        self.timer.give_turn(self.one, 0.0)
        self.timer.excuse(0.0, 1.0)
        self.timer.give_turn(self.two, 2.0)
        self.assertEqual([self.timer.excuse(0.0, 3.0), self.timer.excuse(0.0, 4.0)], [True, None])


if __name__ == "__main__":
    unittest.main()
