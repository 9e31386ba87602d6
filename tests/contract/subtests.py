"""What subtests report: each failure once, by the subtest or by the test, with the conversation that led to it."""

from __future__ import annotations

import unittest
from typing import Any

from .bodies import Body, Tools
from .case import PASSES, SKIPS, Case, fails, raises
from .clients import CLOSE, DROP, READ_END, read, send
from .scripts import ASK, MISSPELLED, exchange


def in_subtest(tools: Tools) -> Body:
    """The script fails in a subtest."""
    with tools.case.subTest("one"):
        yield tools.run(send(b"PUNG\r\n"), read(6))


def subtest_fails_by_itself(tools: Tools) -> Body:
    """An assertion fails in a subtest, which leaves the script undone."""
    with tools.case.subTest("one"):
        exchange(tools.server)
        yield tools.run(*ASK)
        raise AssertionError("the test's own")


def server_of_subtest(tools: Tools) -> Any:
    """Give the subtest a server of its own, with the script, and a client."""
    tools.use(tools.case.start_tcpserver())
    exchange(tools.server)
    return tools


def subtest_fails(own: bool, *program: Any) -> Any:
    """Make a body whose subtest fails in the middle, by itself; another follows that is sound.

    `own`: each subtest has a server of its own.
    """
    def body(tools: Tools) -> Body:
        for name in "one", "two":
            with tools.case.subTest(name):
                if own:
                    server_of_subtest(tools)
                else:
                    exchange(tools.server)
                    tools.another()
                if name == "one":
                    yield tools.run(*program)
                    raise AssertionError("the test's own")
                yield tools.run(*ASK, CLOSE)
    return body


def subtest_leaves_its_client_open(tools: Tools) -> Body:
    """An assertion fails in a subtest whose script does not say how the connection ends; the client stays connected."""
    with tools.case.subTest("one"):
        tools.use(tools.case.start_tcpserver())
        tools.server.expect_connect()
        tools.server.expect_line(b"PING")
        tools.server.send_line(b"PONG")
        yield tools.run(*ASK)
        raise AssertionError("the test's own")


def subtest_raises(tools: Tools) -> Body:
    """The client raises in a subtest."""
    with tools.case.subTest("one"):
        server_of_subtest(tools)
        yield tools.run(*ASK)
        raise LookupError("the client's own")


def subtest_waits_for_the_script(own: bool) -> Any:
    """Make a body whose subtest waits for a script that fails; another follows, with a server of its own."""
    def body(tools: Tools) -> Body:
        with tools.case.subTest("one"):
            if own:
                server_of_subtest(tools)
            yield tools.run(send(b"PUNG\r\n"))
            yield tools.join()
        with tools.case.subTest("two"):
            server_of_subtest(tools)
            yield tools.run(*ASK, CLOSE)
    return body


def subtest_asserts_after_the_failure(tools: Tools) -> Body:
    """An assertion fails in a subtest because the script has failed before."""
    with tools.case.subTest("one"):
        server_of_subtest(tools)
        try:
            yield tools.run(send(b"PUNG\r\n"), READ_END)
        except ConnectionError:
            pass
        raise AssertionError("the test's own")


def subtest_is_skipped(tools: Tools) -> Body:
    """A subtest is skipped in mid-conversation; another is sound."""
    with tools.case.subTest("one"):
        server_of_subtest(tools)
        yield tools.run(*ASK)
        raise unittest.SkipTest("not here")


def subtest_is_skipped_after_the_failure(tools: Tools) -> Body:
    """A subtest is skipped when the script of its server has failed."""
    with tools.case.subTest("one"):
        server_of_subtest(tools)
        try:
            yield tools.run(send(b"PUNG\r\n"), READ_END)
        except ConnectionError:
            pass
        raise unittest.SkipTest("not here")


def two_subtests_fail(own: bool) -> Any:
    """Make a body with two subtests: an assertion fails in the first, and the script in the second."""
    def body(tools: Tools) -> Body:
        with tools.case.subTest("one"):
            server_of_subtest(tools)
            yield tools.run(*ASK)
            raise AssertionError("the test's own")
        with tools.case.subTest("two"):
            if own:
                server_of_subtest(tools)
            else:
                tools.use(tools.case.tcpserver)
                exchange(tools.server)
            yield tools.run(send(b"PUNG\r\n"))
            yield tools.join()
    return body


def subtest_fails_beside_the_shared_server(tools: Tools) -> Body:
    """The script of a subtest's server fails, as the shared server has a client. That is sound, and goes on later."""
    shared, client = tools.server, tools.client
    exchange(shared)
    yield tools.run(*ASK)
    with tools.case.subTest("one"):
        server_of_subtest(tools)
        yield tools.run(send(b"PUNG\r\n"))
        yield tools.join()
    yield lambda: client.run((CLOSE,))


def both_fail_on_the_shared_server(tools: Tools) -> Body:
    """An assertion fails in a subtest when its conversation has ended; the next subtest's client misspells."""
    with tools.case.subTest("one"):
        exchange(tools.server)
        yield tools.run(*ASK, CLOSE)
        raise AssertionError("the test's own")
    tools.another()
    with tools.case.subTest("two"):
        exchange(tools.server)
        yield tools.run(send(b"PUNG\r\n"))
        yield tools.join()


def two_assertions_fail(tools: Tools) -> Body:
    """An assertion fails in each of two subtests."""
    for name in "one", "two":
        with tools.case.subTest(name):
            server_of_subtest(tools)
            yield tools.run(*ASK, CLOSE)
            raise AssertionError(f"the test's own, {name}")


def subtest_fails_and_the_test(tools: Tools) -> Body:
    """An assertion fails in a subtest; after it the script fails that was written before."""
    exchange(tools.server)
    with tools.case.subTest("one"):
        raise AssertionError("the test's own")
    yield tools.run(send(b"PUNG\r\n"), read(6))


def subtests(tools: Tools) -> Body:
    """All is well in two subtests."""
    for name in "one", "two":
        with tools.case.subTest(name):
            exchange(tools.server)
            tools.another()
            yield tools.run(*ASK, CLOSE)


CASES = (
    Case("subtest_fails", fails(MISSPELLED), in_subtest, exchange, parts=True),
    Case("subtest_fails_by_itself", raises(r"the test's own"), subtest_fails_by_itself, parts=True),
    Case("subtest_fails_before_another", raises(r"the test's own"), subtest_fails(True, *ASK), parts=True),
    Case("subtest_fails_after_the_close", raises(r"the test's own"), subtest_fails(True, *ASK, CLOSE), parts=True),
    Case("subtest_fails_on_the_shared_server", raises(r"the test's own"), subtest_fails(False, *ASK, CLOSE),
         parts=True),
    Case("subtest_drops_its_client", raises(r"the test's own"), subtest_fails(True, *ASK, DROP), parts=True),
    Case("subtest_leaves_its_client_open", raises(r"the test's own"), subtest_leaves_its_client_open, parts=True,
         waits=True),
    Case("subtest_raises", raises(r"the client's own"), subtest_raises, parts=True),
    Case("subtest_waits_for_the_script", fails(MISSPELLED), subtest_waits_for_the_script(True), parts=True),
    Case("subtest_waits_for_the_shared_script", fails(MISSPELLED), subtest_waits_for_the_script(False), exchange,
         parts=True),
    Case("subtest_asserts_after_the_failure", fails(MISSPELLED, "the test's own"), subtest_asserts_after_the_failure,
         parts=True),
    Case("subtest_is_skipped", SKIPS, subtest_is_skipped, parts=True),
    Case("subtest_is_skipped_after_the_failure", fails(MISSPELLED)._replace(skips=True),
         subtest_is_skipped_after_the_failure, parts=True),
    Case("two_subtests_fail", raises(r"the test's own", "").and_then(fails(MISSPELLED)), two_subtests_fail(True),
         parts=True),
    Case("two_subtests_fail_on_two_kinds_of_servers", raises(r"the test's own", "").and_then(fails(MISSPELLED)),
         two_subtests_fail(False), parts=True),
    Case("both_fail_on_the_shared_server", raises(r"the test's own").and_then(fails(MISSPELLED)),
         both_fail_on_the_shared_server, parts=True),
    Case("subtest_fails_beside_the_shared_server", fails(MISSPELLED), subtest_fails_beside_the_shared_server,
         parts=True),
    Case("two_assertions_fail", raises(r"own, one").and_then(raises(r"own, two")), two_assertions_fail, parts=True),
    Case("subtest_fails_and_the_test", raises(r"the test's own", "").and_then(fails(MISSPELLED)),
         subtest_fails_and_the_test, parts=True),
    Case("subtests", PASSES, subtests, parts=True),
)
