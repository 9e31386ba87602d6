"""Each field is written in the file of its class, and no class has more fields than one idea needs.

An object whose fields others write has no invariants: whoever reads it has to know all the writers. So a file that
wants another's object to change calls a method of it.

Each rule is a function from the modules' sources to a list of violations, so that the rules themselves are tested too.
Whose field a name is, is decided by the name alone.
"""

from __future__ import annotations

import asyncio
import unittest
from collections import deque
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import NamedTuple

from tcpclient_testing import Connection, MockTCPServer
from tcpclient_testing.memory.host import MemoryConnection, MemoryServer
from tests.support.fields import Class, classes, fields_of, writes
from tests.support.imports import PACKAGE, package_sources
from tests.support.readme import ROOT

# What one class may have in fields, those inherited from the package's own classes included.
MOST_FIELDS = 20

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


def foreign_writes(sources: Sources) -> list[str]:
    """Places that write another file's field, as sentences."""
    return [
        f"{path}:{line}: writes a field whose name is computed: write it by name, or give its class a method"
        if field == "*"
        else f"{path}:{line}: writes {field}, which is a field of {' or '.join(owners)}: give that class a method"
        for path, line, field, owners in written_from_outside(sources)
    ]


def sizes(sources: Sources) -> dict[str, int]:
    """Return the number of fields of each class that describes objects of the package, by `path:Class`."""
    known = classes(sources)
    return {f"{each.path}:{each.name}": len(fields_of(each, known)) for each in known if not each.only_types}


def large_classes(sources: Sources) -> list[str]:
    """Classes with too many fields."""
    return [
        f"{name}: {size} fields, not {MOST_FIELDS} at the most: divide the class"
        for name, size in sizes(sources).items()
        if size > MOST_FIELDS
    ]


def within_reach(part: object, outside: tuple[type, ...]) -> set[str]:
    """Return the names of the package's classes whose objects `part` refers to, directly or by way of others.

    Objects of the classes `outside` are not followed, nor are functions: what a part is handed to call is no reference
    to an object.
    """
    found: dict[int, object] = {}
    waiting: list[object] = [part]
    while waiting:
        each = waiting.pop()
        if id(each) in found or isinstance(each, (*outside, type, ModuleType)) or callable(each):
            continue
        if isinstance(each, (list, tuple, set, frozenset, deque)):
            waiting += each
        elif isinstance(each, Mapping):
            waiting += [*each, *each.values()]
        elif type(each).__module__.partition(".")[0] == PACKAGE:
            slots = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
            waiting += [getattr(each, name) for name in slots if hasattr(each, name) and not name.startswith("__")]
            waiting += getattr(each, "__dict__", {}).values()
        else:
            continue
        found[id(each)] = each
    return {type(each).__name__ for each in found.values()}


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
        """No file writes a field of another file's class."""
        self.assert_none(foreign_writes(self.sources))

    def test_no_class_has_too_many_fields(self) -> None:
        """No class has more fields than one idea needs."""
        self.assert_none(large_classes(self.sources))


class PartsTests(unittest.IsolatedAsyncioTestCase):
    """No part refers to its whole: it is handed what it may ask."""

    def test_parts_of_a_conversation(self) -> None:
        """None of them reaches the conversation, or the session that has the conversations."""
        server = MemoryServer(taking=False)
        server.expect_connect()
        server.allow(b"ping", reply=b"pong")
        server.expect_line(b"a")
        server.send_bytes(b"b")
        server.reset_after(100)
        server.connect()
        server.receive(b"pinga")
        conversation = server.conversation()
        for name in [name for name in type(conversation).__slots__ if not name.startswith("_")]:
            with self.subTest(part=name):
                reached = within_reach(getattr(conversation, name), (MemoryServer, MemoryConnection))
                self.assertTrue(reached.isdisjoint({"Conversation", "Session", "Connections"}), reached)
        self.assertIn("Conversation", within_reach(server.session, ()))

    async def test_parts_of_a_connection(self) -> None:
        """None of them reaches the protocol, and the context that all parts of a server share reaches no runtime."""
        async with MockTCPServer() as server:
            server.expect_connect()
            line = server.expect_line()
            server.send_line(b"answer")
            reader, writer = await asyncio.open_connection("127.0.0.1", server.service_port)
            writer.write(b"question\r\n")
            await reader.readline()
            self.assertEqual(await line, b"question")
            runtime = server._runtime
            protocol = runtime.connections.by_number[1]
            parts = (protocol.link, protocol.client_end, protocol.sending, protocol.reading, protocol.closing)
            for part in (*parts, runtime.context):
                with self.subTest(part=type(part).__name__):
                    reached = within_reach(part, (type(server), Connection))
                    self.assertTrue(reached.isdisjoint({"ConnectionProtocol", "Runtime", "Performer"}), reached)
                    self.assertIn("ServerContext", reached)
            self.assertIn("ConnectionProtocol", within_reach(runtime.connections, ()))
            writer.close()
            await writer.wait_closed()


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

    def test_foreign_writes_as_a_sentence(self) -> None:
        """The sentence names the place, the field and its owner."""
        self.assertEqual(foreign_writes({"owner.py": OWNER, "other.py": "x.b = 1"}),
                         ["other.py:1: writes b, which is a field of Owner: give that class a method"])

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
        """The twenty-first field is one too many."""
        large = {"a.py": "class A:\n" + "".join(f"    f{number}: int\n" for number in range(MOST_FIELDS))}
        self.assertEqual(large_classes(large), [])
        self.assertEqual(large_classes({"a.py": large["a.py"] + "    more: int"}),
                         ["a.py:A: 21 fields, not 20 at the most: divide the class"])


if __name__ == "__main__":
    unittest.main()
