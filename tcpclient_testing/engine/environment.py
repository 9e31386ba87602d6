"""What all conversations of a server share: the time, the settings, the commands to carry out, and the one verdict.

Invariants

- `now` changes only when a method gets a new time.
- The first failure is the verdict. After it, or after the server was left, nothing changes any more (`over`).
- The caller of a method of the engine takes `commands` afterwards, and carries them out in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional

from .commands import Command, GiveUp, StartTimer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .host import Host
    from .mismatches import Mismatch

__all__ = ["Environment", "Failure", "LeftEarly"]

__unittest = True


_SETTINGS = frozenset({"timeout", "idle_timeout", "scale", "tls_context", "can_reset", "pipelining", "allow_extra"})


# Time-outs of two servers that are apart by no more than this (seconds) count as one, and so do the events that a loop
# finds in one turn.
_SAME_TIME_OUT = 0.05
_SAME_MOMENT = 0.001


class Failure:
    """The verdict on a script that the client did not keep to: where it failed, when, and how.

    `number` is the connection's number, `step` the step; each is None if the failure belongs to none. `overdue` says
    that it is a time-out, `at_end` that the client's stream had ended by then, with nothing left to be read.
    """

    __slots__ = ("number", "step", "mismatch", "now", "overdue", "at_end")

    def __init__(self, number: Optional[int], step: Any, mismatch: Mismatch, now: float, *, overdue: bool = False,
                 at_end: bool = False) -> None:
        self.number = number
        self.step = step
        self.mismatch = mismatch
        self.now = now
        self.overdue = overdue
        self.at_end = at_end

    @property
    def in_vain(self) -> bool:
        """Whether the server has only waited in vain: nothing came, or the client went away.

        The cause may be elsewhere: perhaps the client is stuck since it has misbehaved towards another server.
        """
        return (self.overdue or self.at_end) and not self.mismatch.received

    @property
    def order(self) -> float:
        """The time (seconds) by which failures of several servers are put in order: the earliest is the cause.

        It is `now`, but for failures at about the same time: a part of a message tells more than silence, and a
        mismatch more than the client's end.
        """
        if self.overdue:
            return self.now - (0.0 if self.in_vain else _SAME_TIME_OUT)
        return self.now + _SAME_MOMENT if self.in_vain else self.now


class LeftEarly(Failure):
    """What a test is told that asks for a step after the server was left: the script itself has not failed."""

    __slots__ = ()


class Environment:
    """The environment of a server's conversations.

    The settings, which `configure` changes:

    - `timeout`: the default time-out of each step, in seconds; None is no limit
    - `idle_timeout`: the time-out of a script without a due step, in seconds; None is no limit
    - `scale`: the factor for the time-outs of steps; `timeout` and `idle_timeout` are multiplied already
    - `tls_context`: with one, each connection begins with a TLS handshake; only the adapter looks into it
    - `can_reset`: whether the server has a way to reset a connection
    - `pipelining`: whether the client may send its next request before it has the answer to the last one
    - `allow_extra`: whether bytes and connections that no step explains are permitted

    And the state:

    - `looks_first`: whether some answers go out only when the adapter has looked for what the client has sent by then;
      `client_must_wait` says which
    - `now`: the time of the latest news, in seconds; `awake_since`: when the time-outs were last restarted
    - `reminder`: when `Session.tick` has to be called next; None if it has not
    - `look_at`: when it is called before that, only to look at the clients; None if it is not
    - `accepted`: how many clients were accepted; `turned_away`: how many fail_connections() has reset
    """

    __slots__ = ("host", "timeout", "idle_timeout", "scale", "tls_context", "can_reset", "pipelining", "allow_extra",
                 "looks_first", "now", "awake_since", "reminder", "look_at", "accepted", "turned_away", "commands",
                 "failure", "over", "_calls", "_calling")

    def __init__(self, host: Host, timeout: Optional[float], idle_timeout: Optional[float]) -> None:
        self.host = host
        self.timeout = timeout
        self.idle_timeout = idle_timeout
        self.scale = 1.0
        self.tls_context: Any = None
        self.can_reset = True
        self.pipelining = True
        self.allow_extra = False
        self.looks_first = False
        self.now = 0.0
        self.awake_since = 0.0
        self.reminder: Optional[float] = None
        self.look_at: Optional[float] = None
        self.accepted = 0
        self.turned_away = 0
        self.commands: list[Command] = []
        self.failure: Optional[Failure] = None
        self.over = False
        self._calls: Optional[deque[Callable[[], None]]] = None
        self._calling = False

    def configure(self, **settings: Any) -> None:
        """Change the settings that are given. Raises `TypeError` for a name that is not that of a setting."""
        for name, value in settings.items():
            if name not in _SETTINGS:
                raise TypeError(f"there is no setting {name!r}")
            setattr(self, name, value)
        if not self.pipelining:
            self.looks_first = True

    def look_first(self) -> None:
        """From now on, some answers may go out only when the adapter has looked for what the client has sent."""
        self.looks_first = True

    def call(self, callbacks: Iterable[Callable[[], None]]) -> None:
        """Make these calls, one after another. Calls that they cause are queued, so a long chain does not recurse."""
        if self._calls is None:
            self._calls = deque(callbacks)
        else:
            self._calls.extend(callbacks)
        if self._calling:
            return
        self._calling = True
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            self._calling = False

    # Time.

    def news(self, now: float) -> bool:
        """Something has happened at `now`. Return whether anything can still change because of it."""
        if self.over:
            return False
        self.now = now
        return True

    def set_time(self, now: float) -> None:
        """It is `now`, in seconds of the adapter's clock."""
        self.now = now

    def woke_up(self, now: float) -> None:
        """Time stood still until `now`: a debugger was at work, or the event loop was blocked."""
        self.now = self.awake_since = now

    def remind(self, deadline: float) -> None:
        """Make sure that `Session.tick` is called at `deadline` at the latest."""
        if self.reminder is None or deadline < self.reminder:
            self.reminder = deadline
            if self.look_at is None or deadline < self.look_at:
                self.commands.append(StartTimer(deadline))

    def look(self, at: float) -> None:
        """Have `Session.tick` called at this time, or before, only to look at the clients: nothing is due then."""
        if self.look_at is None or at < self.look_at:
            self.look_at = at
            if self.reminder is None or at < self.reminder:
                self.commands.append(StartTimer(at))

    def reminded(self, now: float) -> Optional[float]:
        """The time of the reminder, or of a look, has come; it is `now`. Return the reminder if it is still to come."""
        kept, self.reminder = self.reminder, None
        self.now, self.look_at = now, None
        return kept if kept is not None and kept > now else None

    # Clients.

    def client_accepted(self) -> None:
        """Count a client that was accepted."""
        self.accepted += 1

    def client_turned_away(self) -> None:
        """Count a client that was reset because of fail_connections()."""
        self.turned_away += 1

    # The verdict.

    @property
    def verdict(self) -> Optional[Failure]:
        """Why the script has failed. None if it has not, whatever a test was told that asked after the end."""
        return None if isinstance(self.failure, LeftEarly) else self.failure

    def fail(self, failure: Failure) -> None:
        """Let the script fail; only the first failure counts. No command is carried out any more, but to give up."""
        if self.over:
            return
        self.failure = failure
        self.over = True
        for command in self.commands:
            command.drop()
        self.commands.clear()
        self.commands.append(GiveUp())

    def end_with(self, failure: Failure) -> None:
        """End everything with `failure` as the verdict, and give no command."""
        self.failure = failure
        self.over = True

    def leave(self) -> None:
        """End everything, since the server is left: steps that are not satisfied now never will be."""
        self.over = True
