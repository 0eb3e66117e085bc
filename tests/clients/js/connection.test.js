import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff, verdict } from "../../../clients/javascript/index.js";
import { answer, fakeHub } from "./fake.js";

test("the hello comes first and carries token, account and client", () => {
  const { hub, peers, states } = fakeHub({ account: "main" });
  hub.start();
  assert.deepEqual(peers[0].protocols, ["aether.v1.json"]);
  peers[0].open();
  const hello = peers[0].greet();
  assert.equal(hello.token, "t1");
  assert.equal(hello.account, "main");
  assert.ok(!("resume" in hello));
  assert.deepEqual(states.map(({ state }) => state), ["connecting", "online"]);
});

test("requests wait for the hello and then go out in order", () => {
  const { hub, peers } = fakeHub();
  hub.start();
  hub.get("event", "e1").catch(() => {});
  hub.get("event", "e2").catch(() => {});
  peers[0].open();
  assert.deepEqual(peers[0].inbox.map(({ op }) => op), ["session.hello"]);
  peers[0].greet();
  assert.deepEqual(peers[0].inbox.map(({ rec }) => rec), ["e1", "e2"]);
});

test("an answer resolves its own request, whatever the order, in arrays too", async () => {
  const { hub, online } = fakeHub();
  hub.start();
  const peer = online();
  const first = hub.get("event", "e1");
  const second = hub.get("event", "e2");
  const [a, b] = [peer.take("record.get"), peer.take("record.get")];
  peer.push(answer(b, { id: "e2" }), { op: "error", id: a.id, code: "record.not_found", message: "No.", path: "rec" });
  assert.deepEqual(await second, { id: "e2" });
  await assert.rejects(first, { name: "HubError", code: "record.not_found", path: "rec" });
});

test("a write is repeated on the next socket with the same key and the same id", async () => {
  const { hub, clock, peers, online } = fakeHub();
  hub.start();
  const peer = online();
  const saved = hub.update("event", "e1", { title: "New" }, { if_version: 3 });
  const sent = peer.take("record.update");
  assert.equal(sent.key, "key-1");
  peer.close(1006);
  clock.advance(1);
  const next = online();
  const again = next.take("record.update");
  assert.deepEqual(again, sent);
  next.ok(again, { id: "e1", version: 4 }, 9);
  assert.equal((await saved).version, 4);
  assert.equal(peers.length, 2);
});

test("an action is repeated under its key too", () => {
  const { hub, clock, online } = fakeHub();
  hub.start();
  const peer = online();
  hub.call("event_session.reschedule", { args: {} }).catch(() => {});
  const sent = peer.take("action.call");
  assert.equal(sent.key, "key-1");
  peer.close(1006);
  clock.advance(1);
  assert.deepEqual(online().take("action.call"), sent);
});

test("a request that cannot be repeated ends with an unknown outcome", async () => {
  const { hub, online } = fakeHub();
  hub.start();
  const peer = online();
  const called = hub.request("client.call", { to: "s2", command: "reload" });
  peer.take("client.call");
  peer.close(1006);
  await assert.rejects(called, { code: "write.unknown" });
});

test("an unknown outcome and a draining hub are asked again within the request's own time", async () => {
  const { hub, clock, online } = fakeHub();
  hub.start();
  const peer = online();
  const saved = hub.create("event", { title: "A" });
  const sent = peer.take("record.create");
  peer.error(sent, "write.unknown");
  clock.advance(1);
  assert.deepEqual(peer.take("record.create"), sent);
  peer.error(sent, "server.draining", { retry_after: 2 });
  clock.advance(2);
  peer.ok(peer.take("record.create"), { id: "e1" }, 1);
  assert.equal((await saved).id, "e1");
});

test("a request without an answer ends after its time", async () => {
  const { hub, clock, online } = fakeHub({ request_seconds: 5 });
  hub.start();
  online();
  const read = hub.get("event", "e1");
  const write = hub.create("event", {});
  clock.advance(5);
  await assert.rejects(read, { code: "server.unavailable" });
  await assert.rejects(write, { code: "write.unknown" });
});

test("the session is resumed with the newest secret", () => {
  const { hub, clock, peers, online } = fakeHub();
  hub.start();
  online({ resume: "first" }).close(1006);
  clock.advance(1);
  peers[1].open();
  assert.equal(peers[1].greet({ resume: "second" }).resume, "first");
  peers[1].close(1012);
  clock.advance(1);
  peers[2].open();
  assert.equal(peers[2].greet().resume, "second");
});

test("a change of an earlier session of this client is its own", () => {
  const { hub, clock, online } = fakeHub();
  hub.start();
  online({ session: "s1" }).close(1006);
  clock.advance(1);
  online({ session: "s2" });
  assert.deepEqual(["s1", "s2", "s3", null].map((origin) => hub.isOwn(origin)), [true, true, false, false]);
});

test("waits double up to thirty seconds and start over only after a stable time", () => {
  const backoff = new Backoff({ random: () => 1 });
  const waits = Array.from({ length: 9 }, () => backoff.lost(0));
  assert.deepEqual(waits, [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]);
  backoff.online(100);
  assert.equal(backoff.lost(105), 30);
  backoff.online(200);
  assert.equal(backoff.lost(210), 0.25);
  assert.equal(new Backoff({ random: () => 0 }).lost(0), 0);
});

test("a socket on which nothing answers a beat is given up", () => {
  const { hub, clock, peers, online } = fakeHub();
  hub.start();
  const peer = online();
  clock.advance(20);
  peer.ok(peer.take("session.beat"), { seq: 4 }, 4);
  clock.advance(20);
  peer.take("session.beat");
  assert.equal(hub.state, "online");
  clock.advance(10);
  assert.equal(peer.closed, 1000);
  assert.notEqual(hub.state, "online");
  clock.advance(0.25);
  assert.equal(peers.length, 2);
});

test("a hub that never greets is given up after ten seconds", () => {
  const { hub, clock, peers } = fakeHub();
  hub.start();
  peers[0].open();
  clock.advance(10);
  assert.equal(peers[0].closed, 1000);
  assert.equal(hub.state, "offline");
});

test("goaway holds new requests back and says when to come back", () => {
  const { hub, clock, peers, online } = fakeHub();
  hub.start();
  const peer = online();
  peer.push({ op: "goaway", why: "restart", retry_after: 2, jitter: 3 });
  hub.get("event", "e1").catch(() => {});
  assert.equal(peer.inbox.length, 0);
  peer.close(1012);
  hub.retryNow();
  clock.advance(4.9);
  assert.equal(peers.length, 1);
  clock.advance(0.1);
  assert.equal(online().take("record.get").rec, "e1");
});

test("a hub that goes on refusing sockets is asked less and less often", () => {
  const { hub, clock, peers } = fakeHub();
  hub.start();
  const waits = [];
  for (let n = 0; n < 6; n += 1) {
    const peer = peers[n];
    peer.open();
    peer.push({ op: "goaway", why: "overload", retry_after: 2, jitter: 0 });
    peer.close(1013);
    const before = clock.now;
    while (peers.length === n + 1) clock.advance(0.25);
    waits.push(clock.now - before);
  }
  assert.deepEqual(waits, [2, 2, 2, 2, 4, 8]);
});

test("retry_after of a refused hello is waited for", () => {
  const { hub, clock, peers } = fakeHub();
  hub.start();
  peers[0].open();
  peers[0].error(peers[0].take("session.hello"), "server.unavailable", { retry_after: 7 });
  clock.advance(6.9);
  assert.equal(peers.length, 1);
  clock.advance(1);
  assert.equal(peers.length, 2);
});

for (const code of [1000, 1006, 1011, 1012, 1013, 4400, 4408, 4409, 4411, 4499]) {
  test(`close code ${code} means come back`, () => assert.equal(verdict(code), "return"));
}

for (const code of [1002, 1003, 1007, 1009, 4500, 4504, 4506, 4999]) {
  test(`close code ${code} means stay away`, () => {
    assert.equal(verdict(code), "stay-away");
    const { hub, clock, peers, states, online } = fakeHub();
    hub.start();
    online().close(code);
    clock.advance(3600);
    assert.equal(peers.length, 1);
    assert.equal(states.at(-1).state, "offline");
    assert.equal(states.at(-1).final, true);
  });
}

for (const code of [4503, 4505]) {
  test(`close code ${code} asks for a new sign-in`, () => {
    const { hub, clock, peers, online } = fakeHub();
    hub.start();
    online().close(code);
    clock.advance(3600);
    assert.equal(hub.state, "signed-out");
    hub.signIn("t2");
    peers[1].open();
    assert.equal(peers[1].greet().token, "t2");
    assert.equal(hub.state, "online");
  });
}

test("a token the hub refuses signs out and refuses what waits", async () => {
  const { hub, peers } = fakeHub();
  hub.start();
  const read = hub.get("event", "e1");
  peers[0].open();
  peers[0].error(peers[0].take("session.hello"), "auth.expired");
  await assert.rejects(read, { code: "auth.expired" });
  assert.equal(hub.state, "signed-out");
});

test("without a token nothing is tried", () => {
  const { hub, peers } = fakeHub({ token: null });
  hub.start();
  assert.equal(peers.length, 0);
  assert.equal(hub.state, "signed-out");
});

test("a frame of a socket that was given up is not read", () => {
  const { hub, peers, online } = fakeHub();
  hub.start();
  const peer = online();
  hub.signIn("t2");
  const heard = [];
  hub.on("push", (message) => heard.push(message));
  peer.push({ op: "change", watch: "w1", seq: 1, events: [] });
  assert.deepEqual(heard, []);
  assert.equal(peers.length, 2);
});

test("a lookup is asked for with what was given, and one entry of it is taken out of its answer", async () => {
  const { hub, online } = fakeHub();
  hub.start();
  const peer = online();
  const target = { type: "event", rec: "e1" };
  const listed = hub.lookup("country", { language: "de", for: target, part_of: undefined });
  const asked = peer.take("lookup.list");
  assert.deepEqual(asked, { op: "lookup.list", id: asked.id, lookup: "country", language: "de", for: target });
  peer.ok(asked, { rows: [{ code: "DE" }], total: 1, seq: 4 }, 4);
  assert.deepEqual((await listed).rows, [{ code: "DE" }]);
  const one = hub.lookupOne("country", "Deutschland");
  const meant = peer.take("lookup.resolve");
  assert.deepEqual(meant, { op: "lookup.resolve", id: meant.id, lookup: "country", q: "Deutschland" });
  peer.ok(meant, { rows: [{ code: "DE" }], seq: 4 }, 4);
  assert.deepEqual(await one, { code: "DE" });
});
