"""Random writes of a simulated client, and the ledger that holds each to exactly once."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hub.access import Rights
from hub.schema.record import Image
from hub.schema.registry import Registry
from tests.simulation.client import Wrong
from tests.simulation.filters import change_of, data_of
from tests.simulation.history import History

TOKEN_FIELD = {"thing": "code", "shelf": "name"}
"""The field by which a creation is known again."""
KNOWN = 40
"""How many ids of each type the writers still think of."""


@dataclass(eq=False)
class Entry:
    """One write: what was asked, the tokens that it creates, and what became of it."""

    request: dict[str, Any]
    created: list[tuple[str, str, str]] = field(default_factory=list)
    """Type, field and token of each creation."""
    outcome: str = "unanswered"
    """`ok`, the code of a refusal, or `unanswered`."""
    recs: list[str] = field(default_factory=list)
    """The ids that `created` got, where the outcome is `ok`."""

    @property
    def keyed(self) -> bool:
        return "key" in self.request


class Writes:
    """Makes random writes over what is known, and takes in their answers."""

    def __init__(self, registry: Registry, rng: Random, history: History) -> None:
        self._registry = registry
        self._rng = rng
        self._history = history
        self.ids: dict[str, list[str]] = {"shelf": [], "thing": []}
        self.versions: dict[str, int] = {}
        self.entries: list[Entry] = []

    def random(self) -> Entry:
        """Return a fresh write."""
        rng = self._rng
        entry = Entry({})
        if rng.random() < 0.2:
            items: list[dict[str, Any]] = []
            for _ in range(rng.randint(1, 5)):
                items.append(self._one(entry, items))
            entry.request = {"op": "record.batch", "ops": items}
        else:
            entry.request = self._one(entry, [])
        if rng.random() < 0.85:
            entry.request["key"] = f"key-{len(self.entries)}"
        self.entries.append(entry)
        return entry

    def _one(self, entry: Entry, earlier: list[dict[str, Any]]) -> dict[str, Any]:
        rng = self._rng
        pick = rng.random()
        name = "shelf" if rng.random() < 0.15 else "thing"
        known = self.ids[name]
        if not known or (name == "thing" and not self.ids["shelf"]) or pick < 0.3:
            return self._create(entry, name, earlier)
        rec = rng.choice(known)
        kind = self._registry.types[name]
        if pick < 0.75:
            data = change_of(rng, kind, self.ids)
            if name == "shelf" and "name" in data:
                data["name"] = f"renamed {rng.randrange(10**9)}"
            change: dict[str, Any] = {"op": "record.update", "type": name, "rec": rec, "data": data}
            if rng.random() < 0.2:
                change["if_version"] = self.versions.get(rec, 1)
            return change
        if pick < 0.85 and name == "thing":
            upsert = self._create(Entry({}), name, earlier) | {"op": "record.upsert", "match": ["code"]}
            upsert["data"]["code"] = f"twin {rng.randrange(12)}"
            return upsert
        return {"op": "record.delete", "type": name, "rec": rec}

    def _create(self, entry: Entry, name: str, earlier: list[dict[str, Any]]) -> dict[str, Any]:
        rng = self._rng
        if name == "thing" and not self.ids["shelf"]:
            name = "shelf"
        token = f"token {len(self.entries)} {rng.randrange(10**9)}"
        entry.created.append((name, TOKEN_FIELD[name], token))
        data = data_of(rng, self._registry.types[name], self.ids, token)
        request: dict[str, Any] = {"op": "record.create", "type": name, "data": data}
        if name == "thing":
            shelves = [n for n, item in enumerate(earlier) if item["op"] == "record.create" and item["type"] == "shelf"]
            rec: Any = rng.choice(self.ids["shelf"][-4:])
            if shelves and rng.random() < 0.5:
                rec = {"$item": rng.choice(shelves)}
            request["parent"] = {"type": "shelf", "rec": rec}
        return request

    def answered(self, entry: Entry, answer: dict[str, Any], rights: Rights) -> None:
        """Take in an answer of an entry; check what it says."""
        if answer["op"] == "error":
            entry.outcome = answer["code"]
            return
        items = entry.request["ops"] if entry.request["op"] == "record.batch" else [entry.request]
        results = answer["data"]["results"] if entry.request["op"] == "record.batch" else [answer["data"]]
        if len(items) != len(results):
            raise Wrong("a batch was answered with another number of results")
        recs: list[str] = []
        for item, result in zip(items, results, strict=True):
            rec = result["rec"] if item["op"] == "record.delete" else result["id"]
            if item["op"] == "record.create":
                recs.append(rec)
            self._note(item["type"], rec, result["version"], gone=item["op"] == "record.delete")
        if len(items) == 1 and "seq" in answer:
            self._is_stored(items[0], results[0], answer["seq"], rights)
        if entry.outcome == "ok" and entry.recs != recs:
            raise Wrong(f"a repeated write made {recs} after it had made {entry.recs}")
        entry.outcome, entry.recs = "ok", recs

    def _note(self, name: str, rec: str, version: int, *, gone: bool) -> None:
        known = self.ids[name]
        self.versions[rec] = version
        if rec in known:
            if gone and self._rng.random() < 0.9:
                known.remove(rec)
        elif not gone:
            known.append(rec)
            del known[:-KNOWN]

    def _is_stored(self, item: dict[str, Any], result: dict[str, Any], seq: int, rights: Rights) -> None:
        kind = self._registry.types[item["type"]]
        deleted = item["op"] == "record.delete"
        image = self._history.image(kind.name, result["rec" if deleted else "id"], seq)
        if image is None:
            raise Wrong("a write was answered but is not in the log")
        if deleted:
            wanted: Image = {"rec": image["id"], "version": image["version"]}
        else:
            wanted = rights.view(kind, image)
        if {k: v for k, v in result.items() if k != "created"} != wanted:
            raise Wrong(f"{item['op']} answered {result}, the log of {seq} says {wanted}")

    def check(self) -> None:
        """Raise `Wrong` for a write that is lost, done twice, or done although it was refused."""
        for entry in self.entries:
            for n, (kind, name, token) in enumerate(entry.created):
                found = self._history.created_with(kind, name, token)
                if entry.outcome == "ok":
                    good = found == [entry.recs[n]]
                elif entry.outcome in {"unanswered", "write.unknown"}:
                    good = len(found) <= 1
                else:
                    good = not found
                if not good:
                    raise Wrong(f"{entry.request} was answered {entry.outcome} {entry.recs}; the log has {found}")
