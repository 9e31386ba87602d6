"""Steps: the entries of a script, and the handles with which a test asks for their outcome; and the script itself.

A step is written once, gets its turn once, and ends once:

    waiting -> due -> satisfied | failed | not reached

The step itself does not store this state. A script has a cursor: the steps before the cursor are satisfied, the step at
the cursor is due. So a run of a thousand steps that one read satisfies costs one assignment, and a step and its script
can't disagree. The steps of a script share its `Cursor`.

Every step has these methods:

- `begin` is called when its turn comes.
- `proceed` is called then, and whenever something has happened. It returns WAITING, DONE, QUEUED (its bytes are in the
  outbox; the next step may add more to the same write) or the Mismatch with which the script fails. AGAIN is for the
  conversation alone: a step that takes several messages has taken one of them.
- `overdue` says what is missing when its time is over.

And it has traits, which say how it gets on with the other steps of a script. No part of the engine knows a step by the
name of its method: a step that is defined elsewhere works as these do.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Final, Generic, Optional, TypeVar, Union

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin, label_of

from .timing import DEFAULT_TIMING, UNTIMED, Timing

if TYPE_CHECKING:
    from tcpclient_testing.engine.connection.handshake import Handshake
    from tcpclient_testing.engine.connection.streams import Inbox, Outbox
    from tcpclient_testing.engine.environment import Environment
    from tcpclient_testing.engine.source_lines import SourceLine

__all__ = [
    "AGAIN", "ANYTHING", "DONE", "NOTHING", "QUEUED", "THE_CLIENTS_END", "WAITING", "Cursor", "Gate", "Outcome",
    "Script", "Step", "TimedStep",
]

__unittest = True

T = TypeVar("T")


class StepState:
    """One of the values, other than a mismatch, that `Step.proceed` can return."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


WAITING: Final = StepState("WAITING")

DONE: Final = StepState("DONE")

QUEUED: Final = StepState("QUEUED")

AGAIN: Final = StepState("AGAIN")

Outcome = Union[StepState, Mismatch]

#: What may follow a step on its connection: see `Step.followers`.
ANYTHING, THE_CLIENTS_END, NOTHING = "anything", "the client's end", "nothing"


class Cursor:
    """How far a script has come: the steps before `position` are satisfied.

    `marks` are the positions that it has had, each with the time in seconds of the clock. `number` is the connection's
    number, `handle` the object that users get for it, and `wake` is called with a step that is being awaited.
    `watchers` are the steps that somebody waits for, with what to call when they are satisfied.
    """

    __slots__ = ("environment", "number", "handle", "wake", "position", "marks", "watchers")

    wake: Callable[[Step[Any]], None]

    def __init__(self, environment: Environment, number: int) -> None:
        self.environment = environment
        self.number = number
        self.handle: Any = None
        self.position = 0
        self.marks: list[tuple[int, float]] = []
        self.watchers: dict[Step[Any], list[Callable[[], None]]] = {}

    def belong_to(self, number: int, handle: Any, wake: Callable[[Step[Any]], None]) -> None:
        """The script is that of connection `number` from now on."""
        self.number = number
        self.handle = handle
        self.wake = wake

    def move_to(self, position: int) -> None:
        """Mark the steps before `position` as satisfied, at the current time."""
        if position > self.position:
            self.position = position
            self.marks.append((position, self.environment.now))

    def when_done(self, step: Step[Any], callback: Callable[[], None]) -> None:
        """Call `callback` when `step`, a step of this script, is satisfied; at once if it already is."""
        if step.satisfied:
            callback()
        else:
            self.watchers.setdefault(step, []).append(callback)

    def tell_watchers(self) -> None:
        """Call the callbacks of those watched steps that are satisfied now."""
        for step in [step for step in self.watchers if step.satisfied]:
            self.environment.call(self.watchers.pop(step, ()))


class _Elsewhere:
    """An attribute of steps that raises: connections have it. (A `__getattr__` would slow down all attributes.)"""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, step: Optional[Step[Any]], kind: type) -> Any:
        if step is None:
            raise AttributeError(f"type object {kind.__name__!r} has no attribute {self._name!r}")
        raise AttributeError(f"{step.method}() returns a step, {step.where_to(self._name)}")


if TYPE_CHECKING:
    class _OfConnections:
        """Has what connections have, and steps have not; type checkers see nothing of it."""
else:
    _OfConnections = type("_OfConnections", (), {"__slots__": (), **{each: _Elsewhere(each) for each in (
        "allow", "any_order", "delay", "disconnect", "disconnect_after", "every", "expect_bytes", "expect_disconnect",
        "expect_each", "expect_eof", "expect_exactly", "expect_frame", "expect_line", "expect_reset", "expect_silence",
        "expect_tls_failure", "expect_until", "frames", "hand_over", "hold_until", "join", "pause_reading", "peername",
        "received", "reset", "reset_after", "resume_reading", "send_bytes", "send_eof", "send_frame", "send_line",
        "sent", "set_network", "splits", "stall_after", "start_tls", "tls")}})


class Step(_OfConnections, Generic[T]):
    """One entry of a script, and the handle on its outcome.

    Ignore it, await it (``line = await server.expect_line()``), or ask later: `done`, `result` and `exception` work as
    those of an `asyncio.Future` do.
    """

    __slots__ = ("cursor", "index", "origin", "timing", "value", "asked")

    #: The name of the method that writes this step.
    method = "step"

    #: What a test uses of a step: `dir` shows these names.
    for_tests: tuple[str, ...] = ("done", "result", "exception", "label")

    # Traits: who does what.

    #: Whether the client has to do it (an expectation), rather than the server (an action).
    is_expectation = True
    #: Whether it expects a message, which `message()` begins to read.
    reads = False
    #: What of the test's own a step that `reads` asks before it reads: the text before " of expect_...() raised".
    asks = "callable"
    #: Whether its bytes may go out in one write with those of the send before it.
    sends = False
    #: Whether it may wait for ever. Idleness is then checked as if no step were due.
    idle = False
    #: Whether it only takes time, and does nothing on the connection.
    takes_time = False

    # Traits: where it may stand in a script (see the table in `conversation/grammar.py`).

    #: Whether it may follow, and be followed by, any step, so that the grammar need not be asked.
    free = False
    #: Whether it is a setting of the server, and part of no connection's script.
    is_setting = False
    #: Whether it may be written before the first expect_connect().
    may_come_first = False
    #: Whether it expects the client to connect.
    connects = False
    #: What may follow it on its connection: ANYTHING, THE_CLIENTS_END (steps with `answers_end`), or NOTHING.
    followers = ANYTHING
    #: Whether it is met when the client ends the connection: it may follow the server's own end.
    answers_end = False
    #: Whether it is met only by a reset.
    wants_reset = False
    #: Whether it is met when the client hangs up in the middle of the sends before it.
    accepts_hang_up = False
    #: Whether a handler serves the connection after it.
    hands_over = False
    #: Whether it begins TLS.
    starts_tls = False
    #: Whether it means something only over TLS.
    needs_tls = False
    #: Whether it is met when TLS fails, so that it must follow the beginning of a handshake.
    wants_tls_failure = False
    #: Whether nothing can be sent after it.
    ends_output = False
    #: Whether the client has ended its stream when it is met: nothing can come after it.
    ends_input = False
    #: Whether it can't be met any more once the client has ended its stream. `may_be_empty` says it of messages.
    needs_stream = False
    #: What it does to the server's reading: False stops it, True resumes it, None is neither.
    sets_reading: Optional[bool] = None
    #: Why it is refused while the server does not read, and what to do, as error text; None if it is not.
    needs_sight: Optional[str] = None
    #: What to write in its place on a server that can't reset connections, if it resets some; else None.
    without_reset: Optional[str] = None
    #: Whether it refuses connections, or accepts them again: then it takes effect at once if they are refused.
    refuses = reopens = False

    cursor: Cursor
    index: int
    timing: Timing
    value: T
    #: Set when the test has asked for the outcome; absent before.
    asked: bool

    def __init__(self, origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        self.origin = origin
        self.timing = timing

    def where_to(self, name: str) -> str:
        """Say where to find `name`, which connections have, and steps have not: what follows "returns a step, "."""
        return f"which has no {name}: write each step on the server, or on the connection"

    def __dir__(self) -> list[str]:
        """Name what a test uses. The rest is for conversations, and for those who write a step: its class shows it."""
        return [name for name in super().__dir__() if name.startswith("_") or name in self.for_tests]

    # What the conversation calls.

    def begin(self, context: Context) -> Optional[Mismatch]:
        """Begin the step's turn; return a mismatch if it can't even begin."""
        return None

    def proceed(self, context: Context) -> Outcome:
        """Do what can be done now; return the outcome."""
        raise NotImplementedError

    def survives(self, context: Context) -> bool:
        """Return whether the step may have its turn on a connection whose TLS is broken."""
        return False

    def timer_fired(self, context: Context) -> None:
        """Note that the time for which this step set an alarm has come."""

    def overdue(self, context: Context, seconds: float, silent: bool) -> Mismatch:
        """Say what is missing after `seconds`: seconds without any progress if `silent`, else in all."""
        raise NotImplementedError

    def written(self) -> T:
        """Return the result of a step that is satisfied."""
        return self.value

    def take(self, result: Any) -> bool:
        """Take the result of a message that `Candidates` has read. Return whether the step awaits another one."""
        self.value = result
        return False

    def message(self, context: Context) -> Any:
        """Begin to read the message of a step that `reads`; return a `Message`."""
        raise NotImplementedError

    def begins_alone(self) -> bool:
        """Whether a step that `reads` can be read before its turn: it depends on no result of another step."""
        return True

    def begins_early(self) -> bool:
        """Whether it can be read while actions before it are under way."""
        return self.begins_alone()

    def beginning(self, context: Context) -> Any:
        """Return a `Message` for what it reads first, even if that has come; None if nobody knows that (any more)."""
        return self.message(context)

    def whereabouts(self) -> str:
        """Say behind which of its messages a step that `reads` several has come: the text after its name, or ""."""
        return ""

    def may_be_empty(self) -> bool:
        """Whether the message of a step that `reads` may have no bytes, so that it can come after the client's end."""
        return False

    def expectation(self) -> str:
        """Say what the step expects: the text that follows "expected "."""
        return str(self)

    def unended(self, so_far: bytes) -> Optional[str]:
        """Say that the message, of which so much has come, lacks only its ending; None if that can't be said."""
        return None

    def at_end(self, context: Context) -> Optional[Outcome]:
        """Return the outcome if the client's stream ends before this message begins; None if that is a failure."""
        return None

    def after_our_end(self, context: Context) -> Optional[Outcome]:
        """Return the outcome of a step whose turn comes when a fault has ended the connection; None if it can't be met.

        Not asked: a step that sends, and one with `answers_end` if the limit is `answered`.
        """
        return None

    def fits_any_order(self) -> bool:
        """Whether an action may stand in an any_order() block, so that messages can still come after it."""
        return self.followers is ANYTHING and not (self.hands_over or self.starts_tls)

    def waits_for_output(self) -> bool:
        """Whether it is an action that begins only when the write under way has ended."""
        return False

    def placed(self, mismatch: Mismatch) -> Mismatch:
        """Say which of a step's messages a mismatch is about, if it expects several. Return the mismatch."""
        return mismatch

    def cut_short(self, context: Context) -> Mismatch:
        """Describe the failure of a step that sends: the client reset the connection in the middle of it."""
        return Mismatch(f"the client reset the connection in the middle of {self}")

    def unmet(self, context: Context) -> Optional[Mismatch]:
        """Return why a step that was satisfied turns out not to be met, when all is over; None if it is met."""
        return None

    @property
    def ends_connection(self) -> bool:
        """Whether one side, at least, has ended the connection when the step is satisfied."""
        return self.followers is not ANYTHING and not self.wants_tls_failure

    # What reports use.

    def arguments(self) -> str:
        """Return the arguments as the script has them, shortened."""
        return ""

    def __str__(self) -> str:
        return f"{self.method}({self.arguments()})"

    @property
    def label(self) -> Optional[str]:
        """The label that the test has given it, or None."""
        return label_of(self.origin)

    @property
    def labelled(self) -> str:
        """The step as reports show it, behind its label: ``login: expect_line(b'USER')``."""
        return str(self) if self.label is None else f"{self.label}: {self}"

    def lines(self) -> list[SourceLine]:
        """Return where the step was written: its own line, then those of its callers up to the test."""
        from tcpclient_testing.engine.source_lines import source_lines
        return source_lines(self.origin)

    # What users call.

    @property
    def satisfied(self) -> bool:
        """Whether the step has been done as the script says."""
        return self.index < self.cursor.position

    def done(self) -> bool:
        """Return True if the step is satisfied, or can't be any more."""
        self.asked = True
        return self.satisfied or self.cursor.environment.over

    def result(self, timeout: Optional[float] = None) -> T:
        """Return what the step received (an expectation) or None (an action).

        Raises `ExpectationError` if the script failed, or the server was left, before the step was satisfied.

        If the step is not done yet, this raises `asyncio.InvalidStateError`; a threaded server waits for the step
        instead, for at most `timeout` seconds (None: no limit), and then raises `TimeoutError`. On other servers a
        `timeout` is a `TypeError`.
        """
        self.asked = True
        if not self.satisfied:
            self.cursor.environment.host.raise_unsatisfied(self, timeout)
        return self.written()

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Return the exception that `result` would raise, or None; raise or wait as `result` does if not done yet."""
        self.asked = True
        if self.satisfied:
            return None
        return self.cursor.environment.host.exception_of(self, timeout)

    def __await__(self) -> Generator[Any, None, T]:
        self.asked = True
        if not self.satisfied:
            yield from self.cursor.environment.host.wait_for(self)
        return self.written()

    def __repr__(self) -> str:
        line = self.lines()[0]
        where = f"step {self.index + 1} of connection {self.cursor.number}"
        never = "" if hasattr(self, "asked") else ", not awaited"
        return f"<{where}: {self.labelled} at {line}, {self.status()}{never}>"

    def status(self) -> str:
        """Return the state for a report: satisfied, failed, waiting, unfinished or not reached."""
        return self.cursor.environment.host.status_of(self)


class TimedStep(Step[None]):
    """A step that lasts `duration` seconds from its turn on; then it is `over`."""

    __slots__ = ("duration", "over")

    def __init__(self, duration: float, origin: Origin) -> None:
        super().__init__(origin, UNTIMED)
        self.duration = duration
        self.over = False

    def arguments(self) -> str:
        return f"{self.duration:g}"

    def written(self) -> None:
        return None

    def begin(self, context: Context) -> Optional[Mismatch]:
        context.alarm(self.duration)
        return None

    def timer_fired(self, context: Context) -> None:
        self.over = True


class Gate:
    """Something that a script waits for before it begins, until `Script.wait_for(None)` lets it begin."""

    __slots__ = ()

    #: Whether the script's connection is yet to be found: it is recognized by what a client sends first.
    finds_connection = False

    def look(self) -> None:
        """Something has happened on the connection whose script waits."""

    def check_awaited(self, step: Step[Any]) -> None:
        """Raise `ScriptError` if `step`, one of the script that waits, may not be awaited."""


class Script:
    """The steps of one connection, and how far they have come.

    - `steps`: all of them; no step after the cursor has begun, except for sends that join one write
    - `gate`: what it waits for before it begins; None once it has begun
    - `last`: its last server-level step: one that was written on the server, not on the connection
    - `settled`: whether its last step can do nothing but wait, and so can the next one if that is `free`
    - `handed_over`: the step after which a handler adds the steps
    - `output_ended`, `input_ended`: the steps after which nothing is sent, or nothing can come
    """

    __slots__ = ("steps", "cursor", "gate", "last", "settled", "handed_over", "output_ended", "input_ended")

    def __init__(self, environment: Environment, number: int) -> None:
        self.steps: list[Step[Any]] = []
        self.cursor = Cursor(environment, number)
        self.gate: Optional[Gate] = None
        self.last: Optional[Step[Any]] = None
        self.settled = False
        self.handed_over: Optional[Step[Any]] = None
        self.output_ended: Optional[Step[Any]] = None
        self.input_ended: Optional[Step[Any]] = None

    # Writing.

    def append(self, step: Step[Any]) -> None:
        """Append a server-level step. Long scripts are written this way, so it costs as little as possible."""
        step.cursor = self.cursor
        steps = self.steps
        step.index = len(steps)
        steps.append(step)
        self.last = step

    def add(self, step: Step[Any], *, by_server: bool = False) -> None:
        """Append a step, and take note of its traits; `by_server` says that it is a server-level step."""
        if by_server:
            self.last = step
        step.cursor = self.cursor
        step.index = len(self.steps)
        self.steps.append(step)
        self.settled = False
        if step.hands_over:
            self.handed_over = step
        if step.starts_tls:
            self.cursor.environment.look_first()
        if step.ends_output:
            self.output_ended = step
        if step.ends_input:
            self.input_ended = self.input_ended or step

    def insert(self, index: int, step: Step[Any]) -> None:
        """Insert a step before the one at `index`."""
        step.cursor = self.cursor
        self.steps.insert(index, step)
        self.put_in_order(index, self.steps[index:])

    def put_in_order(self, index: int, steps: list[Step[Any]]) -> None:
        """Let these steps, which are of this script, stand one after another from `index` on."""
        for place, step in enumerate(steps, index):
            self.steps[place] = step
            step.index = place

    def settle(self) -> None:
        """Take note whether the last step can do nothing but wait, as far as the script shows."""
        self.settled = self.steps[-1].free and self.cursor.position < len(self.steps) and self.output_ended is None \
            and self.input_ended is None

    def stir(self) -> None:
        """The last step may do something now."""
        self.settled = False

    def wait_for(self, gate: Optional[Gate]) -> None:
        """Begin only when `gate` lets the script begin; None lets it begin."""
        self.gate = gate

    # What it is asked.

    @property
    def complete(self) -> bool:
        """Whether every step added so far is satisfied. Steps that a handler adds don't count."""
        return self.cursor.position == len(self.steps) or (self.handed_over is not None and self.handed_over.satisfied)

    @property
    def due(self) -> Optional[Step[Any]]:
        """The step at the cursor; None if every step is satisfied."""
        position = self.cursor.position
        return self.steps[position] if position < len(self.steps) else None

    @property
    def final(self) -> Optional[Step[Any]]:
        """The last step written so far; None if there is none."""
        return self.steps[-1] if self.steps else None

    def accepts_hang_up(self, index: int) -> bool:
        """Whether the client may hang up during the send at `index`: the step behind the sends there expects it."""
        for step in self.steps[index + 1:]:
            if not (step.sends or step.takes_time):
                return step.accepts_hang_up
        return False

    def expectation_before(self, index: int) -> Optional[Step[Any]]:
        """Return the last expectation before the step at `index`; None if there is none."""
        for position in range(index - 1, -1, -1):
            if self.steps[position].is_expectation:
                return self.steps[position]
        return None


if TYPE_CHECKING:
    from typing import Protocol

    class Run(Protocol):
        """Compares several exact expectations in a row as one."""

        @property
        def is_open(self) -> bool:
            """Whether some of the run's bytes are still to come."""

        def proceed(self, context: Any) -> Outcome:
            """Compare the pending bytes; return the outcome of the last step of the run."""

        def received_of(self, step: Any) -> int:
            """Return how many bytes of `step`, the step at the cursor, have come."""


    class Context(Protocol):
        """All that a step may ask of the connection it stands on. A `Conversation` has these members."""

        @property
        def number(self) -> int:
            """The connection's number, from 1 in the order of acceptance."""

        @property
        def environment(self) -> Environment:
            """What the conversations of a server share: time, settings, commands."""

        @property
        def script(self) -> Script:
            """The steps, and how far they have come."""

        @property
        def inbox(self) -> Inbox:
            """What the client sends."""

        @property
        def outbox(self) -> Outbox:
            """What the server sends."""

        @property
        def handshake(self) -> Optional[Handshake]:
            """The state of TLS; None if the connection speaks none."""

        @property
        def excess(self) -> bool:
            """Whether bytes are pending that no allowed message can begin with."""

        @property
        def began(self) -> float:
            """When the due step's turn began, in seconds of the clock."""

        @property
        def exact(self) -> Optional[Run]:
            """The runs of exact expectations; None as long as none has begun."""

        def begin_runs(self, run: Run) -> Run:
            """The first run of exact expectations begins: `run` compares it, and those that follow. Return `run`."""

        def run_limit(self, first: int) -> Optional[int]:
            """Return the index before which a run of exact expectations has to end, if it begins at `first`."""

        def last_result(self) -> Any:
            """Return the result of the last satisfied expectation, or None. The script's callables get it."""

        def alarm(self, delay: float) -> None:
            """Have the due step's `timer_fired` called after `delay` seconds."""

        def begin_tls(self, context: Any) -> None:
            """From now on both sides use TLS."""

        def drain(self) -> None:
            """From now on, record what the client sends, but don't judge it."""

        def strike(self) -> bool:
            """Let the armed fault strike, if its limit is reached. If True, wait: the connection is being ended."""

        def release(self, step: Any) -> None:
            """What `step` waits for has happened."""

        def ending(self) -> str:
            """Say how the client's stream ended, as far as is known: "half-closed", "reset the connection"."""
