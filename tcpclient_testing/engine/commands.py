"""Commands: what the engine wants the adapter to do. The adapter carries them out in the order they were given.

A command is a value without behaviour: the adapter has a table that maps each of these classes to the method that
carries it out. `number` is the number of the connection that is meant; None means the whole server.

"Report `x`" says which method of the `Conversation` the adapter then calls.
"""

from __future__ import annotations

from typing import Any, Optional

from .callables import InContext

__all__ = ["Await", "Close", "Command", "FailConnections", "GiveUp", "HalfClose", "PauseReading", "ResetConnection",
           "ResumeReading", "RunCoroutine", "Send", "SendInterleaved", "SetAccepting", "SetNetwork", "StartHandler",
           "StartTimer", "StartTLS", "Wake", "WatchReset"]


class Command:
    """Base class: something that the adapter has to do, on one connection or on the whole server."""

    __slots__ = ("number",)

    def __init__(self, number: Optional[int] = None) -> None:
        self.number = number

    def drop(self) -> None:
        """Release what the command holds, because it will not be carried out."""


class Send(Command):
    """Send what `Outbox.take` returns, as one write. Report `progressed` on the way, then `flushed`."""

    __slots__ = ()


class HalfClose(Command):
    """Deliver everything, then end our stream with a FIN, and go on reading. Then report `flushed`.

    With `drain`, ignore what still comes, and close as soon as the client has ended its stream too. Over TLS, with
    `ragged`, send no close_notify before the FIN.
    """

    __slots__ = ("drain", "ragged")

    def __init__(self, number: int, drain: bool, *, ragged: bool = False) -> None:
        self.number = number
        self.drain = drain
        self.ragged = ragged


class Close(Command):
    """Close our side at once, without a reset."""

    __slots__ = ()


class ResetConnection(Command):
    """Deliver what was sent, then reset the connection (SO_LINGER 0, socket(7)). Then report `flushed`."""

    __slots__ = ()


class PauseReading(Command):
    """Stop reading from the client, so that its writes block in the end."""

    __slots__ = ()


class ResumeReading(Command):
    """Read from the client again."""

    __slots__ = ()


class FailConnections(Command):
    """Reset the next `count` connections instead of accepting them for the script."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.number = None
        self.count = count


class SetAccepting(Command):
    """Refuse new connections from now on, or accept them again."""

    __slots__ = ("accepting",)

    def __init__(self, accepting: bool) -> None:
        self.number = None
        self.accepting = accepting


class SetNetwork(Command):
    """Apply these network conditions to what is sent from now on; `network` None ends them.

    With `for_all`, apply them to connections that are accepted later, too.
    """

    __slots__ = ("network", "for_all")

    def __init__(self, number: Optional[int], network: Any, for_all: bool) -> None:
        self.number = number
        self.network = network
        self.for_all = for_all


class StartTLS(Command):
    """Begin TLS as the server, with `context`. Report `handshake_bytes` on the way, then `upgraded` or `tls_failed`.

    `begun` are the bytes of its handshake that the client has sent already.
    """

    __slots__ = ("context", "begun")

    def __init__(self, number: int, context: Any, begun: bytes) -> None:
        self.number = number
        self.context = context
        self.begun = begun


class WatchReset(Command):
    """Watch a client that has ended its stream and is expected to reset the connection.

    Report `was_reset` when it does. If the client has closed instead, report `half_closed` once more.
    """

    __slots__ = ()


class SendInterleaved(Command):
    """Send `data`, which belongs to no step, as a separate write. Report `progressed` on the way, then `flushed`."""

    __slots__ = ("data",)

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.data = data


class StartHandler(Command):
    """Call `handler`, a coroutine function in a context, with the connection's handle. Report how it ended."""

    __slots__ = ("handler",)

    def __init__(self, number: int, handler: InContext) -> None:
        self.number = number
        self.handler = handler


class RunCoroutine(Command):
    """Run `coroutine`, which computes the bytes of `target`, a step or an interleaved send. Then report `computed`."""

    __slots__ = ("target", "coroutine")

    def drop(self) -> None:
        close = getattr(self.coroutine, "close", None)  # without this, Python warns that it was never awaited
        if close is not None:
            close()

    def __init__(self, number: int, target: Any, coroutine: Any) -> None:
        self.number = number
        self.target = target
        self.coroutine = coroutine


class Await(Command):
    """Wait until `event` (of asyncio or threading) is set. Then report `released`."""

    __slots__ = ("step", "event")

    def __init__(self, number: int, step: Any, event: Any) -> None:
        self.number = number
        self.step = step
        self.event = event


class StartTimer(Command):
    """Call `Session.tick` at `deadline` (seconds of the adapter's clock) at the latest."""

    __slots__ = ("deadline",)

    def __init__(self, deadline: float) -> None:
        self.number = None
        self.deadline = deadline


class Wake(Command):
    """Wake those who wait for `step`: it is satisfied."""

    __slots__ = ("step",)

    def __init__(self, step: Any) -> None:
        self.number = None
        self.step = step


class GiveUp(Command):
    """The verdict is a failure: reset every connection, stop listening, and wake everything that waits."""

    __slots__ = ()
