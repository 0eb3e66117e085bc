"""How the SQLite keeper finds a record's past: by an index that creations are not in, and by their time."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hub.schema.times import from_millis
from storage.sql.aging import AgingTexts
from storage.sql.compile import Text, compiled
from storage.sql.questions import Questions
from storage.sql.statements import Statements
from storage.sql.tables import Tables
from tests.storage.declared import Use, box, registry
from tests.storage.test_sqlite_file import keeper, on_writer, opened

START = 1_800_000_000_000


async def _busy(use: Use) -> list[str]:
    made = [str((await use.create(box, name=f"{n}"))["id"]) for n in range(30)]
    for rec in made[::3]:
        await use.update(box, rec, note="x")
    return made


@pytest.mark.parametrize("name", ["versions", "bounds", "erasing", "erasing_to"])
async def test_the_versions_of_a_record_are_one_search_in_an_index(tmp_path: Path, name: str) -> None:
    text: Text = getattr(Statements(registry, Tables(registry)).past, name)
    async with opened(tmp_path / "hub.db") as use:
        await _busy(use)
        plans: list[str] = []

        def explain(connection: sqlite3.Connection) -> None:
            plain = {"account": 1, "rec": "x", "type": "box", "below": 9, "limit": 9, "to_seq": 9, "to_part": 9}
            values = text.arguments(plain)
            plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text.sql}", values))

        await on_writer(use, explain)
        assert plans[0].startswith("SEARCH change USING INDEX change_of (account_pk=? AND rec=? AND version")
        assert plans[1:] == (["USE TEMP B-TREE FOR ORDER BY"] if name == "bounds" else [])


@pytest.mark.parametrize("name", ["next", "empty"])
async def test_a_step_over_the_log_of_a_type_begins_where_the_last_one_ended(tmp_path: Path, name: str) -> None:
    text: Text = getattr(AgingTexts(Tables(registry), compiled), name)
    async with opened(tmp_path / "hub.db") as use:
        plans: list[str] = []

        def explain(connection: sqlite3.Connection) -> None:
            values = text.arguments({"account": 1, "type": "box", "reached": 5, "end": 9, "limit": 9})
            plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text.sql}", values))

        await on_writer(use, explain)
        (plan,) = plans
        assert plan.startswith("SEARCH change USING PRIMARY KEY (account_pk=? AND seq>?")


async def test_creations_take_no_place_in_the_index(tmp_path: Path) -> None:
    async with opened(tmp_path / "hub.db") as use:
        await _busy(use)
        found: list[str] = []

        def look(connection: sqlite3.Connection) -> None:
            (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'change_of'").fetchone()
            found.append(sql)

        await on_writer(use, look)
        assert found[0].endswith("WHERE kind != 'create'")


async def test_a_creation_is_found_although_the_clock_was_set_back(tmp_path: Path) -> None:
    ticks = itertools.chain(range(START, START + 20), range(START - 50, START + 2000))
    async with opened(tmp_path / "hub.db", clock=lambda: from_millis(next(ticks))) as use:
        for rec in await _busy(use):
            assert (await use.history(box, rec))[-1].rows[0].kind == "create"


async def test_many_creations_of_the_same_millisecond_are_told_apart(tmp_path: Path) -> None:
    async with opened(tmp_path / "hub.db", clock=lambda: from_millis(START)) as use:
        for rec in await _busy(use):
            first = (await use.history(box, rec))[-1].rows[0]
            assert (first.rec, first.kind) == (rec, "create")
        assert keeper(use).ready


async def test_who_reads_a_log_while_it_is_forgotten_sees_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, steps = Questions._page, []

    def forgetting(self: Questions, connection: sqlite3.Connection, *place: Any) -> list[list[Any]]:
        rows = page(self, connection, *place)
        steps.append(len(rows))
        if len(steps) == 2:  # behind the first step of the second, longer way
            with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as other, other:
                other.execute("DELETE FROM change")
        return rows

    async with opened(tmp_path / "hub.db") as use:
        await use.commit(*(use.new(box, name=f"{n}") for n in range(1200)))
        monkeypatch.setattr(Questions, "_page", forgetting)
        assert [(s.seq, len(s.rows)) for s in await use.log()] == [(1, 1200)]
        assert steps == [500, 500, 500, 200, 0]
        assert await use.log() == []
