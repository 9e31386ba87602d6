"""Connections that may come in any order: the server's `any_order()` block.

    written --the block ends, and all steps of the server before it are satisfied--> ready
    ready --each script of the block has its connection--> over

- A connection is bound to a script by what it sends first. The first messages of the scripts compete for its bytes, by
  the rule of `Candidates`.
- Until it is bound, a connection belongs to no script. What the server allows on all connections is let through before
  the first message, as before any other; it says nothing about the script.
- Conversations are numbered in the order of acceptance. So it is the script that moves, to the conversation of the
  connection that it is bound to (see `Connections`).
- If the server has a handler, a connection that can match none of the scripts goes to the handler. The scripts wait for
  later connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.conversation.any_order import listed, places
from tcpclient_testing.engine.conversation.candidates import Candidates, NoneMatches, Reading, none_matches
from tcpclient_testing.engine.conversation.interleaving import pump
from tcpclient_testing.engine.conversation.selection import race
from tcpclient_testing.engine.environment import Environment
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Gate, Step
from tcpclient_testing.engine.wording import brief, counted, lateness
from tcpclient_testing.errors import ScriptError

from .order import first_missing

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

    from .connections import Connections

__all__ = ["Pool", "Pools", "no_script_begins"]

__unittest = True

# The first line names at most this many scripts, and then says how many more there are.
_NAMED = 3


class Pools:
    """The blocks of one server.

    `all` are those that have been left, `writing` the one that is being written. `remind_of_unfinished` makes sure that
    a client which waits for a block is noticed.
    """

    __slots__ = ("environment", "connections", "remind_of_unfinished", "all", "writing")

    def __init__(self, environment: Environment, connections: Connections, remind: Callable[[], None]) -> None:
        self.environment = environment
        self.connections = connections
        self.remind_of_unfinished = remind
        self.all: list[Pool] = []
        self.writing: Optional[Pool] = None

    def check_none_is_open(self) -> None:
        """Raise `ScriptError` if a block is being written already."""
        if self.writing is not None:
            raise ScriptError("any_order() is within any_order(); write one block after the other")

    def open(self, gates: Sequence[Step[Any]]) -> None:
        """Begin a block, all of which waits for the steps `gates`."""
        self.writing = Pool(self, gates)

    def close(self) -> Pool:
        """The block that is being written is left; return it."""
        pool, self.writing = self.writing, None
        assert pool is not None
        self.all.append(pool)
        return pool

    @property
    def undecided(self) -> bool:
        """Whether a further connection may be for one of the scripts in any order."""
        return self.writing is not None or any(pool.unbound for pool in self.all)

    def shift_scripts(self, arrival: Conversation) -> None:
        """Let the scripts wait for later connections than `arrival`, which matches none of them."""
        places = self.connections.shift_scripts(arrival)
        for pool in self.all:
            pool.unbound = [places.get(conversation, conversation) for conversation in pool.unbound]

    # A timer of the session.

    def deadline(self) -> Optional[float]:
        """Return when the first of the blocks will be overdue; None is never."""
        deadlines = (pool.deadline() for pool in self.all)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def tick(self) -> None:
        """Fail if a block is overdue."""
        for pool in self.all:
            pool.tick()


class Pool(Gate):
    """The scripts of one block, and the connections that came for them.

    `gates` are the steps before the block. `turn` is when the block was opened; once the gates are satisfied, it is
    when that happened. `written` says that the block has ended, with no exception. `pools` are all blocks of the
    server, this one included.
    """

    __slots__ = ("environment", "pools", "gates", "unbound", "order", "ready", "turn", "written", "_candidates",
                 "_taken")

    finds_connection = True

    def __init__(self, pools: Pools, gates: Sequence[Step[Any]]) -> None:
        self.environment = pools.environment
        self.pools = pools
        self.gates = gates
        self.unbound: list[Conversation] = []
        self.order: dict[Step[Any], int] = {}
        self.ready = False
        self.turn = self.environment.now
        self.written = False
        self._candidates: dict[Conversation, Candidates] = {}
        self._taken: list[tuple[Conversation, list[Step[Any]]]] = []

    # Writing.

    def add(self, conversation: Conversation, step: Step[Any]) -> None:
        """Add a script, which begins with `step`."""
        conversation.script.wait_for(self)
        self.order[step] = len(self.order)
        self.unbound.append(conversation)

    def close(self) -> None:
        """End the block; raise `ScriptError` if a script can't be recognized by what its connection sends first."""
        for conversation in self.unbound:
            heads = _heads(conversation)
            if not heads:
                steps = conversation.script.steps
                second = steps[1] if len(steps) > 1 else None
                raise ScriptError(f"{steps[0]} at {steps[0].lines()[0]} has no place in "
                                  "any_order(): a connection is recognized by what it sends first, so its script, "
                                  "written in the block, must begin with an expected message, not with "
                                  f"{'nothing' if second is None else second}")
        self.written = True
        self._open()

    def _open(self) -> None:
        """Become ready once the steps before the block are satisfied."""
        gate = first_missing(self.gates)
        if gate is not None:
            gate.cursor.when_done(gate, self._open)
            return
        self.ready = True
        self.turn = self.environment.now
        self._remind()
        self.look()

    def check_awaited(self, step: Step[Any]) -> None:
        """Raise `ScriptError` if the block is still being written, or was left by an exception."""
        if not self.written and self.pools.writing is not self:
            raise ScriptError(f"{step} can't be awaited: its any_order() was left by an exception, so that none of its "
                              "steps counts")
        if not self.written:
            raise ScriptError(f"{step} was awaited within any_order(), where nothing happens before the block has "
                              "ended; await it after the `with` statement")

    # Binding.

    def look(self) -> None:
        """Bind each connection whose bytes satisfy a script."""
        if not self.written:
            self.pools.remind_of_unfinished()
        progress = self.ready
        while progress and not self.environment.over:
            progress = False
            for arrival in [conversation for conversation in self.unbound if conversation.inbox.accepted]:
                progress = self._place(arrival)
                if progress or self.environment.over:
                    break
                if arrival.outbox.interleaved is not None:
                    pump(arrival, arrival.outbox.interleaved)
        if self.ready and self.unbound and not self.environment.over:
            self._remind()

    def _place(self, arrival: Conversation) -> bool:
        """Bind this connection if its bytes satisfy a script; return whether it is settled now.

        If its bytes can satisfy no script any more, give it to the handler; without a handler, fail. Broken TLS is a
        failure in any case.
        """
        while True:
            candidates = self._race(arrival)
            if candidates is None:
                return False
            winner = candidates.run(arrival.inbox.pending)
            if winner is None:
                break
            if winner.source.is_expectation:
                self._bind(arrival, self._holder_of(winner.source))
                return True
            assert arrival.selection is not None
            del self._candidates[arrival]
            arrival.selection.let_through(arrival, winner)
        broken = None if arrival.handshake is None else arrival.handshake.failure
        if candidates.alive() and broken is not None:
            self._fail(arrival, broken)
            return False
        if candidates.alive() and not arrival.inbox.ended:
            return False
        if self.pools.connections.handler is not None:
            self._candidates.pop(arrival)
            self.pools.shift_scripts(arrival)
            self.pools.connections.give_to_handler(arrival)
            return True
        if candidates.alive():
            arrival.fail(None, self._untold(
                f"the client {arrival.ending()} before it had sent anything that shows"))
        else:
            self._refuse(arrival, candidates)
        return False

    def _race(self, arrival: Conversation) -> Optional[Candidates]:
        """Return the candidates for the next message of an unbound connection; None if the session is over."""
        if self.environment.over:
            return None
        everywhere = self.pools.connections.everywhere
        sources: list[Any] = [] if arrival.selection is None else list(arrival.selection.general_permits(everywhere))
        sources += [head for holder in self._holders() for head in _heads(holder)]
        candidates = self._candidates.get(arrival)
        if candidates is None or candidates.sources != sources:
            candidates = race(arrival, sources)
            if candidates is not None:
                self._candidates[arrival] = candidates
        return candidates

    def _bind(self, arrival: Conversation, holder: Conversation) -> None:
        self._taken.append((arrival, _heads(holder)))
        if holder is not arrival:
            self.pools.connections.exchange_scripts(arrival, holder)
        self.unbound.remove(arrival)
        self._candidates.pop(arrival, None)
        arrival.script.wait_for(None)
        arrival.timer.count_from(arrival.script.steps[0], self.turn)
        arrival.advance()
        if not self.unbound and not self.pools.undecided:
            self.pools.connections.give_rest_to_handler()

    def _holder_of(self, head: Step[Any]) -> Conversation:
        """Return the conversation whose script has this step."""
        return self.pools.connections.of(head.cursor.number)

    def _refuse(self, arrival: Conversation, candidates: Candidates) -> None:
        """Fail: the bytes of this connection can satisfy none of the scripts that have no connection yet."""
        step = None
        heads = [source for source in candidates.sources if source.is_expectation]
        if len(heads) == 1:  # only one script is left, so it was meant for this connection
            step = heads[0]
            holder = self._holder_of(heads[0])
            if holder is not arrival:
                self.pools.connections.exchange_scripts(arrival, holder)
        arrival.fail(step, no_script_begins(candidates, arrival, self._taken))

    def _fail(self, arrival: Conversation, mismatch: Mismatch, *, overdue: bool = False) -> None:
        """Fail, since this connection can send nothing; if only one script is left, fail at its first step."""
        arrival.fail(arrival.script.steps[0] if len(self.unbound) == 1 else None, mismatch, overdue=overdue)

    # Time.

    def deadline(self) -> Optional[float]:
        """Return when the block will be overdue; None if it has no time limit, or nothing to wait for now."""
        if not self.ready or not self.unbound:
            return None
        progress = max(self.turn, *(arrival.inbox.progress for arrival in self.unbound))
        deadlines = []
        for conversation in self.unbound:
            timeout, within = conversation.script.steps[0].timing.limits(self.environment)
            deadlines += [] if timeout is None else [progress + timeout]
            deadlines += [] if within is None else [self.turn + within]
        return min(deadlines, default=None)

    def _remind(self) -> None:
        deadline = self.deadline()
        if deadline is not None:
            self.environment.remind(deadline)

    def tick(self) -> None:
        """Fail if the block is overdue."""
        deadline, now = self.deadline(), self.environment.now
        if deadline is None or now < deadline:
            return
        lasted = now - max(self.turn, *(arrival.inbox.progress for arrival in self.unbound))
        waited = lateness(lasted, True)
        silent = next((arrival for arrival in self.unbound if arrival.inbox.accepted), None)
        handshake = None if silent is None else silent.handshake
        if silent is not None and handshake is not None and handshake.under_way:
            from tcpclient_testing.engine.connection.tls_failure import unfinished_handshake
            self._fail(silent, unfinished_handshake(handshake.received, lasted, True), overdue=True)
            return
        if silent is not None:
            mismatch = self._untold(f"the client has sent nothing {waited} that shows")
            allowed = silent.allowed_meanwhile()
            mismatch.add(f"; {allowed} came meanwhile" if allowed else "")
            silent.fail(None, mismatch, overdue=True)
            return
        missing = self._holders()
        beginnings = [conversation.script.steps[1] for conversation in missing]
        client = "no further client" if self.environment.accepted else "no client"
        missing[0].fail(missing[0].script.steps[0], Mismatch(
            f"{client} connected to {self.environment.host.listening_at()} {waited}; {len(missing)} of "
            f"{counted(len(self.order), 'script')} in any_order() {'has' if len(missing) == 1 else 'have'} no "
            f"connection: {listed(beginnings, 'and')}", details=places(beginnings)), overdue=True)

    def _holders(self) -> list[Conversation]:
        """Return the conversations whose scripts have no connection yet, in the order the scripts were written."""
        return sorted(self.unbound, key=lambda conversation: self.order[conversation.script.steps[0]])

    def _untold(self, why: str) -> Mismatch:
        """Say that a connection can't be bound; `why` begins the sentence."""
        beginnings = [conversation.script.steps[1] for conversation in self._holders()]
        return NoneMatches(f"{why} to which of {counted(len(beginnings), 'script')} in any_order() it belongs; "
                           f"these begin with {listed(beginnings, 'and')}",
                           tuple(f"{step} at {step.lines()[0]}" for step in beginnings), None, None, beginnings)


def _heads(conversation: Conversation) -> list[Step[Any]]:
    """Return the messages with which the script may begin; none if it begins with something else."""
    steps = conversation.script.steps
    if len(steps) < 2 or not steps[1].reads or not steps[1].begins_alone():
        return []
    step = steps[1]
    block = None if conversation.selection is None else conversation.selection.block_of(step)
    return [step] if block is None else block.heads()


def no_script_begins(candidates: Candidates, arrival: Conversation,
                     taken: Sequence[tuple[Conversation, list[Step[Any]]]]) -> Mismatch:
    """Say that this connection's bytes begin none of the scripts that were left, and which taken script they begin.

    `taken` are the connections that are bound, each with the messages with which its script could begin.
    """
    received = arrival.inbox.unclaimed(256)
    plain = none_matches(candidates, received)
    heads = [source for source in candidates.sources if source.is_expectation]
    summary = plain.summary
    if len(heads) > 1:
        named = [f"{head} at {head.lines()[0]}" for head in heads[:_NAMED]]
        if len(heads) > _NAMED:
            named.append(f"{len(heads) - _NAMED} more")
        summary = (f"got {brief(received)}, with which none of {counted(len(heads), 'message')} in any order begins: "
                   f"{', '.join(named)}")
    summary += arrival.used_up()
    details = list(plain.details)
    for conversation, others in taken:
        begun = [(head, head.beginning(arrival)) for head in others]
        meant = Candidates([Reading(head, message) for head, message in begun if message is not None]).run(
            arrival.inbox.pending)
        if meant is not None:
            summary += (f"; connection {conversation.number} has the script of {meant.source} at "
                        f"{meant.source.lines()[0]}")
            break
    if taken:
        details.append("scripts that are taken")
        details += [f"  connection {conversation.number}: {others[0]} at {others[0].lines()[0]}"
                    for conversation, others in taken]
    return NoneMatches(summary, tuple(details), plain.offset or 0, plain.exception, heads)
