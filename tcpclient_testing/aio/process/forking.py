"""Takes an event loop of the parent process out of the way of a forked child.

The child's descriptors are copies, but an epoll is shared: what the child registers, the parent's loop gets, and what
the child unregisters, the parent's loop gets no more. That happens when `asyncio.run` closes the loop in the child, or
when the loop is garbage there. The same holds for the socket pair that wakes the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from typing import Any

__all__ = ["renew"]

__unittest = True


def renew(loop: asyncio.AbstractEventLoop) -> None:
    """In a forked child: give the parent's loop a selector and a socket pair of its own. It watches nothing any more.

    Do nothing for loops that are not asyncio's. The names are those of asyncio's base classes from Python 3.9 on.
    """
    inner: Any = loop
    if not isinstance(loop, asyncio.SelectorEventLoop) or loop.is_closed() or \
            not all(hasattr(inner, name) for name in ("_selector", "_ssock", "_csock", "_make_self_pipe")):
        return
    for copy in (inner._selector, inner._ssock, inner._csock):
        with contextlib.suppress(OSError):
            copy.close()
    inner._selector = selectors.DefaultSelector()
    inner._internal_fds -= 1
    inner._make_self_pipe()
