"""What the client of one connection sends: its bytes that no step has claimed yet, and how its stream ends.

    waiting --connected--> open --FIN--> ended --RST--> reset
                             `--------RST--------------^

Invariants

- `pending` holds, in order, the bytes that no step has claimed yet. `ended` and `reset` say that the client's stream
  ends after them. So early input waits for its step, and no step sees how the stream was split.
- Bytes that stay pending when `take` has returned are copied by `keep`: the adapter uses its buffer again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Optional, Union

if TYPE_CHECKING:
    from tcpclient_testing.engine.host import Written

__all__ = ["Inbox"]

__unittest = True


class Inbox:
    """The client's part of one connection.

    - `accepted`, `accepted_at`, `peername`: whether the client has connected, when (seconds of the clock), from where
    - `pending`: the bytes that no step has claimed yet; `kept`: about how many of them were copied
    - `unclaimed_at`: when the first of them came, in seconds of the clock
    - `progress`: when the client last did something, in seconds of the clock
    - `ended`: whether its stream has ended; `fin`: by a FIN; `reset`: by a reset, which may have followed a FIN
    - `closed`: whether the connection is closed: nothing comes any more
    - `draining`: whether what comes is recorded, but no longer judged
    - `paused`: the step since which the server does not read from the client; None while it reads
    """

    __slots__ = ("peername", "accepted", "accepted_at", "pending", "kept", "unclaimed_at", "progress", "ended", "fin",
                 "reset", "closed", "draining", "paused")

    def __init__(self) -> None:
        self.peername: Any = None
        self.accepted = False
        self.accepted_at = 0.0
        self.pending: deque[memoryview] = deque()
        self.kept = 0
        self.unclaimed_at = 0.0
        self.progress = 0.0
        self.ended = False
        self.fin = False
        self.reset = False
        self.closed = False
        self.draining = False
        self.paused: Optional[Written] = None

    # What the client does.

    def connect(self, peername: Any, now: float) -> None:
        """A client was accepted; `peername` is its address as the operating system gives it."""
        self.accepted = True
        self.peername = peername
        self.accepted_at = self.progress = now

    def take(self, data: Union[bytes, memoryview], now: float) -> None:
        """The client's next bytes have come; call `keep` when the steps have had their look at them."""
        pending = self.pending
        self.progress = now
        if not pending:
            self.kept = 0
            self.unclaimed_at = now
        pending.append(data if type(data) is memoryview else memoryview(data))

    def keep(self) -> None:
        """Copy what is left of the bytes that came last: the adapter uses its buffer again."""
        pending = self.pending
        pending[-1] = last = memoryview(bytes(pending[-1]))
        self.kept += len(last)

    def count_kept(self) -> int:
        """Return exactly how many bytes are pending, in memory of our own."""
        self.kept = sum(map(len, self.pending))
        return self.kept

    def end(self, now: float) -> None:
        """The client ended its stream (FIN)."""
        self.ended = self.fin = True
        self.progress = now

    def end_by_reset(self, now: float, *, after_fin: bool) -> None:
        """The client reset the connection; `after_fin` says that it had sent a FIN before."""
        self.ended = self.reset = True
        self.fin = self.fin or after_fin
        self.progress = now

    def note_reset(self) -> None:
        """The client, which has ended its stream, has answered with a reset to what was sent after that."""
        self.reset = True

    def close(self) -> None:
        """The connection is closed."""
        self.closed = True

    # What steps do.

    def consume(self, count: int) -> None:
        """Remove the next `count` pending bytes: the due step has claimed them."""
        pending = self.pending
        while count:
            head = pending.popleft()
            if count < len(head):
                pending.appendleft(head[count:])
                return
            count -= len(head)

    def unclaimed(self, most: Optional[int] = None) -> bytes:
        """Return a copy of the bytes that no step has claimed, or of the first `most` of them."""
        if most is None:
            return b"".join(self.pending)
        pieces, left = [], most
        for piece in self.pending:
            if left <= 0:
                break
            pieces.append(bytes(piece[:left]))
            left -= len(piece)
        return b"".join(pieces)

    def drain(self, now: float) -> None:
        """From now on, what comes is not judged; drop what is pending."""
        self.draining = True
        self.pending.clear()
        self.progress = now

    def ignore(self, now: float) -> None:
        """From now on, what comes is not judged; what is pending stays."""
        self.draining = True
        self.progress = now

    def clear(self) -> None:
        """Drop the pending bytes."""
        self.pending.clear()

    def touch(self, now: float) -> None:
        """Count this moment as the client's last progress."""
        self.progress = now

    def pause(self, step: Written) -> None:
        """The server does not read from the client from now on, as `step` says."""
        self.paused = self.paused or step

    def resume(self) -> None:
        """The server reads from the client again."""
        self.paused = None

    # What it is asked.

    @property
    def open(self) -> bool:
        """Whether the client is connected, as far as the server can see."""
        return self.accepted and not (self.ended or self.closed)
