"""record.search: what is found, shown and paged, for whom; what it refuses; and making its index anew beside it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aether_client.client import Client as Library
from tests.forked import aether
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant

SESSIONS: list[dict[str, Any]] = [
    {"title": "Rust for Chloé", "abstract": "Errors & <b>ownership</b>", "tags": ["systems", "C++"]},
    {"title": "Gardens", "description": f"{'soil ' * 200}rust on tools, {'water ' * 200}"},
    {"title": "東京の夜", "subtitle": "🎉 Party"},
    {"title": "The Who", "abstract": "is it of a to", "language": "de"},
]


@pytest.fixture
async def event(editor: Client) -> str:
    """An event with sessions, a person and a room."""
    rec = str((await editor.create("event", title="Rust camp"))["id"])
    parent = {"type": "event", "rec": rec}
    create = {"op": "record.create", "parent": parent}
    ops = [{**create, "type": "event_session", "data": data} for data in SESSIONS]
    ops += [{**create, "type": t, "data": {"name": f"{t} Rusty"}} for t in ("event_person", "event_location")]
    await editor.ok("record.batch", ops=ops)
    return rec


async def titles(client: Client, q: str, **fields: Any) -> list[str]:
    """Return what the records that are found are called."""
    hits = (await client.ok("record.search", q=q, **fields))["hits"]
    return [hit["record"].get("title") or hit["record"]["name"] for hit in hits]


async def test_a_search_answers_hits_over_all_types_and_how_far_they_go(editor: Client, event: str) -> None:
    message = await editor.call("record.search", q="rust")
    assert set(message) == {"op", "id", "seq", "data"}
    assert set(message["data"]) == {"hits", "seq"}
    assert message["seq"] == message["data"]["seq"] == (await editor.ok("session.beat"))["seq"]
    hits = message["data"]["hits"]
    assert {hit["record"]["type"] for hit in hits} == {"event", "event_session", "event_person", "event_location"}
    assert hits[-1]["record"]["title"] == "Gardens", "what is found in a title comes first"
    found = next(hit for hit in hits if hit["record"]["title" if "title" in hit["record"] else "name"] == "Rust camp")
    assert found == {"record": await editor.ok("record.get", type="event", rec=event), "highlights": {
        "title": ["", "Rust", " camp"],
    }}  # fmt: skip


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("CHLOE", ["Rust for Chloé"]),
        ("for rust", ["Rust for Chloé"]),
        ("ru* chloe", ["Rust for Chloé"]),
        ("ru chloe", []),
        ("errors ownership", ["Rust for Chloé"]),
        ('"errors ownership"', []),
        ('"rust on tools"', ["Gardens"]),
        ('"rust tools"', []),
        ("systems c", ["Rust for Chloé"]),
        ("京の", ["東京の夜"]),
        ("夜", ["東京の夜"]),
        ("🎉", ["東京の夜"]),
        ("the who", ["The Who"]),
        ("is it of a to", ["The Who"]),
        ("zebra", []),
    ],
)
async def test_words_are_found_whatever_they_are(editor: Client, event: str, q: str, expected: list[str]) -> None:
    assert await titles(editor, q, types=["event_session"]) == expected
    assert await titles(editor, q, where={"event_id": event}, types=["event_session"]) == expected
    assert await titles(editor, q, where={"event_id": "AAAAAAAAAAA"}, types=["event_session"]) == []


async def test_highlights_are_pieces_of_the_stored_text(editor: Client, event: str) -> None:
    (first,) = (await editor.ok("record.search", q="own* chloe"))["hits"]
    assert first["highlights"] == {
        "title": ["Rust for ", "Chloé", ""],
        "abstract": ["Errors & <b>", "ownership", "</b>"],
    }
    (listed,) = (await editor.ok("record.search", q="system"))["hits"]
    assert listed["highlights"] == {"tags": ["", "systems", ", C++"]}
    (long,) = (await editor.ok("record.search", q="tools"))["hits"]
    before, hit, after = long["highlights"]["description"]
    assert (before[0], hit, after[-1]) == ("…", "tools", "…")
    assert len(before + hit + after) < 300
    assert before[1:] + hit + after[:-1] in long["record"]["description"]


async def test_pages_go_on_behind_each_other(editor: Client, event: str) -> None:
    whole = (await editor.ok("record.search", q="r*"))["hits"]
    assert len(whole) == 5
    paged: list[Any] = []
    after: dict[str, Any] = {}
    for n in range(5):
        page = await editor.ok("record.search", q="r*", limit=1, **after)
        paged += page["hits"]
        assert ("next" in page) == (n < 4)
        after = {"after": page.get("next")}
    assert paged == whole


async def test_a_cursor_belongs_to_its_search(editor: Client, event: str) -> None:
    cursor = (await editor.ok("record.search", q="r*", limit=1))["next"]
    assert await titles(editor, "r*", after=cursor, limit=1)
    for other in (
        {"q": "ru*"}, {"q": "r*", "types": ["event"]}, {"q": "r*", "where": {"version": 1}}, {"q": '"r"'},
    ):  # fmt: skip
        assert await editor.refused("record.search", **other, after=cursor) == ("cursor.invalid", "after")
    found = (await editor.ok("record.find", type="event_session", limit=1))["next"]
    other_sign = "B" if cursor[0] == "A" else "A"
    for forged in (found, "AAAA", "", f"{other_sign}{cursor[1:]}", cursor[:-2]):
        assert await editor.refused("record.search", q="r*", after=forged) == ("cursor.invalid", "after")
    assert await editor.refused("record.find", type="event_session", after=cursor) == ("cursor.invalid", "after")


async def test_what_cannot_be_looked_for_is_refused(shared: Tenant, codec: str) -> None:
    async with shared.client("viewer", codec) as viewer:
        await refuses(viewer)


async def refuses(viewer: Client) -> None:
    """Look for what is refused."""

    async def refused(**fields: Any) -> tuple[str, str | None]:
        return await viewer.refused("record.search", **{"q": "rust", **fields})

    assert await refused(q="") == ("data.invalid", "q")
    assert await refused(q=" -+*\"' ") == ("data.invalid", "q")
    assert await refused(q="a" * 201) == ("data.invalid", "q")
    assert await refused(q="都京" * 50) == ("data.invalid", "q")
    assert await refused(limit=0) == ("data.invalid", "limit")
    assert await refused(limit=1001) == ("data.invalid", "limit")
    assert await refused(types=[]) == ("data.invalid", "types")
    assert await refused(types=["event", "nope"]) == ("type.unknown", "types.1")
    assert await refused(types=["event_presenter"]) == ("data.invalid", "types.0")
    assert await refused(types=["api_key"]) == ("access.denied", "types.0")
    assert await refused(types=["user"]) == ("access.denied", "types.0")
    assert await refused(where={"nope": 1}) == ("where.invalid", "where.nope")
    assert await refused(where={"starts_at": None}) == ("where.invalid", "where.starts_at")
    assert await refused(types=["event_session"], where={"title": {"$near": 1}}) == (
        "where.invalid",
        "where.title.$near",
    )
    assert await refused(order=["title"]) == ("data.invalid", "order")


async def test_what_is_deleted_is_not_found_and_what_comes_back_is(editor: Client, event: str) -> None:
    found = (await editor.ok("record.search", q="gardens"))["hits"][0]["record"]
    await editor.ok("record.delete", type="event_session", rec=found["id"])
    assert await titles(editor, "gardens") == []
    await editor.ok("record.restore", type="event_session", rec=found["id"])
    assert await titles(editor, "gardens") == ["Gardens"]
    await editor.ok("record.update", type="event_session", rec=found["id"], data={"title": "Parks"})
    assert await titles(editor, "gardens") == []
    assert await titles(editor, "parks tools") == ["Parks"]


async def test_an_account_finds_nothing_of_another(shared: Tenant, process: HubProcess, codec: str) -> None:
    other = await make_tenant(process)
    async with shared.client("editor", codec) as mine, other.client("owner", codec) as theirs:
        await theirs.create("event", title="Quagga meeting")
        assert await titles(theirs, "quagga") == ["Quagga meeting"]
        assert await titles(mine, "quagga") == []
        assert await titles(mine, "quag*") == []


async def test_a_large_answer_ends_earlier_with_a_cursor(editor: Client) -> None:
    parent = {"type": "event", "rec": (await editor.create("event", title="Large"))["id"]}
    for n in range(12):
        data = {"title": f"elephant {n}", "description": "x " * 49_000}
        await editor.ok("record.create", type="event_session", parent=parent, data=data)
    found: list[str] = []
    after: dict[str, Any] = {}
    pages = 0
    while after.get("after", "") is not None:
        page = await editor.ok("record.search", q="elephant", limit=1000, **after)
        found += [hit["record"]["id"] for hit in page["hits"]]
        after = {"after": page.get("next")}
        pages += 1
    assert len(found) == len(set(found)) == 12
    assert pages > 1


async def test_the_python_client_has_a_word_for_it(process: HubProcess, tenant: Tenant, event: str) -> None:
    async with Library(process.url, token=tenant.keys["viewer"]) as client:
        where = {"event_id": event}
        answer = await client.search("rust", types=["event_session"], where=where, limit=1)
        assert [hit["record"]["title"] for hit in answer.data["hits"]] == ["Rust for Chloé"]
        rest = await client.search(
            "rust", types=["event_session"], where={"event_id": event}, after=answer.data["next"]
        )
        assert [hit["record"]["title"] for hit in rest.data["hits"]] == ["Gardens"]


async def reindexed(process: HubProcess, *words: str) -> tuple[int, str, str]:
    """Run `aether reindex`; return its exit code and what it printed."""
    done = await asyncio.to_thread(aether, "reindex", "--data", str(process.data), *words)
    return done.returncode, done.stdout, done.stderr


async def test_the_index_is_made_anew_beside_a_running_hub(process: HubProcess, editor: Client, event: str) -> None:
    running = asyncio.create_task(reindexed(process))
    while not running.done():
        assert len(await titles(editor, "rust")) == 5
        await editor.create("event", title="meanwhile")
        await asyncio.sleep(0.02)
    code, out, err = running.result()
    assert (code, err) == (0, "")
    lines = dict(line.split("\t") for line in out.splitlines())
    assert {"event", "event_session", "event_person"} <= lines.keys()
    assert int(lines["event_session"]) >= len(SESSIONS)
    code, out, err = await reindexed(process, "--type", "event_presenter")
    assert (code, out) == (1, "")
    assert err.startswith("aether: No field of event_presenter is searchable.")
    assert await editor.refused("action.call", action="search.reindex") == ("access.denied", "action")
