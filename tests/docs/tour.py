"""Read the README's tour: its steps, and what it claims that they print.

A step is a `sh` block; a `text` block right behind it is its output, in which `…` stands for anything on
that line. Knows Markdown fences and nothing of the hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """Commands, one a line, and what they print together (None: nothing is claimed)."""

    commands: tuple[str, ...]
    printed: str | None

    @property
    def refused(self) -> bool:
        """Whether the README shows that the last command is refused."""
        return self.printed is not None and self.printed.startswith("aether: ")

    def claims(self, output: str) -> bool:
        """Say whether an output is what the README claims."""
        wanted = (self.printed or "").strip()
        pattern = ".*".join(re.escape(part) for part in wanted.split("…"))
        return re.fullmatch(pattern, output.strip()) is not None


def section(page: str, heading: str) -> str:
    """Return the text of a page under a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no heading {heading!r}"
    return found[1]


def steps(text: str) -> list[Step]:
    """Return the steps in a text, in order."""
    found: list[Step] = []
    blocks = list(_FENCE.finditer(text))
    for n, block in enumerate(blocks):
        if block["kind"] != "sh":
            continue
        behind = blocks[n + 1] if n + 1 < len(blocks) else None
        adjoining = behind is not None and not text[block.end() : behind.start()].strip()
        shown = behind["text"] if behind is not None and adjoining and behind["kind"] == "text" else None
        found.append(Step(tuple(block["text"].splitlines()), shown))
    return found
