"""What sync tells about itself. How it looks (bars, lines, a log) is the matter of whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Told in the order in which things happen."""

    def say(self, sentence: str) -> None:
        """Something went its way."""

    def warn(self, sentence: str) -> None:
        """Something is not as it should be; sync goes on."""

    def begin(self, what: str, title: str, size: int, here: int) -> None:
        """Something with a length begins, or goes on: `here` of `size` bytes are done. `what` names it from now on."""

    def moved(self, what: str, here: int) -> None:
        """So many bytes of it are done now."""

    def end(self, what: str) -> None:
        """It is over, for good or bad."""


def human_bytes(count: int) -> str:
    """Return a number of bytes as people write it."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def printable(text: str) -> str:
    """Return a text of somebody else without what could steer a terminal or forge a line."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def files(count: int) -> str:
    """Return a number of files with its noun."""
    return "1 file" if count == 1 else f"{count} files"


class Warnings:
    """What was warned of and is not over: said once, not every time it is met."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._open: dict[str, set[str]] = {}
        """What is open, by topic."""

    def once(self, topic: str, what: str, sentence: str) -> None:
        """Warn, unless the same is open already."""
        known = self._open.setdefault(topic, set())
        if what not in known:
            known.add(what)
            self._report.warn(sentence)

    def keep(self, topic: str, what: set[str]) -> None:
        """Note that of a topic only this is still open."""
        self._open[topic] = self._open.get(topic, set()) & what

    def over(self, topic: str) -> bool:
        """Note that a topic is over; return whether anything of it was open."""
        return bool(self._open.pop(topic, None))
