"""Chromium and a hub for the whole room; each test gets browsers of its own, whose logs are looked at in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ViewportSize, async_playwright, expect

from tests.browser.page_hub import PageHub
from tests.browser.visitor import BACK_MS, Visitor

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)

expect.set_options(timeout=BACK_MS)  # a page that went without a word is a member for 10 seconds

Visit = Callable[[str], Awaitable[Visitor]]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageHub]:
    """A running hub with the sample programme; at its end its log is looked at."""
    process = PageHub(tmp_path_factory.mktemp("page"))
    try:
        process.import_programme()
        yield process
        process.check_log()
    finally:
        process.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium with a temporary profile. Where there is none, the tests fail."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browse(browser: Browser) -> AsyncIterator[Visit]:
    """Open a browser for somebody who is not signed in."""
    opened: list[Visitor] = []

    async def open_one(name: str) -> Visitor:
        context = await browser.new_context(viewport=DESKTOP, locale="en-GB", timezone_id="Europe/Berlin")
        opened.append(await Visitor.open(context, name))
        return opened[-1]

    yield open_one
    for visitor in opened:
        await visitor.context.close()
    for visitor in opened:
        visitor.check_log()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(hub: PageHub, browse: Visit) -> Visit:
    """Open a browser in which somebody is signed in."""

    async def sign_in(name: str) -> Visitor:
        visitor = await browse(name)
        await visitor.sign_in(await asyncio.to_thread(hub.link, name))
        return visitor

    return sign_in
