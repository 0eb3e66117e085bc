import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeHub } from "./fake.js";

const commit = (seq, more = {}) => ({
  op: "feed", name: "crm", epoch: "e1", seq, at: "t", actor: "a", session: "s", request: "1",
  events: [{ kind: "update", rec: `r${seq}` }], more: false, ...more,
});

/** A hub with one feed, and what it told. */
function following(options) {
  const world = fakeHub();
  world.hub.start();
  const peer = world.online();
  const feed = world.hub.feed("crm", options);
  const told = [];
  feed.on("begun", ({ seq, why }) => told.push([why, seq]));
  feed.on("commit", ({ seq }) => told.push(seq));
  feed.on("error", ({ code }) => told.push(code));
  /** The next socket, after the present one was lost. */
  const again = () => {
    world.peers.at(-1).close(1006);
    world.clock.advance(1);
    return world.online({ session: "s2" });
  };
  return { ...world, peer, feed, told, again };
}

const begun = (seq, more = {}) => ({ epoch: "e1", seq, resumed: true, ...more });

test("a new name begins at the head and tells each commit", () => {
  const { peer, told } = following();
  const start = peer.take("feed.start");
  assert.deepEqual([start.name, start.since], ["crm", undefined]);
  peer.ok(start, begun(41, { resumed: false, why: "new" }));
  peer.push(commit(42), commit(44));
  assert.deepEqual(told, [["new", 41], 42, 44]);
});

test("a commit in several pushes is told whole", () => {
  const { peer, feed } = following();
  const whole = [];
  feed.on("commit", ({ events }) => whole.push(events.map(({ rec }) => rec)));
  peer.ok(peer.take("feed.start"), begun(1));
  peer.push(commit(2, { more: true }), commit(2, { events: [{ rec: "x" }] }));
  assert.deepEqual(whole, [["r2", "x"]]);
});

test("what is pushed again on a new socket is told once", () => {
  const { peer, told, again } = following();
  peer.ok(peer.take("feed.start"), begun(1));
  peer.push(commit(2), commit(3), commit(4, { more: true }));
  const next = again();
  const start = next.take("feed.start");
  assert.equal(start.since, undefined, "the hub knows what was acknowledged");
  next.ok(start, begun(1));
  next.push(commit(2), commit(3), commit(4));
  assert.deepEqual(told, [2, 3, 4]);
});

test("by its own books a service goes on from what it was told", () => {
  const { peer, told, again } = following({ since: { epoch: "e1", seq: 7 } });
  const start = peer.take("feed.start");
  assert.deepEqual(start.since, { epoch: "e1", seq: 7 });
  peer.ok(start, begun(7));
  peer.push(commit(8), commit(9));
  const next = again();
  const other = next.take("feed.start");
  assert.deepEqual(other.since, { epoch: "e1", seq: 9 });
  next.ok(other, { epoch: "e2", seq: 3, resumed: false, why: "epoch" });
  next.push(commit(4, { epoch: "e2" }));
  assert.deepEqual(told, [8, 9, ["epoch", 3], 4], "numbers of another epoch are other numbers");
});

test("an acknowledgement is given once the hub is as far, and again where its answer was lost", async () => {
  const { peer, feed, again } = following();
  peer.ok(peer.take("feed.start"), begun(1));
  peer.push(commit(2));
  const done = feed.ack(2);
  assert.equal(peer.take("feed.ack").seq, 2);
  const next = again();
  next.ok(next.take("feed.start"), begun(1));
  assert.equal(next.inbox.length, 0, "the hub has not pushed as far here");
  next.push(commit(2));
  next.ok(next.take("feed.ack"), { seq: 2 });
  assert.deepEqual(await done, { seq: 2 });
});

test("a refusal ends the feed, and what waits for it", async () => {
  const { peer, feed, told, again } = following();
  const waiting = feed.ack(9);
  peer.error(peer.take("feed.start"), "access.denied");
  assert.deepEqual(told, ["access.denied"]);
  await assert.rejects(waiting, { code: "access.denied" });
  await assert.rejects(feed.ack(1), { code: "access.denied" });
  assert.equal(again().inbox.length, 0);
});

test("a hub that is busy is asked again", () => {
  const { peer, clock, told } = following();
  peer.error(peer.take("feed.start"), "server.unavailable", { retry_after: 3 });
  clock.advance(2.9);
  assert.deepEqual(peer.inbox.filter(({ op }) => op === "feed.start"), []);
  clock.advance(0.2);
  peer.ok(peer.take("feed.start"), begun(5));
  peer.push(commit(6));
  assert.deepEqual(told, [6]);
});

test("who is taken from has ended, and what expired begins again", () => {
  const { peer, told, feed } = following();
  peer.ok(peer.take("feed.start"), begun(1));
  peer.push({ op: "reset", feed: "crm", why: "expired" });
  peer.ok(peer.take("feed.start"), begun(50, { resumed: false, why: "expired" }));
  peer.push({ op: "reset", feed: "crm", why: "taken" });
  assert.deepEqual(told, [["expired", 50], "action.cancelled"]);
  assert.equal(feed.error.code, "action.cancelled");
  peer.push(commit(51));
  assert.equal(told.length, 2);
});

test("a name runs once, and can run again when it was stopped", async () => {
  const { hub, peer, feed } = following();
  peer.ok(peer.take("feed.start"), begun(1));
  assert.throws(() => hub.feed("crm"), /running already/);
  const waiting = feed.ack(5);
  feed.stop();
  await assert.rejects(waiting, { code: "action.cancelled" });
  assert.equal(peer.take("feed.stop").name, "crm");
  hub.feed("crm");
  peer.take("feed.start");
});
