"""What a process asked of the kernel, as `strace -f -y` tells it: was each answer preceded by a sync?

A write is known by a token in its data: in the write-ahead log when it is committed, on a socket when it is
acknowledged. Between the two a `fdatasync` or `fsync` of that log must have begun and have succeeded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CALLS: Final = "write,writev,sendmsg,sendto,pwrite64,pwritev,pwritev2,fsync,fdatasync"
"""The system calls to trace."""
_TOKEN: Final = re.compile(r"sync-\d{6}\.")
_CALL: Final = re.compile(r"(\d+) +(\w+)\(\d+<([^>]*)>")
_RESUMED: Final = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")
_SYNCS: Final = frozenset({"fsync", "fdatasync"})


def token(number: int) -> str:
    """Return the text by which a write is known in a trace."""
    return f"sync-{number:06d}."


@dataclass
class Verdict:
    """Which writes were acknowledged, and which of them too early."""

    acknowledged: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)
    syncs: int = 0


def judge(trace: Iterable[str]) -> Verdict:
    """Read a trace; return what was acknowledged before it was on disk."""
    verdict = Verdict()
    written: set[str] = set()
    """Committed to the log, not synced yet."""
    synced: set[str] = set()
    syncing: dict[str, set[str]] = {}
    """By thread: what the sync that is under way covers."""
    for line in trace:
        resumed = _RESUMED.match(line)
        if resumed is not None:
            thread, name = resumed.groups()
            if name in _SYNCS and thread in syncing:
                _synced(verdict, syncing.pop(thread), written, synced, line)
            continue
        call = _CALL.match(line)
        if call is None:
            continue
        thread, name, file = call.groups()
        if file.endswith("-wal"):
            if name in _SYNCS:
                syncing[thread] = set(written)
                if "<unfinished" not in line:
                    _synced(verdict, syncing.pop(thread), written, synced, line)
            else:
                written |= {found for found in _TOKEN.findall(line) if found not in synced}
        elif file.startswith("socket:"):
            tokens = set(_TOKEN.findall(line))
            verdict.acknowledged |= tokens
            verdict.early |= tokens - synced
    return verdict


def _synced(verdict: Verdict, covered: set[str], written: set[str], synced: set[str], line: str) -> None:
    if line.rstrip().endswith("= 0"):
        verdict.syncs += 1
        synced |= covered
        written -= covered
