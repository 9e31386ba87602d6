"""Errors in a script or in the use of a server, as opposed to failures of the client under test."""

from __future__ import annotations

__all__ = ["ScriptError"]

__unittest = True


class ScriptError(Exception):
    """A script, or the use of a server, that can't be right whatever the client does.

    Raised where the mistake is written. Examples: a script that does not begin with ``expect_connect()``, a step after
    ``disconnect()``, a server that was stopped or that lives in another event loop. Fix the test; the client is not at
    fault.
    """


ScriptError.__module__ = "tcpclient_testing"
