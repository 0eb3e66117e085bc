"""Several people on one page: who edits what, whose turn it is, and that nothing flickers meanwhile."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.page_hub import VIEWER, PageHub
from tests.browser.test_console_reader import talk_named

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Counts what is taken out of, or put into, the lists of people.
_COUNT: Final = """
() => {
  window.moves = 0;
  const count = (changes) => {
    for (const { target, addedNodes, removedNodes } of changes) {
      if (target.matches(".roster, .people, .panel")) window.moves += addedNodes.length + removedNodes.length;
    }
  };
  new MutationObserver(count).observe(document.body, { subtree: true, childList: true });
}
"""
_LOOK_AWAY: Final = """
(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


async def test_a_title_is_edited_by_one_and_taken_over_by_another(hub: PageHub, visit: Visit) -> None:
    ada, jonas, vera = await visit("Ada Brandt"), await visit("Jonas Weber"), await visit(VIEWER)
    talk = await talk_named(hub, "The Great British Drone Panic")
    await ada.card(talk).click()
    await jonas.begin_title(talk, "Knots, half typed")
    await expect(ada.find("title-lock")).to_contain_text("Jonas Weber is editing this title.")
    await expect(ada.find("title-edit")).to_be_hidden()
    await ada.find("drawer-title").dblclick()
    await expect(ada.find("title-input")).to_be_hidden()
    await vera.card(talk).click()  # comes late, and may only read
    await expect(vera.find("title-lock")).to_have_text(re.compile("Jonas Weber is editing this title.$"))

    await ada.find("title-take-over").click()
    await expect(ada.find("title-input")).to_be_focused()
    await expect(ada.find("title-lock")).to_be_hidden()
    await expect(jonas.find("title-input")).to_be_hidden()
    await expect(jonas.find("toast")).to_contain_text("Ada Brandt has taken over this title. What you typed is kept.")
    await expect(jonas.find("title-lock")).to_contain_text("Ada Brandt is editing this title.")
    await expect(jonas.find("title-draft")).to_contain_text("Knots, half typed")
    await expect(jonas.find("draft-continue")).to_be_hidden()
    await expect(vera.find("title-lock")).to_contain_text("Ada Brandt is editing this title.")

    await ada.find("title-input").press("Escape")
    for visitor in (jonas, vera):
        await expect(visitor.find("title-lock")).to_be_hidden()
    await jonas.find("draft-continue").click()
    await expect(jonas.find("title-input")).to_have_value("Knots, half typed")
    await jonas.find("title-cancel").click()


async def test_one_person_goes_on_with_a_title_on_another_page(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    talk = await talk_named(hub, "The Great British Drone Panic")
    await ada.begin_title(talk, "Knots, on the first page")
    other = await ada.context.new_page()
    ada.listen(other)
    await other.goto(f"{hub.url}/{await ada.page.evaluate('() => location.hash')}")
    await expect(other.locator('[data-testid="title-lock"]')).to_contain_text(
        "You are editing this title on another page."
    )
    await other.locator('[data-testid="title-take-over"]').click()
    await expect(other.locator('[data-testid="title-input"]')).to_be_visible()
    await expect(ada.find("title-lock")).to_contain_text("You are editing this title on another page.")
    await other.close()
    await expect(ada.find("title-lock")).to_be_hidden()


async def test_a_form_keeps_its_lock_over_a_short_cut(hub: PageHub, visit: Visit) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    talk = await talk_named(hub, "Opening Ceremony")
    await jonas.card(talk).click()
    await ada.begin_title(talk, "Opening, says Ada")
    await expect(jonas.find("title-lock")).to_be_visible()
    await ada.context.set_offline(True)
    await ada.context.set_offline(False)
    await ada.is_live()
    await expect(jonas.find("title-lock")).to_contain_text("Ada Brandt is editing this title.")
    await expect(ada.find("title-input")).to_have_value("Opening, says Ada")
    await ada.find("title-cancel").click()
    await expect(jonas.find("title-lock")).to_be_hidden()


async def test_people_stay_where_they_are_while_what_they_do_changes(hub: PageHub, visit: Visit) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    talk = await talk_named(hub, "The Great British Drone Panic")
    await expect(ada.find("member")).to_have_count(2)
    await expect(ada.find("people").locator("li")).to_have_count(2)
    await ada.page.evaluate(_COUNT)
    people, picture = ada.find("people"), ada.find("member", name="Jonas Weber")
    await jonas.card(talk).click()
    await expect(people).to_contain_text("Reading The Great British Drone Panic")
    await jonas.find("title-edit").click()
    await expect(people).to_contain_text("Editing the title of The Great British Drone Panic")
    await jonas.find("title-cancel").click()
    await jonas.find("drawer-close").click()
    await expect(people).to_contain_text("Looking at the programme")
    await jonas.page.evaluate(_LOOK_AWAY, True)
    await expect(picture).to_have_attribute("data-status", "away")
    await expect(picture).to_have_class("absent")
    await expect(people.locator("li.absent")).to_contain_text("Away")
    await jonas.page.evaluate(_LOOK_AWAY, False)
    await expect(picture).to_have_attribute("data-status", "active")
    assert await ada.page.evaluate("() => window.moves") == 0
    await jonas.context.close()
    await expect(ada.find("member")).to_have_count(1)
    assert await ada.page.evaluate("() => window.moves") == 2, "the count counts"
    await asyncio.to_thread(hub.check_log)
