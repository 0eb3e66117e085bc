"""The examples as somebody runs them who reads examples/README.md: two pages in Chromium, and three programs."""

from __future__ import annotations

import functools
import http.server
import os
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.clients.real_hub_harness import HubProcess

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 30.0


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """Serve the repository, as `python -m http.server` does; return the origin."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(REPOSITORY))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def hub(pages: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("examples"), origins=pages)
    yield process
    process.kill()


@pytest.fixture(scope="module")
def keys(hub: HubProcess) -> dict[str, str]:
    return {name: hub.member(name)[0] for name in ("Ada", "Ben")}


@asynccontextmanager
async def opened(browser: Browser, address: str, key: str) -> AsyncIterator[Page]:
    """Open an example in a browser of its own and come in; nothing may go wrong there."""
    context = await browser.new_context(viewport={"width": 800, "height": 600})
    troubles: list[str] = []
    page = await context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    await page.goto(address)
    await page.locator("[name=key]").fill(key)
    await page.locator("button").click()
    yield page
    await context.close()
    assert [trouble for trouble in troubles if "favicon" not in trouble and "404" not in trouble] == []


@pytest.mark.asyncio(loop_scope="session")
async def test_the_whiteboard_shows_pointers_and_lines_of_others(
    hub: HubProcess, keys: dict[str, str], pages: str, browser: Browser
) -> None:
    address = f"{pages}/examples/whiteboard.html?hub=ws://127.0.0.1:{hub.port}/ws"
    async with opened(browser, address, keys["Ada"]) as ada, opened(browser, address, keys["Ben"]) as ben:
        for page in (ada, ben):
            await expect(page.locator("output")).to_have_text("online")
        await ada.mouse.move(100, 100)
        pointer = ben.locator(".cursor")
        await expect(pointer).to_have_count(1)
        await ada.mouse.down()
        await ada.mouse.move(400, 300, steps=5)
        await expect(pointer).to_have_css("left", "400px")
        await expect(pointer).to_have_css("top", "300px")
        await expect(ben.locator("output")).to_have_text("1 others")
        drawn = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 800, 600).data.some(Boolean)"
        await ben.wait_for_function(drawn)
        await expect(ada.locator(".cursor")).to_have_count(0)  # one does not hear oneself


@pytest.mark.asyncio(loop_scope="session")
async def test_the_list_shows_who_is_online_and_what_they_do(
    hub: HubProcess, keys: dict[str, str], pages: str, browser: Browser
) -> None:
    address = f"{pages}/examples/online.html?hub=ws://127.0.0.1:{hub.port}/ws"
    async with opened(browser, address, keys["Ada"]) as ada:
        async with opened(browser, address, keys["Ben"]) as ben:
            await expect(ada.locator("li")).to_have_count(2)
            await expect(ada.locator("li").last).to_contain_text("Ben")
            await ben.locator("[name=doing]").fill("<b>reading</b>")
            await expect(ada.locator("li").last.locator("small")).to_have_text("<b>reading</b>")
            await expect(ada.locator("li").last).to_have_attribute("data-status", "active")
        await expect(ada.locator("li")).to_have_count(1)  # a page that is closed well leaves at once
        await expect(ada.locator("li")).to_contain_text("Ada")


class Program:
    """One of the podium's programs, and what it prints."""

    def __init__(self, hub: HubProcess, key: str, *words: str) -> None:
        command = [sys.executable, str(REPOSITORY / "examples/podium.py"), "--url", hub.url, *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "AETHER_TOKEN": key}
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip())

    def prints(self, text: str) -> None:
        """Wait for a line with a text; those before it are passed over."""
        while text not in self._lines.get(timeout=SECONDS):
            pass

    def say(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """End it, where it has not ended by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            return self.process.wait(5)
        finally:
            self.process.kill()
            self.process.wait()


def test_a_controller_tells_two_launchers_what_to_show(hub: HubProcess, keys: dict[str, str]) -> None:
    left, right = Program(hub, keys["Ada"], "launcher", "left"), Program(hub, keys["Ben"], "launcher", "right")
    left.prints("nothing")
    right.prints("nothing")
    control = Program(hub, hub.key(), "control")
    try:
        control.prints("Say: who")
        control.say("next left")
        control.prints("left: No file is open.")
        control.say("open all slides.pdf")
        left.prints("[left] slides.pdf, page 1")
        right.prints("[right] slides.pdf, page 1")
        control.prints("right: {'file': 'slides.pdf', 'page': 1}")
        control.say("next left")
        left.prints("[left] slides.pdf, page 2")
        control.say("identify right")
        right.prints("*** this is right")
        control.say("who")
        control.prints("left: active, slides.pdf")
        control.prints("right: active, slides.pdf")
        control.say("next nobody")
        control.prints("nobody: is not here")
        control.say("quit")
        assert control.end() == 0
    finally:
        for program in (left, right, control):
            program.process.kill()
            program.process.wait()
            if program.process.stdin is not None:
                program.process.stdin.close()


def test_each_example_fits_on_a_page_or_two() -> None:
    for name in ("whiteboard.html", "online.html", "podium.py"):
        assert len((REPOSITORY / "examples" / name).read_text().splitlines()) < 100, name
