"""What a wrong value is answered: sentences for people, never the words of our libraries."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from hub.wire.codec import JSON, Undecodable, refine
from hub.wire.sentences import in_words


class Talk(msgspec.Struct, forbid_unknown_fields=True):
    """Something to be wrong about."""

    title: Annotated[str, Meta(min_length=1, max_length=500)] | msgspec.UnsetType | None = msgspec.UNSET
    seats: Annotated[int, Meta(ge=1, le=10_000)] = 1
    price: Annotated[float, Meta(gt=0)] = 1.0
    tags: Annotated[list[Annotated[str, Meta(max_length=3)]], Meta(max_length=2)] = []
    languages: Annotated[list[str], Meta(min_length=2)] = []
    pair: tuple[int, int] = (1, 2)
    extra: dict[str, int] = {}
    open: bool = True
    mode: Literal["wait", "background"] = "wait"
    begins: Annotated[datetime, Meta(tz=True)] | None = None
    day: date | None = None
    steps: Annotated[int, Meta(multiple_of=5)] = 5
    slug: Annotated[str, Meta(pattern="^[a-z]+$")] = "a"
    either: int | str = 1


CASES: list[tuple[str, Any, str]] = [
    ("title", "x" * 501, "Text has at most 500 characters here; shorten it."),
    ("title", "", "Text may not be empty here."),
    ("title", 5, "Text or null is expected here, not a whole number."),
    ("seats", "5", "A whole number is expected here, not text."),
    ("seats", None, "A whole number is expected here; null is not possible."),
    ("seats", 5.5, "A whole number is expected here, not a number with decimals."),
    ("seats", True, "A whole number is expected here, not true or false."),
    ("seats", 0, "A number of at least 1 is expected here."),
    ("seats", 10_001, "A number of at most 10,000 is expected here."),
    ("price", 0, "A number of more than 0 is expected here."),
    ("tags", "x", "A list is expected here, not text."),
    ("tags", ["a", "b", "c"], "A list has at most 2 items here; shorten it."),
    ("languages", [], "A list has at least 2 items here."),
    ("pair", [1], "A list of 2 items is expected here, not of 1."),
    ("extra", [], "An object is expected here, not a list."),
    ("open", {}, "True or false is expected here, not an object."),
    ("mode", "later", "'later' is not possible here; send background or wait."),
    ("begins", "soon", "A time such as 2026-11-21T08:54:49.123Z is expected here."),
    ("begins", "2026-11-21T08:54:49", "A time needs its zone here, such as Z or +02:00 at its end."),
    ("day", "soon", "A date such as 2026-11-21 is expected here."),
    ("steps", 7, "A multiple of 5 is expected here."),
    ("slug", "ÄÖ", "This text has not the form it needs."),
    ("either", [], "A whole number or text is expected here, not a list."),
    ("either", 1.5, "A whole number or text is expected here, not a number with decimals."),
    ("colour", 1, "There is no such field; remove it."),
]


def refusal(data: dict[str, Any]) -> tuple[str, str | None, str]:
    """Return code, path and sentence that wrong data is answered."""
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(data, Talk)
    error = refine(raised.value, prefix="data", kind=Talk)
    return error.code, error.path, error.message


@pytest.mark.parametrize(("field", "value", "sentence"), CASES)
def test_a_wrong_value_is_answered_with_a_sentence_and_its_path(field: str, value: Any, sentence: str) -> None:
    assert refusal({field: value}) == ("data.invalid", f"data.{field}", sentence)


def test_the_path_leads_into_lists_and_objects() -> None:
    longer = "Text has at most 3 characters here; shorten it."
    assert refusal({"tags": ["a", "long"]}) == ("data.invalid", "data.tags.1", longer)
    assert refusal({"extra": {"a": "b"}})[1:] == ("data.extra.*", "A whole number is expected here, not text.")


class Hall(msgspec.Struct):
    """Something that holds others."""

    talks: list[Talk] = []
    by_day: dict[str, Literal["full", "free"] | None] = {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"talks": [{}, {"mode": "x"}]}, "'x' is not possible here; send background or wait."),
        ({"by_day": {"a": "x"}}, "'x' is not possible here; send free or full."),
    ],
)
def test_what_is_possible_is_listed_wherever_it_stands(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(data, Hall)
    assert refine(raised.value, kind=Hall).message == sentence
    assert refine(raised.value).message == "'x' is not one of the values that are possible here."


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'{"a": "\ud83d", "b": 1}', r'"\ude00 there"', r'"\\\ud800"', r'["\ud83d\ude00", "\ud800"]']
)
def test_half_a_surrogate_pair_is_called_that(text: str) -> None:
    for frame in (text, text.encode()):
        with pytest.raises(Undecodable, match="one half of a surrogate pair"):
            JSON.decode(frame)


@pytest.mark.parametrize("text", [r'"\ud83d\ude00', r'"\\ud800', '"a'])
def test_a_frame_that_only_breaks_off_is_not_called_that(text: str) -> None:
    with pytest.raises(Undecodable, match="truncated"):
        JSON.decode(text)


def test_a_long_value_is_repeated_only_in_part() -> None:
    assert len(refusal({"mode": "x" * 10_000})[2]) < 200


def test_a_problem_in_words_of_our_own_stays_as_it_is() -> None:
    assert in_words("MessagePack extension type 5 is not used on this wire") == (
        "MessagePack extension type 5 is not used on this wire."
    )
    assert in_words("Extensions are not used here.") == "Extensions are not used here."
