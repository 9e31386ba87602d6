"""The scripts and connections of one server, and the one verdict on them.

Its parts own the state: `Connections` the conversations, `Order` the order of the server-level steps, `Pools` the
connections in any order, the `Environment` time, settings, commands and the verdict.

The session puts its commands into `environment.commands`. The caller of a method takes them from there and carries
them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.grammar import check_begun, check_order, check_reset
from tcpclient_testing.engine.conversation.timeouts import LOOKS, excuse, restart
from tcpclient_testing.engine.environment import Environment, Failure, LeftEarly
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Script, Step
from tcpclient_testing.errors import ScriptError

from .connections import Connections
from .idleness import Idleness, idle_until
from .leftovers import judge_leftovers
from .order import Order

if TYPE_CHECKING:
    from typing import Protocol

    from tcpclient_testing.engine.conversation.rules import Allowed, Every
    from tcpclient_testing.engine.steps.lifecycle import ExpectConnect

    from .any_order import Pools
    from .host import SessionHost
    from .standstill import Standstill
    from .unfinished_blocks import UnfinishedBlocks

    class Timer(Protocol):
        """Something that is to be done at a certain time."""

        def deadline(self) -> Optional[float]:
            """Return when `tick` next has something to do, in seconds of the clock; None is never."""

        def tick(self) -> None:
            """Do what is due now."""

__all__ = ["Session"]

__unittest = True


class Session:
    """The scripts and connections of one server.

    `timeout` is the default time-out of each step, `idle_timeout` the time-out of a script without a due step; both are
    in seconds, and None means no limit. The other settings are those of the `Environment`.

    `newest` is the script of the newest expected connection, to which server-level steps are added.
    """

    __slots__ = ("environment", "connections", "order", "newest", "_pools", "_unfinished", "_idleness",
                 "_standstill")

    def __init__(self, host: SessionHost, timeout: Optional[float], idle_timeout: Optional[float]) -> None:
        self.environment = Environment(host, timeout, idle_timeout)
        self.connections = Connections(self.environment, host)
        self.order = Order(self.environment, self.connections)
        self.newest: Optional[Script] = None
        self._pools: Optional[Pools] = None
        self._unfinished: Optional[UnfinishedBlocks] = None
        self._idleness = Idleness(self.environment, self.connections)
        self._standstill: Optional[Standstill] = None

    # Short ways to what the parts know.

    @property
    def conversations(self) -> list[Conversation]:
        """All conversations, in the order of their numbers."""
        return self.connections.all

    @property
    def failure(self) -> Optional[Failure]:
        """The verdict; None as long as the script has not failed."""
        return self.environment.failure

    @property
    def over(self) -> bool:
        """Whether nothing changes any more: the script failed, or the server was left."""
        return self.environment.over

    # Connections.

    def connected(self, now: float, peername: Any) -> Conversation:
        """Note that a client was accepted; return its conversation."""
        environment, connections, pools = self.environment, self.connections, self._pools
        environment.set_time(now)
        accepted = environment.accepted
        conversation = connections.reserve(accepted)
        if connections.handler is not None and accepted == connections.expected \
                and not (pools is not None and pools.undecided):
            connections.give_to_handler(conversation)
        environment.client_accepted()
        conversation.connected(now, peername)
        self._idleness.remind()
        if environment.timeout is not None:
            environment.look(now + environment.timeout / LOOKS)  # for a standstill
        if pools is not None and pools.writing is not None:
            self.unfinished_blocks.remind()
        return conversation

    # The script.

    def add(self, step: Step[Any], now: float) -> None:
        """Append a server-level step to the newest expected connection."""
        environment, script = self.environment, self.newest
        environment.set_time(now)
        if script is not None and script.settled and step.free and not environment.over:
            script.append(step)  # the last step can only wait, so this one is neither due nor out of place
            return
        if step.is_setting or (step.may_come_first and not self.connections.expected):
            check_reset(environment, step)
            if script is not None:
                script.stir()
            self.order.add_setting(step)
            return
        if script is None or not script.steps:
            check_begun(script, step)
        assert script is not None
        if not self.order.fronts:
            raise ScriptError(f"{step} has no place at the beginning of the server's any_order(), which holds whole "
                              "connections, each begun by expect_connect(); for messages of one connection, use "
                              "any_order() of expect_connect().connection")
        conversation = self.connections.all[script.cursor.number - 1]  # faster than `of`, for long scripts
        selection = conversation.selection
        check_order(script, step, None if selection is None else selection.writing)
        if self.order.fronts[-1] is not script:
            self.order.go_on_with(script)
        conversation.add(step, by_server=True)

    def add_to(self, conversation: Conversation, step: Step[Any], now: float, *, by_handler: bool = False) -> None:
        """Append a step to the script of one connection, independently of the other connections.

        `by_handler` says that the connection's handler writes it.
        """
        self.environment.set_time(now)
        check_begun(conversation.script, step)
        selection = conversation.selection
        check_order(conversation.script, step, None if selection is None else selection.writing,
                    by_handler=by_handler)
        conversation.add(step)

    def add_connection(self, step: ExpectConnect[Any], now: float) -> None:
        """Begin the script of the next connection."""
        self.environment.set_time(now)
        conversation = self.connections.next_expected()
        self.newest = conversation.script
        pool = None if self._pools is None else self._pools.writing
        if pool is not None:
            pool.add(conversation, step)
            self.order.begin_script_of_block(conversation.script)
        else:
            self.order.begin_script(conversation.script)
        conversation.add(step, by_server=True)

    def add_rule(self, conversation: Optional[Conversation], written: Union[Allowed, Every], now: float) -> None:
        """Apply an `allow` or an `every` from here on.

        It applies to `conversation`; if that is None, to the newest expected connection; if there is none, to all.
        """
        self.environment.set_time(now)
        if conversation is None:
            if self.newest is None:
                self.connections.allow_everywhere(written)
                return
            conversation = self.connections.of(self.newest.cursor.number)
        selection = conversation.select()
        start = len(conversation.script.steps) if selection.writing is None else selection.writing.start
        selection.put(written, max(1, start))
        conversation.advance()

    # Blocks.

    @property
    def pools(self) -> Pools:
        """The `any_order()` blocks of connections; created when the first one is written."""
        if self._pools is None:
            from .any_order import Pools
            self._pools = Pools(self.environment, self.connections, self.unfinished_blocks.remind)
            self.unfinished_blocks.watch(self._pools)
        return self._pools

    @property
    def unfinished_blocks(self) -> UnfinishedBlocks:
        """Notices clients that wait for a block; created when the first block is written."""
        if self._unfinished is None:
            from .unfinished_blocks import UnfinishedBlocks
            self._unfinished = UnfinishedBlocks(self.environment, self.connections)
        return self._unfinished

    def open_pool(self, now: float) -> None:
        """Begin an `any_order()` block of connections."""
        self.environment.set_time(now)
        pools = self.pools
        pools.check_none_is_open()
        pools.open(self.order.open_block())
        if self.newest is not None:
            self.newest.stir()
        self.unfinished_blocks.remind()

    def close_pool(self, now: float, *, whole: bool) -> None:
        """End an `any_order()` block of connections; it counts only if it is `whole`, not left by an exception."""
        self.environment.set_time(now)
        if self.newest is not None:
            self.newest.stir()
        pool = self.pools.close()
        if not pool.unbound:
            self.order.close_empty_block(pool.gates)
        if whole:
            pool.close()

    def open_block(self, conversation: Conversation, now: float) -> None:
        """Begin an `any_order()` block of messages on this connection."""
        self.environment.set_time(now)
        check_begun(conversation.script, "any_order()")
        conversation.select().open_block(len(conversation.script.steps), now, self.unfinished_blocks.remind)
        self.unfinished_blocks.remind()

    def close_block(self, conversation: Conversation, now: float) -> None:
        """End an `any_order()` block of messages on this connection."""
        self.environment.set_time(now)
        conversation.select().close_block(conversation)
        conversation.advance()

    # The verdict.

    def fail(self, conversation: Optional[Conversation], step: Optional[Step[Any]], mismatch: Mismatch, now: float, *,
             overdue: bool = False) -> None:
        """Let the script fail at `now`, for a reason that the adapter has found; only the first failure counts."""
        self.environment.news(now)
        if conversation is None:
            self.environment.fail(Failure(None, step, mismatch, self.environment.now, overdue=overdue))
        else:
            conversation.fail(step, mismatch, overdue=overdue)

    def end_with(self, failure: Failure) -> None:
        """End everything with `failure` as the verdict, and give no command: the adapter gives up by itself."""
        self.environment.end_with(failure)

    def leave(self) -> None:
        """End everything, since the server is left: steps that are not satisfied now never will be."""
        self.environment.leave()

    def failure_of_leaving(self, how: str = "left") -> None:
        """Set the failure for a test that asks for a step which was not satisfied when the server was left.

        `how` says what became of the server: "left" or "cleared".
        """
        step = self.first_unsatisfied()
        number = None if step is None else step.cursor.number
        inbox = None if number is None else self.connections.of(number).inbox
        what = "all was judged" if step is None and how == "cleared" else "this step was satisfied"
        self.environment.end_with(LeftEarly(
            number, step, Mismatch(f"the server was {how} before {what}"), self.environment.now,
            at_end=inbox is not None and inbox.ended and not inbox.pending))

    @property
    def complete(self) -> bool:
        """Whether every step added so far, on any connection, is satisfied."""
        for conversation in self.connections.all:  # noqa: SIM110 - a generator would cost more
            if not conversation.script.complete:
                return False
        return True

    def first_unsatisfied(self) -> Optional[Step[Any]]:
        """Return the step that `join()` has to wait for first; None if there is none."""
        scripts = (conversation.script for conversation in self.connections.all)
        return next((script.due for script in scripts if not script.complete), None)

    def settle(self, now: float, *, allow_open: bool, allow_extra: bool) -> None:
        """Judge what is left once every step is satisfied: connections and bytes that no step explains."""
        self.environment.set_time(now)
        judge_leftovers(self.connections.all, self.connections.expected, allow_open=allow_open, allow_extra=allow_extra)

    def status_of(self, step: Step[Any]) -> str:
        """Return the state of a step for a report: satisfied, failed, waiting, unfinished or not reached."""
        failure, number = self.environment.failure, step.cursor.number
        if failure is not None and failure.step is step:
            return "failed"
        if step.satisfied:
            return "satisfied"
        conversation = self.connections.of(number) if number else self.order.settings
        begun = conversation.script.gate is None and (conversation.inbox.accepted or not step.index)
        if begun and _has_turn(conversation, step):
            return "waiting" if failure is None else "unfinished"
        return "not reached"

    # Time.

    def tick(self, now: float) -> None:
        """Judge what is overdue now that the time of a reminder or a look has come, and ask for the next ones."""
        environment = self.environment
        kept = environment.reminded(now)
        timers, watches = [*self._step_timers(), self._idleness], self._watches()
        for timer in (*watches, *timers):
            timer.tick()
            if environment.over:
                return
        deadline = _first([kept, *(timer.deadline() for timer in timers)])
        if deadline is not None:
            environment.remind(deadline)
        if environment.accepted:
            look = _first([self.connections.next_look(), *(watch.deadline() for watch in watches)])
            if look is not None:
                environment.look(look)

    def _watches(self) -> list[Timer]:
        """What looks for a standstill, once a client has connected."""
        if self._standstill is None:
            if self.environment.timeout is None or not self.environment.accepted:
                return []
            from .standstill import Standstill
            self._standstill = Standstill(self.environment, self.connections)
        return [self._standstill]

    def _step_timers(self) -> list[Timer]:
        """What is to be done at a certain time for steps, and for blocks of them."""
        timers: tuple[Optional[Timer], ...] = (self.connections, self._pools, self._unfinished)
        return [timer for timer in timers if timer is not None]

    def deadlines(self) -> list[float]:
        """Return when steps are overdue or want their timers, and when a client waits too long for a block."""
        return [deadline for deadline in (timer.deadline() for timer in self._step_timers()) if deadline is not None]

    def idle_since(self) -> Optional[float]:
        """Return since when a client has been connected without a step that is due; None if that is not so.

        It is None, too, if there is no idle time-out.
        """
        idle_timeout = self.environment.idle_timeout
        idle = idle_until(self.environment, self.connections.all)
        return None if idle is None or idle_timeout is None else idle[0] - idle_timeout

    def begin_time(self, now: float) -> None:
        """Start the clock at `now`: what was written before, at the time 0, counts as written now."""
        environment = self.environment
        environment.commands.clear()  # without a client these are only reminders, and their times mean nothing
        for conversation in self.connections.all:
            conversation.timer.shift(now - environment.now)
        self.restart(now)
        self.tick(now)

    def excuse(self, now: float) -> None:
        """Restart the time-outs: the loop did not turn until `now`, so a client in it could do nothing either.

        A step's first restart includes its `within`. Later ones don't, and they happen only if there was progress since
        the last one. So a client that blocks the loop again and again still times out.
        """
        self.environment.set_time(now)
        excuses = [excuse(conversation) for conversation in self.connections.all]
        if any(excuses):
            self.environment.woke_up(now)

    def restart(self, now: float) -> None:
        """Restart the time-outs: time stood still until `now`, since a debugger was at work."""
        self.environment.woke_up(now)
        for conversation in self.connections.all:
            restart(conversation)


def _first(times: list[Optional[float]]) -> Optional[float]:
    """Return the earliest of these times; None if there is none."""
    return min((time for time in times if time is not None), default=None)


def _has_turn(conversation: Conversation, step: Step[Any]) -> bool:
    """Whether it is the turn of `step`: it is at the cursor, or open in the same `any_order()` block."""
    script, selection = conversation.script, conversation.selection
    position = script.cursor.position
    if step.index == position:
        return True
    if selection is None or step.index < position:
        return False
    block = selection.block_of(step)
    return block is not None and block is selection.block_of(script.steps[position])
