"""Budgets of what requests cost: exact in one hub, in portions over several, bounded in number."""

from __future__ import annotations

import asyncio

import pytest

from handlers import rates
from handlers.base import Peer
from handlers.rates import AT_ONCE, COSTS, PORTION, SCOPES, Cost, Rates, Scope, table_of
from hub.access import Identity
from hub.wire.errors import HubError
from storage.rates import Away, Portion, Rate

TEN: dict[tuple[Cost, Scope], Rate] = {("search", "user"): Rate(10, 10)}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counter:
    """What counts for several hubs, without Redis: one window that never ends, and that can be away."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}
        self.asked = 0
        self.away = False

    async def portion(self, key: str, rate: Rate, amount: int) -> Portion:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise Away
        rest = min(amount, rate.count - self.taken.get(key, 0))
        if rest <= 0:
            return Portion(0, 3.0)
        self.taken[key] = self.taken.get(key, 0) + rest
        return Portion(rest)

    async def close(self) -> None:
        """There is nothing to close."""


def person(name: str, account: str | None = None, address: str | None = None) -> Peer:
    return Peer(identity=Identity("user", user=name), account=account, address=address)


def spent(budgets: Rates, peer: Peer, times: int, cost: Cost = "search", units: int = 1) -> int:
    """Return how many of so many requests were let through."""
    return sum(budgets.wait(peer, cost, units) == 0 for _ in range(times))


def test_a_budget_is_spent_and_filled_again_at_its_rate() -> None:
    clock = Clock()
    budgets = Rates(dict(TEN), clock=clock)
    ada = person("ada")
    assert spent(budgets, ada, 20) == 10
    with pytest.raises(HubError, match=r"rate\.limited") as refusal:
        budgets.charge(ada, "search")
    assert refusal.value.retry_after == 1.0
    clock.now += 1.0
    assert spent(budgets, ada, 20) == 1
    clock.now += 1000
    assert spent(budgets, ada, 20) == 10, "what is not used is not kept beyond one budget"


def test_a_heavier_request_costs_more_and_none_costs_more_than_a_whole_budget() -> None:
    clock = Clock()
    budgets = Rates(dict(TEN), clock=clock)
    assert spent(budgets, person("ada"), 20, units=4) == 2
    assert spent(budgets, person("eve"), 20, units=10**9) == 1
    clock.now += 10
    assert spent(budgets, person("eve"), 20, units=10**9) == 1


def test_what_one_budget_refuses_costs_no_other_one_anything() -> None:
    table: dict[tuple[Cost, Scope], Rate] = {("search", "user"): Rate(5, 10), ("search", "account"): Rate(8, 10)}
    budgets = Rates(table, clock=Clock())
    assert spent(budgets, person("ada", "a"), 100) == 5
    assert spent(budgets, person("eve", "a"), 100) == 3
    assert spent(budgets, person("eve", "b"), 100) == 2, "the rest of her own"


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_has_budgets_of_its_own(scope: Scope) -> None:
    budgets = Rates({("search", scope): Rate(3, 10)}, clock=Clock())

    def peer(n: int) -> Peer:
        found = Peer(identity=Identity("user", user=f"u{n}"), account=f"a{n}", address=f"192.0.2.{n}")
        if scope == "key":
            found.identity = Identity("key", credential=f"k{n}")
        if scope == "socket":
            found.outlet = object()  # type: ignore[assignment]  # that there is one is all that counts
        return found

    for n in (1, 2):
        assert spent(budgets, peer(n) if scope != "socket" else (one := peer(n)), 10) == 3
        if scope != "socket":
            assert spent(budgets, peer(n), 10) == 0, "another socket of the same"
        else:
            assert spent(budgets, one, 10) == 0


def test_who_becomes_somebody_else_pays_as_somebody_else() -> None:
    budgets = Rates(dict(TEN), clock=Clock())
    peer = person("ada")
    assert spent(budgets, peer, 20) == 10
    peer.identity = Identity("user", user="eve")
    assert spent(budgets, peer, 20) == 10
    peer.operator = True
    assert spent(budgets, peer, 20) == 20


def test_budgets_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "METERS", 100)
    clock = Clock()
    budgets = Rates(dict(TEN), clock=clock)
    for n in range(1000):
        assert spent(budgets, person(f"u{n}"), 1) == 1
        assert len(budgets) <= 100
    budgets = Rates(dict(TEN), clock=clock)
    assert spent(budgets, person("greedy"), 20) == 10
    clock.now += 5
    for n in range(99):
        spent(budgets, person(f"u{n}"), 0)
        budgets.wait(person(f"u{n}"), "search", 1)
    clock.now += 2
    budgets.wait(person("new"), "search", 1)
    assert spent(budgets, person("greedy"), 20) == 7, "those that had a rest go first"


async def test_several_hubs_share_one_budget_and_ask_for_portions() -> None:
    counter, count, hubs = Counter(), 400, 3
    table: dict[tuple[Cost, Scope], Rate] = {("search", "user"): Rate(count, 3600)}
    all_hubs = [Rates(table, counter) for _ in range(hubs)]
    let = 0
    for _ in range(count):
        for hub in all_hubs:
            let += spent(hub, person("ada"), 1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert count <= let <= count + hubs * (count // PORTION + count // AT_ONCE)
    assert let <= count + hubs * 5, "with answers that come at once, nearly exact"
    assert counter.asked < let / 10, "cheap requests ask nobody"
    for hub in all_hubs:
        await hub.close()


async def test_a_burst_before_the_first_portion_is_bounded() -> None:
    counter, count = Counter(), 400
    hub = Rates({("search", "user"): Rate(count, 3600)}, counter)
    assert spent(hub, person("ada"), 10 * count) == count // AT_ONCE
    with pytest.raises(HubError) as refusal:
        hub.charge(person("ada"), "search")
    assert refusal.value.retry_after == rates.SOON_SECONDS
    let = count // AT_ONCE
    for _ in range(5 * count):
        await asyncio.sleep(0)
        let += spent(hub, person("ada"), 1)
    assert count <= let <= count + count // PORTION
    await hub.close()


async def test_without_an_answer_each_hub_decides_by_itself_and_goes_back_to_the_common_budget() -> None:
    counter, clock = Counter(), Clock()
    hub = Rates({("search", "user"): Rate(40, 10)}, counter, clock)
    counter.away = True
    let = 0
    for _ in range(100):  # a hundred seconds at half the rate: nobody is refused
        clock.now += 0.5
        let += spent(hub, person("ada"), 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert let == 100
    counter.away = False
    for _ in range(200):
        spent(hub, person("ada"), 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert counter.taken["search:user:ada"] == 40
    assert hub.wait(person("ada"), "search") > 0
    await hub.close()


async def test_a_cap_on_questions_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "QUESTIONS", 3)
    counter = Counter()
    hub = Rates(dict(TEN), counter)
    for n in range(50):
        assert hub.wait(person(f"u{n}"), "search") == 0
    await asyncio.sleep(0)
    assert counter.asked == 3
    await hub.close()


def test_the_setting_changes_single_budgets() -> None:
    table = table_of(["search.user=7/10", "cheap.address=0/1"])
    assert table["search", "user"] == Rate(7, 10)
    assert table["search", "account"] == rates.RATES["search", "account"]
    assert not Rates(table).limits("cheap")
    for wrong in ("find.user=1/1", "search.owner=1/1", "search.user=1/0", "search.user=1/86401", "search=1/1"):
        with pytest.raises(ValueError, match=r"search|find"):
            table_of([wrong])
    assert {cost for cost, _ in rates.RATES} <= set(COSTS)
