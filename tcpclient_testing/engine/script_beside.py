"""The methods for what stands beside a script's order: `allow`, `every`, `any_order`, `hand_over`.

What they are made of is loaded when one of them is first called.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from .arguments import as_bytes, checked_seconds
from .framing import FixedLength, Framing
from .matchers import Matcher, as_matcher
from .message import check_possible
from .origin import origin_of
from .wording import shorten, shorten_repr

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .allowing import Allowed, Every
    from .judging import BytesLike
    from .steps import Step
    from .unordered import Block

    Source = Union[BytesLike, Callable[[Any], Union[BytesLike, Awaitable[BytesLike]]]]

__all__ = ["BesideMethods"]

__unittest = True


class BesideMethods:
    """What can be written beside the steps of a server and of a connection."""

    def _put_beside(self, written: Union[Allowed, Every]) -> None:
        """From here on this holds."""
        raise NotImplementedError

    def _append_action(self, step: Step[None]) -> Step[None]:
        """Append a step to the script."""
        raise NotImplementedError

    def allow(self, message: Union[BytesLike, Matcher[Any]], *, reply: Optional[Source] = None,
              times: Optional[int] = None, framing: Optional[Framing] = None) -> Allowed:
        """From here to the connection's end, `message` may come at any boundary between messages: heartbeats.

        `message` is bytes as they go over the wire, or, with `framing`, a payload or a matcher for one. Each time the
        server sends `reply`: bytes, or a callable, or a coroutine function, that is given the message's result and
        returns them; with `framing`, it is a payload too. A reply never splits what the script sends. `times` is how
        often the message may come on a connection (None: any number). Written on a server before its first
        `expect_connect()` it holds on all connections, else on the newest that is expected.

        Return an object whose `count` tells how often such a message has come. It is never the "last result" that
        callables of the script are given. Of messages that begin alike, the one that is complete first counts, be it
        allowed or expected; of several that are complete at the same byte, an allowed one. One that is there as a whole
        before an expectation is written that could have taken its beginning (``expect_exactly(1)``, say) has been let
        through by then: write such steps before the client runs.
        """
        from .allowing import Allowed, takes_no_bytes
        if framing is None:
            if isinstance(message, Matcher):
                raise TypeError(f"allow(message) is the matcher {shorten_repr(message)}: give framing=... as well, "
                                "such as Delimited(b'\\r\\n'), which tells where such a message ends")
            data = as_bytes(message, "allow(message)")
            if not data:
                raise ValueError("allow(message) is empty; it would come all the time")
            matcher: Matcher[Any] = as_matcher(data, "allow(message)")
            divided: Framing = FixedLength(len(data))
        else:
            matcher = as_matcher(message, "allow(message)")
            divided = _checked_framing("allow", framing)
            if takes_no_bytes(divided, matcher):
                raise ValueError(f"allow(framing={framing!r}) has messages of no bytes; they would come all the time")
            check_possible("allow", "message", divided, matcher)
        if times is not None and (isinstance(times, bool) or not isinstance(times, int)):
            raise TypeError(f"allow(times=...) is a number or None, not {shorten_repr(times)}")
        if times is not None and times < 1:
            raise ValueError(f"allow(times=...) is 1 or more, not {times}")
        encode = None if framing is None else framing.encode
        source = None if reply is None else _checked_source("allow(reply=...)", reply, encode)
        shown = _shown(message, reply=reply, times=times, framing=framing)
        allowed = Allowed(shown, origin_of(sys._getframe(1)), divided, matcher, source, encode, times)
        self._put_beside(allowed)
        return allowed

    def every(self, seconds: float, data: Source, *, framing: Optional[Framing] = None) -> Every:
        """From here on the server sends `data` every so many seconds, beside its script: its own heartbeats.

        `data` is bytes, or a callable (a coroutine function too) that is given the connection's last result; with
        `framing` it is a payload. It never splits what the script sends, and it ends when either side has ended its
        stream. Return an object with a `count`, and `stop()`. Where it holds is as with `allow`.
        """
        from .allowing import Every
        interval = checked_seconds("every(seconds)", seconds, positive=True)
        if interval is None:
            raise TypeError("every(seconds) is a number of seconds")
        encode = None if framing is None else _checked_framing("every", framing).encode
        source = _checked_source("every(data)", data, encode)
        if source == b"" and encode is None:
            raise ValueError("every(data) is empty; nothing would be sent")
        shown = f"{seconds:g}, {_shown(data, framing=framing)}"
        every = Every(shown, origin_of(sys._getframe(1)), interval, source, encode)
        self._put_beside(every)
        return every

    def any_order(self) -> Block:
        """What is written in this `with` block may come in any order; nothing of it happens before the block ends.

        On a connection it is messages: an action belongs to the expectation written above it. On a server it is whole
        connections: each is bound to the first script, in written order, that its first bytes satisfy, but for messages
        that an `allow` of all connections lets through: these tell nothing. Of messages that begin alike, the one that
        is complete first counts.

        Write the script in the block and run the client after it: one that is run within the block and waits there for
        the server is a failure after the time-out of the block's steps, or the idle time-out if that is shorter.
        """
        from .unordered import Block
        return Block(self._open_block, self._close_block)

    def _open_block(self) -> None:
        raise NotImplementedError

    def _close_block(self, whole: bool) -> None:
        raise NotImplementedError

    def hand_over(self, handler: Callable[[Any], Awaitable[None]]) -> Step[None]:
        """From here on `handler` serves the connection: a coroutine function that is called with it.

        It awaits the same steps, and reads by ``async for line in connection.lines()``. When it returns, the server
        disconnects; what it raises is the test's failure. The script of this connection ends here.
        """
        from .handing import HandOver, checked_handler
        return self._append_action(HandOver(checked_handler(handler, "hand_over(handler)"),
                                            origin_of(sys._getframe(1))))


def _checked_framing(method: str, framing: Any) -> Framing:
    if not isinstance(framing, Framing):
        raise TypeError(f"{method}(framing=...) is a Framing such as LengthPrefixed(4), "
                        f"not {type(framing).__name__}: {framing!r}")
    return framing


def _checked_source(where: str, source: Any, encode: Optional[Callable[[bytes], bytes]]) -> Any:
    if callable(source):
        return source
    data = as_bytes(source, where)
    if encode is not None:
        encode(data)  # what can't be framed is raised here, where the script is written
    return data


def _shown(first: Any, **options: Any) -> str:
    shown = [_value(first)] + [f"{name}={_value(value)}" for name, value in options.items() if value is not None]
    return ", ".join(shown)


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return shorten(value)
    return getattr(value, "__qualname__", None) or repr(value)
