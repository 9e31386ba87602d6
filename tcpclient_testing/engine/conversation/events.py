"""Events: what the adapter reports to the engine about a connection.

Events are facts. Each carries the time at which it was noticed, in seconds of the adapter's clock: the engine has no
clock. Give them to `Conversation.receive`, one after another, in this grammar:

    Connected -> [Received*] -> [HalfClosed | Reset]        what the client does
    Flushed | Progressed | Computed | Released              the outcome of a command, at any time in between
    HandshakeBytes* -> Upgraded -> [TLSBroken]              TLS, if it was begun; Received carries decrypted bytes
    HandshakeBytes* -> TLSBroken
    HalfClosed -> [Reset]                                   a reset may be found after the client's end of stream
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

if TYPE_CHECKING:
    from tcpclient_testing.engine.connection.tls_failure import TLSFailure

    from .conversation import Conversation

__all__ = ["Computed", "Connected", "Event", "Flushed", "HalfClosed", "HandshakeBytes", "Progressed", "Received",
           "Released", "Reset", "TLSFailed", "Upgraded"]


class Event:
    """Something that happened to one connection at `now` (seconds)."""

    __slots__ = ("now",)

    def __init__(self, now: float) -> None:
        self.now = now

    def apply(self, conversation: Conversation) -> None:
        """Call the conversation's method for this kind of event."""
        raise NotImplementedError


class Connected(Event):
    """A client was accepted; `peername` is its address as the operating system gives it."""

    __slots__ = ("peername",)

    def __init__(self, now: float, peername: Any) -> None:
        self.now = now
        self.peername = peername

    def apply(self, conversation: Conversation) -> None:
        conversation.connected(self.peername)


class Received(Event):
    """The client's next bytes. They may be a view into a buffer that is reused as soon as the engine returns."""

    __slots__ = ("data",)

    def __init__(self, now: float, data: Union[bytes, memoryview]) -> None:
        self.now = now
        self.data = data

    def apply(self, conversation: Conversation) -> None:
        conversation.received(self.data)


class HalfClosed(Event):
    """The client ended its stream: a FIN (RFC 9293, 3.6), or over TLS a close_notify (RFC 8446, 6.1) or a FIN.

    It may have closed the connection as well.
    """

    __slots__ = ()

    def apply(self, conversation: Conversation) -> None:
        conversation.stream_ended()


class Reset(Event):
    """The client reset the connection: a RST (RFC 9293, 3.10.7).

    `after_fin` says that the client had ended its stream before. The engine got no `HalfClosed` for that: this event
    stands for both.
    """

    __slots__ = ("after_fin",)

    def __init__(self, now: float, after_fin: bool = False) -> None:
        self.now = now
        self.after_fin = after_fin

    def apply(self, conversation: Conversation) -> None:
        conversation.was_reset(self.after_fin)


class Progressed(Event):
    """The operating system has taken `count` more bytes of what it was given to send."""

    __slots__ = ("count",)

    def __init__(self, now: float, count: int) -> None:
        self.now = now
        self.count = count

    def apply(self, conversation: Conversation) -> None:
        conversation.progressed(self.count)


class Flushed(Event):
    """The operating system has taken everything that was to be sent.

    `reset` says that this was sent after the client had ended its stream, and that the client answered with a RST.
    """

    __slots__ = ("reset",)

    def __init__(self, now: float, reset: bool = False) -> None:
        self.now = now
        self.reset = reset

    def apply(self, conversation: Conversation) -> None:
        if self.reset:
            conversation.reset = True
        conversation.flushed()


class Computed(Event):
    """The coroutine that computes the bytes of `step` has ended: it returned `value`, or raised `error`.

    `step` is a send, or the reply or heartbeat that the coroutine was run for.
    """

    __slots__ = ("step", "value", "error")

    def __init__(self, now: float, step: Any, value: Any, error: Optional[BaseException]) -> None:
        self.now = now
        self.step = step
        self.value = value
        self.error = error

    def apply(self, conversation: Conversation) -> None:
        conversation.computed(self.step, self.value, self.error)


class Released(Event):
    """What `step`, a `hold_until()`, waits for has happened."""

    __slots__ = ("step",)

    def __init__(self, now: float, step: Any) -> None:
        self.now = now
        self.step = step

    def apply(self, conversation: Conversation) -> None:
        conversation.released(self.step)


class HandshakeBytes(Event):
    """The client has sent `count` more bytes of its TLS handshake."""

    __slots__ = ("count",)

    def __init__(self, now: float, count: int) -> None:
        self.now = now
        self.count = count

    def apply(self, conversation: Conversation) -> None:
        conversation.handshake_bytes(self.count)


class Upgraded(Event):
    """The TLS handshake is done; `info` is what was negotiated."""

    __slots__ = ("info",)

    def __init__(self, now: float, info: Any) -> None:
        self.now = now
        self.info = info

    def apply(self, conversation: Conversation) -> None:
        conversation.upgraded(self.info)


class TLSFailed(Event):
    """TLS failed, in its handshake or later: nothing can be sent or received any more."""

    __slots__ = ("failure",)

    def __init__(self, now: float, failure: TLSFailure) -> None:
        self.now = now
        self.failure = failure

    def apply(self, conversation: Conversation) -> None:
        conversation.tls_failed(self.failure)
