"""Whether an exception is on its way out of a block, or is merely being handled there.

To the interpreter both are the same: `sys.exc_info` has the exception in a ``finally`` that it passes as in an
``except`` that ends it. What tells them apart is the source: where the exception was raised, and where the frame that
it has come to stands now. They lie in different clauses of one ``try``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import ast
    from types import FrameType

__all__ = ["leaves"]

__unittest = True


def leaves(exc: Optional[BaseException]) -> bool:
    """Whether `exc`, which is what `sys.exc_info` says now, leaves the block where that is.

    It does in a ``finally``, on the way out of a ``with``, and in an ``except`` whose last statement is a ``raise``.
    Where there is no source to look at, the answer is no: then it is to be taken for handled.
    """
    traceback = None if exc is None else exc.__traceback__
    if traceback is None:
        return False
    # What an exception has come to last is the first entry of its traceback.
    tree = _tree_of(traceback.tb_frame)
    return tree is not None and not _handles(tree, traceback.tb_lineno, traceback.tb_frame.f_lineno)


def _tree_of(frame: FrameType) -> Optional[ast.AST]:
    """The syntax tree of the file that a frame runs; None without source, or where that can't be read."""
    import ast
    import linecache
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    try:
        return ast.parse(source) if source else None
    except (SyntaxError, ValueError):
        return None


def _handles(tree: ast.AST, raised: int, now: int) -> bool:
    """Whether line `now` is in an ``except``, for good, of the ``try`` in whose body line `raised` is."""
    import ast
    kinds = (ast.Try, getattr(ast, "TryStar", ast.Try))  # the latter from 3.11 on
    for node in ast.walk(tree):
        if isinstance(node, kinds) and _within(node.body, raised):
            handler = next((handler for handler in node.handlers if _within([handler], now)), None)
            if handler is not None:
                return not isinstance(handler.body[-1], ast.Raise)
    return False


def _within(nodes: Sequence[Any], line: int) -> bool:
    return bool(nodes[0].lineno <= line <= nodes[-1].end_lineno)
