"""The page while its hub dies, restarts and is filled anew: it says so, and is current again by itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.page_hub import PROGRAMME, PageHub
from tests.browser.visitor import BACK_MS, NETWORK

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST_DAY, SECOND_DAY = "2019-08-21", "2019-08-22"


async def test_a_page_is_current_again_by_itself_after_the_hub_was_killed(hub: PageHub, visit: Visit) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    for visitor in (ada, jonas):
        visitor.expects(NETWORK)
    talks = await asyncio.to_thread(hub.sessions)
    spispy, knoten = talks["spispy: SPI flash device emulation"]["id"], talks["Knoten 101"]["id"]
    before, token = await jonas.cards(), await jonas.page.evaluate("() => localStorage.getItem('aether.token')")
    await ada.begin_title(knoten, "Knoten 102")
    await asyncio.to_thread(hub.kill)
    for visitor in (ada, jonas):
        await visitor.is_away()
    await ada.find("title-input").press("Enter")
    await expect(ada.page.locator("#title-hint")).to_have_text("Saves when the hub is back…")
    assert await jonas.cards() == before, "what was known stays readable"

    edit = {"type": "event_session", "rec": spispy, "data": {"title": "spispy, seen by a third party"}}
    await asyncio.to_thread(hub.restart_after, "record.update", **edit)
    for visitor in (ada, jonas):
        await visitor.is_live(within=BACK_MS)
        await expect(visitor.card(spispy)).to_have_text("spispy, seen by a third party")
        await expect(visitor.card(knoten)).to_have_text("Knoten 102")
        await expect(visitor.find("roster")).to_have_attribute("data-count", "2")
        assert await visitor.find("signin").is_hidden()
    await expect(ada.find("drawer-title")).to_have_text("Knoten 102")
    after = await jonas.cards()
    assert {rec for rec in after if after[rec] != before.get(rec)} == {spispy, knoten}
    assert await jonas.flashed() == {spispy, knoten}
    assert await jonas.page.evaluate("() => localStorage.getItem('aether.token')") == token, "nobody signed in again"
    assert (await asyncio.to_thread(hub.sessions))["Knoten 102"]["version"] == talks["Knoten 101"]["version"] + 1


async def test_a_page_comes_back_after_the_hub_was_stopped_and_started(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    ada.expects(NETWORK)
    await ada.go_to(SECOND_DAY)
    before = await ada.cards()
    await asyncio.to_thread(hub.terminate)
    await ada.is_away()
    await asyncio.to_thread(hub.start)
    await ada.is_live(within=BACK_MS)
    assert await ada.cards() == before
    assert await ada.flashed() == set()
    assert await ada.find("toast").count() == 0
    talk = next(iter(before))
    await asyncio.to_thread(hub.retitle, talk, "Live after the restart")
    await expect(ada.card(talk)).to_have_text("Live after the restart")


def edited(programme: dict[str, Any]) -> set[str]:
    """Edit a programme: a title, a room and a speaker's name, a talk gone and one new; return the guids on the page."""
    days = programme["schedule"]["conference"]["days"]
    curie, meitner = days[0]["rooms"]["Curie"], days[0]["rooms"]["Meitner"]
    retitled, moved, renamed, gone = curie[2], meitner[4], curie[1], meitner[7]
    retitled["title"] = "Containers, imported again"
    moved["subtitle"] = "In words of the second file"
    renamed["persons"][0]["public_name"] = "schneider the second"
    meitner.remove(gone)
    new = {**gone, "guid": "00000000-1111-4222-8333-444444444444", "id": 999_999, "title": "New in the second file"}
    meitner.append(new)
    days[1]["rooms"]["Curie"][0]["title"] = "Not on this day's page"
    return {talk["guid"] for talk in (retitled, moved, renamed, gone, new)}


async def test_a_programme_imported_again_changes_exactly_what_changed_in_the_file(
    hub: PageHub, visit: Visit, tmp_path: Path
) -> None:
    ada = await visit("Ada Brandt")
    await ada.go_to(FIRST_DAY)
    before, talks = await ada.cards(), await asyncio.to_thread(hub.sessions)
    assert "0 created" in (again := await asyncio.to_thread(hub.import_programme)) or "nothing" in again.lower(), again
    programme = json.loads(PROGRAMME.read_text("utf-8"))
    guids = edited(programme)
    file = tmp_path / "second.json"
    file.write_text(json.dumps(programme), "utf-8")
    await asyncio.to_thread(hub.import_programme, file)
    await expect(ada.find("card-title").get_by_text("New in the second file")).to_be_visible()
    talks |= await asyncio.to_thread(hub.sessions)
    changed = {talk["id"] for talk in talks.values() if talk["guid"] in guids}
    after = await ada.cards()
    assert {rec for rec in before.keys() | after.keys() if before.get(rec) != after.get(rec)} == changed
    assert len(changed) == len(guids)
    assert await ada.flashed() == changed & after.keys()
    await ada.go_to(SECOND_DAY)
    await expect(ada.find("card-title").get_by_text("Not on this day's page")).to_be_visible()
