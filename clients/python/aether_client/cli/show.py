"""How progress looks: bars on a terminal, plain lines anywhere else. One sentence per thing that happened."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Final, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from aether_client.sync.report import Report, human_bytes, printable

LONG_BYTES: Final = 4 * 1024 * 1024
"""What is smaller gets no line when it begins."""


class Shown(Report, Protocol):
    """A report that is shown from `with` to its end."""

    def __enter__(self) -> Shown:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen tidy."""


class Lines:
    """Plain lines, for logs and pipes."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        print(printable(sentence), flush=True)

    def warn(self, sentence: str) -> None:
        """Print a sentence on stderr."""
        print(printable(sentence), file=sys.stderr, flush=True)

    def begin(self, what: str, title: str, size: int, here: int) -> None:
        """Say that something begins that will take a while."""
        if size - here >= LONG_BYTES:
            rest = f", {human_bytes(here)} are here already" if here else ""
            self.say(f"{title} ({human_bytes(size)}{rest}) …")

    def moved(self, what: str, here: int) -> None:
        """Nothing: a line cannot move."""

    def end(self, what: str) -> None:
        """Nothing: its outcome is a sentence of its own."""


class Bars:
    """A bar per download, sentences above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self._progress.console.print(escape(printable(sentence)), highlight=False)

    def warn(self, sentence: str) -> None:
        """Print a sentence that stands out above the bars."""
        self._progress.console.print(f"[yellow]{escape(printable(sentence))}[/yellow]", highlight=False)

    def begin(self, what: str, title: str, size: int, here: int) -> None:
        """Add a bar."""
        self._bars[what] = self._progress.add_task(escape(printable(title)), total=size, completed=here)

    def moved(self, what: str, here: int) -> None:
        """Move a bar."""
        self._progress.update(self._bars[what], completed=here)

    def end(self, what: str) -> None:
        """Take a bar away."""
        bar = self._bars.pop(what, None)
        if bar is not None:
            self._progress.remove_task(bar)


def show() -> Shown:
    """Return what fits where our output goes."""
    console = Console()
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines()
