"""What the engine asks of the adapter that it lives in; for type checkers, since nothing has to inherit from it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Optional, Protocol

if TYPE_CHECKING:
    from .conversation import Conversation
    from .steps import Step

__all__ = ["Host"]


class Host(Protocol):
    """Whoever owns a `Session`: it makes handles, and answers when a user asks something of a step."""

    def handle_for(self, conversation: Conversation) -> Any:
        """Make the object by which users know a connection."""

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait until a step is satisfied; raise if it never will be."""

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        """Raise what `Step.result` has to for a step that is not satisfied; return if it is by now."""

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        """Return the exception for a step that is not satisfied."""

    def listening_at(self) -> str:
        """Say the address at which the server listens."""

    def rebind(self, handle: Any, conversation: Conversation) -> None:
        """From now on this handle, made by `handle_for`, is that of another conversation."""

    def ending_of(self, conversation: Conversation) -> str:
        """Say how a client ended its stream: "closed", "half-closed", or "ended its stream" without evidence."""
