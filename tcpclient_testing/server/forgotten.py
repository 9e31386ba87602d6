"""Warns about a server that was started and never stopped: when it is collected, or at the interpreter's exit.

A server that is left by a block, a mixin or a fixture, or closed, does not warn.

Nothing inside of a server refers to the object that the test has. So that is collected when the test has dropped it,
while a loop or a thread still runs the rest. Then the thread is stopped; what runs in a loop goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.report.report import ExpectationError

__all__ = ["Forgettable", "tell_of_all"]

__unittest = True


class Forgettable:
    """A server that warns if it is forgotten. Call `_remember` when it is started."""

    _runtime: Runtime

    #: The process that has started it. A forked child has forgotten nothing. None if nothing is to be told.
    _started_by: Optional[int] = None

    def _remember(self) -> None:
        """The server is started now."""
        self._started_by = os.getpid()
        _started.add(self)

    def _failure(self) -> Optional[ExpectationError]:
        """Return why the script has failed; None if it has not."""
        raise NotImplementedError

    def _abandon(self) -> None:
        """Release what can be released in any thread: nobody can stop the server any more."""
        raise NotImplementedError

    def _tell_if_forgotten(self) -> None:
        """If the server was never stopped, warn, once."""
        if self._started_by != os.getpid() or self._runtime.closed:
            return
        self._started_by = None
        failure: Optional[ExpectationError] = None
        with contextlib.suppress(Exception):  # while the interpreter shuts down, parts of it are missing
            failure = self._failure()
        why = "" if failure is None else f"; its script had failed: {str(failure).partition(chr(10))[0]}"
        # No line is at fault that is running now: `source` shows where the server was made.
        warnings.warn(f"{self!r} was never stopped{why}", ResourceWarning, source=self)  # noqa: B028

    def __del__(self) -> None:
        if self._started_by == os.getpid() and not self._runtime.closed:
            try:
                self._tell_if_forgotten()
            finally:  # the warning may be an error
                self._abandon()


# Those that were started, to be looked at when the interpreter exits.
_started: weakref.WeakSet[Forgettable] = weakref.WeakSet()


def tell_of_all() -> None:
    """Warn about each server that was never stopped. This comes before threads are stopped at the exit."""
    error: Optional[Warning] = None
    for server in list(_started):
        try:
            server._tell_if_forgotten()
        except Warning as warning:
            error = warning
    if error is not None:
        raise error  # the interpreter shows it


atexit.register(tell_of_all)
