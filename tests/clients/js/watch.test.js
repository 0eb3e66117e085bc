import assert from "node:assert/strict";
import { test } from "node:test";
import { byOrder, compareText } from "../../../clients/javascript/index.js";
import { answer, fakeHub } from "./fake.js";

const QUERY = { type: "talk", parent: { type: "event", rec: "e1" } };
const record = (id, title, version = 1) => ({ id, type: "talk", version, title });
const snapshot = (seq, records, more = {}) => ({ watch: "w1", mark: `m${seq}`, seq, resumed: false, records, ...more });

/** A hub with one watch and what it told. */
function watching() {
  const world = fakeHub();
  world.hub.start();
  const peer = world.online();
  const watch = world.hub.watch(QUERY);
  const told = [];
  watch.on("change", (change) => told.push(change));
  const content = () => [...watch.records.values()].map(({ title }) => title);
  return { ...world, peer, watch, told, content };
}

test("a snapshot enters as a whole and changes follow it", () => {
  const { peer, watch, told, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A"), record("b", "B")]), 5);
  assert.ok(watch.ready);
  peer.push({
    op: "change", watch: "w1", seq: 6, origin: "s9",
    events: [
      { kind: "enter", rec: "c", record: record("c", "C") },
      { kind: "update", rec: "a", patch: { title: "A2" }, version: 2 },
      { kind: "leave", rec: "b", why: "deleted" },
    ],
  });
  assert.deepEqual(content(), ["A2", "C"]);
  const change = told.at(-1);
  assert.equal(change.origin, "s9");
  assert.deepEqual(change.entered.map(({ id }) => id), ["c"]);
  assert.deepEqual(change.updated.map(({ before, record: now }) => [before.title, now.title, now.version]), [["A", "A2", 2]]);
  assert.deepEqual(change.left, [{ record: record("b", "B"), why: "deleted" }]);
});

test("pages are waited for, and changes that overtake them are applied after the last", () => {
  const { peer, watch, content } = watching();
  const start = peer.take("watch.start");
  peer.push(
    answer(start, snapshot(5, [record("a", "A")], { more: true }), 5),
    { op: "change", watch: "w1", seq: 6, events: [{ kind: "update", rec: "b", patch: { title: "B2" }, version: 2 }] },
    { op: "snapshot", watch: "w1", records: [record("b", "B")] },
  );
  assert.ok(!watch.ready);
  peer.push({ op: "snapshot", watch: "w1", records: [record("c", "C")], last: true });
  assert.ok(watch.ready);
  assert.deepEqual(content(), ["A", "B2", "C"]);
});

test("what is not above the position is not applied twice", () => {
  const { peer, told, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A", 3)]), 5);
  const push = { op: "change", watch: "w1", seq: 6, events: [{ kind: "update", rec: "a", patch: { title: "A2" }, version: 4 }] };
  peer.push(push, push);
  peer.push({ op: "change", watch: "w1", seq: 4, events: [{ kind: "leave", rec: "a", why: "filter" }] });
  assert.deepEqual(content(), ["A2"]);
  assert.equal(told.length, 2);
});

test("after a lost socket the watch resumes from its position and gets what it missed", () => {
  const { hub, clock, online, peer, told, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A")]), 5);
  hub.create("talk", { title: "B" }).catch(() => {});
  peer.ok(peer.take("record.create"), record("b", "B"), 8); // horizon: nothing up to 8 is owed any more
  peer.close(1006);
  clock.advance(1);
  const next = online();
  const again = next.take("watch.start");
  assert.deepEqual(again.since, { mark: "m5", seq: 8 });
  next.ok(again, {
    watch: "w7", mark: "m9", seq: 10, resumed: true,
    events: [
      { seq: 8, events: [{ kind: "enter", rec: "z", record: record("z", "Z") }] },
      { seq: 9, origin: "s2", events: [{ kind: "update", rec: "a", patch: { title: "A9" }, version: 2 }] },
    ],
  }, 10);
  assert.deepEqual(content(), ["A9"]);
  assert.equal(told.at(-1).origin, "s2");
  next.push({ op: "change", watch: "w7", seq: 10, events: [{ kind: "leave", rec: "a", why: "deleted" }] });
  assert.deepEqual(content(), ["A9"]);
  next.push({ op: "change", watch: "w7", seq: 11, events: [{ kind: "leave", rec: "a", why: "deleted" }] });
  assert.deepEqual(content(), []);
});

test("the answer of a write before the watch has resumed does not move its position", () => {
  const { hub, clock, online, peer } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, []), 5);
  hub.create("talk", { title: "B" }).catch(() => {});
  peer.take("record.create");
  peer.close(1006);
  clock.advance(1);
  const next = online();
  next.ok(next.take("record.create"), record("b", "B"), 6);
  next.ok(next.take("watch.start"), { watch: "w1", mark: "m6", seq: 6, resumed: true, events: [
    { seq: 6, events: [{ kind: "enter", rec: "b", record: record("b", "B") }] },
  ] }, 6);
  assert.deepEqual([...hub.watch(QUERY).records.keys()], ["b"]);
});

test("when resuming is not possible the new snapshot is told as a difference", () => {
  const { clock, online, peer, told, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A"), record("b", "B"), record("c", "C")]), 5);
  peer.close(1006);
  clock.advance(1);
  const next = online();
  next.ok(next.take("watch.start"), snapshot(90, [record("a", "A"), record("b", "B2", 2), record("d", "D")], { why: "expired" }));
  assert.deepEqual(content(), ["A", "B2", "D"]);
  const change = told.at(-1);
  assert.equal(change.kind, "snapshot");
  assert.deepEqual(change.entered.map(({ id }) => id), ["d"]);
  assert.deepEqual(change.updated.map(({ record: now }) => now.title), ["B2"]);
  assert.deepEqual(change.left.map(({ record: gone }) => gone.id), ["c"]);
});

test("a socket lost in the middle of a snapshot leaves the old content and the old position", () => {
  const { clock, online, peer, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A")]), 5);
  peer.push({ op: "reset", watch: "w1", why: "slow" });
  peer.ok(peer.take("watch.start"), snapshot(9, [record("b", "B")], { more: true }), 9);
  peer.close(1006);
  assert.deepEqual(content(), ["A"]);
  clock.advance(1);
  assert.ok(!("since" in online().take("watch.start")));
});

test("reset starts again from a snapshot without showing an empty set", () => {
  const { peer, told, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A")]), 5);
  peer.push({ op: "reset", watch: "w1", why: "slow" });
  assert.deepEqual(content(), ["A"]);
  const again = peer.take("watch.start");
  assert.ok(!("since" in again));
  peer.ok(again, snapshot(9, [record("a", "A")]), 9);
  assert.equal(told.length, 1); // nothing became different, nothing is told
});

test("an update of a record the set does not hold makes it start again", () => {
  const { peer, content } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A")]), 5);
  peer.push({ op: "change", watch: "w1", seq: 6, events: [{ kind: "update", rec: "x", patch: {}, version: 2 }] });
  peer.take("watch.stop");
  peer.ok(peer.take("watch.start"), snapshot(6, [record("a", "A"), record("x", "X", 2)]), 6);
  assert.deepEqual(content(), ["A", "X"]);
});

test("a record that enters and changes in one push is told once, as it is now", () => {
  const { peer, told } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A")]), 5);
  peer.push({ op: "change", watch: "w1", seq: 9, events: [
    { kind: "enter", rec: "b", record: record("b", "B") },
    { kind: "update", rec: "b", patch: { title: "B2" }, version: 2 },
    { kind: "update", rec: "a", patch: { title: "A2" }, version: 2 },
    { kind: "update", rec: "a", patch: { title: "A3" }, version: 3 },
  ] });
  assert.deepEqual(told.at(-1).entered.map(({ title }) => title), ["B2"]);
  assert.deepEqual(told.at(-1).updated.map(({ before, record: now }) => [before.title, now.title]), [["A", "A3"]]);
});

test("the same query is watched once and stopped when nobody holds it", () => {
  const { hub, peer, watch } = watching();
  peer.ok(peer.take("watch.start"), snapshot(5, []), 5);
  const second = hub.watch({ parent: { rec: "e1", type: "event" }, type: "talk" });
  assert.equal(second, watch);
  assert.equal(peer.inbox.length, 0);
  watch.stop();
  assert.equal(peer.inbox.length, 0);
  second.stop();
  assert.equal(peer.take("watch.stop").watch, "w1");
});

test("a watch stopped before its answer is stopped on the hub when it comes", () => {
  const { peer, watch } = watching();
  const start = peer.take("watch.start");
  watch.stop();
  peer.ok(start, snapshot(5, []), 5);
  assert.equal(peer.take("watch.stop").watch, "w1");
});

test("a refused query ends with its error, a passing trouble is tried again", () => {
  const { clock, peer, watch } = watching();
  const errors = [];
  watch.on("error", (error) => errors.push(error.code));
  peer.error(peer.take("watch.start"), "server.unavailable", { retry_after: 3 });
  clock.advance(3);
  peer.error(peer.take("watch.start"), "where.invalid", { path: "where" });
  assert.deepEqual(errors, ["where.invalid"]);
});

test("a view keeps its order through every change", () => {
  const { peer, watch } = watching();
  const view = watch.view(byOrder(["-title"]), ({ title }) => title !== "hidden");
  const titles = () => view.items.map(({ title }) => title);
  peer.ok(peer.take("watch.start"), snapshot(5, [record("a", "A"), record("c", "C"), record("b", "B")]), 5);
  assert.deepEqual(titles(), ["C", "B", "A"]);
  peer.push({ op: "change", watch: "w1", seq: 6, events: [
    { kind: "update", rec: "a", patch: { title: "Z" }, version: 2 },
    { kind: "update", rec: "b", patch: { title: "hidden" }, version: 2 },
    { kind: "enter", rec: "d", record: record("d", "M") },
  ] });
  assert.deepEqual(titles(), ["Z", "M", "C"]);
});

test("a long random history leaves the set and its view equal to the truth", () => {
  const { peer, watch } = watching();
  const view = watch.view(byOrder(["title"]));
  peer.ok(peer.take("watch.start"), snapshot(0, []), 0);
  const truth = new Map();
  let seed = 7;
  const dice = (sides) => { seed = (seed * 48271) % 2147483647; return seed % sides; };
  for (let seq = 1; seq <= 5000; seq += 1) {
    const id = `r${dice(60)}`;
    const title = `t${dice(40)}`;
    const known = truth.get(id);
    const event = known === undefined ? { kind: "enter", rec: id, record: record(id, title, seq) }
      : dice(3) === 0 ? { kind: "leave", rec: id, why: "filter" }
        : { kind: "update", rec: id, patch: { title }, version: seq };
    if (event.kind === "leave") truth.delete(id);
    else truth.set(id, record(id, title, seq));
    peer.push({ op: "change", watch: "w1", seq, events: [event] });
  }
  assert.deepEqual(Object.fromEntries(watch.records), Object.fromEntries(truth));
  assert.deepEqual(view.items, [...truth.values()].sort(byOrder(["title"])));
});

test("text is ordered by code point, not by UTF-16 unit", () => {
  assert.ok(compareText("\u{ff5e}", "\u{1f600}") < 0);
  assert.ok(compareText("a", "ab") < 0);
  assert.ok(compareText("\u{1f600}", "\u{1f601}") < 0);
  assert.equal(compareText("ä", "ä"), 0);
  assert.deepEqual([{ id: "1", n: 2 }, { id: "0", n: null }, { id: "2", n: 1 }].sort(byOrder(["n"])).map(({ id }) => id), ["0", "2", "1"]);
});

test("a window keeps its list in the order of its query through every change, and resumes with what it has", () => {
  const world = fakeHub();
  world.hub.start();
  const peer = world.online();
  const watch = world.hub.watch({ type: "talk", order: ["-title"], limit: 3 });
  const titles = () => watch.items.map(({ title }) => title);
  const first = [record("c", "\u{1f600}"), record("b", "\u{ff5e}"), record("a", null)];
  peer.ok(peer.take("watch.start"), snapshot(5, first), 5);
  assert.deepEqual(titles(), ["\u{1f600}", "\u{ff5e}", null]);
  const seen = watch.items;
  assert.equal(watch.items, seen);
  peer.push({
    op: "change", watch: "w1", seq: 6,
    events: [
      { kind: "leave", rec: "a", why: "window", version: 1 },
      { kind: "enter", rec: "d", record: record("d", "z") },
      { kind: "update", rec: "c", patch: { title: "y" }, version: 4 },
    ],
  });
  assert.deepEqual(titles(), ["\u{ff5e}", "z", "y"]);
  assert.deepEqual(watch.set.begin().since, { mark: "m5", seq: 6, have: { c: 4, b: 1, d: 1 } });
});
