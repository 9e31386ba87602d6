"""An event loop whose clock jumps over waiting: an hour of back-off takes milliseconds, with real sockets.

The rules of virtual time:

1. Time never goes back. No timer is skipped, and no later timer overtakes it.
2. Time stands still while callbacks run and sockets are ready. So computation never makes a time-out fire, however slow
   the machine is, and a reply that is under way inside this process always arrives before any timer.
3. When nothing can happen before the next timer, time jumps to exactly that timer. "Nothing" means all of this:

   - no callback is ready;
   - no socket is ready;
   - no job is in an executor;
   - no other thread and no child process lives;
   - the kernel holds no data back (see `held_back`).

   A thread counts for as long as it lives, with two exceptions: threads that are known to do nothing for the test, and
   threads that lived before the loop was made and are at rest (see `living_thread`).
4. While a job runs in an executor, or another thread or a child process lives, time is real: it flows on, second by
   second, from where it stands. After more than one second of such waiting a RuntimeWarning gives the reason (except
   for executor jobs and `hold()`). The report of a failure lists the reasons, too.
5. With no timer at all the loop blocks as any loop does. That waiting counts as time, too.
6. A loop that never becomes quiet gets real time in the end; otherwise its own time-outs could never fire. It does so
   after one second of callbacks alone (`while not done: await asyncio.sleep(0)`), or after ten seconds in which sockets
   are ready without a pause.

The loop can't see, and so doesn't wait for: peers outside this process and its children, `signal.alarm()`, inotify,
timerfd. Hold the clock with `VirtualClockEventLoop.hold()` there.

Code that calls `time.monotonic()` or `time.time()` sees real time. In debug mode asyncio measures slow callbacks by
the loop's clock: while time stands still there are no warnings of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Optional, TypeVar, cast

from tcpclient_testing.aio.process.quiescence import child_lives, living_thread, own_thread
from tcpclient_testing.aio.process.threads import earlier_threads

from .clock import DEFAULT_GRACE, DecidingSelector, VirtualClock

__all__ = ["VirtualClockEventLoop", "is_virtual"]

__unittest = True

_T = TypeVar("_T")

# After more real waiting than this (seconds) on virtual time, a warning says why.
_LONG_WAIT = 1.0

_JOB = "a job is in an executor"


def _warn(reason: str) -> None:
    advice = ("" if not reason.startswith("thread") else "; if that thread does nothing for the test, "
              "VirtualClockEventLoop.set_aside(thread) lets time jump")
    warnings.warn(f"virtual time has been real for more than {_LONG_WAIT:g} s because {reason}{advice}",
                  RuntimeWarning, stacklevel=1)


class _CountedExecutor:
    """Takes the place of an executor in one call of `run_in_executor()`, to keep the future of the submitted job."""

    __slots__ = ("_executor", "job")

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.job: Optional[Future[Any]] = None

    def submit(self, func: Callable[..., Any], *args: Any) -> Future[Any]:
        self.job = self._executor.submit(func, *args)
        return self.job


class VirtualClockEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time: see the rules at the top of this module.

    Run on it with `asyncio.Runner(loop_factory=VirtualClockEventLoop)` (3.11+). For test cases there is
    `virtual_loops()`.

    - `selector` is the selector to wrap; by default the platform's best.
    - `grace` is how many seconds a poll waits before it assumes that nothing is under way between two sockets of this
      process; by default 0 on Linux and 0.01 elsewhere. Give a grace where the loopback interface is not the Linux
      kernel's (gVisor). ValueError is raised if it is negative or not finite.

    Threads of executors other than the loop's default one count as living threads, idle or not: only the default
    executor gets its jobs from this loop alone.
    """

    def __init__(self, selector: Optional[selectors.BaseSelector] = None, *, grace: Optional[float] = None) -> None:
        if grace is not None and not 0 <= grace < math.inf:
            raise ValueError(f"grace is a number of seconds, 0 or more, not {grace!r}")
        self._virtual_clock = VirtualClock()  # before the base class's constructor, which may call time()
        self._executor_jobs: set[Future[Any]] = set()
        self._holds: list[str] = []
        self._standing = earlier_threads()
        self._waited: dict[str, float] = {}
        self._real_timers: list[tuple[float, Callable[[], None]]] = []
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._lookouts: list[Callable[[], None]] = []
        inner = selectors.DefaultSelector() if selector is None else selector
        super().__init__(DecidingSelector(inner, self, self._virtual_clock, DEFAULT_GRACE if grace is None else grace))

    def time(self) -> float:
        """Return the virtual time, in seconds. It starts near `time.monotonic()`, and later differs from it."""
        return self._virtual_clock.time()

    @property
    def _clock_resolution(self) -> float:
        # A timer is due when it is earlier than the present time plus this. Beyond 2**24 seconds (194 days of uptime)
        # asyncio's one nanosecond is lost in the sum, and a timer at exactly the present time would never be due.
        return max(1e-9, 2 * math.ulp(self.time()))

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """Ignore what the base class sets."""

    @staticmethod
    def real_time() -> float:
        """Return the real time, in seconds: `time.monotonic()`."""
        return time.monotonic()

    @property
    def virtual_time_elapsed(self) -> float:
        """Seconds of virtual time since the loop was made: jumps and real waiting."""
        return self._virtual_clock.time() - self._virtual_clock.start

    def why_real(self) -> Optional[str]:
        """Return why time is real now ("thread 'poller' lives"), or None if time may jump.

        Call it when a test on virtual time takes as long as on real time. It must be called in the loop's thread.
        """
        if self._executor_jobs:
            return _JOB
        if self._holds:
            return self._holds[-1]
        thread = living_thread(getattr(self._default_executor, "_threads", ()), self._standing)
        if thread is not None:
            return thread
        return "a child process lives" if child_lives() else None

    @property
    def really_waited(self) -> dict[str, float]:
        """How many seconds the loop waited for timers in real time, for each reason that `why_real()` gave."""
        return dict(self._waited)

    @staticmethod
    def set_aside(thread: threading.Thread) -> None:
        """Let time jump although `thread` lives. Only for a thread that does nothing that a test could wait for.

        Use it for a thread that wakes up by itself to flush a log or to collect statistics. Never use it for a thread
        that serves a connection, computes an answer or sets an event: its reply would come after every time-out.
        """
        own_thread(thread)

    def _really_waited(self, reason: str, seconds: float) -> None:
        """Count a wait in real time. Warn once for each reason, when its waits add up to more than a second.

        There is no warning of executor jobs and `hold()`: the test asked for those itself.
        """
        before = self._waited.get(reason, 0.0)
        after = self._waited[reason] = before + seconds
        if before <= _LONG_WAIT < after and reason != _JOB and reason not in self._holds:
            # In the next turn: if warnings are errors, this raises, and the selector must not raise.
            self.call_soon(_warn, reason)

    @contextlib.contextmanager
    def hold(self, reason: str = "the clock is held") -> Iterator[None]:
        """Keep time real inside the `with` block, for peers that the loop can't see.

        Such peers are a server in a container, a device, a daemon, a process on Windows. Time flows from where it
        stands. Until the block ends, `why_real()` returns `reason`.
        """
        self._holds.append(reason)
        try:
            yield
        finally:
            self._holds.remove(reason)

    def run_in_executor(  # type: ignore[override]
        self, executor: Optional[Executor], func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Run `func(*args)` in `executor`, or in the default one, as the base class does.

        Time is real until the job has really ended, even if the task that awaited it was cancelled.
        """
        if executor is None:
            self._check_default_executor()
            if self._default_executor is None:
                self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
            executor = self._default_executor
        counted = _CountedExecutor(cast(Executor, executor))
        future: asyncio.Future[_T] = super().run_in_executor(cast(Executor, counted), func, *args)
        if counted.job is not None:
            self._count_job(counted.job, future)
        return future

    def _count_job(self, job: Future[Any], future: asyncio.Future[Any]) -> None:
        """Keep time real until `job` has ended and its result is on its way to the loop."""
        jobs = self._executor_jobs
        jobs.add(job)
        # Callbacks run in the order in which they were added.
        # - In the worker's thread the first one is the base class's, which wakes the loop.
        # - In the loop's thread ours runs before the task that awaits the future resumes. So that task never sees a job
        #   that is done and still counted.
        # If the future was cancelled, its job runs on and stays counted.
        job.add_done_callback(jobs.discard)
        future.add_done_callback(lambda _future: jobs.discard(job) if job.done() else None)

    def real_time_in_graces(self) -> float:
        """Return how many seconds of real time polls have waited in vain, each for the `grace`."""
        return float(self._selector.graced)  # type: ignore[attr-defined]

    def call_in_real_time(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` once, so many seconds of real time from now. It is no timer to which time jumps."""
        self._real_timers.append((time.monotonic() + seconds, callback))

    def _real_timer_in(self) -> Optional[float]:
        """Schedule the callbacks that are due in real time; return in how many seconds the next one is, or None."""
        if not self._real_timers:
            return None
        now = time.monotonic()
        for timer in [timer for timer in self._real_timers if timer[0] <= now]:
            self._real_timers.remove(timer)
            self.call_soon(timer[1])
        return min((when - now for when, _ in self._real_timers), default=None)

    async def wait_until(self, happened: Callable[[], bool]) -> None:
        """Wait until `happened()` returns true. For conditions that don't wake the loop, such as a threading.Event.

        `happened()` is called in every turn of the loop, before every jump, and every few milliseconds while time is
        real. This takes no timer, so time still jumps to the next timer. What `happened()` raises is raised here.
        """
        if happened():
            return
        lookout = happened, self.create_future()
        self._conditions.append(lookout)
        try:
            await lookout[1]
        finally:
            self._conditions.remove(lookout)

    def look_before_jumps(self, look: Callable[[], None]) -> None:
        """Call `look` before each jump: nothing can happen before the next timer then, unless `look` changes that."""
        self._lookouts.append(look)

    def look_no_more(self, look: Callable[[], None]) -> None:
        """Don't call `look` any more. Idempotent."""
        if look in self._lookouts:
            self._lookouts.remove(look)

    def nothing_is_left(self) -> bool:
        """Return whether nothing can wake the loop any more.

        No callback is ready, no timer is set, virtual or real, no socket and no signal is watched, no task is in
        `wait_until()`, no job is in an executor, and no other thread and no child process lives.
        """
        loop = cast(Any, self)
        return not (loop._ready or self._scheduled or self._real_timers or self._conditions or self._signal_handlers
                    or len(loop._selector.get_map()) > loop._internal_fds or self.why_real() is not None)

    def _polls_conditions(self) -> bool:
        """Return whether any task is in `wait_until()`."""
        return bool(self._conditions)

    # Attributes of asyncio's base classes that typeshed does not declare. They are the same from Python 3.9 to 3.14.
    _closed = True  # until the base class's constructor has run: __del__ reads it
    _scheduled: list[asyncio.TimerHandle]
    _default_executor: Optional[ThreadPoolExecutor]
    _signal_handlers: dict[int, Any] = {}  # not there on Windows
    _check_default_executor: Callable[[], None]

    def _next_timer(self) -> Optional[float]:
        """Return the time of the next timer, or None if there is none (or only at infinity)."""
        when = self._scheduled[0].when() if self._scheduled else math.inf  # the base class has popped cancelled ones
        return when if when < math.inf else None

    def _work_is_ready(self) -> bool:
        """Return whether the loop has something to do, and wake the tasks in `wait_until()` whose condition is true.

        A signal handler may have scheduled a callback, or stopped the loop, since the turn began.
        """
        for happened, future in self._conditions:
            if not future.done():
                try:
                    if happened():
                        future.set_result(None)
                except Exception as error:  # noqa: BLE001 - raised in the task that waits
                    future.set_exception(error)
        if self._lookouts and not cast(Any, self)._ready:
            for look in self._lookouts[:]:
                look()
        return bool(cast(Any, self)._ready or cast(Any, self)._stopping)

    def _sockets(self) -> list[int]:
        """List the descriptors of the open transports, whether they are registered with the selector or not."""
        return list(getattr(self, "_transports", ()))


def is_virtual(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether `loop` runs on virtual time."""
    return isinstance(loop, VirtualClockEventLoop)
