"""Two accounts in one hub, every identity of the first, and the check that none of them learns of the second.

The same question is asked twice, with what the other account has and with what nobody has: the answers must mean the
same, and nothing of the other account may be in any byte that comes back.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from random import Random
from typing import Any, Final, Protocol

import httpx
import msgspec

from hub.schema.registry import Registry
from hub.wire.names import public_id
from tests.wire.hubprocess import HubProcess
from tests.wire.posts import Posts
from tests.wire.talk import Client, connected
from tests.wire.tenant import operator
from tests.wire.things import Case, Things, nothing

CANARY: Final = "canary-" + secrets.token_hex(6)
LONG_AGO: Final = "2001-01-01T00:00:00Z"
UNMADE: Final = ("audit_entry", "domain", "login", "pairing")
"""Types of which nothing makes a record yet."""
EVERYBODY: Final = (
    "guest", "owner", "viewer", "member", "editor", "manager", "own role", "scoped key", "service key", "device key",
    "expired", "withdrawn",
)  # fmt: skip
"""Every identity that asks; beside them, in this process, `both`: a member of both accounts, who is in the first."""
SHORT: Final = 6
"""How many of them ask in a short run: the first two, and others that the day chooses."""
PROOF: Final = bool(os.environ.get("AETHER_PROOF"))
DAY: Final = date.today().toordinal()
IDENTITIES: Final = EVERYBODY if PROOF else (*EVERYBODY[:2], *Random(DAY).sample(EVERYBODY[2:], SHORT - 2))
NOBODY: Final = ("guest", "expired", "withdrawn")
"""Those who are answered nothing at all."""
OWN_WORDS: Final = frozenset(
    {
        *("id", "seq", "created_at", "updated_at", "now", "mark", "watch", "url", "expires_at"),
        *("session", "resume", "event", "event_id", "key", "hash"),
    }
)
"""What differs between two answers of the same meaning."""


class Place(Protocol):
    """A running hub, in whatever process."""

    url: str
    socket_url: str

    async def make_account(self, name: str) -> tuple[str, str]:
        """Create an account with an owner; return its id and an owner's key."""


@dataclass
class Outside:
    """A hub in a process of its own."""

    process: HubProcess
    url: str = field(init=False)
    socket_url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url, self.socket_url = self.process.url, self.process.socket_url

    async def make_account(self, name: str) -> tuple[str, str]:
        """Create an account with an owner; return its id and an owner's key."""
        async with operator(self.process) as client:
            made = await client.ok("action.call", action="account.create", args={"name": name, "owner": name})
            await client.greet(account=name)
            key = (await client.ok("action.call", action="api_key.issue", args={"role": "owner", "name": name}))["key"]
        self.process.secrets.add(key)
        return made["id"], key


def authority(token: str | None) -> dict[str, str]:
    """Return the header that a token travels in."""
    return {"authorization": f"Bearer {token}"} if token else {}


@dataclass
class Worlds:
    """Two accounts in one hub: `own` asks, `theirs` is asked for. `keys` are those of `own`, by identity."""

    place: Place
    registry: Registry
    http: httpx.AsyncClient
    posts: Posts
    own: Things
    theirs: Things
    keys: dict[str, str | None]
    holder: Client
    """A socket of the other account: it watches, and is seen in its channels."""
    absent: Things
    """What nobody has."""

    async def rpc(self, token: str | None, op: str, /, **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Post a request; return the message and everything that came back."""
        request = msgspec.json.encode({"op": op, "id": 1, **fields})
        head, body = await self.posts.post("/rpc", request, authority(token))
        return msgspec.json.decode(body), body + head

    @cached_property
    def marks(self) -> tuple[re.Pattern[str], dict[str, str]]:
        """What stands for either account's things in answers, and what it is called where answers are compared."""
        marks = self.theirs.marks | self.absent.marks
        return re.compile("|".join(re.escape(value) for value in marks)), marks


async def furnish(http: httpx.AsyncClient, account: str, name: str, key: str, word: str) -> Things:
    """Fill an account with a record of every type, all their texts with `word` in them; return what it has now."""

    async def ok(op: str, **fields: Any) -> Any:
        answer = (await http.post("/rpc", json={"op": op, "id": 1, **fields}, headers=authority(key))).json()
        assert answer["op"] == "ok", answer
        return answer["data"]

    unique = secrets.token_hex(4)
    things = Things(account, name, {"account": account}, f"acr-{unique}", f"guid-{unique}", f"source-{unique}", "")
    records = things.records
    parent: dict[str, Any] = {}

    async def create(name: str, /, **data: Any) -> None:
        records[name] = (await ok("record.create", type=name, data=data, **parent))["id"]

    await create("event", title=f"{word} event", acronym=things.acronym)
    await create("event_contact", kind="email", value=f"{word}@example.org", for_type="event", for_id=records["event"])
    parent["parent"] = {"type": "event", "rec": records["event"]}
    await create("event_location", name=f"{word} location")
    await create("event_track", name=f"{word} track")
    await create("event_person", name=f"{word} person", source_id=things.person)
    await create(
        "event_session", title=f"{word} session", guid=things.guid, tags=[word], abstract=word,
        location_id=records["event_location"], track_id=records["event_track"],
        starts_at="2031-01-01T10:00:00Z", ends_at="2031-01-01T11:00:00Z",
    )  # fmt: skip
    await create("event_presenter", session_id=records["event_session"], person_id=records["event_person"])
    await create("event_import", entity="event", key=f"{word} key", rec=records["event"], values={"title": word})
    del parent["parent"]
    await create("site", name=f"{word} site")
    await create("lookup_row", lookup="user_status", code=f"{word} code", name=f"{word} row", aliases=[name])
    await create("lookup_policy", lookup="post_topic", codes=[f"{word} topic"])
    body = f"the bytes of {word}".encode()
    things.sha256 = hashlib.sha256(body).hexdigest()
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    put = await http.put(
        "/files", params={"type": "event", "rec": records["event"], "name": f"{word} file"}, content=body,
        headers={**authority(key), "repr-digest": digest},
    )  # fmt: skip
    assert put.status_code == 201, put.text
    records["event_file"] = put.json()["id"]
    things.key = f"key-{unique}"
    await ok("record.create", type="event", data={"title": f"{word} keyed"}, key=things.key)
    records["api_key"] = (await ok("record.find", type="api_key"))["records"][0]["id"]
    await create("role", name=f"role-{unique}", title=f"{word} role", permissions=["event.read"])
    await create("service_account", name=f"{word} service", role="viewer")
    await create("device", name=f"{word} device")
    invited = {"email": f"{unique}@people.example", "name": f"{word} invited"}
    records["invitation"] = (await ok("action.call", action="invitation.create", args=invited))["id"]
    records |= {kind: public_id(secrets.token_bytes(8)) for kind in UNMADE}
    member = (await ok("record.find", type="membership"))["records"][0]
    records["membership"], records["user"] = member["id"], member["user_id"]
    return things


async def issue(http: httpx.AsyncClient, owner: str, role: str, **more: Any) -> tuple[str, str]:
    """Return the id of a fresh key of a role, and the key."""
    request = {"op": "action.call", "id": 1, "action": "api_key.issue", "args": {"role": role, **more}}
    made = (await http.post("/rpc", json=request, headers=authority(owner))).json()["data"]
    return made["id"], made["key"]


async def _identities(http: httpx.AsyncClient, owner: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Make what keys act for; return the role of each identity's key, and what narrows it."""

    async def made(kind: str, **data: Any) -> str:
        request = {"op": "record.create", "id": 1, "type": kind, "data": data}
        return str((await http.post("/rpc", json=request, headers=authority(owner))).json()["data"]["id"])

    name = f"own-{secrets.token_hex(4)}"
    await made("role", name=name, permissions=["event*.*", "*.read"])
    return {
        "viewer": ("viewer", {}),
        "member": ("member", {}),
        "editor": ("editor", {}),
        "manager": ("manager", {}),
        "own role": (name, {}),
        "scoped key": ("owner", {"scopes": ["event.*", "event_session.read", "event_file.read"]}),
        "service key": ("owner", {"service": await made("service_account", name=f"{name} service", role="editor")}),
        "device key": ("owner", {"device": await made("device", name="mine too", role="viewer")}),
        "expired": ("owner", {}),
        "withdrawn": ("owner", {}),
    }


@asynccontextmanager
async def worlds_in(place: Place, registry: Registry) -> AsyncIterator[Worlds]:
    """Make both accounts and every identity of the first."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=20))
        posts = Posts(place.url)
        stack.push_async_callback(posts.close)
        own_id, owner = await place.make_account(f"mine-{secrets.token_hex(4)}")
        other = f"{CANARY}-{secrets.token_hex(4)}"
        their_id, token = await place.make_account(other)
        own = await furnish(http, own_id, "mine", owner, "mine")
        theirs = await furnish(http, their_id, other, token, CANARY)
        keys: dict[str, str | None] = {"guest": None, "owner": owner}
        ids: dict[str, str] = {}
        for name, (role, more) in (await _identities(http, owner)).items():
            ids[name], keys[name] = await issue(http, owner, role, **more)
        expire = {"type": "api_key", "rec": ids["expired"], "data": {"expires_at": LONG_AGO}}
        withdraw = {"type": "api_key", "rec": ids["withdrawn"]}
        for op, fields in (("record.update", expire), ("record.delete", withdraw)):
            done = await http.post("/rpc", json={"op": op, "id": 1, **fields}, headers=authority(owner))
            assert done.status_code == 200, done.text
        holder = await stack.enter_async_context(connected(place.socket_url))
        hello = await holder.greet(token)
        theirs.token, theirs.resume, theirs.session = token, hello["resume"], hello["session"]
        theirs.records["session"] = hello["session"]
        own.records["session"] = (await _session_of(place, owner))["session"]
        watch = await holder.ok("watch.start", type="event")
        theirs.watch, theirs.mark = watch["watch"], watch["mark"]
        for kind, rec in theirs.records.items():
            if not registry.types[kind].system and kind not in UNMADE:
                await holder.ok("channel.join", channel=f"{kind}:{rec}", presence={"state": {"at": CANARY}})
        await holder.ok("feed.start", name=theirs.name)
        await holder.ok("feed.ack", name=theirs.name, seq=(await holder.ok("session.beat"))["seq"])
        await holder.ok("feed.stop", name=theirs.name)
        absent = nothing(registry)
        absent.mark = f"{absent.watch}.{theirs.mark.partition('.')[2]}"  # of another query, but otherwise a good one
        yield Worlds(place, registry, http, posts, own, theirs, keys, holder, absent)


async def _session_of(place: Place, token: str) -> dict[str, Any]:
    async with connected(place.socket_url) as client:
        return await client.greet(token)


# -- the check ---------------------------------------------------------------------------------------


def meaning(message: dict[str, Any], worlds: Worlds) -> Any:
    """Return what an answer says, without what differs between any two answers."""
    pattern, marks = worlds.marks
    text = pattern.sub(lambda found: marks[found[0]], msgspec.json.encode(message).decode())

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in OWN_WORDS}
        return [plain(v) for v in value] if isinstance(value, list) else value

    return plain(msgspec.json.decode(text))


def leaked(raw: bytes, things: Things) -> list[str]:
    """Return what of an account stands in these bytes."""
    return [text for text in (CANARY, *things.secrets) if text.encode() in raw]


def compare(who: str, case: Case, theirs: Any, absent: Any) -> list[str]:
    """Return what is wrong about the answers to the ids of the other account and to those of nobody."""
    return [] if theirs == absent else [f"{who} {case.label}: {theirs} is not {absent}"]


async def over_socket(worlds: Worlds, who: str, cases: list[Case], codec: str = "json") -> list[str]:
    """Ask every case over sockets; return what is wrong."""
    absent = worlds.absent
    found: list[str] = []
    token = worlds.keys[who]
    async with connected(worlds.place.socket_url, codec) as client:
        if who in {"expired", "withdrawn"}:
            code = (await client.refused("session.hello", token=token))[0]
            assert code == {"expired": "auth.expired", "withdrawn": "auth.invalid"}[who]
        else:
            await client.greet(token, **({"account": worlds.own.account} if who == "both" else {}))
        for case in cases:
            if case.op == "session.hello":
                found += await _hello(worlds, who, case, codec)
                continue
            answers = [await client.send(case.op, **case.build(things)) for things in (worlds.theirs, absent)]
            one, two = [await client.answer(number) for number in answers]
            found += compare(who, case, meaning(one, worlds), meaning(two, worlds))
            found += [f"{who} {case.label}: shows {text}" for text in leaked(msgspec.json.encode(one), worlds.theirs)]
            if who in NOBODY and case.op != "session.beat" and one["op"] == "ok":
                found.append(f"{who} {case.label}: is answered")
        await client.call("session.beat")
        found += [f"{who}: a push {push}" for push in client.pushes if leaked(msgspec.json.encode(push), worlds.theirs)]
        for frame in client.frames:
            raw = frame.encode() if isinstance(frame, str) else frame
            found += [f"{who}: {text} in a frame" for text in leaked(raw, worlds.theirs)]
    return found


async def _hello(worlds: Worlds, who: str, case: Case, codec: str) -> list[str]:
    """Greet, each time on a socket of its own."""
    absent = worlds.absent
    said: list[Any] = []
    if who == "guest" and "resume" in case.build(absent):
        return []  # the secret of a session is all that it takes to come back
    found: list[str] = []
    for things in (worlds.theirs, absent):
        async with connected(worlds.place.socket_url, codec) as client:
            token = worlds.keys[who]
            answer = await client.call(case.op, **({"token": token} if token else {}), **case.build(things))
            said.append(meaning(answer, worlds))
            found += [f"{who} {case.label}: shows {t}" for t in leaked(msgspec.json.encode(answer), worlds.theirs)]
    return found + compare(who, case, *said)


async def over_rpc(worlds: Worlds, who: str, cases: list[Case]) -> list[str]:
    """Ask every case over /rpc; return what is wrong."""
    absent = worlds.absent
    found: list[str] = []
    for case in cases:
        one, raw = await worlds.rpc(worlds.keys[who], case.op, **case.build(worlds.theirs))
        two, _ = await worlds.rpc(worlds.keys[who], case.op, **case.build(absent))
        found += compare(who, case, meaning(one, worlds), meaning(two, worlds))
        found += [f"{who} {case.label}: shows {text}" for text in leaked(raw, worlds.theirs)]
        if who in NOBODY and case.op != "session.beat" and one["op"] == "ok":
            found.append(f"{who} {case.label}: is answered")
    return found


async def over_http(worlds: Worlds, who: str) -> list[str]:
    """Ask for the files and the account of the other over HTTP; return what is wrong."""
    absent = worlds.absent
    token = worlds.keys[who]
    asked: dict[str, Callable[[Things], tuple[str, str, dict[str, str]]]] = {
        "bytes by hash": lambda x: ("GET", f"/files/sha256/{x.sha256}", {}),
        "a part of them": lambda x: ("GET", f"/files/sha256/{x.sha256}", {"range": "bytes=0-3"}),
        "their head": lambda x: ("HEAD", f"/files/sha256/{x.sha256}", {}),
        "whether they are the same": lambda x: (
            "GET", f"/files/sha256/{x.sha256}", {"if-none-match": f'"{x.sha256}"'},
        ),
        "whether they are others": lambda x: ("GET", f"/files/sha256/{x.sha256}", {"if-match": '"0"'}),
        "a false grant": lambda x: ("GET", f"/files/sha256/{x.sha256}?grant=9999999999.AAAA", {}),
        "bytes by record": lambda x: ("GET", f"/files/event_file/{x.records['event_file']}", {}),
        "an upload": lambda x: ("PUT", f"/files?type=event&rec={x.records['event']}&name=a", {}),
        "an account's id": lambda x: ("POST", "/rpc", {"x-aether-account": x.account}),
        "an account's name": lambda x: ("POST", "/rpc", {"x-aether-account": x.name}),
        "bytes in an account": lambda x: ("GET", f"/files/sha256/{x.sha256}", {"x-aether-account": x.account}),
    }  # fmt: skip
    found: list[str] = []
    for name, build in asked.items():
        said: list[Any] = []
        for things in (worlds.theirs, absent):
            method, address, headers = build(things)
            body = b'{"op":"record.find","id":1,"type":"event"}' if method == "POST" else b"abc"
            answer = await worlds.http.request(
                method, address, headers={**headers, **authority(token)},
                content=body if method in {"POST", "PUT"} else None,
            )  # fmt: skip
            said.append((answer.status_code, meaning(answer.json() if answer.content else {}, worlds)))
            raw = answer.content + str(answer.headers).encode()
            found += [f"{who} {name}: shows {text}" for text in leaked(raw, worlds.theirs)]
            if answer.status_code < 400 and not (who == "guest" and method == "POST"):
                found.append(f"{who} {name}: is answered with {answer.status_code}")
        if said[0] != said[1]:
            found.append(f"{who} {name}: {said[0]} is not {said[1]}")
    return found
