"""What a sorted window shows after any changes, and the events that say so: pure, held to sorting everything anew."""

from __future__ import annotations

from random import Random

import pytest

from channels import windows
from channels.windows import Window
from hub.schema.query import parse_order, sort_images
from hub.schema.record import Image
from tests.channels.scene import EVENT, Message

TEXTS = (None, "", "a", "A", "ab", "z", "ß", "ss", "ﬁ", "日本", "\ue000", "😀")


def apply(shown: dict[str, Image], events: list[Message]) -> dict[str, Image]:
    """Return what a client holds after events; fail where one does not fit."""
    held = dict(shown)
    for event in events:
        if event["kind"] == "enter":
            assert event["rec"] not in held
            held[event["rec"]] = event["record"]
        elif event["kind"] == "leave":
            del held[event["rec"]]
        else:
            assert event["version"] > held[event["rec"]]["version"]
            held[event["rec"]] = {**held[event["rec"]], **event["patch"], "version": event["version"]}
    return held


@pytest.mark.parametrize("order", [["t"], ["-t"], ["n", "-t"], ["-n", "t"], ["-id"], ["t", "id", "n"]])
def test_after_any_changes_the_first_in_order_are_shown(order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LEAST_RESERVE", 2)
    rng = Random("".join(order))

    class Kind:
        """A type with a text and a number."""

        name, sortable = "kind", frozenset({"t", "n", "id"})

    keys = parse_order(Kind, order)  # type: ignore[arg-type]  # all that is looked at
    for limit in (1, 3, 8):
        made, records, held, fills = Window(keys, limit), dict[str, Image](), dict[str, Image](), 0
        made.fill([], more=False)
        for step in range(600):
            for _ in range(rng.choice((1, 1, 1, 6))):
                rec = str(rng.randrange(30))
                # Stretches in which nearly everything is deleted, and stretches in which it comes back.
                if rng.random() < (0.8 if step // 50 % 2 else 0.2):
                    records.pop(rec, None)
                else:
                    version = step * 10 + rng.randrange(10)
                    records[rec] = {"id": rec, "version": version, "t": rng.choice(TEXTS), "n": rng.randrange(3)}
                made.put(rec, records.get(rec))
            wanted = sort_images(list(records.values()), keys)
            if made.dry:
                fills += 1
                made.fill(wanted[: made.capacity], more=len(wanted) > made.capacity)
            held = apply(held, made.tell({}))
            assert list(made.shown) == [image["id"] for image in wanted[:limit]]
            assert held == made.shown
        assert fills > 0


def test_a_change_behind_what_is_shown_touches_nothing() -> None:
    made = Window(parse_order(EVENT, ["title"]), 2)
    made.fill([{"id": str(n), "version": 1, "title": str(n)} for n in range(10)], more=True)
    assert [event["kind"] for event in made.tell({})] == ["enter", "enter"]
    assert not made.put("5", {"id": "5", "version": 2, "title": "5"})
    assert not made.put("far", {"id": "far", "version": 1, "title": "x"})
    assert made.put("5", {"id": "5", "version": 3, "title": "0"})
    assert made.tell({}) == [
        {"kind": "leave", "rec": "1", "why": "window", "version": 1},
        {"kind": "enter", "rec": "5", "record": {"id": "5", "version": 3, "title": "0"}},
    ]


def test_a_patch_knows_true_from_one() -> None:
    before = {"version": 1, "flag": [1], "deep": {"a": True}, "same": [1, "x"], "gone": 1}
    after = {"version": 2, "flag": [True], "deep": {"a": 1}, "same": [1, "x"], "gone": None}
    assert windows.patch(before, after) == {"flag": [True], "deep": {"a": 1}, "gone": None}
