"""What does not hold yet: the case, the surroundings, and the fault. The table may only shrink."""

from __future__ import annotations

#: The fault, by the name of the case; then the surroundings, ("*",) for all.
NOT_YET: dict[str, tuple[str, tuple[str, ...]]] = {
    "tls_failure": (
        "the client's own exception is reported, in place of the verdict that says why the handshake failed",
        ("asynchronous_mixin", "async_with", "start_and_stop", "tcpserver", "tcpserver_factory"),
    ),
}


def fault(surrounding: str, case: str) -> str:
    """Return the known fault of a case in a surrounding; "" if it is right."""
    text, surroundings = NOT_YET.get(case, ("", ()))
    return text if surrounding in surroundings else ""
