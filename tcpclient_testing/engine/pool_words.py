"""Wording of the failure of a connection that matches none of the scripts in `any_order()`; loaded when it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .candidates import Candidates, NoneMatches, Reading, none_matches
from .mismatches import Mismatch
from .used_up import used_up
from .wording import counted, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .conversation import Conversation
    from .steps import Step

__all__ = ["none_begins"]

__unittest = True

# The first line names at most this many scripts, and then says how many more there are.
_NAMED = 3


def none_begins(candidates: Candidates, arrival: Conversation,
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
