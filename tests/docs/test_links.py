"""What the pages refer to exists: files, headings, paths in backticks, decisions that the code names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.tour import REPOSITORY

PAGES = sorted(
    path.relative_to(REPOSITORY)
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "clients/*/README.md",
        "console/*.md",
        "examples/**/*.md",
        "benchmarks/*.md",
    )
    for path in REPOSITORY.glob(pattern)
)
RECORDS = sorted((REPOSITORY / "docs" / "decisions").glob("[0-9]*.md"))
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`")
_ROOMS = (
    "hub/",
    "channels/",
    "handlers/",
    "storage/",
    "packs/",
    "clients/",
    "console/",
    "tests/",
    "docs/",
    "scripts/",
    "examples/",
)
"""What begins so is a path of this repository."""


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCED.sub("", (REPOSITORY / page).read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the fragments that a page's headings make, as forges make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


def targets(page: Path) -> list[str]:
    """Return what a page links to within the repository."""
    return [t for t in _LINK.findall(prose(page)) if not re.match(r"[a-z]+:", t)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in targets(page):
        name, _, fragment = target.partition("#")
        file = (REPOSITORY / page.parent / unquote(name)).resolve() if name else REPOSITORY / page
        assert file.exists(), f"{page} links to {target}"
        assert file.is_relative_to(REPOSITORY), f"{page} links out of the repository: {target}"
        if fragment:
            assert fragment in anchors(file.relative_to(REPOSITORY)), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_path_in_backticks_is_there(page: Path) -> None:
    for path in _PATH.findall(prose(page)):
        if path.startswith(_ROOMS):
            assert (REPOSITORY / path).exists(), f"{page} names {path}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [Path("README.md")]
    while ahead:
        page = ahead.pop()
        if page in seen or page not in PAGES:
            continue
        seen.add(page)
        for target in targets(page):
            file = (REPOSITORY / page.parent / target.partition("#")[0]).resolve()
            ahead.append(file.relative_to(REPOSITORY))
    assert {page for page in PAGES if page.parts[0] == "docs"} <= seen


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_decision_fits_on_a_page_and_has_its_four_parts(record: Path) -> None:
    text = record.read_text("utf-8")
    assert text.startswith(f"# {record.name[:4]}. ")
    assert re.findall(r"^## (.+)$", text, re.M) == ["Context", "Options", "Decision", "Consequences"]
    assert text.count("\n") <= 60


def test_the_list_of_decisions_is_whole_and_the_code_names_none_that_is_not_there() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert numbers == [f"{n + 1:04}" for n in range(len(numbers))]
    listed = re.findall(r"^\| \[(\d{4})\]", prose(Path("docs/decisions/README.md")), re.M)
    assert listed == numbers
    for room in ("hub", "channels", "handlers", "storage", "packs", "clients"):
        for source in (REPOSITORY / room).rglob("*.py"):
            for number in re.findall(r"[Dd]ecision (\d{4})", source.read_text("utf-8")):
                assert number in numbers, f"{source} names decision {number}"


def test_a_broken_link_would_be_noticed() -> None:
    assert "not-in-this-version" in anchors(Path("docs/wire.md"))
    assert "not-in-that-version" not in anchors(Path("docs/wire.md"))
