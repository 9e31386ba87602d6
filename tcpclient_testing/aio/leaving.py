"""Decides whether an exception is leaving a block, or is handled inside it.

The interpreter doesn't distinguish the two: `sys.exc_info` returns the exception in a ``finally`` that it passes
through, and in an ``except`` that handles it. The source does. In the frame that the exception has reached, compare
two lines: the line that raised it, and the line that runs now. They lie in different clauses of one ``try``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import ast
    from types import FrameType

__all__ = ["leaves"]

__unittest = True

_RAISING = frozenset({"exit", "fail", "skip", "skipTest"})


def leaves(exc: Optional[BaseException]) -> bool:
    """Whether `exc`, which `sys.exc_info` returns now, leaves the block that is running.

    It leaves

    - in a ``finally``,
    - on the way out of a ``with``,
    - in an ``except`` that, further down, certainly raises or calls something like ``self.fail()``. A ``raise`` under
      an ``if`` doesn't count, since it may not be reached.

    Without source the result is False: treat the exception as handled.
    """
    traceback = None if exc is None else exc.__traceback__
    if traceback is None:
        return False
    # The first entry of a traceback is the frame that the exception has reached last.
    tree = _tree_of(traceback.tb_frame)
    return tree is not None and not _handles(tree, traceback.tb_lineno, traceback.tb_frame.f_lineno)


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
    except (SyntaxError, ValueError):
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
