"""The methods by which scripts are written, shared by servers and connections: what the client has to do, and the rest.

What the server does is in `script_actions`, what breaks the network in `fault_methods`, what stands beside the order
in `script_beside`. Each method checks its arguments, notes the line that called it, and hands a step to `_add`;
whatever is wrong with the arguments is raised there, where the script is written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, overload

from .arguments import as_bytes, as_count, checked_seconds
from .expectations import (
    ExpectBytes,
    ExpectBytesTimed,
    ExpectDisconnect,
    ExpectEof,
    ExpectMessage,
    ExpectReset,
    ExpectSilence,
)
from .fault_methods import FaultMethods
from .framing import FixedLength, Framing
from .judging import BytesLike
from .matchers import Matcher, anything, as_matcher
from .message import check_possible
from .origin import origin_of
from .script_actions import ActionMethods
from .script_beside import BesideMethods
from .steps import DEFAULT_TIMING, Step
from .timing import UNSET, timing_of
from .wording import shorten

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ScriptMethods"]

__unittest = True

T = TypeVar("T")


def _message_bytes(where: str, data: Any) -> bytes:
    checked = as_bytes(data, where)
    if not checked:
        raise ValueError(f"{where} is empty; nothing would be expected")
    return checked


class ScriptMethods(ActionMethods, BesideMethods, FaultMethods):
    """The steps that can be written on a server and on a connection.

    Each method returns the `Step` at once; it is an ordinary method, not a coroutine. What no client could ever do
    raises where it is written: `ValueError` for a message that can't be one of its framing (of another length, or too
    long), `ScriptError` for a step that has no place after those before it. `timeout` is the number of
    seconds without progress after which a step has failed once it is its turn (None: never; by default, the server's),
    `within` the number of seconds in all. `within` alone takes the place of the server's time-out; where both are
    given, both hold.
    """

    def expect_bytes(self, data: BytesLike, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[bytes]:
        """The client sends exactly `data` next, in however many pieces; the result is `data`.

        A wrong byte is a failure as soon as it arrives. Raises `TypeError` for what isn't bytes, `ValueError` for
        nothing at all.
        """
        if type(data) is bytes and data and timeout is UNSET and within is None:
            step = ExpectBytes(data, origin_of(sys._getframe(1)))
            self._add(step)
            return step
        if type(data) is not bytes or not data:
            if isinstance(data, Matcher):
                raise TypeError(f"expect_bytes(data) is bytes, since {data!r} could not tell where the message ends: "
                                "give it to expect_line, expect_frame, expect_until or expect_exactly")
            data = _message_bytes("expect_bytes(data)", data)
        origin, timing = origin_of(sys._getframe(1)), timing_of("expect_bytes", timeout, within)
        return self._append(ExpectBytes(data, origin) if timing is DEFAULT_TIMING
                            else ExpectBytesTimed(data, origin, timing))

    @overload
    def expect_line(self, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_line(self, line: BytesLike, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_line(self, line: Matcher[T], *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None) -> Step[T]: ...

    def expect_line(self, line: Any = anything, *, ending: Optional[BytesLike] = None,
                    timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[Any]:
        """The client sends a line; the result is what stands before its ending (CR LF, unless the server says else).

        `line` is the expected line without its ending, or a matcher. A line of more than 64 KiB is a failure.
        """
        matcher = as_matcher(line, "expect_line(line)")
        framing = self._lines("expect_line", ending)
        return self._message("expect_line", _shown(line, ending=ending), framing, matcher, timeout, within,
                             sys._getframe(1))

    @overload
    def expect_until(self, separator: BytesLike, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_until(self, separator: BytesLike, matcher: BytesLike, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_until(self, separator: BytesLike, matcher: Matcher[T], *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[T]: ...

    def expect_until(self, separator: BytesLike, matcher: Any = anything, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[Any]:
        """The client sends something that ends with `separator`; the result is what stands before it."""
        checked = as_matcher(matcher, "expect_until(matcher)")
        separator = _message_bytes("expect_until(separator)", separator)
        shown = shorten(separator) + ("" if matcher is anything else f", {_shown(matcher)}")
        from .delimited import Delimited

        return self._message("expect_until", shown, Delimited(separator), checked, timeout, within, sys._getframe(1))

    @overload
    def expect_exactly(self, n: Union[int, Callable[[Any], int]], *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_exactly(self, n: Union[int, Callable[[Any], int]], matcher: BytesLike, *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_exactly(self, n: Union[int, Callable[[Any], int]], matcher: Matcher[T], *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[T]: ...

    def expect_exactly(self, n: Union[int, Callable[[Any], int]], matcher: Any = anything, *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[Any]:
        """The client sends `n` bytes; the result is these bytes.

        `n` may be a callable: it is called with the result of the connection's last satisfied expectation when the
        step's turn comes, which is how a length that a header announced is used; 0 is a message of no bytes then. With
        ``keep=False`` the bytes are counted and let go, and the result is their number.

        Raises `TypeError` for what isn't a number, `ValueError` for less than 1: nothing would be expected.
        """
        checked = as_matcher(matcher, "expect_exactly(matcher)")
        if not keep:
            if matcher is not anything:
                raise TypeError("expect_exactly(keep=False) lets the bytes go, so that no matcher can be asked")
            from .counting import counted_only

            checked = counted_only
        shown = getattr(n, "__qualname__", None) or repr(n)
        framing: Union[Framing, Callable[[Any], Framing]]
        if callable(n):
            length: Callable[[Any], int] = n

            def framing(last: Any) -> Framing:
                return FixedLength(as_count(length(last), "what it returned", 0))
        else:
            framing = FixedLength(as_count(n, "expect_exactly(n)", 1))
        shown += ("" if matcher is anything else f", {_shown(matcher)}") + ("" if keep else ", keep=False")
        return self._message("expect_exactly", shown, framing, checked, timeout, within, sys._getframe(1))

    @overload
    def expect_frame(self, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_frame(self, payload: BytesLike, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None) -> Step[bytes]: ...
    @overload
    def expect_frame(self, payload: Matcher[T], *, framing: Optional[Framing] = None,
                     timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[T]: ...

    def expect_frame(self, payload: Any = anything, *, framing: Optional[Framing] = None,
                     timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[Any]:
        """The client sends a frame; the result is its payload.

        The framing is the server's unless given: four bytes of length, most significant first, and the payload. A
        header that announces another length than that of an expected literal is a failure at once.
        """
        matcher = as_matcher(payload, "expect_frame(payload)")
        return self._message("expect_frame", _shown(payload, framing=framing), self._framing("expect_frame", framing),
                             matcher, timeout, within, sys._getframe(1))

    def expect_eof(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[None]:
        """The client half-closes: it ends its stream. The server's side stays open.

        No step that waits for the client's bytes may follow on this connection. One that closes instead, with something
        unread, has reset it; where that is what the test wants, end the script with `expect_reset`.
        """
        return self._append(ExpectEof(origin_of(sys._getframe(1)), timing_of("expect_eof", timeout, within)))

    def expect_disconnect(self, *, wait_closed: bool = True, timeout: Optional[float] = UNSET,
                          within: Optional[float] = None) -> Step[None]:
        """The client closes the connection; the server's side is closed at once. A reset is not a close.

        A client that closes with something unread, or is sent something afterwards, resets the connection: where the
        server has sent something around the client's end, the step is satisfied when it is certain that this was none.
        Over TLS, after `disconnect`, a client that leaves nothing but the server's close_notify unread has closed; that
        it left more than that is told on Linux only, of clients on this machine, and for a second after `disconnect`.

        Of a client in this process that uses asyncio's streams it is required that it has called ``writer.close()``,
        has awaited ``writer.wait_closed()``, and has read all that the server sent; ``wait_closed=False`` requires
        only the close.
        """
        return self._append(ExpectDisconnect(bool(wait_closed), origin_of(sys._getframe(1)),
                                             timing_of("expect_disconnect", timeout, within)))

    def expect_reset(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[None]:
        """The client resets the connection (a RST, RFC 9293, 3.5.2), as it does when it closes with data unread.

        The end of its stream is no reset; but after `expect_eof` it is waited for one, as long as the server has not
        ended its own stream: no reset comes behind that any more.
        """
        return self._append(ExpectReset(origin_of(sys._getframe(1)), timing_of("expect_reset", timeout, within)))

    def expect_silence(self, seconds: float) -> Step[None]:
        """The client sends nothing and stays connected for `seconds` seconds.

        It has no place between `pause_reading` and `resume_reading`, where the server sees nothing of the client.
        """
        duration = checked_seconds("expect_silence(seconds)", seconds, positive=True)
        if duration is None:
            raise TypeError("expect_silence(seconds) is a number of seconds")
        return self._append(ExpectSilence(duration, origin_of(sys._getframe(1))))

    def expect_tls_failure(self, *, by: str = "client", timeout: Optional[float] = UNSET,
                           within: Optional[float] = None) -> Step[str]:
        """The TLS handshake comes to nothing, since the client refuses it; the result is the reason.

        It comes right after `start_tls`, or after the `expect_connect` of a server with ``tls=``, and nothing may
        follow it on this connection. A client refuses when it has been sent the server's certificate, and then sends an
        alert (the reason is its name, such as ``"unknown CA"``, RFC 8446, 6.2), closes or resets the connection:
        asyncio's clients just close. Some clients (curl) judge the certificate after the handshake: leaving without
        having sent one byte of data is a refusal, too. A client that sends data has not refused.

        With ``by="server"`` it is the server that has to refuse the client, as it does one without a certificate where
        its context requires one, or without any version of TLS in common.
        """
        from .handshake import CLIENT, SERVER, ExpectTLSFailure
        if by not in (CLIENT, SERVER):
            raise ValueError(f"expect_tls_failure(by=...) is 'client' or 'server', not {by!r}")
        return self._append(ExpectTLSFailure(by, origin_of(sys._getframe(1)),
                                             timing_of("expect_tls_failure", timeout, within)))

    def _message(self, method: str, shown: str, framing: Union[Framing, Callable[[Any], Framing]],
                 matcher: Matcher[Any], timeout: Any, within: Any, frame: FrameType) -> Step[Any]:
        timing = timing_of(method, timeout, within)
        if matcher is not anything and isinstance(framing, Framing):
            check_possible(method, shown, framing, matcher)
        return self._append(ExpectMessage(method, shown, framing, matcher, origin_of(frame), timing))


def _shown(matcher: Any, **options: Any) -> str:
    """The arguments as a report's script shows them."""
    shown = [] if matcher is anything else [shorten(matcher) if isinstance(matcher, bytes) else repr(matcher)]
    shown += [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return ", ".join(shown)
