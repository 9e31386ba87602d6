"""Functions that turn values into text for mismatches: bytes are shortened around a difference, which stays visible.

All are pure functions. Offsets and counts are in bytes; offsets count from 0.
"""

from __future__ import annotations

from typing import Any, Optional, Union

__all__ = [
    "address_text", "brief", "contrast", "counted", "difference_rows", "exception_text", "first_difference",
    "function_name", "lateness", "place", "seconds", "shorten", "shorten_repr", "text_of",
]

__unittest = True

_ROW = 16

_LEAST = 16

# How many bytes of a value the first line of a report shows, at most and at least.
_SIDE, _FEWEST = 24, 4


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 byte``, ``2 bytes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def seconds(duration: float) -> str:
    """Return the text of a duration, given in seconds: ``0.5 s``, ``30.0 s``."""
    return f"{duration:.1f} s" if duration >= 0.1 or duration == 0 else f"{duration:.3g} s"


def address_text(peername: Any) -> str:
    """Return the text of an address: ``127.0.0.1:4711``, ``[::1]:4711``, a path, or ``(unnamed)`` if there is none."""
    if isinstance(peername, tuple) and len(peername) >= 2:
        host, port = peername[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(peername) if peername else "(unnamed)"


def place(start: int, stop: int) -> str:
    """Say where the bytes from `start` to ``stop - 1`` are: ``byte 4``, ``bytes 4 to 7``."""
    return f"byte {start}" if stop - start == 1 else f"bytes {start} to {stop - 1}"


def shorten(data: Union[bytes, str], around: Optional[int] = None, limit: int = 60) -> str:
    """Return the repr of `data`, shortened: ``...`` marks what is left out, then come the place and the whole length.

    `around` is the index of the byte that must be visible (None: the first). `limit` is about how many characters of
    text to show. At least 16 bytes are shown, however long their escapes are. A `str` is treated the same way, counted
    in characters.
    """
    length = len(data)
    start, stop = _window(length, around, limit)
    text = repr(data[start:stop])
    if len(text) > limit + 3 and stop - start > _LEAST:
        fitting = max(_LEAST, (stop - start) * limit // len(text))
        start, stop = _window(length, around, fitting)
        text = repr(data[start:stop])
    if stop - start == length:
        return text
    unit = "bytes" if isinstance(data, bytes) else "characters"
    if start == 0:
        return f"{text}... (the first {stop} of {length} {unit})"
    if stop == length:
        return f"...{text} (the last {stop - start} of {length} {unit})"
    return f"...{text}... ({unit} {start} to {stop - 1} of {length})"


def brief(data: Union[bytes, str], around: Optional[int] = None, room: int = 3 * _SIDE) -> str:
    """Return the repr of `data` for the first line of a report: ``...`` marks what is left out, and no count follows.

    At most 24 bytes are shown, and fewer if their repr is longer than `room` characters: but at least 4. `around` is
    the index of the byte that must be visible (None: the first). A `str` is treated the same way.
    """
    for most in range(_SIDE, _FEWEST - 1, -1):
        text = _cut(data, _start(len(data), around, most), most)
        if len(text) <= room:
            break
    return text


def contrast(expected: bytes, received: bytes, offset: int, room: int) -> tuple[str, str]:
    """Return what to show of two values that differ at the byte `offset`: the same part of both, as in `brief`.

    Together the texts take at most `room` characters, unless 4 bytes of each take more.
    """
    for most in range(_SIDE, _FEWEST - 1, -1):
        start = _start(max(len(expected), len(received)), offset, most)
        ours, theirs = _cut(expected, start, most), _cut(received, start, most)
        if len(ours) + len(theirs) <= room:
            break
    return ours, theirs


def _start(length: int, around: Optional[int], most: int) -> int:
    """Return where to begin to show `most` of `length` items, so that the item `around` is among them."""
    if length <= most or around is None or around < most * 3 // 4:
        return 0
    return around - most // 2


def _cut(data: Union[bytes, str], start: int, most: int) -> str:
    return f"{'...' if start else ''}{data[start:start + most]!r}{'...' if start + most < len(data) else ''}"


def shorten_repr(value: object, limit: int = 60) -> str:
    """Return the repr of any value on one line, cut after `limit` characters; it says how many more there are."""
    if isinstance(value, (bytes, str)):
        return shorten(value, limit=limit)
    try:
        text = " ".join(repr(value).split("\n"))
    except Exception as error:  # noqa: BLE001 - a user's __repr__, which must not break the report
        if type(value) is int:  # more digits than sys.get_int_max_str_digits()
            return f"<int of {value.bit_length()} bits>"
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    if len(text) <= limit + 20:
        return text
    return f"{text[:limit]}... ({len(text) - limit} more characters)"


def function_name(function: object) -> str:
    """Return the name of a function or another callable, without the functions in which it was defined."""
    name: Optional[str] = getattr(function, "__qualname__", None)
    return shorten_repr(function) if name is None else name.rpartition("<locals>.")[2]


def text_of(exception: BaseException) -> str:
    """Return what an exception says; its arguments, if it can't: as with bytes in an `assert`, under ``python -bb``."""
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - a user's __str__, which must not break the report
        return ", ".join(map(shorten_repr, exception.args))


def exception_text(exception: BaseException, limit: int = 200) -> str:
    """Return the exception's type and the first line of its text, as at the end of a traceback."""
    text = text_of(exception).strip().split("\n")[0]
    if len(text) > limit:
        text = f"{text[:limit]}..."
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__


def _window(length: int, around: Optional[int], limit: int) -> tuple[int, int]:
    """Return the start and stop of at most `limit` of `length` items, with the item `around` near the middle."""
    if length <= limit:
        return 0, length
    # Don't move the start back to fill the limit near the end: both sides of a difference must start at the same place.
    start = 0 if around is None else max(around - limit // 2, 0)
    return start, min(start + limit, length)


def first_difference(expected: bytes, received: memoryview, start: int = 0) -> Optional[int]:
    """Return the index in `received` of the first byte that isn't the one in ``expected[start:]``, or None.

    A byte beyond the end of `expected` is a difference. Equal data costs one memory comparison and no copy. Other data
    costs a bisection, which compares at most twice as many bytes.
    """
    low, high = 0, min(len(received), len(expected) - start)
    if expected.startswith(received[:high], start):
        return None if high == len(received) else high
    while high - low > 1:
        middle = (low + high) // 2
        if expected.startswith(received[low:middle], start + low):
            low = middle
        else:
            high = middle
    return low


def difference_rows(expected: bytes, received: bytes, offset: int) -> tuple[str, ...]:
    """Return a hexdump of both sides around the byte `offset`, with ``^^`` under it.

    Each side has at most three rows of 16 bytes: the row of the difference and its neighbours. Equal rows are given
    once. Data of more than one row has the offset of each row.
    """
    here = offset // _ROW
    last = max(here, min(here + 1, (min(len(expected), len(received)) - 1) // _ROW))
    several = here > 0 or max(len(expected), len(received)) > _ROW
    digits = len(str(last * _ROW)) if several else 0
    width = 3 * (_ROW if several else max(len(expected), len(received), offset + 1)) - 1
    lines = []
    for row in range(max(here - 1, 0), last + 1):
        start = row * _ROW
        place = f"{start:>{digits}}  " if several else ""
        ours, theirs = expected[start : start + _ROW], received[start : start + _ROW]
        if ours == theirs:
            lines.append(_dump("both", place, ours, width))
            continue
        lines.append(_dump("expected", place, ours, width))
        lines.append(_dump("received", place, theirs, width))
        if row == here:
            column = offset % _ROW
            hexadecimal = 10 + len(place) + 3 * column
            characters = 10 + len(place) + width + 3 + column
            lines.append(" " * hexadecimal + "^^" + " " * (characters - hexadecimal - 2) + "^")
    return tuple(lines)


def _dump(label: str, place: str, data: bytes, width: int) -> str:
    characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f"{label:<8}  {place}{data.hex(' '):<{width}}  |{characters}|"


def lateness(duration: float, silent: bool) -> str:
    """Say how long something took (seconds): without any progress if `silent`, else in all."""
    return f"for {seconds(duration)}" if silent else f"within {seconds(duration)}"
