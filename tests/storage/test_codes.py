"""Codes of lookups in the decision of every keeper: what a group wrote before counts, in the account that it is of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta

from hub.schema.access import Access
from hub.schema.core.lookups import LookupRow, Site
from hub.schema.fields import Field, Ref
from hub.schema.lookups import Lookup, LookupEntry
from hub.schema.record import Record, type_of
from hub.schema.registry import Registry
from hub.schema.writes import Commit
from hub.wire.errors import HubError
from storage.base import Storage
from storage.mariadb.keeper import MariadbStorage
from storage.memory import MemoryStorage
from storage.sql.sqlite import SqliteStorage
from tests.storage.declared import Use, ticking
from tests.storage.mariadb_server import MariadbServer

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")
hues = Lookup("hue", "Colours.", (LookupEntry("red", "Red"), LookupEntry("grey", "Grey", enable=False)))


class Wall(Record, access=_RULE):
    """What may be at a site."""

    hue: Annotated[str | None, Meta(max_length=64), Field(lookup="hue")] = None
    site: Ref[Site] | None = None


class Patch(Record, parent=Wall, access=_RULE):
    """What is on a wall."""

    hue: Annotated[str, Meta(max_length=64), Field(lookup="hue")]


wall, patch, row, site = type_of(Wall), type_of(Patch), type_of(LookupRow), type_of(Site)


@pytest.fixture(params=["memory", "sqlite", "mariadb"])
async def use(request: pytest.FixtureRequest, tmp_path: Path, mariadb: MariadbServer) -> AsyncIterator[Use]:
    """Return each keeper, empty."""
    registry = Registry()
    for kind in (wall, patch, row, site):
        registry.add_type(kind)
    registry.add_lookup(hues)
    registry.check()
    keepers: dict[str, Storage] = {
        "memory": MemoryStorage(registry, ticking()),
        "sqlite": SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal"),
    }
    if request.param == "mariadb":
        keepers["mariadb"] = MariadbStorage(
            registry, mariadb.url(mariadb.new_database()), ticking(), durability="normal"
        )
    use = Use(keepers[request.param])
    await use.storage.start()
    yield use
    await use.storage.close()


def entry(use: Use, code: str, **data: Any) -> Any:
    """Return the creation of a row."""
    return use.new(row, lookup="hue", code=code, name=code, **data)


async def test_the_nearest_row_decides_as_of_the_commits_before(use: Use) -> None:
    await use.commit(use.new(wall, hue="red"), use.new(wall, hue=None))
    for hue in ("grey", "blüe", ""):
        with pytest.raises(HubError, match=r"data\.invalid at data\.hue") as refusal:
            await use.commit(use.new(wall, hue=hue))
        assert refusal.value.details == {"lookup": "hue"}
    await use.commit(entry(use, "blüe"), use.new(wall, hue="blüe"))
    with pytest.raises(HubError, match=r"data\.invalid at data\.hue"):  # another account's row is not theirs
        await use.commit(use.new(wall, hue="blüe"), account="other")
    place = (await use.create(site, name="Here"))["id"]
    there = (await use.create(wall, site_id=place))["id"]
    near = {"for_type": "site", "for_id": place}
    own = {"for_type": "wall", "for_id": there}
    futures = [
        use.storage.submit(Commit("main", writes))
        for writes in (
            (use.new(patch, there, hue="red"),),
            (entry(use, "red", enable=False, **near),),
            (use.new(patch, there, hue="red"),),
            (use.new(wall, hue="red"),),
            (entry(use, "red", **own),),
            (use.new(patch, there, hue="red"),),
        )
    ]
    outcomes = []
    for future in futures:
        try:
            await future
            outcomes.append("done")
        except HubError as refusal:
            outcomes.append(refusal.code)
    assert outcomes == ["done", "done", "data.invalid", "done", "done", "done"]


async def test_what_a_row_is_for_is_of_its_account_and_there(use: Use) -> None:
    here = (await use.create(wall))["id"]
    theirs = (await use.create(wall, account="other"))["id"]
    for rec in (theirs, "A" * 11):
        with pytest.raises(HubError, match=r"record\.not_found at data\.for_id"):
            await use.commit(entry(use, "x", for_type="wall", for_id=rec))
    with pytest.raises(HubError, match=r"data\.invalid at data\.for_type"):
        await use.commit(entry(use, "x", for_type="walls", for_id=here))
    made = (await use.commit(entry(use, "x", for_type="wall", for_id=here))).results[0].image
    await use.delete(wall, here)
    assert (await use.update(row, made["id"], name="y")).results[0].image["name"] == "y", "only its creation is checked"
    with pytest.raises(HubError, match=r"record\.not_found at data\.for_id"):
        await use.commit(entry(use, "z", for_type="wall", for_id=here))
