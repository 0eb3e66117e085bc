"""The promise of `storage.base.Storage` as tests: records with the fields of what stands in a list."""

from __future__ import annotations

from typing import Any

import pytest

from hub.wire.errors import HubError
from tests.storage.declared import Use, ware


class ListedContract:
    """Part of `tests.storage.contract.StorageContract`."""

    async def test_what_stands_in_a_list_has_its_defaults_and_keeps_what_it_is_given(self, use: Use) -> None:
        plain = await use.create(ware, code="a")
        assert {name: plain[name] for name in ("enable", "hide", "priority", "sort", "group", "notes", "cfg")} == {
            "enable": True, "hide": False, "priority": 0, "sort": 0, "group": "", "notes": "", "cfg": {},
        }  # fmt: skip
        given: dict[str, Any] = {
            "enable": False,
            "hide": True,
            "priority": 2,
            "sort": -1,
            "group": "g",
            "notes": "n",
            "cfg": {"a": [1]},
        }
        made = await use.create(ware, code="b", **given)
        assert given.items() <= made.items()
        assert await use.get(ware, made["id"]) == made
        await use.update(ware, made["id"], hide=False, group="h", cfg={})
        read = await use.get(ware, made["id"])
        assert read is not None
        assert (read["hide"], read["group"], read["cfg"], read["enable"]) == (False, "h", {}, False)

    async def test_a_list_is_found_and_ordered_by_its_fields(self, use: Use) -> None:
        for n, (priority, sort, group) in enumerate([(0, 5, "x"), (1, 9, "y"), (0, -5, ""), (1, 0, "x")]):
            await use.create(ware, code=f"c{n}", priority=priority, sort=sort, group=group, shelf="s", place=group)
        order = ["-priority", "sort", "code"]
        found = await use.find(ware, {"shelf": "s"}, order=order)
        assert [image["code"] for image in found.records] == ["c3", "c1", "c2", "c0"]
        found = await use.find(ware, {"shelf": "s", "place": {"$in": ["", "y"]}, "hide": False}, order=order)
        assert [image["code"] for image in found.records] == ["c1", "c2"]
        found = await use.find(ware, {"group": "x", "enable": True}, order=["code"], limit=1)
        assert ([image["code"] for image in found.records], found.more) == (["c0"], True)

    async def test_an_empty_text_takes_part_in_a_unique(self, use: Use) -> None:
        await use.create(ware, code="a")
        with pytest.raises(HubError, match=r"record\.exists"):
            await use.create(ware, code="a")
        await use.create(ware, code="a", place="p")
        await use.create(ware, code="a", account="other")
