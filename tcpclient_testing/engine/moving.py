"""Scripts that move from one conversation to another, before any step of them has begun.

Conversations are numbered in the order of acceptance; where the bytes tell which script a connection is for, it is the
script that moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["displace", "exchange"]

__unittest = True


def exchange(one: Conversation, other: Conversation) -> None:
    """Let two conversations, of which no step has begun, change their scripts."""
    for name in ("steps", "watchers", "beside", "handed", "sent_eof", "got_eof", "handle", "gate", "pool"):
        mine, theirs = getattr(one, name), getattr(other, name)
        setattr(one, name, theirs)
        setattr(other, name, mine)
    if one.beside is not None and other.beside is not None:
        one.beside.keep_connection(other.beside)
    session = one.session
    session.newest = {one: other, other: one}.get(session.newest, session.newest)  # type: ignore[arg-type]
    for conversation in (one, other):
        session.host.rebind(conversation.handle, conversation)
        for step in conversation.steps:
            step.conversation = conversation


def displace(arrival: Conversation) -> None:
    """Take the script from this connection, which is for none: it, and each that has not begun, moves to the next.

    So the order of the scripts stays, and the last of them waits for one connection more.
    """
    session = arrival.session
    free = session.reserve(session.expected)
    waiting = [conversation for conversation in session.conversations[arrival.number - 1:session.expected]
               if conversation is arrival or conversation.gate is not None]
    places = dict(zip(waiting, [*waiting[1:], free]))
    for conversation in reversed(waiting):
        exchange(conversation, places[conversation])
    for pool in session.pools:
        pool.unbound = [places.get(conversation, conversation) for conversation in pool.unbound]
