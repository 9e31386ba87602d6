"""Makes tracebacks for pytest that show the line of the script, without the library's own frames.

A verdict is often found when no line of the test runs: while the test waits for the client, or after the test has
ended. The reader wants to see the step that was not met. So the traceback of such a verdict has one entry: the line of
that step.
"""

from __future__ import annotations

import ast
import dis
import inspect
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Optional

from tcpclient_testing.engine.source_lines import source_lines
from tcpclient_testing.report.report import ExpectationError

__all__ = ["cut_to_script", "frame_of"]

__unittest = True


def cut_to_script(verdict: ExpectationError, function: Any, frame: Optional[FrameType]) -> Optional[TracebackType]:
    """Return a traceback that shows the step that was not met; without a step, the end of the test function.

    `frame` is the test function's own frame, if that ended with an exception. It is used if it holds the line, so that
    a debugger shows its variables. Return None if neither a step nor the code of the function is known.
    """
    test: Optional[CodeType] = getattr(inspect.unwrap(function), "__code__", None)
    origin = verdict.step.origin if verdict.step is not None else ()
    place = next((entry for entry in origin if entry[0] is test), origin[0] if origin else None)
    if place is not None:
        code, line = place[0], source_lines((place,))[0].line
    elif test is not None:
        code, line = test, max((number for _, number in dis.findlinestarts(test) if number), default=1)
    else:
        return None
    if frame is not None and frame.f_code is code:
        return TracebackType(None, frame, frame.f_lasti, line)
    return _entry(verdict, code, line)


def _entry(verdict: ExpectationError, code: CodeType, line: int) -> Optional[TracebackType]:
    """Make the traceback's entry, with the frame of a stand-in function, since the real frame is gone."""
    module = ast.parse("def function():\n    raise verdict")
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)
    for node in ast.walk(function):
        if isinstance(node, (ast.stmt, ast.expr)):
            node.lineno = node.end_lineno = line
            node.col_offset = node.end_col_offset = 0
    function.lineno, function.end_lineno = code.co_firstlineno, max(line, code.co_firstlineno)
    compiled = compile(module, code.co_filename, "exec")
    stand_in = next(constant for constant in compiled.co_consts if isinstance(constant, CodeType))
    stand_in = stand_in.replace(co_name=code.co_name)
    kept = verdict.__traceback__
    try:
        FunctionType(stand_in, {"verdict": verdict.with_traceback(None), "__name__": code.co_name})()
    except ExpectationError as raised:
        return None if raised.__traceback__ is None else raised.__traceback__.tb_next
    finally:
        verdict.__traceback__ = kept
    return None


def frame_of(function: Any, exc: BaseException) -> Optional[FrameType]:
    """Return the frame of `function` through which `exc` came; None if there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    entry = exc.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code is code:
            return entry.tb_frame
        entry = entry.tb_next
    return None
