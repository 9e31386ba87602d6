"""The state machine of one connection: it compares the connection's script with what the client does.

Its parts own the state: the `Script` what was written and how far it has come, the `Inbox` what the client sends, the
`Outbox` what the server sends, the `Timer` since when a step is due. The conversation lets the due steps proceed.

Invariants:

- The step at the cursor is due once the connection has begun: its client was accepted, and no step of another
  connection has to come first.
- No step after the cursor has begun, except for sends that join one write.
- Once the script has failed or the server was left, nothing changes any more (`Environment.over`).

The adapter reports what happens, each time with the time at which it was noticed, in seconds of its clock: the engine
has no clock. It calls these methods, in this grammar, and then carries out the commands in the environment:

    connected -> received* -> [half_closed | was_reset]     what the client does
    half_closed -> [hung_up]                                it has closed, with more to be sent to it
    flushed | progressed | computed | released              the outcome of a command, at any time in between
    client_read                                             how much the client has read, when the engine was ticked
    handshake_bytes* -> upgraded -> [tls_failed]            TLS, if it was begun; `received` gets decrypted bytes
    handshake_bytes* -> tls_failed
    half_closed -> [was_reset]                              a reset may be found after the client's end of stream
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Optional, Union

from tcpclient_testing.engine.commands import Close, Send, StartTLS, Wake
from tcpclient_testing.engine.connection.streams import Inbox, Outbox
from tcpclient_testing.engine.environment import Environment, Failure
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import AGAIN, DONE, QUEUED, Script, Step
from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING

from .timeouts import LOOKS, deadline_of, next_look
from .timer import Timer

if TYPE_CHECKING:
    from tcpclient_testing.engine.connection.handshake import Handshake
    from tcpclient_testing.engine.connection.tls_failure import TLSFailure
    from tcpclient_testing.engine.steps.base import Run
    from tcpclient_testing.engine.steps.waiting import HoldUntil

    from .selection import Selection

__all__ = ["Conversation"]

__unittest = True


class Conversation:
    """One connection, expected or accepted or both.

    `number` counts from 1 in the order of acceptance, which is the order of the `expect_connect()` steps. `handshake`
    is the state of TLS, once it was begun; `selection` decides which message comes next where more than the due step
    is possible; None where the client's bytes go straight to that step. `begun` is how many steps have begun.
    """

    __slots__ = ("environment", "number", "script", "inbox", "outbox", "timer", "exact", "handshake", "selection",
                 "begun", "__weakref__")

    def __init__(self, environment: Environment, number: int) -> None:
        self.environment = environment
        self.number = number
        self.script = Script(environment, number)
        self.inbox = Inbox()
        self.outbox = Outbox()
        self.timer = Timer()
        self.exact: Optional[Run] = None
        self.handshake: Optional[Handshake] = None
        self.selection: Optional[Selection] = None
        self.begun = 0

    # What the adapter reports.

    def connected(self, now: float, peername: Any) -> None:
        """A client was accepted; `peername` is its address as the operating system gives it."""
        environment = self.environment
        environment.set_time(now)
        self.inbox.connect(peername, now)
        if environment.tls_context is not None:
            self.begin_tls(environment.tls_context)
        self.advance()

    def received(self, now: float, data: Union[bytes, memoryview]) -> None:
        """The client's next bytes have come. Those that no step claims now are copied before this returns."""
        inbox = self.inbox
        if not self.environment.news(now) or inbox.draining or not data:
            return  # drained bytes are no progress: else a client that never stops sending would never be overdue
        if self.selection is not None and not inbox.pending:
            self.selection.arrives(inbox.progress, now)
        inbox.take(data, now)
        self.advance()
        if inbox.pending:
            inbox.keep()

    def half_closed(self, now: float, *, close_notify: bool = False, sent: Optional[int] = None) -> None:
        """The client ended its stream: a FIN (RFC 9293, 3.6), or over TLS a close_notify (RFC 8446, 6.1) or a FIN.

        It may have closed the connection as well. `close_notify` says which it was; `sent` is as for `was_reset`.
        Over TLS a client that ends its stream in the middle of a send has hung up, if that is expected: most of them
        read nothing more.
        """
        if not self.environment.news(now):
            return
        self.inbox.end(now, close_notify=close_notify)
        due = self.script.due
        if self.handshake is not None and self.outbox.sending and due is not None \
                and self.script.accepts_hang_up(due.index):
            self.inbox.hang_up(now)
            self._hung_up(sent)
        else:
            self.advance()

    def was_reset(self, now: float, *, after_fin: bool = False, sent: Optional[int] = None) -> None:
        """The client reset the connection: a RST (RFC 9293, 3.10.7).

        `after_fin` says that the client had ended its stream before. There was no `half_closed` for that: this method
        stands for both. `sent` is how many bytes have reached it at most; None is all that were sent.
        """
        if self.environment.news(now):
            self.inbox.end_by_reset(now, after_fin=after_fin)
            self._hung_up(sent)

    def hung_up(self, now: float, *, sent: Optional[int] = None) -> None:
        """The client has closed the connection, and is gone: nothing that is sent now reaches it.

        This may stand for `half_closed`, or come after it. `sent` is as for `was_reset`.
        """
        if self.environment.news(now):
            self.inbox.hang_up(now)
            self._hung_up(sent)

    def _hung_up(self, sent: Optional[int]) -> None:
        self.outbox.note_reach(sent)
        if self.outbox.sending and not self.outbox.cut_off:
            self._cut_short()
        else:
            self.advance()

    def progressed(self, now: float, count: int) -> None:
        """The operating system has taken `count` more bytes of what it was given to send."""
        if not self.environment.news(now):
            return
        outbox = self.outbox
        if outbox.interleaving:
            from .interleaving import progressed
            progressed(self)
            return
        cursor, known = self.script.cursor, outbox.unread
        cursor.move_to(outbox.took(count, now))
        if not known:
            self.arm()
        self.script.stir()
        if cursor.watchers:
            cursor.tell_watchers()

    def client_read(self, now: float, *, progress: bool, unread: bool) -> None:
        """The adapter has looked how much the client has read of what was sent: more than before, or not all yet."""
        if self.environment.news(now):
            self.outbox.client_read(now, progress=progress, unread=unread)

    def flushed(self, now: float, *, reset: bool = False, sent: Optional[int] = None) -> None:
        """The operating system has taken everything: the sends of this write, or the end of our stream.

        `reset` says that this was sent after the client had ended its stream, and that the client answered with a RST;
        `sent` is then as for `was_reset`.
        """
        if not self.environment.news(now):
            return
        inbox, outbox, script = self.inbox, self.outbox, self.script
        if reset:
            inbox.note_reset()
            outbox.note_reach(sent)
        lane = outbox.interleaved
        if lane is not None and lane.under_way:
            from .interleaving import flushed
            flushed(self, lane)
            return
        if outbox.sending:
            if outbox.limit is not None and self.strike():
                return  # `flushed` is called again when the connection has been ended
            script.cursor.move_to(outbox.took_all(now, caught_up=not inbox.pending))
            if lane is not None:
                from .interleaving import pump
                pump(self, lane)
            position = script.cursor.position
            if outbox.next > position:
                if inbox.hung_up:
                    self._cut_short()
                    return
                self.timer.give_turn(script.steps[position], now)
                self._start_write(position)
                self.arm()
                script.cursor.tell_watchers()
                return
        elif script.due is not None:
            script.cursor.move_to(script.cursor.position + 1)
        self.advance()

    def _cut_short(self) -> None:
        """The client hung up in the middle of a send: fail, unless the step behind the sends expects that."""
        step = self.script.due
        assert step is not None
        if self.script.accepts_hang_up(step.index):
            self.outbox.give_up()
            self.environment.commands.append(Close(self.number))
            self.script.cursor.move_to(step.index + 1)
            self.advance()
        else:
            self.fail(step, step.cut_short(self))

    def computed(self, now: float, target: Any, value: Any, error: Optional[BaseException]) -> None:
        """The coroutine that computes the bytes of `target` has ended: it returned `value`, or raised `error`.

        `target` is a send, an `allow()` reply or a heartbeat.
        """
        if self.environment.news(now):
            mismatch = target.failed(error) if error is not None else target.computed(value)
            if mismatch is not None:
                self.fail(target if isinstance(target, Step) else None, mismatch)
            else:
                self.advance()

    def released(self, now: float, step: HoldUntil) -> None:
        """What a `hold_until()` step waits for has happened."""
        if self.environment.news(now):
            self.release(step)

    def handshake_bytes(self, now: float, count: int) -> None:
        """The client has sent `count` more bytes of its TLS handshake."""
        if self.environment.news(now):
            assert self.handshake is not None
            self.handshake.take(count)
            self.inbox.touch(now)

    def upgraded(self, now: float, info: Any) -> None:
        """The TLS handshake is done; `info` is what was negotiated."""
        if self.environment.news(now):
            assert self.handshake is not None
            self.handshake.finish(info)
            self.inbox.touch(now)
            self.advance()

    def tls_failed(self, now: float, failure: TLSFailure) -> None:
        """TLS failed, in its handshake or later: nothing can be sent or received any more."""
        if self.environment.news(now):
            assert self.handshake is not None
            self.handshake.fail(failure)
            self.inbox.ignore(now)
            self.advance()

    # The script.

    def add(self, step: Step[Any], *, by_server: bool = False) -> None:
        """Append a step. If it is due or may join the write under way, advance: it may be satisfied at once.

        `by_server` says that it is a server-level step.
        """
        script, selection = self.script, self.selection
        script.add(step, by_server=by_server)
        if selection is not None:
            selection.added(step)
        if script.cursor.position == step.index or self.outbox.sending:
            self.advance()
        if by_server and selection is None and not self.outbox.sending:
            script.settle()

    def select(self) -> Selection:
        """Return the selection; from now on more than the due step may be possible."""
        if self.selection is None:
            from .selection import Selection
            self.selection = Selection(self.outbox.open_lane())
            self.script.stir()
        return self.selection

    def advance(self) -> None:  # noqa: C901 - the main loop of the state machine: splitting it costs a call per step
        """Let the due steps proceed until one of them has to wait."""
        environment, script = self.environment, self.script
        if script.settled:
            script.stir()
        if script.gate is not None or environment.over:
            if script.gate is not None:
                script.gate.look()
            return
        steps, cursor, outbox, timer = script.steps, script.cursor, self.outbox, self.timer
        selection = self.selection
        handshake = self.handshake
        broken = None if handshake is None else handshake.failure
        while cursor.position < len(steps):
            position = outbox.next if outbox.sending else cursor.position
            if position == len(steps):
                break
            step = steps[position]
            if broken is not None and not step.survives(self):
                self.fail(steps[cursor.position], broken)
                return
            if outbox.sending:
                # Only a send may join the write under way; `due` stays at the first send of that write.
                if not step.sends:
                    break
            elif step is not timer.due:
                timer.give_turn(step, environment.now)
                if position < self.begun:  # its coroutine was started while the write before it was under way
                    self.arm()
            limit = outbox.limit
            ended = limit if limit is not None and limit.struck and limit.ends else None
            outcome: Any = None
            # After a fault has ended the connection no message is read any more, not even an allowed one.
            if selection is not None and ended is None:
                outcome = selection.before(self, step)
            if outcome is None:
                if position >= self.begun:
                    self.begun = position + 1
                    if ended is None:
                        outcome = step.begin(self)
                    else:
                        from tcpclient_testing.engine.steps.faults import begin_after_our_end
                        outcome = begin_after_our_end(self, step, ended)
                    self.arm()
                if outcome is None:
                    outcome = step.proceed(self)
            if outcome is DONE:
                cursor.move_to(cursor.position + 1)
            elif outcome is QUEUED:
                if not outbox.sending:
                    self._start_write(position)
            elif outcome is AGAIN:
                self.arm()
            elif isinstance(outcome, Mismatch):
                if selection is not None:
                    outcome.add(self.used_up())
                self.fail(steps[cursor.position] if step.is_expectation else step, outcome)
                return
            else:
                if cursor.position > position and not outbox.sending:
                    # The step has moved the cursor (a run of exact expectations does): the step there is due.
                    timer.give_turn(steps[cursor.position], environment.now)
                    self.arm()
                break
        if selection is not None:
            selection.after(self)
        if handshake is not None and self.inbox.close_notify:
            self._answer_close_notify()
        if cursor.watchers:
            cursor.tell_watchers()

    def _answer_close_notify(self) -> None:
        """Close our side, too, if the script is done: most clients wait for that (RFC 5246, 7.2.1)."""
        inbox, script = self.inbox, self.script
        if script.complete and script.steps and script.handed_over is None and not (
                inbox.closed or inbox.draining or inbox.pending or self.outbox.sending):
            self.environment.commands.append(Close(self.number))

    def arm(self) -> None:
        """Set the reminder for the due step's deadline, if that is needed."""
        environment, timer = self.environment, self.timer
        due = timer.due
        if self.selection is None and timer.alarm_at is None and due is not None and due.timing is DEFAULT_TIMING:
            # The common case: a reminder is already set, and this step can't be overdue before it.
            if environment.timeout is None:
                return
            look_at = environment.look_at
            if environment.reminder is not None and environment.reminder <= timer.turn + environment.timeout and not (
                    self.outbox.unread and (look_at is None or look_at > timer.turn + environment.timeout / LOOKS)):
                return
        deadline, look = deadline_of(self, self.selection), next_look(self, self.selection)
        if look is None and environment.reminder is None and environment.host.sees_reading and environment.timeout:
            look = environment.now + environment.timeout / LOOKS  # it will be needed, and the timer is set only once
        if look is not None:
            environment.look(look)
        if deadline is not None:
            environment.remind(deadline)

    def _start_write(self, position: int) -> None:
        """Begin a write of the script; if one of the other lane is under way, it has to wait."""
        outbox = self.outbox
        outbox.begin(position)
        if outbox.interleaved is None or not outbox.interleaved.hold():
            self.environment.commands.append(Send(self.number))

    # The verdict.

    def fail(self, step: Optional[Step[Any]], mismatch: Mismatch, *, overdue: bool = False) -> None:
        """Let the script fail at `step`, or on the connection as a whole; only the first failure counts."""
        inbox, number = self.inbox, self.number if step is None else step.cursor.number
        self.environment.fail(Failure(number, step, mismatch, self.environment.now, overdue=overdue,
                                      at_end=inbox.ended and not inbox.pending))

    # What steps ask for.

    @property
    def began(self) -> float:
        """When the due step's turn began, in seconds of the clock."""
        return self.timer.began

    def drain(self) -> None:
        """From now on, record what the client sends, but don't judge it."""
        self.inbox.drain(self.environment.now)
        if self.selection is not None:
            self.selection.forget()

    def begin_tls(self, context: Any) -> None:
        """From now on both sides use TLS. Bytes that are pending are the beginning of the client's handshake."""
        from tcpclient_testing.engine.connection.handshake import Handshake
        begun = self.inbox.unclaimed()
        self.inbox.clear()
        if self.selection is not None:
            self.selection.forget()
        self.handshake = Handshake(context)
        self.environment.commands.append(StartTLS(self.number, context, begun))

    def strike(self) -> bool:
        """Let the armed fault strike, if its limit is reached. If True, wait for `flushed`: the connection is ended."""
        limit = self.outbox.strike()
        if limit is None or not limit.ends:
            return False
        self.drain()
        command = limit.command(self.number)
        if self.inbox.reset or command is None:
            return False
        self.environment.commands.append(command)
        return True

    def begin_again(self) -> None:
        """Let the due step begin again when it is looked at next."""
        self.begun = min(self.begun, self.script.cursor.position)

    def alarm(self, delay: float) -> None:
        """Have the due step's `timer_fired` called after `delay` seconds."""
        self.timer.alarm(self.environment.now + delay)

    def begin_runs(self, run: Run) -> Run:
        """The first run of exact expectations begins: `run` compares it, and those that follow. Return `run`."""
        self.exact = run
        return run

    def last_result(self) -> Any:
        """Return the result of the last satisfied expectation, or None. The script's callables get it."""
        outbox, script = self.outbox, self.script
        step = script.expectation_before(outbox.next if outbox.sending else script.cursor.position)
        return None if step is None else step.written()

    @property
    def excess(self) -> bool:
        """Whether bytes are pending that can't be the beginning of a message that `allow()` lets through."""
        return bool(self.inbox.pending) and (self.selection is None or not self.selection.may_be_allowed(self))

    def ending(self) -> str:
        """Say how the client's stream ended, as far as is known: "half-closed", "reset the connection"."""
        return "reset the connection" if self.inbox.reset else self.environment.host.ending_of(self.number)

    def release(self, step: HoldUntil) -> None:
        """What `step` waits for has happened."""
        step.release()
        self.advance()

    def run_limit(self, first: int) -> Optional[int]:
        """Return the index before which a run of exact expectations has to end, if it begins at `first`."""
        return None if self.selection is None else self.selection.run_limit(first)

    # What the session and reports ask for.

    @property
    def handle(self) -> Any:
        """The object that users get for this connection."""
        return self.script.cursor.handle

    def used_up(self) -> str:
        """Return the end of a mismatch's text: which used-up `allow()` would have matched the pending bytes."""
        if self.selection is None or not self.inbox.pending:
            return ""
        from .candidates import used_up
        return used_up(self.selection.permits, self.inbox)

    def allowed_meanwhile(self) -> str:
        """Name the allowed messages that have come in the due step's turn; "" if there were none."""
        return "" if self.selection is None else self.selection.allowed_meanwhile(self.timer.turn)

    def exchange_scripts(self, other: Conversation) -> None:
        """Exchange the scripts of two connections, before any of their steps has begun."""
        self.script, other.script = other.script, self.script
        if self.selection is not None or other.selection is not None:
            self.select().exchange_rules(other.select())
            for each in (self, other):
                if self.environment.pipelining and each.select().idle:
                    each.selection = None

    # Waiting for steps.

    def wake(self, step: Step[Any]) -> None:
        """Give the adapter a `Wake` command as soon as `step`, which is being awaited, is satisfied.

        Raises `ScriptError` for a step of an `any_order()` block that has not ended.
        """
        if self.script.gate is not None:
            self.script.gate.check_awaited(step)
        if self.selection is not None:
            self.selection.check_awaited(step)
        self.script.cursor.when_done(step, partial(self.environment.commands.append, Wake(step)))
