"""Tests of the wording that mismatches share."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine import wording


class CountedTests(unittest.TestCase):
    """Numbers with their nouns."""

    def test_counted_for_one_and_others(self) -> None:
        """One byte, and other numbers of bytes."""
        self.assertEqual([wording.counted(n, "byte") for n in (0, 1, 2)], ["0 bytes", "1 byte", "2 bytes"])

    def test_place_of_one_byte_and_several(self) -> None:
        """A place is inclusive at both ends, as people count."""
        self.assertEqual(wording.place(4, 5), "byte 4")
        self.assertEqual(wording.place(4, 8), "bytes 4 to 7")


class ShortenTests(unittest.TestCase):
    """Bytes as text, shortened around a difference and never at it."""

    def test_shorten_when_short(self) -> None:
        """Short data is its repr."""
        self.assertEqual(wording.shorten(b"Hello\r\n"), r"b'Hello\r\n'")
        self.assertEqual(wording.shorten(b""), "b''")
        self.assertEqual(wording.shorten(b"a" * 60), repr(b"a" * 60))

    def test_shorten_at_the_beginning(self) -> None:
        """Without a place, the beginning is shown, with the counts."""
        self.assertEqual(wording.shorten(b"a" * 61, limit=20), f"b'{'a' * 20}'... (the first 20 of 61 bytes)")

    def test_shorten_in_the_middle(self) -> None:
        """Around a place in the middle, both sides are marked."""
        data = b"a" * 50 + b"X" + b"b" * 50
        self.assertEqual(wording.shorten(data, 50, 20), "...b'aaaaaaaaaaXbbbbbbbbb'... (bytes 40 to 59 of 101)")

    def test_shorten_at_the_end(self) -> None:
        """A place just behind the end, where a message ends too early, shows the end."""
        self.assertEqual(wording.shorten(b"a" * 100, 100, 20), "...b'aaaaaaaaaa' (the last 10 of 100 bytes)")

    def test_shorten_when_escaped(self) -> None:
        """Data of escapes is shortened further, but to no less than 16 bytes."""
        text = wording.shorten(bytes(100), 50)
        self.assertEqual(text, "...b'" + r"\x00" * 16 + "'... (bytes 42 to 57 of 100)")
        self.assertEqual(wording.shorten(bytes(16)), repr(bytes(16)))

    def test_shorten_never_at_the_difference(self) -> None:
        """Whatever the place, its byte is in the text."""
        for filler in (b"a", b"\0"):
            for place in range(300):
                data = filler * place + b"X" + filler * (299 - place)
                self.assertIn("X", wording.shorten(data, place), place)

    def test_shorten_str(self) -> None:
        """Text is shortened alike, and counted in characters."""
        self.assertEqual(wording.shorten("é" * 70, limit=20), f"'{'é' * 20}'... (the first 20 of 70 characters)")

    def test_shorten_huge(self) -> None:
        """Only what is shown of large data is made into text."""
        self.assertLess(len(wording.shorten(bytes(10_000_000), 5_000_000)), 150)


class BriefTests(unittest.TestCase):
    """Bytes as text for the first line of a report, where room is short."""

    def test_brief_when_there_is_little_room(self) -> None:
        """Fewer bytes are shown, but at least 4."""
        self.assertEqual(wording.brief(b"a" * 30, room=12), "b'aaaaaa'...")
        self.assertEqual(wording.brief(b"a" * 20, room=12), "b'aaaaaa'...")
        self.assertEqual(wording.brief(bytes(30), room=1), r"b'\x00\x00\x00\x00'...")
        self.assertEqual(wording.brief(bytes(3), room=1), r"b'\x00\x00\x00'")

    def test_brief_never_at_the_place(self) -> None:
        """Whatever the place and the room, its byte is in the text."""
        for filler in (b"a", b"\0"):
            for room in (1, 20, 72):
                for place in range(100):
                    data = filler * place + b"X" + filler * (99 - place)
                    self.assertIn("X", wording.brief(data, place, room), place)

    def test_brief_huge(self) -> None:
        """Only what is shown of large data is made into text."""
        self.assertLess(len(wording.brief(bytes(10_000_000), 5_000_000)), 100)

    def test_contrast_when_there_is_little_room(self) -> None:
        """Less of both is shown, but the same part of both, and at least 4 bytes."""
        ours, theirs = b"a" * 50 + b"X" + b"b" * 50, b"a" * 50 + b"Y"
        self.assertEqual(wording.contrast(ours, theirs, 50, 40),
                         (f"...b'{'a' * 8}X{'b' * 7}'...", f"...b'{'a' * 8}Y'"))
        self.assertEqual(wording.contrast(ours, theirs, 50, 0), ("...b'aaXb'...", "...b'aaY'"))
        self.assertEqual(wording.contrast(b"ab", b"ax", 1, 0), ("b'ab'", "b'ax'"))


class ShortenReprTests(unittest.TestCase):
    """Any value on one line."""

    def test_shorten_repr_of_values(self) -> None:
        """Short values are their repr, long ones are cut with the count said, new lines are spaces."""

        class Lines:
            def __repr__(self) -> str:
                return "one\ntwo"

        class Broken:
            def __repr__(self) -> str:
                raise ZeroDivisionError

        self.assertEqual(wording.shorten_repr([1]), "[1]")
        self.assertEqual(wording.shorten_repr(b"x" * 90, 20), "b'xxxxxxxxxxxxxxxxxxxx'... (the first 20 of 90 bytes)")
        self.assertEqual(wording.shorten_repr([0] * 90, 20), "[0, 0, 0, 0, 0, 0, 0... (250 more characters)")
        self.assertEqual(wording.shorten_repr(Lines()), "one two")
        self.assertEqual(wording.shorten_repr(Broken()), "<Broken whose repr raises ZeroDivisionError>")


class ExceptionTextTests(unittest.TestCase):
    """Exceptions on one line."""

    def test_exception_text(self) -> None:
        """The type, and the first line of the text where there is one."""

        class BrokenError(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        self.assertEqual(wording.exception_text(ValueError("no\nand more")), "ValueError: no")
        self.assertEqual(wording.exception_text(KeyError()), "KeyError")
        self.assertEqual(wording.exception_text(BrokenError()), "BrokenError")
        self.assertEqual(wording.exception_text(ValueError("x" * 300), 5), "ValueError: xxxxx...")


class FirstDifferenceTests(unittest.TestCase):
    """The first byte that differs."""

    def test_first_difference_anywhere(self) -> None:
        """Each place is found, at each start, and a byte beyond the end is a difference."""
        expected = bytes(range(100)) + b"!" * 33
        for start in (0, 1, 64, 132, 133):
            rest = expected[start:]
            self.assertIsNone(wording.first_difference(expected, memoryview(rest), start))
            self.assertEqual(wording.first_difference(expected, memoryview(rest + b"x"), start), len(rest))
            for place in range(len(rest)):
                wrong = bytearray(rest)
                wrong[place] ^= 0xFF
                self.assertEqual(wording.first_difference(expected, memoryview(wrong), start), place)
                wrong[place:] = bytes(255 - byte for byte in rest[place:])
                self.assertEqual(wording.first_difference(expected, memoryview(wrong), start), place)


class DifferenceRowsTests(unittest.TestCase):
    """The hexdump of both sides."""

    def assertRows(self, expected: bytes, received: bytes, offset: int, *rows: str) -> None:
        self.assertEqual("\n".join(wording.difference_rows(expected, received, offset)), "\n".join(rows))

    def test_rows_when_short(self) -> None:
        """Two rows without offsets, and a mark under both forms of the byte."""
        self.assertRows(
            b"Hello, server!",
            b"Hello, sorver!",
            8,
            "expected  48 65 6c 6c 6f 2c 20 73 65 72 76 65 72 21  |Hello, server!|",
            "received  48 65 6c 6c 6f 2c 20 73 6f 72 76 65 72 21  |Hello, sorver!|",
            "                                  ^^                          ^",
        )

    def test_rows_when_one_ends(self) -> None:
        """Where one side has no byte, the mark is where it would be."""
        self.assertRows(
            b"\0abc",
            b"\0a",
            2,
            "expected  00 61 62 63  |.abc|",
            "received  00 61        |.a|",
            "                ^^        ^",
        )

    def test_rows_when_long(self) -> None:
        """The row of the difference and its neighbours, with their offsets; equal rows are given once."""
        self.assertRows(
            b"0123456789abcdef" * 8,
            b"0123456789abcdef" * 6 + b"0123x56789abcdef" + b"0123456789abcdef",
            100,
            "both       80  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
            "expected   96  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
            "received   96  30 31 32 33 78 35 36 37 38 39 61 62 63 64 65 66  |0123x56789abcdef|",
            "                           ^^                                        ^",
            "both      112  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
        )

    def test_rows_when_all_the_rest_differs(self) -> None:
        """Only the first difference is marked; the next row shows how it goes on."""
        self.assertRows(
            b"0123456789abcdef" * 2,
            b"0123456789abcde" + b"0123456789abcdef",
            15,
            "expected   0  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
            "received   0  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 30  |0123456789abcde0|",
            "                                                           ^^                  ^",
            "expected  16  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
            "received  16  31 32 33 34 35 36 37 38 39 61 62 63 64 65 66     |123456789abcdef|",
        )

    def test_rows_when_the_received_ends_with_a_row(self) -> None:
        """A message that ends with a full row is marked in the next one, which is empty."""
        self.assertRows(
            b"0123456789abcdefgh",
            b"0123456789abcdef",
            16,
            "both       0  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
            "expected  16  67 68                                            |gh|",
            "received  16                                                   ||",
            "              ^^                                                ^",
        )
