"""Tells from a fixture's source whether it does anything between its ``yield`` and the end of its server.

    async with MockTCPServer() as server:       server = await MockTCPServer().start()
        yield server                            yield server
                                                await server.stop()

In such a fixture all can be judged when the test function ends: what comes next is the server's end. Otherwise the
fixture may still close the client.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, Optional

__all__ = ["leaves_at_once"]

__unittest = True

_BLOCKS = (ast.With, ast.AsyncWith, ast.Try)


def leaves_at_once(function: Any) -> bool:
    """Whether a fixture leaves its server as soon as it goes on after its ``yield``. Without source, return False."""
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return False
    if not isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    if sum(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in ast.walk(definition)) != 1:
        return False
    return _leaves(definition.body, function) is True


def _leaves(statements: list[ast.stmt], function: Any) -> Optional[bool]:
    """Whether a server is left next after the ``yield`` in these statements; None if the end of them comes first.

    False also stands for: something else comes next.
    """
    for number, statement in enumerate(statements):
        if not any(isinstance(node, ast.Yield) for node in ast.walk(statement)):
            continue
        found: Optional[bool] = None
        if isinstance(statement, _BLOCKS):
            found = _leaves(statement.body, function)
            if found is None:
                found = _exits(statement, function)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield)):
            found = False
        rest = statements[number + 1:]
        return _stops(rest[0]) if found is None and rest else found
    return False


def _exits(block: Any, function: Any) -> Optional[bool]:
    """Whether leaving a block leaves a server first; None if it does nothing."""
    if isinstance(block, ast.Try):
        following = block.orelse or block.finalbody
        return _stops(following[0]) if following else None
    return _is_server(block.items[-1].context_expr, function)


def _stops(statement: ast.stmt) -> bool:
    """Whether this is ``server.stop()``, awaited or not."""
    value: Any = statement.value if isinstance(statement, ast.Expr) else None
    value = value.value if isinstance(value, ast.Await) else value
    return isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "stop" and not value.args


def _is_server(expression: ast.expr, function: Any) -> bool:
    """Whether an expression makes a server: it calls the class, under the name that it has in the fixture's module."""
    from tcpclient_testing.server.properties import ServerView
    if not isinstance(expression, ast.Call):
        return False
    called, made = expression.func, None
    if isinstance(called, ast.Name):
        made = function.__globals__.get(called.id)
    elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        made = getattr(function.__globals__.get(called.value.id), called.attr, None)
    return isinstance(made, type) and issubclass(made, ServerView)
