"""The methods with which a script says what the server does, and helpers that all script methods share."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Iterator
from functools import lru_cache
from typing import Any, Callable, Optional, TypeVar, Union

from tcpclient_testing.engine.arguments import BytesLike, as_bytes, checked_seconds
from tcpclient_testing.engine.callables import in_context
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.origin import Origin, origin_of
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.sending import Disconnect, ResetStep, SendBytes, SendEof
from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING, UNSET, timing_of

__all__ = ["ActionMethods", "Source", "checked_ending"]

__unittest = True

T = TypeVar("T")
#: What may be sent: bytes, or a callable (or coroutine function) that returns them when the step's turn comes.
Source = Union[BytesLike, Callable[[Any], Union[BytesLike, Awaitable[BytesLike]]]]


def _check_framed(where: str, framing: Framing, payload: bytes) -> None:
    """Raise `ValueError` if `payload` can't be framed: here, where the script is written."""
    try:
        framing.encode(payload)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


@lru_cache(maxsize=64)
def _line_framing(ending: bytes) -> Framing:
    """Return the framing of lines with this ending: they all share it, as it never changes."""
    from tcpclient_testing.engine.framing.delimited import Delimited
    return Delimited(ending, label="a line")


def checked_ending(where: str, ending: Any) -> bytes:
    """Return the ending of lines as bytes; raise `TypeError` if it isn't bytes, `ValueError` if it is empty."""
    checked = as_bytes(ending, where)
    if not checked:
        raise ValueError(f"{where} is empty; lines would never end")
    return checked


class ActionMethods:
    """The steps that the server does itself; they can be written on a server and on a connection."""

    def _add(self, step: Step[Any]) -> None:
        """Append the step to the script."""
        raise NotImplementedError

    def _default_framing(self) -> Framing:
        """Return the framing for `expect_frame` and `send_frame` without ``framing=``."""
        raise NotImplementedError

    def _default_ending(self) -> bytes:
        """Return the ending for `expect_line` and `send_line` without ``ending=``."""
        raise NotImplementedError

    def _server_context(self, context: Any) -> Any:
        """Return the TLS context for ``start_tls(context)``."""
        raise NotImplementedError

    def send_bytes(self, data: Union[Source, Iterator[BytesLike]], *, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None, label: Optional[str] = None) -> Step[None]:
        """Send `data`.

        `data` may be a callable or a coroutine function. When the step's turn comes, it is called with the result of
        the connection's last satisfied expectation, and returns the bytes. The step is satisfied once the operating
        system has taken the last byte.

        `data` may also be an iterator of chunks. It is asked for the next ones when the client has taken the last ones,
        and need not end: let an `expect_reset` or an ``expect_disconnect(unread=True)`` follow, which say that the
        client hangs up.

        Raises `TypeError` if `data` is none of these.
        """
        given: Any = data
        source = given if type(given) is bytes else \
            in_context(given) if callable(given) or hasattr(given, "__next__") else as_bytes(given, "send_bytes(data)")
        timing = DEFAULT_TIMING if timeout is UNSET and within is None else timing_of("send_bytes", timeout, within)
        step = SendBytes("send_bytes", source, None, origin_of(sys._getframe(1), label), timing)
        self._add(step)
        return step

    def send_line(self, line: Source, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                  within: Optional[float] = None, label: Optional[str] = None) -> Step[None]:
        """Send `line` (or what the callable `line` returns) and its ending.

        `ending` is the server's by default. A callable is called as for `send_bytes`. Raises `ValueError` if `line`
        can't be framed so.
        """
        framing = self._lines("send_line", ending)
        return self._send("send_line", "send_line(line)", line, framing, timeout, within,
                          origin_of(sys._getframe(1), label))

    def send_frame(self, payload: Source, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None, label: Optional[str] = None) -> Step[None]:
        """Send a frame with `payload` (or what the callable `payload` returns).

        `framing` is the server's by default. A callable is called as for `send_bytes`. Raises `ValueError` if `payload`
        can't be framed.
        """
        checked = self._framing("send_frame", framing)
        return self._send("send_frame", "send_frame(payload)", payload, checked, timeout, within,
                          origin_of(sys._getframe(1), label))

    def send_eof(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                 label: Optional[str] = None) -> Step[None]:
        """Half-close: the client reads an end of stream, and may go on sending (shutdown(2))."""
        return self._append(SendEof(origin_of(sys._getframe(1), label), timing_of("send_eof", timeout, within)))

    def disconnect(self, *, close_notify: bool = True, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None, label: Optional[str] = None) -> Step[None]:
        """Close: deliver everything, then send a FIN. What the client still sends is read, but not judged.

        Only `expect_disconnect` or `expect_reset` may follow on this connection. Write one of them to check the
        client's own close.

        Over TLS the stream ends with a close_notify (RFC 8446, 6.1). ``close_notify=False`` sends only the FIN, as a
        server that crashes does, or an attacker who cuts the reply short: a client that can't tell where the reply ends
        must not take it for complete. Without TLS that is a `ScriptError`.
        """
        return self._append(Disconnect(origin_of(sys._getframe(1), label), timing_of("disconnect", timeout, within),
                                       close_notify=bool(close_notify)))

    def reset(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
              label: Optional[str] = None) -> Step[None]:
        """Reset the connection, once the client's system has taken what was sent before.

        The client reads that data, then gets ECONNRESET. Over TLS, some blocking clients (`ssl.SSLSocket`) read an end
        of stream (``b""``) instead: those on Python 3.10, 3.11.0 to 3.11.8 and 3.12.0 to 3.12.2 with OpenSSL 3, unless
        they were made with ``suppress_ragged_eofs=False`` (https://github.com/python/cpython/issues/115627).
        """
        return self._append(ResetStep(origin_of(sys._getframe(1), label), timing_of("reset", timeout, within)))

    def delay(self, seconds: float, *, label: Optional[str] = None) -> Step[None]:
        """Wait for `seconds` seconds before the next step."""
        duration = checked_seconds("delay(seconds)", seconds)
        if duration is None:
            raise TypeError("delay(seconds) is a number of seconds")
        from tcpclient_testing.engine.steps.waiting import Delay
        return self._append(Delay(duration, origin_of(sys._getframe(1), label)))

    def hold_until(self, event: Any, *, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None, label: Optional[str] = None) -> Step[None]:
        """Wait for `event`: until an `asyncio.Event` or a `threading.Event` is set, or until another step is satisfied.

        Raises `TypeError` if `event` is none of these.
        """
        if not isinstance(event, Step) and not (callable(getattr(event, "is_set", None))
                                                and callable(getattr(event, "wait", None))):
            raise TypeError(f"hold_until(event) is an asyncio.Event, a threading.Event or a step, "
                            f"not {type(event).__name__}: {event!r}")
        from tcpclient_testing.engine.steps.waiting import HoldUntil
        return self._append(HoldUntil(event, origin_of(sys._getframe(1), label),
                                      timing_of("hold_until", timeout, within)))

    def start_tls(self, context: Any = True, *, timeout: Optional[float] = UNSET,
                  within: Optional[float] = None, label: Optional[str] = None) -> Step[None]:
        """Upgrade the connection to TLS; the client begins the handshake (STARTTLS, RFC 3207).

        `context` is one of these:

        - an `ssl.SSLContext` of a server;
        - the name of a shipped certificate, or the path of another one;
        - True for the throwaway certificate that comes with the package (see `tcpclient_testing.tls`).

        The step is satisfied when the handshake has ended. A handshake that fails is a failure, unless
        `expect_tls_failure` follows.

        The go-ahead is what the script sends last before this step. Bytes that the client sends in clear before the
        go-ahead are a failure. The server looks for them before it sends the go-ahead: see the option
        `pipelining_grace`. A client that is slower than that is not caught, and none is if the go-ahead is sent before
        this step is written.
        """
        from tcpclient_testing.engine.steps.starttls import StartTLSStep
        return self._append(StartTLSStep(self._server_context(context), origin_of(sys._getframe(1), label),
                                         timing_of("start_tls", timeout, within)))

    def pause_reading(self, *, label: Optional[str] = None) -> Step[None]:
        """Stop reading from the client, so that the client's writes block in the end.

        The server does not see the client close, either. Until `resume_reading`, only what had come before can satisfy
        an expectation. Write `start_tls` after `resume_reading`.
        """
        from tcpclient_testing.engine.steps.waiting import PauseReadingStep
        return self._append(PauseReadingStep(origin_of(sys._getframe(1), label), DEFAULT_TIMING))

    def resume_reading(self, *, label: Optional[str] = None) -> Step[None]:
        """Read from the client again, after `pause_reading`."""
        from tcpclient_testing.engine.steps.waiting import ResumeReadingStep
        return self._append(ResumeReadingStep(origin_of(sys._getframe(1), label), DEFAULT_TIMING))

    # What the methods above share.

    def _append_action(self, step: Step[None]) -> Step[None]:
        return self._append(step)

    def _append(self, step: Step[T]) -> Step[T]:
        self._add(step)
        return step

    def _send(self, method: str, where: str, source: Source, framing: Framing, timeout: Any, within: Any,
              origin: Origin) -> Step[None]:
        if callable(source):
            source = in_context(source)
        else:
            source = as_bytes(source, where)
            _check_framed(where, framing, source)
        timing = DEFAULT_TIMING if timeout is UNSET and within is None else timing_of(method, timeout, within)
        return self._append(SendBytes(method, source, framing.encode, origin, timing))

    def _framing(self, method: str, framing: Optional[Framing]) -> Framing:
        if framing is None:
            return self._default_framing()
        if not isinstance(framing, Framing):
            raise TypeError(f"{method}(framing=...) is a Framing such as LengthPrefixed(4), "
                            f"not {type(framing).__name__}: {framing!r}")
        return framing

    def _lines(self, method: str, ending: Optional[BytesLike]) -> Framing:
        return _line_framing(self._default_ending() if ending is None
                             else checked_ending(f"{method}(ending=...)", ending))
