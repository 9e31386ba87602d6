"""Finds the test that a server belongs to if the test opens it outside of its body: in a set-up, or in a fixture.

    opened in a set-up -> the body of the test -> left in a clean-up

The task that opens such a server is the set-up's; it may end with that, or a framework runs whole tests in it. So the
server does not know the body. Its owner does, which has the servers of the test: it interrupts the body, and raises the
verdict there. When the server is left in the end, it raises nothing that was reported before.

- The pytest plugin says for which test a fixture is being set up: `opening_for`.
- Under unittest, the test case is found on the stack. There need be no mixin.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.harness.servers import owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from tcpclient_testing.harness.judged import Judged
    from tcpclient_testing.harness.servers import ServersOfTest

__all__ = ["adopt", "opening_for"]

__unittest = True

_PACKAGE = __name__.partition(".")[0]

# The tests for which fixtures are being set up, innermost last; None for code that is no part of a test.
_opening: list[Optional[ServersOfTest]] = []

# unittest calls these for classes and modules: what is opened then belongs to no test.
_WIDER = frozenset({"_handleClassSetUp", "_handleModuleFixture"})


@contextlib.contextmanager
def opening_for(servers: Optional[ServersOfTest]) -> Iterator[None]:
    """In the `with` block, servers that are opened belong to `servers`; with None, to no test."""
    _opening.append(servers)
    try:
        yield
    finally:
        _opening.pop()


def adopt(server: Judged, handle: Any, *, block: bool) -> None:
    """A server is being opened: find its owner. `handle` is the server that the test has.

    `block` says that it is opened by entering a context, and not by `start`.
    """
    if owner_of(server) is not None:
        return
    owner = _opening[-1] if _opening else _owner_on_stack(sys._getframe(1), block)
    if owner is not None:
        owner.adopt(server, handle)


def _owner_on_stack(frame: Optional[FrameType], block: bool) -> Optional[ServersOfTest]:
    """Return the servers of the unittest case whose set-up runs now, or whose body opens a server for its clean-ups."""
    while frame is not None and _module_of(frame) == _PACKAGE:
        frame = frame.f_back
    from_stack = block and frame is not None and _module_of(frame) in ("contextlib", "unittest")
    codes: set[CodeType] = set()
    part = ""
    while frame is not None:
        if _module_of(frame) == "unittest":
            name = frame.f_code.co_name
            if name in _WIDER:
                return None
            if name in ("_callSetUp", "_callTestMethod"):
                part = part or name
            elif name == "run" and part:
                case: Any = frame.f_locals.get("self")
                if not hasattr(case, "_testMethodName"):
                    return None
                break
        else:
            codes.add(frame.f_code)
        frame = frame.f_back
    else:
        return None
    names = ("setUp", "asyncSetUp") if part == "_callSetUp" else (case._testMethodName,) if from_stack else ()
    return _servers_of(case) if any(_runs(codes, case, name) for name in names) else None


def _runs(codes: set[CodeType], case: Any, name: str) -> bool:
    """Whether a method of the test case is on the stack. It is not if another task opens the server."""
    code = getattr(inspect.unwrap(getattr(case, name, None)), "__code__", None)  # type: ignore[arg-type]
    return code in codes or any(each.co_name == name for each in codes)


def _servers_of(case: Any) -> ServersOfTest:
    """Return the servers of a test case: those of its mixin if it has one."""
    of_mixin: Optional[ServersOfTest] = getattr(case, "_tcpservers", None)
    if of_mixin is not None:
        return of_mixin
    from .cases import servers_of_case
    return servers_of_case(case)


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
