"""Moves scripts from one conversation to another, before any of their steps has begun.

Conversations are numbered in the order of acceptance. If the client's bytes decide which script a connection gets, the
script moves to the connection's conversation, so that the numbers stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["shift_scripts", "swap_scripts"]

__unittest = True


def swap_scripts(one: Conversation, other: Conversation) -> None:
    """Swap the scripts of two conversations, before any of their steps has begun."""
    for name in ("steps", "watchers", "selection", "hand_over_step", "sent_eof", "got_eof", "handle", "gate", "pool"):
        mine, theirs = getattr(one, name), getattr(other, name)
        setattr(one, name, theirs)
        setattr(other, name, mine)
    if one.selection is not None and other.selection is not None:
        one.selection.keep_connection(other.selection)
    session = one.session
    session.newest = {one: other, other: one}.get(session.newest, session.newest)  # type: ignore[arg-type]
    for conversation in (one, other):
        session.host.rebind(conversation.handle, conversation)
        for step in conversation.steps:
            step.conversation = conversation


def shift_scripts(arrival: Conversation) -> None:
    """Take the script from `arrival`, a connection that matches none of the scripts.

    Its script, and each later one that has not begun, moves to the next of their conversations. So the scripts keep
    their order. The last one moves to the first connection beyond those that were expected.
    """
    session = arrival.session
    free = session.reserve(session.expected)
    waiting = [conversation for conversation in session.conversations[arrival.number - 1:session.expected]
               if conversation is arrival or conversation.gate is not None]
    places = dict(zip(waiting, [*waiting[1:], free]))
    for conversation in reversed(waiting):
        swap_scripts(conversation, places[conversation])
    for pool in session.pools:
        pool.unbound = [places.get(conversation, conversation) for conversation in pool.unbound]
