"""Two hubs over one MariaDB and one Redis: what is written at one is seen at the other, whatever Redis does."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.proofs.figures import SCALE, report
from tests.storage.mariadb_server import FAST, MariadbServer
from tests.storage.mariadb_server import running as mariadb_running
from tests.storage.redis_server import RedisServer
from tests.storage.redis_server import running as redis_running
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, Message, connected, data_of
from tests.wire.tenant import Tenant, make_tenant

SECRET: Final = "a-secret-of-the-cluster-that-nobody-else-knows"
LATE_SECONDS: Final = 5.0
"""How late a change may be without Redis."""
HEAL_SECONDS: Final = 8.0
"""Until health says what is: the bus connects again within two, the check looks every two."""


@dataclass
class Pair:
    """Two hubs and what they share. `tenant` speaks to the first hub, `there` to the second."""

    mariadb: MariadbServer
    database: str
    redis: RedisServer
    folder: Path
    hubs: list[HubProcess]
    tenant: Tenant

    def start(self, name: str) -> HubProcess:
        """Start one more hub."""
        hub = HubProcess(
            self.folder / name,
            database_url=self.mariadb.url(self.database),
            redis_url=self.redis.url,
            cluster_secret=SECRET,
            durability="normal",
        )
        hub.secrets |= {":secret@", SECRET, *(self.tenant.keys.values() if self.hubs else ())}
        return hub

    @property
    def there(self) -> Tenant:
        """The tenant as a client of the second hub."""
        return replace(self.tenant, process=self.hubs[1])

    async def health(self, n: int) -> dict[str, Any]:
        """Return what a hub says of itself."""
        async with httpx.AsyncClient(base_url=self.hubs[n].url, trust_env=False) as http:
            found: dict[str, Any] = (await http.get("/health")).json()
            assert (await http.get("/readyz")).status_code == 200, "a hub without Redis serves"
        return found

    async def until_health(self, status: str) -> None:
        """Wait until both hubs say that they are well, or degraded."""
        begun = time.monotonic()
        while {(await self.health(n))["status"] for n in (0, 1)} != {status}:
            assert time.monotonic() - begun < HEAL_SECONDS
            await asyncio.sleep(0.1)
        if status == "pass":
            await asyncio.gather(*(self._until_said(n) for n in (0, 1)))

    async def _until_said(self, n: int) -> None:
        """Wait until something can be said in a channel: each part of a hub connects to Redis by itself."""
        message = {"op": "channel.send", "id": 1, "channel": "broadcast:probe", "event": "probe", "data": 1}
        head = {"authorization": f"Bearer {self.tenant.keys['editor']}"}
        begun = time.monotonic()
        async with httpx.AsyncClient(base_url=self.hubs[n].url, headers=head, trust_env=False) as http:
            while (await http.post("/rpc", json=message)).json()["op"] != "ok":
                assert time.monotonic() - begun < HEAL_SECONDS
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Return two running hubs."""
    with ExitStack() as stack:
        mariadb = stack.enter_context(mariadb_running(*FAST))
        redis = stack.enter_context(redis_running())
        made = Pair(mariadb, mariadb.new_database(), redis, tmp_path_factory.mktemp("pair"), [], None)  # type: ignore[arg-type]  # below
        for name in ("one", "two"):
            made.hubs.append(made.start(name))
            stack.callback(made.hubs[-1].stop)
            if name == "one":
                made.tenant = asyncio.run(make_tenant(made.hubs[0]))
        yield made


@asynccontextmanager
async def both(pair: Pair, codec: str = "json") -> AsyncIterator[tuple[Client, Client]]:
    """Yield an editor at each hub."""
    async with pair.tenant.client("editor", codec) as here, pair.there.client("editor", codec) as there:
        yield here, there


async def follow(client: Client, watch: str, last: int) -> list[Message]:
    """Return the pushes of a watch up to a number."""
    found: list[Message] = []
    while not found or found[-1]["seq"] < last:
        found.append(await client.push("change", lambda push: push["watch"] == watch))
    return found


async def late(client: Client, other: Client, acronym: str) -> float:
    """Write at one hub and return how long the other's watcher waited for it, in seconds."""
    begun = time.monotonic()
    made = await client.create("event", title="x", acronym=acronym)
    await other.push("change", lambda push: any(event["rec"] == made["id"] for event in push["events"]))
    return time.monotonic() - begun


async def test_what_both_write_both_see_in_one_order(pair: Pair, codec: str) -> None:
    async with both(pair, codec) as (here, there):
        watches = [await client.ok("watch.start", type="event") for client in (here, there)]
        assert watches[0]["seq"] == watches[1]["seq"]

        async def write(client: Client, name: str) -> int:
            seq = 0
            for n in range(25):
                _, seq = await client.seq("record.create", type="event", data={"title": "x", "acronym": f"{name}{n}"})
            return seq

        last = max(await asyncio.gather(write(here, f"{codec}-a"), write(there, f"{codec}-b")))
        seen = [await follow(c, w["watch"], last) for c, w in zip((here, there), watches, strict=True)]
        assert [push["seq"] for push in seen[0]] == list(range(watches[0]["seq"] + 1, last + 1))
        assert [(p["seq"], p["events"]) for p in seen[0]] == [(p["seq"], p["events"]) for p in seen[1]]
        delays = sorted([await late(here, there, f"{codec}-c{n}") for n in range(20)])
        report("two-hubs", f"{codec}: write to watcher at the other hub p50 {delays[10] * 1000:.1f} ms")
        assert delays[10] < 1


async def test_a_page_begun_at_one_hub_goes_on_at_the_other(pair: Pair) -> None:
    async with both(pair) as (here, there):
        made = [(await here.create("event", title="page", acronym=f"p{n}"))["id"] for n in range(4)]
        asked = {"type": "event", "where": {"title": "page"}, "order": ["acronym"], "limit": 2}
        first = await here.ok("record.find", **asked)
        second = await there.ok("record.find", **asked, after=first["next"])
        assert [record["id"] for record in first["records"] + second["records"]] == made


async def test_a_watch_lost_at_one_hub_goes_on_at_the_other(pair: Pair) -> None:
    async with both(pair) as (here, there):
        before = await here.ok("watch.start", type="event")
        made = [await there.create("event", title="resumed", acronym=f"r{n}") for n in range(3)]
        since = {"mark": before["mark"], "seq": before["seq"]}
        async with pair.there.client("viewer") as reader:
            resumed = await reader.ok("watch.start", type="event", since=since)
            assert not resumed["resumed"], "what a viewer may see is another watch"
        resumed = await there.ok("watch.start", type="event", since=since)
        assert resumed["resumed"]
        assert [event["record"] for push in resumed["events"] for event in push["events"]] == made


async def test_a_key_that_is_deleted_at_one_hub_ends_its_socket_at_the_other(pair: Pair) -> None:
    async with pair.tenant.client("owner") as owner:
        issued = await owner.ok("action.call", action="api_key.issue", args={"role": "editor", "name": "short"})
        pair.hubs[0].secrets.add(issued["key"])
        tenant = replace(pair.there, keys={**pair.there.keys, "short": issued["key"]})
        async with tenant.client("short") as client:
            begun = time.monotonic()
            await owner.ok("record.delete", type="api_key", rec=issued["id"])
            assert await client.closed() == 4505
            assert time.monotonic() - begun < 2


async def test_without_redis_changes_arrive_late_and_health_says_so_until_it_is_back(pair: Pair) -> None:
    async with both(pair) as (here, there):
        ways = ((here, there), (there, here))
        for client in (here, there):
            await client.ok("watch.start", type="event")
        await pair.until_health("pass")
        for n in range(max(1, SCALE // 10)):
            await asyncio.to_thread(pair.redis.kill)
            delays = [await late(*ways[m % 2], f"away{n}-{m}") for m in range(3)]
            report("two-hubs", f"without Redis: write to watcher at the other hub {max(delays):.2f} s at most")
            assert max(delays) <= LATE_SECONDS
            await pair.until_health("warn")
            found = (await pair.health(0))["checks"]["redis"][0]
            assert found["status"] == "warn"
            assert "Redis is away for" in found["output"]
            await asyncio.to_thread(pair.redis.start)
            await pair.until_health("pass")
            delays = sorted([await late(here, there, f"back{n}-{m}") for m in range(5)])
            assert delays[2] < 1


async def test_a_hub_that_is_killed_takes_nothing_with_it_that_was_acknowledged(pair: Pair) -> None:
    third = await asyncio.to_thread(pair.start, "three")
    tenant = replace(pair.tenant, process=third)
    acknowledged: list[int] = []
    async with pair.there.client("viewer") as reader:
        watch = await reader.ok("watch.start", type="event")
        async with tenant.client("editor") as writer:
            sent = [
                await writer.send("record.create", type="event", data={"title": "k", "acronym": f"k{n}"})
                for n in range(60)
            ]
            for number in sent[:20]:
                acknowledged.append((await writer.answer(number))["seq"])
            third.signal(signal.SIGKILL)
            assert await asyncio.to_thread(third.wait) == -signal.SIGKILL
            assert await writer.closed() == 1006
            acknowledged += [message["seq"] for message in writer.log if message["op"] == "ok" and "seq" in message]
        begun = time.monotonic()
        seen = await follow(reader, watch["watch"], max(acknowledged))
        assert time.monotonic() - begun < LATE_SECONDS
        async with pair.tenant.client("viewer") as here:  # what was committed and not acknowledged is seen as well
            found = await here.call("record.find", type="event", where={"title": "k"}, limit=1000)
        while seen[-1]["seq"] < found["data"]["seq"]:
            seen += await follow(reader, watch["watch"], found["data"]["seq"])
        assert [push["seq"] for push in seen] == list(range(watch["seq"] + 1, seen[-1]["seq"] + 1))
        records = [event["record"]["id"] for push in seen for event in push["events"]]
        assert sorted(records) == sorted(record["id"] for record in found["data"]["records"])
    assert "Traceback" not in third.log


async def test_what_is_said_at_one_hub_is_heard_and_recovered_at_the_other_in_one_order(pair: Pair, codec: str) -> None:
    async with both(pair, codec) as (here, there):
        channel = f"event:{(await here.create('event', title='x'))['id']}"
        first, _ = [await client.ok("channel.join", channel=channel) for client in (here, there)]
        numbers = [
            (client, await client.send("channel.send", channel=channel, event="said", data=n))
            for n in range(20)
            for client in (here, there)
        ]
        offsets = [(await client.answer(number))["data"]["offset"] for client, number in numbers]
        assert sorted(offsets) == list(range(1, 41))
        heard = [[(await client.push("message"))["offset"] for _ in range(40)] for client in (here, there)]
        assert heard == [list(range(1, 41))] * 2
        await here.ok("channel.send", channel=channel, event="said", data="you", to={"session": there.hello["session"]})
        assert (await there.push("message"))["data"] == "you"
    async with pair.there.client("viewer", codec) as back:
        data = await back.ok("channel.join", channel=channel, recover={"epoch": first["epoch"], "offset": 35})
        assert (data["recovered"], [m["offset"] for m in data["messages"]]) == (True, [36, 37, 38, 39, 40])
        pair.redis.run("FLUSHALL")
        assert (await back.push("reset"))["why"] == "gap"
        data = await back.ok("channel.join", channel=channel, recover={"epoch": first["epoch"], "offset": 40})
        assert (data["recovered"], data["why"], data["offset"]) == (False, "epoch", 0)


async def asked(client: Client, op: str, of: Message) -> Message:
    """Return the answer for a lock as soon as Redis can be asked."""
    begun = time.monotonic()
    while (answer := await client.call(op, **of)).get("code") == "server.unavailable":
        assert time.monotonic() - begun < HEAL_SECONDS
        await asyncio.sleep(answer["retry_after"] / 10)
    return answer


async def test_a_lock_is_one_for_both_hubs_and_ends_with_its_session_and_not_with_a_flush(pair: Pair) -> None:
    async with both(pair) as (here, there), pair.there.client("viewer") as seer:
        of = {"type": "event", "rec": (await here.create("event", title="x", acronym="lock"))["id"]}
        channel = f"event:{of['rec']}"

        async def next_news() -> tuple[str, str | None]:
            data = (await seer.push("message", lambda push: push["event"] == "$lock"))["data"]
            return data["why"], data["holder"] and data["holder"]["session"]

        await seer.ok("channel.join", channel=channel)
        await asked(there, "lock.take", of)
        await asked(there, "lock.release", of)
        assert [await next_news() for _ in range(2)] == [("taken", there.hello["session"]), ("released", None)]
        mine = data_of(await asked(here, "lock.take", of))
        assert await next_news() == ("taken", here.hello["session"])
        refused = await there.call("lock.take", **of)
        assert (refused["code"], refused["details"]["holder"]) == ("lock.held", mine["holder"])
        theirs = await there.ok("lock.take", **of, steal=True)
        assert await next_news() == ("stolen", there.hello["session"])
        lost = await here.push("message")
        assert (lost["event"], lost["data"]["was"]) == ("$lock", mine["holder"])
        pair.redis.run("FLUSHALL")
        await seer.push("reset")
        begun = time.monotonic()
        while (lock := (await seer.ok("channel.join", channel=channel))["lock"])["number"] == theirs["number"]:
            assert time.monotonic() - begun < HEAL_SECONDS
            await asyncio.sleep(0.05)
        assert lock["holder"] == theirs["holder"], "its hub has taken it again"
        seer.pushes.clear()
        assert (await asked(here, "lock.keep", of))["code"] == "lock.held"
        await there.socket.close()
        assert await next_news() == ("released", None)
        await asyncio.to_thread(pair.redis.kill)
        begun = time.monotonic()
        while (await here.call("lock.take", **of)).get("code") != "server.unavailable":
            assert time.monotonic() - begun < HEAL_SECONDS
        assert "recovered" in await seer.ok("channel.join", channel=channel), "a join waits for nothing"
        await asyncio.to_thread(pair.redis.start)
        assert data_of(await asked(here, "lock.take", of))["holder"]["session"] == here.hello["session"]
        await pair.until_health("pass")


async def test_a_command_reaches_a_client_of_the_other_hub_and_its_answer_comes_back(pair: Pair, codec: str) -> None:
    async with both(pair, codec) as (here, there), pair.there.client("viewer", codec) as kiosk:
        to = {"session": kiosk.hello["session"]}
        number = await here.send("client.call", to=to, command="OPEN_FILE", data={"file": "ü"})
        push = await kiosk.push("command")
        assert (push["name"], push["data"]) == ("OPEN_FILE", {"file": "ü", "page": 1})
        assert push["from"]["session"] == here.hello["session"]
        for client in (here, there):
            assert await client.refused("client.reply", command=push["command"]) == ("call.unknown", "command")
        await kiosk.ok("client.reply", command=push["command"], data=[1, None, "ü"])
        answer = data_of(await here.answer(number))
        assert (answer["data"], answer["from"]["session"]) == ([1, None, "ü"], kiosk.hello["session"])
        number = await here.send("client.call", to=to, command="RELOAD")
        await kiosk.ok("client.reply", command=(await kiosk.push("command"))["command"], code="no", message="Not now.")
        refused = await here.answer(number)
        assert (refused["code"], refused["details"]) == ("command.failed", {"code": "no", "message": "Not now."})
        begun = time.monotonic()
        for absent in ({"device": "nobody"}, {"user": "nobody"}, {"session": "nobody"}):
            assert (await here.refused("client.call", to=absent, command="RELOAD"))[0] == "command.absent"
        assert time.monotonic() - begun < 1, "nobody was waited for"
        await there.ok("session.beat", status="idle")  # of two sessions of the key, the other is the more active one
        number = await there.send("client.call", to={"device": push["from"]["rec"]}, command="IDENTIFY")
        await here.ok("client.reply", command=(await here.push("command"))["command"], data="here")
        assert data_of(await there.answer(number))["data"] == "here"
        number = await here.send("client.call", to=to, command="RELOAD", timeout=60)
        await kiosk.push("command")
        await kiosk.socket.close()
        assert (await here.answer(number))["code"] == "command.timeout", "it left before it answered"


async def test_what_waits_for_a_client_is_told_at_the_hub_to_which_it_returns(pair: Pair, codec: str) -> None:
    async with pair.tenant.client("owner") as owner, both(pair, codec) as (here, there):
        made = await owner.ok("action.call", action="api_key.issue", args={"role": "viewer", "name": "kiosk"})
        for hub in pair.hubs:
            hub.secrets.add(made["key"])
        call = {"to": {"device": made["id"]}, "command": "OPEN_FILE", "queue_seconds": 60}
        numbers = [
            (client, await client.send("client.call", **call, data={"file": f"{n}"}, timeout=30))
            for n, client in enumerate((here, here, there, here))
        ]
        left = await here.ok("client.call", **call, data={"file": "4"}, timeout=0.5)
        assert left == {"queued": True}
        tenant = replace(pair.there, keys={"kiosk": made["key"]})
        async with tenant.client("kiosk", codec) as kiosk:
            told = [await kiosk.push("command") for _ in range(5)]
            files = [push["data"]["file"] for push in told]
            assert ([f for f in files if f != "2"], sorted(files)) == (["0", "1", "3", "4"], list("01234"))
            for push in told:
                await kiosk.ok("client.reply", command=push["command"], data=push["data"]["file"])
            assert [data_of(await client.answer(n))["data"] for client, n in numbers] == ["0", "1", "2", "3"]
        async with replace(tenant, process=pair.hubs[0]).client("kiosk", codec) as kiosk:
            assert await kiosk.settled() == []


async def test_a_client_whose_hub_is_killed_while_it_works_keeps_nobody_waiting(pair: Pair) -> None:
    third = await asyncio.to_thread(pair.start, "four")
    async with both(pair) as (here, _), replace(pair.tenant, process=third).client("viewer") as kiosk:
        to = {"session": kiosk.hello["session"]}
        number = await here.send("client.call", to=to, command="RELOAD", timeout=60)
        await kiosk.push("command")
        third.signal(signal.SIGKILL)
        begun = time.monotonic()
        assert (await here.answer(number))["code"] == "command.timeout"
        seconds = time.monotonic() - begun
        report("two-hubs", f"a call to a client of a hub that was killed was answered after {seconds:.1f} s")
        assert seconds < 8
        assert (await here.refused("client.call", to=to, command="RELOAD"))[0] == "command.absent"
        await asyncio.to_thread(third.wait)


async def test_without_redis_clients_of_the_same_hub_are_told_and_others_cannot_be_asked(pair: Pair) -> None:
    async with both(pair) as (here, there), pair.tenant.client("viewer") as kiosk:
        near, far = ({"session": client.hello["session"]} for client in (kiosk, there))
        working = await here.send("client.call", to=far, command="RELOAD", timeout=60)
        told = (await there.push("command"))["command"]
        await asyncio.to_thread(pair.redis.kill)
        begun = time.monotonic()
        while (answer := await here.call("client.call", to=far, command="RELOAD"))["code"] != "server.unavailable":
            assert time.monotonic() - begun < HEAL_SECONDS
        assert answer["retry_after"] == 1
        queued = await here.call("client.call", to={"user": "x"}, command="RELOAD", queue_seconds=60)
        assert queued["code"] == "server.unavailable"
        number = await here.send("client.call", to=near, command="RELOAD")
        await kiosk.ok("client.reply", command=(await kiosk.push("command"))["command"], data="near")
        assert data_of(await here.answer(number))["data"] == "near"
        await there.ok("client.reply", command=told, data="kept until Redis is back")
        await asyncio.to_thread(pair.redis.start)
        assert data_of(await here.answer(working))["data"] == "kept until Redis is back"
        await pair.until_health("pass")


async def test_a_session_that_comes_back_at_the_other_hub_has_its_lock_still(pair: Pair) -> None:
    async with both(pair) as (here, there), pair.there.client("viewer") as seer:
        of = {"type": "event", "rec": (await here.create("event", title="x", acronym="moved-lock"))["id"]}
        await seer.ok("channel.join", channel=f"event:{of['rec']}")
        mine = data_of(await asked(here, "lock.take", of))
        await asked(there, "lock.keep", of)  # the other hub can be asked too
        here.socket.transport.abort()
        async with connected(pair.hubs[1].socket_url) as back:
            await back.greet(resume=here.hello["resume"])
            assert back.hello["session"] == here.hello["session"]
            assert await back.ok("lock.keep", **of) == mine
            assert await there.refused("lock.take", **of) == ("lock.held", None)
        told = [(await seer.push("message"))["data"] for _ in range(2)]
        assert [(data["why"], data["number"]) for data in told] == [
            ("taken", mine["number"]),
            ("released", mine["number"]),
        ]


async def test_joins_that_are_asked_for_at_the_same_time_are_counted_together(pair: Pair, codec: str) -> None:
    async with pair.tenant.client("editor", codec) as client:
        await client.send_raw([{"op": "channel.join", "id": 100 + n, "channel": f"group:{n}"} for n in range(200)])
        answers = [await client.answer(100 + n) for n in range(200)]
        assert sum(m["op"] == "ok" for m in answers) == 100
        assert {m["code"] for m in answers if m["op"] == "error"} == {"rate.limited"}
        # Who was refused does not hear it either.
        for n in range(200):
            await client.ok("channel.send", channel=f"group:{n}", event="said", data=n)
        heard = [message["data"] for message in await client.settled()]
        assert heard == [n for n, answer in enumerate(answers) if answer["op"] == "ok"]
