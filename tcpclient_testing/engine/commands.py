"""What the engine wants done. The adapter carries commands out in the order in which they were given.

A command is a value without behaviour: the adapter has a table from each class of this module to the method that
carries it out. `conversation` says on which connection; None where the whole server is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from .conversation import Conversation
    from .steps import Step

__all__ = ["Await", "Close", "Command", "FailConnections", "GiveUp", "HalfClose", "PauseReading", "ResetConnection",
           "ResumeReading", "RunCoroutine", "Send", "SendAside", "SetAccepting", "SetNetwork", "StartHandler",
           "StartTimer", "StartTLS", "Wake", "WatchReset"]


class Command:
    """Something that the adapter has to do, on one connection or on the server."""

    __slots__ = ("conversation",)

    def __init__(self, conversation: Optional[Conversation] = None) -> None:
        self.conversation = conversation

    def drop(self) -> None:
        """It will not be carried out: let go of what it holds."""


class Send(Command):
    """Send what `Conversation.take_output` gives, as one write; then tell Flushed, and Progressed on the way."""

    __slots__ = ()


class HalfClose(Command):
    """Deliver everything, then end our stream with a FIN, and go on reading; then tell Flushed.

    With `drain`, what still comes is of no interest: close as soon as the client has ended its stream too.
    """

    __slots__ = ("drain",)

    def __init__(self, conversation: Conversation, drain: bool) -> None:
        self.conversation = conversation
        self.drain = drain


class Close(Command):
    """Close our side at once, without a reset."""

    __slots__ = ()


class ResetConnection(Command):
    """Let the client have what was sent, then reset the connection (SO_LINGER 0, socket(7)); then tell Flushed."""

    __slots__ = ()


class PauseReading(Command):
    """Take no more bytes from the client, so that its writes block in the end."""

    __slots__ = ()


class ResumeReading(Command):
    """Take the client's bytes again."""

    __slots__ = ()


class FailConnections(Command):
    """Reset the next `count` connections instead of accepting them for the script."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.conversation = None
        self.count = count


class SetAccepting(Command):
    """Refuse whoever connects from now on, or accept again."""

    __slots__ = ("accepting",)

    def __init__(self, accepting: bool) -> None:
        self.conversation = None
        self.accepting = accepting


class SetNetwork(Command):
    """Send under these network conditions from now on; None is none. With `for_all`, to later connections too."""

    __slots__ = ("network", "for_all")

    def __init__(self, conversation: Optional[Conversation], network: Any, for_all: bool) -> None:
        self.conversation = conversation
        self.network = network
        self.for_all = for_all


class StartTLS(Command):
    """Begin TLS as the server, with `context`; then tell HandshakeBytes, and Upgraded or TLSBroken.

    `begun` is what the client has sent of its handshake already.
    """

    __slots__ = ("context", "begun")

    def __init__(self, conversation: Conversation, context: Any, begun: bytes) -> None:
        self.conversation = conversation
        self.context = context
        self.begun = begun


class WatchReset(Command):
    """The client has ended its stream, and is to reset the connection: tell Reset when it does.

    If it has closed instead, tell HalfClosed once more.
    """

    __slots__ = ()


class SendAside(Command):
    """Send `data`, which belongs to no step, as a write of its own; then tell Flushed, and Progressed on the way."""

    __slots__ = ("data",)

    def __init__(self, conversation: Conversation, data: bytes) -> None:
        self.conversation = conversation
        self.data = data


class StartHandler(Command):
    """Call `handler`, a coroutine function, with the connection's handle; tell the session how it ended."""

    __slots__ = ("handler",)

    def __init__(self, conversation: Conversation, handler: Any) -> None:
        self.conversation = conversation
        self.handler = handler


class RunCoroutine(Command):
    """Run `coroutine`, which computes the bytes of `step` (or of something sent aside); then tell Computed."""

    __slots__ = ("step", "coroutine")

    def drop(self) -> None:
        close = getattr(self.coroutine, "close", None)  # else Python warns that it was never awaited
        if close is not None:
            close()

    def __init__(self, conversation: Conversation, step: Any, coroutine: Any) -> None:
        self.conversation = conversation
        self.step = step
        self.coroutine = coroutine


class Await(Command):
    """Wait until `event` (of asyncio or threading) is set; then tell Released."""

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
    """Somebody waits for `step`, and it is done."""

    __slots__ = ("step",)

    def __init__(self, step: Step[Any]) -> None:
        self.conversation = None
        self.step = step


class GiveUp(Command):
    """The verdict is a failure: reset every connection, stop listening, and let every waiter know."""

    __slots__ = ()
