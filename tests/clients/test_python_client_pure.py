"""The pure parts of the client: live sets, waits, close codes, addresses, the book of requests."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_client.address import parse_address
from aether_client.backoff import Backoff
from aether_client.closing import final_error, verdict
from aether_client.codec import CODECS, BadFrame
from aether_client.errors import AddressError, HubError
from aether_client.liveset import Change, LiveSet, in_order, merge
from aether_client.requests import Answer, Requests, repeat_of, unanswered
from hub.schema.query import SortKey, sort_images

Records = dict[str, dict[str, Any]]


class Truth:
    """What a hub holds: every state of the watched records, one per commit."""

    def __init__(self) -> None:
        self.states: list[Records] = [{}]
        self.events: list[list[dict[str, Any]]] = [[]]

    @property
    def seq(self) -> int:
        return len(self.states) - 1

    def commit(self, wanted: dict[str, int | None]) -> None:
        """Give records a new value, or take them away."""
        state = dict(self.states[-1])
        events: list[dict[str, Any]] = []
        for rec, value in wanted.items():
            before = state.get(rec)
            if value is None and before is not None:
                del state[rec]
                events.append({"kind": "leave", "rec": rec, "why": "deleted"})
            elif value is not None and before is None:
                state[rec] = {"id": rec, "version": self.seq + 1, "value": value, "same": "x"}
                events.append({"kind": "enter", "rec": rec, "record": state[rec]})
            elif value is not None and before is not None:
                state[rec] = {**before, "version": self.seq + 1, "value": value}
                patch = {"value": value}
                events.append({"kind": "update", "rec": rec, "patch": patch, "version": self.seq + 1})
        self.states.append(state)
        self.events.append(events)

    def push(self, seq: int) -> dict[str, Any]:
        return {"op": "change", "watch": "w", "seq": seq, "origin": "s", "events": copy.deepcopy(self.events[seq])}

    def missed(self, since: int) -> list[dict[str, Any]]:
        return [self.push(seq) for seq in range(since + 1, self.seq + 1) if self.events[seq]]


def _follow(mirror: Records, changes: list[Change]) -> None:
    """Apply what a reader is told."""
    for change in changes:
        for record in change.entered:
            assert record["id"] not in mirror
            mirror[record["id"]] = record
        for before, after in change.updated:
            assert mirror[before["id"]] == before
            mirror[before["id"]] = after
        for record in change.left:
            assert mirror.pop(record["id"]) == record


COMMITS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3) | st.none(), min_size=1, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), COMMITS),
        st.tuples(st.sampled_from(["cut", "twice", "old", "reset", "beat", "forget", "page"]), st.none()),
    ),
    max_size=30,
)


@given(STEPS, st.integers(1, 3))
def test_a_live_set_equals_the_truth_whatever_happens_and_tells_each_change_once(
    steps: list[tuple[str, Any]], page_size: int
) -> None:
    truth = Truth()
    mirror: Records = {}
    live = LiveSet({"type": "note"})
    pages: list[dict[str, Any]] = []
    can_resume = True
    commits_told: list[int] = []

    def tell(changes: list[Change]) -> None:
        _follow(mirror, changes)
        commits_told.extend(change.seq for change in changes if change.kind == "change")
        assert commits_told == sorted(set(commits_told)), "a commit was told twice, or out of order"

    def start() -> None:
        nonlocal can_resume
        since = live.begin().get("since")
        pages.clear()
        if since is not None and can_resume:
            data: dict[str, Any] = {"resumed": True, "events": truth.missed(since["seq"])}
        else:
            records = list(truth.states[-1].values())
            rest = [records[at : at + page_size] for at in range(page_size, len(records), page_size)]
            pages.extend({"records": page, "last": page is rest[-1]} for page in rest)
            data = {"resumed": False, "records": records[:page_size], "more": bool(rest)}
        can_resume = True
        tell(live.started({"watch": "w", "mark": "m", "seq": truth.seq, **data}))

    def all_pages() -> None:
        while pages:
            tell(live.snapshot(pages.pop(0)))

    start()
    for step, commits in steps:
        if step == "commit":
            truth.commit(commits)
            if truth.events[-1]:
                tell(live.change(truth.push(truth.seq)))
        elif step == "twice" and truth.events[-1]:
            tell(live.change(truth.push(truth.seq)))
        elif step == "old" and live.phase == "live":
            for seq in range(1, truth.seq + 1):
                tell(live.change(truth.push(seq)))
        elif step == "beat":
            live.horizon(truth.seq)
        elif step == "page" and pages:
            tell(live.snapshot(pages.pop(0)))
        elif step in ("cut", "forget"):
            live.lost()
            can_resume = step == "cut"
            truth.commit({"d": truth.seq})
            start()
        elif step == "reset":
            live.reset()
            start()
        if not pages:
            assert live.records == truth.states[-1] == mirror
    all_pages()
    assert live.records == truth.states[-1] == mirror
    assert not live.astray


def test_an_update_of_an_unknown_record_asks_for_a_snapshot_and_changes_nothing() -> None:
    live = LiveSet({"type": "note"})
    live.started({"watch": "w", "mark": "m", "seq": 1, "resumed": False, "records": []})
    event = {"kind": "update", "rec": "a", "patch": {}, "version": 2}
    assert live.change({"seq": 2, "events": [event]}) == []
    assert live.astray
    assert live.seq == 1


def test_a_window_resumes_with_what_it_has_and_a_large_one_starts_again() -> None:
    live = LiveSet({"type": "note", "limit": 600})
    records = [{"id": str(n), "version": 1} for n in range(501)]
    live.started({"watch": "w", "mark": "m", "seq": 1, "resumed": False, "records": records[:2]})
    assert live.begin()["since"] == {"mark": "m", "seq": 1, "have": {"0": 1, "1": 1}}
    live.reset()
    live.started({"watch": "w", "mark": "m", "seq": 1, "resumed": False, "records": records})
    assert "since" not in live.begin()


TEXTS = (None, "", "a", "B", "ab", "\ue000", "😀", "ß")


@given(
    st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from((None, -1, 0, 2.5)), st.booleans()), max_size=12),
    st.lists(st.sampled_from(("t", "-t", "n", "-n", "b", "-b", "-id")), max_size=3, unique_by=lambda key: key[-1]),
)
def test_the_content_is_in_the_order_of_the_hub(rows: list[tuple[Any, Any, bool]], order: list[str]) -> None:
    records = [{"id": f"r{n}", "version": 1, "t": t, "n": n_, "b": b} for n, (t, n_, b) in enumerate(rows)]
    keys = [*(SortKey(key.removeprefix("-"), key.startswith("-")) for key in order), SortKey("id")]
    assert in_order(records, order) == sort_images(records, tuple(keys))


def test_a_window_keeps_its_list_in_order_through_every_change() -> None:
    live = LiveSet({"type": "note", "order": ["-title"], "limit": 2})
    records = [{"id": rec, "version": 1, "title": rec} for rec in "ca"]
    live.started({"watch": "w", "mark": "m", "seq": 1, "resumed": False, "records": records})
    assert [record["id"] for record in live.ordered] == ["c", "a"]
    enter = {"kind": "enter", "rec": "b", "record": {"id": "b", "version": 1, "title": "b"}}
    live.change({"seq": 2, "events": [{"kind": "leave", "rec": "a", "why": "window", "version": 1}, enter]})
    assert [record["id"] for record in live.ordered] == ["c", "b"]
    live.change({"seq": 3, "events": [{"kind": "update", "rec": "b", "patch": {"title": "d"}, "version": 4}]})
    assert [record["id"] for record in live.ordered] == ["b", "c"]
    live.lost()
    assert live.begin()["since"]["have"] == {"c": 1, "b": 4}
    seen = live.ordered
    assert live.ordered is seen, "sorted once until it changes"


def test_changes_that_wait_for_pages_are_bounded() -> None:
    live = LiveSet({"type": "note"}, most_later=3)
    live.started({"watch": "w", "mark": "m", "seq": 1, "resumed": False, "records": [], "more": True})
    for seq in range(2, 6):
        live.change({"seq": seq, "events": []})
    assert live.astray


@given(st.lists(COMMITS, min_size=2, max_size=8), st.integers(0, 8))
def test_merged_changes_have_the_effect_of_both(commits: list[dict[str, int | None]], start: int) -> None:
    truth = Truth()
    for commit in commits:
        truth.commit(commit)
    start = min(start, truth.seq - 1)
    live = LiveSet({"type": "note"})
    first = truth.states[start].values()
    live.started({"watch": "w", "mark": "m", "seq": start, "resumed": False, "records": list(first)})
    mirror = dict(live.records)
    told = [change for push in truth.missed(start) for change in live.change(push)]
    while len(told) > 1:
        told[:2] = [merge(told[0], told[1])]
    _follow(mirror, told)
    assert mirror == truth.states[-1]


@given(st.lists(st.floats(0, 0.999), max_size=40))
def test_waits_stay_within_their_bound_and_the_bound_doubles(dice: list[float]) -> None:
    backoff = Backoff(first_seconds=0.5, most_seconds=20.0, dice=iter([*dice, 0.0]).__next__)
    for n, thrown in enumerate(dice):
        assert backoff.lost(0.0) == min(20.0, 0.5 * 2**n) * thrown


def test_only_a_stable_connection_makes_the_next_wait_short() -> None:
    backoff = Backoff(first_seconds=1.0, most_seconds=64.0, stable_seconds=10.0, dice=lambda: 1.0)
    assert [backoff.lost(0.0) for _ in range(3)] == [1.0, 2.0, 4.0]
    backoff.online(100.0)
    assert backoff.lost(105.0) == 8.0
    backoff.online(200.0)
    assert backoff.lost(211.0) == 1.0


@given(st.integers(1000, 4999))
def test_the_range_of_a_close_code_is_obeyed(code: int) -> None:
    stay = code in (1002, 1003, 1007, 1009) or code >= 4500
    assert (verdict(code) == "return") == (not stay)
    if stay:
        assert final_error(code).code in ("auth.invalid", "access.denied")
        assert str(final_error(code))


@pytest.mark.parametrize(
    ("text", "http", "socket"),
    [
        ("http://127.0.0.1:8400", "http://127.0.0.1:8400", "ws://127.0.0.1:8400/ws"),
        ("wss://hub.example/", "https://hub.example", "wss://hub.example/ws"),
        ("ws://hub.example:1/ws", "http://hub.example:1", "ws://hub.example:1/ws"),
        ("https://example.org/deep/", "https://example.org/deep", "wss://example.org/deep/ws"),
        ("HTTP://[::1]:9", "http://[::1]:9", "ws://[::1]:9/ws"),
    ],
)
def test_an_address_may_be_written_in_several_ways(text: str, http: str, socket: str) -> None:
    address = parse_address(text)
    assert (address.http, address.socket, address.unix) == (http, socket, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub",
        "ftp://hub",
        "http://",
        "http://u:p@hub",
        "http://hub?token=x",
        "http://hub#x",
        "http://hub:x",
        "http://[x",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_a_secret(text: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse_address(text)
    assert "token=x" not in str(refused.value)
    assert ":p@" not in str(refused.value)


def test_only_what_is_on_this_machine_is_local() -> None:
    local = ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "var/hub.sock"]
    assert all(parse_address(text).is_local for text in local)
    assert not any(parse_address(text).is_local for text in ["http://hub.example", "http://192.0.2.1"])


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_a_frame_that_holds_no_message_is_said_to_be_bad(name: Any) -> None:
    codec = CODECS[name]
    for value in ([1], "x", {"id": 1}, {"op": 7}, [[{"op": "x"}]]):
        with pytest.raises(BadFrame):
            codec.decode(codec.encode(value))  # type: ignore[arg-type]  # what no client would send
    with pytest.raises(BadFrame):
        codec.decode(b"\xc1\xff")
    assert codec.decode(codec.encode([{"op": "a"}, {"op": "b"}])) == [{"op": "a"}, {"op": "b"}]  # type: ignore[arg-type]


def _nothing(_: Any) -> None:
    pass


def test_a_lost_socket_repeats_reads_and_keyed_writes_and_refuses_the_rest() -> None:
    requests = Requests(new_key=lambda: "k1")
    ops = ["record.find", "record.create", "watch.start", "channel.send", "client.call"]
    entries = {op: requests.add(op, {}, _nothing, _nothing) for op in ops}
    assert entries["record.create"].message["key"] == "k1"
    for op in ops[:-1]:
        requests.mark_sent(entries[op])
    refused = [entry.op for entry in requests.lost()]
    assert refused == ["watch.start", "channel.send"]
    assert [entry.op for entry in requests.unsent()] == ["record.find", "record.create", "client.call"]
    codes = {op: unanswered(entries[op], "x").code for op in ops}
    assert codes == {
        "record.find": "server.unavailable",
        "record.create": "write.unknown",
        "watch.start": "server.unavailable",
        "channel.send": "write.unknown",
        "client.call": "server.unavailable",
    }


def test_a_key_that_was_given_is_kept() -> None:
    requests = Requests(new_key=lambda: "mine")
    assert requests.add("record.create", {"key": "yours"}, _nothing, _nothing).message["key"] == "yours"
    assert repeat_of("presence.roster") == "read"
    assert Answer(1).seq is None
    assert str(HubError("a.b", "No.", path="data.x")) == "No. (a.b at data.x)"
