// The peer on npm ws: node ws.js PORT [DATABASE | deflate]
//
// By path: /sub hears what /pub says; /beat answers a heartbeat, /get answers a record from SQLite. Both parse and check
// their message as the hub does, and answer in its form. What the peer has not: sessions, rights, positions, a log.
'use strict';

const { createServer } = require('node:http');
const { WebSocketServer } = require('ws');

const [port, more] = process.argv.slice(2);
const deflate = more === 'deflate';
const database = deflate ? undefined : more;
const watchers = new Set();
const STATUSES = new Set(['active', 'idle', 'away']);
const BEAT = new Set(['op', 'id', 'status']);
const GET = new Set(['op', 'id', 'type', 'rec']);

function checked(text, op, fields) {
  const message = JSON.parse(text);
  if (message === null || typeof message !== 'object' || message.op !== op) throw new Error('op.unknown');
  if (!Number.isSafeInteger(message.id) || message.id < 1) throw new Error('data.invalid');
  for (const name in message) if (!fields.has(name)) throw new Error('data.invalid');
  return message;
}

function guarded(socket, answer) {
  socket.on('message', (data) => {
    try {
      socket.send(JSON.stringify(answer(data.toString())));
    } catch (error) {
      socket.send(JSON.stringify({ op: 'error', code: 'data.invalid', message: error.message }));
    }
  });
}

function beat(text) {
  const message = checked(text, 'session.beat', BEAT);
  if (message.status != null && !STATUSES.has(message.status)) throw new Error('data.invalid');
  return { op: 'ok', id: message.id, seq: 1, data: { now: new Date().toISOString(), seq: 1 } };
}

let find;
function get(text) {
  const message = checked(text, 'record.get', GET);
  if (message.type !== 'bench_talk' || typeof message.rec !== 'string' || message.rec.length > 64) {
    throw new Error('data.invalid');
  }
  const row = find.get(message.rec);
  if (row === undefined) throw new Error('record.not_found');
  return { op: 'ok', id: message.id, data: row };
}

const roles = {
  '/sub': (socket) => {
    watchers.add(socket);
    socket.on('close', () => watchers.delete(socket));
  },
  '/pub': (socket) => socket.on('message', (data, binary) => {
    for (const watcher of watchers) watcher.send(data, { binary });
  }),
  '/beat': (socket) => guarded(socket, beat),
  '/get': (socket) => guarded(socket, get),
};

if (database !== undefined) {
  const file = new (require('better-sqlite3'))(database, { readonly: true });
  find = file.prepare('SELECT * FROM bench_talk WHERE id = ?');
}
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: deflate, clientTracking: false });
const server = createServer();
server.on('upgrade', (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (accepted) => {
    accepted.on('error', () => {});
    (roles[request.url] ?? (() => {}))(accepted);
  });
});
server.listen(Number(port), '127.0.0.1', 4096);
