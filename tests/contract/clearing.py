"""A test that clears its server: what was open is judged, and the next exchange begins from nothing."""

from __future__ import annotations

import contextlib

from .bodies import Body, Tools
from .case import PASSES, Case, fails, raises
from .clients import CLOSE, READ_END, send
from .leaving import in_time
from .scripts import ASK, MISSPELLED, exchange


def _asks_again(tools: Tools) -> Body:
    exchange(tools.server)
    tools.another()
    yield tools.run(*ASK, CLOSE)


def _misspells(tools: Tools) -> Body:
    with contextlib.suppress(ConnectionError):
        yield tools.run(send(b"PUNG\r\n"), READ_END)


def clears(tools: Tools) -> Body:
    """The client does what it should, before and after the server is cleared."""
    yield tools.run(*ASK, CLOSE)
    yield tools.server.clear
    yield from _asks_again(tools)


def clears_twice(tools: Tools) -> Body:
    """The server is cleared again, with nothing between."""
    yield tools.run(*ASK, CLOSE)
    yield tools.server.clear
    yield tools.server.clear
    yield from _asks_again(tools)


def clears_a_failure(tools: Tools) -> Body:
    """The script fails, and the test takes the failure where it clears."""
    yield from _misspells(tools)
    with contextlib.suppress(AssertionError):
        yield tools.server.clear
    yield from _asks_again(tools)


def clears_after_the_failure(tools: Tools) -> Body:
    """The script fails, and the test does not take the failure."""
    yield from _misspells(tools)
    yield tools.server.clear
    yield from _asks_again(tools)


def clears_too_early(tools: Tools) -> Body:
    """The exchange is not finished when the server is cleared."""
    yield tools.run()
    yield tools.server.clear


def clears_unjudged(tools: Tools) -> Body:
    """The exchange is not finished, and the test does not want to know."""
    yield tools.run()
    yield lambda: tools.server.clear(judge=False)
    yield from _asks_again(tools)


def fails_after_clearing(tools: Tools) -> Body:
    """The second exchange goes wrong."""
    yield tools.run(*ASK, CLOSE)
    yield tools.server.clear
    exchange(tools.server)
    tools.another()
    yield from _misspells(tools)


def asserts_after_clearing(tools: Tools) -> Body:
    """An assertion of the test's own fails in the second exchange."""
    yield tools.run(*ASK, CLOSE)
    yield tools.server.clear
    exchange(tools.server)
    tools.another()
    yield tools.run(*ASK)
    raise AssertionError("the test's own")


def hangs_after_clearing(tools: Tools) -> Body:
    """The test waits for something else when the second exchange fails."""
    yield tools.run(*ASK, CLOSE)
    yield tools.server.clear
    exchange(tools.server)
    tools.another()
    yield tools.run(send(b"PUNG\r\n"))
    yield tools.pause()


def late_client(tools: Tools) -> Body:
    """The client of the first exchange sends, and closes, when that has been cleared."""
    yield tools.run(*ASK)
    yield lambda: tools.server.clear(judge=False)
    exchange(tools.server)
    with contextlib.suppress(ConnectionError):
        yield tools.run(send(b"PUNG\r\n"), CLOSE)
    tools.another()
    yield tools.run(*ASK, CLOSE)


# `clear` looks at the exception that its caller handles, as `stop` does, so these are written out.

def clears_in_finally(tools: Tools) -> Body:
    """The test clears the server while an exception is on its way."""
    async def in_loop() -> None:
        try:
            raise AssertionError("the test's own")
        finally:
            await tools.server.clear()

    def blocking() -> None:
        try:
            raise AssertionError("the test's own")
        finally:
            tools.server.clear()
    yield tools.run(*ASK)
    yield in_loop if tools.asynchronous else blocking


def clears_after_handling(tools: Tools) -> Body:
    """The test clears the server where it handles an exception."""
    async def in_loop() -> None:
        try:
            raise LookupError("handled")
        except LookupError:
            await tools.server.clear()

    def blocking() -> None:
        try:
            raise LookupError("handled")
        except LookupError:
            tools.server.clear()
    yield tools.run()
    yield in_loop if tools.asynchronous else blocking


def subtests_that_clear(tools: Tools) -> Body:
    """Of three subtests, each with a script of its own, the second fails."""
    for ask in (send(b"PING\r\n"), send(b"PUNG\r\n"), send(b"PING\r\n")):
        with tools.case.subTest(ask=ask.value):
            exchange(tools.server)
            tools.another()
            try:
                with contextlib.suppress(ConnectionError):
                    yield tools.run(ask, READ_END if ask.value == b"PUNG\r\n" else ASK[1], CLOSE)
            finally:
                yield tools.server.clear


CASES = (
    Case("clears", PASSES, clears, exchange),
    Case("clears_twice", PASSES, clears_twice, exchange),
    Case("clears_a_failure", PASSES, clears_a_failure, exchange),
    Case("clears_after_the_failure", fails(MISSPELLED), clears_after_the_failure, exchange),
    Case("clears_too_early", fails(r"PING"), clears_too_early, in_time),
    Case("clears_unjudged", PASSES, clears_unjudged, exchange),
    Case("fails_after_clearing", fails(MISSPELLED), fails_after_clearing, exchange),
    Case("asserts_after_clearing", raises(r"the test's own"), asserts_after_clearing, exchange),
    Case("hangs_after_clearing", fails(MISSPELLED), hangs_after_clearing, exchange, interrupted=True,
         waits=True),
    Case("late_client", PASSES, late_client, exchange),
    Case("clears_in_finally", raises(r"the test's own"), clears_in_finally, exchange),
    Case("clears_after_handling", fails(r"PING"), clears_after_handling, in_time),
    Case("subtests_that_clear", fails(MISSPELLED), subtests_that_clear, parts=True),
)
