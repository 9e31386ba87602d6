"""How connections end: who hangs up in the middle of what, and what a client may leave unread."""

from __future__ import annotations

import itertools
from typing import Any

from .bodies import Body, Tools
from .case import PASSES, Case, fails
from .clients import CLOSE, READ_END, read, send
from .scripts import ASK, client, script

#: More than any system takes at once, and less than that.
_MUCH, _LITTLE = 20_000_000, 70_000


def hangs_up(tools: Tools) -> Body:
    """The client reads the beginning of a reply, and closes."""
    try:
        yield tools.run(send(b"PING\r\n"), read(1000), CLOSE)
    except ConnectionError:  # its wait_closed(), where the rest was unread
        pass


def sends(source: Any, *endings: Any) -> Any:
    """Make a script with such a reply; `source` makes what is sent."""
    return script(lambda s: s.expect_line(b"PING"), lambda s: s.send_bytes(source()), *endings)


def much() -> bytes:
    """Return more than any system takes at once."""
    return b"x" * _MUCH


def little() -> bytes:
    """Return what any system takes at once."""
    return b"x" * _LITTLE


def endless() -> Any:
    """Return chunks without an end."""
    return itertools.repeat(b"x" * 1000)


def chunks() -> Any:
    """Return a PONG in three chunks."""
    return iter([b"PO", b"NG", b"\r\n"])


def reads_all_chunks(tools: Tools) -> Body:
    """The client gets what the iterator gives, as one reply."""
    yield tools.run(*ASK, CLOSE)
    assert tools.client.got == b"PONG\r\n", tools.client.got


def counts(tools: Tools) -> Body:
    """The step says how much the client has taken at most: at least what it has read."""
    tools.server.expect_connect()
    tools.server.expect_line(b"PING")
    tools.server.send_bytes(much())
    gone = tools.server.expect_reset()
    yield from hangs_up(tools)
    taken = yield tools.result(gone)
    assert 1000 <= taken < _MUCH, taken


def answers_beats(server: Any) -> None:
    """The server answers what the client may send at any time."""
    server.expect_connect()
    server.allow(b"BEAT\r\n", reply=b"ok\r\n")
    server.expect_line(b"PING")
    server.expect_disconnect()


def wait_for_end(tools: Tools) -> Body:
    """The client closes, and waits until that is done."""
    yield tools.run(*ASK, CLOSE)


CASES = (
    Case("hangs_up_and_may", PASSES, hangs_up, sends(much, lambda s: s.expect_disconnect(unread=True))),
    Case("hangs_up_and_may_when_all_was_taken", PASSES, hangs_up,
         sends(little, lambda s: s.expect_disconnect(unread=True))),
    Case("hangs_up_by_a_reset", PASSES, hangs_up, sends(much, lambda s: s.expect_reset())),
    Case("hangs_up_during_several_sends", PASSES, hangs_up,
         sends(much, lambda s: s.send_line(b"more"), lambda s: s.send_line(b"and more"), lambda s: s.expect_reset())),
    Case("hangs_up_and_may_not", fails(r"when it had taken \d+ of 20000000 bytes"), hangs_up,
         sends(much, lambda s: s.expect_disconnect())),
    Case("hangs_up_before_another_step", fails(r"when it had taken \d+ of 20000000 bytes"), hangs_up,
         sends(much, lambda s: s.expect_line(b"PING"), lambda s: s.expect_reset())),
    Case("hangs_up_counted", PASSES, counts),
    # The answers are unread, so the close is a reset, and the server's next write may fail before it has read all.
    Case("last_words", PASSES, client(send(b"BEAT\r\n" * 3), send(b"PING\r\n"), CLOSE), answers_beats),
    Case("no_last_words", fails(r"expected the line b'PING'"), client(send(b"BEAT\r\n" * 3), CLOSE), answers_beats),
    Case("chunks", PASSES, reads_all_chunks, sends(chunks, lambda s: s.expect_disconnect())),
    Case("chunks_without_end", PASSES, hangs_up, sends(endless, lambda s: s.expect_disconnect(unread=True))),
    Case("chunks_without_end_hung_up", fails(r"when it had been sent \d+ bytes of send_bytes"), hangs_up,
         sends(endless, lambda s: s.expect_disconnect())),
    Case("end_over_tls_answered", PASSES, wait_for_end,
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG")), lambda: {"tls": True}, tls=True),
    Case("end_over_tls_ragged", PASSES, client(*ASK, CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG"),
                lambda s: s.disconnect(close_notify=False)), lambda: {"tls": True}, tls=True),
    Case("extra_without_measure", PASSES, client(send(b"PING\r\n" + b"x" * _MUCH), CLOSE),
         script(lambda s: s.expect_line(b"PING")), lambda: {"allow_extra": True}),
    Case("eof_of_the_server", PASSES, client(*ASK, READ_END, send(b"MORE\r\n"), CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG"), lambda s: s.send_eof(),
                lambda s: s.expect_line(b"MORE"), lambda s: s.expect_disconnect())),
)
