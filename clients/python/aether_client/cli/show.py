"""How progress looks: bars on a terminal, plain lines anywhere else. One sentence per thing that happened."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol

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

from aether_client.sync.report import Report, human_bytes


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

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[str, int, int]] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for title, size, here in self._under_way.values():
            self.say(f"{title}: {human_bytes(here)} of {human_bytes(size)} are here; the next start goes on there.")
        self._under_way.clear()

    def say(self, sentence: str) -> None:
        """Print a sentence."""
        print(sentence, flush=True)

    def warn(self, sentence: str) -> None:
        """Print a sentence on stderr."""
        print(sentence, file=sys.stderr, flush=True)

    def begin(self, sha256: str, title: str, size: int, here: int) -> None:
        """Say that a download begins or goes on."""
        self._under_way[sha256] = (title, size, here)
        rest = f" from {human_bytes(here)} on" if here else ""
        self.say(f"Fetching {title} ({human_bytes(size)}){rest}.")

    def moved(self, sha256: str, here: int) -> None:
        """Remember how far it is."""
        title, size, _ = self._under_way[sha256]
        self._under_way[sha256] = (title, size, here)

    def end(self, sha256: str) -> None:
        """Forget it, unless it was broken off."""
        _, size, here = self._under_way.get(sha256, ("", 0, 0))
        if here >= size:
            self._under_way.pop(sha256, None)


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
        self._progress.console.print(escape(sentence), highlight=False)

    def warn(self, sentence: str) -> None:
        """Print a sentence that stands out above the bars."""
        self._progress.console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False)

    def begin(self, sha256: str, title: str, size: int, here: int) -> None:
        """Add a bar."""
        self._bars[sha256] = self._progress.add_task(escape(title), total=size, completed=here)

    def moved(self, sha256: str, here: int) -> None:
        """Move a bar."""
        self._progress.update(self._bars[sha256], completed=here)

    def end(self, sha256: str) -> None:
        """Take a bar away."""
        bar = self._bars.pop(sha256, None)
        if bar is not None:
            self._progress.remove_task(bar)


def show() -> Shown:
    """Return what fits where our output goes."""
    console = Console()
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines()
