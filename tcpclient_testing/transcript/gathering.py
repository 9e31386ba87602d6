"""Shortens a transcript for display: when the server resets many connections at once, one entry says so."""

from __future__ import annotations

from itertools import groupby

from .entries import NOTED
from .entry import Entry

__all__ = ["gathered"]

# Up to this many resets by the server are shown one by one.
_ALIKE = 4


def gathered(entries: list[Entry]) -> list[Entry]:
    """Return the entries, with consecutive resets of many connections for the same reason combined into one."""
    shown: list[Entry] = []
    for _, group in groupby(enumerate(entries), _sameness):
        alike = [entry for _, entry in group]
        if len(alike) > _ALIKE:
            alike = [Entry(alike[0].time, 0, NOTED, f"{len(alike)} connections {alike[0].content}", 0)]
        shown += alike
    return shown


def _sameness(numbered: tuple[int, Entry]) -> tuple[object, ...]:
    """Return a key that is equal for neighbours that may be combined. Any other entry has its place as its key."""
    place, entry = numbered
    at_once = entry.what == NOTED and entry.number and entry.content.startswith("reset by the server")
    return (entry.content,) if at_once else (place,)
