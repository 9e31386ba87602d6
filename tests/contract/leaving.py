"""Each way of leaving a test: what it reports, with a script that was met and with one that was not."""

from __future__ import annotations

import unittest
from typing import Any

from .bodies import Body, Tools
from .case import PASSES, SKIPS, Case, fails, raises
from .clients import CLOSE, READ_END, read, send
from .scripts import ASK, MISSPELLED, asks, exchange, misspells


def in_time(server: Any) -> None:
    """The exchange, with little time for the request."""
    server.expect_connect()
    server.expect_line(b"PING", timeout=0.02)
    server.send_line(b"PONG")
    server.expect_disconnect()


def asserts(tools: Tools) -> Body:
    """An assertion of the test's own fails when the client has done its part."""
    yield tools.run(*ASK, CLOSE)
    raise AssertionError("the test's own")


def asserts_in_the_middle(tools: Tools) -> Body:
    """An assertion of the test's own fails in mid-conversation."""
    yield tools.run(*ASK)
    raise AssertionError("the test's own")


def asserts_after_the_failure(tools: Tools) -> Body:
    """An assertion of the test's own fails, as the script has failed before."""
    try:
        yield tools.run(send(b"PUNG\r\n"), READ_END)
    except ConnectionError:
        pass
    raise AssertionError("the test's own")


def skips(tools: Tools) -> Body:
    """The test is skipped in mid-conversation."""
    yield tools.run(*ASK)
    raise unittest.SkipTest("not here")


def joins(tools: Tools) -> Body:
    """The test waits for the script."""
    yield tools.run(*ASK, CLOSE)
    yield tools.join()


def joins_a_failure(tools: Tools) -> Body:
    """The test waits for the script, which fails."""
    yield tools.run(send(b"PUNG\r\n"))
    yield tools.join()


def joins_finally(tools: Tools) -> Body:
    """The test lets all be judged before its end."""
    yield tools.run(*ASK, CLOSE)
    yield tools.join(final=True)


def joins_finally_too_early(tools: Tools) -> Body:
    """The test lets all be judged while the client is connected."""
    yield tools.run(*ASK)
    yield tools.join(final=True)


def asks_for_a_result(tools: Tools) -> Body:
    """The test waits for a step, and uses its result."""
    tools.server.expect_connect()
    line = tools.server.expect_line()
    tools.server.expect_disconnect()
    yield tools.run(send(b"PING\r\n"), CLOSE)
    got = yield tools.result(line)
    assert got == b"PING"


def asks_for_a_result_in_vain(tools: Tools) -> Body:
    """The test waits for a step that is not satisfied."""
    tools.server.expect_connect()
    line = tools.server.expect_line(b"PING")
    yield tools.run(send(b"PUNG\r\n"))
    yield tools.result(line)


def hangs(tools: Tools) -> Body:
    """The test waits for something else when the script fails."""
    yield tools.run(send(b"PUNG\r\n"))
    yield tools.pause()


def leaves_early(tools: Tools) -> Body:
    """The test returns before the client has said anything."""
    yield tools.run()


def stops(tools: Tools) -> Body:
    """The test stops the server itself."""
    yield tools.run(*ASK, CLOSE)
    yield tools.stop()


def stops_too_early(tools: Tools) -> Body:
    """The test stops the server before the client has said anything."""
    yield tools.run()
    yield tools.stop()


# `stop` looks at the exception that its caller handles, so these are written out.

def stops_in_finally(tools: Tools) -> Body:
    """The test stops the server while an exception is on its way."""
    async def in_loop() -> None:
        try:
            raise AssertionError("the test's own")
        finally:
            await tools.server.stop()

    def blocking() -> None:
        try:
            raise AssertionError("the test's own")
        finally:
            tools.server.stop()
    yield tools.run(*ASK)
    yield in_loop if tools.asynchronous else blocking


def stops_after_handling(tools: Tools) -> Body:
    """The test stops the server where it handles an exception."""
    async def in_loop() -> None:
        try:
            raise LookupError("handled")
        except LookupError:
            await tools.server.stop()

    def blocking() -> None:
        try:
            raise LookupError("handled")
        except LookupError:
            tools.server.stop()
    yield tools.run()
    yield in_loop if tools.asynchronous else blocking


def stops_unjudged(tools: Tools) -> Body:
    """The test stops the server early, and wants no judgement."""
    yield tools.run()
    yield lambda: tools.server.stop(judge=False)


def stops_unjudged_after_the_failure(tools: Tools) -> Body:
    """The test wants no judgement, but the script has failed before."""
    try:
        yield tools.run(send(b"PUNG\r\n"), READ_END)
    except ConnectionError:
        pass
    yield lambda: tools.server.stop(judge=False)


def stops_with_an_exception(tools: Tools) -> Body:
    """The test says that an exception is leaving."""
    yield tools.run()
    yield lambda: tools.server.stop(LookupError("on its way"))


def stops_with_none(tools: Tools) -> Body:
    """The test says that no exception is leaving, although one is."""
    async def in_loop() -> None:
        try:
            raise LookupError("not to be told")
        finally:
            await tools.server.stop(None)

    def blocking() -> None:
        try:
            raise LookupError("not to be told")
        finally:
            tools.server.stop(None)
    yield tools.run()
    yield in_loop if tools.asynchronous else blocking


def closes_after_the_failure(tools: Tools) -> Body:
    """The test closes the server, whose script has failed, without asking for its verdict."""
    try:
        yield tools.run(send(b"PUNG\r\n"), READ_END)
    except ConnectionError:
        pass
    yield tools.server.close


def closes(tools: Tools) -> Body:
    """The test closes the server, whose script has not failed."""
    yield tools.run(*ASK, CLOSE)
    yield tools.server.close


def talks(tools: Tools) -> Body:
    """The client asks; a later part of the test closes it."""
    yield tools.run(*ASK)


def close_client(tools: Tools) -> Body:
    """Close the client."""
    yield tools.run(CLOSE)


def keep_client(tools: Tools) -> Body:
    """Do nothing: the client stays connected."""
    yield lambda: None


def raise_at_the_end(tools: Tools) -> Body:
    """Raise, after the client has done its part."""
    yield lambda: None
    raise LookupError("in the tear-down")


def raise_in_set_up(tools: Tools) -> Body:
    """Raise before the test."""
    yield lambda: None
    raise LookupError("in the set-up")


def fail_in_set_up(tools: Tools) -> Body:
    """Let the script fail, and raise because of that."""
    exchange(tools.server)
    yield tools.run(send(b"PUNG\r\n"), READ_END, read(1))


CASES = (
    Case("asserts", raises(r"the test's own"), asserts, exchange),
    Case("asserts_in_the_middle", raises(r"the test's own"), asserts_in_the_middle, exchange),
    Case("asserts_after_the_failure", fails(MISSPELLED, "the test's own"), asserts_after_the_failure, exchange),
    Case("skips", SKIPS, skips, exchange),
    Case("joins", PASSES, joins, exchange),
    Case("joins_a_failure", fails(MISSPELLED), joins_a_failure, exchange),
    Case("joins_finally", PASSES, joins_finally, exchange),
    Case("joins_finally_too_early", fails(r"expected the client to disconnect|silent|still connected"),
         joins_finally_too_early, lambda s: (s.expect_connect(), s.expect_line(b"PING"), s.send_line(b"PONG"),
                                             s.expect_disconnect(timeout=0.02))),
    Case("asks_for_a_result", PASSES, asks_for_a_result),
    Case("asks_for_a_result_in_vain", fails(MISSPELLED), asks_for_a_result_in_vain),
    Case("hangs", fails(MISSPELLED), hangs, exchange, interrupted=True, waits=True),
    Case("leaves_early", fails(r"PING"), leaves_early, in_time),
    Case("stops", PASSES, stops, exchange),
    Case("stops_too_early", fails(r"PING"), stops_too_early, in_time),
    Case("stops_in_finally", raises(r"the test's own"), stops_in_finally, exchange),
    Case("stops_after_handling", fails(r"PING"), stops_after_handling, in_time),
    Case("stops_unjudged", PASSES, stops_unjudged, exchange),
    Case("stops_unjudged_after_the_failure", fails(MISSPELLED), stops_unjudged_after_the_failure, exchange),
    Case("stops_with_an_exception", PASSES, stops_with_an_exception, exchange),
    Case("stops_with_none", fails(r"PING"), stops_with_none, in_time),
    Case("closes", PASSES, closes, exchange),
    Case("closes_after_the_failure", fails(MISSPELLED), closes_after_the_failure, exchange),
    Case("clean_up_closes", PASSES, talks, exchange, clean_up=close_client),
    Case("clean_up_forgets", fails(r"disconnect|connected"), talks, lambda s: (
        s.expect_connect(), s.expect_line(b"PING"), s.send_line(b"PONG"), s.expect_disconnect(timeout=0.02)),
        clean_up=keep_client),
    Case("tear_down_closes", PASSES, talks, exchange, tear_down=close_client),
    Case("tear_down_raises", raises(r"in the tear-down"), asks, exchange, tear_down=raise_at_the_end),
    Case("tear_down_raises_after_the_failure", fails(MISSPELLED), misspells, exchange, tear_down=raise_at_the_end),
    Case("set_up_raises", raises(r"in the set-up", ""), asks, set_up=raise_in_set_up),
    Case("set_up_fails", fails(MISSPELLED), asks, set_up=fail_in_set_up),
    Case("expected_failure", PASSES, misspells, exchange, parts=True, marks=("expectedFailure",)),
)
