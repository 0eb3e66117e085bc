"""The page as its reader needs it: what may be edited, what stays typed, where the focus and the results are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.browser.page_hub import VIEWER, PageHub

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Whether what has the focus is in the drawer, or nothing on the page has it.
_IN_THE_DRAWER = """
() => document.activeElement === document.body || document.querySelector(".drawer").contains(document.activeElement)
"""


async def talk_named(hub: PageHub, title: str) -> str:
    """Return the id of a talk."""
    found: str = (await asyncio.to_thread(hub.sessions))[title]["id"]
    return found


async def test_who_may_only_read_is_shown_nothing_to_edit_with(hub: PageHub, visit: Visit) -> None:
    vera, ada = await visit(VIEWER), await visit("Ada Brandt")
    talk = await talk_named(hub, "Knoten 101")
    for visitor in (ada, vera):
        await visitor.card(talk).click()
        await expect(visitor.find("drawer-title")).to_have_text("Knoten 101")
    await expect(ada.find("title-edit")).to_be_visible()
    assert await vera.page.evaluate(  # the hub's answer is there: what is not shown by now is not shown
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    )
    await expect(vera.find("title-edit")).to_be_hidden()
    await vera.find("drawer-title").dblclick()
    await expect(vera.find("title-input")).to_be_hidden()


async def test_a_title_that_was_typed_and_left_is_told_and_offered_again(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    talk, other = await talk_named(hub, "Knoten 101"), await talk_named(hub, "Opening Ceremony")
    await ada.begin_title(talk, "Knots, half typed")
    await ada.find("drawer-close").click()
    await expect(ada.find("toast")).to_contain_text("Your unsaved title is kept")
    await ada.card(other).click()
    await expect(ada.find("title-draft")).to_be_hidden()
    await ada.card(talk).click()
    await expect(ada.find("drawer-title")).to_have_text("Knoten 101")
    await expect(ada.find("title-draft")).to_contain_text("Knots, half typed")
    await ada.find("draft-continue").click()
    await expect(ada.find("title-input")).to_have_value("Knots, half typed")
    await ada.card(other).click()
    await ada.card(talk).click()
    await ada.find("draft-discard").click()
    await expect(ada.find("title-draft")).to_be_hidden()
    await ada.find("title-edit").click()
    await expect(ada.find("title-input")).to_have_value("Knoten 101")
    await ada.find("title-cancel").click()


async def test_a_title_left_while_somebody_changes_it_is_asked_about_and_not_lost(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    talk = await talk_named(hub, "Knoten 101")
    await ada.begin_title(talk, "Knots, says Ada")
    await ada.page.keyboard.press("Control+Home")
    await ada.page.go_back()
    await expect(ada.find("drawer")).to_be_hidden()
    await asyncio.to_thread(hub.retitle, talk, "Knots, says somebody")
    await expect(ada.card(talk)).to_have_text("Knots, says somebody")
    await ada.card(talk).click()
    await ada.find("draft-continue").click()
    await expect(ada.find("title-conflict")).to_contain_text("Knots, says somebody")
    await expect(ada.find("title-input")).to_have_value("Knots, says Ada")
    await ada.find("conflict-keep").click()
    await expect(ada.find("drawer-title")).to_have_text("Knots, says Ada")
    await expect(ada.find("title-draft")).to_be_hidden()
    await asyncio.to_thread(hub.retitle, talk, "Knoten 101")


async def test_a_search_finds_also_what_only_the_hub_looks_into(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    talk = await talk_named(hub, "Knoten 101")
    await ada.find("search").fill("seemannsgarn quatsch")
    await expect(ada.find("empty")).to_contain_text("Nothing matches")
    tags = {"tags": ["Seemannsgarn & Quatsch"]}
    await asyncio.to_thread(hub.rpc, "record.update", type="event_session", rec=talk, data=tags)
    await ada.find("search").fill("")
    await ada.find("search").fill("seemannsgarn quatsch")
    await expect(ada.find("session-card")).to_have_count(1)
    await expect(ada.find("card-title")).to_have_text("Knoten 101")
    await asyncio.to_thread(hub.rpc, "record.update", type="event_session", rec=talk, data={"tags": []})


async def test_a_search_on_a_page_that_was_scrolled_shows_its_first_result(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    for width in (PHONE, DESKTOP):
        await ada.page.set_viewport_size(width)
        await ada.find("search").fill("")
        await ada.page.evaluate("() => { scrollTo(0, 1500); document.querySelector('.programme').scrollTop = 600; }")
        await ada.find("search").fill("the")
        await expect(ada.find("search-count")).to_be_in_viewport(ratio=1)
        first = ada.find("session-card").first
        await expect(first).to_be_in_viewport()
        top = await first.evaluate("""(card) => {
          const { left, top } = card.getBoundingClientRect();
          return card.contains(document.elementFromPoint(left + 20, top + 12));
        }""")
        assert top, "nothing lies over it"


async def test_on_a_phone_the_keyboard_stays_in_the_drawer_and_returns_to_the_card(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    await ada.page.set_viewport_size(PHONE)
    talk = await talk_named(hub, "Knoten 101")
    await ada.card(talk).press("Enter")
    await expect(ada.find("drawer")).to_be_focused()
    await expect(ada.find("drawer")).to_have_attribute("aria-modal", "true")
    for key in ["Tab"] * 8 + ["Shift+Tab"] * 8:
        await ada.page.keyboard.press(key)
        assert await ada.page.evaluate(_IN_THE_DRAWER)
    await ada.page.keyboard.press("Escape")
    await expect(ada.find("drawer")).to_be_hidden()
    await expect(ada.card(talk)).to_be_focused()
    await ada.find("search").click()
    await expect(ada.find("search")).to_be_focused()


async def test_an_empty_account_is_told_the_command_that_fills_it(hub: PageHub, browse: Visit) -> None:
    await asyncio.to_thread(hub.aether, "account", "create", "festival")
    link = await asyncio.to_thread(hub.aether, "signin-link", "--account", "festival", "--url", hub.url)
    owner = await browse("the owner of the festival")
    await owner.page.goto(hub.url)
    command = ".venv/bin/aether signin-link"
    await expect(owner.find("signin").locator(".command code")).to_have_text(command)
    await expect(owner.find("signin")).to_contain_text("Take the aether that starts the hub, with the same --data")
    await owner.page.goto(link)
    await expect(owner.find("empty").locator(".command code")).to_have_text(
        ".venv/bin/aether import conference FILE --account festival"
    )


async def test_a_zone_that_counts_westwards_is_said_as_people_count(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    said = await ada.page.evaluate("""() => import("/console/time.js").then(({ zoneWords }) => (
      ["Etc/GMT-1", "Etc/GMT+5", "Etc/UTC", "UTC", "Europe/Berlin"].map((zone) => zoneWords({ zone, named: true }))
    ))""")
    assert said == [f"Times in {zone}" for zone in ("UTC+1", "UTC−5", "UTC", "UTC", "Europe/Berlin")]


async def test_days_that_do_not_fit_fade_out_where_there_are_more(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    days = ada.page.get_by_role("tablist", name="Days")
    await expect(days).to_have_css("mask-image", "none")
    await ada.page.set_viewport_size(PHONE)
    await expect(days).to_have_class("days more-after")
    await expect(days).not_to_have_css("mask-image", "none")
    await ada.find("day-tab").last.click()
    await expect(days).to_have_class("days more-before")


async def test_sessions_side_by_side_keep_their_times_and_words(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    talks = await asyncio.to_thread(hub.sessions)
    first = talks["The Great British Drone Panic"]
    others = [talks["Opening Ceremony"], talks["Make Your Tech and Wear It Too"]]
    place = ("starts_at", "ends_at", "location_id")

    async def move(talk: dict[str, Any], to: dict[str, Any]) -> None:
        data = {name: to[name] for name in place}
        await asyncio.to_thread(hub.rpc, "record.update", type="event_session", rec=talk["id"], data=data)

    await ada.page.set_viewport_size({"width": 1000, "height": 800})
    for talk in others:
        await move(talk, to=first)
    lanes = ada.page.locator('.card[style*="--lanes: 3"]')
    await expect(lanes).to_have_count(3)
    for card in await lanes.all():
        assert await card.locator(".card-time").evaluate("""(time) => {
          const edge = time.closest(".card").getBoundingClientRect();
          return time.getBoundingClientRect().right <= edge.right - 4 && edge.width >= 130;
        }""")
    for talk in others:
        await move(talk, to=talk)
    await expect(lanes).to_have_count(0)
