"""The shorter way of deciding the commonest commits means what the longer one means, for everything around it too."""

from __future__ import annotations

import random
from typing import Annotated, Any

import pytest
from msgspec import Meta, structs

from hub.schema.access import Access
from hub.schema.record import Record, type_of
from hub.schema.writes import Commit, Create, Delete, KeyClaim, Restore, Update, Write
from hub.wire.errors import HubError
from storage.decide import Decider, Decision
from storage.memory import MemoryDatabase
from tests.storage.declared import box, item, person, registry_of, sticker, tag, tray

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")


class Crate(Record, access=_RULE):
    """A record of the account, of a plain type."""

    name: Annotated[str, Meta(max_length=100)] = ""
    marks: list[int] = []
    extra: dict[str, Any] = {}


class Slat(Record, parent=Crate, access=_RULE):
    """A record of a crate, of a plain type."""

    name: Annotated[str, Meta(max_length=100)] = ""


class Hall(Record, system=True, access=_RULE):
    """A global record of a plain type."""

    name: str = ""


crate, slat, hall = type_of(Crate), type_of(Slat), type_of(Hall)
REGISTRY = registry_of(person, box, item, sticker, tray, tag, crate, slat, hall)
KINDS = (crate, crate, slat, slat, box, item, sticker, hall)
IDS = [f"{n:011d}" for n in range(40)]
"""So few that ids are given again, and that parents are often there."""
NOW = "2026-11-21T09:00:00.000Z"
GROUPS = 200


class Counting(Decider):
    """Counts how many commits the shorter way took."""

    alone = 0

    def _creation(self, commit: Commit, write: Create, seq: int) -> Decision | None:
        decision = super()._creation(commit, write, seq)
        self.alone += decision is not None
        return decision


def drawn(dice: random.Random) -> Commit:
    """Draw a commit: mostly the creation of one record, rightly or not."""
    return Commit(
        account=dice.choice(("main", "main", "other", "system")),
        writes=tuple(_write(dice) for _ in range(dice.choice((1, 1, 1, 1, 2)))),
        actor=dice.choice(("ada", None)),
        session=dice.choice(("s", None)),
        request=dice.choice(("7", None)),
        key=KeyClaim("ada", dice.choice("ab"), b"d") if dice.random() < 0.1 else None,
        answer=(lambda committed: {"seq": committed.seq}) if dice.random() < 0.05 else None,
        atomic=dice.random() < 0.9,
    )


def _write(dice: random.Random) -> Write:
    kind, rec = dice.choice(KINDS), dice.choice(IDS)
    draw = dice.random()
    if draw < 0.08:
        return Delete(kind, rec, hard=dice.random() < 0.5)
    if draw < 0.12:
        return Restore(kind, rec)
    if draw < 0.2:
        return Update(kind, rec, kind.accept_change({next(iter(kind.fields)): f"{dice.randrange(3)}"}))
    given = {"name": f"{dice.randrange(3)}"} if "name" in kind.fields else {}
    above = dice.choice(IDS) if (kind.parent is not None) != (dice.random() < 0.05) else None
    return Create(kind, rec, kind.accept_create(given), above)


def differences(groups: int, seed: int) -> tuple[int, int]:
    """Decide the same groups both ways over what became true of the longer one; return (different, alone).

    `alone` is how many commits the shorter way took.
    """
    dice, database, different, alone = random.Random(seed), MemoryDatabase(), 0, 0
    for n in range(groups):
        if n % 8 == 0:
            database = MemoryDatabase()  # or every id would be taken soon
        commits = [drawn(dice) for _ in range(dice.randrange(1, 40))]
        # Both see one database: it changes only behind the group.
        long, short = Decider(REGISTRY, database, NOW, closely=True), Counting(REGISTRY, database, NOW)
        decided: list[Decision] = []
        for commit in commits:
            one, other = _outcome(long, commit), _outcome(short, commit)
            different += one != other
            if isinstance(one, Decision):
                decided.append(one)
        alone += short.alone
        different += _seen(long) != _seen(short)
        for decision in decided:
            database.write(decision)
    return different, alone


def _outcome(decider: Decider, commit: Commit) -> Any:
    try:
        decision = decider.decide(commit)
    except HubError as refusal:
        return refusal.body()
    return structs.replace(decision, puts=list(decision.puts))


def _seen(decider: Decider) -> Any:
    """Return what the commits behind a group see of it."""
    known = decider._known
    there = {key: image for key, image in known.records.items() if image is not None}
    births = [known.came_under(a, k.name, rec) for a in ("main", "other") for k in KINDS for rec in IDS]
    return there, known.logs, [list(ids) for ids in births], decider._heads


def test_a_creation_decided_alone_is_what_it_would_be_among_others() -> None:
    different, alone = differences(GROUPS, 1)
    assert different == 0
    assert alone > GROUPS / 4


@pytest.mark.parametrize("fault", ["parent", "version", "again"])
def test_a_shorter_way_that_means_something_else_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Decider._creation

    def wrong(self: Decider, commit: Commit, write: Create, seq: int) -> Decision | None:
        if fault == "parent" and write.type is slat:
            write = structs.replace(write, type=crate, parent=None)
        if fault == "again" and not self._closely:
            self._known.records.pop((commit.account, write.type.name, write.id), None)
        decision = right(self, commit, write, seq)
        if decision is not None and fault == "version":
            decision.committed.results[0].image["version"] = 2
        return decision

    monkeypatch.setattr(Decider, "_creation", wrong)
    assert differences(GROUPS, 1)[0] > 0
