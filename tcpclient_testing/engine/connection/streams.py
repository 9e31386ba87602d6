"""The two streams of one connection: what the client sends, in the `Inbox`, and what the server sends, in the `Outbox`.

What the client sends, bytes that no step has claimed yet, and how its stream ends:

    waiting --connected--> open --FIN--> ended --RST--> reset
                             `--------RST--------------^

- `pending` holds, in order, the bytes that no step has claimed yet. `ended` and `reset` say that the client's stream
  ends after them. So early input waits for its step, and no step sees how the stream was split.
- Bytes that stay pending when `take` has returned are copied by `keep`: the adapter uses its buffer again.

What the server sends, and how much of it the operating system has taken. There are two lanes. What the steps of the
script send is queued item by item, and goes out in writes:

    idle --queue, begin--> sending --take--> items under way --took--> ... --took_all--> idle, or the next write

- What belongs to no step goes out in the other lane, `interleaved` (see there). Only one of them writes at a time.
- An armed `Limit` counts the bytes of both lanes, cuts them, and strikes when its number is reached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Optional, Union

if TYPE_CHECKING:
    from tcpclient_testing.engine.commands import Command
    from tcpclient_testing.engine.host import Written
    from tcpclient_testing.engine.mismatches import Mismatch

    from .interleaved import InterleavedSends

__all__ = ["Inbox", "Limit", "Outbox"]

__unittest = True


class Inbox:
    """The client's part of one connection.

    - `accepted`, `accepted_at`, `peername`: whether the client has connected, when (seconds of the clock), from where
    - `pending`: the bytes that no step has claimed yet; `kept`: about how many of them were copied
    - `unclaimed_at`: when the first of them came, in seconds of the clock
    - `progress`: when the client last did something, in seconds of the clock
    - `ended`: whether its stream has ended; `fin`: by a FIN; `reset`: by a reset, which may have followed a FIN
    - `close_notify`: whether it has ended by a close_notify of TLS
    - `hung_up`: whether it is gone while the server has more to send: it has reset the connection, or closed it
    - `closed`: whether the connection is closed: nothing comes any more
    - `draining`: whether what comes is recorded, but no longer judged
    - `paused`: the step since which the server does not read from the client; None while it reads
    """

    __slots__ = ("peername", "accepted", "accepted_at", "pending", "kept", "unclaimed_at", "progress", "ended", "fin",
                 "close_notify", "reset", "hung_up", "closed", "draining", "paused")

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
        self.close_notify = False
        self.reset = False
        self.hung_up = False
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

    def truncate(self, most: int) -> None:
        """Keep only the first `most` pending bytes."""
        pending, left = self.pending, most
        kept = []
        while pending and left > 0:
            kept.append(pending.popleft()[:left])
            left -= len(kept[-1])
        self.pending = deque(kept)

    def end(self, now: float, *, close_notify: bool = False) -> None:
        """The client ended its stream: with a FIN, or over TLS with a `close_notify`."""
        self.ended = self.fin = True
        self.close_notify = close_notify
        self.progress = now

    def end_by_reset(self, now: float, *, after_fin: bool) -> None:
        """The client reset the connection; `after_fin` says that it had sent a FIN before."""
        self.ended = self.reset = self.hung_up = True
        self.fin = self.fin or after_fin
        self.progress = now

    def hang_up(self, now: float) -> None:
        """The client has closed the connection: what is sent from now on can't reach it."""
        self.ended = self.fin = self.hung_up = True
        self.progress = now

    def note_reset(self) -> None:
        """The client, which has ended its stream, has answered with a reset to what was sent after that."""
        self.reset = self.hung_up = True

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
    def gone(self) -> bool:
        """Whether nothing that is sent can reach the client."""
        return self.hung_up or self.closed

    @property
    def open(self) -> bool:
        """Whether the client is connected, as far as the server can see."""
        return self.accepted and not (self.ended or self.closed)


class Limit:
    """Base class: a fault that strikes in what the server sends. Give it to `Outbox.arm`.

    - `step`: the step that has armed it
    - `count`: after how many bytes of the connection it strikes; `struck`: whether it has
    - `ends`: whether it ends the connection, so that nothing more can be expected of the client; `ending` then says
      what the server has done: "disconnected"
    - `answered`: whether the client's own end may still be expected then
    """

    __slots__ = ("step", "count", "struck")

    ends = False
    answered = False
    ending = ""

    def __init__(self, step: Written, count: int) -> None:
        self.step = step
        self.count = count
        self.struck = False

    def cut(self, chunks: list[bytes], sent: int) -> list[bytes]:
        """Return what may be sent of `chunks`, when `sent` bytes were sent before: none beyond the limit."""
        room, kept = self.count - sent, []
        for chunk in chunks:
            if room <= 0:
                break
            kept.append(chunk[:room])
            room -= len(kept[-1])
        return kept

    def command(self, number: int) -> Optional[Command]:
        """Return what the adapter has to do to connection `number` once the limit is reached; None is nothing."""
        return None

    def missed(self, sent: int) -> Mismatch:
        """Return the mismatch of a limit that was never reached: the server sent only `sent` bytes."""
        from tcpclient_testing.engine.mismatches import Mismatch
        from tcpclient_testing.engine.wording import counted
        return Mismatch(f"{self.step} never took effect: the server sent only {counted(sent, 'byte')}")


class Outbox:
    """The server's part of one connection.

    - `queued`: the items that are not under way yet, or None; `sending`: whether a write of the script is under way
    - `first`, `next`: the index of the write's first item, and of the item that may be queued next; `ends` has for each
      item of the write where it ends, in bytes
    - `unfinished`: whether the write's last item goes on in the next write
    - `taken`: how many bytes of the write the operating system has taken; `taken_at`: when it last took some, in
      seconds of the clock
    - `unread`: whether the client may have left some of that unread; `read_at`: when it was last seen to read, in
      seconds of the clock
    - `caught_up`: whether no byte of the client was pending when the last write had been taken
    - `total`: how many bytes were sent in all; `script_end`: how many by the end of the script's latest write
    - `reached`: how many bytes may have reached a client that has hung up; None while it is connected
    - `limit`: the armed fault
    - `ended`: whether the server has half-closed
    - `interleaved`: the lane of what belongs to no step; None as long as there is nothing of the kind
    """

    __slots__ = ("queued", "sending", "first", "next", "ends", "unfinished", "taken", "taken_at", "unread", "read_at",
                 "caught_up", "total", "script_end", "reached", "limit", "ended", "interleaved")

    def __init__(self) -> None:
        self.queued: Optional[list[bytes]] = None
        self.sending = False
        self.first = 0
        self.next = 0
        self.ends: tuple[int, ...] = ()
        self.unfinished = False
        self.taken = 0
        self.taken_at = 0.0
        self.unread = False
        self.read_at = 0.0
        self.caught_up = False
        self.total = 0
        self.script_end = 0
        self.reached: Optional[int] = None
        self.limit: Optional[Limit] = None
        self.ended = False
        self.interleaved: Optional[InterleavedSends] = None

    # The lane of the script.

    def queue(self, data: bytes, index: int, *, unfinished: bool = False) -> None:
        """Put the next item, number `index`, into the queue. If it is `unfinished`, nothing may follow it there."""
        if self.queued is None:
            self.queued = []
        self.queued.append(data)
        self.next = index if unfinished else index + 1
        self.unfinished = unfinished

    def begin(self, first: int) -> None:
        """Begin a write with item number `first`, which is in the queue."""
        self.sending = True
        self.first = first
        self.ends = ()
        self.taken = 0

    def take(self) -> list[bytes]:
        """Return the chunks to write. The adapter calls this once per write; later items go into another write."""
        chunks, self.queued = self.queued or [], None
        before = self.ends[-1] if self.ends else 0
        # A tuple: there is one for each connection, and the garbage collector passes over tuples of numbers.
        self.ends += tuple(accumulate(map(len, chunks), initial=before))[1:]
        if b"" in chunks:
            chunks = [chunk for chunk in chunks if chunk]
        if self.limit is not None:
            chunks = self.limit.cut(chunks, self.total)
        self.total += sum(map(len, chunks))
        self.script_end = self.total
        return chunks

    def took(self, count: int, now: float) -> int:
        """The operating system has taken `count` more bytes. Return the index of the first item not taken whole."""
        self.taken_at = now
        self.unread = True
        self.taken += count
        return self.first + bisect_right(self.ends, self.taken, 0, len(self.ends) - self.unfinished)

    def took_all(self, now: float, *, caught_up: bool) -> int:
        """The operating system has taken the whole write. Return the index of the item after it."""
        self.sending = False
        self.taken_at = now
        self.unread = True
        self.caught_up = caught_up
        return self.first + len(self.ends) - self.unfinished

    def taken_of(self, index: int) -> int:
        """Return how many bytes of an item the operating system has taken; reports call them taken by the client."""
        position = index - self.first
        if not 0 <= position < len(self.ends):
            return 0
        start = self.ends[position - 1] if position else 0
        return max(0, min(self.taken, self.ends[position]) - start)

    def give_up(self) -> None:
        """The client has hung up: nothing more of the write under way is sent."""
        self.sending = False
        self.queued = None

    def note_reach(self, sent: Optional[int]) -> None:
        """The client has hung up: at most `sent` bytes have reached it; None is all that were sent."""
        if self.reached is None:
            self.reached = self.total if sent is None else sent

    def touch(self, now: float) -> None:
        """Count this moment as the last one at which something was taken."""
        self.taken_at = now

    def client_read(self, now: float, *, progress: bool, unread: bool) -> None:
        """The client was looked at: whether it has read since the last look, and whether something is left `unread`."""
        self.unread = unread
        if progress:
            self.read_at = now

    def end(self) -> None:
        """The server half-closes: nothing is sent any more."""
        self.ended = True

    # The other lane.

    def open_lane(self) -> InterleavedSends:
        """Return the lane of messages that belong to no step: from now on there may be some."""
        if self.interleaved is None:
            from .interleaved import InterleavedSends
            self.interleaved = InterleavedSends()
        return self.interleaved

    @property
    def interleaving(self) -> bool:
        """Whether a write is under way that belongs to no step: an `allow()` reply or a heartbeat."""
        return self.interleaved is not None and self.interleaved.under_way

    def send_interleaved(self, data: bytes) -> bytes:
        """Return what may be sent of `data`, which belongs to no step, and count it."""
        if self.limit is not None:
            data = b"".join(self.limit.cut([data], self.total))
        self.total += len(data)
        return data

    @property
    def followed(self) -> bool:
        """Whether something that belongs to no step was sent after the last byte of the script."""
        return self.total > self.script_end

    # Faults.

    def arm(self, limit: Limit) -> None:
        """Let this fault strike when its number of bytes has been sent."""
        self.limit = limit

    def strike(self) -> Optional[Limit]:
        """Let the armed fault strike if its limit is reached, and return it. It waits for interleaved sends to end."""
        limit = self.limit
        if limit is None or limit.struck or self.total < limit.count or self.interleaving:
            return None
        limit.struck = True
        return limit

    @property
    def cut_off(self) -> bool:
        """Whether a fault has ended our stream: nothing that is sent now reaches the client."""
        return self.limit is not None and self.limit.struck
