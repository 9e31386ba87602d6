"""Expectations: the steps that the client has to do.

Expectations of messages pass the stream through a framing's reader to a matcher's judge, piece by piece. So the first
byte that can't be right is noticed when it arrives. Expectations of the connection itself check that the client
connected, or how its stream ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from .commands import Close, WatchReset
from .framing import FixedLength, Framing
from .matchers import Exactly, Match, Matcher, anything
from .message import Message
from .mismatches import Mismatch
from .origin import Origin
from .steps import DEFAULT_TIMING, DONE, WAITING, Lasting, Outcome, Step, Timing
from .wording import counted, exception_text, seconds, shorten

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["ExpectBytes", "ExpectBytesTimed", "ExpectConnect", "ExpectDisconnect", "ExpectEof", "ExpectMessage",
           "ExpectReset", "ExpectSilence", "lateness"]

__unittest = True

T = TypeVar("T")


def _excess(what: str, conversation: Conversation) -> Mismatch:
    """Say that the client sent bytes instead of doing what was expected (`what`)."""
    waiting = conversation.unclaimed()
    return Mismatch(f"expected {what}, got {counted(len(waiting), 'byte')}: {shorten(waiting)}", offset=0)


def lateness(duration: float, silent: bool) -> str:
    """Say how long something took (seconds): without any progress if `silent`, else in all."""
    return f"for {seconds(duration)}" if silent else f"within {seconds(duration)}"


# The client's time begins before the server's: for example with a FIN that has not arrived yet. So the client may
# connect earlier than `after` says: by so many seconds, but at most by a tenth of `after`.
_LENIENCE = 0.05


class ExpectConnect(Step[T]):
    """`expect_connect()`: the client connects. Its result is the connection."""

    __slots__ = ()
    method = "expect_connect"

    def arguments(self) -> str:
        timing = self.timing
        shown = (("timeout", timing.timeout if not timing.default else None), ("after", timing.after),
                 ("within", timing.within))
        return ", ".join(f"{name}={value:g}" for name, value in shown if value is not None)

    def proceed(self, conversation: Conversation) -> Outcome:
        if not conversation.accepted:
            return WAITING
        waited = max(conversation.accepted_at - conversation.began, 0.0)
        after = self.timing.after
        _, within = self.timing.limits(conversation.session)
        if after is not None and waited < after - min(_LENIENCE, after / 10):
            return Mismatch(f"expected the client to connect after {seconds(after)} at the earliest, it connected "
                            f"after {seconds(waited)}")
        if within is not None and waited > within:
            return self.overdue(conversation, within, False)
        return WAITING if conversation.handshaking else DONE

    def survives(self, conversation: Conversation) -> bool:
        return conversation.failure_may_be_wanted(self)

    def written(self) -> T:
        return self.conversation.handle  # type: ignore[no-any-return]

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        if conversation.accepted:
            from .handshake import unfinished_handshake
            return unfinished_handshake(conversation, duration, silent)
        session = conversation.session
        turned_away = session.turned_away
        what = "the client did not connect again" if session.accepted or turned_away else "no client connected"
        why = f" after fail_connections() had reset {counted(turned_away, 'connection')}" if turned_away else ""
        return Mismatch(f"{what} to {session.host.listening_at()} {lateness(duration, silent)}{why}")


class ExpectBytes(Step[bytes]):
    """`expect_bytes(data)`: the client sends exactly these bytes next, in any number of pieces.

    It has no reader and no judge of its own: a conversation compares a run of such steps as one (`ExactRun`). A script
    may have some hundred thousand of them, so each has as few attributes as possible. A step with its own time-out is
    of another class, `ExpectBytesTimed`.
    """

    __slots__ = ("data",)
    method = "expect_bytes"
    reads = True
    free = True
    timing = DEFAULT_TIMING

    def __init__(self, data: bytes, origin: Origin) -> None:
        self.data = data
        self.origin = origin

    def arguments(self) -> str:
        return shorten(self.data)

    def written(self) -> bytes:
        return self.data

    def message(self) -> Message:
        """Begin to read the bytes as a message, for use when they are one of several candidates."""
        return Message(FixedLength(len(self.data)), Exactly(self.data))

    def proceed(self, conversation: Conversation) -> Outcome:
        return conversation.exact.proceed(conversation)

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        count = conversation.exact.received_of(self, conversation)
        what = f"expected {counted(len(self.data), 'byte')} {shorten(self.data)}"
        if not count:
            return Mismatch(f"{what}, nothing received {lateness(duration, silent)}")
        only = f"got only {count} ({shorten(self.data[:count])})"
        return Mismatch(f"{what}, {only}" + (f", then nothing {lateness(duration, True)}" if silent
                                             else f" {lateness(duration, False)}"))

    def ended(self, conversation: Conversation, count: int) -> Mismatch:
        """Say that the client's stream ended after `count` bytes of these."""
        got = f"got {count} ({shorten(self.data[:count])})" if count else "got nothing"
        return Mismatch(f"expected {counted(len(self.data), 'byte')} {shorten(self.data)}, {got} before the client "
                        f"{conversation.ending()}")


class ExpectBytesTimed(ExpectBytes):
    """`expect_bytes(data, timeout=..., within=...)`. It is never joined with other steps."""

    __slots__ = ("timing",)

    def __init__(self, data: bytes, origin: Origin, timing: Timing) -> None:
        super().__init__(data, origin)
        self.timing = timing


class ExpectMessage(Step[T], Generic[T]):
    """A message that a matcher accepts: a frame, a line, bytes up to a separator, or a number of bytes."""

    __slots__ = ("method", "shown", "framing", "matcher", "reading")
    reads = True
    free = True

    def __init__(self, method: str, shown: str, framing: Union[Framing, Callable[[Any], Framing]],
                 matcher: Matcher[T], origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(origin, timing)
        self.method = method
        self.shown = shown
        self.framing = framing
        self.matcher = matcher
        self.reading: Optional[Message] = None

    def arguments(self) -> str:
        return self.shown

    def message(self) -> Message:
        """Begin to read the message. If there are other candidates, this is called repeatedly until it has come."""
        framing = self.framing
        if not isinstance(framing, Framing):
            # Call it only once, when it is the step's turn: a second call may return something else.
            self.framing = framing = framing(self.conversation.last_result())
        return Message(framing, self.matcher)

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        try:
            self.reading = self.message()
        except Exception as error:  # noqa: BLE001 - the test's callable: the report shows whatever it raises
            return CallableRaised(self, error)
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        reading = self.reading
        assert reading is not None
        pending = conversation.pending
        while True:
            used, outcome = reading.feed(pending[0] if pending else _NOTHING)
            if pending:
                conversation.consume(used)
            if outcome is not None:
                return self._finish(outcome)
            if not pending:
                break
        if not conversation.ended:
            return WAITING
        end = None if reading.reader.started else self.at_end(conversation)
        return self.ended(conversation, reading) if end is None else end

    def take(self, result: T) -> None:
        self.value = result

    def _finish(self, outcome: Union[Match[T], Mismatch]) -> Outcome:
        if isinstance(outcome, Mismatch):
            return outcome
        self.value = outcome.result
        self.reading = None
        return DONE

    def expected(self, reading: Message) -> str:
        """Say what is expected, as a text to put after "expected "."""
        what = reading.waiting_for()
        if self.matcher is anything:
            return what
        if type(self.matcher) is Exactly:
            return f"{what} that is {shorten(self.matcher.data)}"
        return f"{what}, {self.matcher!r}"

    def ended(self, conversation: Conversation, reading: Message) -> Mismatch:
        """Say that the client's stream ended before the message did."""
        return Mismatch(f"expected {self.expected(reading)}; {reading.progress()} before the client "
                        f"{conversation.ending()}")

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        reading = self.reading
        assert reading is not None
        so_far = reading.so_far()
        nothing = silent or not (so_far or reading.judge.received)
        late = f"{'nothing received' if nothing else 'not complete'} {lateness(duration, silent)}"
        verb = "is" if len(so_far) == 1 else "are"
        waiting = f"; {counted(len(so_far), 'byte')} {verb} waiting: {shorten(so_far)}" if so_far else ""
        return Mismatch(f"expected {self.expected(reading)}, {late}{waiting}")


_NOTHING = memoryview(b"")


class CallableRaised(Mismatch):
    """A callable in the script raised `exception`, or returned something that is not allowed."""

    __slots__ = ("exception",)

    def __init__(self, step: Step[Any], exception: BaseException) -> None:
        super().__init__(f"the callable of {step.method}() raised {exception_text(exception)}")
        self.exception = exception


class _ExpectEnding(Step[None]):
    """Base class: the client's stream ends in a certain way, and no byte comes before that."""

    __slots__ = ()
    what = "the client's stream to end"

    def written(self) -> None:
        return None

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        if conversation.draining:
            return Mismatch(f"expected {self.what}; it is still connected {seconds(duration)} after the server "
                            f"disconnected")
        return Mismatch(f"expected {self.what}; it is still connected and was silent for {seconds(duration)}" if silent
                        else f"expected {self.what} within {seconds(duration)}; it is still connected")


class ExpectEof(_ExpectEnding):
    """`expect_eof()`: the client half-closes; the server's side stays open.

    A reset may follow the half-close, for example if the client closes with unread data. Then the script has to end
    with an `expect_reset()`. If no step has been written after this one yet, `was_reset` records the reset, so that it
    can be judged later.
    """

    __slots__ = ("was_reset",)
    method = "expect_eof"
    what = "the client to end its stream"

    def __init__(self, origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(origin, timing)
        self.was_reset = False

    def proceed(self, conversation: Conversation) -> Outcome:
        if conversation.excess:
            return _excess(self.what, conversation)
        if conversation.reset:
            last = conversation.steps[-1]
            if not conversation.fin or not (last is self or last.method == "expect_reset"):
                return self.reset()
            self.was_reset = True
        return DONE if conversation.ended else WAITING

    def reset(self) -> Mismatch:
        """Say that the client reset the connection."""
        return Mismatch(f"expected {self.what}, it reset the connection")


class ExpectDisconnect(_ExpectEnding):
    """`expect_disconnect()`: the client closes; the server's side closes at once.

    `wait_closed` says whether a client that uses asyncio's streams has to await `wait_closed()` as well.

    Over TLS our side ends with a close_notify. A client that closes without reading it resets the connection (RFC 1122,
    4.2.2.13), although all it did was close. So once our close_notify has been sent, a reset counts as a close, too.
    """

    __slots__ = ("wait_closed",)
    method = "expect_disconnect"
    what = "the client to disconnect"

    def __init__(self, wait_closed: bool, origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(origin, timing)
        self.wait_closed = wait_closed

    def arguments(self) -> str:
        return "" if self.wait_closed else "wait_closed=False"

    def proceed(self, conversation: Conversation) -> Outcome:
        if conversation.excess:
            return _excess(self.what, conversation)
        if conversation.reset and not self._met_our_end(conversation):
            return Mismatch(f"expected {self.what}, it reset the connection")
        if not conversation.ended:
            return WAITING
        conversation.command(Close(conversation))
        return DONE

    @staticmethod
    def _met_our_end(conversation: Conversation) -> bool:
        """Whether the client may have left nothing unread but our close_notify."""
        tls = conversation.tls
        return conversation.draining and tls is not None and not tls.withheld


class ExpectReset(_ExpectEnding):
    """`expect_reset()`: the client resets the connection.

    A FIN is not a reset. But after an `expect_eof()` the client may still reset the connection, as long as the server
    has not ended its own stream (RFC 9293, 3.10.7.1).
    """

    __slots__ = ()
    method = "expect_reset"
    what = "the client to reset the connection"

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        if conversation.ended and not conversation.reset and self._may_come(conversation):
            conversation.command(WatchReset(conversation))
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        if conversation.excess:
            return _excess(self.what, conversation)
        if conversation.reset:
            return DONE
        if conversation.ended and not self._may_come(conversation):
            return Mismatch(f"expected {self.what}, it {conversation.ending()}")
        return WAITING

    @staticmethod
    def _may_come(conversation: Conversation) -> bool:
        """Whether the client, which has ended its stream as the script says, may still reset the connection."""
        ended = conversation.silenced or conversation.draining or conversation.cut_off
        return conversation.got_eof is not None and not (ended or conversation.closed)

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        if not conversation.ended:
            return super().overdue(conversation, duration, silent)
        return Mismatch(f"expected {self.what}; it {conversation.ending()}, and sent no reset "
                        f"{lateness(duration, silent)}")


class ExpectSilence(Lasting):
    """`expect_silence(seconds)`: the client sends nothing and stays connected for so many seconds."""

    __slots__ = ()
    method = "expect_silence"

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        paused = conversation.paused
        if paused is not None:  # within any_order(); elsewhere such a script is refused
            return Mismatch(f"expected silence for {seconds(self.duration)}, but the server can't observe it: "
                            f"reading has been paused since {paused} at {paused.lines()[0]}")
        return super().begin(conversation)

    def proceed(self, conversation: Conversation) -> Outcome:
        what = f"silence for {seconds(self.duration)}"
        if conversation.excess:
            return _excess(what, conversation)
        if conversation.ended and not self.over:
            return Mismatch(f"expected {what}, but the client {conversation.ending()}")
        return DONE if self.over else WAITING
