"""The state machine of one connection: it compares the connection's script with what the client does.

Invariants:

- `steps[:cursor]` are satisfied.
- `steps[cursor]` is due once the connection has begun: its client was accepted, and no step of another connection has
  to come first.
- No step after the cursor has begun, except for sends that join one write.
- `pending` holds, in order, the client's bytes that no step has claimed yet. `ended` and `reset` say that the client's
  stream ends after them. So early input waits for its step, and no step sees how the stream was split.
- Once the script has failed or the server was left, nothing changes any more (`Session.over`).

`receive` takes events. It changes the conversation and appends commands for the adapter to the session's list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.commands import Command, Send, StartTLS, Wake
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import DEFAULT_TIMING, DONE, QUEUED, Step
from tcpclient_testing.engine.steps.sending import SendBytes

from .events import Event
from .exact_run import ExactRun
from .timeouts import deadline_of

if TYPE_CHECKING:
    from tcpclient_testing.engine.connection.handshake import Handshake
    from tcpclient_testing.engine.connection.tls_failure import TLSFailure
    from tcpclient_testing.engine.session.any_order import Pool
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.engine.steps.faults import BreakAfter
    from tcpclient_testing.engine.steps.waiting import HoldUntil

    from .selection import Selection

__all__ = ["Conversation"]

__unittest = True


class Conversation:
    """One connection, expected or accepted or both, and the position in its script.

    `number` counts from 1 in the order of acceptance, which is the order of the `expect_connect()` steps. Number 0
    stands for the server itself: its steps are settings.
    """

    __slots__ = ("session", "number", "handle", "steps", "cursor", "marks", "peername", "accepted", "accepted_at",
                 "closed", "ended", "reset", "draining", "pending", "exact", "due", "turn", "progress", "alarm_at",
                 "gate", "begun", "outbox", "sending", "issued", "taken", "taken_ends", "taken_bytes", "watchers",
                 "began", "taken_at", "unclaimed_at", "kept", "tls", "broken", "selection", "pool", "silenced",
                 "hand_over_step", "sent_eof", "got_eof", "caught_up", "output", "fault", "paused", "excused", "fin",
                 "__weakref__")

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self.handle: Any = None
        self.steps: list[Step[Any]] = []
        self.cursor = 0
        self.marks: list[tuple[int, float]] = []
        self.peername: Any = None
        self.accepted = False
        self.accepted_at = 0.0
        self.closed = False
        self.ended = False
        self.reset = False
        #: Whether the client has sent a FIN; a reset may have followed it.
        self.fin = False
        self.draining = False
        self.pending: deque[memoryview] = deque()
        self.exact = ExactRun()
        self.due: Optional[Step[Any]] = None
        #: The last step whose time-outs were restarted because the event loop had been blocked, and when that was.
        self.excused: tuple[Optional[Step[Any]], float] = None, 0.0
        self.turn = self.began = 0.0
        self.progress = self.taken_at = 0.0
        self.unclaimed_at = 0.0
        self.caught_up = False
        self.kept = 0
        self.alarm_at: Optional[float] = None
        self.gate: Any = None
        self.begun = 0
        self.outbox: list[bytes] = []
        self.sending = False
        self.issued = 0
        self.taken = 0
        self.taken_ends: list[int] = []
        self.taken_bytes = 0
        self.watchers: dict[Step[Any], list[Callable[[], None]]] = {}
        self.output = 0
        self.fault: Optional[BreakAfter] = None
        self.tls: Optional[Handshake] = None
        self.broken: Optional[TLSFailure] = None
        self.selection: Optional[Selection] = None
        self.pool: Optional[Pool] = None
        self.silenced = False
        self.hand_over_step: Optional[Step[Any]] = None
        self.sent_eof: Optional[Step[Any]] = None
        self.got_eof: Optional[Step[Any]] = None
        #: The `pause_reading()` step since which the server does not read from the client; None while it reads.
        self.paused: Optional[Step[Any]] = None

    # Events.

    def receive(self, event: Event) -> None:
        """Apply an event, unless the session is over. The commands to carry out are then in the session's list."""
        if not self.session.over:
            self.session.now = event.now
            event.apply(self)

    def connected(self, peername: Any) -> None:
        """A client was accepted."""
        self.accepted = True
        self.peername = peername
        self.accepted_at = self.progress = self.session.now
        if self.session.tls_context is not None:
            self.begin_tls(self.session.tls_context)
        self.advance()

    def received(self, data: Any) -> None:
        """Take the client's next bytes. Those that no step claims now are copied before this returns."""
        if self.draining or not data:
            return  # not progress either: else a client that never stops sending would never be overdue
        view = data if type(data) is memoryview else memoryview(data)
        pending = self.pending
        if self.selection is not None and not pending:
            self.selection.arrives(self.progress, self.session.now)
        self.progress = self.session.now
        if not pending:
            self.kept = 0
            self.unclaimed_at = self.session.now
        pending.append(view)
        self.advance()
        if pending:
            pending[-1] = memoryview(bytes(pending[-1]))
            self.kept += len(pending[-1])

    def stream_ended(self) -> None:
        """The client ended its stream (FIN)."""
        self.ended = self.fin = True
        self.progress = self.session.now
        self.advance()

    def was_reset(self, after_fin: bool = False) -> None:
        """The client reset the connection; `after_fin` says that it had sent a FIN before."""
        self.ended = self.reset = True
        self.fin = self.fin or after_fin
        self.progress = self.session.now
        if self.sending and not self.cut_off:
            step = self.steps[self.cursor]
            assert isinstance(step, SendBytes)
            self.session.fail(self, step, step.cut_short(self))
            return
        self.advance()

    def progressed(self, count: int) -> None:
        """The operating system has taken `count` more bytes."""
        if self.selection is not None and self.selection.interleaved.progressed(self):
            return
        self.taken_at = self.session.now
        self.taken_bytes += count
        self.move_to(self.taken + bisect_right(self.taken_ends, self.taken_bytes))
        if self.watchers:
            self.tell_watchers()

    def flushed(self) -> None:
        """The operating system has taken everything: the sends of this write, or the end of our stream."""
        if self.selection is not None and self.selection.interleaved.flushed(self):
            return
        if self.sending:
            if self.fault is not None and self.fault.strike(self):
                return  # another Flushed follows when the connection has been ended
            self.sending = False
            self.taken_at = self.session.now
            self.caught_up = not self.pending
            self.move_to(self.taken + len(self.taken_ends))
            if self.selection is not None:
                self.selection.interleaved.pump(self)
            if self.issued > self.cursor and self.reset:
                step = self.steps[self.cursor]
                assert isinstance(step, SendBytes)
                self.session.fail(self, step, step.cut_short(self))
                return
            if self.issued > self.cursor:
                self._give_turn(self.steps[self.cursor])
                self._start_write(self.cursor)
                self.arm()
                if self.watchers:
                    self.tell_watchers()
                return
        elif self.cursor < len(self.steps):
            self.move_to(self.cursor + 1)
        self.advance()

    def computed(self, step: Any, value: Any, error: Optional[BaseException]) -> None:
        """The coroutine that computes the bytes of a send, an `allow()` reply or a heartbeat has ended."""
        mismatch = step.failed(error) if error is not None else step.computed(value)
        if mismatch is not None:
            self.session.fail(self, step if isinstance(step, Step) else None, mismatch)
        else:
            self.advance()

    def released(self, step: HoldUntil) -> None:
        """What a `hold_until()` step waits for has happened."""
        step.released = True
        self.advance()

    def handshake_bytes(self, count: int) -> None:
        """The client has sent `count` more bytes of its TLS handshake."""
        assert self.tls is not None
        self.tls.received += count
        self.progress = self.session.now

    def upgraded(self, info: Any) -> None:
        """The TLS handshake is done."""
        assert self.tls is not None
        self.tls.done = True
        self.tls.info = info
        self.progress = self.session.now
        self.advance()

    def tls_failed(self, failure: TLSFailure) -> None:
        """TLS failed; ignore what the client still sends."""
        self.broken = failure
        self.draining = True
        self.progress = self.session.now
        self.advance()

    # The script.

    def add(self, step: Step[Any]) -> None:
        """Append a step. If it is due or may join the write under way, advance: it may be satisfied at once."""
        step.conversation = self
        step.index = len(self.steps)
        self.steps.append(step)
        if self.selection is not None:
            self.selection.added(step)
        if self.cursor == step.index or self.sending:
            self.advance()

    def advance(self) -> None:  # noqa: C901 - the main loop of the state machine: splitting it costs a call per step
        """Let the due steps proceed until one of them has to wait."""
        session = self.session
        session.tail = None
        if self.gate is not None or session.over:
            if self.pool is not None:
                self.pool.look()
            return
        steps, selection = self.steps, self.selection
        while self.cursor < len(steps):
            position = self.issued if self.sending else self.cursor
            if position == len(steps):
                break
            step = steps[position]
            if self.broken is not None and not step.survives(self):
                session.fail(self, steps[self.cursor], self.broken)
                return
            if self.sending:
                # Only a send may join the write under way; `due` stays at the first send of that write.
                if not step.sends:
                    break
            elif step is not self.due:
                self._give_turn(step)
                if position < self.begun:  # its coroutine was started while the write before it was under way
                    self.arm()
            outcome: Any = None
            # After a fault has ended the connection no message is read any more, not even an allowed one.
            if selection is not None and not (self.fault is not None and self.fault.ended):
                outcome = selection.before(self, step)
            if outcome is None:
                if position >= self.begun:
                    self.begun = position + 1
                    outcome = step.begin(self) if self.fault is None else self.fault.begin_other(self, step)
                    self.arm()
                if outcome is None:
                    outcome = step.proceed(self)
            if outcome is DONE:
                self.move_to(self.cursor + 1)
            elif outcome is QUEUED:
                self._queue(position)
            elif isinstance(outcome, Mismatch):
                if selection is not None:
                    from .candidates import used_up
                    outcome.summary += used_up(self)
                session.fail(self, steps[self.cursor] if step.is_expectation else step, outcome)
                return
            else:
                self._wait(position)
                break
        if selection is not None:
            selection.after(self)
        if self.watchers:
            self.tell_watchers()

    def _wait(self, position: int) -> None:
        """The step at `position` has to wait. If it moved the cursor (an `ExactRun` does), the step there is due."""
        if self.cursor > position and not self.sending:
            self._give_turn(self.steps[self.cursor])
            self.arm()

    def _give_turn(self, step: Step[Any]) -> None:
        self.due = step
        self.turn = self.began = self.session.now
        self.alarm_at = None

    def arm(self) -> None:
        """Set the session's reminder for the due step's deadline, if that is needed."""
        session, due = self.session, self.due
        if self.selection is None and self.alarm_at is None and due is not None and due.timing is DEFAULT_TIMING:
            # The common case: a reminder is already set, and this step can't be overdue before it.
            if session.timeout is None:
                return
            if session.reminder is not None and session.reminder <= self.turn + session.timeout:
                return
        deadline = deadline_of(self)
        if deadline is not None:
            session.remind(deadline)

    def move_to(self, cursor: int) -> None:
        """Mark the steps before `cursor` as satisfied, at the current time."""
        if cursor > self.cursor:
            self.session.tail = None
            self.cursor = cursor
            self.marks.append((cursor, self.session.now))

    # Sending.

    def _queue(self, position: int) -> None:
        """The step at `position` has put its bytes into the outbox: begin a write, unless one is under way."""
        if not self.sending:
            self._start_write(position)
        self.issued = position + 1

    def _start_write(self, position: int) -> None:
        self.sending = True
        self.taken = position
        self.taken_ends = []
        self.taken_bytes = 0
        if self.selection is None or not self.selection.interleaved.hold():
            self.command(Send(self))

    def take_output(self) -> list[bytes]:
        """Return the chunks to write. The adapter calls this once per write; later sends go into another write."""
        chunks, self.outbox = self.outbox, []
        base = self.taken_ends[-1] if self.taken_ends else 0
        for step in self.steps[self.taken + len(self.taken_ends):self.issued]:
            assert isinstance(step, SendBytes)
            base += len(step.data or b"")
            self.taken_ends.append(base)
        if self.fault is not None:
            chunks = self.fault.cut(self, chunks)
        self.output += sum(map(len, chunks))
        return chunks

    def taken_of(self, step: Step[Any]) -> int:
        """Return how many bytes of a send the operating system has taken; reports call them taken by the client."""
        position = step.index - self.taken
        if not 0 <= position < len(self.taken_ends):
            return 0
        start = self.taken_ends[position - 1] if position else 0
        return max(0, min(self.taken_bytes, self.taken_ends[position]) - start)

    @property
    def cut_off(self) -> bool:
        """Whether a fault has ended our stream: nothing that is sent now reaches the client."""
        return self.fault is not None and self.fault.struck

    # What steps ask for.

    def command(self, command: Command) -> None:
        """Append a command for the adapter to the session's list."""
        self.session.commands.append(command)

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

    def drain(self) -> None:
        """From now on, record what the client sends, but don't judge it."""
        self.draining = True
        self._forget_pending()
        self.progress = self.session.now

    def _forget_pending(self) -> None:
        """Drop the pending bytes, and what has been read of a message in them."""
        self.pending.clear()
        if self.selection is not None:
            self.selection.forget()

    @property
    def interleaved_under_way(self) -> bool:
        """Whether a write is under way that belongs to no step: an `allow()` reply or a heartbeat."""
        return self.selection is not None and self.selection.interleaved.under_way

    def begin_tls(self, context: Any) -> None:
        """From now on both sides use TLS. Bytes that are pending are the beginning of the client's handshake."""
        from tcpclient_testing.engine.connection.handshake import Handshake
        begun = self.unclaimed()
        self._forget_pending()
        self.tls = Handshake(context)
        self.command(StartTLS(self, context, begun))

    @property
    def handshaking(self) -> bool:
        """Whether a TLS handshake is under way: it was begun, and has neither finished nor failed."""
        return self.tls is not None and not self.tls.done and self.broken is None

    def failure_may_be_wanted(self, step: Step[Any]) -> bool:
        """Whether the step after `step` expects TLS to fail (`expect_tls_failure()`), or is not written yet."""
        return step.index + 1 == len(self.steps) or self.steps[step.index + 1].method == "expect_tls_failure"

    def alarm(self, delay: float) -> None:
        """Have the due step's `timer_fired` called after `delay` seconds."""
        self.alarm_at = self.session.now + delay

    def last_result(self) -> Any:
        """Return the result of the last satisfied expectation, or None. The script's callables get it."""
        for index in range((self.issued if self.sending else self.cursor) - 1, -1, -1):
            step = self.steps[index]
            if step.is_expectation:
                return step.written()
        return None

    @property
    def excess(self) -> bool:
        """Whether bytes are pending that can't be the beginning of a message that `allow()` lets through."""
        return bool(self.pending) and (self.selection is None or not self.selection.may_be_allowed(self))

    def has_turn(self, step: Step[Any]) -> bool:
        """Whether it is the turn of `step`: it is at the cursor, or open in the same `any_order()` block."""
        if step.index == self.cursor:
            return True
        if self.selection is None or step.index < self.cursor:
            return False
        block = self.selection.block_of(step)
        return block is not None and block is self.selection.block_of(self.steps[self.cursor])

    def ending(self) -> str:
        """Say how the client's stream ended, as far as is known: "half-closed", "reset the connection"."""
        if self.reset:
            return "reset the connection"
        return self.session.host.ending_of(self)

    def restart(self) -> None:
        """Restart the time-outs: a debugger had stopped time until now."""
        self.turn = self.progress = self.taken_at = self.session.now

    def excuse(self) -> bool:
        """The event loop was blocked until now: restart the due step's time-outs; return whether any was restarted.

        The first time for a step, all of them are restarted. After that only `timeout` is, and only if there was
        progress since the last restart (see `Session.excuse`).
        """
        step, at = self.excused
        if step is not self.due:
            self.restart()
        elif max(self.progress, self.taken_at) > at:
            self.progress = self.taken_at = self.session.now
        else:
            return False
        self.excused = self.due, self.session.now
        return True

    # Waiting for steps.

    def when_done(self, step: Step[Any], callback: Callable[[], None]) -> None:
        """Call `callback` when `step`, a step of this conversation, is satisfied; at once if it already is."""
        if step.satisfied:
            callback()
        else:
            self.watchers.setdefault(step, []).append(callback)

    def wake(self, step: Step[Any]) -> None:
        """Give the adapter a `Wake` command as soon as `step`, which is being awaited, is satisfied.

        Raises `ScriptError` for a step of an `any_order()` block that has not ended.
        """
        if self.pool is not None:
            self.pool.check_awaited(step)
        if self.selection is not None:
            self.selection.check_awaited(step)
        self.when_done(step, lambda: self.command(Wake(step)))

    def tell_watchers(self) -> None:
        """Call the callbacks of those watched steps that are satisfied now."""
        for step in [step for step in self.watchers if step.satisfied]:
            self.session.call(self.watchers.pop(step, ()))

    @property
    def open(self) -> bool:
        """Whether the client is connected, as far as the server can see."""
        return self.accepted and not (self.ended or self.closed)

    @property
    def complete(self) -> bool:
        """Whether every step added so far is satisfied. Steps that a handler adds don't count."""
        return self.cursor == len(self.steps) or (self.hand_over_step is not None and self.hand_over_step.satisfied)
