"""What is known of the errors by which clients end, for the report of one server's test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from tcpclient_testing.harness.task_snapshot import TaskSnapshot

    from .lookout import Lookout

__all__ = ["ClientErrors"]

__unittest = True


class ClientErrors:
    """The errors of the clients of one server: those that came before the failure, and those that follow from it.

    - `lookout`: looks for clients that fail by themselves; None before there is a loop
    - `told`: the exception of such a client, once the test has it: it is the test's report
    - `shown_elsewhere`: whether the caller shows the conversation, so that it need not be attached to that exception
    - `snapshot`: of the loop's tasks, if the failure came at a client's end
    - `consequence`: the first exception that a client raised after the failure
    """

    def __init__(self) -> None:
        self.lookout: Optional[Lookout] = None
        self.told: Optional[BaseException] = None
        self.shown_elsewhere = False
        self.snapshot: Optional[TaskSnapshot] = None
        self.consequence: Optional[BaseException] = None

    def begin(self, lookout: Lookout) -> None:
        """Look for errors from now on."""
        self.lookout = lookout

    def listen(self) -> None:
        """The script begins: what fails from now on may be the client."""
        if self.lookout is not None:
            self.lookout.listen()

    def hear_threads(self) -> None:
        """A part of the test begins: hear of exceptions that end threads."""
        if self.lookout is not None:
            self.lookout.hear_threads()

    def end(self) -> None:
        """Look for errors no more: the server is closed."""
        if self.lookout is not None:
            self.lookout.stop()

    def show_elsewhere(self) -> None:
        """The caller shows the conversation of a test that has failed."""
        self.shown_elsewhere = True

    def tell(self, error: BaseException) -> None:
        """The test's report is going to be `error`."""
        self.told = error

    def failed(self) -> None:
        """The script has failed just now: the errors that there are came before."""
        if self.lookout is not None:
            self.lookout.causes.failed()

    def keep_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """The script has failed at a client's end just now: keep what the tasks were doing, which may be the cause."""
        from tcpclient_testing.harness.task_snapshot import TaskSnapshot
        self.snapshot = TaskSnapshot(loop)

    def release(self) -> None:
        """Drop what was kept, after the verdict."""
        self.snapshot = None

    def followed(self, exc: Optional[BaseException]) -> None:
        """A client raised `exc` after the script had failed: the report shows the first such exception."""
        if self.consequence is None:
            self.consequence = exc

    def before(self) -> list[BaseException]:
        """Return the errors that came before the failure."""
        return [] if self.lookout is None else self.lookout.named()
