"""Hooks of packs inside the decision, on each keeper: what they refuse, what they set, and what they are shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.schema.hooks import Change, after_commit, before_commit
from hub.schema.registry import Registry
from hub.schema.writes import Commit, Delete, Move, Restore, Revert, Update
from hub.wire.errors import HubError
from storage.memory import MemoryStorage
from storage.sql.sqlite import SqliteStorage
from tests.storage.contract_many import change_all
from tests.storage.declared import KINDS, Box, Tray, Use, box, item, ticking, tray

SEEN: list[Change] = []
"""What the hook of these tests was shown since the test began."""


@before_commit(Box, Tray)
def watchful(change: Change) -> dict[str, Any] | None:
    """Refuse some, add to others, and scribble on what was shown."""
    SEEN.append(Change(change.kind, change.type, change.before, change.after, change.actor))
    after = dict(change.after or {})
    for image in (change.before, change.after):
        if image is not None:
            image["scribbled"] = True
    if after.get("note") == "refuse" or (change.before or {}).get("note") == "keep":
        raise HubError("action.failed", "A hook says no.", path="data.note")
    if after.get("note") == "broken":
        raise RuntimeError("a hook that is broken")
    if after.get("note") == "wrong":
        return {"nope": 1}
    if after.get("note") == "secret":
        return {"pin": "x"}
    if after.get("note") == "taken":
        return {"name": "taken"}
    return {"note": f"{after['note']}!"} if after.get("note") and not after["note"].endswith("!") else None


@pytest.fixture(params=["memory", "sqlite"])
async def use(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Use]:
    """An empty keeper whose registry knows the hook."""
    registry = Registry()
    for kind in KINDS:
        registry.add_type(kind)
    registry.add_hook(watchful.__hook__)  # type: ignore[attr-defined]  # where the declaration left it
    registry.check()
    SEEN.clear()
    keeper = MemoryStorage(registry, ticking()) if request.param == "memory" else SqliteStorage(
        registry, tmp_path / "hub.db", ticking(), durability="normal"
    )  # fmt: skip
    use = Use(keeper)
    await use.storage.start()
    yield use
    await use.storage.close()


async def test_a_hook_sets_fields_besides_whoever_writes(use: Use) -> None:
    made = await use.create(box, name="a", note="one")
    assert (made["note"], "scribbled" in made) == ("one!", False)
    upserted = (await use.commit(use.upsert(box, ("name",), name="a", note="two"))).results[0].image
    assert upserted["note"] == "two!"
    await use.commit(change_all(box, {}, note="three"))
    assert (await use.get(box, made["id"]) or {})["note"] == "three!"
    row = (await use.log())[-1].rows[0]
    assert (row.after["note"], row.before and row.before["note"]) == ("three!", "two!")
    back = (await use.commit(Revert(box, made["id"], 1, ("name", "note")))).results[0].image
    assert back["note"] == "one!"
    same = await use.update(box, made["id"], note="one!")
    assert same.seq == 4, "what changes nothing asks no hook"


@pytest.mark.parametrize(
    ("note", "code"), [("refuse", "action.failed"), ("broken", "server.error"), ("wrong", "data.invalid"),
                       ("secret", "server.error"), ("taken", "record.exists")],
)  # fmt: skip
async def test_what_a_hook_refuses_or_does_wrong_fails_alone(use: Use, note: str, code: str) -> None:
    await use.create(box, name="taken")
    before = use.storage.submit(_commit(use, "b", None))
    refused = use.storage.submit(_commit(use, "c", note))
    after = use.storage.submit(_commit(use, "d", None))
    with pytest.raises(HubError) as refusal:
        await refused
    assert refusal.value.code == code
    assert ((await before).seq, (await after).seq) == (2, 3)


def _commit(use: Use, name: str, note: str | None) -> Commit:
    return Commit("main", (use.new(box, name=name, note=note),))


async def test_a_hook_stands_against_what_takes_a_record_away(use: Use) -> None:
    made = await use.create(box, name="a", note="keep!")
    kept = await use.create(box, name="b")
    await use.commit(Delete(box, kept["id"]), Restore(box, kept["id"]))
    assert [c.kind for c in SEEN] == ["create", "create", "delete", "restore"]
    parent = (await use.create(box, name="p"))["id"]
    child = (await use.create(tray, parent))["id"]
    await use.commit(Move(tray, child, kept["id"]))
    await use.commit(Delete(box, kept["id"], hard=True))
    assert [(c.kind, c.type) for c in SEEN[4:]] == [
        ("create", "box"), ("create", "tray"), ("update", "tray"), ("purge", "box"), ("purge", "tray"),
    ]  # fmt: skip
    assert made["note"] == "keep!"


async def test_other_types_are_not_asked_and_secrets_are_not_shown(use: Use) -> None:
    parent = (await use.create(box, name="a", pin="1234"))["id"]
    SEEN.clear()
    made = await use.create(item, parent)
    await use.commit(Update(item, made["id"], {"label": "x"}))
    assert SEEN == []
    await use.update(box, parent, pin="5678", name="b")
    assert all("pin" not in (image or {}) for c in SEEN for image in (c.before, c.after))
    assert SEEN[0].actor == "actor"


def test_a_hook_that_cannot_work_is_refused_at_its_declaration() -> None:
    with pytest.raises(TypeError, match="not async"):

        @before_commit(Box)
        async def waits(change: Change) -> None:
            """Wait."""

    with pytest.raises(TypeError, match="name the record types"):
        after_commit()(lambda change: None)
