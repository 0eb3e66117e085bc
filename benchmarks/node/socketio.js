// The peer on socket.io, over websockets only: node socketio.js PORT
'use strict';

const { createServer } = require('node:http');
const { Server } = require('socket.io');

const server = createServer();
const hub = new Server(server, { transports: ['websocket'], serveClient: false, perMessageDeflate: false });
hub.on('connection', (socket) => {
  if (socket.handshake.query.watch) socket.join('watchers');
  socket.on('say', (message) => hub.to('watchers').emit('said', message));
});
server.listen(Number(process.argv[2]), '127.0.0.1', 4096);
