"""The README as a list of code blocks, and what is needed to hold them against reality.

What the README may say to its own test is a comment directly above a block (or, for `fails`, below a Python block,
so that it can stand between an example and its output):

    .. fails             the example's tests fail, or the command exits with another status than 0; the next
                         `text` block shows what is printed
    .. not run: reason   the command is not run

`python -m tests.support.readme` prints the two commands that the README begins with, one a line.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple, Optional

__all__ = ["ROOT", "Block", "Command", "blocks", "commands", "normalised", "opening_commands"]

ROOT = Path(__file__).resolve().parent.parent.parent

_DIRECTIVE = re.compile(r"\.\. (?:code-block|code|sourcecode):: *(\w*)$")
_COMMENT = re.compile(r"\.\. (fails|not run: .+)$")


class Block(NamedTuple):
    """One `code-block`: its language, its dedented text, the number of the text's first line, and its comments."""

    language: str
    text: str
    line: int
    above: str
    below: str

    @property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python block."""
        return ast.parse(self.text)

    @property
    def has_test_case(self) -> bool:
        """Whether a class with `TestCase` in the name of a base is defined."""
        return any(
            "TestCase" in ast.dump(base)
            for node in self.tree.body
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        )

    @property
    def has_pytest_functions(self) -> bool:
        """Whether functions are defined that pytest would collect."""
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        return any(isinstance(node, functions) and node.name.startswith("test_") for node in self.tree.body)


class Command(NamedTuple):
    """A line of a console block that begins with a dollar sign, and what is shown to be printed by it."""

    text: str
    output: str


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a README, in order."""
    lines = text.splitlines()
    found: list[Block] = []
    number = 0
    comment = ""
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if directive := _DIRECTIVE.match(line):
            first, number = _body(lines, number)
            body = textwrap.dedent("\n".join(lines[first:number])).rstrip() + "\n"
            found.append(Block(directive[1], body, first + 1, above=comment, below=""))
            comment = ""
        elif note := _COMMENT.match(line):
            comment = note[1]
            if found and comment == "fails" and _next_language(lines, number) not in ("python", "console"):
                found[-1] = found[-1]._replace(below=comment)
                comment = ""
        elif line:
            comment = ""
    return found


def _body(lines: list[str], number: int) -> tuple[int, int]:
    """Return the first and the last line (exclusive) of the directive whose body begins at `number` or later."""
    while number < len(lines) and re.match(r"\s+:\w[\w-]*:", lines[number]):
        number += 1
    while number < len(lines) and not lines[number].strip():
        number += 1
    first = number
    while number < len(lines) and (not lines[number].strip() or lines[number][0].isspace()):
        number += 1
    return first, number


def _next_language(lines: list[str], number: int) -> Optional[str]:
    """Return the language of the block that follows with nothing but empty lines before it."""
    for line in lines[number:]:
        if line.strip():
            directive = _DIRECTIVE.match(line.strip())
            return directive[1] if directive else None
    return None


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:].strip(), ""))
        elif found:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    return found


def opening_commands(text: str) -> tuple[str, str]:
    """Return the two commands of the README's first console block: one example, and the whole suite.

    Raises `ValueError` if that block does not hold exactly two commands.
    """
    for block in blocks(text):
        if block.language == "console":
            lines = [command.text for command in commands(block)]
            if len(lines) != 2:
                raise ValueError(f"README.rst:{block.line}: expected two lines that begin with '$ ', got {len(lines)}")
            return lines[0], lines[1]
    raise ValueError("README.rst has no `.. code-block:: console`; it begins with one example and the suite")


# What differs from run to run, and from one Python to another, in what a failing test prints.
_VARIABLE = (
    (r"\b\d+(\.\d+)? (ms|µs|us|s)\b", "TIME"),
    (r"\bin \d+\.\d+s\b", "in 0.0s"),
    (r"\b(127\.0\.0\.1|localhost|\[::1\]):\d+", r"\1:PORT"),
    (r'File "[^"]*", line \d+', 'File "PATH", line N'),
    (r"[\w./\\-]+\.py:\d+", "FILE.py:N"),
    (r"(?<=\s):\d+$", ":N"),
    (r"^(FAIL|ERROR): (\w+) \(.*\)$", r"\1: \2"),
    (r"^(?:\w+\.)+(?=\w+(?:Error|Exception|Warning)\b)", ""),
)

_TIME_FIRST = re.compile(r"^ *\d+(\.\d+)? (ms|µs|us|s)\b(?=  )")


def normalised(text: str) -> list[str]:
    """Return the lines of an output without its times, ports, paths and line numbers.

    Where a time was replaced, the column it stood in is lost: runs of spaces in such a line become two. Times at the
    beginning of a line must be flush right.
    """
    result: list[str] = []
    for line in text.rstrip().splitlines():
        # The marks that 3.11 and later put below a line of a traceback; those of a hexdump stand elsewhere.
        if not line.strip("~^ ") and len(result) > 1 and result[-2].startswith('  File "') and line.strip():
            continue
        changed = _TIME_FIRST.sub(lambda match: "TIME".rjust(len(match[0])), line.rstrip())
        for pattern, replacement in _VARIABLE:
            changed = re.sub(pattern, replacement, changed)
        if changed != line.rstrip():
            margin = len(changed) - len(changed.lstrip())
            changed = changed[:margin] + re.sub(r" {2,}", "  ", changed[margin:])
        result.append(changed)
    return result


if __name__ == "__main__":
    try:
        print("\n".join(opening_commands((ROOT / "README.rst").read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
