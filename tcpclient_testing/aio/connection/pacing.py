"""Sends under network conditions: chunk after chunk, each held until the client has taken the previous one.

    idle --pump--> held --the client has taken the last chunk--> scheduled --due--> written --more--> held
                                                                                       `--all written--> idle

When the conditions end, what follows is held back once, too. Otherwise the client could read it together with the last
chunk, or with parts of it.

No chunk is held for ever. If the client doesn't read, the next chunk is sent after `BOUND` seconds, and the transcript
says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Callable, Optional

from tcpclient_testing.engine.wording import counted
from tcpclient_testing.network.shaper import Shaper

from .delivery import DeliveryWait

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["BOUND", "Pacer"]

__unittest = True

#: After so many seconds (of the loop's clock), send a chunk even if the client hasn't taken the previous one.
BOUND = 1.0


class Pacer:
    """Sends to one client under network conditions.

    - `achieved` collects the offsets in the outgoing stream at which the client certainly had taken all earlier bytes
      (see `Sending.splits`).
    - `write` writes a chunk, and returns whether the operating system has taken it whole. If not, `pump` is called when
      it has.
    - `flushed` is called when everything has been taken.
    - `retired` is called when the conditions have ended, and what was held back may be sent.
    """

    __slots__ = ("_link", "_shaper", "_delivery", "_timer", "_untaken", "_chunk", "_achieved", "_retiring", "_write",
                 "_flushed", "_retired")

    def __init__(self, link: Link, shaper: Shaper, achieved: list[int], write: Callable[[bytes], bool],
                 flushed: Callable[[], None], retired: Callable[[], None]) -> None:
        self._link = link
        self._shaper = shaper
        self._delivery = DeliveryWait(link, link.context.probe())
        self._timer: Optional[asyncio.Handle] = None
        self._untaken = link.written > 0
        self._chunk = b""
        self._achieved = achieved
        self._retiring = False
        self._write = write
        self._flushed = flushed
        self._retired = retired

    @property
    def busy(self) -> bool:
        """Whether the next chunk waits for its time, or for the client to take the previous chunk."""
        return self._timer is not None or self._delivery.waiting

    def pump(self, outgoing: Optional[deque[memoryview]]) -> None:
        """Take over what is `outgoing`. Start to send it, unless sending is under way."""
        link = self._link
        if self._retiring:
            if outgoing and not (self.busy or link.lost):
                self._proceed()
            return
        while outgoing:
            self._shaper.give(outgoing.popleft())
        if not (self.busy or link.paused or link.lost):
            if len(self._shaper):
                self._proceed()
            else:
                self._flushed()  # the operating system has taken the rest of the last chunk

    def retire(self) -> bool:
        """End the conditions: hold back what comes next until the client has taken the last chunk.

        Return False if nothing has to be held back: then this pacer is not needed any more.
        """
        self._retiring = self._untaken
        return self._untaken

    def cancel(self) -> None:
        """Send nothing more."""
        self._delivery.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _proceed(self) -> None:
        if self._untaken:
            self._delivery.wait(BOUND, self._released)
        else:
            self._schedule()

    def _released(self, taken: bool) -> None:
        link = self._link
        if link.over:
            return
        self._untaken = False
        if taken:
            self._achieved.append(link.written)
        else:
            link.note(f"the client has not read all of the first {counted(link.written, 'byte')} after {BOUND:g} s: "
                      "the next chunk goes out, and may be read together with what is there")
        if self._retiring:
            self._retired()
        else:
            self._schedule()
        link.context.perform()

    def _schedule(self) -> None:
        now = self._link.loop.time()
        found = self._shaper.next(now)
        assert found is not None
        due, self._chunk = found
        if due > now:
            self._timer = self._link.loop.call_at(due, self._fire)
        else:
            self._send()

    def _fire(self) -> None:
        self._timer = None
        self._send()
        self._link.context.perform()

    def _send(self) -> None:
        link, chunk = self._link, self._chunk
        if link.over or link.transport is None:
            return
        self._untaken = True
        if not self._write(chunk) or (link.broken and len(self._shaper)):
            return
        if len(self._shaper):
            link.conversation.progressed(link.loop.time(), len(chunk))
            self._proceed()
        else:
            self._flushed()
