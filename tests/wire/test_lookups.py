"""lookup.list and lookup.resolve over a hub: layers, policies, pages, and what others hear of a change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aether_client import Client as PythonClient
from aether_client import HubError
from aether_client.codec import CodecName
from handlers.lookups import ROWS
from tests.wire.hubprocess import HubProcess
from tests.wire.shelves import LAYERS, STACKS
from tests.wire.talk import Client
from tests.wire.tenant import Tenant

NOBODY = "AAAAAAAAAAA"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that knows the pack of these tests beside its own."""
    started = HubProcess(tmp_path_factory.mktemp("shelves") / "data", packs="packs.events,tests.wire.shelves")
    yield started
    started.stop()


@pytest.fixture
async def owner(tenant: Tenant, codec: str) -> AsyncIterator[Client]:
    """A greeted socket of an owner, once per codec."""
    async with tenant.client("owner", codec) as client:
        yield client


async def put(client: Client, kind: str, target: tuple[str, str] | None = None, **data: Any) -> dict[str, Any]:
    """Create a row or a policy, for a record where one is given."""
    layer = {"for_type": target[0], "for_id": target[1]} if target else {}
    return await client.create(kind, **data, **layer)


async def listed(client: Client, lookup: str = "label", /, **fields: Any) -> dict[str, dict[str, Any]]:
    """Return the rows of a lookup by code."""
    found = await client.ok("lookup.list", lookup=lookup, **fields)
    assert found["total"] == len(found["rows"])
    return {row["code"]: row for row in found["rows"]}


async def meant(client: Client, lookup: str, q: str, /, **fields: Any) -> dict[str, Any]:
    """Return the row that is meant."""
    (row,) = (await client.ok("lookup.resolve", lookup=lookup, q=q, **fields))["rows"]
    found: dict[str, Any] = row
    return found


async def things(client: Client) -> dict[str, dict[str, str]]:
    """Make a site, a room of it, a shelf and a drawer; return a reference to each."""
    site = (await client.create("site", name="Site"))["id"]
    room = {"type": "room", "rec": (await client.create("room", name="Room", site_id=site))["id"]}
    found = {"site": {"type": "site", "rec": site}, "room": room}
    for kind, parent in (("shelf", "room"), ("drawer", "shelf")):
        made = await client.ok("record.create", type=kind, parent=found[parent], data={"name": kind})
        found[kind] = {"type": kind, "rec": made["id"]}
    return found


async def taken(client: Client, thing: dict[str, str]) -> set[str]:
    """Return those labels that a record takes."""
    ops = [{"op": "record.update", **thing, "data": {"label": code}} for code in (*STACKS, "nothing")]
    results = (await client.ok("record.batch", ops=ops, atomic=False))["results"]
    refused = {(r["code"], r["path"].split(".", 2)[2], str(r["details"])) for r in results if "code" in r}
    assert refused == {("data.invalid", "data.label", "{'lookup': 'label'}")}
    return {result["label"] for result in results if "code" not in result}


# -- layers ------------------------------------------------------------------------------------------


async def test_of_every_combination_of_layers_the_nearest_decides(owner: Client) -> None:
    made = await things(owner)
    for layer in LAYERS[:-1]:
        above = {} if layer == "account" else {"for_type": layer, "for_id": made[layer]["rec"]}
        data = [
            {"lookup": "label", "code": code, "name": layer, "enable": stack[layer] == "enabled", **above}
            for code, stack in STACKS.items()
            if stack[layer] != "absent"
        ]
        await owner.ok("record.batch", ops=[{"op": "record.create", "type": "lookup_row", "data": d} for d in data])
    for n, layer in enumerate(LAYERS):
        wanted, unseen = {}, {}
        for code, stack in STACKS.items():
            nearest = next((name for name in LAYERS[n:] if stack[name] != "absent"), None)
            if nearest is not None:
                unseen[code] = nearest
                if stack[nearest] == "enabled":
                    wanted[code] = nearest
        # The layers of the account and of what is declared are those without a record.
        target: dict[str, Any] = {"for": made[layer]} if layer in made else {}
        if layer == "global":
            await owner.ok("record.delete_where", type="lookup_row", where={"for_type": ""}, limit=1000)
        found = await listed(owner, **target)
        assert {code: row["layer"] for code, row in found.items()} == wanted
        assert all(row["name"] == row["layer"] for row in found.values())
        assert all((row["rec"] is None) == (row["layer"] == "global") for row in found.values())
        found = await listed(owner, **target, include_disabled=True)
        assert {code: row["layer"] for code, row in found.items()} == unseen
        if layer in {"shelf", "room"}:
            assert await taken(owner, made[layer]) == set(wanted), "what can be chosen there can be written there"
    below = {"for": {"type": "drawer", "rec": made["drawer"]["rec"]}}
    assert await listed(owner, **below) == await listed(owner, **{"for": made["shelf"]})


async def test_a_row_of_the_account_stands_before_what_is_declared_and_says_where_it_is_kept(owner: Client) -> None:
    made = await put(owner, "lookup_row", lookup="country", code="XK", name="Kosovo", priority=1, cfg={"flag": "?"})
    row = {
        "code": "XK", "name": "Kosovo", "group": "", "part_of": "", "aliases": [], "priority": 1, "sort": 0,
        "enable": True, "hide": False, "cfg": {"flag": "?"}, "layer": "account", "rec": made["id"],
    }  # fmt: skip
    found = await owner.ok("lookup.list", lookup="country")
    assert found["rows"][0] == row
    assert found["total"] == 250
    assert found["seq"] == (await owner.ok("session.beat"))["seq"]
    assert await owner.ok("lookup.resolve", lookup="country", q="kosovo") == {"rows": [row], "seq": found["seq"]}
    assert (await owner.ok("lookup.list", lookup="country", only_priority=True))["rows"] == [row]
    global_row = await meant(owner, "country", "DEU")
    assert (global_row["code"], global_row["layer"], global_row["rec"]) == ("DE", "global", None)


async def test_a_row_with_the_group_of_another_stands_in_its_place(owner: Client) -> None:
    await put(owner, "lookup_row", lookup="user_status", group="left", code="gone", name="Gone away", sort=25)
    assert [*await listed(owner, "user_status")] == ["invited", "active", "gone", "suspended"]
    assert (await owner.refused("lookup.resolve", lookup="user_status", q="left")) == ("record.not_found", "q")


async def test_what_is_hidden_is_not_listed_but_still_means_what_it_meant(owner: Client) -> None:
    made = await put(owner, "lookup_row", lookup="user_status", code="left", name="Left", hide=True)
    assert "left" not in await listed(owner, "user_status")
    assert (await meant(owner, "user_status", "LEFT"))["hide"] is True
    await owner.ok("record.update", type="lookup_row", rec=made["id"], data={"enable": False})
    assert await owner.refused("lookup.resolve", lookup="user_status", q="left") == ("record.not_found", "q")
    assert (await listed(owner, "user_status", include_disabled=True))["left"]["enable"] is False
    await owner.ok("record.delete", type="lookup_row", rec=made["id"])
    assert (await meant(owner, "user_status", "left"))["layer"] == "global"


async def test_the_nearest_policy_leaves_its_codes_only(owner: Client) -> None:
    made = await things(owner)
    site, room = ("site", made["site"]["rec"]), ("room", made["room"]["rec"])
    await put(owner, "lookup_policy", lookup="country", codes=["DE", "FR", "XK"])
    await put(owner, "lookup_row", lookup="country", code="XK", name="Kosovo", target=room)
    assert [*await listed(owner, "country")] == ["DE", "FR"]
    assert [*await listed(owner, "country", **{"for": made["shelf"]})] == ["DE", "FR", "XK"]
    policy = await put(owner, "lookup_policy", site, lookup="country", codes=["AT", "XK"])
    for layer in ("site", "room", "shelf", "drawer"):
        wanted = ["AT"] if layer == "site" else ["AT", "XK"]
        assert [*await listed(owner, "country", **{"for": made[layer]})] == wanted
    assert [*await listed(owner, "country")] == ["DE", "FR"]
    refused = await owner.refused("lookup.resolve", lookup="country", q="DE", **{"for": made["shelf"]})
    assert refused == ("record.not_found", "q")
    assert len(await listed(owner, "user_status", **{"for": made["shelf"]})) == 4, "another lookup is as it was"
    await owner.ok("record.update", type="lookup_policy", rec=policy["id"], data={"codes": []})
    assert await listed(owner, "country", **{"for": made["shelf"]}) == {}


async def test_an_event_has_the_rows_of_its_site(owner: Client) -> None:
    site = (await owner.create("site", name="Site"))["id"]
    event = (await owner.create("event", title="Event", site_id=site))["id"]
    session = (await owner.create("event_session", parent=event, title="Talk"))["id"]
    await put(owner, "lookup_row", ("site", site), lookup="file_purpose", code="score", name="Score")
    target = {"for": {"type": "event_session", "rec": session}}
    assert (await listed(owner, "file_purpose", **target))["score"]["layer"] == "site"
    await owner.ok("record.delete", type="site", rec=site)
    assert "score" not in await listed(owner, "file_purpose", **target)


async def test_a_site_in_a_field_that_the_caller_does_not_see_has_no_part(tenant: Tenant, owner: Client) -> None:
    made = await things(owner)
    other = (await owner.create("site", name="Other"))["id"]
    data = {"name": "d", "secret_site_id": other}
    drawer = (await owner.ok("record.create", type="drawer", parent=made["shelf"], data=data))["id"]
    await put(owner, "lookup_row", ("site", other), lookup="user_status", code="x", name="X")
    target = {"for": {"type": "drawer", "rec": drawer}}
    assert "x" in await listed(owner, "user_status", **target)
    async with tenant.client("editor") as editor:
        assert "x" not in await listed(editor, "user_status", **target)


# -- asking ------------------------------------------------------------------------------------------


async def test_countries_come_in_one_answer_and_in_another_language(owner: Client) -> None:
    found = await owner.ok("lookup.list", lookup="country", language="de")
    assert (len(found["rows"]), "next" in found) == (found["total"], False)
    assert {r["code"]: r["name"] for r in found["rows"]}["DE"] == "Deutschland"
    assert (await meant(owner, "country", "Deutschland", language="DE_at"))["code"] == "DE"
    assert (await meant(owner, "country", "Germany", language="de"))["name"] == "Deutschland"
    assert await owner.refused("lookup.resolve", lookup="country", q="Deutschland") == ("record.not_found", "q")
    assert (await meant(owner, "country", "Germany", language="tlh"))["name"] == "Germany"


async def test_subdivisions_are_asked_for_by_country_or_a_page_at_a_time(owner: Client) -> None:
    assert len(await listed(owner, "country_subdivision", part_of="DE")) == 16
    assert [*await listed(owner, "country_subdivision", part_of="DE", q="bay")] == ["DE-BY"]
    page = await owner.ok("lookup.list", lookup="country_subdivision")
    codes, total = [row["code"] for row in page["rows"]], page["total"]
    assert (len(codes), total > 5000) == (1000, True)
    while "next" in page:
        page = await owner.ok("lookup.list", lookup="country_subdivision", after=page["next"], limit=999)
        codes += [row["code"] for row in page["rows"]]
    assert len(codes) == len(set(codes)) == total
    assert codes == sorted(codes)


async def test_a_cursor_is_good_for_what_it_was_made_for_only(owner: Client) -> None:
    page = await owner.ok("lookup.list", lookup="country", q="a", limit=2)
    again = await owner.ok("lookup.list", lookup="country", q="a", limit=3, after=page["next"])
    assert again["rows"][0]["code"] > page["rows"][-1]["code"]
    for fields in ({"q": "b"}, {"q": "a", "part_of": ""}, {"q": "a", "language": "de"}, {}):
        refused = await owner.refused("lookup.list", lookup="country", after=page["next"], **fields)
        assert refused == ("cursor.invalid", "after")
    assert await owner.refused("lookup.list", lookup="country", after="forged") == ("cursor.invalid", "after")
    assert await owner.refused("lookup.list", lookup="time_zone", q="a", after=page["next"]) == (
        *("cursor.invalid", "after"),
    )


async def test_what_means_several_is_told_with_the_codes(owner: Client) -> None:
    message = await owner.call("lookup.resolve", lookup="country_subdivision", q="limburg")
    assert (message["code"], message["path"]) == ("data.invalid", "q")
    assert message["details"] == {"codes": ["BE-VLI", "NL-LI"]}
    await put(owner, "lookup_row", lookup="country_subdivision", code="NL-LI", name="Limburg", part_of="NL", priority=1)
    assert (await meant(owner, "country_subdivision", "limburg"))["code"] == "NL-LI"


async def test_what_cannot_be_asked_is_refused_with_its_place(owner: Client) -> None:
    made = await things(owner)
    for fields, refusal in (
        ({"lookup": "nope"}, ("lookup.unknown", "lookup")),
        ({"lookup": "label", "for": {"type": "nope", "rec": NOBODY}}, ("type.unknown", "for.type")),
        ({"lookup": "label", "for": {"type": "room", "rec": NOBODY}}, ("record.not_found", "for.rec")),
        ({"lookup": "label", "for": {"type": "room", "rec": made["site"]["rec"]}}, ("record.not_found", "for.rec")),
        ({"lookup": "label", "for": {"type": "user", "rec": NOBODY}}, ("access.denied", "for.type")),
        ({"lookup": "label", "for": "room"}, ("data.invalid", "for")),
        ({"lookup": "label", "for": {"type": "room"}}, ("data.invalid", "for.rec")),
        ({"lookup": "label", "for_": made["room"]}, ("data.invalid", "for_")),
        ({"lookup": "label", "language": "../de"}, ("data.invalid", "language")),
        ({"lookup": "label", "q": "x" * 201}, ("data.invalid", "q")),
    ):
        for op, more in (("lookup.list", {}), ("lookup.resolve", {"q": "x"})):
            assert await owner.refused(op, **{**more, **fields}) == refusal, (op, fields)
    assert await owner.refused("lookup.list", lookup="label", limit=1001) == ("data.invalid", "limit")
    assert await owner.refused("lookup.resolve", lookup="label") == ("data.invalid", "q")
    assert await owner.refused("lookup.resolve", lookup="label", q="") == ("data.invalid", "q")
    assert await owner.refused("lookup.resolve", lookup="label", q=" ") == ("record.not_found", "q")


async def test_a_record_that_the_caller_may_not_read_has_no_layers_for_them(tenant: Tenant, owner: Client) -> None:
    made = await things(owner)
    async with tenant.client("viewer") as viewer:
        assert await listed(viewer, **{"for": made["shelf"]})
        assert await viewer.refused("lookup.list", lookup="label", **{"for": made["drawer"]}) == (
            *("access.denied", "for.type"),
        )
    async with tenant.client(None) as guest:
        assert await guest.refused("lookup.list", lookup="label") == ("auth.required", None)


async def test_who_may_not_keep_rows_is_refused_and_bad_ones_are_told_why(tenant: Tenant, owner: Client) -> None:
    data = {"lookup": "label", "code": "x", "name": "X"}
    async with tenant.client("editor") as editor:
        assert await editor.refused("record.create", type="lookup_row", data=data) == ("access.denied", None)
    await owner.ok("record.create", type="lookup_row", data=data)
    again = await owner.refused("record.create", type="lookup_row", data=data)
    assert again == ("record.exists", "data.lookup")
    bad = await owner.refused("record.create", type="lookup_row", data={**data, "lookup": "labels"})
    assert bad == ("data.invalid", "data.lookup")
    made = await things(owner)
    for kind in ("lookup_row", "lookup_policy"):
        plain = data if kind == "lookup_row" else {"lookup": "label", "codes": []}
        for for_type, for_id, said in (
            ("room", NOBODY, ("record.not_found", "data.for_id")),
            ("room", made["shelf"]["rec"], ("record.not_found", "data.for_id")),
            ("nothing", made["room"]["rec"], ("data.invalid", "data.for_type")),
            ("user", made["room"]["rec"], ("access.denied", "data.for_type")),
        ):
            layer = {"for_type": for_type, "for_id": for_id}
            assert await owner.refused("record.create", type=kind, data={**plain, **layer}) == said
        await put(owner, kind, ("room", made["room"]["rec"]), **plain)
    half = await owner.refused("record.create", type="lookup_row", data={**data, "for_type": "room"})
    assert half == ("data.invalid", "data.for_id")
    match = ["lookup", "for_type", "for_id", "code"]
    done = await owner.ok("record.upsert", type="lookup_row", data={**data, "name": "Y"}, match=match)
    assert (done["created"], done["name"]) == (False, "Y")


async def test_a_code_is_checked_where_it_is_written_and_stays_where_it_is(tenant: Tenant, owner: Client) -> None:
    layer = await put(owner, "lookup_row", lookup="label", code="mine", name="Mine")
    made = await owner.create("room", name="Room", label="mine")
    room = {"type": "room", "rec": made["id"]}
    bad = await owner.refused("record.create", type="room", data={"name": "Room", "label": "yours"})
    assert bad == ("data.invalid", "data.label")
    await owner.ok("record.update", type="lookup_row", rec=layer["id"], data={"enable": False})
    assert (await owner.ok("record.update", **room, data={"name": "Other", "label": "mine"}))["label"] == "mine"
    await owner.ok("record.update", **room, data={"label": None})
    assert await owner.refused("record.revert", **room, version=1) == ("data.invalid", "data.label")
    await owner.ok("record.delete", type="lookup_row", rec=layer["id"], mode="hard")
    assert await owner.refused("record.update", **room, data={"label": "mine"}) == ("data.invalid", "data.label")
    row = {"op": "record.create", "type": "lookup_row", "data": {"lookup": "label", "code": "mine", "name": "Mine"}}
    await owner.ok("record.batch", ops=[row, {"op": "record.update", **room, "data": {"label": "mine"}}])
    async with tenant.client("editor") as editor:  # may not make rows, and uses those that are there
        assert (await editor.create("room", name="Room", label="mine"))["label"] == "mine"


async def test_more_rows_than_one_question_reads_are_refused_and_those_of_a_record_do_not_count(owner: Client) -> None:
    made = await things(owner)

    def row(n: int, **more: Any) -> dict[str, Any]:
        data = {"lookup": "label", "code": f"x{n}", "name": "X", **more}
        return {"op": "record.create", "type": "lookup_row", "data": data}

    room = {"for_type": "room", "for_id": made["room"]["rec"]}
    for first in range(0, ROWS, 1000):
        await owner.ok("record.batch", ops=[row(n) for n in range(first, first + 1000)])
    await owner.ok("record.batch", ops=[row(1, name="of the room", **room)])
    assert (await owner.ok("lookup.list", lookup="label", limit=1))["total"] == ROWS + len(await declared())
    refused = await owner.refused("lookup.list", lookup="label", **{"for": made["room"]})
    assert refused == ("lookup.too_large", "lookup")
    await owner.ok("record.create", **{k: v for k, v in row(ROWS).items() if k != "op"})
    assert await owner.refused("lookup.resolve", lookup="label", q="x1") == ("lookup.too_large", "lookup")


async def declared() -> list[str]:
    """Return the codes that the global layer of `label` shows."""
    return [code for code, stack in STACKS.items() if stack["global"] == "enabled"]


# -- what others hear --------------------------------------------------------------------------------


async def test_a_change_of_one_reaches_another_who_asks_again(tenant: Tenant, owner: Client, codec: str) -> None:
    async with tenant.client("viewer", codec) as viewer:
        watch = (await viewer.ok("watch.start", type="lookup_row", where={"lookup": "country"}))["watch"]
        before = await viewer.ok("lookup.list", lookup="country")
        made = await put(owner, "lookup_row", lookup="country", code="DE", name="Here", priority=9)
        (told,) = (await viewer.push("change", lambda m: m["watch"] == watch))["events"]
        assert (told["kind"], told["rec"]) == ("enter", made["id"])
        after = await viewer.ok("lookup.list", lookup="country")
        assert after["seq"] > before["seq"]
        assert (after["rows"][0]["name"], after["rows"][0]["layer"]) == ("Here", "account")
        await put(owner, "lookup_row", lookup="user_status", code="x", name="X")
        assert await viewer.changes(watch) == [], "another lookup is another matter"
        await owner.ok("record.update", type="lookup_row", rec=made["id"], data={"enable": False})
        (told,) = (await viewer.push("change", lambda m: m["watch"] == watch))["events"]
        assert told["patch"]["enable"] is False
        assert await viewer.refused("lookup.resolve", lookup="country", q="DE") == ("record.not_found", "q")


async def test_the_schema_lists_the_lookups(owner: Client) -> None:
    found = await owner.ok("schema.describe")
    assert found["lookups"]["country"] == "Countries, by ISO 3166-1."
    assert {"label", "country_subdivision", "time_zone", "user_status"} < set(found["lookups"])
    assert (await owner.ok("schema.describe", have=found["hash"]))["lookups"] == {}
    assert found["types"]["room"]["schema"]["properties"]["label"]["x-lookup"] == "label"
    assert "x-lookup" not in found["types"]["room"]["schema"]["properties"]["name"]


async def test_the_python_client_reads_every_page_and_finds_one(tenant: Tenant, codec: CodecName) -> None:
    async with PythonClient(tenant.process.url, token=tenant.keys["owner"], codec=codec) as hub:
        made = (await hub.call("record.create", type="room", data={"name": "Room"})).data["id"]
        target = {"type": "room", "rec": made}
        layer = {"for_type": "room", "for_id": made}
        data = {"lookup": "country_subdivision", "code": "DE-XX", "name": "Here", "part_of": "DE", **layer}
        await hub.call("record.create", type="lookup_row", data=data)
        rows = await hub.lookup("country_subdivision", target=target)
        assert len(rows) == len({row["code"] for row in rows}) > 5000
        assert len(await hub.lookup("country_subdivision", target=target, part_of="DE")) == 17
        assert (await hub.lookup_one("country_subdivision", "here", target=target))["layer"] == "room"
        with pytest.raises(HubError, match=r"record\.not_found"):
            await hub.lookup_one("country_subdivision", "here")
