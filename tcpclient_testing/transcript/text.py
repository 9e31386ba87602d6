"""Renders a transcript as lines of text, for reports.

When the server resets many connections at once, one line says so.
"""

from __future__ import annotations

from itertools import groupby

from tcpclient_testing.engine.wording import counted, shorten

from .entries import NOTED, RECEIVED, SENT, Transcript
from .entry import Entry

__all__ = ["clock", "lines", "gathered"]

_SHOWN_FIRST = 12

_SHOWN_LAST = 24

# Up to this many resets by the server are shown one by one.
_ALIKE = 4


def clock(duration: float) -> str:
    """Format a `duration` in seconds as precisely as is useful: "0.4 ms", "12 ms", "1.25 s"."""
    milliseconds = duration * 1000
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{duration:.2f} s"


def lines(transcript: Transcript) -> list[str]:
    """Render the entries, one per line; of a long transcript only the beginning and the end."""
    entries = gathered(list(transcript))
    several = len({entry.number for entry in entries if entry.number}) > 1
    untaken = dict(transcript.untaken)
    shown = [_line(entry, transcript.started, several, untaken) for entry in reversed(entries)][::-1]
    if len(shown) > _SHOWN_FIRST + _SHOWN_LAST + 1 or transcript.dropped:
        left_out = max(0, len(shown) - _SHOWN_FIRST - _SHOWN_LAST) + transcript.dropped
        shown[_SHOWN_FIRST:max(_SHOWN_FIRST, len(shown) - _SHOWN_LAST)] = [f"... {left_out} more entries"]
    return shown


def _line(entry: Entry, started: float, several: bool, untaken: dict[int, int]) -> str:
    which = f"  {entry.number}:" if several and entry.number else "  " if not several else "    "
    return f"{clock(entry.time - started):>8}{which if several else ''}  {_what(entry, untaken)}"


def _what(entry: Entry, untaken: dict[int, int]) -> str:
    """Render an entry. Call this for the last entry first: the bytes that are `untaken` are the last ones sent."""
    if entry.what not in (RECEIVED, SENT):
        return str(entry.content)
    left = min(untaken.get(entry.number, 0), entry.size) if entry.what == SENT else 0
    if left:
        untaken[entry.number] -= left
        return f"{entry.what} {entry.size - left} of {counted(entry.size, 'byte')}  {shorten(entry.content)}"
    if entry.size > len(entry.content):
        return f"{entry.what} {counted(entry.size, 'byte')}  {entry.content[:24]!r}..."
    return f"{entry.what} {counted(entry.size, 'byte')}  {shorten(entry.content)}"


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
