"""Tells whether an exception is leaving the block in which `stop` is called, or was handled there.

The interpreter doesn't distinguish the two: `sys.exc_info` returns the exception in a ``finally`` that it passes
through, and in an ``except`` that handles it. In a generator it even returns what the generator has handled, since the
code that has thrown it in handles it still. There is evidence:

- The innermost frame on the stack that the exception has passed is the one that handles it, or that it leaves.
- A generator or coroutine refers to the exception while it handles it, and no more afterwards. CPython's garbage
  collector tells that; PyPy's doesn't, so there the source has to do.
- In the source of that frame, compare two lines: the line that raised it, and the line that runs now. They lie in
  different clauses of one ``try``.

Tasks that are written in Python, as PyPy's and `nest_asyncio`'s are, are one more case: such a task handles an
exception of what it has awaited for as long as its coroutine runs on, although the coroutine may have caught it. What
is raised meanwhile has it for a context, too.

A signal handler may raise in any line of the main thread, as that of pytest-timeout does. Where an event loop waits,
the exception comes out of it, and ends the test. In a callback it does not: a loop lets out nothing but `SystemExit`
and `KeyboardInterrupt`, and drops the rest. With callbacks that are called often, time-outs would get lost: so they use
`OutOfLoop`.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import gc
import inspect
import sys
from collections.abc import Generator, Iterator, Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    import ast
    from types import FrameType

__all__ = ["OutOfLoop", "called_by_loop", "carried_by", "is_over", "is_propagating", "led_to"]

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
    passed = None if exc is None else next(_passed(exc, sys._getframe(1)), exc.__traceback__)
    if exc is None or passed is None or _has_gone_on(passed, exc):
        return False
    frame = passed.tb_frame
    tree = _tree_of(frame)
    if tree is None:
        return isinstance(exc, KeyboardInterrupt)
    return not _handles(tree, passed.tb_lineno, frame.f_lineno)


def is_over(exc: BaseException) -> bool:
    """Whether only a task still handles `exc`, which `sys.exc_info` returns now: what the task runs has gone on."""
    for passed in _passed(exc, sys._getframe(1)):
        if _module(passed.tb_frame) == "asyncio":
            return True
        if not _has_gone_on(passed, exc):
            return False
    return False


def led_to(before: BaseException, exc: BaseException) -> bool:
    """Whether `before`, the context of `exc`, was being handled when `exc` was raised.

    If tasks are written in Python, the context may also be what the coroutine had handled by then. A task has given it
    that, so the task is in its traceback; the code that really handles an exception is in the tracebacks of both.
    """
    if asyncio.Task is not getattr(asyncio.tasks, "_PyTask", None) \
            or not any(_module(entry.tb_frame) == "asyncio" for entry in _entries(before)):
        return True
    passed = {each.tb_frame: each for each in _entries(before)}
    users = [entry for entry in _entries(exc) if _module(entry.tb_frame) != "asyncio"]
    for entry in users:
        earlier = passed.get(entry.tb_frame)
        called = "" if entry.tb_next is None else entry.tb_next.tb_frame.f_code.co_name
        if earlier is not None and not (entry.tb_frame.f_code.co_flags & _GENERATORS
                                        and _is_past(earlier, before, entry.tb_lineno, called)):
            return True
    return not users  # asyncio itself has raised it: that is not known


def _entries(exc: BaseException) -> Iterator[TracebackType]:
    """Yield the entries in the traceback of `exc`, the outermost first."""
    entry = exc.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _module(frame: FrameType) -> str:
    """The top-level module whose code runs in a frame."""
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _passed(exc: BaseException, frame: Optional[FrameType]) -> Iterator[TracebackType]:
    """Yield the entries in the traceback of `exc` that belong to frames of the stack, from `frame` on, outwards."""
    entries = {entry.tb_frame: entry for entry in _entries(exc)}  # the last one of a frame: where `exc` came from
    while frame is not None:
        if frame in entries:
            yield entries[frame]
        frame = frame.f_back


def _has_gone_on(passed: TracebackType, exc: BaseException) -> bool:
    """Whether the generator or coroutine of the entry `passed` has handled `exc`, and gone on."""
    frame = passed.tb_frame
    if not frame.f_code.co_flags & _GENERATORS:
        return False  # what `sys.exc_info` returns is exact
    if _collector_tells():
        return not _refers(frame, exc)
    return _is_past(passed, exc, frame.f_lineno, _called_by(frame))


def _refers(frame: FrameType, exc: BaseException) -> bool:
    """Whether the generator or coroutine that runs in `frame` refers to `exc`; True if there is no such generator."""
    for each in gc.get_objects():
        if type(each) in _KINDS:  # isinstance() would ask proxies for what they stand for
            running = getattr(each, "gi_frame", None) or getattr(each, "cr_frame", None) or \
                getattr(each, "ag_frame", None)
            if running is frame:
                return any(referent is exc for referent in gc.get_referents(each))
    return True


@functools.cache
def _collector_tells() -> bool:
    """Whether the garbage collector tells which exception a generator handles. This is tried, once."""
    told = []

    def handling() -> Generator[None, None, None]:
        try:
            yield
        except LookupError:
            told.append(_refers(sys._getframe(), error))
        told.append(_refers(sys._getframe(), error))
        yield

    generator, error = handling(), LookupError()
    next(generator)
    generator.throw(error)
    generator.close()
    return told == [True, False]


def _called_by(frame: FrameType) -> str:
    """The name of the function that `frame`, which is on the stack, has called."""
    called: Optional[FrameType] = sys._getframe(1)
    while called is not None and called.f_back is not frame:
        called = called.f_back
    return "" if called is None else called.f_code.co_name


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


def _is_past(passed: TracebackType, exc: BaseException, now: int, called: str) -> bool:
    """Whether the frame of the entry `passed` has handled `exc` and gone on to line `now`, as far as the source tells.

    If the exception is under way, that line is in an ``except`` or a ``finally`` around the line that has raised it,
    and no other ``except`` has caught it before; or a ``with`` around that line is being left, by the function
    `called`. Without source the result is False.
    """
    import ast
    raised, frame = passed.tb_lineno, passed.tb_frame
    tree = _tree_of(frame)
    if tree is None:
        return False
    tries: Any = (ast.Try, getattr(ast, "TryStar", ast.Try))  # the latter from 3.11 on
    around = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and _within([node], raised)]
    for node in sorted(around, key=lambda node: node.lineno, reverse=True):  # the innermost first
        if isinstance(node, (ast.With, ast.AsyncWith)):
            if called in ("__exit__", "__aexit__") and _within([node], now):
                return False
        elif isinstance(node, tries):
            if _within(node.body, raised):
                if any(_within([handler], now) for handler in node.handlers):
                    return False
                if any(_catches(handler, exc, frame) for handler in node.handlers):
                    return True
            if node.finalbody and _within(node.finalbody, now):
                return False
    return True


def _catches(handler: ast.ExceptHandler, exc: BaseException, frame: FrameType) -> bool:
    """Whether an ``except`` of this frame takes `exc` and ends it. If its classes can't be found: yes."""
    import ast
    if any(map(_raises, handler.body)):
        return False
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    found = [_found(kind, frame) for kind in kinds]
    return any(isinstance(exc, kind) if isinstance(kind, type) else True for kind in found)


def _found(name: Optional[ast.expr], frame: FrameType) -> Any:
    """Return what a name, dotted or not, stands for in a frame; None if that can't be found."""
    import ast
    if isinstance(name, ast.Attribute):
        return getattr(_found(name.value, frame), name.attr, None)
    if not isinstance(name, ast.Name):
        return None
    return next((names[name.id] for names in (frame.f_locals, frame.f_globals, vars(builtins)) if name.id in names),
                None)


def _raises(statement: ast.stmt) -> bool:
    """Whether this is a ``raise``, or a call that raises: ``fail`` (unittest, pytest), ``exit``, ``skipTest`` ..."""
    import ast
    called: Any = statement.value.func if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) \
        else None
    return isinstance(statement, ast.Raise) or getattr(called, "attr", getattr(called, "id", "")) in _RAISING


def _within(nodes: Sequence[Any], line: int) -> bool:
    return bool(nodes[0].lineno <= line <= nodes[-1].end_lineno)


class OutOfLoop(SystemExit):
    """Carries an exception out of the loop. It is an exit with an error for those who don't know it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


def called_by_loop(callback: Callable[[], None]) -> None:
    """Call a function that the loop calls often; what a signal handler raises in it ends the loop."""
    try:
        callback()
    except (Exception, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - what a signal handler raises need not be an error
        raise OutOfLoop(error) from None


def carried_by(error: BaseException) -> BaseException:
    """Return what `error` carries out of a loop; `error` itself if it is no `OutOfLoop`."""
    return error.error if isinstance(error, OutOfLoop) else error
