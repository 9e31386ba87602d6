"""Holds back Python's warnings about client streams that a test has dropped, until the verdict is known.

A `StreamWriter` that is garbage collected before it was closed warns (Python 3.11.3 and later). If warnings are errors,
pytest makes a failure of that: a second report, or (before pytest 8.4) one that replaces the verdict. But when a test
function drops its streams, it is not known yet whether the script has failed. So:

    test function --warning--> held back --the script has failed--> a section of its report
                                        `--it has not failed--> passed on to pytest, a little later than usual
"""

from __future__ import annotations

import sys
from typing import Any

from tcpclient_testing.aio.streams.watch import is_of_dropped_stream

__all__ = ["DroppedStreams"]

__unittest = True

__tracebackhide__ = True


class DroppedStreams:
    """Inside the `with` block, warnings about dropped client streams are held back. Then call `tell` or `keep`.

    `kept` has the lines for the test's report.
    """

    def __init__(self) -> None:
        self.kept: list[str] = []
        self._held: list[Any] = []
        self._before: Any = None
        self._installed: Any = None

    def __enter__(self) -> None:
        self._before = sys.unraisablehook
        self._installed = sys.unraisablehook = self._hold

    def __exit__(self, *exc_info: object) -> None:
        if sys.unraisablehook is self._installed:
            sys.unraisablehook = self._before

    def _hold(self, unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, ResourceWarning) and is_of_dropped_stream(unraisable.exc_traceback):
            self._held.append(unraisable)
        else:
            self._before(unraisable)

    def tell(self) -> None:
        """The script has not failed: pass the warnings that were held back on to pytest."""
        while self._held:
            sys.unraisablehook(self._held.pop(0))

    def keep(self) -> None:
        """The script has failed: keep the warnings that were held back, for its report."""
        self.kept += [f"{type(each.exc_value).__name__}: {each.exc_value}" for each in self._held]
        self._held.clear()
