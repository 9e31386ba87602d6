"""What the server does to many connections at once, as one entry of a transcript that is shown."""

from __future__ import annotations

from itertools import groupby

from .entries import NOTED
from .entry import Entry

__all__ = ["gathered"]

# So many resets by the server are an entry each.
_ALIKE = 4


def gathered(entries: list[Entry]) -> list[Entry]:
    """The entries, in which resets of many connections, one after another and for the same reason, are one."""
    shown: list[Entry] = []
    for _, group in groupby(enumerate(entries), _sameness):
        alike = [entry for _, entry in group]
        if len(alike) > _ALIKE:
            alike = [Entry(alike[0].time, 0, NOTED, f"{len(alike)} connections {alike[0].content}", 0)]
        shown += alike
    return shown


def _sameness(numbered: tuple[int, Entry]) -> tuple[object, ...]:
    """What neighbouring entries that may be one have in common; an entry that stands for itself has its place."""
    place, entry = numbered
    at_once = entry.what == NOTED and entry.number and entry.content.startswith("reset by the server")
    return (entry.content,) if at_once else (place,)
