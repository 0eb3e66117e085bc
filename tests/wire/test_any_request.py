"""Requests that are good but for one random place: each has one answer, a known code, and never an incident.

What only reads, and what was refused, is asked again as the member of an array, which the hub decodes in another way
than a request alone in its frame: both answer the same, at the same path.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any, Final

import httpx
import pytest

from hub.app import registry_of
from hub.schema.registry import Registry
from hub.settings import Settings
from hub.wire.errors import KINDS
from tests.wire.hubprocess import HubProcess
from tests.wire.matrix import cases_of
from tests.wire.talk import Client, Message, connected
from tests.wire.things import Fields, Things
from tests.wire.worlds import Outside, furnish, issue

SEEDS: Final = range(8)
PER_SEED: Final = 500
AT_ONCE: Final = 25
NASTY: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 5, 2**31, 2**53 - 1, 2**53, -(2**53), 1.5, -0.0, 1e308, 5e-324),
    *(
        "",
        " ",
        "x",
        "event",
        "id",
        "-title",
        "title",
        "$eq",
        "$item",
        "AAAAAAAAAAA",
        "../../etc/passwd",
        "a\0b",
        "\x7f",
    ),
    *("a\r\nb", "é" * 64, "x" * 300, "x" * 20_000, "\u202e", "😀", "%", "' OR 1=1 --", "\\", "*", "{}", "null"),
    *("2026-01-01", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00+14:00", "2026-02-30"),
    *([], [[]], [None], ["x"], ["id", "id"], [1, "a", None], ["x"] * 1001, [{}] * 3),
    *({}, {"": 1}, {"$item": 0}, {"$item": -1}, {"$eq": None}, {"$in": []}, {"$in": [None]}, {"$has": [1]}),
    *({"$not": {"id": None}}, {"$or": []}, {"$gt": True}, {"$null": "x"}, {"type": "event", "rec": "AAAAAAAAAAA"}),
    *({"a": {"b": {"c": [1]}}}, {"title": {"$contains": "\\%_"}}, {"id": {"$gt": ""}}, {"$and": [{}, {}], "id": "x"}),
]
NEIGHBOURS: Final = (
    *("nope", "where", "parent", "limit", "key", "if_version", "fields", "order", "count", "deleted", "$or", "type"),
    *("rec", "data", "presence", "since", "mode", "", "title", "version", "x" * 300),
    *("include", "view", "group", "values", "children", "location", "cap"),
)
SAME: Final = ("op", "code", "path", "message")
READS: Final = {"record.get", "record.find", "record.aggregate", "schema.describe", "file.grant", "manifest.get"}
NEVER: Final = {"server.error", "server.unavailable", "write.unknown"}


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a value."""
    found = [here] if here else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found += places(item, (*here, key))
    return found


def spoilt(fields: Fields, draw: Random) -> Fields:
    """Return a request with one place replaced, removed, wrapped, or given a neighbour."""
    fields = copy.deepcopy(fields)
    *way, last = draw.choice(places(fields) or [("nope",)])
    home: Any = fields
    for step in way:
        home = home[step]
    nasty = copy.deepcopy(draw.choice(NASTY))
    what = draw.choice(("replace", "replace", "replace", "remove", "add", "wrap"))
    if what == "add" and isinstance(home, dict):
        home[draw.choice(NEIGHBOURS)] = nasty
    elif last == "nope" or what in {"replace", "add"}:
        home[last] = nasty
    elif what == "remove":
        del home[last]
    else:
        home[last] = draw.choice(([home[last]], {"$eq": home[last]}, {"x": home[last]}))
    return {name: value for name, value in fields.items() if name not in {"op", "id"}}


def wrong_with(message: Message) -> str | None:
    """Return what is wrong about an answer, or None."""
    if message["op"] == "ok":
        return None if set(message) <= {"op", "id", "data", "seq"} else "odd fields"
    if not {"op", "id", "code", "message"} <= set(message) <= {
        "op", "id", "code", "message", "path", "details", "retry_after",
    }:  # fmt: skip
        return "odd fields"
    if message["code"] not in KINDS or message["code"] in NEVER:
        return "its code"
    if not message["message"].endswith((".", "!", "?")) or len(str(message)) > 2000:
        return "its sentence"
    return None if isinstance(message.get("path", ""), str) else "its path"


async def ask_twice(client: Client, requests: list[tuple[str, Fields]]) -> list[str]:
    """Send each request alone and as the member of an array; return what is wrong."""
    found: list[str] = []
    alone = [await client.send(op, **fields) for op, fields in requests]
    answers = [await client.answer(number) for number in alone]
    for (op, fields), one in zip(requests, answers, strict=True):
        wrong = wrong_with(one)
        if one["op"] == "error" or op in READS:
            client.last += 1
            await client.send_raw([{"op": op, "id": client.last, **fields}])
            two = await client.answer(client.last)
            if [one.get(name) for name in SAME] != [two.get(name) for name in SAME]:
                one = await client.call(op, **fields)  # a later request may have changed what this one is about
            if [one.get(name) for name in SAME] != [two.get(name) for name in SAME]:
                wrong = f"another answer within an array: {two}"
        if wrong:
            found.append(f"{wrong}: {op} {str(fields)[:400]}: {str(one)[:300]}")
    return found


@pytest.fixture(scope="module")
def registry() -> Registry:
    """What the hub of these tests knows. Looked up outside the loop: it reads files."""
    return registry_of(Settings())


@pytest.fixture
async def own(process: HubProcess) -> Things:
    """An account with a record of every type."""
    account, key = await Outside(process).make_account(f"any-{Random().getrandbits(40):x}")
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
        things = await furnish(http, account, "mine", key, "mine")
        things.records["api_key"], _ = await issue(http, key, "viewer")  # not the one that asks: it may be deleted
    things.token = key
    things.records["session"] = "AAAAAAAAAAA"
    return things


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_request_that_is_spoilt_anywhere_has_one_answer_that_says_why(
    process: HubProcess, registry: Registry, own: Things, codec: str, seed: int
) -> None:
    draw = Random(seed)
    cases = [case for case in cases_of(registry, own) if not case.op.startswith("session.hello")]
    # A filter that is spoilt may match every key, also that of the one who asks.
    cases = [case for case in cases if not (case.op.endswith("_where") and "api_key" in case.vector)]
    requests = [(case.op, spoilt(case.build(own), draw)) for case in draw.choices(cases, k=PER_SEED)]
    found: list[str] = []
    codes: set[str] = set()
    for start in range(0, PER_SEED, AT_ONCE):
        async with connected(process.socket_url, codec) as client:
            await client.greet(own.token)
            found += await ask_twice(client, requests[start : start + AT_ONCE])
            await client.ok("session.beat")
            codes |= {message["code"] for message in client.log if message["op"] == "error"}
            assert len([m for m in client.log if m["op"] in {"ok", "error"}]) == client.last, "one answer each"
    assert found == [], "\n".join(found)
    assert {"data.invalid", "record.not_found", "where.invalid"} <= codes, "the requests are spoilt in many ways"
