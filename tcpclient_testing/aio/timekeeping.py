"""How virtual time passes: a clock that can jump, and the selector that decides when it may.

The rules are in `clock.py`, where the loop is. A loop asks its selector to wait for sockets until the next timer is
due; this is the one place where a loop waits, so it is the one place where waiting can be left out.
"""

from __future__ import annotations

import selectors
import sys
import time
from collections.abc import Mapping
from typing import Any, Optional, Protocol

from .quiet import held_back

__all__ = ["DecidingSelector", "VirtualClock"]

__unittest = True

_Events = list[tuple[selectors.SelectorKey, int]]

# Linux delivers over the loopback interface within the system call that sends. Elsewhere a kernel thread does it.
DEFAULT_GRACE = 0.0 if sys.platform == "linux" else 0.01
_KERNEL_PATIENCE = 0.25  # for data that a socket holds back: a delayed acknowledgement 40 ms, a retransmission 200 ms
_SHORTEST_LOOK, _LONGEST_LOOK = 0.001, 0.02  # how often is looked whether the last thread or child has ended
_LOOK_OUT = 0.004  # how often at least, where somebody waits for that (see `VirtualClockEventLoop.wait_until`)
# Beyond so many turns and so many seconds without being quiet, a loop counts as one that never will be. Callbacks
# alone that call one another get less of it than a conversation that goes on and on.
_BUSY_TURNS, _SPINNING_SECONDS, _TALKING_SECONDS = 1000, 1.0, 10.0


class VirtualClock:
    """A time that stands still, flows as real time does, or jumps forward; never back.

    `_standing` is the time while it stands; `_offset` is None then. While it flows, time is `time.monotonic()`
    plus `_offset`.
    """

    __slots__ = ("_standing", "_offset", "start")

    def __init__(self) -> None:
        # A whole second near real time: sums of ordinary delays are then exact, and code that takes 0 for
        # "long ago" works as ever.
        self.start = self._standing = float(int(time.monotonic()))
        self._offset: Optional[float] = None

    def time(self) -> float:
        """Give the time, in seconds. Any thread may ask."""
        offset = self._offset  # read once: other threads ask too
        return self._standing if offset is None else time.monotonic() + offset

    def flow(self) -> None:
        """Let time pass as real time does, from where it stands."""
        if self._offset is None:
            self._offset = self._standing - time.monotonic()

    def stand_still(self) -> None:
        """Stop time where it is."""
        if self._offset is not None:
            self._standing = max(self._standing, self.time())
            self._offset = None

    def jump(self, when: float) -> None:
        """Stop time at `when`, or where it is if that is later."""
        self.stand_still()
        self._standing = max(self._standing, when)


class WaitingLoop(Protocol):
    """What the selector has to know of its loop."""

    def why_real(self) -> Optional[str]:
        """Say why time is real, or return None where it may jump."""

    def _really_waited(self, reason: str, seconds: float) -> None:
        """Note that a timer was waited for in real time, and why."""

    def _next_timer(self) -> Optional[float]:
        """Give the time of the next timer, or None."""

    def _work_is_ready(self) -> bool:
        """Tell whether the loop has something to do besides waiting."""

    def _sockets(self) -> list[int]:
        """List descriptors of sockets, registered or not."""

    def _looks_out(self) -> bool:
        """Tell whether something is waited for that wakes nobody; ask `_work_is_ready()` now and then."""


class DecidingSelector(selectors.BaseSelector):
    """Wraps the selector of a loop, and decides each time the loop would wait: wait really, or jump.

    The order of looking matters. First who lives, then the sockets: what a thread or a child did before it ended
    is then in the sockets (a call from another thread writes to the loop's own pipe). The other way round, it could
    act and end between the two looks.
    """

    def __init__(self, inner: selectors.BaseSelector, loop: WaitingLoop, clock: VirtualClock, grace: float) -> None:
        self._inner = inner
        self._loop = loop
        self._clock = clock
        self._grace = grace
        self._stuck: tuple[tuple[int, int, int], ...] = ()
        self._busy_turns = 0
        self._busy_since = 0.0
        self._patience = _SPINNING_SECONDS

    def select(self, timeout: Optional[float] = None) -> _Events:
        """Wait until a socket is ready or time has come to the loop's next timer, really or by a jump."""
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
                events = self._inner.select(look if self._loop._looks_out() else None)
                if events or self._loop._work_is_ready():
                    return events
                look = self._longer(look)
                continue
            if reason is None:
                self._clock.jump(when)
                return []
            # The end of a thread or a process wakes no selector: look again now and then.
            began = time.monotonic()
            events = self._inner.select(min(max(0.0, when - self._clock.time()), look))
            self._loop._really_waited(reason, time.monotonic() - began)
            if events or self._clock.time() >= when or self._loop._work_is_ready():
                return events
            look = self._longer(look)

    def _longer(self, look: float) -> float:
        return min(2 * look, _LOOK_OUT if self._loop._looks_out() else _LONGEST_LOOK)

    def _poll(self) -> _Events:
        """Ask for ready sockets without waiting, or with as little waiting as the system's delivery needs."""
        while True:
            events = self._inner.select(self._grace)
            stuck = () if events else self._held_back()
            if not stuck or stuck == self._stuck:
                self._stuck = stuck
                return events
            events = self._inner.select(_KERNEL_PATIENCE)
            self._stuck = () if events else stuck  # waited for once; if nothing has changed by now, nothing will
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
        # Turns too: a single callback that computes for a second, or sits in a debugger, is no reason.
        return self._busy_turns > _BUSY_TURNS and time.monotonic() - self._busy_since > self._patience

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket."""
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a socket no more."""
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket for other events."""
        return self._inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Give the registration of a socket."""
        return self._inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Give all registrations."""
        return self._inner.get_map()

    def close(self) -> None:
        """Close the selector underneath."""
        self._inner.close()
