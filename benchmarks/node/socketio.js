// The peer on socket.io, over websockets only: node socketio.js PORT [ADDRESS OF A REDIS]
'use strict';

const { createServer } = require('node:http');
const { Server } = require('socket.io');

const [port, redis] = process.argv.slice(2);
const server = createServer();
const hub = new Server(server, { transports: ['websocket'], serveClient: false, perMessageDeflate: false });
hub.on('connection', (socket) => {
  if (socket.handshake.query.watch) socket.join('watchers');
  if (!socket.handshake.query.caller) socket.join('workers');
  socket.on('call', (message, answer) => {
    hub.to('workers').timeout(10000).emitWithAck('command', message).then((found) => answer(found[0]), () => answer(null));
  });
  socket.on('say', (message) => hub.to('watchers').emit('said', message));
  for (const what of ['join', 'leave']) {
    socket.on(what, (room, answer) => {
      const done = socket[what](room); // a promise where the adapter has to wait for something
      if (done === undefined) answer();
      else done.then(() => answer());
    });
  }
});

async function main() {
  if (redis !== undefined) {
    const { createAdapter } = require('@socket.io/redis-adapter');
    const { createClient } = require('redis');
    const speaking = createClient({ url: redis });
    const hearing = speaking.duplicate();
    await Promise.all([speaking.connect(), hearing.connect()]);
    hub.adapter(createAdapter(speaking, hearing));
  }
  server.listen(Number(port), '127.0.0.1', 4096);
}
main();
