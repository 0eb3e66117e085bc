"""Texts that no designer chose, on wide pages and on phones: each stays in its place, can be read and can be named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, WebSocketRoute, expect

from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.browser.page_hub import PageHub
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def talk(hub: PageHub) -> AsyncIterator[str]:
    """A talk of the first day, whose title is put back in the end."""
    title = "Opening Ceremony"
    found: str = (await asyncio.to_thread(hub.sessions))[title]["id"]
    yield found
    await asyncio.to_thread(hub.retitle, found, title)


async def stays_inside(inner: Locator, outer: Locator) -> None:
    """Fail where an element sticks out of another to the right, or has more inside than it has room for."""
    box, frame = await inner.bounding_box(), await outer.bounding_box()
    assert box is not None
    assert frame is not None
    assert box["x"] + box["width"] <= frame["x"] + frame["width"]
    assert await outer.evaluate("(element) => element.scrollWidth <= element.clientWidth")


async def test_a_change_to_one_endless_word_stays_in_its_panel(hub: PageHub, visit: Visit, talk: str) -> None:
    ada = await visit("Ada Brandt")
    await asyncio.to_thread(hub.retitle, talk, "W" * 480)
    change = ada.find("changes").locator("button")
    await expect(change).to_have_text("W" * 480)
    for width in (DESKTOP, PHONE):
        await ada.page.set_viewport_size(width)
        await stays_inside(change, ada.find("panel"))
        box = await change.bounding_box()
        assert box is not None
        assert box["height"] < 60, "two lines"


async def test_a_fact_that_wraps_on_a_phone_shows_all_its_words(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    await ada.page.set_viewport_size(PHONE)
    facts = ada.find("event-facts")
    lines = await facts.evaluate("""(element) => {
      const fact = [...element.children].at(-1);
      fact.textContent = "Times in your own zone (Europe/Berlin): the event names none, and these words wrap";
      const range = document.createRange();
      range.selectNodeContents(fact);
      return [...range.getClientRects()].map(({ left }) => left);
    }""")
    shown = await facts.evaluate(
        "(element) => element.getBoundingClientRect().left + 20"
    )  # what is left of it is clipped
    assert len(set(lines)) == 1
    assert lines[0] >= shown
    assert len(lines) > 1


async def shows_instead(visitor: Visitor, mark: str, title: str) -> None:
    """Let the page read a title where the hub says a mark: the hub of today refuses what older records may hold."""
    text = json.dumps(title)[1:-1]

    def between(page: WebSocketRoute) -> None:
        def told(message: str | bytes) -> None:
            assert isinstance(message, str)
            page.send(message.replace(mark, text))

        page.connect_to_server().on_message(told)

    await visitor.page.route_web_socket("**/ws", between)
    await visitor.page.reload()
    await visitor.is_live()


async def test_a_title_of_which_nothing_can_be_seen_has_a_name_and_a_size(
    hub: PageHub, visit: Visit, talk: str
) -> None:
    ada = await visit("Ada Brandt")
    for n, title in enumerate(("  ", "\u200b\u2060\u202e", "\u3164\u2800")):
        await shows_instead(ada, f"nothing {n}", title)
        await expect(ada.card(talk)).to_be_visible()
        await asyncio.to_thread(hub.retitle, talk, f"nothing {n}")
        await expect(ada.card(talk)).to_have_accessible_name("(no title)")
        await expect(ada.find("changes").get_by_role("button", name="(no title)")).to_have_count(1)
        box = await ada.card(talk).bounding_box()
        assert box is not None
        assert box["height"] >= 24, "there is something to hit"
        assert box["width"] >= 24
        await asyncio.to_thread(hub.retitle, talk, "seen again")
        await expect(ada.card(talk)).to_have_text("seen again")
    await asyncio.to_thread(hub.retitle, talk, "nothing 2")
    await ada.card(talk).click()
    await expect(ada.find("drawer")).to_have_accessible_name("(no title)")


async def test_a_title_that_turns_its_letters_turns_nothing_around_it(hub: PageHub, visit: Visit, talk: str) -> None:
    ada = await visit("Ada Brandt")
    title = "abc \u202edef"
    await shows_instead(ada, "a title that turns", title)
    await expect(ada.card(talk)).to_be_visible()
    await asyncio.to_thread(hub.retitle, talk, "a title that turns")
    await expect(ada.card(talk)).to_have_text(title)
    for shown in (ada.card(talk), ada.find("changes").locator("button")):
        await expect(shown).to_have_css("unicode-bidi", "isolate")
    inside = await ada.page.evaluate(
        "(name) => import('/console/text.js').then(({ insideSentence }) => insideSentence(name))", title
    )
    assert inside == "\u2068abc def\u2069"
