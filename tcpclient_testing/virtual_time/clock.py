"""Makes virtual time pass: a clock that can jump, and the selector that decides when it may.

The rules of virtual time are documented with `VirtualClockEventLoop`, the loop that uses both. A loop asks its selector
to wait for sockets until the next timer is due. This is the only place where a loop waits, so it is the only place
where waiting can be skipped.
"""

from __future__ import annotations

import selectors
import sys
import time
from collections.abc import Mapping
from typing import Any, Optional, Protocol

from tcpclient_testing.aio.process.quiescence import held_back

__all__ = ["DecidingSelector", "VirtualClock"]

__unittest = True

_Events = list[tuple[selectors.SelectorKey, int]]

# Linux delivers over the loopback interface within the system call that sends. Elsewhere a kernel thread does it.
DEFAULT_GRACE = 0.0 if sys.platform == "linux" else 0.01
# How long to wait for data that a socket holds back (seconds): a delayed acknowledgement takes 40 ms, a retransmission
# 200 ms.
_KERNEL_PATIENCE = 0.25
# Seconds between two checks of whether the last thread or child has ended: at first, and at most.
_SHORTEST_LOOK, _LONGEST_LOOK = 0.001, 0.02
_LOOK_OUT = 0.004  # the maximum while a task is in `VirtualClockEventLoop.wait_until`
# After this many iterations and this many seconds without being quiet, a loop counts as one that never becomes quiet.
# Callbacks that only call one another get less time than a conversation that goes on.
_BUSY_TURNS, _SPINNING_SECONDS, _TALKING_SECONDS = 1000, 1.0, 10.0


class VirtualClock:
    """A clock that stands still, runs at the pace of real time, or jumps forward. It never goes back.

    `_standing` is the time while the clock stands still; `_offset` is None then. While the clock runs, the time is
    `time.monotonic()` plus `_offset`.
    """

    __slots__ = ("_standing", "_offset", "start")

    def __init__(self) -> None:
        # Start at a whole second near real time: sums of ordinary delays are then exact, and code that takes 0 for
        # "long ago" still works.
        self.start = self._standing = float(int(time.monotonic()))
        self._offset: Optional[float] = None

    def time(self) -> float:
        """Return the time, in seconds. Any thread may call this."""
        offset = self._offset  # read once: in another thread than the loop's, it may change in between
        return self._standing if offset is None else time.monotonic() + offset

    def flow(self) -> None:
        """Run at the pace of real time, from the present time on."""
        if self._offset is None:
            self._offset = self._standing - time.monotonic()

    def stand_still(self) -> None:
        """Stop at the present time."""
        if self._offset is not None:
            self._standing = max(self._standing, self.time())
            self._offset = None

    def jump(self, when: float) -> None:
        """Stop at the time `when`, or at the present time if that is later."""
        self.stand_still()
        self._standing = max(self._standing, when)


class WaitingLoop(Protocol):
    """What the selector needs from its loop."""

    def why_real(self) -> Optional[str]:
        """Return the reason why time is real; None if time may jump."""

    def _really_waited(self, reason: str, seconds: float) -> None:
        """Record that the loop has waited for a timer in real time: the reason, and for how many seconds."""

    def _next_timer(self) -> Optional[float]:
        """Return the time of the next timer, or None."""

    def _work_is_ready(self) -> bool:
        """Return whether the loop has something to do besides waiting."""

    def _sockets(self) -> list[int]:
        """Return the descriptors of the loop's sockets, registered with the selector or not."""

    def _real_timer_in(self) -> Optional[float]:
        """Call what is due in real time; return in how many real seconds the next of these is due, or None."""

    def _polls_conditions(self) -> bool:
        """Return whether something is awaited that can't wake the selector; if so, poll `_work_is_ready()`."""


class DecidingSelector(selectors.BaseSelector):
    """Wraps the selector of a loop, and decides each time the loop would wait: wait in real time, or jump.

    The order of the checks matters: first which threads and children are alive, then the sockets. What a thread or a
    child did before it ended is then visible in the sockets (a call from another thread writes to the loop's own pipe).
    In the other order, it could act and end between the two checks.
    """

    def __init__(self, inner: selectors.BaseSelector, loop: WaitingLoop, clock: VirtualClock, grace: float) -> None:
        self._inner = inner
        self._loop = loop
        self._clock = clock
        self._grace = grace
        self.graced = 0.0  # seconds of real time that have gone by in graces
        self._stuck: tuple[tuple[int, int, int], ...] = ()
        self._busy_turns = 0
        self._busy_since = 0.0
        self._patience = _SPINNING_SECONDS

    def select(self, timeout: Optional[float] = None) -> _Events:
        """Wait until a socket is ready or the loop's next timer is due, in real time or by a jump."""
        self._loop._real_timer_in()
        if timeout is not None and timeout <= 0:  # callbacks are ready, or a timer is due
            self._stand_still_or_flow(self._loop.why_real() is not None)
            self._loop._work_is_ready()
            return self._busy(self._inner.select(0))
        when = self._loop._next_timer()
        look = _SHORTEST_LOOK
        while True:
            reason = self._loop.why_real()
            self._stand_still_or_flow(reason is not None)
            if reason is None:
                events = self._poll()
                if events or self._loop._work_is_ready():
                    return self._busy(events)
            self._busy_turns = 0
            if when is None:
                self._clock.flow()
                wait = self._loop._real_timer_in()
                if self._loop._polls_conditions():
                    wait = look if wait is None else min(look, wait)
                events = self._inner.select(wait)
                self._loop._real_timer_in()
                if events or self._loop._work_is_ready():
                    return events
                look = self._longer(look)
                continue
            if reason is None:
                self._clock.jump(when)
                return []
            # The end of a thread or a process doesn't wake the selector: check again now and then.
            began = time.monotonic()
            events = self._inner.select(min(max(0.0, when - self._clock.time()), look))
            self._loop._really_waited(reason, time.monotonic() - began)
            self._loop._real_timer_in()
            if events or self._clock.time() >= when or self._loop._work_is_ready():
                return events
            look = self._longer(look)

    def _longer(self, look: float) -> float:
        return min(2 * look, _LOOK_OUT if self._loop._polls_conditions() else _LONGEST_LOOK)

    def _poll(self) -> _Events:
        """Return the ready sockets without waiting, or waiting only as long as the system needs for delivery."""
        while True:
            events = self._inner.select(self._grace)
            if self._grace and not events:
                self.graced += self._grace
            stuck = () if events else self._held_back()
            if not stuck or stuck == self._stuck:
                self._stuck = stuck
                return events
            events = self._inner.select(_KERNEL_PATIENCE)
            self._stuck = () if events else stuck  # wait for it only once: if nothing has changed by now, nothing will
            if events:
                return events

    def _held_back(self) -> tuple[tuple[int, int, int], ...]:
        return held_back({key.fd for key in self._inner.get_map().values()}.union(self._loop._sockets()))

    def _stand_still_or_flow(self, real: bool) -> None:
        if real or self._never_quiet():
            self._clock.flow()
        else:
            self._clock.stand_still()

    def _busy(self, events: _Events) -> _Events:
        if not self._busy_turns:
            self._busy_since = time.monotonic()
            self._patience = _SPINNING_SECONDS
        self._busy_turns += 1
        if events:
            self._patience = _TALKING_SECONDS
        return events

    def _never_quiet(self) -> bool:
        # Count iterations as well as seconds: a single callback may compute for a second, or stop in a debugger.
        return self._busy_turns > _BUSY_TURNS and time.monotonic() - self._busy_since > self._patience

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a socket."""
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket for other events."""
        return self._inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the registration of a socket."""
        return self._inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return all registrations."""
        return self._inner.get_map()

    def close(self) -> None:
        """Close the wrapped selector."""
        self._inner.close()
