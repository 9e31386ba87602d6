"""What tests assume of the interpreter's memory: when an object goes to which nobody refers any more.

CPython counts references, so it goes at once. Elsewhere, as on PyPy, it goes when the garbage collector finds it.
"""

from __future__ import annotations

import gc
import importlib.util
import unittest
import weakref

__all__ = ["collect", "counts_references", "traces_memory"]


class _Thing:
    """Something to refer to."""


def _goes_at_once() -> bool:
    thing = _Thing()
    reference = weakref.ref(thing)
    del thing
    return reference() is None


_COUNTED = _goes_at_once()

#: For tests of what happens at once, without the garbage collector.
counts_references = unittest.skipUnless(_COUNTED, "needs a Python that counts references")

#: For tests of how much memory is allocated, and where.
traces_memory = unittest.skipUnless(importlib.util.find_spec("_tracemalloc"), "needs tracemalloc")


def collect(*, cycles: bool = False) -> None:
    """Let everything go to which nobody refers any more.

    Where references are counted, it has gone already, but for `cycles`. Elsewhere, one run of the garbage collector is
    not enough: it calls finalizers, and what those refer to goes with the next run.
    """
    for _ in range(int(cycles) if _COUNTED else 3):
        gc.collect()
