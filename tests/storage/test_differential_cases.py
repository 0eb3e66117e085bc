"""The count of differential cases: SQLite, MariaDB and the matcher in memory agree on every one of them.

A case is one filter of one record, asked of all three. Both databases hold the same records (`corpus`): hundreds of
thousands of cases are some thousands of queries. AETHER_PROOF=100 asks more than 1,000,000. `test_differential`
compares orders, pages, views, aggregates and values.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hub.schema.nodes
import storage.sql.compile as compiling
from hub.schema.query import Query
from hub.schema.record import Image
from hub.schema.where import matcher, parse_where
from storage.base import Storage
from storage.mariadb.compile import MariaCompiler
from storage.mariadb.keeper import MariadbStorage
from storage.sql.sqlite import SqliteStorage
from tests.proofs.figures import SCALE, report
from tests.storage.corpus import Corpus, Draw, both, fill
from tests.storage.declared import item, registry
from tests.storage.drawn import TIMES, VALUES, filters, with_ids
from tests.storage.mariadb_server import MariadbServer

CASES: Final = 10_000 * SCALE
CORPORA: Final = max(2, SCALE // 5)
EACH: Final = max(1, SCALE // CORPORA)
"""How many conditions there are with each operator of each field, over each corpus."""


@dataclass
class Worlds:
    """The two keepers, their clock, and the corpora that they hold."""

    sqlite: SqliteStorage
    mariadb: MariadbStorage
    clock: list[str]
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    corpora: dict[int, Corpus] = field(default_factory=dict)
    cases: Counter[str] = field(default_factory=Counter)
    """How many there were by what they asked."""
    matched: int = 0

    async def corpus(self, number: int) -> Corpus:
        """Return a corpus, which is written when it is first asked for."""
        if number not in self.corpora:
            keepers: list[Storage] = [self.sqlite, self.mariadb]
            self.corpora[number] = await fill(keepers, self.clock, number)
        return self.corpora[number]

    async def differences(self, corpus: Corpus, where: dict[str, Any], *, deleted: bool, what: str) -> list[Any]:
        """Ask one filter of every record; return who differs from the matcher: which, on what, and by how it is."""
        node = parse_where(item, with_ids(where, corpus.ids, corpus.images), reach=registry)
        asked = [image for image in corpus.images if deleted or image["deleted_at"] is None]
        expected = {image["id"]: image for image in filter(matcher(node, corpus.others), asked)}
        query = Query(item, node, deleted=deleted, count=True)
        keepers: dict[str, Storage] = {"sqlite": self.sqlite, "mariadb": self.mariadb}
        answers = await both(*(keeper.find(corpus.account, query) for keeper in keepers.values()))
        self.cases[what] += len(asked)
        self.matched += len(expected)
        wrong: list[Any] = []
        for name, answer in zip(keepers, answers, strict=True):
            found: dict[str, Image] = {image["id"]: image for image in answer.records}
            if found != expected or list(found) != sorted(found) or answer.total != len(expected):
                differ = {*found, *expected} - {rec for rec in found if expected.get(rec) == found[rec]}
                wrong.append((name, where, [expected.get(rec) or found[rec] for rec in sorted(differ)][:3]))
        return wrong


@pytest.fixture(scope="module")
def worlds(mariadb: MariadbServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Return both keepers, started."""
    clock = [TIMES[0]]
    path = tmp_path_factory.mktemp("cases") / "hub.sqlite"
    found = Worlds(
        SqliteStorage(registry, path, lambda: clock[0], durability="normal"),
        MariadbStorage(registry, mariadb.url(mariadb.new_database()), lambda: clock[0], durability="normal"),
        clock,
    )
    for keeper in (found.sqlite, found.mariadb):
        found.runner.run(keeper.start())
    yield found
    for keeper in (found.sqlite, found.mariadb):
        found.runner.run(keeper.close())
    found.runner.close()


async def every_operator(worlds: Worlds, number: int, names: list[str], each: int = EACH) -> list[Any]:
    """Ask about each of some fields with each of its operators; return the differences."""
    corpus, draw, wrong = await worlds.corpus(number), Draw(f"conditions {number}"), []
    for name in names:
        for n, where in enumerate(draw.conditions(name, corpus.seen(name), each)):
            ((op, _),) = where[name].items()
            asked = {"$not": where} if n % 2 else where
            wrong += await worlds.differences(corpus, asked, deleted=n % 3 > 0, what=f"{item.kinds[name]} {op}")
    return wrong


@pytest.mark.timeout(120 + 10 * SCALE)
def test_every_operator_means_the_same_of_every_record(worlds: Worlds) -> None:
    worlds.cases.clear()
    worlds.matched = 0
    for number in range(CORPORA):
        assert worlds.runner.run(every_operator(worlds, number, sorted(VALUES))) == []
    total = worlds.cases.total()
    report(
        "differential-operators",
        f"{total:,} cases of {len(worlds.cases)} pairs of kind and operator, {worlds.matched:,} of them true, "
        f"at least {min(worlds.cases.values()):,} of a pair; 0 differences",
    )
    assert total >= CASES
    assert total / 10 < worlds.matched < total * 9 / 10


@pytest.mark.timeout(120 + 10 * SCALE)
def test_a_filter_means_the_same_of_every_record(worlds: Worlds) -> None:
    worlds.cases.clear()
    worlds.matched = 0

    @settings(max_examples=15 * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        wheres=st.lists(filters, min_size=4, max_size=8),
        deleted=st.booleans(),
        number=st.integers(0, CORPORA - 1),
    )
    def compare(wheres: list[dict[str, Any]], deleted: bool, number: int) -> None:
        async def run() -> list[Any]:
            corpus = await worlds.corpus(number)
            return [
                wrong
                for where in wheres
                for wrong in await worlds.differences(corpus, where, deleted=deleted, what="filter")
            ]

        assert worlds.runner.run(run()) == []

    compare()
    total = worlds.cases.total()
    report("differential-filters", f"{total:,} cases, {worlds.matched:,} of them true; 0 differences")
    assert total >= CASES * 2 // 5
    assert total / 10 < worlds.matched < total * 9 / 10


# -- a keeper with a wrong meaning is caught -----------------------------------------------------------


def _collated(patch: pytest.MonkeyPatch, collation: str) -> None:
    term = compiling.Filters._term

    def careless(self: Any, op: str, name: str, kind: str, bound: Any, positive: bool, at: Any) -> Any:
        if isinstance(self, MariaCompiler) and kind == "text" and op != "in":
            bound = bound.collate(collation)
        return term(self, op, name, kind, bound, positive, at)

    patch.setattr(compiling.Filters, "_term", careless)


def _blanks_at_the_end_are_nothing(patch: pytest.MonkeyPatch) -> None:
    _collated(patch, "utf8mb4_bin")


def _case_is_nothing(patch: pytest.MonkeyPatch) -> None:
    _collated(patch, "utf8mb4_general_nopad_ci")


def _null_decides(patch: pytest.MonkeyPatch) -> None:
    """What is not greater is less or equal, also where there is nothing: as SQL has it, were it not told otherwise."""
    term = compiling.Filters._term

    def careless(self: Any, op: str, name: str, kind: str, bound: Any, positive: bool, at: Any) -> Any:
        found = term(self, op, name, kind, bound, True, at)
        return found if positive else ~found

    patch.setattr(compiling.Filters, "_term", careless)


def _at_most_is_less(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(compiling._ORDERING, "lte", "<")


def _fold_is_lower(patch: pytest.MonkeyPatch) -> None:
    """The matcher folds as `lower` does, while the databases hold what was folded."""
    patch.setattr(hub.schema.nodes, "fold", str.lower)


@pytest.mark.parametrize(
    ("worse", "names", "told"),
    [
        (_blanks_at_the_end_are_nothing, ["about"], {"mariadb"}),
        (_case_is_nothing, ["about"], {"mariadb"}),
        (_null_decides, ["amount"], {"sqlite", "mariadb"}),
        (_at_most_is_less, ["at"], {"sqlite", "mariadb"}),
        (_fold_is_lower, ["about"], {"sqlite", "mariadb"}),
    ],
)
def test_another_meaning_is_caught(
    worlds: Worlds, worse: Callable[[pytest.MonkeyPatch], None], names: list[str], told: set[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        worse(patch)
        _forget(worlds)
        wrong = worlds.runner.run(every_operator(worlds, 0, names, each=5))
    _forget(worlds)
    assert {name for name, *_ in wrong} == told


def _forget(worlds: Worlds) -> None:
    """Let both keepers compile their statements again."""
    for keeper in (worlds.sqlite, worlds.mariadb):
        compilers: dict[str, Any] = keeper._questions._statements.compilers
        compilers["item"].statement.cache_clear()
