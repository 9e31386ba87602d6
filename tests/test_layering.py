"""The package is built in layers: imports point down, there are no circles, and the core does no I/O.

Each rule is a function from the modules' imports to a list of violations, so that the rules themselves are tested too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
import unittest
from collections.abc import Container, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from typing import Optional

from tests.support.imports import PACKAGE, Import, imports, package_sources
from tests.support.long import lasting
from tests.support.readme import ROOT

# From the bottom up. A module imports from the lines above its own, and from its own room. A room is an entry of this
# table: a folder or a file. The most specific entry counts: `engine/` holds the files that lie directly in that folder.
LAYERS = (
    ("errors.py",),
    ("engine/",),
    ("engine/framing/",),
    ("engine/matching/",),
    ("engine/connection/",),
    ("engine/steps/",),
    ("engine/conversation/",),
    ("engine/session/",),
    ("engine/builder/",),
    ("network/", "transcript/", "tls.py", "memory/"),
    ("report/",),
    ("harness/",),
    ("harness/adopting/",),
    ("aio/native/",),
    ("aio/sockets/", "aio/streams/"),
    ("aio/context.py",),
    ("aio/process/",),
    ("aio/causes/", "aio/guards/"),
    ("aio/tls/",),
    ("aio/connection/",),
    ("aio/",),
    ("virtual_time/",),
    ("aio/in_memory/",),
    ("server/",),
    ("server/threaded/",),
    ("sweeps/", "tapes/", "upstream/"),
    ("testcase.py", "pytest_plugin/", "cli.py", "__main__.py"),
)

# Short names for users. They import from anywhere; nobody inside imports them.
PUBLIC_FACES = ("__init__.py", "matchers.py", "framing.py")

# A room that has more files than this holds more than one idea; its door is not counted.
MOST_FILES = 12

# What `import tcpclient_testing` may load of the package, doors included.
MOST_MODULES = 80

# What the engine may use of the standard library: values, text and iteration, nothing that waits or reads a clock.
ENGINE_MAY_IMPORT = (
    *("__future__", "abc", "collections", "contextlib", "contextvars", "enum", "functools", "types", "typing"),
    *("bisect", "hashlib", "itertools", "math", "operator"),
    *("json", "re", "reprlib", "string", "struct", "textwrap", "unicodedata"),
    *("dis", "sys"),  # code and frames: the line of the script that a step was written on
)

# The only files that may import each of these.
ONLY_IN = {"unittest": "testcase.py", "pytest": "pytest_plugin/*.py", "_pytest": "pytest_plugin/*.py"}

# A plain `import tcpclient_testing` pays for none of these, beyond what asyncio and unittest have loaded anyway.
NOT_LOADED = (
    "pytest",
    "_pytest",
    "unittest.mock",
    "argparse",
    "dataclasses",
    "json",
    "multiprocessing",
    "queue",
    "ssl",
    "tempfile",
    f"{PACKAGE}.cli",
    f"{PACKAGE}.pytest_plugin",
    f"{PACKAGE}.sweeps",
    f"{PACKAGE}.tapes",
    f"{PACKAGE}.tls",
    # Only a failure needs these, only a running server the watchdog, and few scripts the steps.
    f"{PACKAGE}.report",
    f"{PACKAGE}.harness.blame",
    f"{PACKAGE}.harness.exceptions",
    f"{PACKAGE}.engine.source_lines",
    f"{PACKAGE}.transcript.entry",
    f"{PACKAGE}.aio.guards.guard",
    f"{PACKAGE}.aio.process.watchdog",
    f"{PACKAGE}.engine.steps.faults",
    f"{PACKAGE}.engine.steps.handlers",
    f"{PACKAGE}.engine.steps.starttls",
    f"{PACKAGE}.engine.steps.waiting",
)

Graph = Mapping[str, "list[Import]"]


def room_of(path: str) -> Optional[str]:
    """Return the entry of the table that the module at `path` belongs to; None if the table does not know it."""
    rooms = [room for row in LAYERS for room in row if room == path or (room.endswith("/") and path.startswith(room))]
    return max(rooms, key=len, default=None)


def layer_of(path: str) -> Optional[int]:
    """Return the layer of the module at `path`; None if the table does not know it."""
    room = room_of(path)
    return next((number for number, row in enumerate(LAYERS) if room in row), None)


def inner(graph: Graph) -> Iterator[tuple[str, str, Import]]:
    """Yield each import of one of the package's modules by another: both paths, and the import."""
    for path, found in graph.items():
        for each in found:
            if each.inside and each.module.endswith(".py"):
                yield path, each.module[len(PACKAGE) + 1 :], each


def unknown_modules(graph: Graph) -> list[str]:
    """Modules that no layer holds, and imports of modules that there aren't."""
    inside = [path for path in graph if path not in PUBLIC_FACES]
    unexpected = [f"{path}: in no layer of the table" for path in inside if layer_of(path) is None]
    missing = [
        f"{path}:{each.line}: there is no module {each.module}"
        for path, found in graph.items()
        for each in found
        if each.inside and not each.module.endswith(".py")
    ]
    return unexpected + missing


def upward_imports(graph: Graph) -> list[str]:
    """Imports that point up, sideways into another room, or at a public face; those for type checkers count too."""
    violations = []
    for path, target, each in inner(graph):
        if target in PUBLIC_FACES:
            violations.append(f"{path}:{each.line}: imports {target}, which is for users")
        elif path not in PUBLIC_FACES:
            own, other = layer_of(path), layer_of(target)
            if own is not None and other is not None and other >= own and room_of(path) != room_of(target):
                violations.append(f"{path}:{each.line}: layer {own} imports {target} of layer {other}")
    return violations


def circles(graph: Graph) -> list[str]:
    """Circles among modules, as the way round; imports inside functions and those for type checkers count too."""
    edges: dict[str, list[str]] = {path: [] for path in graph}
    for path, target, _ in inner(graph):
        edges[path].append(target)
    found, finished = [], set()

    def visit(path: str, way: tuple[str, ...]) -> None:
        if path in way:
            found.append(" -> ".join([*way[way.index(path) :], path]))
        elif path not in finished:
            for target in edges[path]:
                visit(target, (*way, path))
            finished.add(path)

    for path in edges:
        visit(path, ())
    return found


def crowded_rooms(graph: Graph) -> list[str]:
    """Folders with more files than one idea needs."""
    folders: dict[str, int] = {}
    for path in graph:
        folder, _, name = path.rpartition("/")
        folders[folder] = folders.get(folder, 0) + (name != "__init__.py")
    return [f"{folder}/: {count} files, not {MOST_FILES} at the most" for folder, count in folders.items()
            if count > MOST_FILES]


def folders_of_map(text: str) -> list[str]:
    """Return the folders that the map names, in order; those further in lie in the last one further out."""
    folders, outer = [], ""
    for line in text.splitlines():
        if line.startswith("    "):
            names = [name for name in re.split(r"[ ,]+", line.strip().partition("   ")[0]) if name.endswith("/")]
            if not line.startswith("        "):
                outer = names[0] if len(names) == 1 else ""
                folders += names
            else:
                folders += [outer + name for name in names]
    return folders


def doors_without_a_sign(sources: Mapping[str, str]) -> list[str]:
    """Folders whose `__init__.py` is missing, or does not say in its first line what belongs there."""
    folders = {path.rpartition("/")[0] for path in sources} - {""}
    texts = {folder: ast.get_docstring(ast.parse(sources.get(f"{folder}/__init__.py", ""))) for folder in folders}
    return [f"{folder}/__init__.py: says in no sentence what belongs there" for folder, text in sorted(texts.items())
            if not text or text.partition("\n")[0][-1:] not in (".", ":")]


def engine_imports(graph: Graph) -> list[str]:
    """Imports of the engine that are neither its own package's nor in its short list."""
    return [
        f"{path}:{each.line}: imports {each.module}"
        for path, found in graph.items()
        if path.startswith("engine/")
        for each in found
        if not each.inside and not each.type_only and each.top not in ENGINE_MAY_IMPORT
    ]


def misplaced_imports(graph: Graph) -> list[str]:
    """Imports of a test framework outside the files that are for it."""
    return [
        f"{path}:{each.line}: imports {each.module}; only {ONLY_IN[each.top]} does"
        for path, found in graph.items()
        for each in found
        if each.top in ONLY_IN and not fnmatch(path, ONLY_IN[each.top])
    ]


def foreign_imports(graph: Graph, standard: frozenset[str]) -> list[str]:
    """Imports from outside the standard library, pytest in its plugin aside."""
    return [
        f"{path}:{each.line}: imports {each.module}"
        for path, found in graph.items()
        for each in found
        if not each.inside and each.top not in standard and not fnmatch(path, ONLY_IN.get(each.top, ""))
    ]


def late_annotations(sources: Mapping[str, str]) -> list[str]:
    """Names of a module that are annotated after a function has declared them global: PyPy's compiler refuses them."""
    violations = []
    for path, source in sources.items():
        declared: set[str] = set()
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) \
                    and statement.target.id in declared:
                violations.append(f"{path}:{statement.lineno}: {statement.target.id} is annotated too late")
            declared.update(name for each in ast.walk(statement) if isinstance(each, ast.Global) for name in each.names)
    return violations


def orphans(tests: Iterable[str], sources: Container[str]) -> list[str]:
    """Tests of no module: test_x.py stands for x.py in the folder of that name; test_x_y.py may be an aspect of x."""
    violations = []
    for test in tests:
        folder, _, name = test.rpartition("/")
        words = name[len("test_") : -len(".py")].split("_")
        subjects = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
        if not any(f"{folder}/{subject}.py" in sources for subject in subjects):
            violations.append(f"tests/{test}: there is no {PACKAGE}/{folder}/{subjects[0]}.py")
    return violations


class LayeringTests(unittest.TestCase):
    """The package as it is."""

    graph: Graph

    @classmethod
    def setUpClass(cls) -> None:
        cls.graph = imports(package_sources(ROOT))

    def assert_none(self, violations: list[str]) -> None:
        """Fail with one violation on a line."""
        if violations:
            self.fail("\n  ".join(["", *violations]))

    def test_every_module_is_in_the_table(self) -> None:
        """Each module has a layer, and each import inside the package finds a module."""
        self.assert_none(unknown_modules(self.graph))

    def test_imports_point_down(self) -> None:
        """A module imports from lower layers and from its own room, and no public face; type imports count."""
        self.assert_none(upward_imports(self.graph))

    def test_there_are_no_circles(self) -> None:
        """No module imports itself by way of others, not even inside a function or for type checkers alone."""
        self.assert_none(circles(self.graph))

    def test_rooms_are_small(self) -> None:
        """No folder has more files than one idea needs."""
        self.assert_none(crowded_rooms(self.graph))

    def test_readme_has_a_map(self) -> None:
        """The map in the README has every folder, at its place, from the top layer down."""
        text = (ROOT / "README.rst").read_text(encoding="utf-8")
        folders = folders_of_map(text.partition("Where the code lives")[2])
        self.assertEqual(sorted(folders), sorted({path.rpartition("/")[0] + "/" for path in self.graph if "/" in path}))
        doors = ("aio/", "engine/", "harness/", "server/")  # rooms lie above and below them
        layers = [layer_of(f"{folder}x.py") for folder in folders if folder not in doors]
        self.assertEqual(layers, sorted(layers, key=lambda layer: -(layer or 0)))

    def test_doors_say_what_belongs_there(self) -> None:
        """Each folder's `__init__.py` begins with a sentence on what the folder is for."""
        self.assert_none(doors_without_a_sign(package_sources(ROOT)))

    def test_engine_does_no_io(self) -> None:
        """The engine imports a few modules of the standard library, and none that waits, connects or tells the time."""
        self.assert_none(engine_imports(self.graph))
        waiting = {"asyncio", "socket", "time", "threading", "select", "ssl", "selectors", "os"}
        self.assertTrue(waiting.isdisjoint(ENGINE_MAY_IMPORT))

    def test_few_files_know_each_test_framework(self) -> None:
        """Only testcase.py imports unittest, and only the files of the plugin import pytest."""
        self.assert_none(misplaced_imports(self.graph))

    @unittest.skipIf(sys.version_info < (3, 10), "sys.stdlib_module_names is new in 3.10")
    def test_standard_library_is_enough(self) -> None:
        """Nothing is imported from outside the standard library."""
        self.assert_none(foreign_imports(self.graph, sys.stdlib_module_names))

    def test_plain_import_is_cheap(self) -> None:
        """`import tcpclient_testing`, with nothing installed, loads nothing that a plain test does not need."""
        program = f"""
            import sys
            sys.path.insert(0, {str(ROOT)!r})
            import asyncio, unittest
            before = set(sys.modules)
            import {PACKAGE}
            print(*sorted(set(sys.modules) - before))
        """
        command = [sys.executable, "-I", "-S", "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)]
        loaded = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode().split()
        self.assertIn(PACKAGE, loaded)
        self.assertEqual([name for name in loaded if name in NOT_LOADED], [])
        ours = [name for name in loaded if name.partition(".")[0] == PACKAGE]
        self.assertLessEqual(len(ours), MOST_MODULES, ours)

    @lasting
    def test_names_are_annotated_before_functions_declare_them_global(self) -> None:
        """PyPy can compile each module."""
        self.assert_none(late_annotations(package_sources(ROOT)))

    def test_test_files_match_source_files(self) -> None:
        """Each test_x.py below tests/FOLDER stands for an x.py below the package's folder of that name."""
        folders = [path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir()]
        tests = [path for folder in folders for path in (ROOT / "tests" / folder).rglob("test_*.py")]
        self.assert_none(orphans([test.relative_to(ROOT / "tests").as_posix() for test in tests], self.graph))


def graph_of(**sources: str) -> Graph:
    """Return the imports of a small package; `engine__x="..."` is the source of engine/x.py."""
    return imports({name.replace("__", "/") + ".py": source for name, source in sources.items()})


class LayeringRulesTests(unittest.TestCase):
    """The rules above notice what they are for."""

    def test_imports_when_written_in_every_way(self) -> None:
        """Absolute, relative, nested, conditional and computed imports are all seen, with their line."""
        graph = imports(
            {
                "engine/__init__.py": "",
                "engine/steps.py": "import os.path as p\nfrom . import script\nfrom .script import x\n"
                "from .. import errors\nfrom ..errors import E\nimport tcpclient_testing.errors\n"
                "from tcpclient_testing import errors as e\nfrom . import nothing\n"
                "def f():\n    import json\n    import_module('.errors')\n    importlib.import_module('ssl')\n"
                "if TYPE_CHECKING:\n    import asyncio\nelse:\n    import time\n",
                "engine/script.py": "",
                "errors.py": "",
            }
        )
        self.assertEqual(
            graph["engine/steps.py"],
            [
                Import("os.path", 1),
                Import("tcpclient_testing.engine/script.py", 2),
                Import("tcpclient_testing.engine/script.py", 3),
                Import("tcpclient_testing.errors.py", 4),
                Import("tcpclient_testing.errors.py", 5),
                Import("tcpclient_testing.errors.py", 6),
                Import("tcpclient_testing.errors.py", 7),
                Import("tcpclient_testing.engine/__init__.py", 8),
                Import("json", 10),
                Import("tcpclient_testing.errors.py", 11),
                Import("ssl", 12),
                Import("asyncio", 14, type_only=True),
                Import("time", 16),
            ],
        )

    def test_unknown_modules_when_a_module_has_no_layer(self) -> None:
        """A new module or folder has to be entered in the table, and an import has to find something."""
        self.assertEqual(
            unknown_modules(graph_of(gadgets="", gadgets__x="")),
            [
                "gadgets.py: in no layer of the table",
                "gadgets/x.py: in no layer of the table",
            ],
        )
        self.assertEqual(len(unknown_modules({"errors.py": [Import("tcpclient_testing.gone", 1)]})), 1)

    def test_upward_imports_when_one_points_up_or_sideways(self) -> None:
        """Up, sideways and at a public face are violations; down and to a neighbour are not."""
        good = graph_of(engine__a="from . import b\nfrom .. import errors", engine__b="", errors="", cli="")
        good = {**good, **graph_of(__main__="from . import cli", cli="", matchers="from . import cli")}
        self.assertEqual(upward_imports(good), [])
        self.assertEqual(upward_imports(graph_of(engine__steps__a="from ..wording import b", engine__wording="")), [])
        upward = graph_of(engine__a="if TYPE_CHECKING:\n    from ..report import b", report__b="")
        self.assertEqual(upward_imports(upward), ["engine/a.py:2: layer 1 imports report/b.py of layer 10"])
        inner_room = graph_of(engine__a="from .steps import b", engine__steps__b="")
        self.assertEqual(len(upward_imports(inner_room)), 1)
        self.assertEqual(len(upward_imports(graph_of(engine__a="from .. import tls", tls=""))), 1)
        sideways = graph_of(aio__streams__a="from ..sockets import b", aio__sockets__b="")
        self.assertEqual(len(upward_imports(sideways)), 1)
        self.assertEqual(len(upward_imports(graph_of(aio__a="from .. import matchers", matchers=""))), 1)

    def test_circles_when_two_modules_import_each_other(self) -> None:
        """A circle is shown as the way round, even one through a function, or for type checkers alone."""
        second = "def f():\n    from . import a"
        found = circles(graph_of(engine__a="from . import b", engine__b=second))
        self.assertEqual(found, ["engine/a.py -> engine/b.py -> engine/a.py"])
        third = "if TYPE_CHECKING:\n    from . import a"
        graph = graph_of(engine__a="from . import b", engine__b=third)
        self.assertEqual(circles(graph), ["engine/a.py -> engine/b.py -> engine/a.py"])

    def test_rooms_when_they_are_crowded_or_have_no_sign(self) -> None:
        """The thirteenth file is one too many, the door not counted; a door says in a sentence what belongs there."""
        files = {f"aio__f{number}": "" for number in range(MOST_FILES)}
        self.assertEqual(crowded_rooms(graph_of(aio____init__="", **files)), [])
        self.assertEqual(crowded_rooms(graph_of(aio__more="", **files)), ["aio/: 13 files, not 12 at the most"])
        self.assertEqual(doors_without_a_sign({"a.py": "", "b/__init__.py": '"""What b is."""', "b/c.py": ""}), [])
        for door in ({}, {"b/__init__.py": ""}, {"b/__init__.py": '"""b"""'}):
            self.assertEqual(len(doors_without_a_sign({"b/c.py": "", **door})), 1)

    def test_library_imports_when_out_of_place(self) -> None:
        """A socket in the engine, unittest outside testcase.py and a foreign package are violations."""
        self.assertEqual(engine_imports(graph_of(engine__a="import socket, re")), ["engine/a.py:1: imports socket"])
        self.assertEqual(engine_imports(graph_of(aio__a="import socket")), [])
        self.assertEqual(misplaced_imports(graph_of(testcase="import unittest", pytest_plugin__a="import pytest")), [])
        self.assertEqual(len(misplaced_imports(graph_of(aio__a="from unittest import mock"))), 1)
        both = graph_of(testcase="import pytest", aio__pytest_plugin="import pytest")
        self.assertEqual(len(misplaced_imports(both)), 2)
        standard = frozenset({"re"})
        self.assertEqual(foreign_imports(graph_of(pytest_plugin__a="import pytest, re"), standard), [])
        self.assertEqual(len(foreign_imports(graph_of(cli="import attrs, pytest"), standard)), 2)

    def test_late_annotations(self) -> None:
        """The order of the two is what counts."""
        first, then = "x: int = 0", "def f():\n    global x"
        self.assertEqual(late_annotations({"a.py": f"{first}\n{then}", "b.py": f"x = 0\n{then}"}), [])
        self.assertEqual(late_annotations({"a.py": f"{then}\n{first}"}), ["a.py:3: x is annotated too late"])

    def test_orphans_when_a_test_has_no_module(self) -> None:
        """A test is named for a module, or for a module and an aspect of it, in the folder of the same name."""
        sources = graph_of(aio__tls_layer="", aio__tls_words="", engine__pool="")
        good = ["aio/test_tls_layer.py", "aio/test_tls_layer_ends.py", "engine/test_pool.py"]
        self.assertEqual(orphans(good, sources), [])
        bad = ["aio/test_tls.py", "aio/test_pool.py", "aio/test_tlslayer.py"]
        self.assertEqual(orphans(bad, sources)[0], "tests/aio/test_tls.py: there is no tcpclient_testing/aio/tls.py")
        self.assertEqual(len(orphans(bad, sources)), 3)


if __name__ == "__main__":
    unittest.main()
