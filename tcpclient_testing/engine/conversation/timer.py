"""Which step of a conversation is due, and since when."""

from __future__ import annotations

from typing import Any, Optional

from tcpclient_testing.engine.steps.base import Step

__all__ = ["Timer"]

__unittest = True


class Timer:
    """The due step of one connection. All times are in seconds of the clock.

    - `due`: the step whose turn it is; `turn`: since when its time-outs count; `began`: when its turn began
    - `alarm_at`: when its `timer_fired` is called; None if it has asked for nothing
    - `excused`, `excused_at`: the last step whose time-outs were restarted because the event loop had been blocked, and
      when that was
    """

    __slots__ = ("due", "turn", "began", "alarm_at", "excused", "excused_at")

    def __init__(self) -> None:
        self.due: Optional[Step[Any]] = None
        self.turn = 0.0
        self.began = 0.0
        self.alarm_at: Optional[float] = None
        self.excused: Optional[Step[Any]] = None
        self.excused_at = 0.0

    def give_turn(self, step: Step[Any], now: float) -> None:
        """It is the turn of `step` from `now` on."""
        self.due = step
        self.turn = self.began = now
        self.alarm_at = None

    def count_from(self, step: Step[Any], turn: float) -> None:
        """It is the turn of `step`, and its time-outs count from `turn` on."""
        self.due = step
        self.turn = turn

    def clear(self) -> None:
        """It is no step's turn."""
        self.due = None

    def alarm(self, at: Optional[float]) -> None:
        """Call the due step's `timer_fired` at this time; None is never."""
        self.alarm_at = at

    def shift(self, seconds: float) -> None:
        """The clock was set: put the alarm off by so many seconds."""
        if self.alarm_at is not None:
            self.alarm_at += seconds

    def restart(self, now: float) -> None:
        """Let the time-outs count from `now` on."""
        self.turn = now

    def excuse(self, progress: float, now: float) -> Optional[bool]:
        """The event loop was blocked until `now`; the last progress was at `progress`. Say what to restart.

        The first time for a step, True: restart all of its time-outs. After that only `timeout`, and only if there was
        progress since the last restart: False. Otherwise nothing: None.
        """
        first = self.excused is not self.due
        if not first and progress <= self.excused_at:
            return None
        self.excused, self.excused_at = self.due, now
        return first
