/**
 * A hub of straw: a clock that moves when told, sockets whose other end is the test, and no I/O.
 */

import assert from "node:assert/strict";
import { Hub } from "../../../clients/javascript/index.js";

export class Clock {
  now = 0;

  #timers = [];

  later = (fn, seconds) => {
    const timer = { at: this.now + seconds, fn };
    this.#timers.push(timer);
    return timer;
  };

  cancel = (timer) => {
    this.#timers = this.#timers.filter((other) => other !== timer);
  };

  /** Let time pass; timers run at their time, in order. */
  advance(seconds) {
    const end = this.now + seconds;
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.cancel(due);
      this.now = Math.max(this.now, due.at);
      due.fn();
    }
    this.now = end;
  }
}

/** The test's end of one socket. */
export class Peer {
  /** messages of the client that the test has not looked at */
  inbox = [];

  closed = null;

  constructor(socket, url, protocols) {
    Object.assign(this, { socket, url, protocols });
  }

  open() {
    this.socket.onopen({});
  }

  /** Send messages as one frame: one alone, several as an array. */
  push(...messages) {
    this.socket.onmessage({ data: JSON.stringify(messages.length === 1 ? messages[0] : messages) });
  }

  /** End the socket from the hub's side. */
  close(code) {
    this.socket.onclose({ code });
  }

  /** The next message of the client, which must be of this operation. */
  take(op) {
    const message = this.inbox.shift();
    assert.ok(message, `no message waits where ${op} was expected`);
    assert.equal(message.op, op);
    return message;
  }

  ok(request, data, seq) {
    this.push(answer(request, data, seq));
  }

  error(request, code, more = {}) {
    this.push({ op: "error", id: request.id, code, message: `${code}.`, ...more });
  }

  greet(more = {}) {
    const hello = this.take("session.hello");
    this.ok(hello, { session: "s1", resume: "r1", user: "u1", account: "a1", heartbeat: 20, seq: 0, ...more });
    return hello;
  }
}

export const answer = (request, data, seq) => ({
  op: "ok", id: request.id, data, ...(seq === undefined ? {} : { seq }),
});

/** A hub client whose sockets are in the test's hands. */
export function fakeHub(options = {}) {
  const clock = new Clock();
  const peers = [];
  class WebSocket {
    constructor(url, protocols) {
      this.peer = new Peer(this, url, protocols);
      peers.push(this.peer);
    }

    send(text) {
      this.peer.inbox.push(JSON.parse(text));
    }

    close(code) {
      this.peer.closed = code;
    }
  }
  let keys = 0;
  const hub = new Hub({
    url: "ws://hub.test/ws",
    token: "t1",
    ...options,
    platform: {
      WebSocket,
      now: () => clock.now,
      later: clock.later,
      cancel: clock.cancel,
      random: () => 1,
      newKey: () => `key-${(keys += 1)}`,
    },
  });
  const states = [];
  hub.on("state", (detail) => states.push(detail));
  /** The newest socket, opened and greeted. */
  const online = (greeting) => {
    const peer = peers.at(-1);
    peer.open();
    peer.greet(greeting);
    return peer;
  };
  return { hub, clock, peers, states, online };
}
