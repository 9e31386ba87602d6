"""Takes the process's file descriptors away for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from .platforms import HAS_PROC

__all__ = ["LIMITED", "descriptor_limit", "few_descriptors"]

#: Whether the number of descriptors can be limited, and counted, here.
LIMITED = HAS_PROC


def descriptor_limit() -> int:
    """Return how many descriptors this process may have, as far as that is known."""
    return os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 512


@contextlib.contextmanager
def few_descriptors(left: int = 0) -> Iterator[None]:
    """Let the process open so many more descriptors, and no more. What is open stays open."""
    import resource
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    gaps: list[int] = []
    try:
        # Fill the gaps: the limit is one on the numbers of descriptors.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        while not gaps or gaps[-1] < highest:
            gaps.append(os.dup(0))
        os.close(gaps[-1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (gaps.pop() + left, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in gaps:
            os.close(descriptor)
