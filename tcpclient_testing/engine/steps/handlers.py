"""Handlers: coroutine functions of a test that serve connections, for fakes that keep state.

A handler awaits the same steps that a script has. They are appended after the `hand_over` step, which is satisfied when
the handler has been called. `join` does not wait for the steps that a handler adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Optional

from tcpclient_testing.engine.callables import InContext, in_context
from tcpclient_testing.engine.commands import StartHandler
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import exception_text, function_name, shorten_repr

from .base import DONE, Outcome
from .messages import ExpectMessage
from .sending import Action
from .timing import DEFAULT_TIMING, UNTIMED, Timing

if TYPE_CHECKING:
    from .base import Context

__all__ = ["END", "ExpectNext", "HandOver", "HandlerRaised", "checked_handler", "origin_of_handler"]

__unittest = True


class _End:
    """The type of `END`: the result of an `ExpectNext` if the client's stream has ended."""

    def __repr__(self) -> str:
        return "END"


END: Final = _End()


def checked_handler(handler: Any, where: str) -> InContext:
    """Return `handler`, to be run in a copy of the current context.

    Raise `TypeError`, whose text begins with `where`, if it can't be a handler.
    """
    if not callable(handler):
        raise TypeError(f"{where} is a coroutine function that takes a connection, got {shorten_repr(handler)}")
    code = getattr(handler, "__code__", None)
    if code is not None and code.co_flags & 0x220:  # CO_GENERATOR, CO_ASYNC_GENERATOR (inspect)
        raise TypeError(f"{where} is a coroutine function that takes a connection, got the generator function "
                        f"{shorten_repr(handler)}")
    return in_context(handler)


def origin_of_handler(handler: Any) -> Origin:
    """Return where a handler was written, as far as that is known; a callable without Python code gets a stand-in."""
    function = getattr(handler, "__func__", handler)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None) \
        or origin_of_handler.__code__
    return ((code, 0),)


class HandlerRaised(Mismatch):
    """The handler of a connection raised `exception`."""

    __slots__ = ("exception",)

    def __init__(self, handler: Any, exception: BaseException) -> None:
        name = function_name(handler)
        super().__init__(f"the handler {name}() raised {exception_text(exception)}")
        self.exception = exception


class HandOver(Action):
    """`hand_over(handler)`: from this step on, the handler serves the connection."""

    __slots__ = ("handler",)
    method = "hand_over"
    hands_over = True

    def __init__(self, handler: InContext, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.handler = handler

    def arguments(self) -> str:
        return function_name(self.handler)

    def proceed(self, context: Context) -> Outcome:
        context.environment.commands.append(StartHandler(context.number, self.handler))
        return DONE


class ExpectNext(ExpectMessage[Any]):
    """The next message that a handler reads with `lines()` or `frames()`, or the end of the client's stream before it.

    If no time-out is given, it waits as long as the client does, and counts as idle meanwhile.
    """

    __slots__ = ("idle",)

    def __init__(self, method: str, shown: str, framing: Framing, matcher: Matcher[Any], origin: Origin,
                 timing: Optional[Timing]) -> None:
        super().__init__(method, shown, framing, matcher, origin, UNTIMED if timing is None else timing)
        self.idle = timing is None

    def at_end(self, context: Context) -> Optional[Outcome]:
        if context.inbox.reset and not context.outbox.followed:
            return None
        self.value = END
        return DONE

    def after_our_end(self, context: Context) -> Optional[Outcome]:
        self.value = END
        return DONE

    def may_be_empty(self) -> bool:
        return True
