"""The Python client over real sockets, against the reference peer in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aether_client import Backoff, Change, ChannelMessage, Client, HubError, RosterChange
from aether_client.codec import CodecName
from aether_client.watch import Watch
from tests.clients.reference_harness import TOKEN, PeerProcess

CODECS: list[CodecName] = ["json", "msgpack"]


@pytest.fixture(scope="module")
def peer_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    process = PeerProcess(tmp_path_factory.mktemp("peer"))
    yield process
    process.kill()


@pytest.fixture
def peer(peer_process: PeerProcess) -> PeerProcess:
    return peer_process.fresh()


def client(peer: PeerProcess, codec: CodecName = "json", **more: Any) -> Client:
    quick = Backoff(first_seconds=0.05, most_seconds=0.2)
    return Client(peer.url, **{"token": TOKEN, "codec": codec, "backoff": quick, **more})


@pytest.fixture(params=CODECS)
async def hub(request: pytest.FixtureRequest, peer: PeerProcess) -> AsyncIterator[Client]:
    async with client(peer, request.param) as connected:
        yield connected


async def until(fact: Any, seconds: float = 20.0) -> None:
    """Wait until a function says yes."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "did not happen"
        await asyncio.sleep(0.01)


async def take(watch: Watch, count: int) -> list[Change]:
    """Read so many changes."""
    found: list[Change] = []
    async with asyncio.timeout(20):
        async for change in watch:
            found.append(change)
            if len(found) == count:
                break
    return found


async def test_a_call_is_answered_and_a_refusal_is_typed(hub: Client) -> None:
    made = await hub.call("record.create", type="note", data={"title": "one"})
    assert made.data["title"] == "one"
    assert made.seq == 1
    found = await hub.call("record.find", type="note")
    assert found.data["records"] == [made.data]
    with pytest.raises(HubError) as refused:
        await hub.call("nonsense.op")
    assert refused.value.code == "op.unknown"
    assert hub.session["account"] == "main"
    assert hub.state == "online"


async def test_hundreds_of_calls_at_once_are_all_answered(hub: Client) -> None:
    answers = await asyncio.gather(*(hub.call("record.find", type="note") for _ in range(1500)))
    assert len(answers) == 1500


async def test_a_watch_begins_with_its_snapshot_and_goes_on_with_changes(hub: Client, peer: PeerProcess) -> None:
    peer.control(page=2)
    for n in range(5):
        await hub.call("record.create", type="note", data={"n": n})
    async with hub.watch("note") as watch:
        (snapshot,) = await take(watch, 1)
        assert (snapshot.kind, snapshot.seq, [r["n"] for r in snapshot.entered]) == ("snapshot", 5, [0, 1, 2, 3, 4])
        first = snapshot.entered[0]
        await hub.call("record.update", type="note", rec=first["id"], data={"n": 10})
        await hub.call("record.delete", type="note", rec=first["id"])
        update, leave = await take(watch, 2)
        assert [(before["n"], after["n"]) for before, after in update.updated] == [(0, 10)]
        assert update.origin == hub.session["session"]
        assert [record["id"] for record in leave.left] == [first["id"]]
        assert len(watch.records) == 4
        assert watch.seq == 7
    await until(lambda: "watch.stop" in peer.seen["ops"])


async def test_two_readers_of_one_query_share_it(hub: Client, peer: PeerProcess) -> None:
    await hub.call("record.create", type="note", data={})
    with_one = hub.watch("note")
    await take(with_one, 1)
    other = hub.watch("note")
    (snapshot,) = await take(other, 1)
    assert len(snapshot.entered) == 1
    with_one.stop()
    await hub.call("record.create", type="note", data={})
    assert len((await take(other, 1))[0].entered) == 1
    other.stop()
    await until(lambda: "watch.stop" in peer.seen["ops"])
    assert peer.seen["ops"].count("watch.start") == 1


async def test_an_empty_set_still_says_that_it_is_complete(hub: Client) -> None:
    async with hub.watch("note") as watch:
        assert not (await take(watch, 1))[0]
        assert watch.ready


@pytest.mark.parametrize("fault", [{}, {"no_resume": True}, {"times": 3}, {"no_resume": True, "page": 2, "times": 2}])
async def test_a_watch_misses_nothing_and_doubles_nothing_over_cuts(peer: PeerProcess, fault: dict[str, Any]) -> None:
    peer.control(**fault)
    async with client(peer) as writer, client(peer) as hub, hub.watch("note") as watch:
        mirror: dict[str, Any] = {}

        async def read() -> None:
            async for change in watch:
                for record in change.entered:
                    assert record["id"] not in mirror
                    mirror[record["id"]] = record
                for before, after in change.updated:
                    assert mirror[before["id"]] == before
                    mirror[before["id"]] = after
                for record in change.left:
                    assert mirror.pop(record["id"]) == record

        reader = asyncio.create_task(read())
        ids: list[str] = []
        for n in range(40):
            if n % 3 != 2 or not ids:
                ids.append((await writer.call("record.create", type="note", data={"n": n})).data["id"])
            elif n % 2:
                await writer.call("record.update", type="note", rec=ids[0], data={"n": n})
            else:
                await writer.call("record.delete", type="note", rec=ids.pop(0))
            if n % 8 == 5:
                peer.control(cut=True)
        await until(lambda: watch.seq == 40 or reader.done())
        fresh = (await writer.call("record.find", type="note")).data["records"]
        await until(lambda: mirror == {record["id"]: record for record in fresh} or reader.done())
        assert not reader.done()
        reader.cancel()


async def test_a_write_whose_answer_was_lost_is_repeated_with_its_key_and_happens_once(
    hub: Client, peer: PeerProcess
) -> None:
    peer.control(lose_answers=2)
    made = await hub.call("record.create", type="note", data={"title": "once"})
    found = await hub.call("record.find", type="note")
    assert found.data["records"] == [made.data]
    assert peer.seen["ops"].count("record.create") >= 2
    assert peer.seen["seq"] == 1


async def test_a_killed_hub_is_waited_for_and_everything_goes_on(hub: Client, peer: PeerProcess) -> None:
    async with hub.watch("note") as watch:
        await take(watch, 1)
        peer.kill()
        await until(lambda: hub.state != "online")
        waiting = asyncio.create_task(hub.call("record.create", type="note", data={"n": 1}))
        peer.start()
        made = await waiting
        (change,) = await take(watch, 1)
        assert change.entered == (made.data,)
        assert "resume" in peer.seen["hellos"][-1]


async def test_a_call_without_a_hub_ends_after_its_time_with_a_reason(peer: PeerProcess) -> None:
    peer.kill()
    async with client(peer) as hub:
        with pytest.raises(HubError) as refused:
            await hub.call("record.create", within=0.5, type="note", data={})
    assert refused.value.code == "server.unavailable"  # it never left, so nothing was written
    assert "No hub listens at" in refused.value.message


async def test_without_reconnect_the_first_failure_is_the_end(peer: PeerProcess) -> None:
    peer.kill()
    async with client(peer, reconnect=False) as hub:
        with pytest.raises(HubError, match="No hub listens at"):
            await hub.call("record.find", type="note")
        with pytest.raises(HubError):
            await hub.online()
        with pytest.raises(HubError):
            await take(hub.watch("note"), 1)


@pytest.mark.parametrize(
    ("code", "expected"), [(4503, "auth.invalid"), (4504, "access.denied"), (1003, "access.denied")]
)
async def test_a_final_close_code_ends_everything(peer: PeerProcess, code: int, expected: str) -> None:
    async with client(peer) as hub:
        await hub.online()
        watch = hub.watch("note")
        await take(watch, 1)
        peer.control(close=code)
        with pytest.raises(HubError) as refused:
            await take(watch, 1)
        assert refused.value.code == expected
        assert hub.state == "ended"
        with pytest.raises(HubError):
            await hub.call("record.find", type="note")


@pytest.mark.parametrize("code", [1011, 1012, 1013, 4409, 4499])
async def test_a_passing_close_code_is_come_back_from(peer: PeerProcess, code: int) -> None:
    async with client(peer) as hub:
        await hub.online()
        peer.control(close=code)
        await until(lambda: len(peer.seen["hellos"]) == 2)
        await hub.call("record.find", type="note")


async def test_a_wrong_token_is_an_error_and_not_a_loop(peer: PeerProcess) -> None:
    async with client(peer, token="wrong") as hub:
        with pytest.raises(HubError) as refused:
            await hub.call("record.find", type="note")
    assert refused.value.code == "auth.invalid"
    assert len(peer.seen["hellos"]) == 1


async def test_a_goaway_is_obeyed(peer: PeerProcess) -> None:
    async with client(peer) as hub:
        await hub.online()
        began = time.monotonic()
        peer.control(push={"op": "goaway", "why": "restart", "retry_after": 1.0, "jitter": 0.0})
        await until(lambda: hub.connection.state == "online" and hub.connection.sockets == 2)
        assert time.monotonic() - began >= 1.0


async def test_a_hub_that_falls_silent_is_left_and_tried_again(peer: PeerProcess) -> None:
    peer.control(heartbeat=0.2)
    async with client(peer) as hub:
        await until(lambda: peer.seen["beats"] >= 2)
        peer.control(silent=True)
        await until(lambda: hub.state != "online")
        peer.control(silent=False)
        await until(lambda: hub.connection.sockets == 2)


async def test_a_reset_watch_starts_again_and_tells_only_the_difference(hub: Client, peer: PeerProcess) -> None:
    await hub.call("record.create", type="note", data={})
    async with hub.watch("note") as watch:
        await take(watch, 1)
        name = hub.connection.listeners[0]._held  # type: ignore[attr-defined]  # the id is no matter of users
        (query,) = name.values()
        peer.control(push={"op": "reset", "watch": query.set.watch, "why": "slow"})
        await hub.call("record.create", type="note", data={"n": 2})
        changes = await take(watch, 1)
        assert [record["n"] for record in changes[0].entered] == [2]
        await until(lambda: peer.seen["ops"].count("watch.start") == 2)


async def test_a_frame_that_makes_no_sense_costs_the_socket_and_nothing_else(peer: PeerProcess) -> None:
    async with client(peer) as hub, hub.watch("note") as watch:
        await take(watch, 1)
        (query,) = hub.connection.listeners[0]._held.values()  # type: ignore[attr-defined]  # as above
        peer.control(push={"op": "change", "watch": query.set.watch, "seq": "x"})
        await until(lambda: hub.connection.sockets == 2)
        await hub.call("record.create", type="note", data={})
        assert len((await take(watch, 1))[0].entered) == 1


async def test_a_reader_that_sleeps_gets_bounded_changes_with_the_same_effect(hub: Client) -> None:
    async with hub.watch("note") as watch:
        await take(watch, 1)
        made = await hub.call("record.create", type="note", data={"n": 0})
        rec = made.data["id"]
        writes = (hub.call("record.update", type="note", rec=rec, data={"n": n}) for n in range(1, 400))
        await asyncio.gather(*writes)
        await until(lambda: watch.seq == 400)
        assert len(watch._waiting) == 256
        last = (await take(watch, 256))[-1]
        assert last.seq == 400
        assert last.updated[0][1] == watch.records[rec]


async def test_a_channel_shows_who_is_there_and_joins_again(hub: Client, peer: PeerProcess) -> None:
    async with hub.join("event:e1", {"page": "programme"}) as channel:
        items = aiter(channel)
        first = await anext(items)
        assert isinstance(first, RosterChange)
        assert [member["rec"] for member in first.joined] == ["me"]
        guest = {"kind": "user", "rec": "guest", "name": "G", "status": "active", "since": "", "sessions": []}
        joined = {"op": "presence", "channel": "event:e1", "version": 1, "events": [{"kind": "join", "member": guest}]}
        peer.control(push=joined)
        assert (await anext(items)) == RosterChange(joined=(guest,))
        assert len(channel.members) == 2
        await channel.set_state({"page": "people"})
        peer.control(push={"op": "message", "channel": "event:e1", "event": "hi", "data": 1, "from": guest})
        message = await anext(items)
        assert isinstance(message, ChannelMessage)
        assert (message.event, message.data) == ("hi", 1)
        peer.control(cut=True)
        again = await anext(items)
        assert isinstance(again, RosterChange)
        assert [member["rec"] for member in again.left] == ["guest"]
        peer.control(push={**joined, "version": 5})  # a hole: the roster is fetched again
        await until(lambda: peer.seen["ops"].count("channel.join") == 3)
    await until(lambda: "channel.leave" in peer.seen["ops"])


async def test_states_are_told_with_their_reason(peer: PeerProcess) -> None:
    told: list[tuple[str, str | None]] = []
    async with client(peer, on_state=lambda state, error: told.append((state, error and error.message))) as hub:
        await hub.online()
        peer.kill()
        await until(lambda: ("offline", f"No hub listens at {peer.url}.") in told)
        assert told[:2] == [("connecting", None), ("online", None)]
        peer.start()
        await hub.online()
    assert told[-1] == ("ended", "The client was stopped.")


async def test_closing_refuses_what_is_open(peer: PeerProcess) -> None:
    hub = client(peer)
    async with hub:
        await hub.online()
        peer.control(silent=True)
        call = asyncio.create_task(hub.call("record.create", type="note", data={}))
        await until(lambda: "record.create" in peer.seen["ops"])
    with pytest.raises(HubError) as refused:
        await call
    assert refused.value.code == "write.unknown"
    with pytest.raises(RuntimeError):
        hub.start()


async def test_a_client_that_was_not_started_says_how() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client("http://127.0.0.1:1").call("record.find")
    with pytest.raises(RuntimeError, match="async with"):
        Client("http://127.0.0.1:1").watch("note")
