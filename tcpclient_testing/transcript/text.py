"""Renders a transcript as lines of text, for reports.

When the server resets many connections at once, one line says so.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from tcpclient_testing.engine.connection.client_hello import is_client_hello
from tcpclient_testing.engine.wording import counted, shorten

from .entry import Entry
from .kinds import NOTED, RECEIVED, SENT, logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Transcript(Protocol):
        """What is rendered: see `entries.Transcript`."""

        name: Optional[str]
        started: float
        dropped: int
        untaken: dict[int, int]

        def __iter__(self) -> Iterator[Entry]: ...

__all__ = ["Focus", "clock", "lines", "gathered", "log"]

_SHOWN_FIRST = 12

_SHOWN_LAST = 24

# Characters of an entry in focus.
_IN_FOCUS = 1000

# Up to this many resets by the server are shown one by one.
_ALIKE = 4


class Focus(NamedTuple):
    """Where a script has failed: on connection `number`, when so many received bytes were `left`."""

    number: int
    left: int

    def entries_of(self, entries: list[Entry]) -> dict[int, int]:
        """Return which entries are in focus, by their `id`, each with the byte at which to look.

        They are what was received last on the connection, and what was sent last.
        """
        found: dict[int, int] = {}
        for what, left in ((RECEIVED, self.left), (SENT, 0)):
            last = next((entry for entry in reversed(entries) if (entry.number, entry.what) == (self.number, what)),
                        None)
            if last is not None and not is_client_hello(last.content):  # nobody reads that
                found[id(last)] = max(min(last.size - left, last.size - 1), 0)
        return found


def clock(duration: float) -> str:
    """Format a `duration` in seconds as precisely as is useful: "0.4 ms", "12 ms", "1.25 s"."""
    milliseconds = duration * 1000
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{duration:.2f} s"


def log(transcript: Transcript, entry: tuple[float, int, str, Any, int]) -> None:
    """Pass an entry on to the logger."""
    made = Entry(*entry)
    whose = " ".join(filter(None, [transcript.name, f"connection {made.number}" if made.number else ""]))
    logger.debug("%s%s", f"{whose}: " if whose else "", _what(made, {}))


def lines(transcript: Transcript, began: Optional[float] = None, *, focus: Optional[Focus] = None) -> list[str]:
    """Render the entries, one per line; of a long transcript only the beginning and the end.

    `began` is the time (seconds) from which they count: by default, when the server was started. The bytes in `focus`
    are shown whole, or a thousand of them.
    """
    began = transcript.started if began is None else began
    entries = gathered(list(transcript))
    whole = {} if focus is None else focus.entries_of(entries)
    several = len({entry.number for entry in entries if entry.number}) > 1
    untaken = dict(transcript.untaken)
    shown = [_line(entry, began, several, untaken, whole.get(id(entry))) for entry in reversed(entries)][::-1]
    if len(shown) > _SHOWN_FIRST + _SHOWN_LAST + 1 or transcript.dropped:
        left_out = max(0, len(shown) - _SHOWN_FIRST - _SHOWN_LAST) + transcript.dropped
        shown[_SHOWN_FIRST:max(_SHOWN_FIRST, len(shown) - _SHOWN_LAST)] = [f"... {left_out} more entries"]
    return shown


def _line(entry: Entry, started: float, several: bool, untaken: dict[int, int], around: Optional[int]) -> str:
    which = f"  {entry.number}:" if several and entry.number else "  " if not several else "    "
    return f"{clock(entry.time - started):>8}{which if several else ''}  {_what(entry, untaken, around)}"


def _what(entry: Entry, untaken: dict[int, int], around: Optional[int] = None) -> str:
    """Render an entry. Call this for the last entry first: the bytes that are `untaken` are the last ones sent.

    An entry in focus is shown whole, or as many bytes of it as there is room for, `around` that one.
    """
    if entry.what not in (RECEIVED, SENT):
        return str(entry.content)
    left = min(untaken.get(entry.number, 0), entry.size) if entry.what == SENT else 0
    if left:
        untaken[entry.number] -= left
        return f"{entry.what} {entry.size - left} of {counted(entry.size, 'byte')}  {shorten(entry.content)}"
    if entry.size > len(entry.content):
        return f"{entry.what} {counted(entry.size, 'byte')}  {entry.content[:24]!r}..."
    if around is not None:
        return f"{entry.what} {counted(entry.size, 'byte')}  {shorten(entry.content, around, _IN_FOCUS)}"
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
