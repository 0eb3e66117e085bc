"""One person's browser: the page, what is on it, and everything that its log says."""

from __future__ import annotations

import re
from typing import Any, Final

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

WAIT_MS: Final = 10_000
BACK_MS: Final = 20_000
"""How long a page may take to be back after its hub is: between its tries are up to 5 seconds."""

# Tells of violations of the page's policy in the log, and keeps who was shown as changed by somebody else.
_BEFORE_THE_PAGE: Final = """
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  console.error(`policy: ${violatedDirective} ${blockedURI}`));
window.flashed = new Set();
new MutationObserver((changes) => {
  for (const { target } of changes) if (target.dataset.changed === "true") window.flashed.add(target.dataset.id);
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-changed"] });
"""

# What each card says to a reader, and where it stands.
_CARDS: Final = """
() => Object.fromEntries([...document.querySelectorAll("[data-testid=session-card]")].map((card) => [card.dataset.id, [
  ...[...card.querySelectorAll(
    ".card-time, .card-room, .chip, .card-open, .card-people, .card-subtitle, .card-snippet",
  )].map(({ textContent }) => textContent),
  card.style.getPropertyValue("--column"), card.style.getPropertyValue("--top"),
]]))
"""

NETWORK: Final = re.compile(r"WebSocket connection to '\S+' failed|net::ERR_(CONNECTION_\w+|EMPTY_RESPONSE|SOCKET_\w+)")
"""What a browser says while the hub is away."""
REFUSED: Final = re.compile(r"the server responded with a status of 401")
"""What a browser says when a sign-in is refused."""


class Visitor:
    """A page in a context of its own. `log` holds warnings, errors, uncaught exceptions and failed requests."""

    def __init__(self, context: BrowserContext, page: Page, name: str) -> None:
        self.context, self.page, self.name = context, page, name
        self.log: list[str] = []
        self.expected: list[re.Pattern[str]] = []
        self.listen(page)

    @classmethod
    async def open(cls, context: BrowserContext, name: str) -> Visitor:
        """Return a visitor with an empty page."""
        context.set_default_timeout(WAIT_MS)
        await context.add_init_script(_BEFORE_THE_PAGE)
        return cls(context, await context.new_page(), name)

    def listen(self, page: Page) -> None:
        """Keep what a page's log says."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.log.append(f"uncaught: {error.message}\n{error.stack}"))
        page.on("requestfailed", self._failed)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            self.log.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _failed(self, request: Request) -> None:
        if request.failure == "net::ERR_ABORTED":
            return  # a page that is left gives up what it asked for
        self.log.append(f"failed: {request.method} {request.url} {request.failure}")

    def expects(self, *patterns: re.Pattern[str]) -> None:
        """Allow lines of the log that belong to what the test does."""
        self.expected.extend(patterns)

    def check_log(self) -> None:
        """Fail where the log says what nobody expects."""
        unexpected = [line for line in self.log if not any(pattern.search(line) for pattern in self.expected)]
        assert unexpected == [], f"the browser of {self.name} says: {unexpected}"

    # -- what is on the page ---------------------------------------------------------------------------

    def find(self, testid: str, **data: str) -> Locator:
        """Return what has a test id, and `data-` attributes where given."""
        more = "".join(f'[data-{name}="{value}"]' for name, value in data.items())
        return self.page.locator(f'[data-testid="{testid}"]{more}')

    def card(self, rec: str) -> Locator:
        """Return the title on the card of a talk."""
        return self.find("session-card", id=rec).locator('[data-testid="card-title"]')

    async def cards(self) -> dict[str, Any]:
        """Return what every card on the page says, by the talk's id."""
        found: dict[str, Any] = await self.page.evaluate(_CARDS)
        return found

    async def flashed(self) -> set[str]:
        """Return the talks that were shown as changed by somebody else since the last call."""
        found = await self.page.evaluate("() => { const all = [...flashed]; flashed.clear(); return all; }")
        return set(found)

    async def is_live(self, within: int = WAIT_MS) -> None:
        """Wait until the page is connected and signed in."""
        await expect(self.find("connection")).to_have_attribute("data-state", "live", timeout=within)

    async def is_away(self) -> None:
        """Wait until the page says that it has lost its hub."""
        away = re.compile("reconnecting|offline")
        await expect(self.find("connection")).to_have_attribute("data-state", away, timeout=WAIT_MS)

    # -- what a person does ----------------------------------------------------------------------------

    async def sign_in(self, link: str) -> None:
        """Open a sign-in link and wait for the programme."""
        await self.page.goto(link)
        await self.is_live()
        await expect(self.find("session-card").first).to_be_visible(timeout=WAIT_MS)

    async def go_to(self, day: str) -> None:
        """Choose a day."""
        await self.find("day-tab", day=day).click()
        await expect(self.find("day-tab", day=day)).to_have_attribute("aria-selected", "true")

    async def begin_title(self, rec: str, title: str) -> None:
        """Open a talk and type another title, without saving it."""
        await self.card(rec).click()
        await self.begin_again(title)

    async def begin_again(self, title: str) -> None:
        """Type another title for the open talk, without saving it."""
        await self.find("title-edit").click()
        await self.find("title-input").fill(title)

    async def take_over(self, title: str) -> None:
        """Give the open talk, which somebody else edits, another title."""
        await self.find("title-take-over").click()
        await self.find("title-input").fill(title)
        await self.find("title-input").press("Enter")
        await expect(self.find("drawer-title")).to_have_text(title)

    async def retitle(self, rec: str, title: str) -> None:
        """Give a talk another title."""
        await self.begin_title(rec, title)
        await self.find("title-input").press("Enter")
        await expect(self.find("drawer-title")).to_have_text(title)
