"""Commands: what the engine wants the adapter to do. The adapter carries them out in the order they were given.

A command is a value without behaviour: the adapter has a table that maps each of these classes to the method that
carries it out. `conversation` is the connection that is meant; None means the whole server.

"Report X" says which event the adapter then gives to the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.steps.base import Step

__all__ = ["Await", "Close", "Command", "FailConnections", "GiveUp", "HalfClose", "PauseReading", "ResetConnection",
           "ResumeReading", "RunCoroutine", "Send", "SendInterleaved", "SetAccepting", "SetNetwork", "StartHandler",
           "StartTimer", "StartTLS", "Wake", "WatchReset"]


class Command:
    """Base class: something that the adapter has to do, on one connection or on the whole server."""

    __slots__ = ("conversation",)

    def __init__(self, conversation: Optional[Conversation] = None) -> None:
        self.conversation = conversation

    def drop(self) -> None:
        """Release what the command holds, because it will not be carried out."""


class Send(Command):
    """Send what `Conversation.take_output` returns, as one write. Report Progressed on the way, then Flushed."""

    __slots__ = ()


class HalfClose(Command):
    """Deliver everything, then end our stream with a FIN, and go on reading. Then report Flushed.

    With `drain`, ignore what still comes, and close as soon as the client has ended its stream too.
    """

    __slots__ = ("drain",)

    def __init__(self, conversation: Conversation, drain: bool) -> None:
        self.conversation = conversation
        self.drain = drain


class Close(Command):
    """Close our side at once, without a reset."""

    __slots__ = ()


class ResetConnection(Command):
    """Deliver what was sent, then reset the connection (SO_LINGER 0, socket(7)). Then report Flushed."""

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
        self.conversation = None
        self.count = count


class SetAccepting(Command):
    """Refuse new connections from now on, or accept them again."""

    __slots__ = ("accepting",)

    def __init__(self, accepting: bool) -> None:
        self.conversation = None
        self.accepting = accepting


class SetNetwork(Command):
    """Apply these network conditions to what is sent from now on; `network` None ends them.

    With `for_all`, apply them to connections that are accepted later, too.
    """

    __slots__ = ("network", "for_all")

    def __init__(self, conversation: Optional[Conversation], network: Any, for_all: bool) -> None:
        self.conversation = conversation
        self.network = network
        self.for_all = for_all


class StartTLS(Command):
    """Begin TLS as the server, with `context`. Report HandshakeBytes on the way, then Upgraded or TLSBroken.

    `begun` are the bytes of its handshake that the client has sent already.
    """

    __slots__ = ("context", "begun")

    def __init__(self, conversation: Conversation, context: Any, begun: bytes) -> None:
        self.conversation = conversation
        self.context = context
        self.begun = begun


class WatchReset(Command):
    """Watch a client that has ended its stream and is expected to reset the connection. Report Reset when it does.

    If the client has closed instead, report HalfClosed once more.
    """

    __slots__ = ()


class SendInterleaved(Command):
    """Send `data`, which belongs to no step, as a separate write. Report Progressed on the way, then Flushed."""

    __slots__ = ("data",)

    def __init__(self, conversation: Conversation, data: bytes) -> None:
        self.conversation = conversation
        self.data = data


class StartHandler(Command):
    """Call `handler`, a coroutine function, with the connection's handle. Report to the session how it ended."""

    __slots__ = ("handler",)

    def __init__(self, conversation: Conversation, handler: Any) -> None:
        self.conversation = conversation
        self.handler = handler


class RunCoroutine(Command):
    """Run `coroutine`, which computes the bytes of `step` (a step, or an interleaved send). Then report Computed."""

    __slots__ = ("step", "coroutine")

    def drop(self) -> None:
        close = getattr(self.coroutine, "close", None)  # without this, Python warns that it was never awaited
        if close is not None:
            close()

    def __init__(self, conversation: Conversation, step: Any, coroutine: Any) -> None:
        self.conversation = conversation
        self.step = step
        self.coroutine = coroutine


class Await(Command):
    """Wait until `event` (of asyncio or threading) is set. Then report Released."""

    __slots__ = ("step", "event")

    def __init__(self, conversation: Conversation, step: Step[Any], event: Any) -> None:
        self.conversation = conversation
        self.step = step
        self.event = event


class StartTimer(Command):
    """Call `Session.tick` at `deadline` (seconds of the adapter's clock) at the latest."""

    __slots__ = ("deadline",)

    def __init__(self, deadline: float) -> None:
        self.conversation = None
        self.deadline = deadline


class Wake(Command):
    """Wake those who wait for `step`: it is satisfied."""

    __slots__ = ("step",)

    def __init__(self, step: Step[Any]) -> None:
        self.conversation = None
        self.step = step


class GiveUp(Command):
    """The verdict is a failure: reset every connection, stop listening, and wake everything that waits."""

    __slots__ = ()
