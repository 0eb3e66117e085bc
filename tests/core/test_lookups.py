"""Lookups without a hub: what is declared, how layers lie over each other, and which entry is meant."""

from __future__ import annotations

import itertools
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest

from hub.app import registry_of
from hub.schema.core.lookups import LookupPolicy, LookupRow
from hub.schema.core.places import country, country_subdivision, time_zone
from hub.schema.fields import DeclarationError
from hub.schema.layers import Row, behind, effective, resolve, select
from hub.schema.lookups import LANGUAGES, Lookup, LookupEntry
from hub.schema.record import type_of
from hub.schema.registry import Registry
from hub.settings import Settings
from hub.wire.errors import HubError

LAYERS = ("object", "parent", "site", "account", "global")
STATES = ("absent", "enabled", "disabled", "hidden")


def row(code: str, layer: str = "account", **fields: Any) -> Row:
    """Return a row; its name is that of its layer where none is given."""
    given = {"name": layer, "group": "", "part_of": "", "aliases": (), "priority": 0, "sort": 0, "cfg": {}} | fields
    return Row({"code": code, "enable": True, "hide": False} | given, layer, None)


def codes(rows: Any) -> list[str]:
    """Return the codes of rows."""
    return [row.code for row in rows]


def base(*rows: Row) -> tuple[Row, ...]:
    """Return a global layer, in order."""
    return tuple(sorted(rows, key=lambda row: row.order))


# -- layers ------------------------------------------------------------------------------------------


def stacks() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a code for every combination of layers and states, with the state of each layer."""
    for n, states in enumerate(itertools.product(STATES, repeat=len(LAYERS))):
        yield f"c{n:04}", dict(zip(LAYERS, states, strict=True))


def laid() -> dict[str, list[Row]]:
    """Return the rows of every layer for all combinations."""
    found: dict[str, list[Row]] = {layer: [] for layer in LAYERS}
    for code, states in stacks():
        for layer, state in states.items():
            if state != "absent":
                found[layer].append(row(code, layer, enable=state != "disabled", hide=state == "hidden"))
    return found


def nearest(states: dict[str, str]) -> str | None:
    """Return the nearest layer that says anything."""
    return next((layer for layer in LAYERS if states[layer] != "absent"), None)


def test_of_every_combination_of_layers_the_nearest_decides() -> None:
    rows = laid()
    found = {r.code: r for r in effective(rows["global"], [rows[layer] for layer in LAYERS[:-1]], None)}
    listed = set(codes(select(found.values())))
    for code, states in stacks():
        layer = nearest(states)
        assert (found[code].name if code in found else None) == layer
        state = states[layer] if layer else "absent"
        assert (code in listed) == (state == "enabled")
        meant = resolve(found.values(), code)
        assert (meant is not None) == (state in {"enabled", "hidden"})
    assert len(found) == 4**5 - 1


def test_the_oracle_notices_layers_in_another_order() -> None:
    rows = laid()
    swapped = effective(rows["global"], [rows[layer] for layer in ("parent", "object", "site", "account")], None)
    assert any(r.name != nearest(states) for r, (_, states) in zip(swapped, list(stacks())[1:], strict=True))


def test_what_has_the_group_of_a_nearer_row_is_hidden_by_it() -> None:
    declared = base(row("DE", "global"), row("FR", "global"), row("GB", "global", group="UK"))
    near = [row("GER", group="DE"), row("UK"), row("XK")]
    assert codes(effective(declared, [near], None)) == ["FR", "GER", "UK", "XK"]


def test_what_has_the_code_of_a_nearer_row_is_hidden_whatever_its_group_is() -> None:
    assert codes(effective(base(row("A", group="one"), row("B", group="two")), [[row("A", group="three")]], None)) == [
        "A",
        "B",
    ]


def test_within_a_layer_the_first_in_order_stands_for_a_group() -> None:
    near = [row("b", group="g"), row("a", group="g", sort=1), row("c", group="g", priority=1)]
    assert codes(effective((), [near], None)) == ["c"]


def test_the_order_is_by_priority_then_sort_then_code() -> None:
    declared = base(row("b"), row("a"), row("z", priority=2), row("y", priority=2, sort=-1), row("x", sort=-5))
    assert codes(declared) == ["y", "z", "x", "a", "b"]
    assert codes(effective(declared, [[row("m", priority=1), row("b", sort=9)]], None)) == [
        *("y", "z", "m", "x", "a", "b"),
    ]


def test_a_policy_leaves_only_its_codes_or_groups() -> None:
    declared = base(row("DE"), row("FR"), row("GB", group="UK"))
    near = [[row("AT")]]
    assert codes(effective(declared, near, frozenset({"DE", "UK", "AT", "nothing"}))) == ["AT", "DE", "GB"]
    assert codes(effective(declared, near, frozenset())) == []
    assert codes(effective(declared, near, None)) == ["AT", "DE", "FR", "GB"]


def test_the_declared_layer_alone_is_not_copied() -> None:
    declared = base(row("a"))
    assert effective(declared, [[], []], None) is declared


# -- listing and resolving ---------------------------------------------------------------------------


def test_a_list_searches_names_and_the_beginnings_of_codes_and_aliases() -> None:
    rows = [row("DE-BY", name="Bayern", aliases=("Bavaria",)), row("XX", name="Straße"), row("BAV", name="other")]
    assert codes(select(rows, "bav")) == ["DE-BY", "BAV"]
    assert codes(select(rows, "yer")) == ["DE-BY"]
    assert codes(select(rows, "STRASSE")) == ["XX"]
    assert codes(select(rows, " ")) == codes(rows)
    assert codes(select(rows, "aria")) == []


def test_a_list_leaves_out_what_is_disabled_or_hidden_unless_it_is_asked_for() -> None:
    rows = [row("a", enable=False), row("b", hide=True), row("c", priority=1), row("d", priority=-1, part_of="c")]
    assert codes(select(rows)) == ["c", "d"]
    assert codes(select(rows, unseen=True)) == ["a", "b", "c", "d"]
    assert codes(select(rows, prior=True)) == ["c"]
    assert codes(select(rows, part_of="c")) == ["d"]
    assert codes(select(rows, part_of="")) == ["c"]


def test_pages_go_on_behind_a_place_that_is_there_no_more() -> None:
    rows = base(*(row(f"c{n}") for n in range(10)))
    assert codes(behind(rows, rows[3].order)) == [f"c{n}" for n in range(4, 10)]
    assert codes(behind([r for r in rows if r.code != "c3"], rows[3].order)) == [f"c{n}" for n in range(4, 10)]
    assert behind(rows, None) is rows
    assert codes(behind(rows, rows[-1].order)) == []


def test_a_code_is_meant_before_a_name_and_a_name_before_an_alias() -> None:
    rows = base(row("x", name="y"), row("y", name="z", aliases=("x",)), row("z", name="w", aliases=("v",)))
    assert [r and r.code for q in "xyzwv" for r in [resolve(rows, q)]] == ["x", "y", "z", "z", "z"]


def test_text_is_resolved_however_it_is_written_but_whole() -> None:
    rows = [row("DE-BW", name="Baden-Württemberg", aliases=("BW",)), row("de-bw", name="small")]
    for q, code in {"DE-BW": "DE-BW", "de-bw": "de-bw", " BADEN-WÜRTTEMBERG ": "DE-BW", "bw": "DE-BW"}.items():
        assert getattr(resolve(rows, q), "code", None) == code
    assert resolve(rows, "Baden") is None
    assert resolve(rows, " ") is None


def test_of_several_the_one_with_the_highest_priority_is_meant() -> None:
    rows = base(row("a", name="same"), row("b", name="same", priority=1), row("c", name="same", part_of="d"))
    assert getattr(resolve(rows, "same"), "code", None) == "b"
    assert getattr(resolve(rows, "same", "d"), "code", None) == "c"


def test_what_means_several_is_refused_with_their_codes() -> None:
    rows = base(*(row(f"c{n:02}", name="same") for n in range(12)))
    with pytest.raises(HubError) as refusal:
        resolve(rows, "same")
    assert (refusal.value.code, refusal.value.path) == ("data.invalid", "q")
    assert refusal.value.details == {"codes": [f"c{n:02}" for n in range(10)]}
    assert "12 entries" in refusal.value.message


# -- declaring ---------------------------------------------------------------------------------------


def test_a_lookup_that_cannot_work_is_refused_when_it_is_declared() -> None:
    for name, doc, entries in (
        ("Bad name", "d", ()),
        ("no_doc", "", ()),
        ("twice", "d", (LookupEntry("a", "A"), LookupEntry("a", "B"))),
        ("one_group", "d", (LookupEntry("a", "A", group="g"), LookupEntry("b", "B", group="g"))),
        ("no_code", "d", (LookupEntry("", "A"),)),
        ("no_name", "d", (LookupEntry("a", ""),)),
        ("long", "d", (LookupEntry("a" * 65, "A"),)),
    ):
        with pytest.raises(DeclarationError):
            Lookup(name, doc, entries)


def test_two_lookups_of_one_name_do_not_start() -> None:
    registry = Registry()
    one = Lookup("tests_twin", "One.")
    registry.add_lookup(one)
    registry.add_lookup(one)
    with pytest.raises(DeclarationError, match="two lookups are named tests_twin"):
        registry.add_lookup(Lookup("tests_twin", "Another."))


def test_the_core_and_the_pack_of_events_declare_theirs() -> None:
    registry = registry_of(Settings())
    declared = {"country", "country_subdivision", "time_zone", "user_status", "file_purpose", "post_topic"}
    assert set(registry.lookups) == declared
    with pytest.raises(HubError) as refusal:
        registry.lookup("nope")
    assert (refusal.value.code, refusal.value.path) == ("lookup.unknown", "lookup")


def test_entries_are_read_once_and_not_before_somebody_asks() -> None:
    reads: list[str] = []

    def entries() -> Iterator[LookupEntry]:
        reads.append("read")
        yield LookupEntry("a", "A")

    lookup = Lookup("tests_lazy", "Lazy.", entries)
    assert (lookup.ready(), reads) == (None, [])
    assert lookup.load() is lookup.load() is lookup.ready()
    assert lookup.load("de") is lookup.load()
    assert reads == ["read"]


def test_of_the_languages_only_some_are_kept() -> None:
    lookup = Lookup("tests_tongues", "T.", (LookupEntry("a", "A"),), translator=lambda tag: lambda name: name + tag)
    for n in range(LANGUAGES + 3):
        assert lookup.load(f"l{n}")[0].shown["name"] == f"Al{n}"
    kept = [n for n in range(LANGUAGES + 3) if lookup.ready(f"l{n}")]
    assert kept == list(range(3, LANGUAGES + 3))


# -- rows that accounts keep -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"lookup": "nope"}, "data.lookup"),
        ({"for_type": "event"}, "data.for_id"),
        ({"for_id": "AAAAAAAAAAA"}, "data.for_type"),
        ({"for_type": "Event", "for_id": "AAAAAAAAAAA"}, "data.for_type"),
        ({"for_type": "event", "for_id": "../etc"}, "data.for_id"),
    ],
)
def test_a_row_or_policy_for_nothing_is_refused(given: dict[str, str], path: str) -> None:
    for declared, more in ((LookupRow, {"code": "a", "name": "A"}), (LookupPolicy, {"codes": ["a"]})):
        kind = type_of(declared)
        assert kind.check is not None
        kind.check(kind.accept_create({"lookup": "country", **more}))
        with pytest.raises(HubError) as refusal:
            kind.check(kind.accept_create({"lookup": "country", **more, **given}))
        assert (refusal.value.code, refusal.value.path) == ("data.invalid", path)


def test_a_field_that_is_declared_anew_has_no_default_of_before() -> None:
    with pytest.raises(HubError) as refusal:
        type_of(LookupRow).accept_create({"lookup": "country", "name": "A"})
    assert (refusal.value.code, refusal.value.path) == ("data.invalid", "data.code")


# -- places ------------------------------------------------------------------------------------------


def test_countries_have_the_codes_of_the_standard_and_go_by_their_usual_name() -> None:
    rows = country.load()
    assert len(rows) > 240
    for q in ("TW", "twn", "158", "Taiwan", "Taiwan, Province of China"):
        found = resolve(rows, q)
        assert found is not None
        assert (found.code, found.shown["name"], found.shown["cfg"]["alpha_3"]) == ("TW", "Taiwan", "TWN")


def test_countries_are_called_in_another_language_and_found_by_either_name() -> None:
    for language, name in {"de": "Deutschland", "de-at": "Deutschland", "pt-br": "Alemanha", "fr": "Allemagne"}.items():
        rows = country.load(language)
        for q in ("DE", name, "germany", "DEU"):
            found = resolve(rows, q)
            assert found is not None
            assert (found.code, found.shown["name"]) == ("DE", name)
    assert country.load("xx") is country.load()


def test_subdivisions_are_within_their_country() -> None:
    rows = country_subdivision.load()
    assert len(rows) > 5000
    assert len(select(rows, part_of="DE")) == 16
    countries = {r.code for r in country.load()}
    assert {r.part_of for r in rows} <= countries
    with pytest.raises(HubError, match="BE-VLI, NL-LI"):
        resolve(rows, "Limburg")
    found = resolve(rows, "limburg", "NL")
    assert found is not None
    assert found.code == "NL-LI"


def test_every_time_zone_can_be_used_and_is_within_a_country() -> None:
    rows = time_zone.load()
    assert {r.code for r in rows} <= zoneinfo.available_timezones()
    assert {r.part_of for r in rows if r.code != "UTC"} <= {r.code for r in country.load()}
    for q, code in {
        "Asia/Calcutta": "Asia/Kolkata",
        "us/eastern": "America/New_York",
        "europe/amsterdam": "Europe/Amsterdam",
        "zulu": "UTC",
        "America/New York": "America/New_York",
    }.items():
        assert getattr(resolve(rows, q), "code", None) == code
    names = [alias for r in rows for alias in r.aliases]
    assert len(names) == len(set(names))
