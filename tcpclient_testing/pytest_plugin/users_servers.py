"""The servers that a test opens, and leaves, by itself: in fixtures of its own, or in its function.

They belong to the test as those of our fixtures do. But the test closes them itself, and its script must say how each
connection ends.
"""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.harness.servers import BODY, ServersOfTest, owner_of

if TYPE_CHECKING:
    from tcpclient_testing.harness.judged import Judged

__all__ = ["UsersServers"]

__unittest = True

__tracebackhide__ = True


class UsersServers(ServersOfTest):
    """The servers of one test under pytest, as far as the test has opened them by itself.

    - `later` has the code of each fixture that may close the client at its tear-down, or leave a server there after
      something else. A None in it says that the test itself may add such a fixture or finalizer.
    - `expected` says that there are fixtures that may open servers, or leave them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Optional[CodeType]] = []
        self.expected = False
        self._opened_in_body: list[Judged] = []  # by the test function; perhaps a fixture leaves them
        self._handles: dict[Judged, Any] = {}  # the servers as the test knows them

    @property
    def adopted(self) -> int:
        """How many servers the test has opened by itself."""
        return len(self.servers) - len(self._own())

    def _own(self) -> list[Judged]:
        """The servers of our fixtures: we judge them, and close them."""
        return [server for server in self.servers if owner_of(server) is not self]

    def adopt(self, server: Judged, handle: Any) -> None:
        super().adopt(server, handle)
        if owner_of(server) is self:
            self._handles[server] = handle
            if self.part == BODY:
                self._opened_in_body.append(server)
                self.later.append(None)  # a fixture may leave it
            elif not self.attaches:
                server.show_elsewhere()

    def _go_on(self, cleared: Judged, server: Judged) -> None:
        handle = self._handles.get(cleared)
        if handle is None:
            return  # the test is over
        self._handles[server] = handle
        super()._go_on(cleared, server)
        if server not in self.servers:
            del self._handles[server]
        elif self.attaches_to(cleared):
            # It may be cleared any number of times, and has no section in the report.
            self._opened_in_body = [server if each is cleared else each for each in self._opened_in_body]
            self.servers.remove(cleared)
            del self._handles[cleared]
        else:
            server.show_elsewhere()

    def _disown(self, server: Judged) -> None:
        super()._disown(server)
        if server in self._opened_in_body:
            self._opened_in_body.remove(server)
            self.later.remove(None)

    def left(self, server: Judged, verdict: Optional[BaseException]) -> None:
        super().left(server, verdict)
        if self.part == BODY and server in self._opened_in_body:
            # The test function has both opened and left it: that was a block of its own.
            self._disown(server)
            del self._handles[server]

    def attaches_to(self, server: Judged) -> bool:
        return self.attaches or server in self._opened_in_body

    def let_go(self) -> None:
        """The test is over, and reported: see `ServersOfTest.let_go`."""
        super().let_go()
        self._handles = {server: self._handles[server] for server in self.servers}

    def expect_servers(self) -> None:
        """Note a fixture of the test's own with a tear-down: servers may be left there."""
        self.expected = True

    def add_later(self, code: Optional[CodeType]) -> None:
        """Note a fixture that may close the client at its tear-down, or with None that the test may add one."""
        self.later.append(code)

    async def _judge_adopted(self, *, blocking: bool) -> Optional[BaseException]:
        """Judge the servers that the test's own fixtures leave, since they are left next."""
        for server in self.unreported():
            if not (blocking and server.in_loop):
                try:
                    await server.judge(blocking=blocking)
                except Exception as error:  # noqa: BLE001 - the verdict, or the client's own exception
                    first = min(self.unreported(), key=lambda each: each.failed_at())
                    verdict = None if first is server else first.error()
                    return error if verdict is None else verdict
        return None
