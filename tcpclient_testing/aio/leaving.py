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

_RAISING = frozenset({"exit", "fail", "skip", "skipTest"})


def leaves(exc: Optional[BaseException]) -> bool:
    """Whether `exc`, which is what `sys.exc_info` says now, leaves the block where that is.

    It does in a ``finally``, on the way out of a ``with``, and in an ``except`` that raises, or calls something like
    ``self.fail()``, further down, whatever happens: a ``raise`` under an ``if`` may not come. Where there is no source
    to look at, the answer is no: then it is to be taken for handled.
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
    import warnings
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to say of the test's source has been said
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
                return not any(_raises(each) and each.lineno >= now for each in handler.body)
    return False


def _raises(statement: ast.stmt) -> bool:
    """Whether this is a ``raise``, or a call that does so: of ``fail`` (unittest, pytest), ``exit``, ``skipTest``."""
    import ast
    called: Any = statement.value.func if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) \
        else None
    return isinstance(statement, ast.Raise) or getattr(called, "attr", getattr(called, "id", "")) in _RAISING


def _within(nodes: Sequence[Any], line: int) -> bool:
    return bool(nodes[0].lineno <= line <= nodes[-1].end_lineno)
