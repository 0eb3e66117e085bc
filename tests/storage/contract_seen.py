"""The promise of `storage.base.Storage` as tests: when members were last here."""

from __future__ import annotations

import asyncio
from random import Random

from storage.base import SIGHTS, Member, Sight
from tests.storage.declared import Use, box

EVE: Member = ("user", "eve")
KIOSK: Member = ("device", "eve")
"""Another member, although the id is the same."""


def at(second: int) -> str:
    """Return a time in wire form."""
    return f"2026-11-22T02:{second // 60:02}:{second % 60:02}.{second % 1000:03}Z"


class SeenContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_member_was_seen_at_the_latest_time_that_was_kept(self, use: Use) -> None:
        await use.create(box, name="a")
        storage = use.storage
        assert await storage.last_seen("main", [EVE]) == {}
        for kept, shown in ((30, 30), (20, 30), (30, 30), (31, 31)):
            await storage.saw([Sight("main", EVE, at(kept))])
            assert await storage.last_seen("main", [EVE]) == {EVE: at(shown)}
        await storage.saw([Sight("main", EVE, at(40)), Sight("main", EVE, at(50)), Sight("main", EVE, at(45))])
        assert await storage.last_seen("main", [EVE, EVE]) == {EVE: at(50)}, "one member twice in one list"

    async def test_sights_are_of_their_account_kind_and_id(self, use: Use) -> None:
        await use.create(box, name="a")
        await use.create(box, account="other", name="a")
        storage = use.storage
        who = [("main", EVE), ("main", KIOSK), ("main", ("user", "Eve")), ("main", ("user", "eve-")), ("other", EVE)]
        await storage.saw([Sight(account, member, at(n)) for n, (account, member) in enumerate(who)])
        for n, (account, member) in enumerate(who):
            assert await storage.last_seen(account, [member]) == {member: at(n)}
        assert await storage.last_seen("main", [EVE, KIOSK, ("user", "nobody"), ("user", "ü")]) == {
            EVE: at(0),
            KIOSK: at(1),
        }
        assert await storage.last_seen("main", []) == {}

    async def test_nothing_is_kept_of_an_account_that_never_committed(self, use: Use) -> None:
        await use.create(box, name="a")
        await use.storage.saw([Sight("nobody", EVE, at(1)), Sight("ü", EVE, at(1)), Sight("main", EVE, at(2))])
        await use.create(box, account="nobody", name="a")
        assert await use.storage.last_seen("nobody", [EVE]) == {}
        assert await use.storage.last_seen("main", [EVE]) == {EVE: at(2)}
        await use.storage.saw([])

    async def test_a_sight_is_no_commit(self, use: Use) -> None:
        made = await use.create(box, name="a")
        told = list(use.told)
        before = await use.storage.heads(["main"])
        await use.storage.saw([Sight("main", EVE, at(1))])
        assert await use.storage.heads(["main"]) == before
        assert (await use.storage.get("main", box, [made["id"]]))[made["id"]] == made
        assert use.told == told

    async def test_a_full_list_is_kept_and_read_in_one_call(self, use: Use) -> None:
        await use.create(box, name="a")
        members = [("user" if n % 3 else "device", f"member-{n}") for n in range(SIGHTS)]
        await use.storage.saw([Sight("main", member, at(n % 60)) for n, member in enumerate(members)])
        found = await use.storage.last_seen("main", members)
        assert found == {member: at(n % 60) for n, member in enumerate(members)}

    async def test_sights_that_are_kept_at_once_end_at_the_latest(self, use: Use) -> None:
        await use.create(box, name="a")
        chance = Random(7)
        members: list[Member] = [("user", f"m{n}") for n in range(20)]

        def some(second: int) -> list[Sight]:
            return [Sight("main", member, at(second)) for member in chance.sample(members, 20)]

        seconds = [*range(1, 40)]
        chance.shuffle(seconds)
        writes = [use.create(box, name=f"{n}") for n in range(20)]
        await asyncio.gather(*(use.storage.saw(some(second)) for second in seconds), *writes)
        assert await use.storage.last_seen("main", members) == dict.fromkeys(members, at(39))
