"""What the server sends beside its script: replies to allowed messages, and heartbeats of its own.

Invariants

- An aside is a write of its own. It begins when no write of the script is under way, and while it is under way no other
  write begins: so none is ever in the middle of a message of the script, and "taken by the operating system" stays a
  fact about each step.
- Asides leave in the order in which they came about, also where a coroutine computes one of them.
- None comes between the go-ahead of a `start_tls()` and the end of its handshake: in clear it would be taken for TLS.
- Nothing is sent after the server has ended its stream, nor to a client that has ended its own: what comes back from a
  client that is gone is a reset, which would be taken for the client's doing.
- A fault that is armed (`reset_after`) counts the bytes of asides as any others, cuts them, and may strike in them.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Callable, Optional

from .commands import RunCoroutine, Send, SendAside
from .mismatches import Mismatch
from .wording import exception_text, shorten_repr

if TYPE_CHECKING:
    from .conversation import Conversation
    from .steps import Step

__all__ = ["Aside", "Asides", "AsideRaised", "mute"]

__unittest = True


class AsideRaised(Mismatch):
    """The callable that gives an aside raised `exception`; `what` says whose callable it is."""

    __slots__ = ("exception",)

    def __init__(self, what: str, exception: BaseException) -> None:
        super().__init__(f"the callable of {what} raised {exception_text(exception)}")
        self.exception = exception


class Aside:
    """One thing to send; `data` is None until it is known. `what` names its origin in reports.

    `sent` is called when the operating system has taken all of it.
    """

    __slots__ = ("what", "encode", "sent", "data")

    def __init__(self, what: str, encode: Optional[Callable[[bytes], bytes]], sent: Callable[[], None]) -> None:
        self.what = what
        self.encode = encode
        self.sent = sent
        self.data: Optional[bytes] = None

    def begin(self, conversation: Conversation, source: Any, argument: Any) -> Optional[Mismatch]:
        """Work out the bytes from `source`: bytes, or a callable that is given `argument`."""
        if callable(source):
            try:
                source = source(argument)
            except Exception as error:  # noqa: BLE001 - a callable of the test's: whatever it raises is in the report
                return AsideRaised(self.what, error)
            if hasattr(source, "__await__"):
                conversation.command(RunCoroutine(conversation, self, source))
                return None
        return self.computed(source)

    def computed(self, payload: Any) -> Optional[Mismatch]:
        """Take what the callable gave."""
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            return Mismatch(f"the callable of {self.what} returned {shorten_repr(payload)}, which is not bytes")
        data = bytes(payload)
        try:
            self.data = data if self.encode is None else self.encode(data)
        except Exception as error:  # noqa: BLE001 - a framing of the user's, too
            return AsideRaised(self.what, error)
        return None

    def failed(self, error: BaseException) -> Mismatch:
        """Say that the coroutine raised `error`."""
        return AsideRaised(self.what, error)


class Asides:
    """The asides of one connection.

    `waiting` are those that have not been handed over, in order; None among them stands for a write of the script that
    had to wait for `under_way`, and has its place there. `whole` are those that go out from end to end by the write
    that is under way.
    """

    __slots__ = ("waiting", "under_way", "whole")

    def __init__(self) -> None:
        self.waiting: deque[Optional[Aside]] = deque()
        self.under_way = False
        self.whole: list[Aside] = []

    def pump(self, conversation: Conversation) -> None:
        """Begin to write what is ready, if no write is under way."""
        waiting = self.waiting
        if self.under_way or not waiting or (conversation.sending and None not in waiting) or _upgrades(conversation):
            return
        if mute(conversation):
            held = None in waiting
            waiting.clear()
            if held:
                conversation.command(Send(conversation))
            return
        ready = []
        while waiting:
            aside = waiting[0]
            if aside is None or aside.data is None:
                break
            if aside.data:
                ready.append(aside)
            waiting.popleft()
        if ready:
            self._write(conversation, ready)
        elif waiting and waiting[0] is None:
            waiting.popleft()
            conversation.command(Send(conversation))

    def _write(self, conversation: Conversation, asides: list[Aside]) -> None:
        """Begin a write; a fault of the script's ends the stream in the midst of it, as it does with sends."""
        data = b"".join(aside.data or b"" for aside in asides)
        if conversation.fault is not None:
            data = b"".join(conversation.fault.cut(conversation, [data]))
        conversation.output += len(data)
        ends = accumulate(len(aside.data or b"") for aside in asides)
        self.whole = [aside for aside, end in zip(asides, ends) if end <= len(data)]
        self.under_way = True
        conversation.command(SendAside(conversation, data))

    def hold(self) -> bool:
        """A write of the script wants to begin: return True if it has to wait; it is begun when its turn has come."""
        if self.under_way:
            waiting = self.waiting
            ready = 0
            while ready < len(waiting) and getattr(waiting[ready], "data", None) is not None:
                ready += 1
            waiting.insert(ready, None)
        return self.under_way

    def progressed(self, conversation: Conversation) -> bool:
        """More of a write was taken; return True if it is ours. The action that waits for it is not late meanwhile."""
        if self.under_way and _held(conversation):
            conversation.taken_at = conversation.session.now
        return self.under_way

    def flushed(self, conversation: Conversation) -> bool:
        """A write has been handed over; return True if it was ours."""
        if not self.progressed(conversation):
            return False
        self.under_way = False
        whole, self.whole = self.whole, []
        for aside in whole:
            aside.sent()
        fault = conversation.fault
        if fault is not None and fault.strike(conversation):
            self.under_way = True  # and Flushed comes again when the connection has been ended
            fault.overtake(conversation)
            return True
        self.pump(conversation)
        conversation.advance()
        return True


def mute(conversation: Conversation) -> bool:
    """Whether nothing is sent aside any more."""
    return (conversation.silenced or conversation.ended or conversation.draining or conversation.closed
            or conversation.cut_off)


def _held(conversation: Conversation) -> bool:
    """Whether an action of the script's waits until what is being sent aside has gone: a send, an end, TLS."""
    if conversation.sending or conversation.cursor == len(conversation.steps):
        return conversation.sending
    return getattr(conversation.steps[conversation.cursor], "begun", True) is False


def _upgrades(conversation: Conversation) -> bool:
    """Whether TLS is what the client expects next: its handshake is not done, or it was told to go ahead."""
    steps, cursor = conversation.steps, conversation.cursor
    position = cursor
    while position < len(steps) and _only_takes_time(steps[position]):
        position += 1
    if position == len(steps) or steps[position].method != "start_tls":
        return conversation.handshaking
    while cursor and _only_takes_time(steps[cursor - 1]):
        cursor -= 1
    return position == conversation.cursor or steps[cursor - 1].sends


def _only_takes_time(step: Step[Any]) -> bool:
    """Whether it may stand between a go-ahead and `start_tls()`, as `delay()` does."""
    return not (step.is_expectation or step.sends or step.method == "start_tls")
