"""Tests of `tcpclient_testing.aio.streams.rules`."""

from __future__ import annotations

import types
import unittest
from typing import Any

from tcpclient_testing.aio.streams.record import ClientStream
from tcpclient_testing.aio.streams.rules import complaint

GOOD_CLIENT = dict.fromkeys(("close_called", "wait_closed_awaited", "wait_closed_done", "connection_lost"), True)


class ComplaintTests(unittest.TestCase):
    """The judgement, as a function of the facts."""

    NEVER = "the client never called writer.close()"
    TABLE: tuple[tuple[dict[str, Any], str | None], ...] = (
        ({}, NEVER),
        ({"wait_closed_awaited": True}, NEVER),
        ({"unread": b"x"}, NEVER),
        ({"collected": True}, f"{NEVER}; its stream was garbage collected"),
        ({"collected": True, "connection_lost": True}, f"{NEVER}; its stream was garbage collected"),
        ({"connection_lost": True}, f"{NEVER} after its connection was lost"),
        ({"handed_over": True, "collected": True, "connection_lost": True, "unread": b"x"}, None),
        ({"close_called": True}, "the client closed its stream without awaiting wait_closed()"),
        ({"close_called": True, "handed_over": True}, "the client closed its stream without awaiting wait_closed()"),
        ({"close_called": True, "wait_closed_awaited": True}, None),
        ({"close_called": True, "wait_closed_awaited": True, "unread": b"x"}, None),
        (GOOD_CLIENT, None),
        ({**GOOD_CLIENT, "unread": b"x"}, "the client left 1 byte of the server's reply unread: b'x'"),
        ({**GOOD_CLIENT, "unread": b"-" * 40}, f"the client left 40 bytes of the server's reply unread: b'{'-' * 40}'"),
        (
            {**GOOD_CLIENT, "unread": b"-" * 41},
            f"the client left 41 bytes of the server's reply unread: b'{'-' * 40}'...",
        ),
    )

    def test_each_set_of_facts_has_its_words(self) -> None:
        """One fault is named, the first in the order of the client's duties."""
        for facts, expected in self.TABLE:
            with self.subTest(**facts):
                self.assertEqual(complaint(self.stream(facts)), expected)

    def test_closing_is_enough_when_no_wait_is_demanded(self) -> None:
        """Then nobody asks what was read, either; but to close stays a duty."""
        for facts in ({}, {"unread": b"bye"}, {"wait_closed_awaited": True, "unread": b"bye"}):
            closed = self.stream({"close_called": True, "connection_lost": True, **facts})
            self.assertIsNone(complaint(closed, wait_closed=False))
        self.assertEqual(complaint(self.stream({}), wait_closed=False), self.NEVER)

    def stream(self, facts: dict[str, Any]) -> Any:
        """Return a stream of which nothing is true but these facts."""
        left = facts.get("unread", b"")
        names = (*ClientStream.__slots__, "connection_lost", "handed_over", "transport_closed_directly")
        return types.SimpleNamespace(**{**dict.fromkeys(names, False), **facts, "unread": lambda: left})
