"""What an import tells on the terminal."""

from __future__ import annotations

from hub import DeleteRecord
from packs.events import Problem, Programme, render, warning_lines
from packs.events.import_summary import MOST_NAMED, Summary
from packs.events.programme import SessionEntry
from packs.events.records import EventPresenter
from tests.packs.conference import change, conference, delete, imported
from tests.packs.desk import Desk


def test_a_first_import_tells_what_was_created() -> None:
    lines = render(imported(Desk(), conference()).summary).splitlines()
    assert lines[0] == "Conf: 11 created"
    assert lines[1:] == [
        "  event:      1 created",
        "  locations:  2 created",
        "  tracks:     1 created",
        "  persons:    2 created",
        "  sessions:   2 created",
        "  presenters: 3 created",
    ]


def test_an_import_without_changes_says_so() -> None:
    desk = Desk()
    imported(desk, conference())
    lines = render(imported(desk, conference()).summary).splitlines()
    assert lines[0] == "Conf: nothing to write, the hub already holds this programme"
    assert lines[5] == "  sessions:   2 unchanged"


def test_edits_that_stayed_or_gave_way_are_named() -> None:
    desk = Desk()
    imported(desk, conference())
    change(desk, "event_session", {"title": "Ours", "subtitle": "ours"}, guid="a")
    newer = [
        SessionEntry(guid="a", title="Grand opening", location="Curie", track="Art"),
        SessionEntry(guid="b", title="Closing", location="Meitner"),
    ]
    text = render(imported(desk, conference(sessions=newer)).summary)
    assert "  edited in the hub, the edit stays:\n    session “Ours” (subtitle)\n" in text
    assert "  edited in the hub, but newer in the source: overwritten:\n    session “Ours” (title)" in text
    assert "  sessions:   1 updated, 1 unchanged" in text


def test_what_went_is_counted() -> None:
    desk = Desk()
    imported(desk, conference())
    text = render(imported(desk, Programme(event=conference().event)).summary)
    assert text.splitlines()[0] == "Conf: 10 deleted, 1 unchanged"


def test_long_lists_are_cut_and_counted() -> None:
    warnings = [Problem("odd", f"a[{n}]") for n in range(MOST_NAMED + 5)]
    lines = warning_lines(warnings, unlisted=7)
    assert lines[0] == "warning: a[0]: odd"
    assert lines[-1] == "warning: and 12 more"
    assert len(lines) == MOST_NAMED + 1
    summary = Summary(title="Conf", writes=1)
    for n in range(30):
        summary.count("event_session").kept += 1
        summary.name("kept", "event_session", f"Session {n}", "title")
    lines = render(summary).splitlines()
    assert lines[-2:] == ["    session “Session 19” (title)", "    and 10 more"]
    assert max(map(len, lines)) < 100


def test_what_was_deleted_in_the_hub_is_explained() -> None:
    desk = Desk()
    imported(desk, conference())
    for presenter in desk.records("event_presenter"):
        if presenter["session_id"] == desk.the("event_session", guid="a")["id"]:
            desk.commit([DeleteRecord(EventPresenter, presenter["id"])])
    delete(desk, "event_session", guid="a")
    lines = render(imported(desk, conference()).summary).splitlines()
    assert lines[0] == "Conf: nothing to write, the hub already holds all of this programme but the 3 deleted in it"
    assert "  sessions:   1 unchanged, 1 deleted in the hub" in lines
    assert lines[-4:] == [
        "  deleted in the hub, stays so until it changes in the source:",
        "    session “Opening”",
        "    presenter “Ada in Opening”",
        "    presenter “Grace in Opening”",
    ]
