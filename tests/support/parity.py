"""Random scripts and clients, played over sockets and in memory: whatever is observed has to be the same.

A play has one connection or two. Its clients do what the script wants; in most plays one of them does something else
somewhere: it sends too much, stops early, half-closes, resets, or doesn't read. What is compared: the verdict and the
step that failed, the results of steps and the order in which they were satisfied, the bytes of each direction, and how
each stream ended. Ports, times, and how streams are cut into chunks are not. What is sent fits into the buffers of any
system, which hold more or less of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from typing import Any, Callable, NamedTuple, Optional

from tcpclient_testing import ExpectationError, MockTCPServer, Network, VirtualClockEventLoop
from tcpclient_testing.aio.sockets.listening import LINGER_RESET
from tcpclient_testing.matchers import JSON, Regex
from tcpclient_testing.transcript.entries import NOTED, RECEIVED

from .streams import close

__all__ = ["Played", "differences", "play"]

#: What is done, in order: a script's steps as (method, arguments, options), a client's actions as (name, argument).
Script = list[tuple[str, tuple[Any, ...], dict[str, Any]]]
Program = list[tuple[str, Any]]


class Played(NamedTuple):
    """What was observed."""

    verdict: Optional[str]
    failed: Optional[tuple[int, int]]  # the connection and the step
    results: dict[int, list[Any]]  # by connection, as all below
    order: dict[int, list[int]]
    clients: dict[int, list[Any]]
    received: dict[int, bytes]
    notes: dict[int, list[str]]


def differences(one: Played, other: Played) -> list[str]:
    """Say in what two plays differ.

    If a connection makes the script fail, any other is cut off at that moment, wherever it was. So what had been done
    on it by then is not compared. If a connection is reset, the server may or may not have read the end of its client's
    stream before. A server that resets one by itself may have read less.
    """
    if (one.verdict, one.failed) != (other.verdict, other.failed):
        return [f"verdict: {one.verdict} {one.failed}, and {other.verdict} {other.failed}"]
    compared = range(3) if one.failed is None or not one.failed[0] else [one.failed[0]]
    return [f"{name} of connection {number}: {these.get(number)!r}, and {those.get(number)!r}"
            for name, these, those in zip(Played._fields[2:], one[2:], other[2:])
            for number in compared if these.get(number) != those.get(number)
            and not (_was_reset(one, number) and _was_reset(other, number) and
                     name == "notes" and _without_end(these[number]) == _without_end(those[number]))
            and not (_was_reset(one, number, "the server") and name == "received" and
                     _begins_alike(these.get(number, b""), those.get(number, b"")))]


def _was_reset(played: Played, number: int, who: str = "") -> bool:
    return any(note.startswith(f"reset by {who}") for note in played.notes.get(number, ()))


def _without_end(notes: list[str]) -> list[str]:
    return [note for note in notes if note != "the client ended its stream"]


def _begins_alike(this: bytes, that: bytes) -> bool:
    return this.startswith(that) or that.startswith(this)


class Play:
    """Makes up the scripts and clients of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.options = self._make_options()
        made = [self._connection(number) for number in range(1 if self.random.random() < 0.7 else 2)]
        self.scripts: list[Script] = [script for script, _ in made]
        self.programs: list[Program] = [program for _, program in made]
        if self.random.random() < 0.7:
            self._spoil(self.random.choice(self.programs))

    def _make_options(self) -> dict[str, Any]:
        chance = self.random.random
        options: dict[str, Any] = {"timeout": 1, "idle_timeout": 2}
        if chance() < 0.25:
            options["network"] = self.random.choice((
                Network(chunk=1), Network(chunk=7), Network(latency=0.01), Network(splits=(1, 3)),
                Network(rate=10_000), Network(latency=0.02, chunk=50)))
        for name, likely in ("allow_extra", 0.08), ("allow_open", 0.08):
            if chance() < likely:
                options[name] = True
        for name, likely in ("pipelining", 0.08), ("watch_streams", 0.2):
            if chance() < likely:
                options[name] = False
        return options

    def _connection(self, number: int) -> tuple[Script, Program]:
        script: Script = [("expect_connect", (), {})]
        program: Program = []
        if self.random.random() < 0.1:
            script.append(("allow", (b"beat\n",), {}))
            program += [("write", b"beat\n")] * self.random.randrange(3)
        for _ in range(self.random.randrange(1, 6)):
            steps, actions = self._exchange(number)
            script += steps
            program += actions
        sent = sum(argument for what, argument in program if what == "read")
        steps, actions = self._ending(sent)
        return script + steps, program + actions

    def _exchange(self, number: int) -> tuple[Script, Program]:
        """One step or two, and what a client does for them."""
        word = b"w%d-%d" % (number, self.random.randrange(100))
        size = self.random.choice((1, 10, 60) if "network" in self.options else (1, 10, 500, 5000, 30_000))
        data = b"%d" % size * size
        data = data[:size]
        choices: list[tuple[Script, Program]] = [
            ([("expect_line", (word,), {})], [("write", word + b"\r\n")]),
            ([("expect_line", (Regex(rb"w\d-\d+"),), {})], [("write", word + b"\r\n")]),
            ([("expect_line", (JSON({"a": 1}),), {})], [("write", b'{"a": 1}\r\n')]),
            ([("expect_bytes", (data,), {})],
             [("write", data[:200]), ("pause", 0.01), ("write", data[200:])]),
            ([("expect_frame", (word,), {})], [("write", len(word).to_bytes(4, "big") + word)]),
            ([("send_line", (word,), {})], [("read", len(word) + 2)]),
            ([("send_bytes", (data,), {})], [("read", len(data))]),
            ([("expect_line", (word,), {}), ("send_bytes", (data,), {})],
             [("write", word + b"\r\n"), ("read", len(data))]),
            ([("expect_silence", (0.05,), {})], [("pause", 0.1)]),
            ([("delay", (0.05,), {})], []),
            ([("set_network", (Network(chunk=self.random.randrange(100, 900)),), {})], []),
            ([("pause_reading", (), {}), ("delay", (0.02,), {}), ("resume_reading", (), {})], []),
        ]
        return self.random.choice(choices)

    def _ending(self, sent: int) -> tuple[Script, Program]:
        size = self.random.choice((0, 1, 9, 50))
        choices: list[tuple[Script, Program]] = [
            ([("expect_disconnect", (), {})], [("close", None)]),
            ([("expect_disconnect", (), {})], [("close", None)]),
            ([("expect_disconnect", (), {"wait_closed": False})], [("close", None)]),
            ([("disconnect", (), {})], [("read", -1), ("close", None)]),
            ([("disconnect", (), {}), ("expect_disconnect", (), {})], [("read", -1), ("close", None)]),
            ([("send_eof", (), {}), ("expect_disconnect", (), {})], [("read", -1), ("close", None)]),
            ([("expect_eof", (), {}), ("send_line", (b"bye",), {}), ("expect_disconnect", (), {})],
             [("half_close", None), ("read", 5), ("close", None)]),
            ([("expect_eof", (), {}), ("disconnect", (), {})], [("half_close", None), ("read", -1), ("close", None)]),
            ([("expect_reset", (), {})], [("reset", None)]),
            ([("reset", (), {})], [("read", -1), ("close", None)]),
            ([("reset_after", (sent + size,), {}), ("send_bytes", (b"x" * 60,), {})], [("read", -1), ("close", None)]),
            ([("disconnect_after", (sent + size,), {}), ("send_bytes", (b"x" * 60,), {})],
             [("read", -1), ("close", None)]),
            ([("stall_after", (sent + size,), {}), ("send_bytes", (b"x" * 60,), {}), ("expect_disconnect", (), {})],
             [("read", size), ("close", None)]),
            ([], [("close", None)]),
            ([], [("half_close", None), ("close", None)]),
        ]
        return self.random.choice(choices)

    def _spoil(self, program: Program) -> None:
        """Let a client do something else than the script wants."""
        at = self.random.randrange(len(program))
        other: list[Callable[[], None]] = [
            lambda: program.insert(at, ("write", b"?")),
            lambda: program.insert(at, ("half_close", None)),
            lambda: program.insert(at, ("pause", self.random.choice((0.01, 3)))),
            lambda: program.__delitem__(at),
            lambda: program.__setitem__(slice(at, None), [("close", None)]),
            lambda: program.__setitem__(slice(at, None), [("abort", None)]),
            lambda: program.__setitem__(slice(at, None), [("reset", None)]),
            lambda: program.__setitem__(slice(at, None), [("close_carelessly", None)]),
            lambda: program.__setitem__(slice(at, None), []),
        ]
        self.random.choice(other)()


async def _client(server: MockTCPServer, program: Program, log: list[Any]) -> None:
    """Connect, and do what the program says; note what is read, and how it ends."""
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        for what, argument in program:
            if what == "write":
                writer.write(argument)
                await writer.drain()
            elif what == "read":
                got = b""
                while len(got) != argument:
                    more = await reader.read(argument - len(got) if argument >= 0 else 10_000)
                    if not more:
                        break
                    got += more
                log.append(got)
            elif what == "half_close":
                writer.write_eof()
            elif what == "pause":
                await asyncio.sleep(argument)
            elif what == "close":
                await close(writer)
            elif what == "close_carelessly":
                writer.close()
            elif what == "abort":
                writer.transport.abort()
            elif what == "reset":
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
                writer.transport.abort()
        log.append("done")
    except (OSError, RuntimeError) as error:
        log.append(type(error).__name__)
    finally:
        writer.close()


async def _play(made: Play, in_memory: bool) -> Played:
    numbers = range(1, len(made.scripts) + 1)
    order: dict[int, list[int]] = {number: [] for number in numbers}
    steps: dict[int, list[Any]] = {number: [] for number in numbers}
    logs: dict[int, list[Any]] = {number: [] for number in numbers}
    server = MockTCPServer(in_memory=in_memory, **made.options)
    error: Optional[ExpectationError] = None

    async def follow(number: int, index: int, step: Any) -> None:
        with contextlib.suppress(Exception):
            await step
            order[number].append(index)
    try:
        async with server:
            for number, script in zip(numbers, made.scripts):
                connection = server.expect_connect().connection
                for method, arguments, options in script[1:]:
                    steps[number].append(getattr(connection, method)(*arguments, **options))
            following = [asyncio.ensure_future(follow(number, index, step)) for number, written in steps.items()
                         for index, step in enumerate(written) if hasattr(step, "__await__")]
            for number, program in zip(numbers, made.programs):
                await _client(server, program, logs[number])
    except ExpectationError as raised:
        error = raised
    except (asyncio.CancelledError, OSError, RuntimeError) as raised:
        logs[0] = [type(raised).__name__]
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    failure = server._runtime.session.failure
    transcript = server._runtime.transcript
    received: dict[int, bytes] = {}
    for entry in transcript:
        if entry.what == RECEIVED:
            received[entry.number] = received.get(entry.number, b"") + entry.content
    return Played(
        None if error is None else _normal(str(error).partition("\n")[0]),
        None if failure is None or failure.step is None else (failure.number or 0, failure.step.index),
        {number: list(map(_outcome, written)) for number, written in steps.items()}, order, logs, received,
        {number: [_normal(str(entry.content)) for entry in transcript if entry.what == NOTED and entry.number == number]
         for number in range(1, len(made.scripts) + 2)})


def _normal(text: str) -> str:
    """Return a text without ports and times."""
    return re.sub(r"\d+(\.\d+)? m?s\b", "T", re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text))


def _outcome(step: Any) -> Any:
    if not hasattr(step, "done"):
        return None
    if not step.done():
        return "not done"
    exception = step.exception()
    if exception is not None:
        return type(exception).__name__
    result = step.result()
    return result[0] if isinstance(result, re.Match) else result


def play(seed: int, *, in_memory: bool) -> Played:
    """Play the scripts and clients of this seed, on virtual time."""
    loop = VirtualClockEventLoop()
    loop.set_exception_handler(lambda *_: None)
    try:
        return loop.run_until_complete(_play(Play(seed), in_memory))
    finally:
        loop.close()
