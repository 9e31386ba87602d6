"""Connections that a handler serves: a coroutine function of the test, for fakes with a state.

A handler uses the same steps, awaited; they are appended behind `hand_over`, which is satisfied when the handler has
been called. What it writes is its own affair: no join waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Final, Optional

from .actions import Action
from .commands import StartHandler
from .expectations import ExpectMessage
from .framing import Framing
from .matchers import Matcher
from .mismatches import Mismatch
from .origin import Origin
from .steps import DEFAULT_TIMING, DONE, UNTIMED, Outcome, Timing
from .wording import exception_text, shorten_repr

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["END", "ExpectNext", "HandOver", "HandlerRaised", "checked_handler", "origin_of_handler"]

__unittest = True


class _End:
    """The result of an `ExpectNext` when the client's stream has ended."""

    def __repr__(self) -> str:
        return "END"


END: Final = _End()


def checked_handler(handler: Any, where: str) -> Any:
    """Return a handler; raise `TypeError`, which names `where`, for what can't be one."""
    if not callable(handler):
        raise TypeError(f"{where} is a coroutine function that takes a connection, got {shorten_repr(handler)}")
    code = getattr(handler, "__code__", None)
    if code is not None and code.co_flags & 0x220:  # CO_GENERATOR, CO_ASYNC_GENERATOR (inspect)
        raise TypeError(f"{where} is a coroutine function that takes a connection, got the generator function "
                        f"{shorten_repr(handler)}")
    return handler


def origin_of_handler(handler: Any) -> Origin:
    """Where a handler was written, as far as that can be known."""
    function = getattr(handler, "__func__", handler)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None) \
        or origin_of_handler.__code__
    return ((code, 0),)


class HandlerRaised(Mismatch):
    """A connection's handler raised `exception`."""

    __slots__ = ("exception",)

    def __init__(self, handler: Any, exception: BaseException) -> None:
        name = getattr(handler, "__qualname__", None) or repr(handler)
        super().__init__(f"the handler {name} raised {exception_text(exception)}")
        self.exception = exception


class HandOver(Action):
    """`hand_over(handler)`: from here on the handler serves the connection."""

    __slots__ = ("handler",)
    method = "hand_over"

    def __init__(self, handler: Callable[[Any], Any], origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.handler = handler

    def arguments(self) -> str:
        return getattr(self.handler, "__qualname__", None) or repr(self.handler)

    def proceed(self, conversation: Conversation) -> Outcome:
        conversation.command(StartHandler(conversation, self.handler))
        return DONE


class ExpectNext(ExpectMessage[Any]):
    """The next message of `lines()` or `frames()`, or the end of the client's stream before it.

    Without a time-out of its own it waits as long as the client does.
    """

    __slots__ = ("idle",)

    def __init__(self, method: str, shown: str, framing: Framing, matcher: Matcher[Any], origin: Origin,
                 timing: Optional[Timing]) -> None:
        super().__init__(method, shown, framing, matcher, origin, UNTIMED if timing is None else timing)
        self.idle = timing is None

    def at_end(self, conversation: Conversation) -> Optional[Outcome]:
        if conversation.reset:
            return None
        self.value = END
        return DONE
