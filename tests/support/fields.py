"""The fields of the package's classes, and the places that write a field, read from its source: nothing is imported."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Optional, Union

from tests.support.imports import nodes_of

__all__ = ["Class", "Write", "classes", "fields_of", "writes"]

# The names by which code reaches the object or the class that it belongs to.
_OWN = ("self", "cls")


class Class(NamedTuple):
    """One class: where it is, its bases' names, and its fields.

    `fields` are those of an instance: slots, what methods assign to `self`, and annotations without a value. `values`
    are what the class itself holds. A class with `only_types`, a protocol, describes objects that others own.
    """

    path: str
    name: str
    bases: tuple[str, ...]
    fields: frozenset[str]
    values: frozenset[str]
    only_types: bool = False


class Write(NamedTuple):
    """One place that writes or deletes a field of an object other than its own; `*` for a name that is computed."""

    field: str
    line: int


def classes(sources: Mapping[str, str]) -> list[Class]:
    """Return every class of the package, nested ones too, in the order of the sources."""
    return [found for path, source in sources.items() for found in _classes_in(path, source)]


@functools.cache
def _classes_in(path: str, source: str) -> tuple[Class, ...]:
    return tuple(_class(path, node) for node in nodes_of(source) if isinstance(node, ast.ClassDef))


def fields_of(subject: Class, known: list[Class]) -> frozenset[str]:
    """Return the fields of an instance, with those inherited from the package's own classes."""
    found: dict[int, Class] = {}
    waiting = [subject]
    while waiting:
        each = waiting.pop()
        if id(each) not in found:
            found[id(each)] = each
            for base in each.bases:
                # Two files may have a class of the same name: the one in the same file is meant.
                namesakes = [other for other in known if other.name == base]
                waiting += [other for other in namesakes if other.path == each.path] or namesakes
    return frozenset(field for each in found.values() for field in each.fields)


def writes(source: str) -> list[Write]:
    """Return each place that writes or deletes a field of anything but `self` and `cls`, in the order of the lines."""
    return sorted(_writes(nodes_of(source)), key=lambda write: (write.line, write.field))


def _writes(nodes: Iterable[ast.AST]) -> Iterator[Write]:
    for node in nodes:
        # The targets of assignments, of `for` and of `with` are all stores; those of `del` are deletions.
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            if not _is_own(node.value):
                yield Write(node.attr, node.lineno)
        elif isinstance(node, ast.Call):
            target, name = _set_by_call(node)
            if target is not None and not _is_own(target):
                yield Write(str(name.value) if isinstance(name, ast.Constant) else "*", node.lineno)


def _set_by_call(call: ast.Call) -> tuple[Optional[ast.expr], Optional[ast.expr]]:
    """Return the object and the name that `setattr`, `delattr` or one of their methods is called with, if it is one."""
    function, arguments = call.func, call.args
    if isinstance(function, ast.Name) and function.id in ("setattr", "delattr") and len(arguments) > 1:
        return arguments[0], arguments[1]
    if isinstance(function, ast.Attribute) and function.attr in ("__setattr__", "__delattr__") and arguments:
        if len(arguments) > (2 if function.attr == "__setattr__" else 1):
            return arguments[0], arguments[1]
        return function.value, arguments[0]
    return None, None


def _is_own(target: ast.expr) -> bool:
    """Whether this is `self`, `cls`, or `super()`."""
    if isinstance(target, ast.Call):
        target = target.func
        return isinstance(target, ast.Name) and target.id == "super"
    return isinstance(target, ast.Name) and target.id in _OWN


def _class(path: str, node: ast.ClassDef) -> Class:
    bases = tuple(filter(None, map(_name, node.bases)))
    fields, values = set(), set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            of_class = statement.value is not None or _name(statement.annotation) == "ClassVar"
            (values if of_class else fields).add(statement.target.id)
        elif isinstance(statement, ast.Assign):
            names = [name.id for target in statement.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            if "__slots__" in names:
                fields |= {each.value for each in ast.walk(statement.value) if isinstance(each, ast.Constant)}
            else:
                values |= set(names)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            fields |= set(_own_fields(statement))
    return Class(path, node.name, bases, frozenset(map(str, fields)), frozenset(values), "Protocol" in bases)


def _own_fields(method: Union[ast.FunctionDef, ast.AsyncFunctionDef]) -> Iterator[str]:
    """Yield the fields that a method assigns to its own object; what a class method assigns belongs to the class."""
    for node in ast.walk(method):
        if (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node.attr


def _name(node: ast.expr) -> str:
    """Return the last name of a base or an annotation: `Base` of `module.Base[T]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
