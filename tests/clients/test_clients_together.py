"""Both clients at a real hub, in one channel: cut, killed, restarted; commands and locks between them.

Ada has the JavaScript client, Ben the Python client, each over a road that can be cut; Cleo watches over a good one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aether_client import Backoff, Channel, ChannelGap, ChannelMessage, Client, HubError, RosterChange
from tests.clients.js_person import JsPerson
from tests.clients.real_hub_harness import HubProcess, SlowRoad

SECONDS = 30.0
CROWD, SESSIONS = [f"Crowd {n}" for n in range(8)], 15
"""So many with so many sessions of the largest state, and a page of a roster ends behind them: it has about 512 KiB."""
away = asyncio.to_thread


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("hub"))
    yield process
    process.kill()


@pytest.fixture(scope="module")
def keys(hub: HubProcess) -> dict[str, tuple[str, str]]:
    return {name: hub.member(name) for name in ("Ada", "Ben", "Cleo")}


async def until(fact: Callable[[], Any], what: str) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(SECONDS):
        while not fact():
            await asyncio.sleep(0.01)
    assert fact(), what


class Listener:
    """What a channel of the Python client told, and who is there."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.changes: list[RosterChange] = []
        self.messages: list[ChannelMessage] = []
        self.gaps: list[ChannelGap] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(HubError):  # the client was stopped
            await self._keep()

    async def _keep(self) -> None:
        async for item in self.channel:
            kept: list[Any] = (
                self.changes if isinstance(item, RosterChange)
                else self.messages if isinstance(item, ChannelMessage) else self.gaps
            )  # fmt: skip
            kept.append(item)

    def seen(self) -> dict[str, tuple[str, Any]]:
        """Who is there: status and state by name."""
        return {m["name"]: (m["status"], m["sessions"][0]["state"]) for m in self.channel.members}

    def left(self) -> list[str]:
        """Who left, ever."""
        return [member["name"] for change in self.changes for member in change.left]

    def came(self) -> list[str]:
        """Who joined, ever."""
        return [member["name"] for change in self.changes for member in change.joined]

    def statuses(self, name: str) -> list[str]:
        """Under which statuses a member was updated."""
        return [m["status"] for change in self.changes for m in change.updated if m["name"] == name]

    def said(self) -> list[Any]:
        """What was said."""
        return [message.data for message in self.messages if not message.event.startswith("$")]


class World:
    """The three of them."""

    def __init__(self, ada: JsPerson, ben: Client, cleo: Client, roads: list[SlowRoad], event: str) -> None:
        self.ada, self.ben, self.cleo = ada, ben, cleo
        self.roads = roads
        self.event = event
        self.channel = f"event:{event}"

    async def joined(self) -> tuple[Listener, Listener]:
        """Let all join with a state; return what Ben and Cleo hear."""
        cleo = Listener(self.cleo.join(self.channel, {"at": "door"}))
        await until(lambda: "Cleo" in cleo.seen(), "Cleo is there")
        await away(self.ada.run, f"here.join('{self.channel}', {{at: 1}})")
        await until(lambda: "Ada" in cleo.seen(), "Ada is there")
        ben = Listener(self.ben.join(self.channel, {"at": 1}))
        await until(lambda: "Ben" in cleo.seen() and ben.seen().keys() >= {"Ada", "Ben", "Cleo"}, "everybody is there")
        return ben, cleo

    async def ada_sees(self, *names: str) -> None:
        """Wait until the roster of the JavaScript client has these."""

        def right() -> bool:
            told = self.ada.all("roster")
            return bool(told) and sorted(m[0] for m in told[-1]["all"]) == sorted(names)

        await until(right, f"Ada sees {names}")


@asynccontextmanager
async def world(hub: HubProcess, keys: dict[str, tuple[str, str]]) -> AsyncIterator[World]:
    event = await away(hub.event)
    roads = [SlowRoad(hub.port), SlowRoad(hub.port)]
    ada = JsPerson(roads[0].port, keys["Ada"][0])

    def client(name: str, port: int) -> Client:
        return Client(f"http://127.0.0.1:{port}", token=keys[name][0], backoff=Backoff(0.05))

    try:
        async with client("Ben", roads[1].port) as ben, client("Cleo", hub.port) as cleo:
            await away(ada.hears, "state", lambda told: told["state"] == "online")
            yield World(ada, ben, cleo, roads, event)
    finally:
        await away(ada.close)
        for road in roads:
            road.close()


async def test_short_cuts_are_no_leaves_and_bring_back_the_last_state(
    hub: HubProcess, keys: dict[str, tuple[str, str]]
) -> None:
    async with world(hub, keys) as they:
        ben, cleo = await they.joined()
        came = len(cleo.came())

        async def turned(turn: int) -> None:
            sockets = they.ben.connection.sockets
            for road in they.roads:
                road.cut()
            # said and set while they are away, or on their way back
            await they.cleo.call("channel.send", channel=they.channel, event="said", data=turn)
            setting = they.ada.begin(f"here['{they.channel}'].setState({{at: {turn}}})")
            await ben.channel.set_state({"at": turn})
            await until(lambda: they.ben.connection.sockets > sockets and ben.channel.joined, "Ben is back")
            await away(they.ada.answer, setting)
            wanted = ("active", {"at": turn})
            await until(lambda: cleo.seen()["Ada"] == cleo.seen()["Ben"] == wanted, "both are as they were")

        for turn in (2, 3, 4):
            await turned(turn)
        assert cleo.left() == [], "nobody left"
        assert len(cleo.came()) == came, "and nobody came"
        assert "away" in cleo.statuses("Ada"), "they were shown away"
        await until(lambda: ben.said() == [2, 3, 4], "Ben heard everything once")
        await until(lambda: [told["data"] for told in they.ada.all("message")] == [2, 3, 4], "and Ada")
        assert (they.ada.all("gap"), ben.gaps) == ([], [])
        rosters = they.ada.all("roster")
        assert [m for told in rosters for m in told["left"]] == [], "a rejoin tells the difference"
        assert sorted(m[0] for told in rosters for m in told["joined"]) == ["Ada", "Ben", "Cleo"]
        assert ben.left() == []


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_hub_that_comes_back_finds_everybody_as_they_were(
    hub: HubProcess, keys: dict[str, tuple[str, str]], how: str
) -> None:
    async with world(hub, keys) as they:
        ben, cleo = await they.joined()
        await ben.channel.set_state({"at": "last"})
        await cleo.channel.send("said", "before")
        await away(they.ada.hears, "message", lambda told: told["data"] == "before")
        await away(hub.kill if how == "killed" else hub.stop)
        await away(they.ada.run, f"here['{they.channel}'].setState({{at: 'later'}})")
        await away(hub.start)
        wanted = {
            "Ada": ("active", {"at": "later"}),
            "Ben": ("active", {"at": "last"}),
            "Cleo": ("active", {"at": "door"}),
        }
        await until(lambda: cleo.seen() == ben.seen() == wanted, "the rosters are right")
        await they.ada_sees("Ada", "Ben", "Cleo")
        await cleo.channel.send("said", "after")
        await away(they.ada.hears, "message", lambda told: told["data"] == "after")
        await until(lambda: ben.said()[-1:] == ["after"], "Ben hears on")
        assert [gap.why for gap in ben.gaps] == ["epoch"], "what was said before is gone, and that is told"
        assert [told["why"] for told in they.ada.all("gap")] == ["epoch"]


async def test_commands_between_the_clients(hub: HubProcess, keys: dict[str, tuple[str, str]]) -> None:
    async with world(hub, keys) as they:
        to_ada, to_ben = {"device": keys["Ada"][1]}, {"device": keys["Ben"][1]}
        await away(they.ada.run, "hub.obey('SLIDE_NEXT', (data, from) => ({ seen: from.name }))")
        await away(
            they.ada.run, "hub.obey('RELOAD', () => { throw new HubError({ code: 'busy', message: 'Not now.' }) })"
        )
        they.ben.obey("SLIDE_NEXT", lambda data, sender: {"seen": sender["name"]})
        answer = await they.ben.command(to_ada, "SLIDE_NEXT")
        assert (answer["data"], answer["from"]["name"]) == ({"seen": "Ben"}, "Ada")
        asked = f"return hub.command({{device: '{keys['Ben'][1]}'}}, 'SLIDE_NEXT')"
        assert (await away(they.ada.run, asked))["data"] == {"seen": "Ada"}
        with pytest.raises(HubError) as refused:
            await they.cleo.command(to_ada, "RELOAD")
        assert refused.value.code == "command.failed"
        assert refused.value.details == {"code": "busy", "message": "Not now."}
        with pytest.raises(HubError) as unknown:
            await they.cleo.command(to_ben, "IDENTIFY")
        assert unknown.value.details["code"] == "command.unknown", "no handler is no silence"
        with pytest.raises(HubError) as absent:
            await they.cleo.command({"device": "x" * 11}, "IDENTIFY")
        assert absent.value.code == "command.absent"


async def test_a_reply_survives_a_cut_of_who_obeys(hub: HubProcess, keys: dict[str, tuple[str, str]]) -> None:
    async with world(hub, keys) as they:
        begun, go = asyncio.Event(), asyncio.Event()

        async def slowly(data: Any, sender: Any) -> str:
            begun.set()
            await go.wait()
            return "ben"

        they.ben.obey("IDENTIFY", slowly)
        await away(they.ada.run, "hub.obey('IDENTIFY', () => new Promise((go) => { here.go = go; }))")
        asked = [
            asyncio.create_task(they.cleo.command({"device": keys[name][1]}, "IDENTIFY", timeout=SECONDS))
            for name in ("Ada", "Ben")
        ]
        await begun.wait()
        await away(they.ada.run, "while (!here.go) await new Promise((soon) => setTimeout(soon, 10))")
        for road in they.roads:
            road.cut()
        go.set()
        await away(they.ada.run, "here.go('ada')")
        assert [(await task)["data"] for task in asked] == ["ada", "ben"]


async def test_what_a_client_wished_is_done_when_it_vanishes_though_the_hub_was_another_one(
    hub: HubProcess, keys: dict[str, tuple[str, str]]
) -> None:
    async with world(hub, keys) as they:
        ben, cleo = await they.joined()
        wish = {"op": "channel.send", "channel": they.channel, "event": "gone"}
        await away(they.ada.run, f"here['{they.channel}'].onDrop([{json.dumps({**wish, 'data': 'Ada'})}])")
        await ben.channel.set_on_drop([{**wish, "data": "Ben"}])
        await away(hub.kill)
        await away(hub.start)
        await until(lambda: len(cleo.seen()) == 3 and cleo.channel.joined, "everybody is back")
        # answered behind what was asked before: the wishes are made
        await they.ben.call("session.beat")
        await away(they.ada.run, "await hub.request('session.beat')")
        they.ada.process.kill()
        they.roads[1].close()
        they.roads[1].cut()
        await until(lambda: sorted(cleo.said()) == ["Ada", "Ben"], "both wishes are done")
        await until(lambda: list(cleo.seen()) == ["Cleo"], "and both have left")


async def test_locks_between_the_clients(hub: HubProcess, keys: dict[str, tuple[str, str]]) -> None:
    async with world(hub, keys) as they:
        take = f"const lock = await hub.lock('event', '{they.event}', STEAL);"
        take += "lock.on('lost', (it) => say({ told: 'lost', ...it }))"
        async with they.ben.lock("event", they.event) as lock:
            refused = await away(lambda: they.ada.answer(they.ada.begin(take.replace("STEAL", "{}"))))
            assert refused["error"] == "lock.held"
            assert refused["details"]["holder"]["name"] == "Ben"
            sockets = they.ben.connection.sockets
            they.roads[1].cut()
            await until(lambda: they.ben.connection.sockets > sockets, "Ben is back")
            await they.ben.call("lock.keep", type="event", rec=they.event)
            number = lock.number
            assert lock.held, "a cut does not lose it"
            await away(they.ada.run, take.replace("STEAL", "{steal: true}"))
            async with asyncio.timeout(SECONDS):
                assert await lock.lost() == "stolen"
            assert lock.holder is not None
            assert lock.holder["name"] == "Ada"
        thief = they.cleo.lock("event", they.event, steal=True)
        await thief.take()
        assert thief.number > number
        assert (await away(they.ada.hears, "lost"))["holder"]["name"] == "Cleo"
        await thief.release()
        again = await away(they.ada.run, f"return (await hub.lock('event', '{they.event}')).number")
        assert again > thief.number


async def test_both_clients_ask_who_is_here(hub: HubProcess, keys: dict[str, tuple[str, str]]) -> None:
    async with world(hub, keys) as they:
        ids = [keys[name][1] for name in ("Ada", "Ben", "Cleo")]
        await they.ben.set_status("idle")
        found = await they.cleo.presence(devices=ids)
        assert [found["devices"][rec]["status"] for rec in ids] == ["active", "idle", "active"]
        asked = f"return hub.presence({{ devices: {ids!r} }})"
        assert (await away(they.ada.run, asked))["devices"].keys() == found["devices"].keys()


async def test_who_is_on_a_later_page_of_a_roster_is_there_and_does_not_leave_at_a_cut(
    tmp_path: Path,
) -> None:
    hub = await away(HubProcess, tmp_path)  # its own: so many sockets at once are a matter of their own
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(hub.kill)
        keys = {name: await away(hub.member, name) for name in ("Ada", "Ben", "Cleo", *CROWD)}
        they = await stack.enter_async_context(world(hub, keys))
        crowd = [
            await stack.enter_async_context(Client(hub.url, token=keys[name][0], backoff=Backoff(0.05)))
            for name in CROWD
            for _ in range(SESSIONS)
        ]
        shown = [client.join(they.channel, {"pad": "x" * 4080}, roster="none") for client in crowd]
        await until(lambda: all(channel.joined for channel in shown), "the crowd is there")
        assert [channel.count for channel in shown] == [0] * len(crowd), "it asked to hear of nobody"
        ben, cleo = await they.joined()
        everybody = [*(shown["name"] for shown in cleo.channel.members if shown["name"] in CROWD), "Cleo", "Ada", "Ben"]
        page = (await they.cleo.call("presence.roster", channel=they.channel)).data
        assert ([member["name"] for member in page["members"]], "next" in page) == (everybody[:8], True), (
            "the first page"
        )
        sockets = they.ben.connection.sockets
        for road in they.roads:
            road.cut()
        await until(lambda: they.ben.connection.sockets > sockets and ben.channel.joined, "Ben is back")
        counted = they.cleo.join(f"event:{await away(hub.event)}", {}, roster="count")
        await until(lambda: counted.joined, "another channel is joined, to be counted")
        assert counted.count == 1
        await until(lambda: list(ben.seen()) == everybody and ben.channel.count == 11, "Ben sees everybody")
        await they.ada_sees(*everybody)
        assert ben.left() == [], "nobody left"
        assert [m for told in they.ada.all("roster") for m in told["left"]] == []
        assert sorted(ben.came()) == sorted(everybody), "each came once"
        for channel in (ben.channel, cleo.channel):
            channel.leave()
