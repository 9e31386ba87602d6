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


def collect() -> None:
    """Let everything go to which nobody refers any more. Where references are counted, it has gone already."""
    if not _COUNTED:
        for _ in range(3):  # a finalizer may let go more
            gc.collect()
