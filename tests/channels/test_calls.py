"""Calls over several instances: one client is told, who asks is answered once, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from channels import calls as calls_module
from channels.calls import CALLS_PER_SOCKET
from channels.letters import Address, Ask, Order, Tell, Told, letter_of
from channels.targets import COMMANDS_PER_TARGET
from hub.wire.errors import HubError
from tests.channels.letterbox import Client, Instance, Town, address, ask
from tests.channels.scene import Listener


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """Instances that wait for each other for less long."""
    monkeypatch.setattr(calls_module, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(calls_module, "KNOCK_SECONDS", 0.02)
    return Town()


async def code(task: asyncio.Task[dict[str, object]]) -> str:
    """Return the code with which a call is refused."""
    with pytest.raises(HubError) as refused:
        await task
    return refused.value.code


def nothing_left(*instances: Instance) -> bool:
    """Say whether no instance remembers any call or command."""
    return all(not (i.calls.open or i.calls.targets.open or i.calls._by_caller) for i in instances)


async def test_a_client_is_told_wherever_it_is_and_its_answer_comes_back(town: Town) -> None:
    a, b, c = (town.instance(name) for name in "abc")
    for place in (a, b, c):
        client = place.client(rec=place.box.name)
        asking = ask(a, address(place.box.name))
        command = await client.one()
        assert (command["op"], command["command"], command["name"]) == ("command", 1, "RELOAD")
        assert client.reply(1, {"n": [1]})
        answer = await asking
        assert (answer["data"], answer["from"]["session"]) == ({"n": [1]}, client.state.id)
    assert nothing_left(a, b, c)


async def test_a_session_that_answered_is_told_without_a_question_until_it_is_elsewhere(town: Town) -> None:
    a, b, c = (town.instance(name) for name in "abc")
    client = b.client()
    to = address(client.state.id, "session")

    async def called(number: int) -> list[type]:
        before = len(town.sent)
        asking = ask(a, to)
        assert (await client.one())["command"] == number
        client.reply(number, number)
        assert (await asking)["data"] == number
        return [type(letter_of(letter)) for _, _, letter in town.sent[before:]]

    assert [len(await called(n)) for n in (1, 2, 3)] == [5, 2, 2], "a question has an answer from both"
    client.calls.targets.end(client.state.id)
    client.state.move, client.calls = 1, c.calls
    client.arrive()
    assert Ask in await called(2**32 + 1), "and no number is given twice"
    assert len(await called(2**32 + 2)) == 2
    c.box.gone = True
    client.calls = b.calls
    client.arrive()
    assert Ask in await called(2**32 + 3)
    client.calls.targets.end(client.state.id)
    assert await code(ask(a, to)) == "command.absent"
    assert not a.calls._where


async def test_the_most_active_session_is_told_and_an_active_one_here_without_asking_anybody(town: Town) -> None:
    a, b, c = (town.instance(name) for name in "abc")
    clients = [a.client(status="idle"), b.client(status="active"), c.client(status="away")]
    asking = ask(a)
    assert (await clients[1].one())["command"] == 1
    clients[1].reply(1)
    await asking
    clients[0].state.status, before = "active", len(town.sent)
    asking = ask(a)
    await clients[0].one()
    clients[0].reply(1)
    await asking
    assert len(town.sent) == before
    assert clients[1].told() == clients[2].told() == []


async def test_who_is_nowhere_is_absent_when_everybody_has_said_so(town: Town) -> None:
    a, b, c = (town.instance(name) for name in "abc")
    b.client(account="another")
    begun = asyncio.get_running_loop().time()
    assert await code(ask(a)) == "command.absent"
    assert asyncio.get_running_loop().time() - begun < 0.1, "nobody was waited for"
    assert nothing_left(a, b, c)


async def test_an_instance_that_says_nothing_is_waited_for_a_moment(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    b.box.silent = True
    begun = asyncio.get_running_loop().time()
    assert await code(ask(a)) == "command.absent"
    assert 0.1 <= asyncio.get_running_loop().time() - begun < 2
    assert client.told() == []
    assert await code(ask(a, seconds=0.01)) == "command.absent", "the time-out comes first"
    assert nothing_left(a, b)


async def test_a_client_that_leaves_between_question_and_command_is_looked_for_once_more(town: Town) -> None:
    a, b, c = (town.instance(name) for name in "abc")
    client = b.client()
    original = b.calls.targets.tell

    def leave(session: str, order: Order) -> object:
        b.calls.targets.end(session)
        again.append(c.client())
        b.calls.targets.tell = original  # type: ignore[method-assign]
        return original(session, order)

    again: list[Client] = []
    b.calls.targets.tell = leave  # type: ignore[assignment,method-assign]
    asking = ask(a)
    async with asyncio.timeout(5):
        while not again:
            await asyncio.sleep(0)
    await again[0].one()
    again[0].reply(1, "moved")
    assert (await asking)["data"] == "moved"
    assert client.told() == []
    assert nothing_left(a, b, c)


async def test_an_instance_that_is_killed_while_its_client_works_is_noticed(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    asking = ask(a, seconds=60)
    await client.one()
    b.box.gone = True
    assert await code(asking) == "command.timeout"
    assert await code(ask(a)) == "command.absent"
    await asyncio.sleep(0.05)
    assert a.calls._knocking is None, "and nobody knocks any more"


async def test_an_answer_that_cannot_be_sent_is_sent_when_it_can_be(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "FIRST_WAIT", 0.01)
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    asking = ask(a)
    await client.one()
    b.box.away = True
    assert client.reply(1, "late")
    await asyncio.sleep(0.02)
    assert not asking.done()
    b.box.away = False
    assert (await asking)["data"] == "late"
    asking = ask(a, seconds=0.05)
    await client.one()
    b.box.away = True
    client.reply(2)
    assert await code(asking) == "command.timeout"
    await asyncio.sleep(0.1)
    assert not b.calls._tasks, "nobody can be waiting for it any more"


async def test_cut_off_from_the_others_one_calls_whom_one_has(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    b.client()
    a.box.away = True
    with pytest.raises(HubError) as refused:
        await ask(a)
    assert (refused.value.code, refused.value.retry_after) == ("server.unavailable", 1)
    asleep = a.client(status="away")
    asking = ask(a)
    await asleep.one()
    asleep.reply(1, "here")
    assert (await asking)["data"] == "here"


async def test_who_leaves_gets_no_answer_and_leaves_nothing_behind(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    socket = Listener().outlet
    tasks = [ask(a, caller=socket, seconds=60), ask(a, address("nobody"), caller=socket, queue_seconds=60, seconds=60)]
    await client.one()
    a.calls.drop(socket)
    assert [await code(task) for task in tasks] == ["action.cancelled"] * 2
    assert nothing_left(a)
    assert client.reply(1), "who was told may answer, and nobody hears it"
    await asyncio.sleep(0.05)
    assert nothing_left(a, b)


@pytest.mark.parametrize("where", ["here", "there"])
async def test_so_many_calls_of_one_socket_may_wait_and_no_more(town: Town, where: str) -> None:
    a, b = town.instance("a"), town.instance("b")
    clients = [(a if where == "here" else b).client(rec=f"kiosk{n}") for n in range(2)]
    half = CALLS_PER_SOCKET // 2
    tasks = [ask(a, address(f"kiosk{n % 2}"), seconds=60) for n in range(2 * half)]
    await asyncio.sleep(0)
    refused = ask(a, address("kiosk0"))
    assert await code(refused) == "rate.limited"
    other = ask(a, address("kiosk0"), caller="another", seconds=60)
    async with asyncio.timeout(20):
        while a.calls.targets.open + b.calls.targets.open < 2 * half + 1:
            await asyncio.sleep(0)
    for client in clients:
        for command in client.told():
            client.reply(command["command"], command["command"])
    answers = [(await task)["data"] for task in (*tasks, other)]
    assert sorted(answers) == sorted([*range(1, half + 1), *range(1, half + 2)])
    assert nothing_left(a, b)


async def test_so_many_commands_may_one_session_work_on_and_no_more(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    tasks = [ask(b, caller=n, seconds=60) for n in range(COMMANDS_PER_TARGET)]
    await asyncio.sleep(0)
    for place in (a, b):
        with pytest.raises(HubError) as refused:
            await ask(place, caller="one more")
        assert (refused.value.code, refused.value.path) == ("rate.limited", "to")
    for command in client.told():
        client.reply(command["command"])
    await asyncio.gather(*tasks)
    more = ask(a)
    client.reply((await client.one())["command"])
    await more


async def test_a_client_that_does_not_read_is_not_told_more_than_its_socket_holds(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    client.listener.outlet.max_bytes = 300
    asking = [ask(a, seconds=0.2) for _ in range(20)]
    found = [await code(task) for task in asking]
    assert set(found) == {"rate.limited", "command.timeout"}
    assert len(client.told()) == found.count("command.timeout")


async def test_nobody_is_told_what_another_instance_may_not_have_told_it(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client = b.client()
    session = client.state.id

    def order(to: Address, by: str = "a") -> Order:
        return Order("call", by, to, "RELOAD", {}, None, 5.0)

    for forged in (
        order(address(account="another")),
        order(address("another kiosk")),
        order(address(session, "session", "another")),
        order(Address(address().account, "device", "kiosk", ("user",))),
        order(address(), by="somebody else"),
    ):
        before = len(town.sent)
        b.write("a", Tell(session, forged))
        await asyncio.sleep(0)
        (answer,) = [letter_of(letter) for _, _, letter in town.sent[before:]]
        assert isinstance(answer, Told)
        assert answer.outcome == "absent"
    b.write("a", Told("call", "answer", 1))
    b.write("a", Ask("call", address(account="another")))
    for data in (b"", b"x", b"\x91\xa3Ask", b"\x81\xa1a\x01"):
        b.box.on_letter("a", data)
    await asyncio.sleep(0)
    assert client.told() == []
    assert nothing_left(a, b)


async def test_what_waits_is_told_at_the_instance_to_which_the_client_comes(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    asking = [ask(a, queue_seconds=60, seconds=5) for _ in range(3)]
    async with asyncio.timeout(5):
        while len(await town.queues.waiting()) < 1 or town.queues._counts.total() < 3:
            await asyncio.sleep(0)
    client = b.client()
    for command in await client.several(3):
        client.reply(command["command"], command["command"])
    assert sorted([(await task)["data"] for task in asking]) == [1, 2, 3]
    assert await town.queues.waiting() == {}
    assert nothing_left(a, b)


async def test_who_comes_while_a_command_is_put_into_its_queue_is_told(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    original, clients = town.queues.put, list[Client]()

    async def put(*given: object, **more: object) -> None:
        clients.append(b.client())  # after everybody has said that it is not there
        await original(*given, **more)  # type: ignore[arg-type]

    town.queues.put = put  # type: ignore[method-assign]
    asking = ask(a, queue_seconds=60)
    async with asyncio.timeout(5):
        while not clients:
            await asyncio.sleep(0)
    clients[0].reply((await clients[0].one())["command"], "just in time")
    assert (await asking)["data"] == "just in time"


async def test_an_instance_that_missed_the_news_reads_for_whom_something_waits(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    b.box.silent = True
    asking = ask(a, queue_seconds=60)
    async with asyncio.timeout(5):
        while not await town.queues.waiting():
            await asyncio.sleep(0.01)
    client = b.client()
    await asyncio.sleep(0.01)
    assert client.told() == []
    b.box.silent = False
    b.box.on_ready()
    client.reply((await client.one())["command"], "found")
    assert (await asking)["data"] == "found"


async def test_a_client_that_does_not_keep_up_is_told_the_rest_of_what_waits_later(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.waits.BUSY_SECONDS", 0.02)
    a = town.instance("a")
    asking = [ask(a, queue_seconds=60) for _ in range(10)]
    async with asyncio.timeout(5):
        while town.queues._counts.total() < 10:
            await asyncio.sleep(0.01)
    client = a.client(max_bytes=200)
    numbers: list[int] = []
    async with asyncio.timeout(5):
        while len(numbers) < 10:
            await asyncio.sleep(0.005)
            for command in client.told():
                numbers.append(command["command"])
                client.reply(command["command"])
    assert numbers == list(range(1, 11))
    await asyncio.gather(*asking)


async def test_what_waits_too_long_is_absent_for_who_still_waits(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    assert await code(ask(a, queue_seconds=0.02, seconds=5)) == "command.absent"
    assert await ask(a, queue_seconds=60, seconds=0.3) == {"queued": True}
    assert nothing_left(a, b)


async def test_who_stops_answers_everybody(town: Town) -> None:
    a, b = town.instance("a"), town.instance("b")
    client, own = b.client(), a.client("own")
    asking = [ask(a, seconds=60), ask(b, address("own"), seconds=60)]
    await client.one()
    await own.one()
    await a.calls.close()
    assert [await code(task) for task in asking] == ["server.draining", "command.timeout"]
    assert nothing_left(a)
    await b.calls.close()
