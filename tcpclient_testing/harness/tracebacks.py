"""Shortens tracebacks to what the reader of a report looks for: the lines of the test, and of the client.

unittest removes frames, too, but only its own, and those of modules that have a global `__unittest`. The frames of an
event loop, which come before a test's own, end what it removes at the beginning. What it removes at the end of a failed
assertion begins at the first such module after the loop's frames, even if the test's own lines come later.
"""

from __future__ import annotations

from types import TracebackType
from typing import Optional, TypeVar

from tcpclient_testing.errors import ScriptError

__all__ = ["FRAMES_HIDDEN", "cut_to_test", "hide_our_frames", "told_of"]

__unittest = True

E = TypeVar("E", bound=BaseException)

_PACKAGE = __name__.partition(".")[0]
# What stands between frames of the library is hidden with them.
_FOLLOWING = (_PACKAGE, "asyncio", "contextlib")
_FRAMEWORKS = frozenset({"asyncio", "concurrent", "contextlib", "unittest", "uvloop", "winloop", _PACKAGE})


def cut_to_test(error: E, *, verdict: bool) -> E:
    """Cut the traceback of an exception: it begins with the test's first line, and no frame of the library is in it.

    That of a `verdict` also ends with the test's last line. Exceptions in the chain lose the library's frames, too.
    """
    first: Optional[TracebackType] = None
    last: Optional[TracebackType] = None
    entry = error.__traceback__
    while entry is not None:
        if _package_of(entry) not in _FRAMEWORKS:
            first, last = first or entry, entry
        entry = entry.tb_next
    if verdict and last is not None:
        last.tb_next = None
    if first is not None or verdict:
        error = error.with_traceback(first)
    hide_our_frames(error)
    return error


def told_of(error: BaseException) -> Optional[TracebackType]:
    """Return the traceback of an exception that has come from another thread's loop, without the way that it came.

    A verdict and a misuse have none: they are about the script. That of a client's exception begins with its own code.
    """
    from tcpclient_testing.report.report import ExpectationError
    entry = error.__traceback__
    if isinstance(error, (ExpectationError, ScriptError)):
        return None
    while entry is not None and _package_of(entry) in _FRAMEWORKS:
        entry = entry.tb_next
    return error.__traceback__ if entry is None else entry


def hide_our_frames(error: BaseException) -> None:
    """Remove the library's frames from the tracebacks of an exception, and of those in its chain and in its groups.

    So are those of asyncio and of contextlib that follow them: where asyncio is written in Python, as on PyPy, each
    ``await`` has some. The first entry of each traceback stays, since it can't be removed from it.
    """
    from .exceptions import parts_of  # here, since only an exception needs it
    seen: set[int] = set()
    waiting: list[Optional[BaseException]] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__, *(part for part in parts_of(each) if part is not each)]
        entry = each.__traceback__
        hidden = _FOLLOWING if entry is not None and _package_of(entry) == _PACKAGE else (_PACKAGE,)
        while entry is not None:
            while entry.tb_next is not None and _package_of(entry.tb_next) in hidden:
                entry.tb_next, hidden = entry.tb_next.tb_next, _FOLLOWING
            entry, hidden = entry.tb_next, (_PACKAGE,)


class _FramesHidden:
    """A context, entered in a public method, that hides how an exception came there: see `hide_our_frames`.

    Then one line of the library stands below the line of the user that called the method.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Optional[type[BaseException]], exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if exc is not None:
            hide_our_frames(exc)


FRAMES_HIDDEN = _FramesHidden()


def _package_of(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0]
