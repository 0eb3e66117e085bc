"""The tables of docs/architecture.md say what the code says: the ladder, and the bounds with their constants."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.tour import REPOSITORY, section
from tests.house.ladder import STEPS

_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "s": 1}
_ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<number>[\d,]+) ?(?P<unit>KiB|MiB|s|) \| `(?P<constant>[\w.]+)` \|", re.M)
_PAGE = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
_TABLE = section(_PAGE, "What is bounded")
ROWS = {row["constant"]: int(row["number"].replace(",", "")) * _UNITS[row["unit"]] for row in _ROW.finditer(_TABLE)}


def test_every_row_of_the_table_is_read() -> None:
    assert len(ROWS) == _TABLE.count("\n|") - 2


@pytest.mark.parametrize("constant", ROWS)
def test_a_bound_is_what_the_page_says(constant: str) -> None:
    module, _, name = constant.rpartition(".")
    assert getattr(importlib.import_module(module), name) == ROWS[constant]


def test_the_ladder_is_the_one_that_is_kept() -> None:
    shown: dict[str, int] = {}
    for step, modules in re.findall(r"^\| (\d) \| ([^|]+) \|", section(_PAGE, "The ladder"), re.M):
        shown |= dict.fromkeys(re.findall(r"`([\w.]+)`", modules), int(step))
    there = {
        module: step
        for module, step in STEPS.items()
        for path in (REPOSITORY / module.replace(".", "/"),)
        if path.is_dir() or path.with_suffix(".py").is_file()
    }
    assert shown == there
