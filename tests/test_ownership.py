"""Each field is written in the file of its class, and no class has more fields than one idea needs.

An object whose fields others write has no invariants: whoever reads it has to know all the writers. So a file that
wants another's object to change calls a method of it.

Each rule is a function from the modules' sources to a list of violations, so that the rules themselves are tested too.
Whose field a name is, is decided by the name alone.

    python -m tests.test_ownership tables     prints the two tables of what is still wrong, as they should be now
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Container, Iterator, Mapping
from typing import NamedTuple

from tests.support.fields import Class, classes, fields_of, writes
from tests.support.imports import package_sources
from tests.support.readme import ROOT

# What one class may have in fields, those inherited from the package's own classes included.
MOST_FIELDS = 20

# The fields of other files' classes that a file writes; `*` is a name that is computed. This list only shrinks: a field
# that is not written any more has to be taken out, and nothing is added.
STILL_WRONG: Mapping[str, tuple[str, ...]] = {
    "aio/connection/reading.py": ("kept",),
    "aio/context/link.py": ("closed", "progress", "withheld"),
    "aio/context/server.py": ("now", "turned_away"),
    "engine/connection/interleaved.py": ("output", "taken_at"),
    "engine/conversation/allowing.py": ("count",),
    "engine/conversation/any_order.py": ("index",),
    "engine/conversation/conversation.py": (
        "conversation",
        "done",
        "index",
        "info",
        "now",
        "received",
        "released",
        "tail",
    ),
    "engine/conversation/grammar.py": ("got_eof", "hand_over_step", "sent_eof"),
    "engine/conversation/selection.py": ("*", "due", "last", "left"),
    "engine/conversation/timeouts.py": ("alarm_at",),
    "engine/session/any_order.py": ("due", "gate", "pool"),
    "engine/session/session.py": ("alarm_at", "gate", "hand_over_step", "handle", "index", "selection"),
    "engine/session/swapping.py": ("*", "conversation", "newest", "unbound"),
    "engine/steps/faults.py": ("begun", "fault", "value"),
    "engine/steps/sending.py": ("silenced",),
    "engine/steps/settings.py": ("refusing",),
    "engine/steps/waiting.py": ("paused",),
    "server/server.py": (
        "allow_extra",
        "can_reset",
        "handler",
        "idle_timeout",
        "pipelining",
        "scale",
        "timeout",
        "tls_context",
    ),
}

# Classes that have more fields than MOST_FIELDS, and how many. These numbers only fall.
STILL_LARGE: Mapping[str, int] = {
    "engine/conversation/conversation.py:Conversation": 47,
    "engine/session/session.py:Session": 29,
}

Sources = Mapping[str, str]


class Foreign(NamedTuple):
    """A file writes a field of a class that is defined in other files."""

    path: str
    line: int
    field: str
    owners: tuple[str, ...]


def written_from_outside(sources: Sources) -> Iterator[Foreign]:
    """Yield each place that writes a field of the package's classes, or a computed one, outside the class's file."""
    owners: dict[str, list[Class]] = {}
    for each in classes(sources):
        for field in each.fields | each.values:
            owners.setdefault(field, []).append(each)
    for path, source in sorted(sources.items()):
        for write in writes(source):
            known = owners.get(write.field, [])
            here = any(each.path == path and not each.only_types for each in known)
            if write.field == "*" or (known and not here and not write.field.startswith("__")):
                yield Foreign(path, write.line, write.field, tuple(sorted({each.name for each in known})))


def foreign_writes(sources: Sources, still_wrong: Mapping[str, Container[str]] = {}) -> list[str]:
    """Places that write another file's field, as sentences."""
    return [
        f"{path}:{line}: writes a field whose name is computed: write it by name, or give its class a method"
        if field == "*"
        else f"{path}:{line}: writes {field}, which is a field of {' or '.join(owners)}: give that class a method"
        for path, line, field, owners in written_from_outside(sources)
        if field not in still_wrong.get(path, ())
    ]


def no_longer_wrong(sources: Sources, still_wrong: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Entries of the list of exceptions that are not needed any more."""
    found = {(each.path, each.field) for each in written_from_outside(sources)}
    return [
        f"{path}: writes no {field} of another file any more: take it out of STILL_WRONG"
        for path, fields in still_wrong.items()
        for field in fields
        if (path, field) not in found
    ]


def sizes(sources: Sources) -> dict[str, int]:
    """Return the number of fields of each class that describes objects of the package, by `path:Class`."""
    known = classes(sources)
    return {f"{each.path}:{each.name}": len(fields_of(each, known)) for each in known if not each.only_types}


def large_classes(sources: Sources, still_large: Mapping[str, int] = {}) -> list[str]:
    """Classes with too many fields."""
    return [
        f"{name}: {size} fields, not {still_large.get(name, MOST_FIELDS)} at the most: divide the class"
        for name, size in sizes(sources).items()
        if size > still_large.get(name, MOST_FIELDS)
    ]


def no_longer_large(sources: Sources, still_large: Mapping[str, int]) -> list[str]:
    """Entries of the list of large classes that are not needed any more, or whose number is too high."""
    found = sizes(sources)
    stale = []
    for name, size in still_large.items():
        now = found.get(name, 0)
        if now <= MOST_FIELDS:
            stale.append(f"{name}: is not too large any more: take it out of STILL_LARGE")
        elif now < size:
            stale.append(f"{name}: has {now} fields now: write that in STILL_LARGE")
    return stale


def tables(sources: Sources) -> str:
    """Return the two tables of exceptions as the sources need them."""
    wrong: dict[str, set[str]] = {}
    for each in written_from_outside(sources):
        wrong.setdefault(each.path, set()).add(each.field)
    lines = ["STILL_WRONG: Mapping[str, tuple[str, ...]] = {"]
    for path, fields in wrong.items():
        shown = [f'"{field}"' for field in sorted(fields)]
        line = f'    "{path}": ({", ".join(shown)}{"," if len(shown) == 1 else ""}),'
        lines += [line] if len(line) <= 120 else [f'    "{path}": (', *(f"        {each}," for each in shown), "    ),"]
    lines += ["}", "STILL_LARGE: Mapping[str, int] = {"]
    lines += [f'    "{name}": {size},' for name, size in sorted(sizes(sources).items()) if size > MOST_FIELDS]
    return "\n".join([*lines, "}"])


class OwnershipTests(unittest.TestCase):
    """The package as it is."""

    @classmethod
    def setUpClass(cls) -> None:
        """Read the sources."""
        cls.sources = package_sources(ROOT)

    def assert_none(self, violations: list[str]) -> None:
        """Fail with the list of violations, if there are any."""
        self.assertEqual(violations, [], "\n" + "\n".join(violations))

    def test_fields_are_written_in_the_file_of_their_class(self) -> None:
        """No file writes a field of another file's class, apart from those that still do."""
        self.assert_none(foreign_writes(self.sources, STILL_WRONG))

    def test_no_exception_is_left_over(self) -> None:
        """Each entry of the two tables of what is still wrong is needed."""
        self.assert_none(no_longer_wrong(self.sources, STILL_WRONG) + no_longer_large(self.sources, STILL_LARGE))

    def test_no_class_has_too_many_fields(self) -> None:
        """No class has more fields than one idea needs, apart from those that still have."""
        self.assert_none(large_classes(self.sources, STILL_LARGE))


OWNER = """
class Owner:
    __slots__ = ('a', 'b')
    c: int
    D = 1
    def f(self):
        self.e = self.f.g = 1
"""


class OwnershipRulesTests(unittest.TestCase):
    """The rules above notice what they are for."""

    def written(self, source: str) -> list[tuple[int, str]]:
        """Return the line and the name of each field of `Owner` that a file with this source wrongly writes."""
        return [(each.line, each.field) for each in written_from_outside({"owner.py": OWNER, "other.py": source})
                if each.path == "other.py"]

    def test_foreign_writes_when_written_in_every_way(self) -> None:
        """Assignments, deletions, loops, contexts and functions all write; reading and calling do not."""
        for source in ("x.a = 1", "x.y.a = 1", "x[0].a, y = 1, 2", "x.a += 1", "x.a: int = 1", "del x.a",
                       "for x.a in y: pass", "with y as x.a: pass", "[1 for x.a in y]", "setattr(x, 'a', 1)",
                       "delattr(x, 'a')", "object.__setattr__(x, 'a', 1)", "x.__setattr__('a', 1)",
                       "x.__delattr__('a')", "class C:\n    def f(self): self.y.a = 1", "x.c = 1", "x.D = 1",
                       "x.e = 1"):
            with self.subTest(source=source):
                self.assertEqual(len(self.written(source)), 1)
        for source in ("x.a", "x.a[0] = 1", "x.a.append(1)", "x.f()", "a = 1", "getattr(x, 'a')"):
            with self.subTest(source=source):
                self.assertEqual(self.written(source), [])

    def test_foreign_writes_when_the_object_is_its_own(self) -> None:
        """What a method writes to its own object or class is its own, even if the name is another class's as well."""
        for source in ("self.a = 1", "cls.a = 1", "del self.a", "setattr(self, name, 1)", "super().__setattr__('a', 1)",
                       "object.__setattr__(self, 'a', 1)"):
            with self.subTest(source=source):
                self.assertEqual(self.written(f"class C:\n    def f(self):\n        {source}"), [])

    def test_foreign_writes_when_the_class_is_in_the_same_file(self) -> None:
        """A file may write the fields of its own classes; a protocol in it owns nothing."""
        self.assertEqual(foreign_writes({"owner.py": OWNER + "x.a = x.b = x.c = x.D = x.e = 1"}), [])
        self.assertEqual(self.written("class C:\n    a: int\nx.a = 1"), [])
        self.assertEqual(self.written("class C(Protocol):\n    a: int\nx.a = 1"), [(3, "a")])

    def test_foreign_writes_when_the_class_is_not_the_package_s(self) -> None:
        """Fields that no class of the package has are a library's; names with two underscores are Python's."""
        self.assertEqual(self.written("x.g = 1\nx.__cause__ = 1\nsetattr(x, '__doc__', 1)"), [])

    def test_foreign_writes_when_the_name_is_computed(self) -> None:
        """A name that is not in the source may be anybody's."""
        self.assertEqual(self.written("setattr(x, name, 1)"), [(1, "*")])

    def test_foreign_writes_when_there_are_exceptions(self) -> None:
        """An exception holds for one field in one file, and the sentence names the owner."""
        sources = {"owner.py": OWNER, "other.py": "x.a = x.b = 1"}
        self.assertEqual(foreign_writes(sources, {"other.py": ("a",)}),
                         ["other.py:1: writes b, which is a field of Owner: give that class a method"])
        self.assertEqual(len(foreign_writes(sources, {"owner.py": ("a", "b")})), 2)

    def test_no_longer_wrong_when_an_exception_is_not_needed(self) -> None:
        """An exception for a field that is not written, or a file that is gone, is named; one that is needed is not."""
        sources = {"owner.py": OWNER, "other.py": "x.a = 1"}
        self.assertEqual(no_longer_wrong(sources, {"other.py": ("a",)}), [])
        stale = no_longer_wrong(sources, {"other.py": ("a", "b"), "gone.py": ("a",)})
        self.assertEqual([line.partition(" any more")[0] for line in stale],
                         ["other.py: writes no b of another file", "gone.py: writes no a of another file"])

    def test_sizes_when_classes_inherit(self) -> None:
        """Slots, fields of `self` and bare annotations count once each, inherited too; a class's own values do not."""
        heir = "class Heir(module.Owner[T]):\n    a: int\n    x: ClassVar[int]\n    def f(self): self.y = self.a = 1"
        found = sizes({"owner.py": OWNER, "heir.py": heir, "types.py": "class P(Protocol):\n    a: int"})
        self.assertEqual(found, {"owner.py:Owner": 4, "heir.py:Heir": 5})
        circle = "class A(B):\n    a: int\nclass B(A):\n    b: int"
        self.assertEqual(sizes({"circle.py": circle}), {"circle.py:A": 2, "circle.py:B": 2})

    def test_sizes_when_two_classes_have_one_name(self) -> None:
        """The base in the same file is meant, if there is one."""
        both = {"a.py": "class Base:\n    a: int\nclass C(Base): pass", "b.py": "class Base:\n    b: int\n    c: int"}
        self.assertEqual(sizes(both)["a.py:C"], 1)

    def test_large_classes_when_there_is_one_field_too_many(self) -> None:
        """The twenty-first field is one too many; a number that has fallen has to be written down."""
        large = {"a.py": "class A:\n" + "".join(f"    f{number}: int\n" for number in range(MOST_FIELDS))}
        self.assertEqual(large_classes(large), [])
        self.assertEqual(no_longer_large(large, {"a.py:A": 21}),
                         ["a.py:A: is not too large any more: take it out of STILL_LARGE"])
        larger = {"a.py": large["a.py"] + "    more: int"}
        self.assertEqual(large_classes(larger), ["a.py:A: 21 fields, not 20 at the most: divide the class"])
        self.assertEqual(large_classes(larger, {"a.py:A": 21}) + no_longer_large(larger, {"a.py:A": 21}), [])
        self.assertEqual(no_longer_large(larger, {"a.py:A": 22}),
                         ["a.py:A: has 21 fields now: write that in STILL_LARGE"])
        self.assertEqual(len(no_longer_large(larger, {"gone.py:A": 22})), 1)

    def test_tables_when_printed(self) -> None:
        """The tables are printed in the form in which they stand in this file, and allow just what there is."""
        fields = "".join(f"    f{number}: int\n" for number in range(30))
        written = "".join(f"x.f{number} = 1\n" for number in range(30))
        sources = {"owner.py": f"class Owner:\n{fields}", "one.py": "x.f1 = 1", "many.py": written}
        found: dict[str, dict[str, object]] = {}
        exec(tables(sources).replace(": Mapping[str, tuple[str, ...]]", "").replace(": Mapping[str, int]", ""), found)
        self.assertEqual(found["STILL_LARGE"], {"owner.py:Owner": 30})
        self.assertEqual(found["STILL_WRONG"],
                         {"one.py": ("f1",), "many.py": tuple(sorted(f"f{number}" for number in range(30)))})
        self.assertLessEqual(max(map(len, tables(sources).splitlines())), 120)


if __name__ == "__main__":
    if sys.argv[1:] == ["tables"]:
        print(tables(package_sources(ROOT)))
    else:
        unittest.main()
