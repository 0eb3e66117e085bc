import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeHub } from "./fake.js";

const member = (rec, state = {}) => ({
  kind: "user", rec, name: rec, status: "active", since: "2026-11-21T09:00:00.000Z",
  sessions: [{ session: `s-${rec}`, state, status: "active", since: "2026-11-21T09:00:00.000Z" }],
});
const joined = (version, members) => ({ members, version, epoch: "p1", offset: 0, recovered: false });

/** A hub in one channel and what its roster told. */
function inChannel() {
  const world = fakeHub();
  world.hub.start();
  const peer = world.online();
  const channel = world.hub.join("event:e1", { page: 1 });
  const told = [];
  channel.on("roster", (change) => told.push(change));
  const names = () => channel.members.map(({ rec }) => rec);
  return { ...world, peer, channel, told, names };
}

test("a join carries the state and its answer is the roster", () => {
  const { peer, names } = inChannel();
  const join = peer.take("channel.join");
  assert.deepEqual([join.channel, join.presence], ["event:e1", { state: { page: 1 } }]);
  peer.ok(join, joined(3, [member("ann"), member("bob")]));
  assert.deepEqual(names(), ["ann", "bob"]);
});

test("presence pushes change the roster one version at a time", () => {
  const { peer, told, names } = inChannel();
  peer.ok(peer.take("channel.join"), joined(3, [member("ann")]));
  peer.push({ op: "presence", channel: "event:e1", version: 4, events: [{ kind: "join", member: member("bob") }] });
  peer.push({ op: "presence", channel: "event:e1", version: 4, events: [{ kind: "join", member: member("dup") }] });
  peer.push({ op: "presence", channel: "event:e1", version: 5, events: [
    { kind: "update", member: member("bob", { at: "x" }) }, { kind: "leave", member: member("ann") },
  ] });
  assert.deepEqual(names(), ["bob"]);
  assert.deepEqual(told.at(-1).left.map(({ rec }) => rec), ["ann"]);
  assert.deepEqual(told.at(-1).updated[0].sessions[0].state, { at: "x" });
});

test("a hole in the versions joins again", () => {
  const { peer, told, names } = inChannel();
  peer.ok(peer.take("channel.join"), joined(3, [member("ann")]));
  peer.push({ op: "presence", channel: "event:e1", version: 6, events: [{ kind: "join", member: member("eve") }] });
  peer.ok(peer.take("channel.join"), joined(7, [member("eve")]));
  assert.deepEqual(names(), ["eve"]);
  assert.deepEqual(told.at(-1).left.map(({ rec }) => rec), ["ann"]);
});

test("a push that overtakes the answer of the join is applied after it", () => {
  const { peer, names } = inChannel();
  const join = peer.take("channel.join");
  peer.push({ op: "presence", channel: "event:e1", version: 4, events: [{ kind: "join", member: member("bob") }] });
  peer.ok(join, joined(3, [member("ann")]));
  assert.deepEqual(names(), ["ann", "bob"]);
});

test("a new socket joins again with the newest state", () => {
  const { clock, online, peer, channel, names } = inChannel();
  peer.ok(peer.take("channel.join"), joined(3, [member("ann")]));
  channel.setState({ page: 2 });
  assert.deepEqual(peer.take("presence.update").state, { page: 2 });
  channel.setState({ page: 2 });
  assert.equal(peer.inbox.length, 0);
  peer.close(1006);
  channel.setState({ page: 3 });
  assert.deepEqual(names(), ["ann"]);
  clock.advance(1);
  const next = online();
  const again = next.take("channel.join");
  assert.deepEqual(again.presence, { state: { page: 3 } });
  next.ok(again, joined(1, []));
  assert.deepEqual(names(), []);
});

test("a state set while the join is under way goes out after it", () => {
  const { peer, channel } = inChannel();
  const join = peer.take("channel.join");
  channel.setState({ page: 2 });
  assert.equal(peer.inbox.length, 0);
  peer.ok(join, joined(1, []));
  assert.deepEqual(peer.take("presence.update").state, { page: 2 });
});

test("a state that is lost with the socket is no error, and one the hub had no time for is sent again", () => {
  const { clock, online, peer, channel } = inChannel();
  const refused = [];
  channel.on("refused", (error) => refused.push(error.code));
  peer.ok(peer.take("channel.join"), joined(1, []));
  channel.setState({ page: 2 });
  peer.close(1006);
  clock.advance(1);
  const next = online();
  next.ok(next.take("channel.join"), joined(1, []));
  clock.advance(2);
  assert.equal(next.inbox.length, 0);
  channel.setState({ page: 3 });
  next.error(next.take("presence.update"), "rate.limited", { retry_after: 2 });
  clock.advance(2);
  assert.deepEqual(next.take("presence.update").state, { page: 3 });
  channel.setState({ page: 4 });
  next.error(next.take("presence.update"), "state.too_large");
  assert.deepEqual(refused, ["state.too_large"]);
});

test("leaving tells the hub and ends the pushes", () => {
  const { peer, channel, told } = inChannel();
  peer.ok(peer.take("channel.join"), joined(1, []));
  const before = told.length;
  channel.leave();
  assert.equal(peer.take("channel.leave").channel, "event:e1");
  peer.push({ op: "presence", channel: "event:e1", version: 2, events: [{ kind: "join", member: member("bob") }] });
  assert.equal(told.length, before);
});

test("a refused channel ends with its error", () => {
  const { peer, channel } = inChannel();
  const errors = [];
  channel.on("error", (error) => errors.push(error.code));
  peer.error(peer.take("channel.join"), "access.denied");
  assert.deepEqual(errors, ["access.denied"]);
});

test("who holds the lock of the channel's record is learnt from the join and told when it changes", () => {
  const { peer, channel } = inChannel();
  const told = [];
  channel.on("lock", (lock) => told.push(lock?.holder.name ?? null));
  channel.on("message", () => told.push("no message"));
  const lock = (name, number) => ({ holder: { kind: "user", rec: name, name, session: `s-${name}` }, number });
  const push = (why, now) => peer.push({ op: "message", channel: "event:e1", event: "$lock", from: null, data: {
    type: "event", rec: "e1", why, holder: now?.holder ?? null, number: now?.number ?? 8, was: null,
  } });
  const join = peer.take("channel.join");
  push("taken", lock("cid", 6)); // the answer of the join knows better
  peer.ok(join, { ...joined(0, []), lock: lock("ann", 7) });
  assert.equal(channel.lock.holder.session, "s-ann");
  push("stolen", lock("bob", 8));
  push("released", null);
  push("lapsed", null);
  assert.deepEqual([told, channel.lock], [["ann", "bob", null], null]);
  push("taken", lock("ann", 9));
  peer.push({ op: "reset", channel: "event:e1", why: "gap" });
  peer.ok(peer.take("channel.join"), joined(0, []));
  assert.deepEqual(told.slice(3), ["ann", null]);
});

test("wishes for when the session vanishes are made again for every session", () => {
  const { clock, online, peer, channel } = inChannel();
  const wishes = [{ op: "channel.send", channel: "event:e1", event: "gone", data: 1 }];
  const refused = [];
  channel.on("refused", (error) => refused.push(error.code));
  channel.onDrop(wishes); // before the answer of the join: it goes out behind it
  assert.equal(peer.inbox.filter(({ op }) => op === "presence.update").length, 0);
  peer.ok(peer.take("channel.join"), joined(0, []));
  assert.deepEqual(peer.take("presence.update").on_drop, wishes);
  peer.close(1006);
  clock.advance(1);
  const next = online();
  next.ok(next.take("channel.join"), joined(0, []));
  next.error(next.take("presence.update"), "access.denied");
  assert.deepEqual(refused, ["access.denied"]);
  channel.onDrop(null);
  assert.equal(next.take("presence.update").on_drop, null);
});

/** In a channel after a first join, whose members are known; cut off, and joined again with a first page. */
function pagedAgain() {
  const world = inChannel();
  world.peer.ok(world.peer.take("channel.join"), joined(0, ["ann", "bob", "cid", "dan"].map((rec) => member(rec))));
  world.peer.close(1006);
  world.clock.advance(1);
  const peer = world.online();
  peer.ok(peer.take("channel.join"), { ...joined(0, [member("ann")]), count: 4, next: "h.1" });
  const push = (version, kind, who) => {
    peer.push({ op: "presence", channel: "event:e1", version, events: [{ kind, member: who }] });
  };
  const left = () => world.told.flatMap((change) => change.left.map(({ rec }) => rec));
  const came = () => world.told.flatMap((change) => change.joined.map(({ rec }) => rec));
  return { ...world, peer, push, left, came };
}

test("a long roster is read page by page, and its order is the hub's", () => {
  const { peer, channel, told, names } = inChannel();
  peer.ok(peer.take("channel.join"), { ...joined(0, [member("ann")]), count: 3, next: "h.1" });
  assert.deepEqual([names(), channel.count], [["ann"], 3]);
  const first = peer.take("presence.roster");
  assert.deepEqual([first.channel, first.after, peer.inbox.length], ["event:e1", "h.1", 0]);
  peer.ok(first, { members: [member("bob")], next: "h.2" });
  const second = peer.take("presence.roster");
  assert.equal(second.after, "h.2");
  peer.ok(second, { members: [member("cid")] });
  assert.deepEqual([names(), channel.count, peer.inbox.length], [["ann", "bob", "cid"], 3, 0]);
  assert.deepEqual(told.map((change) => change.joined.map(({ rec }) => rec)), [["ann"], ["bob"], ["cid"]]);
  peer.push({ op: "presence", channel: "event:e1", version: 1, events: [{ kind: "leave", member: member("ann") }] });
  assert.equal(channel.count, 2);
});

test("who is on no page yet has not left; who is on none at the end has", () => {
  const { peer, told, left, names } = pagedAgain();
  assert.deepEqual([left(), names()], [[], ["ann", "bob", "cid", "dan"]]);
  peer.ok(peer.take("presence.roster"), { members: [member("bob")], next: "h.2" });
  assert.deepEqual([left(), told.length], [[], 2]);
  peer.ok(peer.take("presence.roster"), { members: [member("dan", { at: "x" })] });
  assert.deepEqual([left(), names()], [["cid"], ["ann", "bob", "dan"]]);
  assert.deepEqual(told.at(-1).updated.map(({ rec }) => rec), ["dan"]);
});

test("a page does not undo what pushes told meanwhile", () => {
  const { peer, push, left, came, names, channel } = pagedAgain();
  push(1, "leave", member("bob"));
  push(2, "update", member("cid", { at: "new" }));
  push(3, "join", member("eve"));
  push(4, "update", member("fay"));
  push(5, "leave", member("ann"));
  const page = ["ann", "bob", "cid", "fay"].map((rec) => member(rec, { at: "old" }));
  peer.ok(peer.take("presence.roster"), { members: page, next: "h.2" });
  peer.ok(peer.take("presence.roster"), { members: [member("dan"), member("eve")] });
  assert.deepEqual([left(), names()], [["bob", "ann"], ["cid", "fay", "dan", "eve"]]);
  assert.deepEqual(came(), ["ann", "bob", "cid", "dan", "eve", "fay"]);
  assert.deepEqual(channel.members.map(({ sessions }) => sessions[0].state), [{ at: "new" }, {}, {}, {}]);
  push(6, "leave", member("cid"));
  assert.deepEqual(names(), ["fay", "dan", "eve"]);
});

test("a hole, or a cursor that is good for nothing, begins the list again, and nobody has left", () => {
  const { clock, peer, push, left, names } = pagedAgain();
  const lost = peer.take("presence.roster");
  push(2, "join", member("eve"));
  const again = { ...joined(0, [member("ann")]), count: 3, next: "h.1" };
  peer.ok(lost, { members: [] }); // of the list before: it says nothing any more
  peer.ok(peer.take("channel.join"), again);
  peer.error(peer.take("presence.roster"), "cursor.invalid", { path: "after" });
  assert.equal(peer.inbox.length, 0);
  clock.advance(1);
  peer.ok(peer.take("channel.join"), again);
  peer.error(peer.take("presence.roster"), "rate.limited", { retry_after: 2 });
  clock.advance(2);
  assert.deepEqual([left(), names()], [[], ["ann", "bob", "cid", "dan"]]);
  peer.ok(peer.take("presence.roster"), { members: [member("bob"), member("cid"), member("dan")] });
  assert.deepEqual([left(), names()], [[], ["ann", "bob", "cid", "dan"]]);
});

test("a page is not asked for on another socket, nor of a channel that was left", () => {
  const { clock, online, peer, channel } = pagedAgain();
  peer.take("presence.roster");
  peer.close(1006);
  clock.advance(1);
  const next = online();
  next.ok(next.take("channel.join"), { ...joined(0, [member("ann")]), count: 3, next: "h.1" });
  const page = next.take("presence.roster");
  channel.leave();
  next.take("channel.leave");
  next.ok(page, { members: [member("bob")], next: "h.2" });
  assert.equal(next.inbox.length, 0);
});

test("a join may ask for less than everybody", () => {
  const { hub, online } = fakeHub();
  hub.start();
  const peer = online();
  const channel = hub.join("event:e1", {}, { roster: "count" });
  const told = [];
  channel.on("roster", ({ count }) => told.push(count));
  const join = peer.take("channel.join");
  assert.equal(join.roster, "count");
  hub.join("event:e1", {}, { roster: { users: ["ann"] } }); // while the join is under way
  assert.equal(peer.inbox.length, 0);
  peer.ok(join, { ...joined(0, []), count: 5000 });
  const some = peer.take("channel.join");
  assert.deepEqual([some.roster, channel.count], [{ users: ["ann"] }, 5000]);
  peer.ok(some, joined(0, [member("ann")]));
  assert.deepEqual([channel.count, peer.inbox.length], [1, 0]);
  channel.want("count");
  peer.ok(peer.take("channel.join"), { ...joined(0, []), count: 7 });
  peer.push({ op: "presence", channel: "event:e1", version: 1, count: 8 });
  assert.deepEqual([channel.count, told], [8, [5000, undefined, 7, 8]]);
});
