"""The steps of TLS: `start_tls()`, which begins it in mid-conversation, and `expect_tls_failure()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Close
from tcpclient_testing.engine.connection.client_hello import begins_tls
from tcpclient_testing.engine.connection.tls_failure import CLIENT
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import brief, counted, seconds

from .base import DONE, NOTHING, WAITING, Outcome, Step
from .lifecycle import failure_may_be_wanted
from .sending import Action
from .timing import Timing

if TYPE_CHECKING:
    from .base import Context

__all__ = ["StartTLSStep", "ExpectTLSFailure"]

__unittest = True


class StartTLSStep(Action):
    """`start_tls(context)`: from here on both sides speak TLS; the client begins the handshake.

    Clear text that came before the server was ready for TLS is a mismatch, and is never fed to TLS. Otherwise it could
    later be taken for data that TLS has protected (STARTTLS injection, CVE-2011-0411).
    """

    __slots__ = ("context", "begun")
    method = "start_tls"
    starts_tls = True
    needs_sight = "can't see the client's TLS handshake: write resume_reading() before it"

    def __init__(self, context: Any, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.context = context
        self.begun = False

    def _upgrade(self, context: Context) -> Optional[Mismatch]:
        inbox = context.inbox
        if inbox.paused is not None:  # only any_order() leads here; else the script was refused
            from .waiting import paused_text
            return Mismatch(f"start_tls() can't be done: {paused_text(inbox.paused)} and sees nothing of the client's "
                            "TLS handshake")
        if inbox.pending and not self._may_begin_tls(context):
            early = inbox.unclaimed()
            return Mismatch(f"the client sent {counted(len(early), 'byte')} in clear before the server was ready for "
                            f"TLS: {brief(early)}", offset=0)
        if inbox.ended:
            return Mismatch(f"the client {context.ending()} before the TLS handshake")
        context.begin_tls(self.context)
        return None

    def _may_begin_tls(self, context: Context) -> bool:
        """Return whether the pending bytes may be the beginning of the TLS handshake.

        - They may be if all of them came after the go-ahead: the send before this step, with no expectation in between.
          The test may await the go-ahead and then write `start_tls()`, or a `delay()` may come first.
        - Without a go-ahead the client begins when it likes, so their own first bytes tell.
        """
        steps, before = context.script.steps, self.index - 1
        while before and not (steps[before].sends or steps[before].is_expectation):
            before -= 1
        return context.outbox.caught_up if steps[before].sends else begins_tls(context.inbox.unclaimed(2))

    def waits_for_output(self) -> bool:
        return not self.begun

    def survives(self, context: Context) -> bool:
        return failure_may_be_wanted(context, self)

    def proceed(self, context: Context) -> Outcome:
        if not self.begun:
            if context.outbox.interleaving and not context.inbox.ended:
                return WAITING
            self.begun = True
            mismatch = self._upgrade(context)
            if mismatch is not None:
                return mismatch
        handshake = context.handshake
        return WAITING if handshake is not None and handshake.under_way else DONE

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        if not self.begun:
            return Mismatch(f"the client does not read: what was sent before start_tls() was not taken within "
                            f"{seconds(duration)}")
        from tcpclient_testing.engine.connection.tls_failure import unfinished_handshake
        handshake = context.handshake
        return unfinished_handshake(0 if handshake is None else handshake.received, duration, silent)


class ExpectTLSFailure(Step[str]):
    """`expect_tls_failure()`: the TLS handshake fails. Its result is the reason, in a word or two."""

    __slots__ = ("by",)
    method = "expect_tls_failure"
    wants_tls_failure = True
    followers = NOTHING

    def __init__(self, by: str, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.by = by

    def arguments(self) -> str:
        return "" if self.by == CLIENT else f"by={self.by!r}"

    @property
    def what(self) -> str:
        """What is expected: the text that follows "expected "."""
        return "the client to refuse TLS" if self.by == CLIENT else "the server to refuse the client's TLS"

    def survives(self, context: Context) -> bool:
        return True

    def proceed(self, context: Context) -> Outcome:
        inbox, handshake = context.inbox, context.handshake
        failure = None if handshake is None else handshake.failure
        if failure is not None:
            if failure.by != self.by:
                return Mismatch(f"expected {self.what}, but {failure.summary}")
            self.value = failure.reason
            return DONE
        if inbox.pending:
            came = inbox.unclaimed()
            return Mismatch(f"expected {self.what}, it finished the handshake and sent {counted(len(came), 'byte')}: "
                            f"{brief(came)}", offset=0)
        if not inbox.ended:
            return WAITING
        if self.by != CLIENT:
            return Mismatch(f"expected {self.what}, the handshake was finished before the client "
                            f"{context.ending()}")
        # Some clients (curl) check the certificate only after the handshake, and then close without an alert.
        self.value = context.ending()
        context.environment.commands.append(Close(context.number))
        return DONE

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"expected {self.what}, it finished the handshake and is still connected after "
                        f"{seconds(duration)}")
