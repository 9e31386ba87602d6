"""Connections that may come in any order: the server's `any_order()` block.

    written --the block ends, and all steps of the server before it are satisfied--> ready
    ready --each script of the block has its connection--> over

- A connection is bound to a script by what it sends first. The first messages of the scripts compete for its bytes, by
  the rule of `Candidates`.
- Until it is bound, a connection belongs to no script. What the server allows on all connections is let through before
  the first message, as before any other; it says nothing about the script.
- Conversations are numbered in the order of acceptance. So it is the script that moves, to the conversation of the
  connection that it is bound to (see `swap_scripts`).
- If the server has a handler, a connection that can match none of the scripts goes to the handler. The scripts wait for
  later connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.conversation.any_order import listed, places
from tcpclient_testing.engine.conversation.candidates import Candidates, NoneMatches, Reading, none_matches, used_up
from tcpclient_testing.engine.conversation.selection import race
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.messages import ExpectMessage
from tcpclient_testing.engine.wording import counted, lateness, shorten
from tcpclient_testing.errors import ScriptError

from .swapping import shift_scripts, swap_scripts

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

    from .session import Session

__all__ = ["Pool", "no_script_begins"]

__unittest = True

# The first line names at most this many scripts, and then says how many more there are.
_NAMED = 3


class Pool:
    """The scripts of one block, and the connections that came for them.

    `gates` are the steps before the block. `turn` is when the block was opened; once the gates are satisfied, it is
    when that happened. `written` says that the block has ended, with no exception.
    """

    __slots__ = ("session", "gates", "unbound", "order", "ready", "turn", "written", "_candidates",
                 "_taken")

    def __init__(self, session: Session, gates: Sequence[Step[Any]]) -> None:
        self.session = session
        self.gates = gates
        self.unbound: list[Conversation] = []
        self.order: dict[Step[Any], int] = {}
        self.ready = False
        self.turn = session.now
        self.written = False
        self._candidates: dict[Conversation, Candidates] = {}
        self._taken: list[tuple[Conversation, list[Step[Any]]]] = []

    # Writing.

    def add(self, conversation: Conversation, step: Step[Any]) -> None:
        """Add a script, which begins with `step`."""
        conversation.gate = conversation.pool = self
        self.order[step] = len(self.order)
        self.unbound.append(conversation)

    def close(self) -> None:
        """End the block; raise `ScriptError` if a script can't be recognized by what its connection sends first."""
        for conversation in self.unbound:
            heads = _heads(conversation)
            if not heads:
                second = conversation.steps[1] if len(conversation.steps) > 1 else None
                raise ScriptError(f"{conversation.steps[0]} at {conversation.steps[0].lines()[0]} has no place in "
                                  "any_order(): a connection is recognized by what it sends first, so its script, "
                                  "written in the block, must begin with an expected message, not with "
                                  f"{'nothing' if second is None else second}")
        self.written = True
        self._open()

    def _open(self) -> None:
        """Become ready once the steps before the block are satisfied."""
        gate = next((gate for gate in self.gates if not gate.satisfied), None)
        if gate is not None:
            gate.conversation.when_done(gate, self._open)
            return
        self.ready = True
        self.turn = self.session.now
        self._remind()
        self.look()

    def check_awaited(self, step: Step[Any]) -> None:
        """Raise `ScriptError` if the block is still being written, or was left by an exception."""
        if not self.written and self.session.pool is not self:
            raise ScriptError(f"{step} can't be awaited: its any_order() was left by an exception, so that none of its "
                              "steps counts")
        if not self.written:
            raise ScriptError(f"{step} was awaited within any_order(), where nothing happens before the block has "
                              "ended; await it after the `with` statement")

    # Binding.

    def look(self) -> None:
        """Bind each connection whose bytes satisfy a script."""
        if not self.written:
            self.session.remind_of_unfinished_blocks()
        progress = self.ready
        while progress and not self.session.over:
            progress = False
            for arrival in [conversation for conversation in self.unbound if conversation.accepted]:
                progress = self._place(arrival)
                if progress or self.session.over:
                    break
                if arrival.selection is not None:
                    arrival.selection.interleaved.pump(arrival)
        if self.ready and self.unbound and not self.session.over:
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
            winner = candidates.run(arrival.pending)
            if winner is None:
                break
            if winner.source.is_expectation:
                self._bind(arrival, winner.source.conversation)
                return True
            assert arrival.selection is not None
            del self._candidates[arrival]
            arrival.selection.let_through(arrival, winner)
        if candidates.alive() and arrival.broken is not None:
            self._fail(arrival, arrival.broken)
            return False
        if candidates.alive() and not arrival.ended:
            return False
        if self.session.handler is not None:
            self._candidates.pop(arrival)
            shift_scripts(arrival)
            self.session.give_to_handler(arrival)
            return True
        if candidates.alive():
            self.session.fail(arrival, None, self._untold(
                f"the client {arrival.ending()} before it had sent anything that shows"))
        else:
            self._refuse(arrival, candidates)
        return False

    def _race(self, arrival: Conversation) -> Optional[Candidates]:
        """Return the candidates for the next message of an unbound connection; None if the session is over."""
        if self.session.over:
            return None
        sources: list[Any] = [] if arrival.selection is None else list(arrival.selection.general_permits(arrival))
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
            swap_scripts(arrival, holder)
        self.unbound.remove(arrival)
        self._candidates.pop(arrival, None)
        arrival.gate = arrival.pool = None
        arrival.due, arrival.turn = arrival.steps[0], self.turn
        arrival.advance()
        if not self.unbound:
            self.session.give_rest_to_handler()

    def _refuse(self, arrival: Conversation, candidates: Candidates) -> None:
        """Fail: the bytes of this connection can satisfy none of the scripts that have no connection yet."""
        step = None
        heads = [source for source in candidates.sources if source.is_expectation]
        if len(heads) == 1:  # only one script is left, so it was meant for this connection
            step = heads[0]
            if step.conversation is not arrival:
                swap_scripts(arrival, step.conversation)
        self.session.fail(arrival, step, no_script_begins(candidates, arrival, self._taken))

    def _fail(self, arrival: Conversation, mismatch: Mismatch, *, overdue: bool = False) -> None:
        """Fail, since this connection can send nothing; if only one script is left, fail at its first step."""
        self.session.fail(arrival, arrival.steps[0] if len(self.unbound) == 1 else None, mismatch, overdue=overdue)

    # Time.

    def deadline(self) -> Optional[float]:
        """Return when the block will be overdue; None if it has no time limit, or nothing to wait for now."""
        if not self.ready or not self.unbound:
            return None
        progress = max(self.turn, *(arrival.progress for arrival in self.unbound))
        deadlines = []
        for conversation in self.unbound:
            timeout, within = conversation.steps[0].timing.limits(self.session)
            deadlines += [] if timeout is None else [progress + timeout]
            deadlines += [] if within is None else [self.turn + within]
        return min(deadlines, default=None)

    def _remind(self) -> None:
        deadline = self.deadline()
        if deadline is not None:
            self.session.remind(deadline)

    def tick(self) -> None:
        """Fail if the block is overdue."""
        deadline, now = self.deadline(), self.session.now
        if deadline is None or now < deadline:
            return
        lasted = now - max(self.turn, *(arrival.progress for arrival in self.unbound))
        waited = lateness(lasted, True)
        silent = next((arrival for arrival in self.unbound if arrival.accepted), None)
        if silent is not None and silent.handshaking:
            from tcpclient_testing.engine.connection.tls_failure import unfinished_handshake
            self._fail(silent, unfinished_handshake(silent, lasted, True), overdue=True)
            return
        if silent is not None:
            mismatch = self._untold(f"the client has sent nothing {waited} that shows")
            allowed = "" if silent.selection is None else silent.selection.allowed_meanwhile(silent)
            mismatch.summary += f"; {allowed} came meanwhile" if allowed else ""
            self.session.fail(silent, None, mismatch, overdue=True)
            return
        missing = self._holders()
        beginnings = [conversation.steps[1] for conversation in missing]
        client = "no further client" if self.session.accepted else "no client"
        self.session.fail(missing[0], missing[0].steps[0], Mismatch(
            f"{client} connected to {self.session.host.listening_at()} {waited}; {len(missing)} of "
            f"{counted(len(self.order), 'script')} in any_order() {'has' if len(missing) == 1 else 'have'} no "
            f"connection: {listed(beginnings, 'and')}", details=places(beginnings)), overdue=True)

    def _holders(self) -> list[Conversation]:
        """Return the conversations whose scripts have no connection yet, in the order the scripts were written."""
        return sorted(self.unbound, key=lambda conversation: self.order[conversation.steps[0]])

    def _untold(self, why: str) -> Mismatch:
        """Say that a connection can't be bound; `why` begins the sentence."""
        beginnings = [conversation.steps[1] for conversation in self._holders()]
        return NoneMatches(f"{why} to which of {counted(len(beginnings), 'script')} in any_order() it belongs; "
                           f"these begin with {listed(beginnings, 'and')}",
                           tuple(f"{step} at {step.lines()[0]}" for step in beginnings), None, None, beginnings)


def _heads(conversation: Conversation) -> list[Step[Any]]:
    """Return the messages with which the script may begin; none if it begins with something else."""
    if len(conversation.steps) < 2 or not conversation.steps[1].reads:
        return []
    step = conversation.steps[1]
    if isinstance(step, ExpectMessage) and not isinstance(step.framing, Framing):
        return []
    block = None if conversation.selection is None else conversation.selection.block_of(step)
    return [step] if block is None else block.heads()


def no_script_begins(candidates: Candidates, arrival: Conversation,
                     taken: Sequence[tuple[Conversation, list[Step[Any]]]]) -> Mismatch:
    """Say that this connection's bytes begin none of the scripts that were left, and which taken script they begin.

    `taken` are the connections that are bound, each with the messages with which its script could begin.
    """
    received = arrival.unclaimed(256)
    plain = none_matches(candidates, received)
    heads = [source for source in candidates.sources if source.is_expectation]
    summary = plain.summary
    if len(heads) > 1:
        named = [f"{head} at {head.lines()[0]}" for head in heads[:_NAMED]]
        if len(heads) > _NAMED:
            named.append(f"{len(heads) - _NAMED} more")
        summary = (f"expected one of {counted(len(heads), 'message')} in any order ({', '.join(named)}), "
                   f"got {shorten(received)}, with which none of them begins")
    summary += used_up(arrival)
    details = list(plain.details)
    for conversation, others in taken:
        meant = Candidates([Reading(head, head.message()) for head in others]).run(arrival.pending)
        if meant is not None:
            summary += (f"; connection {conversation.number} has the script of {meant.source} at "
                        f"{meant.source.lines()[0]}")
            break
    if taken:
        details.append("scripts that are taken")
        details += [f"  connection {conversation.number}: {others[0]} at {others[0].lines()[0]}"
                    for conversation, others in taken]
    return NoneMatches(summary, tuple(details), plain.offset or 0, plain.exception, heads)
