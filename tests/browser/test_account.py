"""The dialog around the account, and signing in by password: people, roles, keys, sessions, devices."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, Visit
from tests.browser.page_hub import VIEWER, PageHub
from tests.browser.visitor import REFUSED, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")
PASSWORD: Final = "a horse, a battery, a staple"
MAIL: Final = "grace@people.example"
NOT_GOOD: Final = re.compile(r"the server responded with a status of 4(01|03|04|22|29)")

_NEARLY_OVER: Final = """
() => {
  const soon = { expires_at: new Date(Date.now() + 6000).toISOString(), since: Date.now() - 60000 };
  const kept = JSON.parse(localStorage.getItem("aether.renew"));
  localStorage.setItem("aether.renew", JSON.stringify({ ...kept, ...soon }));
}
"""
_SPOILT: Final = """
() => localStorage.setItem("aether.token", localStorage.getItem("aether.token").slice(0, -4) + "AAAA")
"""


def act(hub: PageHub, action: str, **args: Any) -> Any:
    """Call an action as a guest does; return its result."""
    body = {"op": "action.call", "id": 1, "action": action, "args": args}
    answer = httpx.post(f"{hub.url}/rpc", json=body, trust_env=False).json()
    assert answer["op"] == "ok", answer
    return answer["data"]


async def owner_of(hub: PageHub, browse: Visit) -> Visitor:
    """Return the owner of account `main`, signed in."""
    owner = await browse("the owner")
    await owner.sign_in(await asyncio.to_thread(hub.aether, "signin-link", "--url", hub.url))
    return owner


async def room(visitor: Visitor, name: str) -> None:
    """Open a room of the dialog."""
    if not await visitor.find("account-dialog").is_visible():
        await visitor.find("account-open").click()
    await visitor.find("account-tab", name=name).click()
    await expect(visitor.find(f"room-{name}")).to_be_visible()


async def by_password(visitor: Visitor, password: str = PASSWORD) -> None:
    """Sign in as Grace."""
    await visitor.find("signin-mail").fill(MAIL)
    await visitor.find("signin-password").fill(password)
    await visitor.find("signin-password").press("Enter")


async def test_somebody_is_invited_sets_a_password_and_comes_back_with_it(hub: PageHub, browse: Visit) -> None:
    owner, grace = await owner_of(hub, browse), await browse("Grace")
    await room(owner, "people")
    await owner.find("invite-name").fill("Grace H")
    await owner.find("invite-mail").fill(MAIL)
    await owner.find("invite-role").select_option("editor")
    await owner.find("invite-submit").click()
    link = await owner.find("invite-link").locator("code").inner_text()
    await expect(owner.find("invitation")).to_contain_text("Grace H")

    await grace.page.goto(link)
    await expect(grace.page.locator("#code-title")).to_have_text("You are invited")
    assert "invite" not in grace.page.url
    await grace.find("code-name").fill("Grace Hopper")
    await grace.find("code-password").fill(PASSWORD)
    await grace.find("code-submit").click()
    await grace.is_live()
    await expect(grace.find("signout")).to_have_attribute("title", "Sign out Grace Hopper")
    await expect(owner.find("member-row", name="Grace Hopper")).to_be_visible()
    await expect(owner.find("invitation")).to_have_count(0)

    await grace.find("signout").click()
    grace.expects(NOT_GOOD)
    await by_password(grace, "not what it was")
    await expect(grace.find("signin-by-password-error")).to_contain_text(
        "The mail address or the password is not right."
    )
    await by_password(grace)
    await grace.is_live()
    kept = await grace.page.evaluate("() => JSON.stringify({ ...localStorage, ...sessionStorage })")
    assert PASSWORD not in kept

    other = await browse("Grace elsewhere")
    other.expects(NOT_GOOD)
    await other.page.goto(hub.url)
    await by_password(other)
    await other.is_live()
    await room(grace, "me")
    await expect(grace.find("session")).to_have_count(2)
    await expect(grace.find("session", current="true")).to_contain_text("This page")
    await expect(grace.find("session", current="false")).to_contain_text("Chrome on Linux")
    await grace.find("sessions-end").click()
    await expect(grace.find("sessions-end")).to_have_text("Really everywhere else?")
    await grace.find("sessions-end").click()
    await expect(other.find("signin")).to_be_visible()
    await expect(other.find("signin-error")).to_contain_text("Your sign-in has ended.")
    await expect(grace.find("session")).to_have_count(1)
    await grace.is_live()
    await expect(grace.find("password-mail")).to_have_text(f"You sign in with {MAIL} and your password.")
    await expect(grace.find("switch")).to_be_hidden()
    await grace.find("account-close").click()

    await asyncio.to_thread(hub.make_account, "camp", "The Camp")
    await grace.page.goto(await asyncio.to_thread(hub.invite, "Grace Hopper", MAIL, "camp"))
    await grace.find("code-submit").click()
    await room(grace, "me")
    await expect(grace.find("switch-name").locator("option")).to_have_text(["Main"])
    await grace.find("switch-submit").click()
    await grace.is_live()
    await grace.page.evaluate("() => localStorage.removeItem('aether.account')")
    await grace.page.reload()
    await expect(grace.find("account-name").locator("option")).to_have_text(["The Camp (camp)", "Main"])
    await grace.find("account-name").select_option(label="Main")
    await grace.find("account-choice-submit").click()
    await grace.is_live()
    await asyncio.to_thread(hub.remove, "Grace Hopper", "camp")
    await room(owner, "me")
    await expect(owner.find("password-mail")).to_contain_text("aether user mail ")


async def test_a_role_of_ones_own_is_made_given_and_takes_effect_on_an_open_page(hub: PageHub, browse: Visit) -> None:
    owner, grace = await owner_of(hub, browse), await browse("Grace")
    await grace.page.goto(hub.url)
    await by_password(grace)
    await grace.is_live()
    talk = (await asyncio.to_thread(hub.sessions))["Opening Ceremony"]["id"]
    await grace.card(talk).click()
    await expect(grace.find("title-edit")).to_be_visible()

    await room(owner, "roles")
    await owner.find("role-name").fill("reader")
    await owner.find("role-permissions").fill("nothing.there")
    await owner.find("role-submit").click()
    await expect(owner.find("role-error")).to_contain_text("nothing.there")
    await owner.find("role-permissions").fill("*.read")
    await owner.find("role-submit").click()
    await expect(owner.find("role-row", name="reader")).to_contain_text("*.read")

    await room(owner, "people")
    await owner.find("member-row", name="Grace Hopper").locator("select").select_option("reader")
    await expect(grace.find("title-edit")).to_be_hidden()
    await grace.is_live()
    await owner.find("member-row", name="Owner").locator("select").select_option("viewer")
    await expect(owner.find("account-error")).to_contain_text("Make somebody else an owner first.")
    await expect(owner.find("member-row", name="Owner").locator("select")).to_have_value("owner")


async def test_a_key_is_shown_once_works_and_is_revoked(hub: PageHub, browse: Visit) -> None:
    owner = await owner_of(hub, browse)
    await room(owner, "keys")
    await owner.find("key-name").fill("The import at night")
    await owner.find("key-scopes").fill("event.read")
    await owner.find("key-submit").click()
    secret = await owner.find("key-secret").inner_text()
    assert await asyncio.to_thread(hub.opens, secret)
    await owner.find("key-kept").click()
    assert secret not in await owner.page.content()
    row = owner.find("key-row", name="The import at night")
    await expect(row).to_contain_text("event.read")
    await row.locator("button").click()
    await expect(row.locator("button")).to_have_text("Revoke The import at night?")
    await row.locator("button").click()
    await expect(row).to_have_count(0)
    assert not await asyncio.to_thread(hub.opens, secret)


async def test_a_device_is_paired_by_the_code_on_its_screen(hub: PageHub, browse: Visit) -> None:
    owner = await owner_of(hub, browse)
    await room(owner, "devices")
    await owner.find("pair-code").fill("2222-2222")
    await owner.find("pair-submit").click()
    await expect(owner.find("pair-error")).to_contain_text("look at its screen again")
    shown = await asyncio.to_thread(act, hub, "device.pair", name="Foyer")
    await owner.find("pair-code").fill(shown["code"].lower())
    await owner.find("pair-submit").click()
    await expect(owner.find("pair-done")).to_have_text("Foyer is paired, with the role viewer.")
    paired = await asyncio.to_thread(act, hub, "device.paired", secret=shown["secret"])
    assert await asyncio.to_thread(hub.opens, paired["key"])
    row = owner.find("device-row", name="Foyer")
    await row.get_by_text("Stop").click()
    await expect(row).to_contain_text("stopped")
    assert not await asyncio.to_thread(hub.opens, paired["key"])


async def test_what_one_may_not_do_is_not_offered(hub: PageHub, visit: Visit) -> None:
    vera = await visit(VIEWER)
    await room(vera, "people")
    await expect(vera.find("account-tab")).to_have_text(["You", "People", "Devices"])
    await expect(vera.find("member-row", name=VIEWER)).to_contain_text("viewer")
    assert await vera.find("account-dialog").locator("select:visible, form:visible").count() == 0
    await room(vera, "devices")
    assert await vera.find("account-dialog").locator("form:visible").count() == 0


async def test_the_dialog_is_worked_by_keyboard_and_named_for_readers(hub: PageHub, browse: Visit) -> None:
    owner = await owner_of(hub, browse)
    opener, dialog = owner.find("account-open"), owner.find("account-dialog")
    await opener.focus()
    await opener.press("Enter")
    await expect(dialog).to_be_visible()
    await expect(dialog).to_have_accessible_name("Owner")
    await owner.find("account-tab", name="me").focus()
    for name in ("people", "roles", "keys", "devices", "me"):
        await owner.page.keyboard.press("ArrowRight")
        await expect(owner.find("account-tab", name=name)).to_be_focused()
        await expect(owner.find("account-tab", name=name)).to_have_attribute("aria-selected", "true")
    unnamed = "(all) => all.filter((one) => !one.labels?.length && !one.ariaLabel).length"
    for name in ("me", "people", "roles", "keys", "devices"):
        await room(owner, name)
        assert await dialog.locator("input, select, textarea").evaluate_all(unnamed) == 0
    await owner.page.set_viewport_size(PHONE)
    for name in ("people", "keys", "devices"):
        await room(owner, name)
        assert await owner.find(f"room-{name}").evaluate("(element) => element.scrollWidth <= element.clientWidth")
    await owner.page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(opener).to_be_focused()


async def test_a_token_is_renewed_before_it_ends_and_after_it_ended(hub: PageHub, browse: Visit) -> None:
    grace = await browse("Grace")
    grace.expects(REFUSED)
    await grace.page.goto(hub.url)
    await by_password(grace)
    await grace.is_live()
    before = await grace.page.evaluate("() => localStorage.getItem('aether.token')")
    # As if most of its time were over: the page that is opened now renews within seconds.
    await grace.page.evaluate(_NEARLY_OVER)
    await grace.page.reload()
    await grace.page.wait_for_function("(before) => localStorage.getItem('aether.token') !== before", arg=before)
    await grace.is_live()
    # As if it had ended while the page was closed.
    await grace.page.evaluate(_SPOILT)
    await grace.page.reload()
    await grace.is_live()
    assert await grace.find("signin").is_hidden()
