"""The page in Chromium with a real hub: signing in, living together on one programme, searching, signing out."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.page_hub import PageHub
from tests.browser.visitor import REFUSED

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALKS, ON_THE_FIRST_DAY = 79, 17


async def test_a_sign_in_link_opens_the_programme_once_and_leaves_no_trace_in_the_address(
    hub: PageHub, browse: Visit
) -> None:
    printed = await asyncio.to_thread(hub.aether, "signin-link", "--url", hub.url)
    code = printed.partition("#signin=")[2]
    first, second = await browse("the owner"), await browse("a thief")
    await first.sign_in(printed)
    await expect(first.find("event-title")).to_have_text("Chaos Communication Camp 2019")
    await expect(first.find("event-facts")).to_contain_text(f"{TALKS} sessions")
    await expect(first.find("session-card")).to_have_count(ON_THE_FIRST_DAY)
    await expect(first.find("room")).to_have_text([re.compile("Curie"), re.compile("Meitner")])
    assert "signin" not in first.page.url
    await first.page.go_back()
    assert code not in first.page.url, "the code is a step back"
    await first.page.go_forward()
    await first.is_live()

    second.expects(REFUSED)
    await second.page.goto(printed)
    await expect(second.find("signin-error")).to_contain_text("not valid, or was used already")
    assert "signin" not in second.page.url
    assert await second.find("session-card").count() == 0

    await first.page.reload()
    await first.is_live()
    await expect(first.find("session-card")).to_have_count(ON_THE_FIRST_DAY)


async def test_nothing_is_shown_as_changed_when_the_page_opens(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    for _ in range(3):
        await ada.page.reload()
        await expect(ada.find("session-card")).to_have_count(ON_THE_FIRST_DAY)
        await ada.is_live()
        assert await ada.flashed() == set()
        assert await ada.find("changes").count() == 0


async def test_a_title_edited_on_one_page_is_shown_on_the_other_and_nothing_else_changes(
    hub: PageHub, visit: Visit
) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    talk = (await asyncio.to_thread(hub.sessions))["card10 Badge"]
    before = await jonas.cards()
    await jonas.flashed()
    await ada.retitle(talk["id"], "card10, the badge")
    await expect(jonas.card(talk["id"])).to_have_text("card10, the badge")
    assert await jonas.flashed() == {talk["id"]}
    after = await jonas.cards()
    assert {rec for rec in after if after[rec] != before.get(rec)} == {talk["id"]}
    assert after.keys() == before.keys()
    await expect(jonas.find("changes")).to_contain_text("new title · Ada Brandt · just now")
    assert await ada.flashed() == set(), "one's own change needs no pointing out"
    kept = await asyncio.to_thread(hub.rpc, "record.get", type="event_session", rec=talk["id"])
    assert (kept["title"], kept["version"]) == ("card10, the badge", talk["version"] + 1)
    assert {k: v for k, v in kept.items() if talk[k] != v}.keys() == {"title", "version", "updated_at", "updated_by"}


async def test_people_see_each_other_and_what_each_reads_and_edits(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    await expect(ada.find("roster")).to_have_attribute("data-count", "1")
    jonas = await visit("Jonas Weber")
    for visitor in (ada, jonas):
        await expect(visitor.find("roster")).to_have_attribute("data-count", "2")
        for name in ("Ada Brandt", "Jonas Weber"):
            await expect(visitor.find("member", name=name)).to_have_attribute("data-status", "active")
    talk = (await asyncio.to_thread(hub.sessions))["Knoten 101"]["id"]
    card = ada.find("session-card", id=talk)
    await jonas.card(talk).click()
    await expect(ada.find("people")).to_contain_text("Reading Knoten 101")
    await expect(card).to_have_class(re.compile(r"\bwatched\b"))
    await jonas.find("title-edit").click()
    await expect(ada.find("people")).to_contain_text("Editing the title of Knoten 101")
    await expect(card).to_have_class(re.compile(r"\bedited\b"))
    await ada.card(talk).click()
    await expect(ada.find("title-lock")).to_contain_text("Jonas Weber is editing this title.")
    await jonas.context.close()
    await expect(ada.find("title-lock")).to_be_hidden()
    await expect(ada.find("title-edit")).to_be_visible()


async def test_the_search_filters_all_days_and_marks_what_it_found(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    search, count = ada.find("search"), ada.find("search-count")
    await ada.page.keyboard.press("/")
    await expect(search).to_be_focused()
    await search.fill("chloe berthelemy")
    await expect(count).to_have_text(f"1 of {TALKS} sessions match")
    await expect(ada.find("session-card")).to_have_count(1)
    await expect(ada.find("card-title")).to_have_text("Reporting from Brussels: The state of Digital Rights")
    await expect(ada.find("card-speakers").locator("mark")).to_have_text(["Chloé", "Berthélémy"])
    await search.fill("HACK")
    found = await ada.find("session-card").count()
    await expect(count).to_have_text(f"{found} of {TALKS} sessions match")
    assert 1 < found < TALKS
    expected = {
        talk["id"]
        for talk in (await asyncio.to_thread(hub.sessions)).values()
        if "hack" in " ".join(str(talk[f] or "") for f in ("title", "subtitle", "abstract", "description")).lower()
    }
    assert expected <= (await ada.cards()).keys()
    await search.fill("zebrafish choir")
    await expect(ada.find("empty")).to_contain_text("Nothing matches")
    await search.press("Escape")
    await expect(ada.find("session-card")).to_have_count(ON_THE_FIRST_DAY)
    await expect(count).to_be_hidden()


async def test_two_people_who_edit_one_title_are_asked_and_lose_nothing(hub: PageHub, visit: Visit) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    talk = (await asyncio.to_thread(hub.sessions))["Fomu - an FPGA inside your USB port!"]["id"]
    await ada.begin_title(talk, "Fomu, says Ada")
    await jonas.card(talk).click()
    await jonas.take_over("Fomu, says Jonas")
    await ada.find("draft-continue").click()
    question = ada.find("title-conflict")
    await expect(question).to_contain_text("Jonas Weber changed this title while you were writing:")
    await expect(question).to_contain_text("Fomu, says Jonas")
    await expect(ada.find("title-input")).to_have_value("Fomu, says Ada")
    await ada.find("title-input").press("Enter")
    kept = await asyncio.to_thread(hub.rpc, "record.get", type="event_session", rec=talk)
    assert kept["title"] == "Fomu, says Jonas", "nothing is written over unasked"
    await ada.find("conflict-keep").click()
    await expect(ada.find("drawer-title")).to_have_text("Fomu, says Ada")
    await expect(jonas.card(talk)).to_have_text("Fomu, says Ada")

    await ada.begin_again("Fomu, says Ada again")
    await asyncio.to_thread(hub.retitle, talk, "Fomu, as Jonas says")
    await expect(question).to_contain_text("Fomu, as Jonas says")
    await ada.find("conflict-take").click()
    for visitor in (ada, jonas):
        await expect(visitor.find("drawer-title")).to_have_text("Fomu, as Jonas says")
        await expect(visitor.find("title-input")).to_be_hidden()
        assert await visitor.find("toast", kind="error").count() == 0


async def test_a_title_the_hub_refuses_stays_in_the_field_with_a_sentence(hub: PageHub, visit: Visit) -> None:
    ada = await visit("Ada Brandt")
    talk = (await asyncio.to_thread(hub.sessions))["DoH or Don't"]["id"]
    await ada.begin_title(talk, "x" * 501)
    await ada.find("title-save").click()
    await expect(ada.find("title-error")).to_have_text("Text has at most 500 characters here; shorten it.")
    await expect(ada.find("title-input")).to_have_value("x" * 501)
    for nothing_to_see in ("  ", "\u200b\u2060"):
        await ada.find("title-input").fill(nothing_to_see)
        await ada.find("title-save").click()
        await expect(ada.find("title-error")).to_have_text("A talk needs a title.")
    await ada.find("title-cancel").click()
    await expect(ada.find("drawer-title")).to_have_text("DoH or Don't")


async def test_markup_in_a_title_is_shown_as_text(hub: PageHub, visit: Visit) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    talk = (await asyncio.to_thread(hub.sessions))["Make Your Tech and Wear It Too"]["id"]
    title = '<img src=x onerror="document.title=1"><script>alert(1)</script> & "wear" it'
    await ada.retitle(talk, title)
    await expect(jonas.card(talk)).to_have_text(title)
    assert await jonas.page.locator(".programme img, .programme script, .panel img").count() == 0
    await expect(jonas.page).to_have_title(re.compile("Chaos Communication Camp"))
    await ada.begin_again("Make Your Tech and Wear It Too")
    await ada.find("title-input").press("Enter")
    await expect(jonas.card(talk)).to_have_text("Make Your Tech and Wear It Too")


async def test_a_file_is_listed_at_once_and_downloaded_under_its_name(
    hub: PageHub, visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ada = await visit("Ada Brandt")
    event = (await asyncio.to_thread(hub.rpc, "record.find", type="event"))["records"][0]["id"]
    file = tmp_path_factory.mktemp("files") / "Site map (Übersicht).pdf"
    file.write_bytes(b"%PDF-1.4 not really\n" * 1000)
    await asyncio.to_thread(hub.aether, "files", "put", str(file), "--to", f"event:{event}")
    await expect(ada.find("file")).to_have_text(re.compile(r"Site map \(Übersicht\)\.pdf\s*20 kB"))
    async with ada.page.expect_download() as starting:
        await ada.find("file").click()
    download = await starting.value
    assert download.suggested_filename == file.name
    assert (await asyncio.to_thread((await download.path()).read_bytes)) == file.read_bytes()


async def test_signing_out_ends_the_session_everywhere_in_this_browser_and_shows_nothing_any_more(
    hub: PageHub, visit: Visit
) -> None:
    ada, jonas = await visit("Ada Brandt"), await visit("Jonas Weber")
    other_tab = await ada.context.new_page()
    ada.listen(other_tab)
    await other_tab.goto(hub.url)
    await expect(other_tab.locator('[data-testid="session-card"]')).to_have_count(ON_THE_FIRST_DAY)
    await expect(jonas.find("roster")).to_have_attribute("data-count", "2")
    token = await ada.page.evaluate("() => localStorage.getItem('aether.token')")
    assert await asyncio.to_thread(hub.opens, token)
    await ada.find("signout").click()
    for page in (ada.page, other_tab):
        await expect(page.locator('[data-testid="signin"]')).to_be_visible()
        await expect(page.locator('[data-testid="connection"]')).to_have_attribute("data-state", "signed-out")
        assert await page.locator('[data-testid="session-card"], [data-testid="member"]').count() == 0
        await expect(page).to_have_title("Aether Hub")
    kept = await ada.page.evaluate("() => Object.values({ ...localStorage, ...sessionStorage }).join()")
    assert token not in kept
    await expect(jonas.find("roster")).to_have_attribute("data-count", "1")
    await jonas.is_live()
    async with asyncio.timeout(10):
        while await asyncio.to_thread(hub.opens, token):
            await asyncio.sleep(0.05)
    await ada.page.reload()
    await expect(ada.find("signin")).to_be_visible()
