"""Steps that change settings: network conditions, and whether the server accepts connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpclient_testing.engine.commands import FailConnections, SetAccepting, SetNetwork
from tcpclient_testing.engine.origin import Origin

from .base import DONE, Outcome
from .sending import Action
from .timing import DEFAULT_TIMING

if TYPE_CHECKING:
    from .base import Context

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

    def proceed(self, context: Context) -> Outcome:
        context.environment.commands.append(SetNetwork(context.number or None, self.network, self.for_all))
        return DONE


class ServerSetting(Action):
    """A change to the server as a whole, made when it is this step's turn. It belongs to no connection."""

    __slots__ = ()
    is_setting = True
    may_come_first = True


class SetAcceptingStep(ServerSetting):
    """`refuse_connections()` and `accept_connections()`."""

    __slots__ = ("method", "accepting", "refuses", "reopens")

    def __init__(self, accepting: bool, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.method = "accept_connections" if accepting else "refuse_connections"
        self.accepting = self.reopens = accepting
        self.refuses = not accepting

    def proceed(self, context: Context) -> Outcome:
        context.environment.commands.append(SetAccepting(self.accepting))
        return DONE


class FailConnectionsStep(ServerSetting):
    """`fail_connections(n)`: the next `n` connections are reset; the script does not count them."""

    __slots__ = ("count",)
    method = "fail_connections"
    without_reset = "refuse_connections()"

    def __init__(self, count: int, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.count = count

    def arguments(self) -> str:
        return str(self.count)

    def proceed(self, context: Context) -> Outcome:
        context.environment.commands.append(FailConnections(self.count))
        return DONE
