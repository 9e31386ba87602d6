"""What each module of the package imports, read from its source: nothing is imported to find out."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Union

__all__ = ["PACKAGE", "Import", "imports", "nodes_of", "package_sources"]

PACKAGE = "tcpclient_testing"

_Node = Union[ast.Import, ast.ImportFrom, ast.Call]


class Import(NamedTuple):
    """One import: of which module, at which line, and whether only type checkers perform it."""

    module: str
    line: int
    type_only: bool = False

    @property
    def inside(self) -> bool:
        """Whether the module is one of the package."""
        return self.top == PACKAGE

    @property
    def top(self) -> str:
        """The name before the first dot."""
        return self.module.partition(".")[0]


@functools.cache
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    """Return every node of a module's syntax tree, a parent before its children; each source is read once."""
    return tuple(ast.walk(ast.parse(source)))


def package_sources(root: Path) -> dict[str, str]:
    """Return the source of each module of the package, by the module's path, such as `engine/framing.py`."""
    folder = root / PACKAGE
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}


def module_name(path: str) -> str:
    """Return the dotted name of the module at `path`."""
    parts = [PACKAGE, *path[: -len(".py")].split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(sources: Mapping[str, str]) -> dict[str, list[Import]]:
    """Return, by path, what each module imports anywhere in it, inside functions too.

    An import from inside the package is given as the path of the module that is meant.
    """
    paths = {module_name(path): path for path in sources}
    return {
        path: [_resolved(found, paths) for found in _found(path, source, paths)] for path, source in sources.items()
    }


def _resolved(found: Import, paths: Mapping[str, str]) -> Import:
    return found._replace(module=f"{PACKAGE}.{paths[found.module]}") if found.module in paths else found


def _found(path: str, source: str, paths: Mapping[str, str]) -> Iterator[Import]:
    for node, type_only in _nodes(source):
        for name in _names(node, path, paths):
            yield Import(name, node.lineno, type_only)


def _nodes(source: str) -> list[tuple[_Node, bool]]:
    """Return every import and call in the order of the lines, and whether it stands under `if TYPE_CHECKING:`."""
    nodes = nodes_of(source)
    type_only = {
        inner
        for node in nodes
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call))]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return [(node, node in type_only) for node in found]


def _names(node: _Node, path: str, paths: Mapping[str, str]) -> Iterator[str]:
    """Yield the full names of the modules that a node imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, path)
        for alias in node.names:
            # `from .engine import framing` means the module framing; `from .errors import ScriptError` means errors.
            inner = f"{base}.{alias.name}"
            yield inner if inner in paths else base
    else:
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            name = str(node.args[0].value)
            yield f"{PACKAGE}{name}" if name.startswith(".") else name


def _absolute(node: ast.ImportFrom, path: str) -> str:
    """Return the module that a `from` statement names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    folders = [PACKAGE, *path.split("/")[:-1]]
    kept = folders[: len(folders) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)
