"""The interface that the engine needs from its adapter. It is for type checkers: nothing has to inherit from it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Optional, Protocol

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.steps.base import Step

__all__ = ["Host"]


class Host(Protocol):
    """The owner of a `Session`: it makes handles of connections, and answers what users ask of a step."""

    def handle_for(self, conversation: Conversation) -> Any:
        """Make the handle of a connection: the object that users get."""

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait until a step is satisfied; raise if it never will be."""

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        """Raise what `Step.result` raises for a step that is not satisfied; return if it has become satisfied."""

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        """Return what `Step.exception` returns for a step that is not satisfied: None if it has become satisfied."""

    def listening_at(self) -> str:
        """Return the address at which the server listens, as text for reports."""

    def rebind(self, handle: Any, conversation: Conversation) -> None:
        """Let this handle, made by `handle_for`, be the handle of another conversation from now on."""

    def ending_of(self, conversation: Conversation) -> str:
        """Say how a client ended its stream: "closed", "half-closed", or "ended its stream" if there is no evidence."""
