"""How a client's stream ended: properly, or by a reset; and what follows for the connection.

    open --ended--> in doubt --the result is known--> told to the engine [--watch_reset--> watched]
            `------the result is known at once---------^

While it is in doubt, the engine is told nothing of the end. `ResetCheck` finds out, and `ResetWatch` sees a reset that
comes later. A client that is gone while the server has more to send has hung up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Optional

# Here, and not where it is used: there may be no descriptor left to load a module when a client ends its stream.
from .client_resets import ResetCheck, ResetWatch

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["ClientEnd"]

__unittest = True


class ClientEnd:
    """The end of the client's stream on one connection."""

    __slots__ = ("_link", "_ended", "_close_notify", "_check", "_watch")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ended = self._close_notify = False
        self._check: Optional[ResetCheck] = None
        self._watch: Optional[ResetWatch] = None

    @property
    def in_doubt(self) -> bool:
        """Whether the client's stream has ended, and it is not known yet whether that was a reset."""
        return self._check is not None and self._check.waiting

    def ended(self, how: str, close_notify: bool = False) -> bool:
        """The client has ended its stream. Return whether our side stays open, as `eof_received()` does.

        Over TLS a stream can end twice, by close_notify and by FIN. `how` says which it was; only the first end counts.
        """
        link = self._link
        if self._ended:
            return not link.draining or self.in_doubt
        self._ended, self._close_notify = True, close_notify
        link.note(how)
        if link.sends_script:
            link.script_sent()
        if self.judge(self._tell_end):
            return True
        if link.draining:
            return False
        return link.transport is not None and link.transport.can_write_eof()

    def judge(self, then: Callable[[bool], None]) -> bool:
        """Find out whether the client, whose stream has ended, reset the connection with the script's bytes unread.

        Call `then` with the answer. Return True if the answer is not known yet: then `then` is called later.
        """
        link = self._link
        known: Optional[bool] = False
        if link.script_bytes_end and not link.over and not link.conversation.outbox.cut_off:
            if self._check is None:
                link.when_lost(self.cancel)
            self._check = ResetCheck(link)
            known = self._check.known()
            if known is None:
                self._check.wait(then)
                return True
        then(bool(known))
        return False

    def _tell_end(self, reset: bool) -> None:
        link = self._link
        if reset:
            self.found_reset()
            link.conversation.was_reset(link.loop.time(), after_fin=True, sent=link.written)
        elif link.shaped and link.sends_script and not link.conversation.outbox.cut_off:
            self._ended_early()
        else:
            link.conversation.half_closed(link.loop.time(), close_notify=self._close_notify, sent=link.written)
        link.context.perform()
        if link.draining and link.transport is not None:
            link.transport.close()

    def _ended_early(self) -> None:
        """The client has ended its stream, while network conditions hold back what is sent. Look whether it is gone."""
        from .hang_up import HangUpWatch, is_gone
        link = self._link
        if link.transport is not None and is_gone(link):
            self._hung_up()
        else:
            link.conversation.half_closed(link.loop.time(), close_notify=self._close_notify, sent=link.written)
            if not link.over:
                HangUpWatch(link, self._hung_up)

    def _hung_up(self) -> None:
        """The client has closed its socket, while the server has more to send: give up the connection."""
        link = self._link
        link.note("closed by the client")
        link.mark_closed()
        if link.transport is not None:
            link.transport.abort()
        link.conversation.hung_up(link.loop.time(), sent=link.written)
        link.context.perform()

    def found_reset(self) -> None:
        """Note that the end of the client's stream was a reset, and abort the transport, which has not noticed it."""
        link = self._link
        link.note("reset by the client")
        link.mark_closed()
        if link.transport is not None:
            link.transport.abort()

    def watch_reset(self) -> None:
        """The client's stream has ended. Watch for the reset that the script expects, and report it to the engine."""
        link = self._link
        if link.transport is not None and not link.over and not link.transport.is_closing():
            link.when_lost(self.cancel)
            self._watch = ResetWatch(link, link.transport, self._watched)

    def _watched(self, reset: bool) -> None:
        """The client has reset the connection after the end of its stream, or has closed it without a reset."""
        link = self._link
        if reset:
            self.found_reset()
            link.conversation.was_reset(link.loop.time(), sent=link.written)
        else:
            link.close()
            link.conversation.half_closed(link.loop.time(), close_notify=self._close_notify, sent=link.written)
        link.context.perform()

    def cancel(self) -> None:
        """Find out nothing more: the connection is lost."""
        if self._check is not None:
            self._check.cancel()
        if self._watch is not None:
            self._watch.cancel()
