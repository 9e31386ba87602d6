"""Keeps the exceptions that have ended threads, until it is known whether a report names them.

Python calls `threading.excepthook` when a thread ends with an exception: by default it prints a traceback, pytest's
warns. While servers run, this module's hook is called first:

    called by threading -> kept -> a report names the exception: dropped
                                -> the last server is closed: passed on to the hook that would have been called

A hook that the test has set itself is called at once, and stays where it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from typing import Any, Callable

__all__ = ["acquire", "forget", "hear", "kept", "release"]

__unittest = True

_Hook = Callable[[Any], Any]

# Whose hooks only tell of the exception: theirs may be called later.
_TELLING = frozenset({"threading", "_thread", "_pytest"})

_first: _Hook = threading.excepthook
_servers: set[object] = set()
_before: list[_Hook] = []
_kept: list[Any] = []


def acquire(server: object) -> None:
    """A server, known by this, begins to run."""
    _servers.add(server)
    hear()


def release(server: object) -> None:
    """A server is closed. After the last one, pass on what no report has named. Idempotent."""
    _servers.discard(server)
    if _servers:
        return
    if threading.excepthook is _hook:
        threading.excepthook = _before[-1] if _before else _first
    _before.clear()
    left = _kept[:]
    _kept.clear()
    for args in left:
        threading.excepthook(args)


def hear() -> None:
    """Hear of exceptions from now on, unless the test has set a hook of its own. pytest sets its own in each phase."""
    if _servers and threading.excepthook is not _hook and _only_tells(threading.excepthook):
        _before.append(threading.excepthook)
        threading.excepthook = _hook


def kept() -> list[BaseException]:
    """Return the exceptions that are kept."""
    return [args.exc_value for args in _kept]


def forget(exceptions: Collection[BaseException]) -> None:
    """A report names these exceptions."""
    _kept[:] = [args for args in _kept if not any(args.exc_value is each for each in exceptions)]


def _hook(args: Any) -> None:
    if _servers and isinstance(args.exc_value, Exception):
        _kept.append(args)
    elif _before:
        _before[-1](args)
    else:  # somebody has kept this hook, and calls it after the servers
        _first(args)


def _only_tells(hook: Any) -> bool:
    hook = getattr(hook, "func", hook)  # pytest's may be a partial function
    module = getattr(hook, "__module__", None) or type(hook).__module__
    return module.partition(".")[0] in _TELLING


def _let_go_in_child() -> None:
    """In a forked child: its servers are the parent's, and so is what was kept."""
    _servers.clear()
    _kept.clear()
    if threading.excepthook is _hook:
        threading.excepthook = _before[-1] if _before else _first
    _before.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
