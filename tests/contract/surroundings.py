"""The surroundings that need nothing but the standard library: each runs a case, and says what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
import unittest
from typing import Any, Callable, NamedTuple, Optional

from tcpclient_testing import (
    MockTCPServer,
    MockTCPServerMixin,
    ThreadedMockTCPServer,
    ThreadedMockTCPServerMixin,
)

from .bodies import Body, Tools, drive, drive_blocking
from .case import Case
from .clients import CLOSE, read, send
from .judging import Outcome

# asyncio's transports of a Proactor say this of each connection that the other side has reset.
_SHUTS_DOWN = "_ProactorBasePipeTransport._call_connection_lost"


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _outcome(error: Optional[BaseException], left: str = "") -> Outcome:
    """Return the outcome of code that has no framework around it."""
    if error is None:
        return Outcome([], left=left)
    if isinstance(error, unittest.SkipTest):
        return Outcome([], True, left)
    return Outcome([_text(error)], left=left)


# unittest.

def _case_class(base: type[Any], mixin: Optional[type[Any]], case: Case, asynchronous: bool,
                server: Callable[[Any], Any] = lambda self: self.tcpserver) -> type[Any]:
    """Make a test case with one test. `server` returns its server.

    Without a mixin, the set-up opens the server, and a clean-up leaves it.
    """
    def tools(self: Any) -> Tools:
        made: Optional[Tools] = self.__dict__.get("tools")
        if made is None:
            close: Optional[list[Callable[[], None]]] = self.__dict__.get("close")
            if close is None:
                close = _close_in_the_end(self)
            made = self.tools = Tools(server(self), tls=case.tls, asynchronous=asynchronous, case=self)
            close.append(made.close)
        return made

    def part(body: Any) -> Callable[..., Any]:
        if asynchronous:
            async def run_in_loop(self: Any) -> None:
                await drive(body(tools(self)))
            return run_in_loop

        def run(self: Any) -> None:
            drive_blocking(body(tools(self)))
        return run

    def method(tools: Tools) -> Any:
        case.script(tools.server)
        if case.clean_up is not None:
            add = tools.case.addAsyncCleanup if asynchronous else tools.case.addCleanup
            add(part(case.clean_up), tools.case)
        yield from case.body(tools)

    namespace: dict[str, Any] = {"tcpserver_options": case.options(), "test": part(method)}
    for mark in case.marks:
        namespace["test"] = getattr(unittest, mark)(namespace["test"])
    prefix = "async" if asynchronous else ""
    for name, body in (("SetUp", case.set_up), ("TearDown", case.tear_down)):
        if body is not None:
            namespace[prefix + name if prefix else name[0].lower() + name[1:]] = part(body)
    if mixin is None:
        _add_server(namespace, case, asynchronous)
        return type(case.name, (base,), namespace)
    return type(case.name, (mixin, base), namespace)


def _close_in_the_end(test: unittest.TestCase) -> list[Callable[[], None]]:
    """Return a list of functions that a clean-up calls: after the verdict of a server that is opened after this."""
    close: list[Callable[[], None]] = []
    test.addCleanup(lambda: [function() for function in close])
    return close


def _add_server(namespace: dict[str, Any], case: Case, asynchronous: bool) -> None:
    """Let the set-up of a test case open a server on a stack that a clean-up closes."""
    async def enter(self: Any) -> None:
        self.close = _close_in_the_end(self)
        stack = contextlib.AsyncExitStack()
        self.addAsyncCleanup(stack.aclose)
        self.tcpserver = await stack.enter_async_context(MockTCPServer(**case.options()))
        if before is not None:
            await before(self)

    def enter_blocking(self: Any) -> None:
        self.close = _close_in_the_end(self)
        self.tcpserver = ThreadedMockTCPServer(**case.options()).start()
        self.addCleanup(self.tcpserver.stop)
        if before is not None:
            before(self)

    def start(self: Any) -> Any:
        # Python 3.11 and later have enterAsyncContext().
        stack = contextlib.AsyncExitStack()
        self.addAsyncCleanup(stack.aclose)
        entering = stack.enter_async_context(MockTCPServer(**case.options()))
        try:
            entering.send(None)
        except StopIteration as entered:
            return entered.value
        raise AssertionError("a server that is entered has waited")

    def start_blocking(self: Any) -> Any:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(ThreadedMockTCPServer(**case.options()))
    name = "asyncSetUp" if asynchronous else "setUp"
    before = namespace.get(name)
    namespace[name] = enter if asynchronous else enter_blocking
    namespace["start_tcpserver"] = start if asynchronous else start_blocking


def _run_case(made: type[Any]) -> Outcome:
    test = made("test")
    result = unittest.TestResult()
    test.run(result)
    tools = test.__dict__.get("tools")
    left = ""
    if tools is not None:
        left = "" if tools.server.closed else "the server is not closed"
    reports = [text for _, text in result.errors + result.failures]
    reports += [f"unexpected success: {each}" for each in result.unexpectedSuccesses]
    return Outcome(reports, bool(result.skipped), left)


def asynchronous_mixin(case: Case) -> Outcome:
    """`MockTCPServerMixin`."""
    return _run_case(_case_class(unittest.IsolatedAsyncioTestCase, MockTCPServerMixin, case, True))


def in_memory(case: Case) -> Outcome:
    """`MockTCPServerMixin`, whose servers are in memory."""
    return asynchronous_mixin(case._replace(options=lambda: {**case.options(), "in_memory": True}))


def threaded_mixin(case: Case) -> Outcome:
    """`ThreadedMockTCPServerMixin`."""
    return _run_case(_case_class(unittest.TestCase, ThreadedMockTCPServerMixin, case, False))


def borrowing_mixin(case: Case) -> Outcome:
    """`ThreadedMockTCPServerMixin` with a server that outlives the test."""
    try:
        server = ThreadedMockTCPServer(**case.options()).start()
    except (TypeError, ValueError) as error:
        return _outcome(error)

    def borrow(self: Any) -> Any:
        return self.borrow_tcpserver(server)
    try:
        drive_blocking(another_test(case, server, False))
        outcome = _run_case(_case_class(unittest.TestCase, ThreadedMockTCPServerMixin, case, False, borrow))
        if not server.closed:
            drive_blocking(another_test(case, server, False))
            outcome = outcome._replace(left="")
        return outcome
    finally:
        server.stop()


def async_set_up(case: Case) -> Outcome:
    """``asyncSetUp`` opens a `MockTCPServer`, without a mixin."""
    return _run_case(_case_class(unittest.IsolatedAsyncioTestCase, None, case, True))


def set_up(case: Case) -> Outcome:
    """``setUp`` starts a `ThreadedMockTCPServer`, without a mixin."""
    return _run_case(_case_class(unittest.TestCase, None, case, False))


# Blocks of code.

def method(case: Case, tools: Tools) -> Any:
    """The test method, and what comes after it, as one body."""
    case.script(tools.server)
    yield from case.body(tools)
    if case.clean_up is not None:
        yield from case.clean_up(tools)


def _in_loop(main: Callable[[list[Any]], Any]) -> Outcome:
    """Run `main` in a loop of its own; it appends the server to the list that it is given."""
    complaints: list[str] = []
    servers: list[Any] = []
    error: Optional[BaseException] = None

    async def run() -> None:
        nonlocal error
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: None if _SHUTS_DOWN in context["message"]
                                   else complaints.append(str(context["message"])))
        try:
            await main(servers)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
        for _ in range(3):
            await asyncio.sleep(0)
        complaints.extend(f"{task}" for task in asyncio.all_tasks() if task is not asyncio.current_task())
    asyncio.run(run())
    complaints.extend("the server is not closed" for server in servers if not server.closed)
    return _outcome(error, "; ".join(complaints))


def async_with(case: Case) -> Outcome:
    """``async with MockTCPServer()``."""
    async def main(servers: list[Any]) -> None:
        tools: Optional[Tools] = None
        try:
            async with MockTCPServer(**case.options()) as server:
                servers.append(server)
                tools = Tools(server, tls=case.tls, asynchronous=True)
                await drive(method(case, tools))
        finally:
            if tools is not None:
                tools.close()
    return _in_loop(main)


def start_and_stop(case: Case) -> Outcome:
    """`start` and `stop` of `MockTCPServer`."""
    async def main(servers: list[Any]) -> None:
        server = await MockTCPServer(**case.options()).start()
        servers.append(server)
        tools = Tools(server, tls=case.tls, asynchronous=True)
        try:
            await drive(method(case, tools))
        finally:
            try:
                await server.stop()
            finally:
                tools.close()
    return _in_loop(main)


def with_block(case: Case) -> Outcome:
    """``with ThreadedMockTCPServer()``."""
    tools = None
    try:
        with ThreadedMockTCPServer(**case.options()) as server:
            tools = Tools(server, tls=case.tls, asynchronous=False)
            drive_blocking(method(case, tools))
    except Exception as error:
        return _outcome(error, _left_of(tools))
    return _outcome(None, _left_of(tools))


def threaded_start_and_stop(case: Case) -> Outcome:
    """`start` and `stop` of `ThreadedMockTCPServer`."""
    tools = None
    try:
        server = ThreadedMockTCPServer(**case.options()).start()
        try:
            tools = Tools(server, tls=case.tls, asynchronous=False)
            drive_blocking(method(case, tools))
        finally:
            server.stop()
    except Exception as error:
        return _outcome(error, _left_of(tools))
    return _outcome(None, _left_of(tools))


# A server that outlives the test: there was a test before this one, and there is one after it.

def another_test(case: Case, server: Any, asynchronous: bool) -> Body:
    """The body of a test that has the same server before or after a case, and is sound."""
    assert not server.connections and not list(server.transcript), "something is left of the test before this one"
    options = case.options()
    if "tls" in options or options.get("pipelining_grace", 0) > 1:
        return
    tools = Tools(server, tls=None, asynchronous=asynchronous)
    server.expect_connect(timeout=20)
    server.expect_bytes(b"EHLO", timeout=20)
    server.send_bytes(b"HELLO")
    server.expect_disconnect(timeout=20)
    yield tools.run(send(b"EHLO"), read(5), CLOSE)
    yield server.clear


def start_and_clear(case: Case) -> Outcome:
    """`start` of a `MockTCPServer`, and `clear` after each of three tests; this is the second of them."""
    async def main(servers: list[Any]) -> None:
        server = await MockTCPServer(**case.options()).start()
        servers.append(server)
        tools = Tools(server, tls=case.tls, asynchronous=True)
        await drive(another_test(case, server, True))
        try:
            try:
                await drive(method(case, tools))
            finally:
                await (server.stop() if server.closed else server.clear())
        finally:
            tools.close()
            if not server.closed:
                await drive(another_test(case, server, True))
            await server.stop()
    return _in_loop(main)


def threaded_start_and_clear(case: Case) -> Outcome:
    """The same of a `ThreadedMockTCPServer`."""
    tools = None
    try:
        server = ThreadedMockTCPServer(**case.options()).start()
        try:
            tools = Tools(server, tls=case.tls, asynchronous=False)
            drive_blocking(another_test(case, server, False))
            try:
                drive_blocking(method(case, tools))
            finally:
                if server.closed:
                    server.stop()
                else:
                    server.clear()
        finally:
            if tools is not None:
                tools.close()
            if not server.closed:
                drive_blocking(another_test(case, server, False))
            server.stop()
    except Exception as error:
        return _outcome(error, _left_of(tools))
    return _outcome(None, _left_of(tools))


def _left_of(tools: Optional[Tools]) -> str:
    if tools is None:
        return ""
    tools.close()
    return "" if tools.server.closed else "the server is not closed"


class Surrounding(NamedTuple):
    """A surrounding: how it runs a case, and which cases it has."""

    run: Callable[[Case], Outcome]
    kind: str
    parts: bool = False
    interrupts: bool = True
    sockets: bool = True

    def has(self, case: Case) -> bool:
        """Whether the case can be run here."""
        needs_parts = case.parts or case.set_up is not None or case.tear_down is not None
        return case.only in ("", self.kind) and (self.parts or not needs_parts) \
            and (self.interrupts or not case.interrupted) and (self.sockets or not case.sockets)


SURROUNDINGS = {
    "asynchronous_mixin": Surrounding(asynchronous_mixin, "asynchronous", True),
    "in_memory": Surrounding(in_memory, "asynchronous", True, sockets=False),
    "threaded_mixin": Surrounding(threaded_mixin, "threaded", True),
    "borrowing_mixin": Surrounding(borrowing_mixin, "threaded", True),
    "async_set_up": Surrounding(async_set_up, "asynchronous", True),
    "set_up": Surrounding(set_up, "threaded", True),
    "async_with": Surrounding(async_with, "asynchronous"),
    "with_block": Surrounding(with_block, "threaded"),
    "start_and_stop": Surrounding(start_and_stop, "asynchronous", interrupts=False),
    "threaded_start_and_stop": Surrounding(threaded_start_and_stop, "threaded"),
    "start_and_clear": Surrounding(start_and_clear, "asynchronous", interrupts=False),
    "threaded_start_and_clear": Surrounding(threaded_start_and_clear, "threaded"),
}
