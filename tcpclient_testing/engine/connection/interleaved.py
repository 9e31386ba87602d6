"""What the server sends between the steps of its script: replies to allowed messages, and its own heartbeats.

Such a message belongs to no step. It is called an interleaved send.

Invariants

- Interleaved sends are written apart from the script. A write of them begins only when no write of the script is under
  way, and no other write begins before it has ended. So they never split a message of the script, and "taken by the
  operating system" remains a fact about each step.
- They are sent in the order in which they were created, even if a coroutine computes one of them.
- None is sent between the go-ahead of a `start_tls()` and the end of its handshake: the client would take the clear
  text for TLS.
- Nothing is sent after the server has ended its stream, nor to a client that has ended its own. A client that is gone
  answers with a reset, and that would be taken for something that the client did.
- An armed fault (such as `reset_after`) counts their bytes like any others. It cuts them, and may strike in the middle
  of one.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.commands import RunCoroutine, Send, SendInterleaved
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.source_lines import SourceLine, source_lines

from .payload import Payload

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.steps.base import Step

__all__ = ["InterleavedSend", "InterleavedSends", "Rule", "output_ended"]

__unittest = True


class InterleavedSend(Payload):
    """One message to send that belongs to no step, but to `rule`, an `allow()` or `every()`."""

    __slots__ = ("rule", "source", "encode", "data")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.source = rule.source
        self.encode = rule.encode
        self.data: Optional[bytes] = None

    def sender(self) -> str:
        return f"{self.rule.method}() at {self.rule.lines()[0]}"


class InterleavedSends:
    """The interleaved sends of one connection.

    - `waiting`: those that are not written yet, in order. A None keeps the place of a write of the script that has to
      wait, because interleaved sends were being written.
    - `under_way`: whether some are being written.
    - `whole`: those that this write sends completely. (A fault may cut the others.)
    """

    __slots__ = ("waiting", "under_way", "whole")

    def __init__(self) -> None:
        self.waiting: deque[Optional[InterleavedSend]] = deque()
        self.under_way = False
        self.whole: list[InterleavedSend] = []

    def pump(self, conversation: Conversation) -> None:
        """Write the interleaved sends that are ready, if no write is under way."""
        waiting = self.waiting
        if self.under_way or not waiting or (conversation.sending and None not in waiting) or _upgrades(conversation):
            return
        if output_ended(conversation):
            held = None in waiting
            waiting.clear()
            if held:
                conversation.command(Send(conversation))
            return
        ready = []
        while waiting:
            send = waiting[0]
            if send is None or send.data is None:
                break
            if send.data:
                ready.append(send)
            waiting.popleft()
        if ready:
            self._write(conversation, ready)
        elif waiting and waiting[0] is None:
            waiting.popleft()
            conversation.command(Send(conversation))

    def _write(self, conversation: Conversation, interleaved: list[InterleavedSend]) -> None:
        """Begin a write of these interleaved sends. An armed fault of the script may cut it, as it cuts sends."""
        data = b"".join(send.data or b"" for send in interleaved)
        if conversation.fault is not None:
            data = b"".join(conversation.fault.cut(conversation, [data]))
        conversation.output += len(data)
        ends = accumulate(len(send.data or b"") for send in interleaved)
        self.whole = [send for send, end in zip(interleaved, ends) if end <= len(data)]
        self.under_way = True
        conversation.command(SendInterleaved(conversation, data))

    def hold(self) -> bool:
        """Return True if a new write of the script has to wait; `pump` then begins it in its turn."""
        if self.under_way:
            waiting = self.waiting
            ready = 0
            while ready < len(waiting) and getattr(waiting[ready], "data", None) is not None:
                ready += 1
            waiting.insert(ready, None)
        return self.under_way

    def progressed(self, conversation: Conversation) -> bool:
        """The operating system has taken more of a write: return True if it is a write of interleaved sends.

        If an action of the script waits for that write, the action's time-out starts anew: it is not late.
        """
        if self.under_way and _held(conversation):
            conversation.taken_at = conversation.session.now
        return self.under_way

    def flushed(self, conversation: Conversation) -> bool:
        """The operating system has taken all of a write: return True if it was a write of interleaved sends."""
        if not self.progressed(conversation):
            return False
        self.under_way = False
        whole, self.whole = self.whole, []
        for send in whole:
            send.rule.sent()
        fault = conversation.fault
        if fault is not None and fault.strike(conversation):
            self.under_way = True  # Flushed comes again when the connection has been ended
            fault.overtake(conversation)
            return True
        self.pump(conversation)
        conversation.advance()
        return True


def output_ended(conversation: Conversation) -> bool:
    """Return whether interleaved sends are no longer sent on this connection."""
    return (conversation.silenced or conversation.ended or conversation.draining or conversation.closed
            or conversation.cut_off)


def _held(conversation: Conversation) -> bool:
    """Return whether an action of the script waits for the write under way: a send, an end of stream, or TLS."""
    if conversation.sending or conversation.cursor == len(conversation.steps):
        return conversation.sending
    return getattr(conversation.steps[conversation.cursor], "begun", True) is False


def _upgrades(conversation: Conversation) -> bool:
    """Return whether the client expects TLS next: the handshake is not done, or the go-ahead for it was sent."""
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
    """Return whether the step may stand between a go-ahead and `start_tls()`, as `delay()` may."""
    return not (step.is_expectation or step.sends or step.method == "start_tls")


class Rule:
    """Base class: an entry of a script that is not a step, and applies in addition to the steps."""

    __slots__ = ("shown", "origin", "source", "encode", "count")

    method = ""

    def __init__(self, shown: str, origin: Origin, source: Any, encode: Optional[Callable[[bytes], bytes]]) -> None:
        self.shown = shown
        self.origin = origin
        self.source = source
        self.encode = encode
        self.count = 0

    def lines(self) -> list[SourceLine]:
        """Return the source lines where it was written."""
        return source_lines(self.origin)

    def __str__(self) -> str:
        return f"{self.method}({self.shown})"

    def sent(self) -> None:
        """Take note that the operating system has taken one more of what this entry sends."""

    def make_send(self, conversation: Conversation, argument: Any) -> Optional[InterleavedSend]:
        """Return something to send, made from the source. If that fails, fail the script and return None."""
        send = InterleavedSend(self)
        outcome = send.compute(argument)
        if isinstance(outcome, Mismatch):
            conversation.session.fail(conversation, None, outcome)
            return None
        if outcome is not None:
            conversation.command(RunCoroutine(conversation, send, outcome))
        return send
