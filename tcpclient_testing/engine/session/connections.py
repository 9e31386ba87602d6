"""The connections of a server: the k-th is that of the k-th `expect_connect()` and of the k-th accepted client.

Whichever comes first makes the conversation. Connections are numbered in the order of acceptance. Where the client's
bytes decide which script a connection gets, it is the script that moves, so that the numbers stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.timeouts import next_deadline, next_look, tick
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.rules import Allowed, Every
    from tcpclient_testing.engine.environment import Environment

    from .host import SessionHost

__all__ = ["Connections"]

__unittest = True


class Connections:
    """All conversations of a server.

    - `all`: the conversations, in the order of their numbers; `expected`: how many have a script
    - `everywhere`: the rules that apply to all connections
    - `handler`: what serves the connections that no script expects; None if nothing does
    """

    __slots__ = ("environment", "host", "all", "expected", "everywhere", "handler")

    def __init__(self, environment: Environment, host: SessionHost) -> None:
        self.environment = environment
        self.host = host
        self.all: list[Conversation] = []
        self.expected = 0
        self.everywhere: list[Union[Allowed, Every]] = []
        self.handler: Any = None

    def serve_with(self, handler: Any) -> None:
        """Let `handler` serve the connections that no script expects."""
        self.handler = handler

    def reserve(self, position: int) -> Conversation:
        """Return the conversation at this position; make it if there is none yet."""
        while len(self.all) <= position:
            conversation = Conversation(self.environment, len(self.all) + 1)
            handle = self.host.handle_for(conversation)
            conversation.script.cursor.belong_to(conversation.number, handle, conversation.wake)
            self.all.append(conversation)
            if self.everywhere or not self.environment.pipelining:
                selection = conversation.select()
                for written in self.everywhere:
                    selection.put(written, 1)
        return self.all[position]

    def of(self, number: int) -> Conversation:
        """Return the conversation of connection `number`, from 1, which has been mentioned before."""
        return self.all[number - 1]

    def next_expected(self) -> Conversation:
        """Return the conversation that the next script belongs to."""
        conversation = self.reserve(self.expected)
        self.expected += 1
        return conversation

    def allow_everywhere(self, written: Union[Allowed, Every]) -> None:
        """Apply a rule to all connections."""
        self.everywhere.append(written)
        for early in self.all:
            early.select().put(written, 1)

    # A timer of the session.

    def deadline(self) -> Optional[float]:
        """Return when the first step is overdue or wants its timer, in seconds of the clock; None is never."""
        deadlines = [next_deadline(conversation, conversation.selection) for conversation in self.all
                     if conversation.script.gate is None]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def next_look(self) -> Optional[float]:
        """Return when to look how much the clients have read, in seconds of the clock; None if that is not needed."""
        looks = [next_look(conversation, conversation.selection) for conversation in self.all
                 if conversation.script.gate is None and conversation.outbox.unread]
        return min((look for look in looks if look is not None), default=None)

    def tick(self) -> None:
        """Fail if a due step is overdue, and name the connections that no step expects; fire alarms and heartbeats."""
        for conversation in self.all:
            if self.environment.over:
                return
            overdue = tick(conversation, conversation.selection) if conversation.script.gate is None else None
            if overdue is not None:
                step, mismatch = overdue
                if step.is_expectation and conversation.inbox.accepted:
                    from .leftovers import unexpected_connections
                    mismatch.add(unexpected_connections(self.environment, self.all))
                conversation.fail(step, mismatch, overdue=True)

    # The handler.

    def give_to_handler(self, conversation: Conversation) -> None:
        """Give this connection to the handler from its beginning: no `expect_connect()` claims it."""
        from tcpclient_testing.engine.steps.handlers import HandOver, origin_of_handler
        self.expected += 1
        origin = origin_of_handler(self.handler)
        conversation.add(ExpectConnect(origin))
        conversation.add(HandOver(self.handler, origin))

    def give_rest_to_handler(self) -> None:
        """Give the connections that no script expects to the handler."""
        while self.handler is not None and self.environment.accepted > self.expected:
            self.give_to_handler(self.of(self.expected + 1))

    # Scripts that move.

    def exchange_scripts(self, one: Conversation, other: Conversation) -> None:
        """Exchange the scripts of two conversations, before any of their steps has begun."""
        one.exchange_scripts(other)
        for conversation in (one, other):
            handle = conversation.handle
            conversation.script.cursor.belong_to(conversation.number, handle, conversation.wake)
            self.host.rebind(handle, conversation)

    def shift_scripts(self, arrival: Conversation) -> dict[Conversation, Conversation]:
        """Take the script from `arrival`, a connection that matches none of the scripts.

        Its script, and each later one that has not begun, moves to the next of their conversations. So the scripts keep
        their order. The last one moves to the first connection beyond those that were expected. Return which
        conversation's script has moved to which.
        """
        free = self.reserve(self.expected)
        waiting = [conversation for conversation in self.all[arrival.number - 1:self.expected]
                   if conversation is arrival or conversation.script.gate is not None]
        places = dict(zip(waiting, [*waiting[1:], free]))
        for conversation in reversed(waiting):
            self.exchange_scripts(conversation, places[conversation])
        return places
