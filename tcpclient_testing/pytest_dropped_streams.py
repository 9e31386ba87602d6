"""What Python says of client streams that a test has dropped: where the script has failed, that is in its report.

A `StreamWriter` that is collected before it was closed complains (3.11 and later), and where warnings are errors pytest
makes a failure of that: a second report, or (before pytest 8.4) one in the place of the verdict. Whether the script has
failed is not known yet when a test function drops its streams. So

    test function --complaint--> held back --the script has failed--> a section of that report
                                          `--it has not--> told, a little later, as it would have been
"""

from __future__ import annotations

import sys
from typing import Any

from .aio.watch import is_of_dropped_stream

__all__ = ["DroppedStreams"]

__unittest = True
__tracebackhide__ = True


class DroppedStreams:
    """Inside the `with` block, what is said of dropped client streams is held back until `tell` or `keep`."""

    def __init__(self) -> None:
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
        """The script has not failed: let pytest hear of what was held back."""
        while self._held:
            sys.unraisablehook(self._held.pop(0))

    def keep(self) -> list[str]:
        """The script has failed: return what was held back, as lines of its report."""
        lines = [f"{type(each.exc_value).__name__}: {each.exc_value}" for each in self._held]
        self._held.clear()
        return lines
