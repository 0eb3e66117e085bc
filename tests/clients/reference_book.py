"""What the reference peer remembers: the records of one account and the log of its commits, in one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Message = dict[str, Any]


class Book:
    """The account: records, the log of commits and the results under keys, in one JSON file."""

    def __init__(self, folder: Path) -> None:
        self.file, self.blobs = folder / "book.json", folder / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.records: dict[str, Message] = {}
        self.log: list[Message] = []
        self.keys: dict[str, Any] = {}
        if self.file.exists():
            kept = json.loads(self.file.read_text())
            self.records, self.log, self.keys = kept["records"], kept["log"], kept["keys"]

    @property
    def seq(self) -> int:
        return len(self.log)

    def of(self, kind: str, parent: Message | None) -> list[Message]:
        return [r for r in self.records.values() if r["type"] == kind and r["deleted_at"] is None and _below(r, parent)]

    def write(self, before: Message | None, after: Message, origin: str, key: str | None) -> Message:
        self.records[after["id"]] = after
        self.log.append({"seq": self.seq + 1, "origin": origin, "before": before, "after": after})
        if key is not None:
            self.keys[key] = {"data": after, "seq": self.seq}
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"records": self.records, "log": self.log, "keys": self.keys}))
        fresh.replace(self.file)
        return self.log[-1]


def _below(record: Message, parent: Message | None) -> bool:
    return parent is None or record.get(f"{parent['type']}_id") == parent["rec"]


def event_of(commit: Message, query: Message) -> Message | None:
    """What a commit means for a watch."""
    before, after = commit["before"], commit["after"]
    if after["type"] != query["type"] or not _below(after, query.get("parent")):
        return None
    was, now = before is not None and before["deleted_at"] is None, after["deleted_at"] is None
    if now and not was:
        return {"kind": "enter", "rec": after["id"], "record": after}
    if now:
        patch = {k: v for k, v in after.items() if before[k] != v and k != "version"}
        return {"kind": "update", "rec": after["id"], "patch": patch, "version": after["version"]}
    return {"kind": "leave", "rec": after["id"], "why": "deleted"} if was else None
