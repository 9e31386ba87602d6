"""What the server sends: bytes, or what a callable returns."""

from __future__ import annotations

import unittest
from typing import Any, Callable, Optional

from tcpclient_testing.engine.connection.payload import Payload
from tcpclient_testing.engine.mismatches import CallableRaised, Mismatch


class Own(Payload):
    """A payload as simple as it can be."""

    def __init__(self, source: Any, encode: Optional[Callable[[bytes], bytes]] = None) -> None:
        self.source = source
        self.encode = encode
        self.data = None

    def sender(self) -> str:
        return "send_own()"


def in_brackets(data: bytes) -> bytes:
    """Encode as a framing would."""
    if b"]" in data:
        raise ValueError("a bracket can't be sent")
    return b"[" + data + b"]"


def broken(data: bytes) -> bytes:
    """Encode as a framing with a bug would."""
    raise KeyError(data)


class PayloadTests(unittest.TestCase):
    """`Payload`, which sends of a script, replies and heartbeats have in common."""

    def wrong(self, payload: Payload, text: str) -> Mismatch:
        """Compute a payload, and check how the mismatch begins."""
        outcome = payload.compute(None)
        assert isinstance(outcome, Mismatch)
        self.assertEqual(outcome.summary[:len(text)], text)
        self.assertIsNone(payload.data)
        return outcome

    def test_data_when_the_source_is_bytes(self) -> None:
        """They are sent as they are, or encoded; a copy is taken of what can change."""
        for source, encode, data in ((b"a", None, b"a"), (bytearray(b"a"), in_brackets, b"[a]"), (b"", None, b"")):
            payload = Own(source, encode)
            self.assertIsNone(payload.compute("unused"))
            self.assertEqual(payload.data, data)

    def test_data_when_the_source_is_a_callable(self) -> None:
        """It is called with the argument, and what it returns is encoded."""
        payload = Own(lambda argument: argument + b"!", in_brackets)
        self.assertIsNone(payload.compute(b"hello"))
        self.assertEqual(payload.data, b"[hello!]")

    def test_coroutine_is_returned_and_reports_back(self) -> None:
        """Nothing is known until the coroutine has been run; what it returned or raised is passed on then."""
        async def source(argument: bytes) -> bytes:
            return argument

        payload = Own(source)
        coroutine: Any = payload.compute(b"later")
        self.assertIsNone(payload.data)
        with self.assertRaises(StopIteration) as ended:
            coroutine.send(None)
        self.assertIsNone(payload.computed(ended.exception.value))
        self.assertEqual(payload.data, b"later")
        self.assertIsInstance(payload.failed(KeyError()), CallableRaised)

    def test_what_goes_wrong_is_a_mismatch(self) -> None:
        """An exception, another type, and what the framing refuses: the report names the sender."""
        self.wrong(Own(lambda argument: "text"), "the callable of send_own() returned 'text', which is not bytes")
        self.wrong(Own(lambda argument: b"]", in_brackets), "what the callable of send_own() returned can't be sent: a")
        self.wrong(Own(b"]", in_brackets), "the data of send_own() can't be sent: a bracket")
        raised = self.wrong(Own(lambda argument: argument.none), "the callable of send_own() raised AttributeError")
        self.assertIsInstance(raised, CallableRaised)
        self.assertIsInstance(self.wrong(Own(b"a", broken), "the framing of send_own() raised KeyError"), Mismatch)
