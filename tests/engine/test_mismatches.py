"""Tests of the mismatches: the text of each in one table."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine import mismatches
from tcpclient_testing.engine.mismatches import (
    BytesDiffer,
    CallableRaised,
    CheckRaised,
    DigestDiffers,
    FieldDiffers,
    LengthDiffers,
    MalformedFrame,
    MessageMissing,
    Mismatch,
    NotJSON,
    ReadingRaised,
    Unmatched,
    ValueDiffers,
)

LONG = b"a" * 100

TEXTS = [
    (Mismatch("nothing came"), "nothing came", None),
    (
        BytesDiffer(b"Hello, server!", b"Hello, sorver!", 8),
        "expected b'Hello, server!', got b'Hello, sorver!' at byte 8",
        8,
    ),
    (
        BytesDiffer(b"Hello, server!", b"Hello, so", 8),
        "expected b'Hello, server!', got b'Hello, so' at byte 8",
        8,
    ),
    (
        BytesDiffer(b"GET", b"PU", 0, prefix=True),
        "expected b'GET' at the start, got b'PU' at byte 0",
        0,
    ),
    (
        BytesDiffer(b"HELO", b"EHLO x", 0, prefix=True),
        "expected b'HELO' at the start, got b'EHLO x' at byte 0",
        0,
    ),
    (
        BytesDiffer(LONG + b"b" + LONG, LONG + b"c", 100),
        f"expected ...b'{'a' * 12}b{'a' * 11}'..., got ...b'{'a' * 12}c' at byte 100",
        100,
    ),
    (
        BytesDiffer(bytes(40), bytes(20) + b"x", 20),
        r"expected ...b'\x00\x00\x00\x00\x00\x00'..., got ...b'\x00\x00\x00x' at byte 20",
        20,
    ),
    (LengthDiffers.announced(3, "b'abc'", 4), "expected 3 bytes b'abc', got a header that announces 4", None),
    (
        LengthDiffers.announced(1, "starting with b'a'", 0, at_least=True),
        "expected at least 1 byte starting with b'a', got a header that announces 0",
        None,
    ),
    (LengthDiffers.ended(11, "b'Hello world'", 3, b"Hel"), "expected 11 bytes b'Hello world', got 3 (b'Hel')", 3),
    (LengthDiffers.ended(11, "b'Hello world'", 0, b""), "expected 11 bytes b'Hello world', got 0", 0),
    (
        LengthDiffers.ended(200, "of data", 100, b"xyz"),
        "expected 200 bytes of data, got 100 (the last of them b'xyz')",
        100,
    ),
    (
        LengthDiffers.continued(3, "b'abc'", 5, b"abcde"),
        "expected 3 bytes b'abc', got more (b'abcde'); too long from byte 3",
        3,
    ),
    (
        LengthDiffers.continued(100, "of data", 101, b"xyz"),
        "expected 100 bytes of data, got more (the last of them b'xyz'); too long from byte 100",
        100,
    ),
    (Unmatched("Regex(b'x')", b"y"), "expected Regex(b'x'), got b'y'", None),
    (Unmatched("Regex(b'x')", b"y", "no"), "expected Regex(b'x'), got b'y'; no", None),
    (Unmatched("Predicate(f)", {"a": 1}, "no"), "expected Predicate(f), got {'a': 1}; no", None),
    (
        CheckRaised("Predicate(f)", b"y", KeyError("z")),
        "expected Predicate(f), got b'y'; the check raised KeyError: 'z'",
        None,
    ),
    (
        DigestDiffers("md5", "00ff", "ff00", 12),
        "expected data with the md5 digest 00ff, got ff00 of 12 bytes",
        None,
    ),
    (
        FieldDiffers("size", "bytes 4 to 7", "3", "4", 4),
        "expected 3 in field size (bytes 4 to 7), got 4",
        4,
    ),
    (ValueDiffers([("$.id", "expected 1, got 2")]), "at $.id: expected 1, got 2", None),
    (
        ValueDiffers([("$.id", "expected 1, got 2"), ("$.x", "expected 1, got 3")]),
        "at $.id: expected 1, got 2 (and 1 other difference)",
        None,
    ),
    (
        NotJSON("JSON()", b"{]", "expecting a key", 1),
        "expected JSON(), got b'{]', which isn't JSON: expecting a key at byte 1",
        1,
    ),
    (NotJSON("JSON()", b"[[", "too deep", None), "expected JSON(), got b'[[', which isn't JSON: too deep", None),
    (MalformedFrame("no magic", offset=0), "no magic", 0),
    (ReadingRaised("MyJudge", KeyError("z")), "MyJudge raised KeyError: 'z', while a message was read", None),
    (CallableRaised("the callable of x", KeyError("z")), "the callable of x raised KeyError: 'z'", None),
    (MessageMissing("expected a line, nothing received", b"x", b""), "expected a line, nothing received", None),
]


class MismatchTests(unittest.TestCase):
    """Mismatches are values that describe themselves."""

    def test_text_of_each(self) -> None:
        """The summary is one line in the house style, and the offset is the byte at fault."""
        for mismatch, summary, offset in TEXTS:
            with self.subTest(summary=summary):
                self.assertEqual(mismatch.summary, summary)
                self.assertEqual(mismatch.offset, offset)
                self.assertNotIn("\n", mismatch.summary + "".join(mismatch.details))
                self.assertEqual(repr(mismatch), f"<{type(mismatch).__name__}: {summary}>")

    def test_table_is_complete(self) -> None:
        """Every public class of mismatch stands in the table."""
        classes = {name for name in mismatches.__all__ if isinstance(getattr(mismatches, name), type)}
        self.assertEqual({type(row[0]).__name__ for row in TEXTS}, classes)

    def test_bytes_that_differ_fit_in_the_first_line(self) -> None:
        """However long they are, and wherever they differ, that byte is shown, and the text is short."""
        for prefix in (False, True):
            for place in range(200):
                expected = b"." * place + b"X" + b"." * (199 - place)
                for received in (b"." * place + b"Y", b"." * place + b"Y" + b"." * 400):
                    summary = BytesDiffer(expected, received, place, prefix=prefix).summary
                    self.assertLessEqual(len(summary), mismatches.CAUSE, summary)
                    self.assertRegex(summary, r"X.*, got .*Y")

    def test_instances_are_small(self) -> None:
        """No mismatch has a __dict__."""
        for mismatch, _, _ in TEXTS:
            self.assertFalse(hasattr(mismatch, "__dict__"), type(mismatch))

    def test_details_of_bytes(self) -> None:
        """Bytes that differ are shown as a hexdump, and so are lengths, if all bytes are known."""
        self.assertEqual(
            BytesDiffer(b"ab", b"ax", 1).details,
            ("expected  61 62  |ab|", "received  61 78  |ax|", "             ^^    ^"),
        )
        self.assertEqual(
            LengthDiffers.ended(2, b"ab", 1, b"a").details,
            ("expected  61 62  |ab|", "received  61     |a|", "             ^^    ^"),
        )
        self.assertEqual(
            LengthDiffers.continued(1, b"a", 2, b"ab").details,
            ("expected  61     |a|", "received  61 62  |ab|", "             ^^    ^"),
        )

    def test_details_of_values(self) -> None:
        """Several differences are listed, the first ten of many."""
        differences = [(f"$[{index}]", "expected 1, got 2") for index in range(12)]
        details = ValueDiffers(differences).details
        self.assertEqual(details[0], "at $[0]: expected 1, got 2")
        self.assertEqual(details[9:], ("at $[9]: expected 1, got 2", "... and 2 other differences"))

    def test_fields_of_mismatches(self) -> None:
        """The values that a mismatch is about can be asked for."""
        error = ValueError()
        self.assertIs(CheckRaised("f", b"", error).exception, error)
        self.assertEqual(ValueDiffers([("$.id", "")]).path, "$.id")
        self.assertEqual(LengthDiffers.announced(3, "", 4).received, 4)

    def test_expected_and_received_of_each(self) -> None:
        """Every mismatch has the attributes that tests compare; None where there is nothing to compare."""
        for mismatch, _, _ in TEXTS:
            for name in ("expected", "received", "offset", "hint"):
                self.assertTrue(hasattr(mismatch, name), (mismatch, name))
        plain = Mismatch("something is wrong")
        self.assertIsNone(plain.expected)
        self.assertIsNone(plain.received)
        self.assertIsNone(plain.hint)
        self.assertFalse(hasattr(plain, "other"))
        differs = BytesDiffer(b"GET", b"GOT", 1)
        self.assertEqual((differs.expected, differs.received, differs.offset), (b"GET", b"GOT", 1))
        missing = MessageMissing("", b"Hello", b"He")
        self.assertEqual((missing.expected, missing.received, missing.offset), (b"Hello", b"He", None))
        self.assertEqual(Unmatched(lambda: "Regex(b'x')", b"y").expected, "Regex(b'x')")
        self.assertEqual(MalformedFrame("no magic", received=b"zz").received, b"zz")

    def test_fields_that_a_subclass_sets_first(self) -> None:
        """A mismatch of the user's own may set its fields before or after it calls `Mismatch.__init__`."""

        class Own(Mismatch):
            def __init__(self) -> None:
                self.expected = 1
                self.hint = "make it 1"
                super().__init__("it is not 1")
                self.received = 2

        own = Own()
        self.assertEqual((own.expected, own.received, own.summary, own.hint), (1, 2, "it is not 1", "make it 1"))
        own.advise("count again")
        self.assertEqual((own.hint, Mismatch("so", hint="ask").hint), ("count again", "ask"))

    def test_text_when_the_tests_own_code_raises(self) -> None:
        """The repr of a matcher, say, is asked for when a report is made, and a report must always be made."""
        def broken() -> str:
            raise KeyError("repr")

        def no_rows() -> tuple[str, ...]:
            raise KeyError("rows")

        self.assertEqual(Unmatched(broken, b"").summary, "Unmatched, whose text can't be made: KeyError: 'repr'")
        field = FieldDiffers("a", "byte 0", "1", "2", 0, no_rows)
        self.assertEqual(field.details, ("details can't be shown: KeyError: 'rows'",))
        self.assertEqual(field.summary, "expected 1 in field a (byte 0), got 2")

    def test_text_is_made_when_it_is_read(self) -> None:
        """Of several possible messages all but one end in a mismatch that nobody reads: its text is not made."""
        made: list[str] = []

        def text() -> str:
            made.append("text")
            return "so"

        def rows() -> tuple[str, ...]:
            made.append("rows")
            return ("row",)

        def make() -> list[Mismatch]:
            return [Unmatched(text, b"", text), MalformedFrame(text), ValueDiffers([("$", text)]),
                    FieldDiffers("a", "byte 0", "1", "2", 0, rows)]

        for mismatch in make():
            with self.subTest(kind=type(mismatch).__name__):
                made.clear()
                read = mismatch.summary, mismatch.details
                count = len(made)
                self.assertGreater(count, 0)
                self.assertEqual((mismatch.summary, mismatch.details), read)
                self.assertEqual(len(made), count, "it is made once")
        made.clear()
        make()
        self.assertEqual(made, [])
