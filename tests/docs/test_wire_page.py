"""docs/wire.md against the code: its operations, its examples, and what it says is missing."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from channels.watches import WatchQuery
from handlers.sessions import LIMITS
from hub.access import RightsTable
from hub.schema.record import type_of
from hub.schema.registry import Registry
from hub.schema.where import OPERATORS, parse_where
from hub.schema.writes import ChangeRow
from hub.wire import close
from hub.wire.codec import JSON, convert
from hub.wire.errors import KINDS, HubError
from hub.wire.requests import BY_NAME
from packs.events.records import EventSession
from tests.docs.tour import REPOSITORY, section

PAGE = (REPOSITORY / "docs" / "wire.md").read_text("utf-8")
MISSING = section(PAGE, "Not in this version")


def missing(code: str) -> list[str]:
    """Return the words that the page lists behind a code."""
    found = re.search(rf"^- `{re.escape(code)}`: (.*?)(?=^- |\Z)", MISSING, re.M | re.S)
    assert found is not None
    return [word for span in re.findall(r"`([^`]+)`", found[1]) for word in span.split()]


def test_the_table_has_every_operation_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", section(PAGE, "Requests and answers"), re.M)
    assert sorted(name for row in rows for name in re.findall(r"`([^`]+)`", row)) == sorted(BY_NAME)


def test_the_page_fits_on_one_page() -> None:
    assert PAGE.count("\n") <= 130


@pytest.mark.parametrize("line", re.findall(r"^[→←] .*$", PAGE, re.M))
def test_an_example_is_a_message_of_the_wire(line: str) -> None:
    message: dict[str, Any] = json.loads(line[2:])
    if line[0] == "→":
        assert msgspec.to_builtins(convert(JSON.decode(line[2:]))).items() >= message.items()
    else:
        assert message["op"] in {"ok", "error", "change"}
        assert message.get("code", "data.invalid") in KINDS
        assert message["op"] != "ok" or message["data"].get("limits", LIMITS).items() <= LIMITS.items()


@pytest.mark.parametrize("name", missing("op.unknown"))
def test_what_the_page_calls_unknown_is_unknown(name: str) -> None:
    with pytest.raises(HubError) as refused:
        convert({"op": name, "id": 1})
    assert refused.value.code == "op.unknown"


def test_the_operators_are_those_of_the_code() -> None:
    found = re.search(r"^Operators: `([^`]+)`", PAGE, re.M)
    assert found is not None
    known = {f"${name}" for names in OPERATORS.values() for name in names}
    assert set(found[1].split()) == known | {"$and", "$or", "$not"}


def test_the_reasons_for_a_snapshot_are_those_of_the_code() -> None:
    found = re.search(r"and `why` \(`([^`]+)`\)", PAGE)
    assert found is not None
    source = (REPOSITORY / WatchQuery.__module__.replace(".", "/")).with_suffix(".py").read_text("utf-8")
    told = re.search(r'zip\(\(("query".*?)\)', source)
    assert told is not None
    assert set(found[1].split()) == {*re.findall(r'"(\w+)"', told[1]), "expired"}


def test_the_ranges_of_close_codes_are_those_of_the_table() -> None:
    back = {code for code in close.MEANINGS if close.comes_back(code)}
    assert back == {code for code in close.MEANINGS if code in {1006, 1011, 1012, 1013} or 4400 <= code <= 4499}


def test_every_operation_and_code_on_the_page_exists_or_is_called_missing() -> None:
    known = {*BY_NAME, *missing("op.unknown"), *KINDS}
    heads = "|".join(sorted({name.partition(".")[0] for name in known}))
    assert set(re.findall(rf"`((?:{heads})\.[a-z_]+)\b", PAGE)) <= known


def test_the_page_says_where_an_item_of_a_batch_may_stand() -> None:
    item = {"$item": 0}
    assert "in `rec` of a `record.update`, not of a `record.delete`" in PAGE
    convert({"op": "record.update", "id": 1, "type": "event", "rec": item, "data": {}})
    with pytest.raises(HubError):
        convert({"op": "record.delete", "id": 1, "type": "event", "rec": item})


def test_a_patch_has_what_the_page_shows() -> None:
    before = {"version": 1, "title": "Old", "updated_at": "2026-11-21T08:54:49.000Z", "updated_by": None}
    after = {"id": "x", "version": 2, "title": "New", "updated_at": "2026-11-21T08:54:50.002Z", "updated_by": "k"}
    row = ChangeRow(0, "event_session", "x", "update", 2, {**after, "deleted_at": None}, before)
    rights = RightsTable(Registry.of(["hub.schema.core", "packs.events"])).of("editor")
    event = WatchQuery("main", type_of(EventSession), parse_where(type_of(EventSession), None), None, rights).event(row)
    (shown,) = re.findall(r'"patch":(\{.*?\})', PAGE)
    assert event is not None
    assert event["patch"].keys() == json.loads(shown).keys()


def test_the_page_names_a_file_of_the_javascript_client() -> None:
    (name,) = re.findall(r"`/client/(\S+)`", PAGE)
    assert (REPOSITORY / "clients" / "javascript" / name).is_file()
