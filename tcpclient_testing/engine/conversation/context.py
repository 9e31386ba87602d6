"""What the parts of a conversation may ask of it. It is for type checkers: a conversation has these members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from typing import Protocol

    from tcpclient_testing.engine.mismatches import Mismatch
    from tcpclient_testing.engine.steps.base import Context, Step

    from .timer import Timer

    class ConversationContext(Context, Protocol):
        """A conversation, as its parts see it."""

        @property
        def timer(self) -> Timer:
            """The due step, and since when it is due."""

        @property
        def begun(self) -> int:
            """How many steps have begun."""

        def begin_again(self) -> None:
            """Let the due step begin again when it is looked at next."""

        def advance(self) -> None:
            """Let the due steps proceed until one of them has to wait."""

        def arm(self) -> None:
            """Set the reminder for the due step's deadline, if that is needed."""

        def fail(self, step: Optional[Step[Any]], mismatch: Mismatch, *, overdue: bool = False) -> None:
            """Let the script fail at `step`, or on the connection as a whole."""
