"""Signing in with npm's oidc-provider in Chromium: with a window of its own, and by being led there and back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor
from tests.clients.real_hub_harness import HubProcess, free_port
from tests.oidc import npm_provider

pytestmark = pytest.mark.asyncio(loop_scope="session")
FORBIDDEN: Final = re.compile(r"the server responded with a status of 40[13]")
OF_THE_PROVIDER: Final = re.compile(r"favicon\.ico|\(http://127\.0\.0\.1:\d+/interaction/")

FAR: Final = re.compile("^https:")
"""The letters of the provider's pages: nobody is asked outside of this machine."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub whose people sign in with the provider: who has a verified mail address may read in account `main`."""
    folder, port, provider = tmp_path_factory.mktemp("oidc"), free_port(), free_port()
    rules = Path(folder / "oidc.toml")
    rules.write_text(
        f'[[provider]]\nname = "npm"\ntitle = "the provider"\nissuer = "http://127.0.0.1:{provider}"\n'
        f'client_id = "aether-hub"\nclient_secret = "{npm_provider.SECRET}"\nlink = "mail"\n'
        'provision = { account = "main", role = "viewer" }\n',
        "utf-8",
    )
    back = f"http://127.0.0.1:{port}/auth/oidc/npm/callback"
    with npm_provider.running(folder, provider, back):
        settings = {"oidc_file": str(rules), "public_url": f"http://127.0.0.1:{port}"}
        hub = HubProcess(folder, port=port, **settings)
        try:
            hub.event()
            yield hub
            assert "Traceback" not in hub.log.read_text("utf-8")
        finally:
            hub.kill()


async def at_the_provider(page: Page, name: str) -> None:
    """Sign in on the pages of the provider, and let it tell who that is."""
    await page.locator('input[name="login"]').fill(name)
    await page.locator('input[name="password"]').fill("whatever")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


async def signed_out(browse: Visit, site: HubProcess, name: str) -> Visitor:
    """Return somebody who has the page open and is not signed in."""
    visitor = await browse(name)
    visitor.expects(OF_THE_PROVIDER)
    await visitor.context.route(FAR, lambda route: route.fulfill(content_type="text/css", body=""))
    await visitor.page.goto(site.url)
    await expect(visitor.find("provider", name="npm")).to_have_text("Sign in with the provider")
    return visitor


async def test_a_window_of_the_provider_signs_the_page_in(site: HubProcess, browse: Visit) -> None:
    ada = await signed_out(browse, site, "ada")
    async with ada.page.expect_popup() as opened:
        await ada.find("provider", name="npm").click()
    window = await opened.value
    addresses: list[str] = []
    window.on("framenavigated", lambda frame: addresses.append(frame.url))
    await at_the_provider(window, "ada")
    await ada.is_live()
    assert window.is_closed()
    await expect(ada.find("event-title")).to_have_text("Sync")
    await expect(ada.find("signout")).to_have_attribute("title", "Sign out Ada of the provider")
    assert "#" not in ada.page.url.replace("#event=", "")
    assert not [address for address in addresses if "aec_" in address], "no code of the hub in an address"
    assert await ada.context.cookies(site.url) == [] or all(
        cookie["name"] != "aether_oidc" for cookie in await ada.context.cookies(site.url)
    )
    await ada.page.reload()
    await ada.is_live()


async def test_a_browser_that_is_led_there_and_back_is_signed_in(site: HubProcess, browse: Visit) -> None:
    bob = await signed_out(browse, site, "bob")
    await bob.page.goto(f"{site.url}/auth/oidc/npm/start")
    await at_the_provider(bob.page, "bob")
    await bob.is_live()
    await expect(bob.find("signout")).to_have_attribute("title", "Sign out Bob of the provider")
    assert "signin" not in bob.page.url
    await bob.page.go_back()
    assert "code=" not in bob.page.url, "what the provider gave is no step back"


async def test_who_is_refused_is_told_in_the_page_what_to_do(site: HubProcess, browse: Visit) -> None:
    mallory = await signed_out(browse, site, "mallory")
    mallory.expects(FORBIDDEN)
    async with mallory.page.expect_popup() as opened:
        await mallory.find("provider", name="npm").click()
    await at_the_provider(await opened.value, "mallory")
    await expect(mallory.find("signin-error")).to_contain_text("verify it there, then begin again")
    await expect(mallory.find("provider", name="npm")).to_be_enabled()

    async with mallory.page.expect_popup() as opened:
        await mallory.find("provider", name="npm").click()
    await (await opened.value).close()
    await expect(mallory.find("signin-error")).to_contain_text("The window was closed before you were signed in.")

    await mallory.page.goto(f"{site.url}/auth/oidc/npm/callback?code=x&state=y")
    await expect(mallory.page.locator("h1")).to_have_text("You were not signed in")
    await expect(mallory.page.locator("#words")).to_contain_text("This browser has begun no sign-in")
    assert "code=" not in mallory.page.url
    await mallory.page.locator("#back").click()
    await expect(mallory.find("signin")).to_be_visible()


@pytest.fixture
async def anybody(site: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A browser as far as redirects and cookies go."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.mark.parametrize(
    "change",
    [("code_challenge_method=S256", "code_challenge_method=plain"), ("code_challenge_method=S256", "x=y")],
    ids=["plain", "none"],
)
async def test_the_provider_takes_no_other_challenge_on_the_way(
    site: HubProcess, anybody: httpx.AsyncClient, change: tuple[str, str]
) -> None:
    start = await anybody.get(f"{site.url}/auth/oidc/npm/start")
    away = start.headers["location"]
    changed = away.replace(*change)
    assert changed != away
    refused = await anybody.get(changed)
    assert "error=invalid_request" in refused.headers["location"]
    back = await asyncio.wait_for(anybody.get(refused.headers["location"]), 10)
    assert back.status_code == 403
    assert 'data-error="access.denied"' in back.text
