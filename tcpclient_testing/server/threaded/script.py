"""The script of a server in a thread: written in any thread, and carried out in the server's."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from tcpclient_testing.aio.runtime import Runtime
from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.server.script import ServerScript

from .cross_thread import Awaiting, answer
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.rules import Allowed, Every
    from tcpclient_testing.engine.steps.lifecycle import ExpectConnect

__all__ = ["ThreadedScript"]

__unittest = True

T = TypeVar("T")


class ThreadedScript(ServerScript):
    """A `ServerScript` whose methods may be called in any thread: each runs in the server's `thread`.

    `awaiting` keeps the tasks of other loops that wait for the script.
    """

    def __init__(self, runtime: Runtime, framing: Framing, ending: bytes, check_usable: Callable[[], None],
                 thread: LoopThread, awaiting: Awaiting) -> None:
        super().__init__(runtime, framing, ending, check_usable)
        self._thread = thread
        self._awaiting = awaiting

    def add_connection(self, step: ExpectConnect[Any]) -> None:
        self._call(super().add_connection, step)

    def add(self, step: Step[Any]) -> None:
        self._call(super().add, step)

    def open_pool(self) -> None:
        self._call(super().open_pool)

    def close_pool(self, whole: bool) -> None:
        self._call(super().close_pool, whole)

    def add_rule(self, conversation: Optional[Conversation], written: Union[Allowed, Every]) -> None:
        self._call(super().add_rule, conversation, written)

    def add_to(self, conversation: Conversation, step: Step[Any], *, by_handler: bool = False) -> None:
        self._call(partial(super().add_to, by_handler=by_handler), conversation, step)

    def open_block(self, conversation: Conversation) -> None:
        self._call(super().open_block, conversation)

    def close_block(self, conversation: Conversation) -> None:
        self._call(super().close_block, conversation)

    def _call(self, function: Callable[..., T], *args: Any) -> T:
        self.check_started()
        return self._thread.call(function, *args)

    def check_started(self) -> None:
        """Raise `ScriptError` if the server's thread does not run."""
        if not self._runtime.running:
            raise ScriptError("the server was not started: use `with ThreadedMockTCPServer()`, or start()")
        if self._thread.ended or self._thread.error is not None:  # it may still be closing what it had opened
            raise self._thread.gone()

    # Waiting.

    def join_in_time(self, conversation: Conversation, timeout: Optional[float]) -> Awaitable[None]:
        """Block until every step of one connection is satisfied, as `wait` does."""
        return self.wait(self.join(conversation), timeout, f"the script of connection {conversation.number}",
                         conversation)

    def wait(self, coroutine: Coroutine[Any, Any, None], timeout: Optional[float], what: str,
             conversation: Optional[Conversation]) -> Awaitable[None]:
        """Run `coroutine`, which waits for steps, in the server's thread; block, or return something to await.

        After `timeout` seconds, a `TimeoutError` says that `what` is not complete, with the step that it waits for: of
        `conversation`, or (None) of any.
        """
        try:
            seconds = checked_seconds("join(timeout)", timeout)
            self.check_started()
        except BaseException:
            coroutine.close()
            raise

        def too_late() -> TimeoutError:
            from .cross_thread import late
            session = self._runtime.session
            step = session.first_unsatisfied() if conversation is None or conversation.script.complete else \
                conversation.script.due
            return late(f"{what} is not complete", seconds or 0.0, step, session, self._runtime.transcript)
        return answer(self._thread, coroutine, seconds, too_late, self._awaiting)
