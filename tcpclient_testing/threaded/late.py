"""The `TimeoutError` of a wait that is over while the script goes on. Its text has the state and the transcript."""

from __future__ import annotations

from typing import Any, Optional

from tcpclient_testing.engine.session import Session
from tcpclient_testing.engine.steps import Step
from tcpclient_testing.report import conversation_text
from tcpclient_testing.transcript.entries import Transcript

__all__ = ["Late", "late", "place_of"]

__unittest = True


class Late(TimeoutError):
    """A `TimeoutError` whose text has the conversation already, so that nothing needs to attach it."""

    has_conversation = True

    def __reduce__(self) -> Any:
        return (TimeoutError, self.args)


Late.__name__ = Late.__qualname__ = "TimeoutError"
Late.__module__ = "builtins"


def late(what: str, seconds: float, step: Optional[Step[Any]], session: Session, transcript: Transcript) -> Late:
    """Make a `TimeoutError` for a wait that has lasted `seconds`.

    Its text has `what` is missing ("the script is not complete"), the `step` that the script waits for, the state of
    the script, and the transcript.
    """
    place = "" if step is None else f"; it waits for {place_of(step)}"
    return Late("\n".join([f"{what} after {seconds:g} s{place}", "", *conversation_text(session, transcript)]))


def place_of(step: Step[Any]) -> str:
    """Say which step of which connection this is, and where it was written."""
    return f"step {step.index + 1} of connection {step.conversation.number}, {step} ({step.lines()[0]})"
