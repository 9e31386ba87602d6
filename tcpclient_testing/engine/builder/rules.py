"""The script methods for rules, which apply in addition to the steps: `allow` and `every`.

The modules that implement them are imported when one of them is first called.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.arguments import as_bytes, checked_seconds
from tcpclient_testing.engine.callables import in_context
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.patterns import as_matcher
from tcpclient_testing.engine.matching.reading import check_possible, takes_no_bytes
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.wording import function_name, shorten, shorten_repr

if TYPE_CHECKING:
    from tcpclient_testing.engine.arguments import BytesLike
    from tcpclient_testing.engine.conversation.rules import Allowed, Every

    from .actions import Source

__all__ = ["RuleMethods"]

__unittest = True


class RuleMethods:
    """What applies in addition to the steps, from its place in the script to the end of the connection."""

    def _add_rule(self, written: Union[Allowed, Every]) -> None:
        """Apply an `allow` or an `every` from here on."""
        raise NotImplementedError

    def allow(self, message: Union[BytesLike, Matcher[Any]], *, reply: Optional[Source] = None,
              times: Optional[int] = None, framing: Optional[Framing] = None, label: Optional[str] = None) -> Allowed:
        """Allow `message`, such as a heartbeat, at any boundary between messages, from here to the connection's end.

        - `message`: bytes as they go over the wire; with `framing`, a payload or a matcher for one.
        - `reply`: what the server sends each time. It is bytes, or a callable or coroutine function that is called with
          the message's result and returns bytes. With `framing`, it is a payload too. A reply never splits what the
          script sends.
        - `times`: how often the message may come on one connection (None: any number).

        Written on a connection, it applies to that one. Written on a server before its first `expect_connect()`, it
        applies to all connections; later, to the newest expected connection.

        Returns an object whose `count` is how often such a message has come. An allowed message is never the "last
        result" that callables of the script are given.

        Which message counts:

        - Of messages that begin alike, the one that is complete first, whether allowed or expected.
        - Of messages that are complete at the same byte, an allowed one.
        - A step can't take the beginning of an allowed message that had come as a whole before the step was written.
          So write steps that could, such as ``expect_exactly(1)``, before the client runs.

        Raises `TypeError` for a matcher without `framing`, `ValueError` for a message that can be of no bytes or that
        its framing can't have, or if `times` is less than 1.
        """
        from tcpclient_testing.engine.conversation.rules import Allowed
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
        allowed = Allowed(shown, origin_of(sys._getframe(1), label), divided, matcher, source, encode, times)
        self._add_rule(allowed)
        return allowed

    def every(self, seconds: float, data: Source, *, framing: Optional[Framing] = None,
              label: Optional[str] = None) -> Every:
        """Send `data` every `seconds` seconds from here on, in addition to the script: the server's own heartbeats.

        `data` is bytes, or a callable (or coroutine function) that is called with the connection's last result and
        returns bytes. With `framing` it is a payload. It never splits what the script sends. The heartbeats end when
        either side has ended its stream.

        Returns an object with a `count` and `stop()`. It applies to the same connections as an `allow` written here.
        """
        from tcpclient_testing.engine.conversation.rules import Every
        interval = checked_seconds("every(seconds)", seconds, positive=True)
        if interval is None:
            raise TypeError("every(seconds) is a number of seconds")
        encode = None if framing is None else _checked_framing("every", framing).encode
        source = _checked_source("every(data)", data, encode)
        if source == b"" and encode is None:
            raise ValueError("every(data) is empty; nothing would be sent")
        shown = f"{seconds:g}, {_shown(data, framing=framing)}"
        every = Every(shown, origin_of(sys._getframe(1), label), interval, source, encode)
        self._add_rule(every)
        return every


def _checked_framing(method: str, framing: Any) -> Framing:
    if not isinstance(framing, Framing):
        raise TypeError(f"{method}(framing=...) is a Framing such as LengthPrefixed(4), "
                        f"not {type(framing).__name__}: {framing!r}")
    return framing


def _checked_source(where: str, source: Any, encode: Optional[Callable[[bytes], bytes]]) -> Any:
    if callable(source):
        return in_context(source)
    data = as_bytes(source, where)
    if encode is not None:
        encode(data)  # raises here, where the script is written, if it can't be framed
    return data


def _shown(first: Any, **options: Any) -> str:
    shown = [_value(first)] + [f"{name}={_value(value)}" for name, value in options.items() if value is not None]
    return ", ".join(shown)


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return shorten(value)
    return function_name(value) if callable(value) else repr(value)
