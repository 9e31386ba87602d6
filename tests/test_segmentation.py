"""Segmentation is never visible: random scripts, random clients, every way to split, and a model that sees it whole.

The verdict (which step, at which byte), the results and what was sent have to be the same for every segmentation, and
whether the script was written before or after the bytes came; and they have to be those of a naive model, which is
given the client's whole stream.
"""

from __future__ import annotations

import importlib.util
import random
import unittest
from typing import Any, Optional

from tcpclient_testing.memory.host import MemoryServer
from tests.support.long import LONG

OPEN, EOF, RST = "open", "eof", "rst"

Spec = tuple[Any, ...]


def random_script(source: random.Random) -> list[Spec]:  # noqa: C901 - a table of kinds
    """A script for one connection, without its expect_connect(): tuples of a method and its arguments."""
    def word(least: int = 1, most: int = 6) -> bytes:
        return bytes(source.choice(b"ab\r\n;") for _ in range(source.randint(least, most)))

    def text(most: int = 6) -> bytes:
        return bytes(source.choice(b"abc") for _ in range(source.randint(0, most)))

    steps: list[Spec] = []
    for _ in range(source.randint(1, 7)):
        kind = source.randrange(16)
        if kind < 4:
            steps.append(("expect_bytes", word()))
        elif kind == 4:
            steps.append(("expect_frame", source.choice([None, word(0)])))
        elif kind == 5:
            steps.append(("expect_line", source.choice([None, text()])))
        elif kind == 6:
            steps.append(("expect_until", source.choice([b";", b"\r\n\r\n", b"aa"]), source.choice([None, b"cbc"])))
        elif kind == 7:
            steps.append(("expect_exactly", source.randint(1, 5), source.random() < 0.7))
        elif kind == 8:
            steps.append(("expect_exactly_last",))
        elif kind < 12:
            steps.append(("send_bytes", word(0)))
        elif kind == 12:
            steps.append(("send_last",))
        elif kind == 13:
            steps.append(("delay", 0.5))
        elif kind == 14:
            steps.append(("expect_silence", 0.5))
        else:
            steps.append(("send_eof",))
    if ("send_eof",) in steps:  # after which a script may send nothing
        end = steps.index(("send_eof",))
        steps[end + 1:] = [step for step in steps[end + 1:] if not step[0].startswith("send_")]
    last = source.randrange(6)
    if last < 3:
        steps.append((["expect_eof", "expect_disconnect", "expect_reset"][last],))
    elif last == 3:
        steps.append(("disconnect",))
        if source.random() < 0.5:
            steps.append(("expect_disconnect",))
    elif last == 4:
        steps.append(("reset",))
    return steps


def size_of(value: Any) -> int:
    """The length that a callable step takes from the last result."""
    return (len(value) if isinstance(value, bytes) else value if isinstance(value, int) else 2) % 5 + 1


def echo(value: Any) -> bytes:
    """The reply of a callable step to the last result."""
    return b"<" + (value if isinstance(value, bytes) else b"%d" % value if isinstance(value, int) else b"-") + b">"


def good_stream(steps: list[Spec], source: random.Random) -> tuple[bytes, str]:
    """What a client that does everything right sends, and how it ends."""
    stream, end, last = b"", OPEN, None
    for step in steps:
        method = step[0]
        if method == "expect_bytes":
            last = step[1]
            stream += last
        elif method == "expect_frame":
            last = step[1] if step[1] is not None else bytes(source.choice(b"ab") for _ in range(source.randint(0, 5)))
            stream += len(last).to_bytes(4, "big") + last
        elif method in ("expect_line", "expect_until"):
            literal = step[-1]
            last = literal if literal is not None else bytes(source.choice(b"b") for _ in range(source.randint(0, 4)))
            stream += last + (b"\r\n" if method == "expect_line" else step[1])
        elif method in ("expect_exactly", "expect_exactly_last"):
            count = step[1] if method == "expect_exactly" else size_of(last)
            came = bytes(source.choice(b"abc") for _ in range(count))
            last = came if method == "expect_exactly_last" or step[2] else count
            stream += came
        elif method in ("expect_eof", "expect_disconnect"):
            end, last = EOF, None
        elif method == "expect_silence":
            last = None
    if steps and steps[-1][0] == "expect_reset":
        end = RST
    return stream, end


def mutated(stream: bytes, end: str, source: random.Random) -> tuple[bytes, str]:
    """The stream of a client that does something wrong, perhaps."""
    kind = source.randrange(6)
    place = source.randint(0, len(stream))
    if kind == 0:
        stream = stream[:place] + bytes([source.choice(b"ab\r\n;\x00")]) + stream[place + 1:]
    elif kind == 1:
        stream = stream[:place]
    elif kind == 2:
        stream += bytes(source.choice(b"ab\r\n") for _ in range(source.randint(1, 3)))
    elif kind == 3:
        stream = stream[:place] + stream[place + 1:]
    elif kind == 4:
        end = source.choice([OPEN, EOF, RST])
    return stream, end


class Model:
    """The naive model: one pass over the script with the whole stream in hand."""

    def __init__(self, steps: list[Spec], stream: bytes, end: str) -> None:
        self.results: list[Any] = []
        self.sent = b""
        #: None, or (index of the step, offset of the mismatch); -1 for a time-out.
        self.failed: Optional[tuple[int, Any]] = None
        self.rest = stream
        self.end = end
        self.last: Any = None
        draining = False
        for index, step in enumerate(steps):
            method = step[0]
            outcome = self.step(method, step, draining)
            draining = draining or method in ("disconnect", "reset")
            if outcome is not None:
                self.failed = (index + 1, outcome[0])
                return
            if draining:
                self.rest = b""

    def step(self, method: str, step: Spec, draining: bool) -> Optional[tuple[Any]]:
        """Do one step: None if it is satisfied, else the offset in a tuple."""
        if method == "send_bytes":
            self.sent += step[1]
        elif method == "send_last":
            self.sent += echo(self.last)
        elif method in ("expect_eof", "expect_disconnect", "expect_reset", "expect_silence"):
            if self.rest:
                return (0,)
            wanted = {"expect_reset": RST, "expect_silence": OPEN}.get(method, EOF)
            if self.end != wanted:
                return (-1,) if self.end == OPEN else (None,)
            self.results.append(len(self.sent) if method == "expect_reset" else None)
            self.last = None
        elif method.startswith("expect"):
            return self.message(method, step)
        return None

    def message(self, method: str, step: Spec) -> Optional[tuple[Any]]:
        """Read one message."""
        rest, incomplete = self.rest, (-1,) if self.end == OPEN else (None,)
        if method == "expect_bytes":
            literal, header, separator, size = step[1], 0, b"", len(step[1])
        elif method == "expect_frame":
            if len(rest) < 4:
                return incomplete
            literal, header, separator, size = step[1], 4, b"", int.from_bytes(rest[:4], "big")
            if size > 64 * 1024 * 1024 or (literal is not None and size != len(literal)):
                return ("header",)
        elif method in ("expect_line", "expect_until"):
            literal, header, separator = step[-1], 0, b"\r\n" if method == "expect_line" else step[1]
            size = rest.find(separator)
        else:
            literal, header, separator = None, 0, b""
            size = step[1] if method == "expect_exactly" else size_of(self.last)
        if separator and size < 0:
            held = next(count for count in range(len(separator) - 1, -1, -1)
                        if rest.endswith(separator[:count])) if len(separator) > 1 else 0
            payload, complete = rest[:len(rest) - held], False
        else:
            payload, complete = rest[header:header + size], len(rest) >= header + size
        if literal is not None:
            for place, byte in enumerate(payload):
                if place >= len(literal) or byte != literal[place]:
                    return (place,)
            if complete and len(payload) < len(literal):
                return (len(payload),)
        if not complete:
            return incomplete
        self.rest = rest[header + size + len(separator):]
        self.last = size if method == "expect_exactly" and not step[2] else payload
        self.results.append(self.last)
        return None


def write(target: Any, step: Spec) -> Any:
    """Write one step of the specification on a server or a connection."""
    method = step[0]
    if method == "expect_frame":
        return target.expect_frame() if step[1] is None else target.expect_frame(step[1])
    if method == "expect_line":
        return target.expect_line() if step[1] is None else target.expect_line(step[1])
    if method == "expect_until":
        return target.expect_until(step[1]) if step[2] is None else target.expect_until(step[1], step[2])
    if method == "expect_exactly":
        return target.expect_exactly(step[1], keep=step[2])
    if method == "expect_exactly_last":
        return target.expect_exactly(size_of)
    if method == "send_last":
        return target.send_bytes(echo)
    return getattr(target, method)(*step[1:])


def play(scripts: list[list[Spec]], clients: list[tuple[list[bytes], str]], *, first: str,  # noqa: C901
         source: random.Random) -> tuple[Any, list[Any], list[bytes]]:
    """Hold scripts against clients; return the verdict, the results of each expectation, and what was sent.

    `first` tells what comes first: the "script", the "bytes", or ("mixed") each by turns.
    """
    server = MemoryServer()
    handles: list[list[Any]] = [[] for _ in scripts]
    writing = [(number, step) for number, script in enumerate(scripts) for step in [("connect",), *script]]
    doing: list[tuple[int, Any]] = [(number, None) for number in range(len(clients))]
    rest = [[(number, piece) for piece in pieces] + ([(number, end)] if end != OPEN else [])
            for number, (pieces, end) in enumerate(clients)]
    while any(rest):
        queue = source.choice([queue for queue in rest if queue])
        doing.append(queue.pop(0))

    def write_next() -> None:
        number, step = writing.pop(0)
        if server.session.over:
            return
        if step[0] == "connect":
            server.expect_connect()
        else:
            handles[number].append((step[0], write(server, step)))

    def do_next() -> None:
        number, what = doing.pop(0)
        if what is None:
            server.connect()
        elif isinstance(what, bytes):
            server.receive(what, number + 1)
        elif what == EOF:
            server.half_close(number + 1)
        else:
            server.reset_by_client(number + 1)
    while writing or doing:
        if writing and (first == "script" or not doing or (first == "mixed" and source.random() < 0.6)):
            write_next()
        else:
            do_next()
    for _ in range(12):
        server.sleep(1.0)
    failure = server.session.failure
    verdict = None
    if failure is not None and failure.number is not None and failure.step is not None:
        offset: Any = -1 if failure.overdue else failure.mismatch.offset
        if failure.step.method == "expect_frame" and not failure.overdue and (
                "header" in failure.mismatch.summary or ("frame" in failure.mismatch.summary
                and "before the client" not in failure.mismatch.summary
                and "without sending" not in failure.mismatch.summary)):
            offset = "header"
        verdict = (failure.number, failure.step.index, offset)
    elif failure is not None:
        verdict = ("none", failure.mismatch.summary)
    results = [step.result() for steps in handles for method, step in steps
               if method.startswith("expect") and step.satisfied]
    return verdict, results, [server.connection(number + 1).sent for number in range(len(scripts))]


def expected(scripts: list[list[Spec]], streams: list[tuple[bytes, str]]) -> tuple[Any, list[Any], list[bytes]]:
    """What the model makes of them."""
    results: list[Any] = []
    sent = [b""] * len(scripts)
    for number, (script, (stream, end)) in enumerate(zip(scripts, streams)):
        model = Model(script, stream, end)
        results += model.results
        sent[number] = model.sent
        if model.failed is not None:
            return (number + 1, *model.failed), results, sent
    return None, results, sent


def divide(data: bytes, source: random.Random) -> list[bytes]:
    """The data in pieces of random sizes."""
    pieces = []
    while data:
        count = source.choice([1, 1, 2, 3, 7, 20])
        pieces.append(data[:count])
        data = data[count:]
    return pieces


def is_certain(script: list[Spec], end: str, first: str) -> bool:
    """Whether the verdict is a function of the streams alone.

    A reset by the client, or a silence, is an event in time: only with the script written first does it come where the
    stream has it.
    """
    timed = any(step[0] in ("delay", "expect_silence") for step in script)
    acting = any(step[0] in ("send_bytes", "send_last", "send_eof", "disconnect", "reset") for step in script)
    return not (end == RST and (timed or (acting and first != "script")))


class SegmentationTests(unittest.TestCase):
    def check(self, seed: int) -> None:
        """Hold one random script against one random client, every way."""
        source = random.Random(seed)
        count = source.choice([1, 1, 1, 2, 3])
        scripts = [random_script(source) for _ in range(count)]
        streams = [good_stream(script, source) for script in scripts]
        if source.random() < 0.7:
            place = source.randrange(count)
            streams[place] = mutated(*streams[place], source)
        truth = expected(scripts, streams)
        ways: list[list[list[bytes]]] = [
            [[stream] if stream else [] for stream, _ in streams],
            [[stream[i:i + 1] for i in range(len(stream))] for stream, _ in streams],
            *([divide(stream, source) for stream, _ in streams] for _ in range(2)),
        ]
        if count == 1 and len(streams[0][0]) <= 12:
            stream = streams[0][0]
            ways += [[[stream[:i], stream[i:]]] for i in range(1, len(stream))]
        for pieces in ways:
            clients = [(way, end) for way, (_, end) in zip(pieces, streams)]
            for first in ("script", "bytes", "mixed"):
                if count > 1 and first != "bytes" and any(end == RST for _, end in streams):
                    continue  # a reset may come before the connection's turn, and what it means depends on when
                if all(is_certain(script, end, first) for script, (_, end) in zip(scripts, streams)):
                    got = play(scripts, clients, first=first, source=source)
                    self.assertEqual(got, truth, f"seed {seed}, {first} first\nscripts {scripts}\nclients {clients}")

    def test_verdict_is_that_of_the_model_however_the_stream_is_split(self) -> None:
        """Random scripts and clients from seeds; every segmentation and every order of writing agree."""
        for seed in range(1200 if LONG else 120):
            self.check(seed)

    @unittest.skipUnless(importlib.util.find_spec("hypothesis"), "needs hypothesis")
    def test_verdict_is_that_of_the_model_for_seeds_that_hypothesis_finds(self) -> None:
        """The same, with seeds chosen by hypothesis."""
        from hypothesis import given, settings, strategies
        settings(max_examples=150, deadline=None, database=None)(
            given(strategies.integers(2000, 10**9))(self.check))()


if __name__ == "__main__":
    unittest.main()
