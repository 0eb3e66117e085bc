"""What a process asked of the kernel, as `strace -f -y` tells it: was each answer preceded by a sync?

A write is known by a token in its data: in the write-ahead log when it is committed, on a socket when it is
acknowledged. Between the two a `fdatasync` or `fsync` of that log must have begun and have succeeded.

With MariaDB two processes are traced as one: between the arrival of a COMMIT at the server and the hub's answer to what
was written in that transaction, the server must have written to its redo log and synced it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CALLS: Final = "write,writev,sendmsg,sendto,pwrite64,pwritev,pwritev2,fsync,fdatasync"
"""The system calls to trace."""
MARIADB_CALLS: Final = f"{CALLS},recvfrom"
"""The system calls to trace where the server is MariaDB; with `-yy`, which says what each socket is."""
_TOKEN: Final = re.compile(r"sync-\d{6}\.")
_CALL: Final = re.compile(r"(\d+) +(\w+)\(\d+<(.*?)>(?=[,) ])")  # the name of a connection has an arrow in it
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


@dataclass
class _Server:
    """What is known of each write on its way through MariaDB, by its token."""

    asked: dict[str, set[str]] = field(default_factory=dict)
    """By connection: written in its transaction, which is not committed."""
    logged: set[str] = field(default_factory=set)
    """Seen in the redo log."""
    committing: set[str] = field(default_factory=set)
    """COMMIT has arrived; since then the redo log was not written to, or not as far as to this write."""
    written: set[str] = field(default_factory=set)
    """The redo log was written to since the COMMIT, and was not synced since."""
    synced: set[str] = field(default_factory=set)

    def heard(self, connection: str, line: str) -> None:
        """Take what a client said."""
        if '"\\3COMMIT"' in line:
            self.committing |= self.asked.pop(connection, set())
        elif '"\\3ROLLBACK"' in line:
            self.asked.pop(connection, None)
        elif "INSERT INTO `change`" in line:
            self.asked.setdefault(connection, set()).update(_TOKEN.findall(line))


def judge_mariadb(trace: Iterable[str], answers: str = "hub.sock") -> Verdict:
    """Read a trace of a hub and of its MariaDB server; return what was answered before it was on disk.

    `answers`: what the name of the sockets has in it on which the hub answers. Raises ValueError where the trace does
    not show all that was written to the redo log.
    """
    verdict, server = Verdict(), _Server()
    begun: dict[str, tuple[str, str, set[str]]] = {}
    """By thread: the call that is under way, its file, and the writes that it is about."""
    for line in trace:
        resumed = _RESUMED.match(line)
        if resumed is not None:
            thread, name = resumed.groups()
            name, file, about = begun.pop(thread, (name, "", set()))
        else:
            call = _CALL.match(line)
            if call is None:
                continue
            thread, name, file = call.groups()
            about = set()
            if "ib_logfile" in file:
                if '"...,' in line:
                    raise ValueError("what was written to the redo log was cut in the trace")
                server.logged |= set(_TOKEN.findall(line))
                about = set(server.written if name in _SYNCS else server.committing & server.logged)
            elif answers in file and name != "recvfrom":
                tokens = set(_TOKEN.findall(line))
                verdict.acknowledged |= tokens
                verdict.early |= tokens - server.synced
            if "<unfinished" in line:
                begun[thread] = (name, file, about)
                continue
        if name == "recvfrom" and file.startswith("TCP:"):
            server.heard(file, line)
        elif "ib_logfile" in file and name not in _SYNCS:
            server.written |= about
            server.committing -= about
        elif "ib_logfile" in file and line.rstrip().endswith("= 0"):
            verdict.syncs += 1
            server.synced |= about
            server.written -= about
    return verdict
