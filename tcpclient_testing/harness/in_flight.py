"""Tells whether an exception is leaving the block in which `stop` is called, or was handled there.

The interpreter doesn't distinguish the two: `sys.exc_info` returns the exception in a ``finally`` that it passes
through, and in an ``except`` that handles it. In a generator it even returns what the generator has handled, since the
code that has thrown it in handles it still. There is evidence:

- The innermost frame on the stack that the exception has passed is the one that handles it, or that it leaves.
- A generator or coroutine refers to the exception while it handles it, and no more afterwards.
- In the source of that frame, compare two lines: the line that raised it, and the line that runs now. They lie in
  different clauses of one ``try``.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import ast
    from types import FrameType

__all__ = ["is_propagating"]

__unittest = True

_RAISING = frozenset({"exit", "fail", "skip", "skipTest"})

_KINDS = (GeneratorType, CoroutineType, AsyncGeneratorType)
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def is_propagating(exc: Optional[BaseException]) -> bool:
    """Whether `exc`, which `sys.exc_info` returns now, leaves the block that is running.

    It leaves

    - in a ``finally``,
    - on the way out of a ``with``,
    - in an ``except`` that, further down, certainly raises or calls something like ``self.fail()``. A ``raise`` under
      an ``if`` doesn't count, since it may not be reached.

    Without source the result is False: treat the exception as handled. But Ctrl-C is mostly handled nowhere.
    """
    passed = None if exc is None else _passed(exc, sys._getframe(1))
    if exc is None or passed is None:
        return False
    frame = passed.tb_frame
    if _is_over_in(frame, exc):
        return False
    tree = _tree_of(frame)
    if tree is None:
        return isinstance(exc, KeyboardInterrupt)
    return not _handles(tree, passed.tb_lineno, frame.f_lineno)


def _passed(exc: BaseException, frame: Optional[FrameType]) -> Optional[TracebackType]:
    """Return the entry in the traceback of `exc` that belongs to the innermost frame of the stack, from `frame` on.

    If the stack has none of its frames, return the first entry: the frame that the exception has reached last.
    """
    entries: dict[FrameType, TracebackType] = {}
    entry = exc.__traceback__
    while entry is not None:
        entries[entry.tb_frame] = entry  # the last one of a frame: where the exception came from
        entry = entry.tb_next
    while frame is not None:
        if frame in entries:
            return entries[frame]
        frame = frame.f_back
    return exc.__traceback__


def _is_over_in(frame: FrameType, exc: BaseException) -> bool:
    """Whether a generator or coroutine, which runs in `frame`, has handled `exc`, so that it refers to it no more."""
    if not frame.f_code.co_flags & _GENERATORS:
        return False
    for each in gc.get_objects():
        if type(each) in _KINDS:  # isinstance() would ask proxies for what they stand for
            running = getattr(each, "gi_frame", None) or getattr(each, "cr_frame", None) or \
                getattr(each, "ag_frame", None)
            if running is frame:
                return not any(referent is exc for referent in gc.get_referents(each))
    return False


def _tree_of(frame: FrameType) -> Optional[ast.AST]:
    """The syntax tree of the file that a frame runs; None if there is no source, or if it can't be parsed."""
    import ast
    import linecache
    import warnings
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has already given the warnings about the test's source
            return ast.parse(source) if source else None
    except (SyntaxError, ValueError, RecursionError, SystemError):
        return None


def _handles(tree: ast.AST, raised: int, now: int) -> bool:
    """Whether line `now` is in an ``except`` that raises no more, of the ``try`` whose body has line `raised`."""
    import ast
    kinds = (ast.Try, getattr(ast, "TryStar", ast.Try))  # the latter from 3.11 on
    for node in ast.walk(tree):
        if isinstance(node, kinds) and _within(node.body, raised):
            handler = next((handler for handler in node.handlers if _within([handler], now)), None)
            if handler is not None:
                return not any(_raises(each) and each.lineno >= now for each in handler.body)
    return False


def _raises(statement: ast.stmt) -> bool:
    """Whether this is a ``raise``, or a call that raises: ``fail`` (unittest, pytest), ``exit``, ``skipTest`` ..."""
    import ast
    called: Any = statement.value.func if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) \
        else None
    return isinstance(statement, ast.Raise) or getattr(called, "attr", getattr(called, "id", "")) in _RAISING


def _within(nodes: Sequence[Any], line: int) -> bool:
    return bool(nodes[0].lineno <= line <= nodes[-1].end_lineno)
