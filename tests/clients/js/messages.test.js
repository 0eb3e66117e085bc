import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeHub } from "./fake.js";

const joined = (offset, more = {}) => ({ members: [], version: 0, epoch: "e1", offset, recovered: false, ...more });
const said = (offset, data) => ({ event: "said", data, from: null, ...(offset === null ? {} : { offset }) });
const push = (offset, data) => ({ op: "message", channel: "event:e1", ...said(offset, data) });

/** A hub in one channel, joined at offset 3, and what was said there. */
function inChannel() {
  const world = fakeHub();
  world.hub.start();
  const peer = world.online();
  const channel = world.hub.join("event:e1", null);
  const told = [];
  for (const name of ["message", "gap", "ended", "error"]) channel.on(name, (it) => told.push(it.data ?? it.why ?? it.code));
  const join = peer.take("channel.join");
  assert.deepEqual([join.presence, join.recover], [undefined, undefined]);
  peer.ok(join, joined(3));
  return { ...world, peer, channel, told };
}

test("messages are told once and in order", () => {
  const { peer, told } = inChannel();
  for (const offset of [3, 4, 4, 5, 2]) peer.push(push(offset, `m${offset}`));
  peer.push(push(null, "for me alone"));
  assert.deepEqual(told, ["m4", "m5", "for me alone"]);
});

test("what was said while the socket was away is recovered, also from the very beginning", () => {
  const { clock, online, peer, told } = inChannel();
  peer.push(push(4, "m4"));
  peer.close(1006);
  clock.advance(1);
  const next = online();
  const again = next.take("channel.join");
  assert.deepEqual(again.recover, { epoch: "e1", offset: 4 });
  next.push(push(5, "m5")); // overtakes the answer, and is in it
  next.ok(again, joined(6, { recovered: true, messages: [said(5, "m5"), said(6, "m6")] }));
  next.push(push(7, "m7"));
  assert.deepEqual(told, ["m4", "m5", "m6", "m7"]);
});

test("a hole in the offsets is recovered", () => {
  const { peer, told } = inChannel();
  peer.push(push(6, "m6"));
  const again = peer.take("channel.join");
  assert.deepEqual(again.recover, { epoch: "e1", offset: 3 });
  peer.push(push(7, "m7"));
  peer.ok(again, joined(7, { recovered: true, messages: [4, 5, 6, 7].map((n) => said(n, `m${n}`)) }));
  assert.deepEqual(told, ["m4", "m5", "m6", "m7"]);
});

test("what the hub no longer has is a gap", () => {
  const { peer, told } = inChannel();
  peer.push({ op: "reset", channel: "event:e1", why: "gap" });
  peer.ok(peer.take("channel.join"), joined(1, { epoch: "e2", why: "epoch", messages: [said(1, "new")] }));
  peer.push(push(2, "m2"));
  assert.deepEqual(told, ["epoch", "new", "m2"]);
});

test("a message without echo takes its place with the answer", async () => {
  const { peer, channel, told } = inChannel();
  const sent = channel.send("moved", [1], { echo: false, ttl: 5 });
  const request = peer.take("channel.send");
  assert.deepEqual([request.event, request.data, request.echo, request.ttl, request.key], ["moved", [1], false, 5, undefined]);
  peer.ok(request, { offset: 4 });
  peer.push(push(5, "m5"));
  assert.deepEqual([await sent, told, peer.inbox.length], [{ offset: 4 }, ["m5"], 0]);
  const late = channel.send("moved", [2], { echo: false });
  peer.ok(peer.take("channel.send"), { offset: 8 });
  assert.deepEqual(peer.take("channel.join").recover, { epoch: "e1", offset: 5 }); // 6 and 7 were dropped
  await late;
});

test("a message whose answer is lost with the socket has an unknown outcome", async () => {
  const { peer, channel } = inChannel();
  const sent = channel.send("moved", [1]);
  peer.take("channel.send");
  peer.close(1006);
  await assert.rejects(sent, { code: "write.unknown" });
});

test("a channel whose record is deleted ends", () => {
  const { peer, told } = inChannel();
  peer.push({ op: "reset", channel: "event:e1", why: "ended" });
  peer.push(push(4, "m4"));
  assert.deepEqual(told, ["ended"]);
});
