"""Expectations of the connection itself: that the client connects, is silent, or ends its stream, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.commands import Close, WatchReset
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted, lateness, seconds, shorten

from .base import DEFAULT_TIMING, DONE, WAITING, Outcome, Step, TimedStep, Timing
from .messages import T

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["ExpectConnect", "ExpectDisconnect", "ExpectEof", "ExpectReset", "ExpectSilence"]

__unittest = True

# The client's time begins before the server's: for example with a FIN that has not arrived yet. So the client may
# connect earlier than `after` says: by so many seconds, but at most by a tenth of `after`.
_LENIENCE = 0.05


def _excess(what: str, conversation: Conversation) -> Mismatch:
    """Say that the client sent bytes instead of doing what was expected (`what`)."""
    waiting = conversation.unclaimed()
    return Mismatch(f"expected {what}, got {counted(len(waiting), 'byte')}: {shorten(waiting)}", received=waiting,
                    offset=0)


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
            from tcpclient_testing.engine.connection.tls_failure import unfinished_handshake
            return unfinished_handshake(conversation, duration, silent)
        session = conversation.session
        turned_away = session.turned_away
        what = "the client did not connect again" if session.accepted or turned_away else "no client connected"
        why = f" after fail_connections() had reset {counted(turned_away, 'connection')}" if turned_away else ""
        return Mismatch(f"{what} to {session.host.listening_at()} {lateness(duration, silent)}{why}")


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


class ExpectSilence(TimedStep):
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
