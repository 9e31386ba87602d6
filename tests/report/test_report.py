"""Whole reports, as people read them: each kind of failure has its golden file.

``TCPCLIENT_TESTING_GOLDEN=write python -m unittest tests.report.test_report`` writes them anew; look at the
difference before you commit it.
"""

from __future__ import annotations

import os
import pickle
import re
import time
import unittest
from pathlib import Path
from typing import Any, Callable, ClassVar

from tcpclient_testing.engine import commands
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.session.standstill import DATA, END
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.report import ExpectationError, Report
from tcpclient_testing.transcript.entries import Transcript

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("TCPCLIENT_TESTING_GOLDEN") == "write"


def normalised(text: str) -> str:
    """The text without what differs from run to run: numbers of lines."""
    text = re.sub(r"test_report\.py:\d+", "test_report.py:LINE", text)
    text = re.sub(r'File ".*?test_report\.py", line \d+', 'File "test_report.py", line LINE', text)
    text = re.sub(r"^ +[~^]+$\n", "", text, flags=re.MULTILINE)  # Python 3.11 and later underline in tracebacks
    return re.sub(r"(?<= ):\d+( from :\d+)?$", ":LINE", text, flags=re.MULTILINE) + "\n"


class Recorded(MemoryServer):
    """A server that keeps a transcript, with times of its own making: a millisecond an event."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transcript = Transcript(0.0, 1024 * 1024)

    def connect(self) -> int:
        """A client connects."""
        self.now += 0.001
        accepted = self.session.environment.accepted
        self.transcript.connected(self.now, accepted + 1, f"127.0.0.1:{50000 + accepted}")
        return super().connect()

    def receive(self, data: bytes, number: int = 1) -> None:
        """The client's next bytes."""
        self.now += 0.001
        self.transcript.received(self.now, number, data)
        super().receive(data, number)

    def half_close(self, number: int = 1) -> None:
        """The client ends its stream."""
        self.now += 0.001
        self.transcript.note(self.now, number, "the client ended its stream")
        super().half_close(number)

    def reset_by_client(self, number: int = 1) -> None:
        """The client resets."""
        self.now += 0.001
        self.transcript.note(self.now, number, "reset by the client")
        super().reset_by_client(number)

    def _on_send(self, command: Any) -> None:
        super()._on_send(command)
        self.transcript.sent(self.now, command.number, self.connection(command.number).writes[-1])

    _TABLE: ClassVar[Any] = {**MemoryServer._TABLE, commands.Send: _on_send}

    def error(self) -> ExpectationError:
        """The failure as it is raised."""
        for conversation in self.session.conversations:
            if conversation.inbox.accepted and self.session.failure is not None:
                self.transcript.note(self.now, conversation.number, "reset by the server: the script failed")
        return ExpectationError(Report.of(self.session, self.transcript))


def started(**options: Any) -> Recorded:
    """A script whose client has connected."""
    server = Recorded(**options)
    server.expect_connect()
    server.connect()
    return server


def wrong_bytes() -> Recorded:
    """The example of the design."""
    server = Recorded()
    server.expect_connect()
    server.expect_bytes(b"Hello, server!")
    server.send_bytes(b"Hello, client!")
    server.expect_disconnect()
    server.connect()
    server.receive(b"Hello, sorver!")
    return server


def never_connected() -> Recorded:
    """No client at all."""
    server = Recorded()
    server.expect_connect()
    server.expect_line(b"hello")
    server.sleep(6)
    return server


def did_not_reconnect() -> Recorded:
    """The client does not come again."""
    server = started()
    server.expect_disconnect()
    server.half_close()
    server.expect_connect()
    server.sleep(6)
    return server


def silent() -> Recorded:
    """Half a line, and then nothing."""
    server = started()
    server.expect_line()
    server.receive(b"PASS se")
    server.sleep(6)
    return server


def closed_early() -> Recorded:
    """The end of the stream in the middle of a message."""
    server = started()
    server.expect_bytes(b"Hello world")
    server.receive(b"Hel")
    server.half_close()
    return server


def reset() -> Recorded:
    """A reset where a close is expected."""
    server = started()
    server.expect_disconnect()
    server.reset_by_client()
    return server


def reset_over_a_reply() -> Recorded:
    """A reset with a reply under way: the client may have closed without reading it."""
    server = started()
    server.expect_line()
    server.send_line(b"250 OK")
    server.expect_disconnect()
    server.receive(b"HELO\r\n")
    server.reset_by_client()
    return server


def other_line_ending() -> Recorded:
    """LF where the script says CR LF."""
    server = started()
    server.expect_line(b"HELO")
    server.receive(b"HELO\n")
    return server


def extra_bytes() -> Recorded:
    """More than the script explains."""
    server = started()
    server.expect_line(b"NOOP")
    server.receive(b"NOOP\r\nQUIT\r\n")
    server.session.settle(server.now, allow_open=True, allow_extra=False)
    return server


def bytes_instead_of_disconnect() -> Recorded:
    """The client talks instead of closing."""
    server = started()
    server.expect_disconnect()
    server.receive(b"QUIT\r\n")
    return server


def extra_connection() -> Recorded:
    """The client connects once more than the script says."""
    server = started()
    server.expect_disconnect()
    server.half_close()
    server.connect()
    server.session.settle(server.now, allow_open=False, allow_extra=False)
    return server


def forgotten_connection() -> Recorded:
    """The client has connected a second time, and left its first connection open."""
    server = started()
    server.expect_line(b"HELO")
    server.expect_disconnect()
    server.receive(b"HELO\r\n")
    server.connect()
    server.receive(b"HELO\r\n", 2)
    server.sleep(6)
    return server


def still_connected() -> Recorded:
    """The client is left open."""
    server = started()
    server.session.settle(server.now, allow_open=False, allow_extra=False)
    return server


def idle() -> Recorded:
    """Everything is done, and the client waits."""
    server = started()
    server.sleep(40)
    return server


def reply_missing() -> Recorded:
    """Everything is done, and the test waits for a reply to what the client has sent."""
    server = started()
    server.receive(b"GET b\r\n")
    server.waits[1] = DATA, None
    server.sleep(40)
    return server


def half_closed_and_waiting() -> Recorded:
    """Everything is done, and the client that has half-closed waits for the server's end."""
    server = started()
    server.half_close()
    server.waits[1] = END, None
    server.sleep(40)
    return server


def not_reading() -> Recorded:
    """The client takes only a part of what it is sent."""
    server = started(taking=False)
    server.send_bytes(bytes(10_000_000))
    server.turn()
    server.take(4096)
    server.sleep(6)
    return server


def callable_raises() -> Recorded:
    """The test's own callable is at fault."""
    server = started()
    server.expect_line()
    server.send_line(broken)
    server.receive(b"id=7\r\n")
    return server


def broken(line: bytes) -> bytes:
    """A reply with a mistake in it."""
    return {b"id=1": b"one"}[line]


def wrong_frame_length() -> Recorded:
    """A header announces another length."""
    server = started()
    server.expect_frame(b"payload")
    server.receive(b"\0\0\0\x09pay")
    return server


def two_connections() -> Recorded:
    """The second of two connections fails; both scripts are shown."""
    server = Recorded()
    server.expect_connect()
    server.expect_line(b"first")
    server.expect_connect()
    server.expect_line(b"second")
    server.connect()
    server.receive(b"first\r\n")
    server.connect()
    server.receive(b"third\r\n", 2)
    return server


def unordered() -> Recorded:
    """A connection whose first messages may come in any order; one of them has come."""
    server = started()
    handle = server.connection()
    with handle.any_order():
        handle.expect_line(b"USER a")
        handle.send_line(b"hello")
        handle.expect_line(b"NICK b")
        handle.expect_bytes(b"CAP\r\n")
    handle.expect_disconnect()
    server.receive(b"NICK b\r\n")
    return server


def any_order_messages_missing() -> Recorded:
    """Two of three messages do not come."""
    server = unordered()
    server.sleep(6)
    return server


def any_order_closed_early() -> Recorded:
    """The client leaves in the middle of the block."""
    server = unordered()
    server.half_close()
    return server


def any_order_other_message() -> Recorded:
    """A message that is none of those."""
    server = unordered()
    server.receive(b"QUIT\r\n")
    return server


def any_order_connections_missing() -> Recorded:
    """Two of three connections do not come."""
    server = Recorded()
    with server.any_order():
        for name in (b"one", b"two", b"three"):
            server.expect_connect()
            server.expect_line(name)
            server.expect_disconnect()
    server.connect()
    server.receive(b"two\r\n")
    server.half_close()
    server.sleep(6)
    return server


def any_order_other_connection() -> Recorded:
    """A connection that is none of those."""
    server = Recorded()
    with server.any_order():
        for name in (b"one", b"two"):
            server.expect_connect()
            server.expect_line(name)
    server.connect()
    server.receive(b"three\r\n")
    return server


CASES: tuple[Callable[[], Recorded], ...] = (
    wrong_bytes, never_connected, did_not_reconnect, silent, closed_early, reset, reset_over_a_reply,
    other_line_ending, extra_bytes, bytes_instead_of_disconnect, extra_connection, forgotten_connection,
    still_connected, idle, reply_missing, half_closed_and_waiting, not_reading,
    callable_raises, wrong_frame_length, two_connections, any_order_messages_missing, any_order_closed_early,
    any_order_other_message, any_order_connections_missing, any_order_other_connection,
)


class GoldenTests(unittest.TestCase):
    maxDiff = None

    def test_reports_are_those_of_the_golden_files(self) -> None:
        """Each kind of failure is reported word for word as its file says."""
        for case in CASES:
            with self.subTest(case=case.__name__):
                text = normalised(str(case().error()))
                path = GOLDEN / f"{case.__name__}.txt"
                if WRITE:
                    path.write_text(text, encoding="utf-8")
                self.assertEqual(text, path.read_text(encoding="utf-8"))

    def test_each_golden_file_has_its_case(self) -> None:
        """No file is left of a case that is gone."""
        self.assertEqual({path.stem for path in GOLDEN.glob("*.txt")}, {case.__name__ for case in CASES})

    def test_first_line_stands_alone(self) -> None:
        """It is one line, begins with no capital, has no full stop, and an empty line follows."""
        for case in CASES:
            with self.subTest(case=case.__name__):
                first, second = str(case().error()).split("\n")[:2]
                self.assertTrue((first[0].islower() or first[0].isdigit()) and not first.endswith("."), first)
                self.assertEqual(second, "")

    def test_first_line_ends_with_the_place(self) -> None:
        """What is wrong comes first; the connection stands in parentheses unless it was named, or none has come."""
        place = r"test_report\.py:\d+ from test_report\.py:\d+"
        for case in CASES:
            with self.subTest(case=case.__name__):
                error = case().error()
                first, *body = str(error).split("\n")
                what = error.mismatch.summary
                if case in (reset_over_a_reply, other_line_ending):
                    self.assertEqual(body[1], f"  {what}")
                    what = first.partition(" (connection")[0]
                where = [] if case in (never_connected, extra_connection) else [f"connection {error.connection}"]
                steps = case().session.connections.of(error.connection).script.steps if error.connection else []
                if error.step is None and steps and case is not any_order_other_connection:
                    where.append(rf"after step {len(steps)} of {len(steps)}, test_report\.py:\d+")
                if error.step is not None:
                    where.append(rf"step {error.step.index + 1} of \d+, {place}")
                written = re.escape(" (") + ", ".join(where) + re.escape(")") if where else ""
                self.assertRegex(first, f"^{re.escape(what)}{written}$")


class ReportTests(unittest.TestCase):
    def test_huge_data_and_thousands_of_steps_make_a_short_report_quickly(self) -> None:
        """What is shown is the neighbourhood of the failure."""
        server = Recorded()
        server.expect_connect()
        for _ in range(5000):
            server.expect_bytes(b"y" * 1000)
        server.connect()
        server.receive(b"y" * 2_500_000 + b"x" * 20_000_000)
        begun = time.perf_counter()
        text = str(server.error())
        self.assertLess(time.perf_counter() - begun, 20.0)
        self.assertLess(len(text), 5000)
        self.assertRegex(text.splitlines()[0], rf"^expected b'{'y' * 21}'\.\.\., got b'{'x' * 21}'\.\.\. at byte 0 "
                                               r"\(connection 1, step 2502 of 5001, test_report\.py:\d+\)$")

    def test_fields_and_pickling(self) -> None:
        """An ExpectationError has what it is about in fields, and its text travels to other processes."""
        error = wrong_bytes().error()
        self.assertEqual((error.connection, error.step and error.step.index, error.mismatch.offset), (1, 1, 8))
        self.assertEqual((error.mismatch.expected, error.mismatch.received), (b"Hello, server!", b"Hello, sorver!"))
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((str(copy), isinstance(copy, AssertionError)), (str(error), True))

    def test_values_of_mismatches_that_are_no_wrong_byte(self) -> None:
        """What was expected and what came can be compared also where a message is missing, or another thing came."""
        short = started()
        short.expect_bytes(b"Hello")
        short.receive(b"He")
        short.half_close()
        late = started()
        late.expect_line(b"Hello")
        late.receive(b"Hel")
        late.sleep(6)
        other = started()
        other.expect_disconnect()
        other.receive(b"more")
        mismatches = [server.error().mismatch for server in (short, late, other)]
        values = [(mismatch.expected, mismatch.received) for mismatch in mismatches]
        self.assertEqual(values[0], (b"Hello", b"He"))
        self.assertEqual((values[1][0].data, values[1][1]), (b"Hello", b"Hel"))
        self.assertEqual(values[2], (None, b"more"))

    def test_first_line_when_a_text_of_the_users_has_several(self) -> None:
        """It is one line: of an exception the first, of which all stands below; of a mismatch all of them."""
        def broken(_: Any) -> bytes:
            raise ValueError("first\nsecond\nthird")

        class Multiline(Matcher[bytes]):
            def match(self, message: bytes) -> Mismatch:
                return Mismatch("not\n  what\nit should be")

        raising, wrong = Recorded(), Recorded()
        for server in (raising, wrong):
            server.expect_connect()
        raising.send_bytes(broken)
        wrong.expect_line(Multiline())
        for server in (raising, wrong):
            server.connect()
        wrong.receive(b"\r\n")
        lines = str(raising.error()).splitlines()
        self.assertRegex(lines[0], r"^the callable of send_bytes\(\) raised ValueError: first "
                                   r"\(connection 1, step 2 of 2, test_report\.py:\d+\)$")
        self.assertIn("  third", lines)
        self.assertEqual(lines[1], "")
        self.assertRegex(str(wrong.error()).splitlines()[0],
                         r"^not what it should be \(connection 1, step 2 of 2, test_report\.py:\d+\)$")

    def test_consequence_stands_in_the_last_section(self) -> None:
        """What the client raised afterwards comes last."""
        gone = ConnectionResetError("gone")
        error = ExpectationError(wrong_bytes().error().report, gone)
        self.assertIs(error.client_exception, gone)
        self.assertTrue(str(error).endswith("  then the client raised\n    ConnectionResetError: gone"))

    def test_notes_stand_below_the_transcript(self) -> None:
        """Further lines, such as those about scaled time-outs, end the report; without any, nothing is added."""
        server = wrong_bytes()
        plain = Report.of(server.session, server.transcript, hint="look there")
        noted = Report.of(server.session, server.transcript, hint="look there", notes=["  time-outs", "    are long"])
        self.assertEqual(plain.body[-2:], ["  hint", "    look there"])
        self.assertEqual(noted.body, [*plain.body, "  time-outs", "    are long"])


if __name__ == "__main__":
    unittest.main()
