"""The state of one server: all its conversations, and the one verdict on them.

Invariants

- The k-th conversation is that of the k-th `expect_connect()` and of the k-th accepted connection, whichever comes
  first.
- Server-level steps are done in the order written, across connections: the gate of an `expect_connect()` is the
  server-level step before it. Within one connection the order of its script is enough.
- The first failure is the verdict. After it, or after the server was left, nothing changes any more (`over`).
- `tail` is the newest conversation, or None. If it is set, the conversation's last step can do nothing but wait, and so
  can the next step if that is `free`. Every place that changes this clears `tail`: when a step moves or fails, when
  `allow`, `every` or `any_order` is written for the conversation, when a newer conversation begins.

The session puts its commands into `commands`. The caller of a method takes them from there and carries them out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.commands import Command, GiveUp, StartTimer
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.grammar import check_begun, check_order, check_reset
from tcpclient_testing.engine.conversation.timeouts import next_deadline, tick
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect
from tcpclient_testing.errors import ScriptError

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.allowing import Allowed
    from tcpclient_testing.engine.conversation.heartbeats import Every
    from tcpclient_testing.engine.conversation.selection import Selection

    from .any_order import Pool
    from .host import Host

__all__ = ["Failure", "Session"]

__unittest = True


class Failure:
    """The verdict on a script that the client did not keep to: where it failed, when, and how.

    `conversation` and `step` are None if the failure belongs to none. `overdue` says that it is a time-out, `at_end`
    that the client's stream had ended by then, with nothing left to be read.
    """

    __slots__ = ("conversation", "step", "mismatch", "now", "overdue", "at_end")

    def __init__(self, conversation: Optional[Conversation], step: Optional[Step[Any]], mismatch: Mismatch,
                 now: float, overdue: bool = False) -> None:
        self.conversation = conversation
        self.step = step
        self.mismatch = mismatch
        self.now = now
        self.overdue = overdue
        self.at_end = conversation is not None and conversation.ended and not conversation.pending


class Session:
    """The scripts and connections of one server.

    `timeout` is the default time-out of each step, `idle_timeout` the time-out of a script without a due step; both are
    in seconds, and None means no limit. With a `tls_context` (which only the adapter looks into) each connection begins
    with a TLS handshake. `can_reset` is false if the server has no way to reset a connection.
    """

    def __init__(self, host: Host, timeout: Optional[float], idle_timeout: Optional[float]) -> None:
        self.host = host
        self.timeout = timeout
        self.idle_timeout = idle_timeout
        #: The factor for the time-outs of steps. `timeout` and `idle_timeout` are multiplied already.
        self.scale = 1.0
        self.now = 0.0
        self.tls_context: Any = None
        self.can_reset = True
        self.conversations: list[Conversation] = []
        self.expected = 0
        self.accepted = 0
        #: How many connections were reset because of fail_connections(); the script does not count them.
        self.turned_away = 0
        self.commands: list[Command] = []
        self.failure: Optional[Failure] = None
        #: Whether nothing changes any more: the script failed, or the server was left.
        self.over = False
        self.allow_extra = False
        # Stands for the server itself. Its steps are settings; each is done after the server-level step before it.
        self.server = Conversation(self, 0)
        self.refusing = False
        self.pipelining = True
        self.handler: Any = None
        self.everywhere: list[Union[Allowed, Every]] = []
        self.pools: list[Pool] = []
        #: The `any_order()` block of connections that is being written.
        self.pool: Optional[Pool] = None
        self.newest: Optional[Conversation] = None
        self.tail: Optional[Conversation] = None
        self._fronts: list[Step[Any]] = []
        self.reminder: Optional[float] = None
        self.awake_since = 0.0
        self._calls: deque[Callable[[], None]] = deque()
        self._calling = False

    # Connections.

    def connected(self, now: float, peername: Any) -> Conversation:
        """Note that a client was accepted; return its conversation."""
        self.now = now
        conversation = self.reserve(self.accepted)
        if self.handler is not None and self.accepted == self.expected and not self._undecided():
            self.give_to_handler(conversation)
        self.accepted += 1
        conversation.connected(peername)
        self.remind_of_idleness()
        if self.pool is not None:
            self.remind_of_unfinished_blocks()
        return conversation

    def reserve(self, position: int) -> Conversation:
        """Return the conversation at this position; make it if there is none yet."""
        while len(self.conversations) <= position:
            conversation = Conversation(self, len(self.conversations) + 1)
            conversation.handle = self.host.handle_for(conversation)
            self.conversations.append(conversation)
            if self.everywhere or not self.pipelining:
                self._equip(conversation)
        return self.conversations[position]

    def _undecided(self) -> bool:
        """Return whether a further connection may be for one of the scripts in any order."""
        return self.pool is not None or any(pool.unbound for pool in self.pools)

    def give_to_handler(self, conversation: Conversation) -> None:
        """Give this connection to the handler from its beginning: no `expect_connect()` claims it."""
        from tcpclient_testing.engine.steps.handlers import HandOver, origin_of_handler
        self.expected += 1
        origin = origin_of_handler(self.handler)
        conversation.add(ExpectConnect(origin))
        conversation.hand_over_step = HandOver(self.handler, origin)
        conversation.add(conversation.hand_over_step)

    def give_rest_to_handler(self) -> None:
        """Give the connections that are left to the handler, if all scripts in any order have their connections."""
        while self.handler is not None and self.accepted > self.expected and not self._undecided():
            self.give_to_handler(self.conversations[self.expected])

    def _equip(self, conversation: Conversation) -> None:
        selection = _selection_of(conversation)
        for written in self.everywhere:
            selection.put(written, 1)

    # The script.

    def add(self, step: Step[Any], now: float) -> None:
        """Append a server-level step to the newest expected connection."""
        self.now = now
        self.tail = None
        if step.is_setting or (step.may_come_first and not self.expected):
            check_reset(self, step)
            self._add_setting(step)
            return
        conversation = self.newest
        check_begun(conversation, step)
        assert conversation is not None
        if not self._fronts:
            raise ScriptError(f"{step} has no place at the beginning of the server's any_order(), which holds whole "
                              "connections, each begun by expect_connect(); for messages of one connection, use "
                              "any_order() of expect_connect().connection")
        check_order(conversation, step)
        conversation.add(step)
        self._fronts[-1] = step
        if step.free and conversation.cursor <= step.index and not conversation.sending \
                and conversation.selection is None and conversation.sent_eof is None and conversation.got_eof is None \
                and not self.over:
            self.tail = conversation

    def append(self, tail: Conversation, step: Step[Any]) -> None:
        """Do what `add` does, for a step that is `free`, while there is a `tail`.

        Long scripts are written this way. So it costs as little as possible: not even the clock is read.
        """
        step.conversation = tail
        steps = tail.steps
        step.index = len(steps)
        steps.append(step)
        self._fronts[-1] = step

    def add_connection(self, step: ExpectConnect[Any], now: float) -> None:
        """Begin the script of the next connection."""
        self.now = now
        conversation = self.reserve(self.expected)
        self.expected += 1
        self.newest = conversation
        self.tail = None
        step.conversation = conversation
        if self.pool is not None:
            self._fronts.append(step)
            self.pool.add(conversation, step)
        else:
            gates, self._fronts = self._fronts, [step]
            self._shut_gate(step, gates)
        conversation.add(step)

    def _add_setting(self, step: Step[Any]) -> None:
        """Apply the setting `step` to the server once the server-level steps before it are done."""
        server = self.server
        at_once = step.method == "accept_connections" and self.refusing
        place = server.cursor if at_once else len(server.steps)
        step.conversation = server
        server.steps.insert(place, step)
        for index, setting in enumerate(server.steps):
            setting.index = index
        gates: list[Step[Any]] = []
        if not at_once:
            gates, self._fronts = self._fronts, [*self._fronts[:-1], step]
        self._when_all(gates, lambda: self._set(step))

    def _when_all(self, gates: list[Step[Any]], then: Callable[[], None]) -> None:
        gate = next((gate for gate in gates if not gate.satisfied), None)
        if gate is None:
            then()
        else:
            gate.conversation.when_done(gate, lambda: self._when_all(gates, then))

    def _set(self, step: Step[Any]) -> None:
        step.proceed(self.server)
        self.server.move_to(step.index + 1)
        self.server.tell_watchers()

    def _shut_gate(self, step: Step[Any], gates: list[Step[Any]]) -> None:
        """Let the script that begins with `step` wait until all of `gates` are satisfied."""
        step.conversation.gate = gate = next((gate for gate in gates if not gate.satisfied), None)
        if gate is not None:
            gate.conversation.when_done(gate, lambda: self._open_gate(step, gates))

    def _open_gate(self, step: Step[Any], gates: list[Step[Any]]) -> None:
        self._shut_gate(step, gates)
        step.conversation.advance()

    def open_pool(self, now: float) -> None:
        """Begin an `any_order()` block of connections."""
        self.now = now
        if self.pool is not None:
            raise ScriptError("any_order() is within any_order(); write one block after the other")
        from .any_order import Pool
        self.pool = Pool(self, self._fronts)
        self._fronts = []
        self.tail = None
        self.remind_of_unfinished_blocks()

    def close_pool(self, now: float, *, whole: bool) -> None:
        """End an `any_order()` block of connections; it counts only if it is `whole`, not left by an exception."""
        self.now = now
        self.tail = None
        pool, self.pool = self.pool, None
        assert pool is not None
        if not pool.unbound:
            self._fronts = list(pool.gates)
        self.pools.append(pool)
        if whole:
            pool.close()

    def add_rule(self, conversation: Optional[Conversation], written: Union[Allowed, Every], now: float) -> None:
        """Apply an `allow` or an `every` from here on.

        It applies to `conversation`; if that is None, to the newest expected connection; if there is none, to all.
        """
        self.now = now
        if conversation is None:
            conversation = self.newest
        if conversation is None:
            self.everywhere.append(written)
            for early in self.conversations:
                _selection_of(early).put(written, 1)
            return
        selection = _selection_of(conversation)
        writing = selection.writing
        selection.put(written, max(1, len(conversation.steps) if writing is None else writing.start))
        conversation.advance()

    def open_block(self, conversation: Conversation, now: float) -> None:
        """Begin an `any_order()` block of messages on this connection."""
        self.now = now
        check_begun(conversation, "any_order()")
        _selection_of(conversation).open_block(len(conversation.steps), now)
        self.remind_of_unfinished_blocks()

    def close_block(self, conversation: Conversation, now: float) -> None:
        """End an `any_order()` block of messages on this connection."""
        self.now = now
        assert conversation.selection is not None
        conversation.selection.close_block(conversation)
        conversation.advance()

    def add_to(self, conversation: Conversation, step: Step[Any], now: float, *, by_handler: bool = False) -> None:
        """Append a step to the script of one connection, independently of the other connections.

        `by_handler` says that the connection's handler writes it.
        """
        self.now = now
        self.tail = None
        check_begun(conversation, step)
        check_order(conversation, step, by_handler=by_handler)
        conversation.add(step)

    # The verdict.

    def fail(self, conversation: Optional[Conversation], step: Optional[Step[Any]], mismatch: Mismatch,
             overdue: bool = False) -> None:
        """Let the script fail; only the first failure counts."""
        if self.over:
            return
        self.fail_from_outside(Failure(conversation, step, mismatch, self.now, overdue))
        for command in self.commands:
            command.drop()
        self.commands.clear()
        self.commands.append(GiveUp())

    def fail_overdue(self, conversation: Conversation, step: Step[Any], mismatch: Mismatch) -> None:
        """Let the script fail because `step` is overdue; the text names the connections that no step expects."""
        if step.is_expectation and conversation.accepted:
            from .leftovers import unexpected_connections
            mismatch.summary += unexpected_connections(self)
        self.fail(conversation, step, mismatch, overdue=True)

    def fail_from_outside(self, failure: Failure) -> None:
        """End everything with `failure` as the verdict."""
        self.failure = failure
        self.leave()

    def leave(self) -> None:
        """End everything, since the server is left: steps that are not satisfied now never will be."""
        self.tail = None
        self.over = True

    def failure_of_leaving(self) -> None:
        """Set the failure for a test that asks for a step which was not satisfied when the server was left."""
        step = self.first_unsatisfied()
        self.failure = Failure(None if step is None else step.conversation, step,
                               Mismatch("the server was left before this step was satisfied"), self.now)

    @property
    def complete(self) -> bool:
        """Whether every step added so far, on any connection, is satisfied."""
        return all(conversation.complete for conversation in self.conversations)

    def first_unsatisfied(self) -> Optional[Step[Any]]:
        """Return the step that `join()` has to wait for first; None if there is none."""
        for conversation in self.conversations:
            if not conversation.complete:
                return conversation.steps[conversation.cursor]
        return None

    def settle(self, now: float, *, allow_open: bool, allow_extra: bool) -> None:
        """Judge what is left once every step is satisfied: connections and bytes that no step explains."""
        from .leftovers import judge_leftovers
        self.now = now
        judge_leftovers(self, allow_open=allow_open, allow_extra=allow_extra)

    # Time.

    def remind(self, deadline: float) -> None:
        """Make sure that `tick` is called at `deadline` at the latest."""
        if self.reminder is None or deadline < self.reminder:
            self.reminder = deadline
            self.commands.append(StartTimer(deadline))

    def remind_of_idleness(self) -> None:
        """Make sure that idleness is noticed, once a client has connected."""
        if self.idle_timeout is not None:
            self.remind(self.now + self.idle_timeout)

    def remind_of_unfinished_blocks(self) -> None:
        """Make sure that `tick` notices a client which waits for a block that is still being written."""
        from .unfinished_blocks import wait_for_block
        wait = wait_for_block(self)
        if wait is not None:
            self.remind(wait.deadline)

    def tick(self, now: float) -> None:
        """Judge what is overdue now that a reminder's time has come, and ask for the next reminder."""
        from .idleness import idle_until, tick_idle
        from .unfinished_blocks import tick_unfinished
        self.now = now
        self.reminder = None
        for conversation in self.conversations:
            if self.over:
                return
            if conversation.gate is None:
                tick(conversation)
        for pool in self.pools:
            pool.tick()
        tick_unfinished(self)
        tick_idle(self)
        deadlines = self.deadlines()
        idle = idle_until(self)
        if idle is not None:
            deadlines.append(idle[0])
        elif self.idle_timeout is not None and any(conversation.open for conversation in self.conversations):
            deadlines.append(now + self.idle_timeout)  # a step is due now; check again when it may be done
        if deadlines and not self.over:
            self.remind(min(deadlines))

    def deadlines(self) -> list[float]:
        """Return when due steps are overdue or want their timers, and when a client waits too long for a block."""
        from .unfinished_blocks import wait_for_block
        wait = wait_for_block(self)
        deadlines = [next_deadline(conversation) for conversation in self.conversations if conversation.gate is None]
        deadlines += [pool.deadline() for pool in self.pools]
        deadlines.append(None if wait is None else wait.deadline)
        return [deadline for deadline in deadlines if deadline is not None]

    def begin_time(self, now: float) -> None:
        """Start the clock at `now`: what was written before, at the time 0, counts as written now."""
        self.commands.clear()  # without a client these are only reminders, and their times mean nothing
        for conversation in self.conversations:
            if conversation.alarm_at is not None:
                conversation.alarm_at += now - self.now
        self.restart(now)
        self.tick(now)

    def excuse(self, now: float) -> None:
        """Restart the time-outs: the loop did not turn until `now`, so a client in it could do nothing either.

        A step's first restart includes its `within`. Later ones don't, and they happen only if there was progress since
        the last one. So a client that blocks the loop again and again still times out.
        """
        self.now = now
        excuses = [conversation.excuse() for conversation in self.conversations]
        if any(excuses):
            self.awake_since = now

    def restart(self, now: float) -> None:
        """Restart the time-outs: time stood still until `now`, since a debugger was at work."""
        self.now = self.awake_since = now
        for conversation in self.conversations:
            conversation.restart()

    # Calls.

    def call(self, callbacks: Iterable[Callable[[], None]]) -> None:
        """Make these calls, one after another. Calls that they cause are queued, so a long chain does not recurse."""
        self._calls.extend(callbacks)
        if self._calling:
            return
        self._calling = True
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            self._calling = False


def _selection_of(conversation: Conversation) -> Selection:
    if conversation.selection is None:
        from tcpclient_testing.engine.conversation.selection import Selection
        conversation.selection = Selection()
        conversation.session.tail = None
    return conversation.selection
