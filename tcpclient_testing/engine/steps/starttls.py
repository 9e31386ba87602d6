"""The steps of TLS: `start_tls()`, which begins it in mid-conversation, and `expect_tls_failure()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Close
from tcpclient_testing.engine.connection.tls_failure import CLIENT
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted, seconds, shorten

from .base import DONE, WAITING, Outcome, Step, Timing
from .sending import Action

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["StartTLSStep", "ExpectTLSFailure"]

__unittest = True


class StartTLSStep(Action):
    """`start_tls(context)`: from here on both sides speak TLS; the client begins the handshake.

    Clear text that came before the server was ready for TLS is a mismatch, and is never fed to TLS. Otherwise it could
    later be taken for data that TLS has protected (STARTTLS injection, CVE-2011-0411).
    """

    __slots__ = ("context", "begun")
    method = "start_tls"

    def __init__(self, context: Any, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.context = context
        self.begun = False

    def _upgrade(self, conversation: Conversation) -> Optional[Mismatch]:
        if conversation.paused is not None:  # only any_order() leads here; else the script was refused
            from .waiting import paused_text
            return Mismatch(f"start_tls() can't be done: {paused_text(conversation)} and sees nothing of the client's "
                            "TLS handshake")
        if conversation.pending and not self._go_ahead_was_first(conversation):
            early = conversation.unclaimed()
            return Mismatch(f"the client sent {counted(len(early), 'byte')} in clear before the server was ready for "
                            f"TLS: {shorten(early)}", offset=0)
        if conversation.ended:
            return Mismatch(f"the client {conversation.ending()} before the TLS handshake")
        conversation.begin_tls(self.context)
        return None

    def _go_ahead_was_first(self, conversation: Conversation) -> bool:
        """Return whether all pending bytes came after the go-ahead, so that they begin the TLS handshake.

        The go-ahead is the send before this step, with no expectation in between. The client may begin its handshake
        before this step: if the test awaits the go-ahead and then writes `start_tls()`, or if a `delay()` comes first.
        """
        before = self.index - 1
        while before and not (conversation.steps[before].sends or conversation.steps[before].is_expectation):
            before -= 1
        return conversation.steps[before].sends and conversation.caught_up

    def survives(self, conversation: Conversation) -> bool:
        return conversation.failure_may_be_wanted(self)

    def proceed(self, conversation: Conversation) -> Outcome:
        if not self.begun:
            if conversation.interleaved_under_way and not conversation.ended:
                return WAITING
            self.begun = True
            mismatch = self._upgrade(conversation)
            if mismatch is not None:
                return mismatch
        return WAITING if conversation.handshaking else DONE

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        if not self.begun:
            return Mismatch(f"the client does not read: what was sent before start_tls() was not taken within "
                            f"{seconds(duration)}")
        from tcpclient_testing.engine.connection.tls_failure import unfinished_handshake
        return unfinished_handshake(conversation, duration, silent)


class ExpectTLSFailure(Step[str]):
    """`expect_tls_failure()`: the TLS handshake fails. Its result is the reason, in a word or two."""

    __slots__ = ("by",)
    method = "expect_tls_failure"

    def __init__(self, by: str, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.by = by

    def arguments(self) -> str:
        return "" if self.by == CLIENT else f"by={self.by!r}"

    @property
    def what(self) -> str:
        """What is expected: the text that follows "expected "."""
        return "the client to refuse TLS" if self.by == CLIENT else "the server to refuse the client's TLS"

    def survives(self, conversation: Conversation) -> bool:
        return True

    def proceed(self, conversation: Conversation) -> Outcome:
        failure = conversation.broken
        if failure is not None:
            if failure.by != self.by:
                return Mismatch(f"expected {self.what}, but {failure.summary}")
            self.value = failure.reason
            return DONE
        if conversation.pending:
            came = conversation.unclaimed()
            return Mismatch(f"expected {self.what}, it finished the handshake and sent {counted(len(came), 'byte')}: "
                            f"{shorten(came)}", offset=0)
        if not conversation.ended:
            return WAITING
        if self.by != CLIENT:
            return Mismatch(f"expected {self.what}, the handshake was finished before the client "
                            f"{conversation.ending()}")
        # Some clients (curl) check the certificate only after the handshake, and then close without an alert.
        self.value = conversation.ending()
        conversation.command(Close(conversation))
        return DONE

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"expected {self.what}, it finished the handshake and is still connected after "
                        f"{seconds(duration)}")
