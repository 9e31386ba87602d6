"""What the server sends between the steps of its script: replies to allowed messages, and its own heartbeats.

Such a message belongs to no step. It is called an interleaved send. `conversation/interleaving.py` writes them.

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
from typing import Any, Callable, Optional

from tcpclient_testing.engine.origin import Origin, label_of
from tcpclient_testing.engine.source_lines import SourceLine, source_lines

from .payload import Payload

__all__ = ["InterleavedSend", "InterleavedSends", "Rule"]

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
    """The interleaved sends of one connection: the second lane of its `Outbox`.

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

    def hold(self) -> bool:
        """Return True if a new write of the script has to wait; `script_is_next` then gives it its turn."""
        if self.under_way:
            waiting = self.waiting
            ready = 0
            while ready < len(waiting) and getattr(waiting[ready], "data", None) is not None:
                ready += 1
            waiting.insert(ready, None)
        return self.under_way

    @property
    def holds_script(self) -> bool:
        """Whether a write of the script waits for its turn."""
        return None in self.waiting

    def clear(self) -> bool:
        """Drop what waits. Return whether a write of the script was waiting as well: it has its turn now."""
        held = None in self.waiting
        self.waiting.clear()
        return held

    def take_ready(self) -> list[InterleavedSend]:
        """Take out those whose turn it is, and whose bytes are known."""
        ready, waiting = [], self.waiting
        while waiting:
            send = waiting[0]
            if send is None or send.data is None:
                break
            if send.data:
                ready.append(send)
            waiting.popleft()
        return ready

    def script_is_next(self) -> bool:
        """Return whether it is the turn of a write of the script, which is then taken out."""
        if self.waiting and self.waiting[0] is None:
            self.waiting.popleft()
            return True
        return False

    def begin(self, sends: list[InterleavedSend], size: int) -> None:
        """Begin a write of these, of which `size` bytes are sent."""
        ends = accumulate(len(send.data or b"") for send in sends)
        self.whole = [send for send, end in zip(sends, ends) if end <= size]
        self.under_way = True

    def finish(self) -> None:
        """The operating system has taken the write."""
        self.under_way = False
        whole, self.whole = self.whole, []
        for send in whole:
            send.rule.sent()

    def hold_back(self) -> None:
        """Let nothing be written until `finish` is called (again): the connection is being ended."""
        self.under_way = True


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
        label = label_of(self.origin)
        return f"{'' if label is None else f'{label}: '}{self.method}({self.shown})"

    def sent(self) -> None:
        """Take note that the operating system has taken one more of what this entry sends."""
