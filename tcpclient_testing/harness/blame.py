"""Decides whose exception a test reports when the script has failed or the test has raised.

A test has one report, and the report is about the cause:

- If the script had failed, everything that the client raises afterwards is a consequence.
- If the client failed by itself, its exception is the report, and the conversation is attached to it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Optional

from .exceptions import ConversationSoFar, attach_by_chain, chain_of, is_control, is_error, parts_of
from .interruption import consequence, ends_with_ctrl_c

if TYPE_CHECKING:
    from typing import Protocol

    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.report.report import ExpectationError
    from tcpclient_testing.transcript.entries import Transcript

    from .task_snapshot import TaskSnapshot

    class Evidence(Protocol):
        """What is asked of the server: its script's failure, if there is one, and what happened until then."""

        session: Session
        transcript: Transcript

        @property
        def task_snapshot(self) -> Optional[TaskSnapshot]:
            """The snapshot of the loop's tasks, if the failure came at a client's end."""

        @property
        def client_error(self) -> Optional[BaseException]:
            """The exception of a client that has failed by itself, once the test has it."""

        @property
        def virtual(self) -> bool: ...
        def error(self) -> ExpectationError: ...
        def errors_beside(self) -> list[BaseException]: ...
        def client_raised(self, exc: Optional[BaseException]) -> None: ...
        def listening_at(self) -> str: ...

        def advice(self) -> list[str]: ...

__all__ = ["Blame"]

__unittest = True


class Blame:
    """Tells causes from consequences, for the server that has this `evidence`."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def instead_of(self, exc: BaseException, *, interrupted: bool, attach: bool = True) -> Optional[BaseException]:
        """Return what to raise instead of `exc`, which the body raised; None if `exc` is to be raised itself.

        If the script had failed first, that is the verdict. Otherwise the conversation is attached to `exc`, if
        `attach`. `interrupted` says that the server had cancelled the body, so a `CancelledError` is the server's own.
        If somebody else has cancelled the body, that hides no failure that was there before, but it is none by itself.
        Exceptions that are not errors (KeyboardInterrupt, SystemExit, a skip) are left as they are.
        """
        own = isinstance(exc, asyncio.CancelledError)
        if own and not interrupted:
            if ends_with_ctrl_c():
                return None
            if self._evidence.session.environment.verdict is None:
                if attach:
                    self._attach(exc)  # a time-out around the server shows it
                return None
        if not (own or is_error(exc)) or is_control(exc):
            return None
        from tcpclient_testing.report.report import ExpectationError
        if isinstance(exc, ExpectationError):
            return self._earlier_than(exc)
        raised: Optional[BaseException] = consequence(exc) if own else exc
        if own and isinstance(raised, AssertionError) and not isinstance(raised, ExpectationError):
            # An assertion of the test had failed, and the test was interrupted while it cleaned up.
            if attach:
                self._attach(raised)
            return raised
        if self._by_itself(raised):
            assert raised is not None
            if attach:
                self._attach(raised)
            return raised if own else None
        if self.blames(raised):
            return self._evidence.error()
        if attach:
            self._attach(exc)
        return None

    def _earlier_than(self, verdict: ExpectationError) -> Optional[ExpectationError]:
        """Return our own verdict if the other server's `verdict` came later, mostly as a consequence; else None."""
        evidence, failure, other = self._evidence, self._evidence.session.environment.verdict, verdict.report.failure
        # Times on a virtual clock can't be compared with those of another server.
        if failure is None or failure is other or failure.order >= other.order or evidence.virtual:
            return None
        return evidence.error()

    def _by_itself(self, exc: Optional[BaseException]) -> bool:
        """Whether the client raised `exc` by itself, although the script has failed.

        A client that raises usually closes its connection on the way out. That breaks the script too, but as a
        consequence. So:

        - An exception that was already on its way when the client's end failed the script is the cause.
        - An exception raised after that, or by a broken connection, is not the cause.
        - If it is not known when it was raised (in a thread, or in a task that had ended), it counts as the cause.

        For an exception group, one such part is enough.
        """
        return exc is not None and any(self._part_by_itself(part) for part in parts_of(exc))

    def raised_before(self, exc: BaseException) -> bool:
        """Whether a client raised `exc` by itself, beside the body, before the script failed at the client's end."""
        return self._by_itself(exc)

    def _part_by_itself(self, exc: BaseException) -> bool:
        failure = self._evidence.session.environment.verdict
        if exc is self._evidence.client_error:
            return True
        if failure is not None and failure.mismatch.by_the_test:
            return False
        if getattr(exc, "has_conversation", False):
            return True  # a wait had timed out first; the script mostly fails then because the client goes away
        if failure is None or not failure.at_end:
            return False
        from tcpclient_testing.report.hints import refusal
        from tcpclient_testing.report.report import ExpectationError
        if not is_error(exc) or isinstance(exc, ExpectationError):
            return False
        if refusal(failure, chain_of(exc)) is not None:
            return False  # the report on the script says it better
        stood = self._evidence.task_snapshot
        if stood is not None and stood.shows(exc):
            return True
        return not any(isinstance(each, (OSError, EOFError)) for each in chain_of(exc)) \
            and not (stood is not None and stood.precedes(exc))

    def blames(self, exc: Optional[BaseException]) -> bool:
        """Whether the script had failed when `exc` was raised. The report shows the first such exception."""
        evidence = self._evidence
        if evidence.session.environment.verdict is None:
            return False
        from tcpclient_testing.report.report import ExpectationError
        if not isinstance(exc, ExpectationError):
            evidence.client_raised(exc)
        return True

    def show_in(self, exc: BaseException) -> None:
        """Let tracebacks of `exc` show the conversation, unless it is a verdict, which shows one already."""
        from tcpclient_testing.report.report import ExpectationError
        if not isinstance(exc, ExpectationError):
            self._attach(exc)

    def _attach(self, exc: BaseException) -> None:
        """Let tracebacks of `exc` show the conversation: as a note, or (Python 3.9 and 3.10) in its chain."""
        evidence = self._evidence
        if getattr(exc, "has_conversation", False) or exc is evidence.client_error:
            return
        advice = evidence.advice()
        if len(evidence.transcript):
            _attach_text(exc, [*advice, *self._headline(), *self._earlier(exc), *self._conversation()])
        elif advice:
            _attach_text(exc, advice)

    def attach_to_cause(self, exc: BaseException, *, conversation: bool) -> None:
        """Let tracebacks of `exc`, which a client has raised beside the body, show where the script was.

        With `conversation`, they show the conversation, too.
        """
        from tcpclient_testing.report.report import waiting_for
        place = self._headline()
        if not place:
            place = [f"a client had ended with {type(exc).__name__}; {waiting_for(self._evidence.session)}", ""]
        _attach_text(exc, [*place, *self._conversation()] if conversation else place[:1])

    def _earlier(self, exc: BaseException) -> list[str]:
        """Name the errors with which clients had ended beside the body, which did not lead to `exc` there."""
        from tcpclient_testing.report.report import named
        known = chain_of(exc)
        return named([each for each in self._evidence.errors_beside() if not any(each is other for other in known)])

    def _headline(self) -> list[str]:
        from tcpclient_testing.report.hints import diagnose
        from tcpclient_testing.report.report import headline
        session, transcript = self._evidence.session, self._evidence.transcript
        failure = session.environment.verdict
        return [] if failure is None else [
            headline(session, failure, transcript.name, diagnose(session, transcript).cause), ""]

    def _conversation(self) -> list[str]:
        from tcpclient_testing.report.report import conversation_text
        evidence = self._evidence
        return [f"the conversation with {evidence.listening_at()} until then",
                *conversation_text(evidence.session, evidence.transcript)]


def _attach_text(exc: BaseException, lines: list[str]) -> None:
    text = "\n".join(lines)
    note: Any = getattr(exc, "add_note", None)
    if note is not None:
        note(text)
    else:
        attach_by_chain(exc, ConversationSoFar("not an error: the conversation until the exception below was "
                                                f"raised\n{text}"))
