"""Mixins for unittest that give a test case a server, and let the test fail if the server's script is not met.

    setUp, asyncSetUp -> test method (the body) -> asyncTearDown, tearDown -> clean-ups -> the verdict -> earlier
    clean-ups

The server is made on first use. Its verdict is a clean-up that is registered then, so it comes after everything that
closes the client. What the test method, `asyncTearDown` or a later clean-up raises after the script has failed is a
consequence: it is added to the verdict's report. Each test has one report.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import unittest
from asyncio import events
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Generic, Optional, TypeVar, Union

from .errors import ScriptError
from .harness.in_flight import carried_by
from .harness.run import run, run_blocking, show_blocks_in
from .harness.servers import BODY, SET_UP, TEAR_DOWN, ServersOfTest, without_waiting
from .harness.tracebacks import FRAMES_HIDDEN
from .harness.wrapping import MethodWrappers, check_bases
from .server.server import MockTCPServer

__all__ = ["MockTCPServerMixin", "ThreadedMockTCPServerMixin"]

__unittest = True

if TYPE_CHECKING:
    from .harness.judged import Judged
    from .server.threaded.server import ThreadedMockTCPServer
    _AsyncBase = unittest.IsolatedAsyncioTestCase
    _Base = unittest.TestCase
else:
    _AsyncBase = _Base = object

S = TypeVar("S", bound="Union[MockTCPServer, ThreadedMockTCPServer]")

# The methods of a test case that are parts of each test.
_PARTS = {"setUp": SET_UP, "asyncSetUp": SET_UP, "asyncTearDown": TEAR_DOWN, "tearDown": TEAR_DOWN}


class _ServersMixin(Generic[S], _Base):
    """What both mixins share: a server that is made on first use, and one report for all servers of a test."""

    tcpserver_options: ClassVar[Mapping[str, Any]] = {}

    @property
    def tcpserver(self) -> S:
        """The test's server. It is made, and listens, on first use; it is judged after the test and its clean-ups."""
        server: Optional[S] = self.__dict__.get("_tcpserver")
        if server is None:
            server = self.__dict__["_tcpserver"] = self.start_tcpserver()
        return server

    def start_tcpserver(self, **options: Any) -> S:
        """Make a further server, which listens at once; `options` override those of `tcpserver_options`."""
        raise NotImplementedError

    def _tcpserver_wrappers(self) -> dict[str, Callable[..., Any]]:
        """Return the functions to run in place of the test's own methods, by name; they know when these end."""
        return {name: self._tcpserver_part(part, getattr(self, name))
                for name, part in {**_PARTS, self._testMethodName: BODY}.items() if hasattr(self, name)}

    def _tcpserver_part(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs one of the test's own as a part of the test."""
        # Look up the servers when the part runs: the test may run again, and then has others.
        # unittest awaits the result if the function is a coroutine function, so the wrapper must be of the same kind.
        if self._is_awaited(function):
            async def in_loop(*args: Any, **kwargs: Any) -> Any:
                if part == BODY:
                    self._check_tcpserver_loop()
                return await run(self._tcpservers, part, function, *args, **kwargs)
            return in_loop
        return lambda *args, **kwargs: run_blocking(self._tcpservers, part, function, *args, **kwargs)

    def _is_awaited(self, function: Callable[..., Any]) -> bool:
        """Whether unittest awaits what a function of the test returns."""
        return inspect.iscoroutinefunction(function) and isinstance(self, unittest.IsolatedAsyncioTestCase)

    def _check_tcpserver_loop(self) -> None:
        """Raise `ScriptError` if the loop in which the test method runs can't be the test's."""

    def addCleanup(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Add a function to be called after the test, as `unittest.TestCase` does."""
        super().addCleanup(self._tcpserver_part(TEAR_DOWN, function), *args, **kwargs)

    def _clean_up_tcpserver(self, function: Callable[..., Any], server: Any) -> None:
        """Let `function` leave a server after the test: this is no part of the test, but its verdict."""
        super().addCleanup(function, server)

    def _tcpserver_loops(self) -> AbstractContextManager[None]:
        """Return the context to run the test in; it is entered before the test's loop is made."""
        return nullcontext()

    def run(self, result: Optional[unittest.TestResult] = None) -> Optional[unittest.TestResult]:
        """Run the test, with wrappers around its parts that know when these end. It may be run again."""
        with self._tcpserver_loops(), MethodWrappers(self, self._tcpserver_wrappers()):
            try:
                return super().run(result)
            except BaseException:  # Ctrl-C: unittest leaves out the clean-ups
                self._tcpservers.abandon_all()
                raise
            finally:
                self._tcpservers.let_go()

    def debug(self) -> None:
        """Run the test without collecting errors."""
        with self._tcpserver_loops(), MethodWrappers(self, self._tcpserver_wrappers()):
            try:
                super().debug()
            finally:
                self._tcpservers.close()  # debug() stops at the first exception, before the clean-ups
                if getattr(self, "_asyncioTestLoop", None) is not None:
                    # Python 3.9 and 3.10 leave this to __del__, where ending the loop hangs once the test is garbage.
                    self._tearDownAsyncioLoop()  # type: ignore[attr-defined]

    @contextmanager
    def subTest(self, *args: Any, **params: Any) -> Iterator[None]:
        """Run a subtest, as `unittest.TestCase` does. A verdict that a subtest has reported is not reported again.

        If a subtest fails by an exception of its own, the steps that it wrote and left undone are not reported either.
        Steps of a server that were written before the subtest go on, and are judged. If the subtests have nothing in
        common, give each of them its own server with `start_tcpserver`.
        """
        reports = getattr(self._outcome, "result_supports_subtests", False)  # type: ignore[attr-defined]
        with super().subTest(*args, **params), FRAMES_HIDDEN, \
                self._tcpservers.subtest() if reports else nullcontext():
            yield

    # How unittest calls the parts of a test.

    def _setupAsyncioRunner(self) -> None:
        """Make the loop's runner. If the test runs again, make another one; each run begins with the same context."""
        test: Any = self
        if test._asyncioRunner is not None and test._outcome is None:  # it runs no more
            test._asyncioRunner.close()
            test._asyncioRunner = None
        test._asyncioTestContext = self.__dict__.setdefault("_tcpserver_context", test._asyncioTestContext).copy()
        super()._setupAsyncioRunner()  # type: ignore[misc] # Python 3.9 and 3.10 have a loop without a runner

    if sys.version_info < (3, 11):
        def _renew_loop_runner(self) -> None:
            """Replace the task that runs the parts of a test, if Ctrl-C or SystemExit has ended it.

            unittest doesn't, and waits for it for ever.
            """
            test: Any = self
            if isinstance(self, unittest.IsolatedAsyncioTestCase) and test._asyncioCallsTask.done():
                loop = test._asyncioTestLoop
                begun = loop.create_future()
                test._asyncioCallsTask = loop.create_task(test._asyncioLoopRunner(begun))
                loop.run_until_complete(begun)

        def _tearDownAsyncioLoop(self) -> None:
            self._tcpservers.cut_off()  # Ctrl-C has left the body in the middle
            self._tcpservers.close_in_loop()
            self._renew_loop_runner()
            super()._tearDownAsyncioLoop()  # type: ignore[misc]
    else:
        def _tearDownAsyncioRunner(self) -> None:
            self._tcpservers.close_in_loop()
            super()._tearDownAsyncioRunner()  # type: ignore[misc]

    def _callSetUp(self) -> None:
        # Here, and not in run(): a base class between this one and unittest's may have a run() that runs it repeatedly.
        if self.__dict__.get("_tcpserver_has_run"):
            self._tcpservers.excuse()  # after Ctrl-C, their clean-ups are still to come
            self._tcpservers.close()
            for name in ("_tcpserver", "_servers_of_test", "_tcpserver_failure_expected"):
                self.__dict__.pop(name, None)
        self.__dict__["_tcpserver_has_run"] = True
        self._call_cut(super()._callSetUp)  # type: ignore[misc]

    def _callTestMethod(self, method: Callable[..., Any]) -> Any:
        """Run the test method; raise `ScriptError` if its loop was stopped in the middle of it."""
        try:
            return self._call_cut(super()._callTestMethod, method)  # type: ignore[misc]
        except BaseException as raised:  # a signal handler may have raised it
            error = carried_by(raised)
            stopped = self._tcpservers.abandon(error) or error
            if stopped is raised:
                raise
        raise stopped

    def _callTearDown(self) -> None:
        self._call_cut(super()._callTearDown)  # type: ignore[misc]

    def _callCleanup(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.__dict__.pop("_tcpserver_failure_expected", False):
            self._outcome.expecting_failure = False  # type: ignore[attr-defined]
        try:
            return self._call_cut(super()._callCleanup, function, *args, **kwargs)  # type: ignore[misc]
        except BaseException as raised:  # a signal handler may have raised it, while the verdict was waited for
            error = carried_by(raised)
            self._tcpservers.abandon(error)
            if error is raised:
                raise
        raise error

    def _call_cut(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function; cut the traceback of what it raises to the lines of the test and of the client."""
        if sys.version_info < (3, 11):
            self._renew_loop_runner()
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            if isinstance(error, SystemExit):  # perhaps of another task: it ends the loop's run
                self._tcpservers.cut_off()
            from .harness.tracebacks import cut_to_test  # here, since only a failure needs it
            from .report.report import ExpectationError
            show_blocks_in(carried_by(error), besides=self._tcpservers.servers)
            raised = cut_to_test(error, verdict=isinstance(error, ExpectationError))
        try:
            raise raised
        finally:
            del raised  # breaks a cycle: its traceback has this frame

    @contextmanager
    def _giving_verdict(self, server: Judged) -> Iterator[None]:
        """Leave a server in this context: its failure is the test's one report, and the other servers give none.

        If it tells what a subtest has reported, it is no report.

        unittest calls this a clean-up, but the failure counts as the test's own. So a test with `expectedFailure` has
        failed as expected.
        """
        try:
            yield
        except BaseException as error:
            if isinstance(error, AssertionError) and self._tcpservers.is_reported(server):
                return
            self._tcpservers.excuse()
            mark = "__unittest_expecting_failure__"
            outcome: Any = self._outcome  # type: ignore[attr-defined] # what unittest checks next; None in debug()
            if outcome is not None and not outcome.expecting_failure and \
                    (getattr(self, mark, False) or getattr(getattr(self, self._testMethodName), mark, False)):
                outcome.expecting_failure = self.__dict__["_tcpserver_failure_expected"] = True
            raise

    @property
    def _tcpservers(self) -> ServersOfTest:
        servers: Optional[ServersOfTest] = self.__dict__.get("_servers_of_test")
        if servers is None:
            servers = self.__dict__["_servers_of_test"] = ServersOfTest()
        return servers


class MockTCPServerMixin(_ServersMixin[MockTCPServer], _AsyncBase):
    """Give an `unittest.IsolatedAsyncioTestCase` the server `self.tcpserver`; name this before the test case class.

    `tcpserver_options` has the arguments for making servers; they are those of `MockTCPServer`.

    With ``virtual_time = True`` each test, its set-up and its clean-ups run on a `VirtualClockEventLoop`. Time then
    jumps over waiting, for the script and for the client, so that an hour of back-off takes milliseconds.
    """

    #: Whether the tests run on virtual time: see `VirtualClockEventLoop`.
    virtual_time: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_bases(cls, MockTCPServerMixin, unittest.IsolatedAsyncioTestCase,
                    ", or use ThreadedMockTCPServerMixin for a client that blocks")

    def start_tcpserver(self, **options: Any) -> MockTCPServer:
        """Make a further server, which listens at once; `options` override those of `tcpserver_options`.

        Raises `ScriptError` if there is no event loop of the test, as in a synchronous test method, or if the test has
        ``virtual_time = True`` and its loop is not a `VirtualClockEventLoop`.
        """
        loop = events._get_running_loop() or self._tcpserver_loop()
        if loop is None:
            raise ScriptError(f"{self.id()} has no running event loop: make the test method `async def`, or use "
                              "ThreadedMockTCPServerMixin with unittest.TestCase for a client that blocks")
        self._check_tcpserver_loop()
        server = MockTCPServer(**{**self.tcpserver_options, **options})
        server._stands_in_for("ThreadedMockTCPServerMixin")
        try:
            server.open(loop)
            self._tcpservers.add(server._judgement)
            self._clean_up_tcpserver(self._end_tcpserver, server)
            return server
        except BaseException:  # Ctrl-C: nobody else knows the server yet
            server.close()
            raise

    def _end_tcpserver(self, server: MockTCPServer) -> None:
        """Leave a server: without another run of the loop if there is nothing to wait for, else in one."""
        with self._giving_verdict(server._judgement):
            if server._judgement.leave_at_once():
                return
        self._clean_up_tcpserver(self._leave_tcpserver, server)  # a clean-up that is added now runs next

    def _tcpserver_loop(self) -> Optional[asyncio.AbstractEventLoop]:
        """Return the loop of an `async def` test while it is paused: `setUp` and sync clean-ups are called then."""
        if not inspect.iscoroutinefunction(getattr(self, self._testMethodName)):
            return None
        runner = getattr(self, "_asyncioRunner", None)  # 3.11 and later
        return runner.get_loop() if runner is not None else getattr(self, "_asyncioTestLoop", None)

    async def _leave_tcpserver(self, server: MockTCPServer) -> None:
        with self._giving_verdict(server._judgement):
            await self._tcpservers.leave(server._judgement, blocking=False)

    def addAsyncCleanup(self, func: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> None:
        """Add a coroutine function to be called after the test, as `unittest.IsolatedAsyncioTestCase` does."""
        async def cleaning_up() -> Any:
            return await func(*args, **kwargs)
        super().addCleanup(cleaning_up)

    @contextmanager
    def _tcpserver_loops(self) -> Iterator[None]:
        """Put new event loops on virtual time while a test with ``virtual_time = True`` runs."""
        with ExitStack() as stack:
            if self.virtual_time:
                from .virtual_time.policies import virtual_loops
                try:
                    stack.enter_context(virtual_loops(self))
                except ScriptError:
                    pass  # the test has chosen another loop: it raises an error of its own when it runs
            yield

    def _check_tcpserver_loop(self) -> None:
        """Raise `ScriptError` if the test has ``virtual_time = True`` and its loop is not one of ours."""
        if self.virtual_time:
            from .virtual_time.loop import is_virtual
            loop = asyncio.get_running_loop()
            if not is_virtual(loop):
                kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
                raise ScriptError(f"{self.id()} has virtual_time = True, which needs an event loop of this library, "
                                  f"but runs on {kind}: remove one of the two")


class ThreadedMockTCPServerMixin(_ServersMixin["ThreadedMockTCPServer"]):
    """Give an `unittest.TestCase` the server `self.tcpserver`, for a client that blocks; name this before `TestCase`.

    `tcpserver_options` has the arguments for making servers; they are those of `ThreadedMockTCPServer`.

    With an `unittest.IsolatedAsyncioTestCase`, tests may also be `async def`. Use that for a client that blocks in a
    thread or process of its own while the test's loop goes on.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_bases(cls, ThreadedMockTCPServerMixin, unittest.TestCase, "")

    def start_tcpserver(self, **options: Any) -> ThreadedMockTCPServer:
        """Make a further server, which listens at once; `options` override those of `tcpserver_options`."""
        from .server.threaded.server import ThreadedMockTCPServer
        server = ThreadedMockTCPServer(**{**self.tcpserver_options, **options})
        try:
            server.open()
            self._take_tcpserver(server)
            return server
        except BaseException:  # Ctrl-C: nobody else knows the server yet
            server.close()
            raise

    def borrow_tcpserver(self, server: ThreadedMockTCPServer) -> ThreadedMockTCPServer:
        """Use a server that outlives the test, such as one of `setUpClass`, and return it. ::

            @classmethod
            def setUpClass(cls):
                cls.shared = ThreadedMockTCPServer().start()
                cls.addClassCleanup(cls.shared.stop)

            def setUp(self):
                self.server = self.borrow_tcpserver(self.shared)

        The test begins with an empty script. The server is judged like `tcpserver`, after the test and its clean-ups,
        and then cleared, not closed. Raises `ScriptError` if it does not run.
        """
        server._script.check_started()
        server._judgement.renew()
        self._take_tcpserver(server, outlives=True)
        return server

    def _take_tcpserver(self, server: ThreadedMockTCPServer, *, outlives: bool = False) -> None:
        """Make this one of the test's servers, and judge it after the test."""
        judgement = server._judgement
        self._tcpservers.add(judgement, outlives=outlives)
        judgement.set_other_servers(self._tcpservers.servers)
        in_loop = isinstance(self, unittest.IsolatedAsyncioTestCase)
        self._clean_up_tcpserver(self._leave_tcpserver_in_loop if in_loop else self._leave_tcpserver, server)

    def _leave_tcpserver(self, server: ThreadedMockTCPServer) -> None:
        with self._giving_verdict(server._judgement):
            without_waiting(self._tcpservers.leave(server._judgement, blocking=True))

    async def _leave_tcpserver_in_loop(self, server: ThreadedMockTCPServer) -> None:
        """Leave a server while the test's loop goes on, since the client may live in it."""
        with self._giving_verdict(server._judgement):
            await self._tcpservers.leave(server._judgement, blocking=False)
