"""Turns a failure into the report that people read: the first line stands alone, and the cause comes first.

All wording of whole reports is here. Each mismatch words itself. A report reads the script when it is made, and keeps
what it has read: what happens afterwards is not part of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, Optional

from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.environment import Failure
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.wording import counted, shorten
from tcpclient_testing.transcript import text
from tcpclient_testing.transcript.entries import Transcript

from .hints import diagnose, refusal
from .raised import summary

__all__ = ["ExpectationError", "Report", "conversation_text", "headline", "named", "place_of", "waiting_for"]

__unittest = True

_AROUND = 8
#: A cell that is longer than this (characters) sticks out of its column, and doesn't widen it for the other rows.
_WIDEST = 60
_TRANSCRIPT = "  transcript"


class Report:
    """The text of a failure: `headline` is its first line, `body` the other lines.

    - `told`: whether a test framework has shown it as the report of a test
    - `given_on_leaving`: whether the server gave its verdict when it was left, not while the test awaited it
    - `transcript`: the server's
    """

    __slots__ = ("failure", "transcript", "headline", "body", "told", "given_on_leaving")

    def __init__(self, failure: Failure, transcript: Transcript, headline: str, body: list[str]) -> None:
        self.failure = failure
        self.transcript = transcript
        self.headline = headline
        self.body = body
        self.told = False
        self.given_on_leaving = False

    def tell(self) -> None:
        """Note that a test framework has shown this as the report of a test."""
        self.told = True

    def give_on_leaving(self) -> None:
        """The server gives its verdict as it is left."""
        self.given_on_leaving = True

    def leave_out_transcript(self) -> None:
        """Remove the transcript from the body, because it is shown elsewhere."""
        body = self.body
        if _TRANSCRIPT in body:
            start = end = body.index(_TRANSCRIPT)
            end = next((place for place in range(start + 1, len(body)) if not body[place].startswith("    ")),
                       len(body))
            del body[start:end]

    @classmethod
    def of(cls, session: Session, transcript: Transcript, *, hint: Optional[str] = None,
           notes: Sequence[str] = (), before: Sequence[BaseException] = (),
           after: Sequence[BaseException] = ()) -> Report:
        """Report the session's failure, with what is behind it (see `diagnose`). A `hint` takes the place of that one.

        - `notes` are further lines, on what the failure does not show: for example, that time-outs are scaled.
        - `before` are exceptions with which tasks and threads had ended by then. They are named first.
        - `after` are those that the client raised since. They may tell more than the server can see.
        """
        failure = session.environment.failure
        assert failure is not None
        distrust = refusal(failure, [*before, *after])
        cause, advice, alone = diagnose(session, transcript) if distrust is None else distrust
        hint = hint or advice
        body = named(before)
        if cause is not None and not alone:
            body += [f"  {line.strip()}" for line in failure.mismatch.summary.splitlines()]
        if not alone:
            body += [f"  {line}" if line else "" for line in failure.mismatch.details]
        raised = getattr(failure.mismatch, "exception", None)
        if raised is not None:
            body += [f"  {line}" for line in _exception_lines(raised)]
        body += conversation_text(session, transcript)
        if hint:
            body += ["  hint", f"    {hint}"]
        body += notes
        first = headline(session, failure, transcript.name, cause)
        earlier = map(summary, before[:1] if distrust is None else ())
        return cls(failure, transcript, "; then: ".join([*earlier, first]), body)


class ExpectationError(AssertionError):
    """The client under test did not do what the script says.

    Its text is the whole report, and the first line of that stands alone. The attributes are:

    - `connection`: the number of the connection (from 1), or None if no connection is at fault.
    - `step`: the step that was not met, or None if no step is at fault; `label`: its label, or None.
    - `mismatch`: how what happened differs from what was expected. It has `expected`, `received` and `offset` (of the
      first wrong byte); each is None where there is nothing of the kind.
    - `client_exception`: what the client, or the test, raised after the script had failed, or None. It is a
      consequence, not the cause.
    - `transcript`: what happened on the server's connections; iterate over it for the entries, or print it.
    """

    def __init__(self, report: Report, client_exception: Optional[BaseException] = None) -> None:
        super().__init__(report.headline)
        self.report = report
        self.connection: Optional[int] = report.failure.number
        self.step: Optional[Step[Any]] = report.failure.step
        self.label: Optional[str] = None if self.step is None else self.step.label
        self.mismatch: Mismatch = report.failure.mismatch
        self.transcript: Transcript = report.transcript
        self.client_exception = client_exception

    def __str__(self) -> str:
        lines = [self.report.headline, "", *self.report.body]
        if self.client_exception is not None:
            lines += ["  then the client raised", f"    {summary(self.client_exception)}"]
        return "\n".join(lines)

    def __reduce__(self) -> Any:
        # The report refers to a script, which can't be pickled; its text can.
        return (_reported, (str(self),))


ExpectationError.__module__ = "tcpclient_testing"


class _Reported(AssertionError):
    """An `ExpectationError` that came from another process. It has only the text."""

    def __reduce__(self) -> Any:
        return (_reported, self.args)


_Reported.__name__ = _Reported.__qualname__ = "ExpectationError"


def _reported(text: str) -> _Reported:
    """Make a `_Reported`. Pickle can't do this: it looks for a class under its `__qualname__`, another class here."""
    return _Reported(text)


def headline(session: Session, failure: Failure, name: Optional[str], cause: Optional[str] = None) -> str:
    """Return the first line: what, and where. It is one line, even if a user's own mismatch has several.

    `name` is the server's, if it has one. The `cause` takes the place of what the mismatch says, if it is known.
    """
    text = failure.mismatch.summary if cause is None else cause
    place = ", ".join([*([] if name is None else [f"server {name!r}"]), *_where(session, failure)])
    return " ".join(line.strip() for line in f"{text}{f' ({place})' if place else ''}".splitlines())


def _where(session: Session, failure: Failure) -> list[str]:
    number, step = failure.number, failure.step
    if number is None:
        return []
    connection = session.connections.of(number)
    place = [] if failure.mismatch.names_connection or (number == 1 and not connection.inbox.accepted) \
        else [f"connection {number}"]
    if step is not None:
        steps = connection.script.steps
        lines = step.lines()
        written = str(lines[0]) + "".join(f" from {line}" for line in lines[-1:] if len(lines) > 1)
        label = "" if step.label is None else f" {step.label!r}"
        place += [f"step {step.index + 1} of {len(steps)}{label}", written]
    elif connection.script.complete and connection.script.final is not None:
        steps = connection.script.steps
        place += [f"after step {len(steps)} of {len(steps)}", str(steps[-1].lines()[0])]
    return place


def named(exceptions: Sequence[BaseException]) -> list[str]:
    """Return the section about exceptions with which tasks and threads had ended."""
    lines: list[str] = []
    for exception in exceptions:
        lines += ["  before that, a task or thread of this test had ended with",
                  *(f"    {line}" for line in _exception_lines(exception))]
    return lines


def place_of(step: Step[Any]) -> str:
    """Say which step of which connection this is, and where it was written."""
    return f"step {step.index + 1} of connection {step.cursor.number}, {step.labelled} ({step.lines()[0]})"


def waiting_for(session: Session) -> str:
    """Say what the script waits for."""
    step = session.first_unsatisfied()
    return "the script was complete" if step is None else f"the script waited for {place_of(step)}"


def conversation_text(session: Session, transcript: Transcript) -> list[str]:
    """Return the scripts with the state of each step, the bytes that no step has claimed, and the transcript."""
    failure, conversations = session.environment.failure, session.connections.all
    written = [conversation for conversation in conversations if conversation.script.steps]
    lines: list[str] = []
    for conversation in _of_interest(written, failure):
        lines.append("  script" if len(written) == 1 else f"  script of connection {conversation.number}")
        lines += _script(session, conversation, transcript.started)
    unclaimed = [(conversation, conversation.inbox.unclaimed()) for conversation in conversations
                 if conversation.inbox.pending and not _told(conversation, failure)]
    waiting = [f"    {'' if len(conversations) == 1 else f'connection {conversation.number}: '}"
               f"{counted(len(data), 'byte')}  {shorten(data)}" for conversation, data in unclaimed]
    if waiting:
        lines += ["  received, and claimed by no step yet", *waiting]
    lines.append(_TRANSCRIPT)
    lines += [f"  {line}" for line in text.lines(transcript, focus=_focus(conversations, failure))] \
        or ["    nothing happened"]
    return lines


def _focus(conversations: list[Conversation], failure: Optional[Failure]) -> Optional[text.Focus]:
    """Return where to look closely in the transcript: at the failure, if it is one of a connection."""
    if failure is None or failure.number is None:
        return None
    left = sum(map(len, conversations[failure.number - 1].inbox.pending))
    received, offset = failure.mismatch.received, failure.mismatch.offset
    if isinstance(received, bytes) and offset is not None and not left:
        left = max(0, len(received) - offset)
    return text.Focus(failure.number, left)


def _told(conversation: Conversation, failure: Optional[Failure]) -> bool:
    """Whether the failure is about the pending bytes of this connection, and so shows them already."""
    return failure is not None and failure.number == conversation.number and failure.mismatch.offset is not None


def _of_interest(written: list[Conversation], failure: Optional[Failure]) -> list[Conversation]:
    """Return the scripts to show: of more than four, only the one that failed and its neighbours."""
    numbers = [conversation.number for conversation in written]
    if len(written) <= 4 or failure is None or failure.number not in numbers:
        return written[:4]
    place = numbers.index(failure.number)
    return written[max(0, place - 1):place + 2]


def _script(session: Session, conversation: Conversation, started: float) -> list[str]:
    failure = session.environment.failure
    steps, cursor = conversation.script.steps, conversation.script.cursor
    centre = failure.step.index if failure is not None and failure.step in steps and failure.step is not None \
        else cursor.position
    first, last = max(0, centre - _AROUND), min(len(steps), centre + _AROUND + 1)
    rows = [_row(step, session.status_of(step), failure, started) for step in steps[first:last]]
    widths = [max((len(row[column]) for row in rows if len(row[column]) <= _WIDEST), default=0) for column in range(5)]
    number = len(str(last))
    lines = [f"    {'':{number}} ... {counted(first, 'step')} before, satisfied"] if first else []
    for row, step in zip(rows, steps[first:last]):
        cells = (f"{cell:<{width}}" for cell, width in zip(row[1:], widths[1:]))
        lines.append(f"  {row[0] or ' '} {step.index + 1:>{number}} {'  '.join(cells)}".rstrip())
    if last < len(steps):
        lines.append(f"    {'':{number}} ... {counted(len(steps) - last, 'more step')}")
    return lines


def _row(step: Step[Any], status: str, failure: Optional[Failure],
         started: float) -> tuple[str, str, str, str, str]:
    failed = failure is not None and failure.step is step
    time = ""
    if failed and failure is not None:
        time = text.clock(failure.now - started)
    elif step.satisfied:
        time = next((text.clock(when - started) for cursor, when in step.cursor.marks if cursor > step.index), "")
    lines = step.lines()
    place = f":{lines[0].line}"
    if len(lines) > 1:
        place = f"{lines[0]} from {lines[-1]}" if lines[0].path != lines[-1].path else f"{place} from :{lines[-1].line}"
    marked = failed or (failure is not None and step in getattr(failure.mismatch, "steps", ()))
    return (">" if marked else "", step.labelled, status, time, place)


def _calls_tests(module: dict[str, Any]) -> bool:
    """Whether a module only calls what a test has written: the library's own, and contextvars, on PyPy in Python."""
    return "__unittest" in module or module.get("__name__") == "_contextvars"


def _exception_lines(exception: BaseException) -> list[str]:
    frames = exception.__traceback__
    while frames is not None and _calls_tests(frames.tb_frame.f_globals):
        frames = frames.tb_next
    shown = traceback.format_exception(type(exception), exception, frames, chain=False)
    return "".join(shown).rstrip("\n").split("\n")
