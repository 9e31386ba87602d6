"""Random scripts against random streams: the same verdict and results however the stream is divided, and those of a
naive model that sees whole messages.
"""

from __future__ import annotations

import importlib.util
import random
import unittest
from collections import deque
from typing import Any, Optional

from tcpclient_testing.engine.conversation.candidates import Candidates, Reading
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.sized import FixedLength, LengthPrefixed
from tcpclient_testing.engine.matching.base import GatheringJudge, Match, Matcher
from tcpclient_testing.engine.matching.exact import Exactly, StartsWith
from tcpclient_testing.engine.matching.patterns import Predicate, anything
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.memory.host import MemoryServer
from tests.support.long import LONG, lasting

_LINE = Delimited(b"\r\n")
_UNTIL = Delimited(b";")
_FRAME = LengthPrefixed(1)
_ALPHABET = b"ab;\r\n\x00\x01\x02"


class Kind:
    """A message that a script can mention: its framing and matcher, whether `data` as a whole is one, an example."""

    def __init__(self, framing: Optional[Framing], matcher: Matcher[Any], data: bytes = b"") -> None:
        self.framing = framing
        self.matcher = matcher
        self.data = data

    def payload(self, data: bytes) -> Optional[bytes]:
        """What the naive model takes for the payload, if `data` is exactly one message."""
        framing = self.framing
        if framing is None:
            return data if data == self.data else None
        if isinstance(framing, Delimited):
            place = data.find(framing.delimiter)
            return data[:place] if place >= 0 and place == len(data) - len(framing.delimiter) else None
        if isinstance(framing, FixedLength):
            return data if len(data) == framing.length else None
        return data[1:] if data and len(data) == 1 + data[0] else None

    def result(self, data: bytes) -> Optional[Match[Any]]:
        payload = self.payload(data)
        if payload is None:
            return None
        match = self.matcher.match(payload)
        return match if isinstance(match, Match) else None


def _even(message: bytes) -> bool:
    return len(message) % 2 == 0


def random_kind(rng: random.Random) -> Kind:
    """A message of any framing."""
    text = bytes(rng.choice(b"ab") for _ in range(rng.randrange(1, 4)))
    matcher: Matcher[Any] = rng.choice([anything, Exactly(text), StartsWith(text[:1]), Predicate(_even)])
    which = rng.randrange(5)
    if which == 0:
        return Kind(None, anything, text)
    if which == 1:
        return Kind(_LINE, matcher)
    if which == 2:
        return Kind(_UNTIL, matcher)
    if which == 3:
        return Kind(_FRAME, matcher)
    # A literal of another length is refused when it is written.
    return Kind(FixedLength(len(text) if isinstance(matcher, Exactly) else rng.randrange(1, 4)), matcher)


def example(kind: Kind, rng: random.Random) -> bytes:
    """A message that is likely to be of this kind."""
    if kind.framing is None:
        return kind.data
    text = getattr(kind.matcher, "data", None) or getattr(kind.matcher, "expected", None)
    if not isinstance(text, bytes):
        text = bytes(rng.choice(b"ab") for _ in range(rng.randrange(3)))
    if isinstance(kind.framing, FixedLength):
        text = (text + b"abab")[:kind.framing.length]
    return kind.framing.encode(text)


def _echo(result: Any) -> bytes:
    return b"<" + (bytes(result) if isinstance(result, (bytes, bytearray)) else b"-") + b">"


class Script:
    """A random script: what is allowed, where and how often; blocks of expectations with sends, in order or in any."""

    def __init__(self, rng: random.Random) -> None:
        self.blocks: list[tuple[bool, list[tuple[Kind, list[Any]]]]] = []
        for _ in range(rng.randrange(1, 5)):
            unordered = rng.random() < 0.4
            count = rng.randrange(1, 4) if unordered else 1
            self.blocks.append((unordered, [(random_kind(rng), self.sends(rng)) for _ in range(count)]))
        # Where: -1 is before the first expect_connect(), else before so many blocks.
        self.allowed = [(random_kind(rng), rng.randrange(-1, len(self.blocks) + 1), rng.choice([None, None, 1]))
                        for _ in range(rng.choice([0, 0, 1, 2]))]
        self.allowed.sort(key=lambda item: item[1])  # in the order in which they are written
        self.ends = rng.random() < 0.7

    @staticmethod
    def sends(rng: random.Random) -> list[Any]:
        return [rng.choice([b"S", _echo]) for _ in range(rng.choice([0, 1, 2]))]

    def stream(self, rng: random.Random) -> bytes:
        """What a client may send: mostly what is expected."""
        pieces: list[bytes] = []
        for _, units in self.blocks:
            for kind, _ in rng.sample(units, len(units)):
                if self.allowed and rng.random() < 0.4:
                    pieces.append(example(rng.choice(self.allowed)[0], rng))
                pieces.append(example(kind, rng))
        if self.allowed and rng.random() < 0.5:
            pieces.append(example(rng.choice(self.allowed)[0], rng))
        data = bytearray(b"".join(pieces))
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            place = rng.randrange(len(data) + 1)
            if rng.random() < 0.5:
                data[place:place] = bytes([rng.choice(_ALPHABET)])
            else:
                del data[place:place + 1]
        return bytes(data)


Outcome = tuple[bool, list[Any], list[int], bytes]


def first_winner(left: bytes, candidates: list[tuple[Any, Kind]]) -> Optional[tuple[Any, Match[Any], int]]:
    """Of the candidates the one that is complete at the smallest number of bytes; of several, the first."""
    for size in range(1, len(left) + 1):
        for source, kind in candidates:
            match = kind.result(left[:size])
            if match is not None:
                return source, match, size
    return None


class Model:
    """The naive reference: it tries every whole message from each boundary on."""

    def __init__(self, script: Script, stream: bytes) -> None:
        self.script = script
        self.left = stream
        self.results: list[Any] = []
        self.counts = [0] * len(script.allowed)
        self.sent = b""

    def next_unit(self, open_units: list[Any], done: int) -> Any:
        """Let messages come until one of the script has; None if none will."""
        while True:
            allowed: list[Any] = [(place, kind) for place, (kind, where, times) in enumerate(self.script.allowed)
                                  if where <= done and (times is None or self.counts[place] < times)]
            found = first_winner(self.left, [*allowed, *((unit, unit[0]) for unit in open_units)])
            if found is None:
                return None
            source, match, size = found
            self.left = self.left[size:]
            if isinstance(source, int):
                self.counts[source] += 1
                self.sent += b"R%d" % source
                continue
            self.results.append((id(source), match.result))
            for what in source[1]:
                self.sent += what if isinstance(what, bytes) else what(match.result)
            return source

    def run(self) -> Outcome:
        """What becomes of the script; the output counts only where it is met."""
        for done, (_, units) in enumerate(self.script.blocks):
            open_units = list(units)
            while open_units:
                unit = self.next_unit(open_units, done)
                if unit is None:
                    return False, self.results, self.counts, b""
                open_units.remove(unit)
        self.next_unit([], len(self.script.blocks))
        good = not (self.script.ends and self.left)
        return good, self.results, self.counts, self.sent if good else b""


def by_model(script: Script, stream: bytes) -> Outcome:
    """The outcome as the rule has it."""
    return Model(script, stream).run()


def expect(handle: Any, kind: Kind) -> Any:
    """Write an expectation."""
    if kind.framing is None:
        return handle.expect_bytes(kind.data)
    if kind.framing is _LINE:
        return handle.expect_line(kind.matcher)
    if kind.framing is _UNTIL:
        return handle.expect_until(b";", kind.matcher)
    if isinstance(kind.framing, FixedLength):
        return handle.expect_exactly(kind.framing.length, kind.matcher)
    return handle.expect_frame(kind.matcher, framing=_FRAME)


class Writer:
    """Writes a random script on a server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.allowed: dict[int, Any] = {}
        self.steps: list[tuple[int, Any]] = []

    def allow(self, handle: Any, where: int) -> None:
        """Write what is allowed from here on; replies go out as they are, whatever the framing."""
        for place, (kind, at, times) in enumerate(self.script.allowed):
            if at != where:
                continue
            reply = b"R%d" % place
            if kind.framing is None:
                self.allowed[place] = handle.allow(kind.data, reply=reply, times=times)
            else:
                self.allowed[place] = handle.allow(kind.matcher, times=times, framing=kind.framing)
                self.allowed[place].source, self.allowed[place].encode = reply, None

    def write(self, handle: Any) -> None:
        """Write the script of the connection."""
        for done, (unordered, units) in enumerate(self.script.blocks):
            self.allow(handle, done)
            if unordered:
                with handle.any_order():
                    self.write_units(handle, units)
            else:
                self.write_units(handle, units)
        self.allow(handle, len(self.script.blocks))
        if self.script.ends:
            handle.expect_disconnect()

    def write_units(self, handle: Any, units: list[tuple[Kind, list[Any]]]) -> None:
        for unit in units:
            self.steps.append((id(unit), expect(handle, unit[0])))
            for what in unit[1]:
                handle.send_bytes(what)


def take_all(server: MemoryServer) -> None:
    """The client's system takes all that is being sent, and what is sent then."""
    outbox = server.conversation().outbox
    while not server.session.over and (outbox.sending or outbox.interleaving):
        server.flush()


def by_engine(script: Script, chunks: list[bytes], *, late: bool = False, taking: bool = True) -> Outcome:
    """The outcome of the engine, for a stream that comes in these chunks; `late`: the stream comes first."""
    server = MemoryServer(idle_timeout=None, taking=taking, at_once=True)
    writer = Writer(script)
    writer.allow(server, -1)
    if late:
        server.connect()
        for chunk in chunks:
            server.receive(chunk)
        server.half_close()
        writer.write(server.expect_connect().connection)
    else:
        writer.write(server.expect_connect().connection)
        server.connect()
        for chunk in chunks:
            server.receive(chunk)
            if not taking and len(chunk) % 2:
                take_all(server)
        server.half_close()
    take_all(server)
    satisfied = [(place, step.result()) for place, step in
                 sorted(writer.steps, key=lambda item: item[1].index) if step.satisfied]
    counts = [writer.allowed[place].count for place in range(len(script.allowed))]
    good = server.verdict is None and server.conversation().script.complete
    return good, satisfied, counts, server.connection().sent if good else b""


def divided(stream: bytes, rng: random.Random) -> list[bytes]:
    """The stream in random chunks."""
    count = min(len(stream) - 1, rng.randrange(6))
    places = sorted(rng.sample(range(1, len(stream)), count)) if count > 0 else []
    return [stream[start:stop] for start, stop in zip([0, *places], [*places, len(stream)]) if start < stop]


class OrderPropertyTests(unittest.TestCase):
    def check(self, rng: random.Random) -> bool:
        script = Script(rng)
        stream = script.stream(rng)
        expected = by_model(script, stream)
        divisions = [[stream] if stream else [], [stream[place:place + 1] for place in range(len(stream))]]
        divisions += [divided(stream, rng) for _ in range(3)]
        for chunks in divisions:
            self.assertEqual(by_engine(script, chunks), expected, (stream, chunks))
        if not script.allowed:  # what is written after an allowed message has come is too late to claim it
            self.assertEqual(by_engine(script, divisions[-1], late=True), expected, (stream, divisions[-1], "late"))
        slow = by_engine(script, divisions[-1], taking=False)
        self.assertEqual(slow[:3], expected[:3], (stream, divisions[-1], "slow"))
        return expected[0]

    @lasting
    def test_random_scripts_when_the_stream_is_divided_at_random(self) -> None:
        """Verdict, results, order, counts and output are those of the naive model, under every division."""
        good, count = 0, 1500 if LONG else 100
        for seed in range(count):
            with self.subTest(seed=seed):
                good += self.check(random.Random(seed))
        self.assertGreater(good, count // 5)
        self.assertLess(good, count * 4 // 5)

    @unittest.skipUnless(importlib.util.find_spec("hypothesis"), "needs hypothesis")
    def test_random_scripts_when_hypothesis_chooses(self) -> None:
        """The same, with examples that hypothesis makes small where they fail."""
        from hypothesis import HealthCheck, given, settings
        from hypothesis import strategies as st

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.randoms(use_true_random=False))
        def judge(rng: random.Random) -> None:
            self.check(rng)

        judge()


class CandidatesTests(unittest.TestCase):
    def run_all(self, *messages: tuple[str, Framing, Matcher[Any]], data: list[bytes]) -> tuple[Any, int, list[str]]:
        """Feed chunk by chunk; return the winner, its end, and which are still alive."""
        candidates = Candidates([Reading(name, Message(framing, matcher)) for name, framing, matcher in messages])
        pending: deque[memoryview] = deque()
        winner = candidates.run(pending)
        for chunk in data:
            if winner is None:
                pending.append(memoryview(chunk))
                winner = candidates.run(pending)
        alive = [reading.source for reading in candidates.alive()]
        return (None, 0, alive) if winner is None else (winner.source, winner.end, alive)

    def test_smallest_end_wins_when_several_match(self) -> None:
        """The one that is complete first wins, although it was written later."""
        messages = (("line", _LINE, anything), ("two", FixedLength(2), anything))
        for data in ([b"ab\r\n"], [b"a", b"b", b"\r", b"\n"]):
            self.assertEqual(self.run_all(*messages, data=data)[:2], ("two", 2))

    def test_first_wins_when_they_end_together(self) -> None:
        """Of two that are complete at the same byte the first wins."""
        self.assertEqual(self.run_all(("one", _LINE, anything), ("two", FixedLength(3), anything),
                                      data=[b"a\r\nb"])[:2], ("one", 3))

    def test_mismatch_puts_a_candidate_out_when_it_is_seen(self) -> None:
        """A candidate that can't match is out; the others read on."""
        winner, _, alive = self.run_all(("a", _LINE, Exactly(b"abc")), ("b", _LINE, Exactly(b"axe")), data=[b"ax"])
        self.assertIsNone(winner)
        self.assertEqual(alive, ["b"])

    def test_message_of_no_bytes_wins_at_once(self) -> None:
        """A message of no bytes is complete before the first byte."""
        self.assertEqual(self.run_all(("line", _LINE, anything), ("none", FixedLength(0), anything), data=[])[:2],
                         ("none", 0))

    def test_reading_is_linear_when_a_long_candidate_waits(self) -> None:
        """Many short messages in one chunk don't make a long candidate read the whole chunk for each."""
        fed = 0

        class Counting(Matcher[bytes]):
            def judge(self) -> Any:
                return CountingJudge(self)

        class CountingJudge(GatheringJudge[bytes]):
            def feed(self, piece: Any) -> None:
                nonlocal fed
                fed += len(piece)
                super().feed(piece)

        server = MemoryServer()
        handle = server.expect_connect().connection
        allowed = handle.allow(b"PING\r\n")
        handle.expect_exactly(1_000_000, Counting())
        server.connect()
        server.receive(b"PING\r\n" * 10_000)
        self.assertEqual(allowed.count, 10_000)
        self.assertLess(fed, 1_000_000)
