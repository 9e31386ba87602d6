"""The methods by which scripts say what the server does, and what they share with those of expectations (`script`)."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from .actions import (
    Delay,
    Disconnect,
    HoldUntil,
    PauseReadingStep,
    ResetStep,
    ResumeReadingStep,
    SendBytes,
    SendEof,
    StartTLSStep,
)
from .arguments import as_bytes, checked_seconds
from .framing import Framing
from .judging import BytesLike
from .origin import origin_of
from .steps import DEFAULT_TIMING, Step
from .timing import UNSET, timing_of

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ActionMethods", "Source", "checked_ending"]

__unittest = True

T = TypeVar("T")
#: What may be sent: bytes, or a callable (a coroutine function too) that gives them when it is the step's turn.
Source = Union[BytesLike, Callable[[Any], Union[BytesLike, Awaitable[BytesLike]]]]


def _check_framed(where: str, framing: Framing, payload: bytes) -> None:
    """Raise `ValueError` for what can't be framed: here, where the script is written."""
    try:
        framing.encode(payload)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def checked_ending(where: str, ending: Any) -> bytes:
    """Return the ending of lines as bytes; raise `TypeError` for what isn't bytes, `ValueError` for nothing at all."""
    checked = as_bytes(ending, where)
    if not checked:
        raise ValueError(f"{where} is empty; lines would never end")
    return checked


class ActionMethods:
    """What the server does, on a server and on a connection."""

    def _add(self, step: Step[Any]) -> None:
        """Append the step to the script."""
        raise NotImplementedError

    def _default_framing(self) -> Framing:
        """The framing of `expect_frame` and `send_frame` where they name none."""
        raise NotImplementedError

    def _default_ending(self) -> bytes:
        """The ending of lines where `expect_line` and `send_line` name none."""
        raise NotImplementedError

    def _server_context(self, context: Any) -> Any:
        """The TLS context that `start_tls(context)` means."""
        raise NotImplementedError

    def send_bytes(self, data: Source, *, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None) -> Step[None]:
        """The server sends `data`.

        `data` may be a callable, or a coroutine function: it is called, when it is the step's turn, with the result of
        the connection's last satisfied expectation, and returns the bytes. The step is satisfied once the operating
        system has taken the last byte.
        """
        source = data if type(data) is bytes or callable(data) else as_bytes(data, "send_bytes(data)")
        return self._append(SendBytes("send_bytes", source, None, origin_of(sys._getframe(1)),
                                      timing_of("send_bytes", timeout, within)))

    def send_line(self, line: Source, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET,
                  within: Optional[float] = None) -> Step[None]:
        """The server sends `line` (or what the callable `line` returns) and its ending."""
        framing = self._lines("send_line", ending)
        return self._send("send_line", "send_line(line)", line, framing, timeout, within, sys._getframe(1))

    def send_frame(self, payload: Source, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None) -> Step[None]:
        """The server sends a frame with `payload` (or what the callable `payload` returns)."""
        checked = self._framing("send_frame", framing)
        return self._send("send_frame", "send_frame(payload)", payload, checked, timeout, within, sys._getframe(1))

    def send_eof(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[None]:
        """The server half-closes: the client reads an end of stream, and may go on sending (shutdown(2))."""
        return self._append(SendEof(origin_of(sys._getframe(1)), timing_of("send_eof", timeout, within)))

    def disconnect(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[None]:
        """The server closes: everything is delivered, then a FIN; what the client still sends is read, not judged.

        Only `expect_disconnect` or `expect_reset` may follow on this connection, for those who want the client's own
        close judged.
        """
        return self._append(Disconnect(origin_of(sys._getframe(1)), timing_of("disconnect", timeout, within)))

    def reset(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None) -> Step[None]:
        """The server resets the connection, once the client's system has taken what was sent before.

        The client reads that, then ECONNRESET. Over TLS, blocking clients (`ssl.SSLSocket`) on Python 3.10, 3.11.0 to
        3.11.8 and 3.12.0 to 3.12.2 with OpenSSL 3 read an end of stream instead, ``b""``, unless they were made with
        ``suppress_ragged_eofs=False`` (https://github.com/python/cpython/issues/115627).
        """
        return self._append(ResetStep(origin_of(sys._getframe(1)), timing_of("reset", timeout, within)))

    def delay(self, seconds: float) -> Step[None]:
        """The server waits for `seconds` seconds before the next step."""
        duration = checked_seconds("delay(seconds)", seconds)
        if duration is None:
            raise TypeError("delay(seconds) is a number of seconds")
        return self._append(Delay(duration, origin_of(sys._getframe(1))))

    def hold_until(self, event: Any, *, timeout: Optional[float] = UNSET,
                   within: Optional[float] = None) -> Step[None]:
        """The server waits until `event` is set: an `asyncio.Event`, a `threading.Event`, or another step's end."""
        if not isinstance(event, Step) and not (callable(getattr(event, "is_set", None))
                                                and callable(getattr(event, "wait", None))):
            raise TypeError(f"hold_until(event) is an asyncio.Event, a threading.Event or a step, "
                            f"not {type(event).__name__}: {event!r}")
        return self._append(HoldUntil(event, origin_of(sys._getframe(1)), timing_of("hold_until", timeout, within)))

    def start_tls(self, context: Any = True, *, timeout: Optional[float] = UNSET,
                  within: Optional[float] = None) -> Step[None]:
        """The server upgrades the connection to TLS; the client begins the handshake (STARTTLS, RFC 3207).

        `context` is an `ssl.SSLContext` of a server, the name of a shipped certificate or the path of another one, or
        True for the throwaway certificate that comes with the package (see `tcpclient_testing.tls`). The step is
        satisfied when the handshake has ended. Bytes that the client sent in clear before the go-ahead, which is what
        the script sends last before this step, are a failure (with ``expect_silence(0.05)`` before the go-ahead, a
        client that does not wait for it is found out for sure), and so is a handshake that comes to nothing, unless
        `expect_tls_failure` follows.
        """
        return self._append(StartTLSStep(self._server_context(context), origin_of(sys._getframe(1)),
                                         timing_of("start_tls", timeout, within)))

    def pause_reading(self) -> Step[None]:
        """The server takes nothing more from the client, so that the client's writes block in the end.

        Nor does it see the client close. Only what had come before can satisfy an expectation until `resume_reading`,
        and `start_tls` has to come after that.
        """
        return self._append(PauseReadingStep(origin_of(sys._getframe(1)), DEFAULT_TIMING))

    def resume_reading(self) -> Step[None]:
        """The server takes the client's bytes again."""
        return self._append(ResumeReadingStep(origin_of(sys._getframe(1)), DEFAULT_TIMING))

    # What the methods above share.

    def _append_action(self, step: Step[None]) -> Step[None]:
        return self._append(step)

    def _append(self, step: Step[T]) -> Step[T]:
        self._add(step)
        return step

    def _send(self, method: str, where: str, source: Source, framing: Framing, timeout: Any, within: Any,
              frame: FrameType) -> Step[None]:
        if not callable(source):
            source = as_bytes(source, where)
            _check_framed(where, framing, source)
        return self._append(SendBytes(method, source, framing.encode, origin_of(frame),
                                      timing_of(method, timeout, within)))

    def _framing(self, method: str, framing: Optional[Framing]) -> Framing:
        if framing is None:
            return self._default_framing()
        if not isinstance(framing, Framing):
            raise TypeError(f"{method}(framing=...) is a Framing such as LengthPrefixed(4), "
                            f"not {type(framing).__name__}: {framing!r}")
        return framing

    def _lines(self, method: str, ending: Optional[BytesLike]) -> Framing:
        from .delimited import Delimited

        return Delimited(self._default_ending() if ending is None
                         else checked_ending(f"{method}(ending=...)", ending), label="a line")
