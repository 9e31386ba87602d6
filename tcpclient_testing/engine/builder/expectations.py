"""The script methods for what the client has to do: `expect_bytes`, `expect_line`, and so on.

`ScriptMethods` has all script methods: it inherits what the server does (`ActionMethods`), faults and network
conditions (`FaultMethods`), rules such as `allow` (`RuleMethods`), and `any_order` (`AnyOrderMethods`).

Each method checks its arguments, notes the line that called it, and passes a step to `_add`. Wrong arguments raise
there, where the script is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Callable, Optional, TypeVar, Union, overload

from tcpclient_testing.engine.arguments import BytesLike, as_bytes, as_count, checked_seconds
from tcpclient_testing.engine.callables import in_context
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.patterns import anything, as_matcher
from tcpclient_testing.engine.matching.reading import check_possible
from tcpclient_testing.engine.origin import Origin, origin_of
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.lifecycle import ExpectDisconnect, ExpectEof, ExpectReset, ExpectSilence
from tcpclient_testing.engine.steps.messages import ExpectBytes, ExpectBytesTimed, ExpectMessage
from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING, UNSET, timing_of
from tcpclient_testing.engine.wording import function_name, shorten

from .actions import ActionMethods
from .any_order import AnyOrderMethods
from .faults import FaultMethods
from .rules import RuleMethods

__all__ = ["ScriptMethods"]

__unittest = True

T = TypeVar("T")


def _message_bytes(where: str, data: Any) -> bytes:
    checked = as_bytes(data, where)
    if not checked:
        raise ValueError(f"{where} is empty; nothing would be expected")
    return checked


class ScriptMethods(ActionMethods, RuleMethods, AnyOrderMethods, FaultMethods):
    """The steps that can be written on a server and on a connection.

    Each method is an ordinary method, not a coroutine, and returns the `Step` at once.

    What no client could ever do raises where it is written:

    - `ValueError` for a message that its framing can't have: one of another length, or too long.
    - `ScriptError` for a step that may not follow the steps before it.

    The time limits of a step, in seconds, count from its turn on:

    - `timeout`: the step fails after this time without progress (None: never; by default, the server's time-out).
    - `within`: the step fails after this time in all.

    With only `within`, there is no limit on the time without progress. With both, both apply.

    Each step takes a `label`, a short text: reports show it beside the step, in their first line, too.
    """

    def expect_bytes(self, data: BytesLike, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]:
        """Expect exactly `data` next, in any number of pieces; the result is `data`.

        A wrong byte is a failure as soon as it arrives. Raises `TypeError` if `data` isn't bytes, `ValueError` if it is
        empty.
        """
        if type(data) is bytes and data and timeout is UNSET and within is None and label is None:
            step = ExpectBytes(data, origin_of(sys._getframe(1)))
            self._add(step)
            return step
        if type(data) is not bytes or not data:
            if isinstance(data, Matcher):
                raise TypeError(f"expect_bytes(data) is bytes, since {data!r} could not tell where the message ends: "
                                "give it to expect_line, expect_frame, expect_until or expect_exactly")
            data = _message_bytes("expect_bytes(data)", data)
        origin, timing = origin_of(sys._getframe(1), label), timing_of("expect_bytes", timeout, within)
        return self._append(ExpectBytes(data, origin) if timing is DEFAULT_TIMING
                            else ExpectBytesTimed(data, origin, timing))

    @overload
    def expect_line(self, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_line(self, line: BytesLike, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_line(self, line: Matcher[T], *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None, label: Optional[str] = None) -> Step[T]: ...

    def expect_line(self, line: Any = anything, *, ending: Optional[BytesLike] = None,
                    timeout: Optional[float] = UNSET, within: Optional[float] = None,
                    label: Optional[str] = None) -> Step[Any]:
        """Expect a line; the result is the line without its ending.

        `line` is the expected line without its ending, or a matcher. `ending` is the server's by default, and that is
        CR LF unless it was made with another. A line of more than 64 KiB is a failure.
        """
        matcher = as_matcher(line, "expect_line(line)")
        framing = self._lines("expect_line", ending)
        shown = None if type(line) is bytes and ending is None else _shown(line, ending=ending)
        return self._message("expect_line", shown, framing, matcher, timeout, within,
                             origin_of(sys._getframe(1), label))

    @overload
    def expect_until(self, separator: BytesLike, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_until(self, separator: BytesLike, matcher: BytesLike, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_until(self, separator: BytesLike, matcher: Matcher[T], *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[T]: ...

    def expect_until(self, separator: BytesLike, matcher: Any = anything, *, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[Any]:
        """Expect bytes that end with `separator`; the result is what comes before it.

        `matcher` is what is expected before it: bytes or a matcher. More than 64 KiB before it is a failure.
        """
        checked = as_matcher(matcher, "expect_until(matcher)")
        separator = _message_bytes("expect_until(separator)", separator)
        shown = shorten(separator) + ("" if matcher is anything else f", {_shown(matcher)}")
        from tcpclient_testing.engine.framing.delimited import Delimited

        return self._message("expect_until", shown, Delimited(separator), checked, timeout, within,
                             origin_of(sys._getframe(1), label))

    @overload
    def expect_exactly(self, n: Union[int, Callable[[Any], int]], *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_exactly(self, n: Union[int, Callable[[Any], int]], matcher: BytesLike, *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_exactly(self, n: Union[int, Callable[[Any], int]], matcher: Matcher[T], *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       label: Optional[str] = None) -> Step[T]: ...

    def expect_exactly(self, n: Union[int, Callable[[Any], int]], matcher: Any = anything, *, keep: bool = True,
                       timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       label: Optional[str] = None) -> Step[Any]:
        """Expect `n` bytes; the result is these bytes.

        `n` may be a callable, for a length that a header announced. When the step's turn comes, it is called with the
        result of the connection's last satisfied expectation, and returns the number of bytes. It may return 0, which
        is a message of no bytes.

        With ``keep=False`` the bytes are counted and discarded, and the result is their number. This takes no matcher
        (`TypeError`).

        Raises `TypeError` if `n` is neither a number nor a callable, `ValueError` if it is less than 1: nothing would
        be expected.
        """
        checked = as_matcher(matcher, "expect_exactly(matcher)")
        if not keep:
            if matcher is not anything:
                raise TypeError("expect_exactly(keep=False) discards the bytes, so it takes no matcher")
            from tcpclient_testing.engine.matching.counting import counted_only

            checked = counted_only
        shown = function_name(n) if callable(n) else repr(n)
        framing: Union[Framing, Callable[[Any], Framing]]
        if callable(n):
            length = in_context(n)

            def framing(last: Any) -> Framing:
                return FixedLength(as_count(length(last), "what it returned", 0))
        else:
            framing = FixedLength(as_count(n, "expect_exactly(n)", 1))
        shown += ("" if matcher is anything else f", {_shown(matcher)}") + ("" if keep else ", keep=False")
        return self._message("expect_exactly", shown, framing, checked, timeout, within,
                             origin_of(sys._getframe(1), label))

    @overload
    def expect_frame(self, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_frame(self, payload: BytesLike, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET,
                     within: Optional[float] = None, label: Optional[str] = None) -> Step[bytes]: ...
    @overload
    def expect_frame(self, payload: Matcher[T], *, framing: Optional[Framing] = None,
                     timeout: Optional[float] = UNSET, within: Optional[float] = None,
                     label: Optional[str] = None) -> Step[T]: ...

    def expect_frame(self, payload: Any = anything, *, framing: Optional[Framing] = None,
                     timeout: Optional[float] = UNSET, within: Optional[float] = None,
                     label: Optional[str] = None) -> Step[Any]:
        """Expect a frame; the result is its payload.

        `payload` is the expected payload, or a matcher. `framing` is the server's by default, and that is four bytes of
        length, most significant first, and then the payload, unless it was made with another. If bytes are expected,
        and the header announces another length than theirs, that is a failure at once.
        """
        matcher = as_matcher(payload, "expect_frame(payload)")
        shown = None if type(payload) is bytes and framing is None else _shown(payload, framing=framing)
        return self._message("expect_frame", shown, self._framing("expect_frame", framing), matcher, timeout, within,
                             origin_of(sys._getframe(1), label))

    def expect_each(self, messages: Iterable[Any], *, framing: Optional[Framing] = None,
                    ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                    within: Optional[float] = None, label: Optional[str] = None) -> Step[list[Any]]:
        r"""Expect each of `messages`, one after another, in any number of pieces; the result is the list of results.

        It is one step, for tests of many messages. A failure says which message it was, and shows those around it. ::

            server.expect_each([b"MULTI\r\n", b"INCR n\r\n", b"EXEC\r\n"])
            server.expect_each((b"INSERT %d" % i for i in range(1000)), ending=b"\n")     # lines

        Without `framing` and `ending`, each message is bytes, as in `expect_bytes`. With `ending`, each is a line
        without its ending, and with `framing` the payload of a frame: bytes or a matcher.

        `messages` is a sequence or an iterator. An iterator is asked for each message when its turn comes, in the
        server's thread if that has one, and may be endless. If it gives no message at all, the step is satisfied.

        `timeout` counts from the last progress, `within` from the step's turn on, for all messages together. What
        `allow` lets through may come between two messages.

        Raises `TypeError` if `messages` is one message, or holds anything but bytes and matchers, and `ValueError` if
        it is an empty sequence, or holds a message that can never come. If an iterator does that, the script fails.
        """
        from .each import each_step
        if framing is not None and ending is not None:
            raise TypeError("expect_each(framing=..., ending=...): each message is a frame or a line; give one of them")
        chosen: Optional[Framing] = None
        if ending is not None:
            chosen = self._lines("expect_each", ending)
        elif framing is not None:
            chosen = self._framing("expect_each", framing)
        shown = _shown(anything, framing=framing, ending=ending)
        return self._append(each_step(messages, chosen, f", {shown}" if shown else "",
                                      origin_of(sys._getframe(1), label), timing_of("expect_each", timeout, within)))

    def expect_eof(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                   label: Optional[str] = None) -> Step[None]:
        """Expect the client to half-close: to end its stream. The server's side stays open.

        No step that waits for bytes of the client may follow on this connection. A client that closes instead, with
        unread data, resets the connection. If the test wants that, end the script with `expect_reset`.
        """
        return self._append(ExpectEof(origin_of(sys._getframe(1), label), timing_of("expect_eof", timeout, within)))

    def expect_disconnect(self, *, wait_closed: bool = True, unread: bool = False, timeout: Optional[float] = UNSET,
                          within: Optional[float] = None, label: Optional[str] = None) -> Step[Any]:
        """Expect the client to close the connection; then the server closes its side at once. A reset is not a close.

        A client that closes with unread data, or is sent data afterwards, resets the connection. If the server sent
        data at about the time of the client's end of stream, the step is satisfied only when it is certain that the
        client did not reset the connection.

        Over TLS, after `disconnect`, a client that leaves only the server's close_notify unread has closed. If it left
        more unread, that is detected on Linux only, for clients on this machine, and for one second after `disconnect`.

        A client in this process that uses asyncio's streams must have called ``writer.close()``, have awaited
        ``writer.wait_closed()``, and have read all that the server sent. ``wait_closed=False`` requires only the close.

        With ``unread=True`` the client may close when it likes, in the middle of the sends before this step, too, and
        leave unread what it likes. Then a reset is a close, and the result is how many bytes it has taken at most. What
        belongs to no step (heartbeats, replies to allowed messages) may be left unread in any case.
        """
        return self._append(ExpectDisconnect(bool(wait_closed), origin_of(sys._getframe(1), label),
                                             timing_of("expect_disconnect", timeout, within), unread=bool(unread)))

    def expect_reset(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                     label: Optional[str] = None) -> Step[int]:
        """Expect the client to reset the connection (a RST, RFC 9293, 3.5.2), or to hang up while the server sends.

        The result is how many of the bytes that were sent the client has taken at most.

        A client resets the connection when it closes with unread data, for example. It may do so in the middle of the
        sends before this step. There, a close without a reset counts as well, since the server can send no more.
        Elsewhere an end of stream is not a reset. But after `expect_eof` the step waits for a reset, as long as the
        server has not ended its own stream. Once it has, no reset can come any more.
        """
        return self._append(ExpectReset(origin_of(sys._getframe(1), label), timing_of("expect_reset", timeout, within)))

    def expect_silence(self, seconds: float, *, label: Optional[str] = None) -> Step[None]:
        """Expect the client to send nothing and to stay connected for `seconds` seconds.

        It may not stand between `pause_reading` and `resume_reading` (`ScriptError`): there, the server sees nothing of
        the client.
        """
        duration = checked_seconds("expect_silence(seconds)", seconds, positive=True)
        if duration is None:
            raise TypeError("expect_silence(seconds) is a number of seconds")
        return self._append(ExpectSilence(duration, origin_of(sys._getframe(1), label)))

    def expect_tls_failure(self, *, by: str = "client", timeout: Optional[float] = UNSET,
                           within: Optional[float] = None, label: Optional[str] = None) -> Step[str]:
        """Expect the TLS handshake to fail because the client refuses it; the result is the reason.

        Write this right after `start_tls`, or after the `expect_connect` of a server with ``tls=``. No step may follow
        it on this connection.

        A client refuses if, once it has been sent the server's certificate, it does one of these:

        - It sends an alert. The reason is the alert's name, such as ``"unknown CA"`` (RFC 8446, 6.2).
        - It closes or resets the connection. asyncio's clients just close.
        - It finishes the handshake, and then disconnects without having sent one byte of data. Some clients (curl)
          check the certificate only after the handshake.

        A client that sends data has not refused.

        With ``by="server"`` the server has to refuse the client. It does so if its context requires a certificate and
        the client has none, or if they have no version of TLS in common. Raises `ValueError` for any other `by`.
        """
        from tcpclient_testing.engine.connection.tls_failure import CLIENT, SERVER
        from tcpclient_testing.engine.steps.starttls import ExpectTLSFailure
        if by not in (CLIENT, SERVER):
            raise ValueError(f"expect_tls_failure(by=...) is 'client' or 'server', not {by!r}")
        return self._append(ExpectTLSFailure(by, origin_of(sys._getframe(1), label),
                                             timing_of("expect_tls_failure", timeout, within)))

    def _message(self, method: str, shown: Optional[str], framing: Union[Framing, Callable[[Any], Framing]],
                 matcher: Matcher[Any], timeout: Any, within: Any, origin: Origin) -> Step[Any]:
        timing = DEFAULT_TIMING if timeout is UNSET and within is None else timing_of(method, timeout, within)
        if matcher is not anything and isinstance(framing, Framing):
            check_possible(method, shown, framing, matcher)
        step = ExpectMessage(method, shown, framing, matcher, origin, timing)
        self._add(step)
        return step


def _shown(matcher: Any, **options: Any) -> str:
    """Return the arguments as reports show them."""
    shown = [] if matcher is anything else [shorten(matcher) if isinstance(matcher, bytes) else repr(matcher)]
    shown += [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return ", ".join(shown)
