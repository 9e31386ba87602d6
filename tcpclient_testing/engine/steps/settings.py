"""Steps that change settings: network conditions, and whether the server accepts connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpclient_testing.engine.commands import FailConnections, SetAccepting, SetNetwork
from tcpclient_testing.engine.origin import Origin

from .base import DEFAULT_TIMING, DONE, Outcome
from .sending import Action

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["FailConnectionsStep", "SetAcceptingStep", "SetNetworkStep"]

__unittest = True


class SetNetworkStep(Action):
    """`set_network(conditions)`: from now on the client receives under these conditions; None ends them.

    `for_all` says that connections accepted later get them too.
    """

    __slots__ = ("network", "for_all")
    method = "set_network"

    def __init__(self, network: Any, for_all: bool, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.network = network
        self.for_all = for_all

    @property
    def may_come_first(self) -> bool:  # type: ignore[override]
        return self.for_all

    def arguments(self) -> str:
        return repr(self.network)

    def proceed(self, conversation: Conversation) -> Outcome:
        conversation.command(SetNetwork(conversation if conversation.number else None, self.network, self.for_all))
        return DONE


class ServerSetting(Action):
    """A change to the server as a whole, made when it is this step's turn. It belongs to no connection."""

    __slots__ = ()
    is_setting = True
    may_come_first = True


class SetAcceptingStep(ServerSetting):
    """`refuse_connections()` and `accept_connections()`."""

    __slots__ = ("method", "accepting")

    def __init__(self, accepting: bool, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.method = "accept_connections" if accepting else "refuse_connections"
        self.accepting = accepting

    def proceed(self, conversation: Conversation) -> Outcome:
        conversation.session.refusing = not self.accepting
        conversation.command(SetAccepting(self.accepting))
        return DONE


class FailConnectionsStep(ServerSetting):
    """`fail_connections(n)`: the next `n` connections are reset; the script does not count them."""

    __slots__ = ("count",)
    method = "fail_connections"

    def __init__(self, count: int, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.count = count

    def arguments(self) -> str:
        return str(self.count)

    def proceed(self, conversation: Conversation) -> Outcome:
        conversation.command(FailConnections(self.count))
        return DONE
