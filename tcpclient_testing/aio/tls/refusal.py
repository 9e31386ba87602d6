"""Lets a script fail because a client has refused the server's certificate, when the test raises the client's error.

A client in the server's own loop raises before the server sees its alert, or its end: the loop has not turned since.
And where the script ends with the handshake, a test might go on to expect the refusal, until it raises.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from tcpclient_testing.engine.connection.tls_failure import TLSFailure
from tcpclient_testing.engine.session.leftovers import unexpected_tls_failure
from tcpclient_testing.harness.exceptions import chain_of

from .errors import distrust_hint

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext

__all__ = ["judge_refusal"]

__unittest = True


def judge_refusal(exc: BaseException, context: ServerContext) -> None:
    """Let the script fail if `exc`, which the test raises, shows that a client has refused the certificate.

    It is the client whose handshake is under way. If there are several, the exception doesn't say which. If there is
    none, it is one whose handshake has failed, and the script does not expect that.
    """
    refused = next((each for each in chain_of(exc) if isinstance(each, ssl.SSLCertVerificationError)), None)
    if refused is None:
        return
    conversations = [each for each in context.session.connections.all if each.handshake is not None]
    shaking = [(each, each.handshake) for each in conversations if each.handshake and each.handshake.under_way]
    if len(shaking) == 1:
        [(conversation, handshake)] = shaking
        failure = TLSFailure.of_distrust(refused.verify_message, hint=distrust_hint(handshake.context))
        context.transcript.note(context.now(), conversation.number, failure.summary)
        conversation.tls_failed(context.now(), failure)
        context.perform()
    for conversation in conversations:
        found = unexpected_tls_failure(conversation)
        if found is not None and not context.environment.over:
            context.fail(conversation, *found)
