"""Expectations of the connection itself: that the client connects, is silent, or ends its stream, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Close, WatchReset
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import brief, counted, lateness, seconds

from .base import DONE, NOTHING, WAITING, Outcome, Step, TimedStep
from .messages import T
from .timing import DEFAULT_TIMING, Timing

if TYPE_CHECKING:
    from tcpclient_testing.engine.environment import Environment

    from .base import Context

__all__ = ["ExpectConnect", "ExpectDisconnect", "ExpectEof", "ExpectReset", "ExpectSilence", "failure_may_be_wanted",
           "nobody_left"]

__unittest = True

# The client's time begins before the server's: for example with a FIN that has not arrived yet. So the client may
# connect earlier than `after` says: by so many seconds, but at most by a tenth of `after`.
_LENIENCE = 0.05


def _excess(what: str, context: Context) -> Mismatch:
    """Say that the client sent bytes instead of doing what was expected (`what`)."""
    waiting = context.inbox.unclaimed()
    return Mismatch(f"expected {what}, got {counted(len(waiting), 'byte')}: {brief(waiting)}", received=waiting,
                    offset=0)


def failure_may_be_wanted(context: Context, step: Step[Any]) -> bool:
    """Whether the step after `step`, which begins TLS, expects that to fail, or is not written yet."""
    steps = context.script.steps
    return step.index + 1 == len(steps) or steps[step.index + 1].wants_tls_failure


class _NobodyLeft(Mismatch):
    __slots__ = ()
    of_absence = True


def nobody_left(environment: Environment) -> Mismatch:
    """The mismatch of a client that is missing when the test is over, and nothing can connect any more."""
    return _NobodyLeft(_not_connected(environment, "") + ", and nothing is left that could connect; "
                                                         "was a coroutine not awaited?")


def _not_connected(environment: Environment, lateness: str) -> str:
    """Say that no client has connected, where, and how late that is."""
    turned_away = environment.turned_away
    what = "the client did not connect again" if environment.accepted or turned_away else "no client connected"
    why = f" after fail_connections() had reset {counted(turned_away, 'connection')}" if turned_away else ""
    return f"{what} to {environment.host.listening_at()}{lateness}{why}"


class ExpectConnect(Step[T]):
    """`expect_connect()`: the client connects. Its result is the connection."""

    __slots__ = ()
    method = "expect_connect"
    connects = True

    def where_to(self, name: str) -> str:
        return f"not the connection: write expect_connect().connection.{name}, or await it first"

    def arguments(self) -> str:
        timing = self.timing
        shown = (("timeout", timing.timeout if not timing.default else None), ("after", timing.after),
                 ("within", timing.within))
        return ", ".join(f"{name}={value:g}" for name, value in shown if value is not None)

    def proceed(self, context: Context) -> Outcome:
        inbox = context.inbox
        if not inbox.accepted:
            return WAITING
        waited = max(inbox.accepted_at - context.began, 0.0)
        after = self.timing.after
        _, within = self.timing.limits(context.environment)
        if after is not None and waited < after - max(min(_LENIENCE, after / 10), context.environment.host.tick):
            return Mismatch(f"expected the client to connect after {seconds(after)} at the earliest, it connected "
                            f"after {seconds(waited)}")
        if within is not None and waited > within + context.environment.host.tick:
            return self.overdue(context, within, False)
        handshake = context.handshake
        return WAITING if handshake is not None and handshake.under_way else DONE

    def survives(self, context: Context) -> bool:
        return failure_may_be_wanted(context, self)

    @property
    def connection(self) -> T:
        """The connection, even before the client has connected."""
        return self.cursor.handle  # type: ignore[no-any-return]

    def written(self) -> T:
        return self.cursor.handle  # type: ignore[no-any-return]

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        if context.inbox.accepted:
            from tcpclient_testing.engine.connection.tls_failure import unfinished_handshake
            handshake = context.handshake
            return unfinished_handshake(0 if handshake is None else handshake.received, duration, silent)
        return Mismatch(_not_connected(context.environment, f" {lateness(duration, silent)}"))


def _reached(context: Context) -> int:
    """Return how many bytes have reached the client, which has ended the connection, at most."""
    outbox = context.outbox
    return outbox.total if outbox.reached is None else outbox.reached


class _ExpectEnding(Step[T]):
    """Base class: the client's stream ends in a certain way, and no byte comes before that."""

    __slots__ = ()
    what = "the client's stream to end"

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        if context.inbox.draining:
            return Mismatch(f"expected {self.what}; it is still connected {seconds(duration)} after the server "
                            f"disconnected")
        return Mismatch(f"expected {self.what}; it is still connected and was silent for {seconds(duration)}" if silent
                        else f"expected {self.what} within {seconds(duration)}; it is still connected")


class ExpectEof(_ExpectEnding[None]):
    """`expect_eof()`: the client half-closes; the server's side stays open.

    A reset may follow the half-close, for example if the client closes with unread data. Then the script has to end
    with an `expect_reset()`. If no step has been written after this one yet, `was_reset` records the reset, so that it
    can be judged later.
    """

    __slots__ = ("was_reset",)
    method = "expect_eof"
    ends_input = True
    needs_stream = True
    what = "the client to end its stream"

    def __init__(self, origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(origin, timing)
        self.was_reset = False

    def written(self) -> None:
        return None

    def proceed(self, context: Context) -> Outcome:
        inbox = context.inbox
        if inbox.pending and context.excess:
            return _excess(self.what, context)
        if inbox.reset:
            last = context.script.final
            if not inbox.fin or not (last is None or last is self or last.wants_reset):
                return self.reset()
            self.was_reset = True
        return DONE if inbox.ended else WAITING

    def unmet(self, context: Context) -> Optional[Mismatch]:
        last = context.script.final
        return self.reset() if self.was_reset and last is not None and not last.wants_reset else None

    def reset(self) -> Mismatch:
        """Say that the client reset the connection."""
        return Mismatch(f"expected {self.what}, but it reset the connection")


class ExpectDisconnect(_ExpectEnding[Optional[int]]):
    """`expect_disconnect()`: the client closes; the server's side closes at once.

    `wait_closed` says whether a client that uses asyncio's streams has to await `wait_closed()` as well. With `unread`
    it may leave something unread, so that a reset counts as a close. The result is then at most how many bytes it took.

    A client that closes with data unread resets the connection (RFC 1122, 4.2.2.13). A reset counts as a close, too, if
    the client need not have read what was sent last:

    - over TLS, the close_notify that ends our side
    - a heartbeat, or the reply to an allowed message
    """

    __slots__ = ("wait_closed", "unread")
    method = "expect_disconnect"
    answers_end = True
    followers = NOTHING
    what = "the client to disconnect"

    def __init__(self, wait_closed: bool, origin: Origin, timing: Timing = DEFAULT_TIMING, *,
                 unread: bool = False) -> None:
        super().__init__(origin, timing)
        self.wait_closed = wait_closed
        self.unread = unread

    def arguments(self) -> str:
        return ", ".join((["unread=True"] if self.unread else []) + ([] if self.wait_closed else ["wait_closed=False"]))

    @property
    def accepts_hang_up(self) -> bool:  # type: ignore[override] # a trait that depends on the step
        return self.unread

    def written(self) -> Optional[int]:
        return self.value if self.unread else None

    def proceed(self, context: Context) -> Outcome:
        inbox = context.inbox
        if inbox.pending and context.excess:
            return _excess(self.what, context)
        if inbox.reset and not (self.unread or context.outbox.followed or self._met_our_end(context)):
            return Mismatch(f"expected {self.what}, but it reset the connection")
        if not inbox.ended:
            return WAITING
        self.value = _reached(context)
        context.environment.commands.append(Close(context.number))
        return DONE

    @staticmethod
    def _met_our_end(context: Context) -> bool:
        """Whether the client may have left nothing unread but our close_notify."""
        handshake = context.handshake
        return (context.inbox.draining or context.outbox.ended) and handshake is not None and not handshake.withheld


class ExpectReset(_ExpectEnding[int]):
    """`expect_reset()`: the client resets the connection, or is gone while the server has more to send.

    The result is at most how many of the bytes that were sent the client has taken.

    A FIN is not a reset. But after an `expect_eof()` the client may still reset the connection, as long as the server
    has not ended its own stream (RFC 9293, 3.10.7.1).
    """

    __slots__ = ()
    method = "expect_reset"
    answers_end = True
    wants_reset = True
    accepts_hang_up = True
    followers = NOTHING
    what = "the client to reset the connection"

    def begin(self, context: Context) -> Optional[Mismatch]:
        inbox = context.inbox
        if inbox.ended and not inbox.hung_up and self._may_come(context):
            context.environment.commands.append(WatchReset(context.number))
        return None

    def proceed(self, context: Context) -> Outcome:
        inbox = context.inbox
        if inbox.pending and context.excess:
            return _excess(self.what, context)
        if inbox.hung_up:
            self.value = _reached(context)
            return DONE
        if inbox.ended and not self._may_come(context):
            return Mismatch(f"expected {self.what}, but it {context.ending()}")
        return WAITING

    @staticmethod
    def _may_come(context: Context) -> bool:
        """Whether the client, which has ended its stream as the script says, may still reset the connection."""
        inbox, outbox = context.inbox, context.outbox
        ended = outbox.ended or inbox.draining or outbox.cut_off
        return context.script.input_ended is not None and not (ended or inbox.closed)

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        if not context.inbox.ended:
            return super().overdue(context, duration, silent)
        return Mismatch(f"expected {self.what}; it {context.ending()}, and sent no reset "
                        f"{lateness(duration, silent)}")


class ExpectSilence(TimedStep):
    """`expect_silence(seconds)`: the client sends nothing and stays connected for so many seconds."""

    __slots__ = ()
    method = "expect_silence"
    needs_stream = True
    needs_sight = ("can't see whether the client is silent: write resume_reading() before it, or use delay() if only "
                   "the time matters")

    def begin(self, context: Context) -> Optional[Mismatch]:
        paused = context.inbox.paused
        if paused is not None:  # within any_order(); elsewhere such a script is refused
            return Mismatch(f"expected silence for {seconds(self.duration)}, but the server can't observe it: "
                            f"reading has been paused since {paused} at {paused.lines()[0]}")
        return super().begin(context)

    def proceed(self, context: Context) -> Outcome:
        what = f"silence for {seconds(self.duration)}"
        if context.inbox.pending and context.excess:
            return _excess(what, context)
        if context.inbox.ended and not self.over:
            return Mismatch(f"expected {what}, but the client {context.ending()}")
        return DONE if self.over else WAITING
