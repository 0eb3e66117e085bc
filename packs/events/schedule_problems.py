"""What can be wrong with a schedule file, and how it is told.

Knows: problems (which stop an import) and warnings (which do not), each with its line or its path, and the bound
on how many are collected. Does not know what a schedule looks like.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

MOST_PROBLEMS = 20
MOST_WARNINGS = 1_000

_LONGEST_NAME = 80


def below(path: str, name: str | int) -> str:
    """Return the path of what stands under `name` (a key or an index) in the object or list at `path`."""
    if isinstance(name, str) and name.isidentifier() and len(name) <= _LONGEST_NAME:
        return f"{path}.{name}" if path else name
    return f"{path}[{quoted(name)}]"


def quoted(value: object) -> str:
    """Return the value as it can stand in a sentence: quoted, on one line, not longer than a line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…{text[-1]}"


class Problem(Struct, frozen=True, omit_defaults=True):
    """One finding: a sentence and where it is, by line and column (from 1) or by path in the document."""

    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None

    @property
    def place(self) -> str:
        """Where it is, as text; empty when it concerns the whole file."""
        if self.line is not None:
            return f"line {self.line}" if self.column is None else f"line {self.line}, column {self.column}"
        return self.path

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class ScheduleError(Exception):
    """A schedule file cannot be read; `problems` holds every finding, at most `MOST_PROBLEMS`.

    The place of the first problem is also at hand as `line`, `column` and `path`.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        path: str = "",
        further: Sequence[Problem] = (),
    ) -> None:
        self.message = message
        self.line = line
        self.column = column
        self.path = path
        self.problems = [Problem(message, path, line, column), *further]
        super().__init__(message)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Findings:
    """Collects problems and warnings while a document is read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []  # what makes the file unreadable, in the order of the file
        self.warnings: list[Problem] = []  # what was mended, at most MOST_WARNINGS
        self.unlisted = 0  # warnings beyond that number

    def problem(self, path: str, message: str) -> None:
        """Note a problem; the twentieth raises `ScheduleError` at once."""
        self.problems.append(Problem(message, path))
        if len(self.problems) >= MOST_PROBLEMS:
            self.settle()

    def warn(self, path: str, message: str) -> None:
        """Note something that was mended."""
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(Problem(message, path))
        else:
            self.unlisted += 1

    def settle(self) -> None:
        """Raise `ScheduleError` with all problems, if there are any."""
        if self.problems:
            first, *rest = self.problems
            raise ScheduleError(first.message, path=first.path, further=rest)
