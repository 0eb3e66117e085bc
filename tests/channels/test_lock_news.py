"""Who is told what became of a lock, and when an instance takes its sessions' locks with it."""

from __future__ import annotations

import asyncio

import pytest

from channels.fanout import Fanout
from channels.locks import AT_ONCE, LockNews
from channels.messages import Messages
from channels.outlet import Outlet
from hub.schema.channels import Channel
from storage.channel_log import InProcessLog
from storage.locks import Holder, InProcessLocks, LockKey
from tests.channels.crowds import Crowd
from tests.channels.scene import ACCOUNT, Listener

TALK = Channel("event", join="viewer")
KEY = (ACCOUNT, "event:one")
LOCK: LockKey = (ACCOUNT, "event", "one")
ANN = Holder("user", "ann", "Ann", "s-ann")
BOB = Holder("user", "bob", "Bob", "s-bob")


async def test_who_sees_who_is_there_is_told_and_who_lost_the_lock_wherever_that_is() -> None:
    seer, hearer, loser, elsewhere = (Listener() for _ in range(4))
    messages = Messages(InProcessLog(), lambda outlet: None, Fanout())
    sockets: dict[tuple[str, str], Outlet] = {
        (ACCOUNT, "s-ann"): loser.outlet,
        ("other", "s-bob"): elsewhere.outlet,
    }
    locks = InProcessLocks()
    locks.listen(LockNews(messages, lambda account, session: sockets.get((account, session))).told)
    await messages.join(KEY, seer.outlet, "s-seer", None, TALK, None, sees=True)
    await messages.join(KEY, hearer.outlet, "s-hearer", None, TALK, None)
    await locks.take(LOCK, ANN)
    await locks.take(LOCK, BOB, steal=True)
    await locks.release(LOCK, BOB.session)
    told = [(push["data"]["why"], (push["from"] or {}).get("session")) for push in seer.heard()]
    assert told == [("taken", "s-ann"), ("stolen", "s-bob"), ("released", "s-bob")]
    assert [push["data"]["why"] for push in loser.heard()] == ["stolen"]
    assert (hearer.heard(), elsewhere.heard()) == ([], [])


async def test_a_lock_that_changes_hands_all_the_time_is_told_of_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.locks.SECOND", 0.02)
    seer, loser = Listener(), Listener()
    messages = Messages(InProcessLog(), lambda outlet: None, Fanout())
    locks = InProcessLocks()
    locks.listen(LockNews(messages, lambda account, session: loser.outlet if session == "s-ann" else None).told)
    await messages.join(KEY, seer.outlet, "s-seer", None, TALK, None, sees=True)
    for _ in range(200):
        await locks.take(LOCK, ANN, steal=True)
        await locks.take(LOCK, BOB, steal=True)
    assert len(seer.heard()) == AT_ONCE
    assert len(loser.heard()) == 200, "who loses it is told each time"
    await asyncio.sleep(0.03)
    (last,) = seer.heard()
    held = locks.held(LOCK)
    assert held is not None
    assert (last["data"]["number"], last["data"]["holder"]["session"]) == (held.number, "s-bob")
    assert last["data"]["was"]["session"] == "s-bob", "whom everybody was told of last"
    await asyncio.sleep(0.05)
    await locks.release(LOCK, BOB.session)
    assert [push["data"]["why"] for push in seer.heard()] == ["released"], "at once again"


async def test_a_socket_that_does_not_keep_up_joins_again_and_nothing_piles_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.locks.AT_ONCE", 1000)
    seer = Listener(max_bytes=2000)
    messages = Messages(InProcessLog(), lambda outlet: None, Fanout())
    locks = InProcessLocks()
    locks.listen(LockNews(messages, lambda account, session: None).told)
    await messages.join(KEY, seer.outlet, "s-seer", None, TALK, None, sees=True)
    for _ in range(50):
        await locks.take(LOCK, ANN)
        await locks.release(LOCK, ANN.session)
    assert seer.outlet.size < 3000
    *told, last = seer.heard()
    assert (last["op"], last["why"]) == ("reset", "slow")
    assert 1 < len(told) < 10
    await messages.join(KEY, seer.outlet, "s-seer", None, TALK, None, sees=True)
    await locks.take(LOCK, BOB)
    assert [push["data"]["why"] for push in seer.heard()] == ["taken"]


def test_the_locks_of_a_dead_instance_are_ended_once_and_not_those_of_who_went_elsewhere() -> None:
    crowd = Crowd()
    ended: list[tuple[str, str, str]] = []
    for node in crowd.nodes:
        node.lists.ended = lambda account, session, at=node.name: ended.append((at, account, session))  # type: ignore[misc]
    for n in range(9):
        crowd.open(n)
    crowd.pass_time(3)
    victim = crowd.alive()[0]
    went, *stay = [session for session in crowd.sessions if session.at is victim]
    crowd._cut(went)
    crowd.back(crowd.sessions.index(went) + len(crowd.sessions))
    crowd.pass_time(1)
    assert went.at is not None
    assert went.at is not victim
    crowd.kill(crowd.alive().index(victim))
    crowd.pass_time(15)
    assert sorted(session for _, _, session in ended) == sorted(session.id for session in stay)
    assert {account for _, account, _ in ended} == {ACCOUNT}
    assert victim.name not in {at for at, _, _ in ended}
