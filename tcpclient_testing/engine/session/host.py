"""The interface that a session needs from its adapter. It is for type checkers: nothing has to inherit from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tcpclient_testing.engine.host import Host

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["SessionHost"]


class SessionHost(Host, Protocol):
    """The owner of a `Session`: it makes handles of connections as well."""

    def handle_for(self, conversation: Conversation) -> Any:
        """Make the handle of a connection: the object that users get."""

    def rebind(self, handle: Any, conversation: Conversation) -> None:
        """Let this handle, made by `handle_for`, be the handle of another conversation from now on."""
