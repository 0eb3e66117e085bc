"""The page's files as the hub serves them."""

from __future__ import annotations

import httpx
import pytest

from tests.browser.page_hub import PageHub

FILES = ["/", "/console/app.js", "/console/console.css", "/client/index.js", "/console/favicon.svg"]


def fetch(hub: PageHub, path: str, **headers: str) -> httpx.Response:
    """Ask for a path, without following where it leads."""
    return httpx.get(hub.url + path, headers=headers, trust_env=False)


@pytest.mark.parametrize("path", FILES)
def test_a_browser_asks_anew_for_each_file_and_is_told_when_it_has_it(hub: PageHub, path: str) -> None:
    first = fetch(hub, path)
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["content-security-policy"].startswith("default-src 'self';")
    if path != "/":
        again = fetch(hub, path, **{"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"], again.content) == (304, "no-cache", b"")


@pytest.mark.parametrize("path", ["/console", "/console/", "/client/", "/livez/", "/rpc/", "/console/nothing.js"])
def test_an_address_of_nothing_is_refused_and_leads_nowhere(hub: PageHub, path: str) -> None:
    answer = fetch(hub, path, host="evil.example")
    assert (answer.status_code, answer.json()["code"]) == (404, "op.unknown")
    assert "location" not in answer.headers
