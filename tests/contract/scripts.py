"""Scripts and bodies that several cases use: a client asks PING, and gets PONG."""

from __future__ import annotations

from typing import Any, Callable

from .bodies import Body, Tools
from .clients import CLOSE, Operation, read, send

ASK = (send(b"PING\r\n"), read(6))


def exchange(server: Any) -> None:
    """PING, PONG, and the client closes."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_disconnect()


def script(*steps: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Make a script that begins with expect_connect()."""
    def write(server: Any) -> None:
        server.expect_connect()
        for step in steps:
            step(server)
    return write


def client(*program: Operation) -> Callable[[Tools], Body]:
    """Make a body in which the client does this, and nothing else happens."""
    def body(tools: Tools) -> Body:
        yield tools.run(*program)
    return body


def asks(tools: Tools) -> Body:
    """The client does what `exchange` expects."""
    yield tools.run(*ASK, CLOSE)


def misspells(tools: Tools) -> Body:
    """The client sends PUNG, and waits for the reply."""
    yield tools.run(send(b"PUNG\r\n"), read(6))


#: The verdict on `misspells`.
MISSPELLED = r"expected b'PING'.*got b'PUNG"
