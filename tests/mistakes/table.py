"""The table of mistakes, and the test modules that are made of it."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any, Callable, NamedTuple

__all__ = ["Mistake", "mistake"]

_Body = Callable[[Any], Any]

_ASYNCHRONOUS = "MockTCPServerMixin, unittest.IsolatedAsyncioTestCase"
_THREADED = "ThreadedMockTCPServerMixin, unittest.TestCase"


class Mistake(NamedTuple):
    """The body of a test that makes a mistake, or whose client does.

    - `cause`: what stands in the first eighty characters of its report
    - `remedy`: what stands in the first line or the hint, or shows in the script what is wrong
    - `options`: those of the server
    """

    body: _Body
    cause: str
    remedy: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """What the mistake is."""
        return self.body.__name__

    @property
    def asynchronous(self) -> bool:
        """Whether the test is a coroutine function."""
        return inspect.iscoroutinefunction(self.body)

    def _imports(self) -> str:
        """What the body's module imports, as its source has it."""
        source = inspect.getsource(inspect.getmodule(self.body) or inspect)
        return "\n".join(line for line in source.partition("__all__")[0].splitlines()
                         if line.startswith(("import ", "from tcpclient_testing")))

    def _lines(self) -> str:
        """The statements of the body."""
        source = inspect.getsource(self.body)
        return textwrap.dedent(source[source.index("-> None:\n") + len("-> None:\n"):])

    def for_unittest(self) -> str:
        """Return a test module with one test case, `Test.test`."""
        bases, kind = (_ASYNCHRONOUS, "async def") if self.asynchronous else (_THREADED, "def")
        mixin = bases.partition(",")[0]
        return (f"import unittest\n{self._imports()}\nfrom tcpclient_testing import {mixin}\n\n\nclass Test({bases}):\n"
                f"    tcpserver_options = {self.options!r}\n\n    {kind} test(self):\n"
                f"        server = self.tcpserver\n{textwrap.indent(self._lines(), ' ' * 8)}")

    def for_pytest(self) -> str:
        """Return a test module with one test function, `test`, and the fixture."""
        fixture, kind = ("tcpserver", "async def") if self.asynchronous else ("threaded_tcpserver", "def")
        mark = "@pytest.mark.asyncio\n" if self.asynchronous else ""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return (f"import pytest\n{self._imports()}\n\n\n{mark}@pytest.mark.tcpserver({options})\n"
                f"{kind} test({fixture}):\n    server = {fixture}\n{textwrap.indent(self._lines(), ' ' * 4)}")


class _Tables:
    """Collects the mistakes of one module after another."""

    def __init__(self) -> None:
        self._table: list[Mistake] = []

    def table(self) -> list[Mistake]:
        """Begin a table: the mistakes that follow go into it."""
        self._table = []
        return self._table

    def __call__(self, cause: str, remedy: str, **options: Any) -> Callable[[_Body], _Body]:
        """Decorates the body of a test with a mistake: see `Mistake`."""
        def collect(body: _Body) -> _Body:
            self._table.append(Mistake(body, cause, remedy, options))
            return body
        return collect


mistake = _Tables()
