// The peer on Feathers, over socket.io and websockets only: node feathers.js PORT
//
// Two services: what is created in `says` is told to every watcher; `beats` checks a heartbeat and answers it.
'use strict';

const { feathers } = require('@feathersjs/feathers');
const { BadRequest } = require('@feathersjs/errors');
const socketio = require('@feathersjs/socketio');

const STATUSES = new Set(['active', 'idle', 'away']);
const BEAT = new Set(['op', 'status']);

class Says {
  async create(data) {
    return data;
  }
}

class Beats {
  async create(data) {
    if (data === null || typeof data !== 'object' || data.op !== 'session.beat') throw new BadRequest('op.unknown');
    for (const name in data) if (!BEAT.has(name)) throw new BadRequest('data.invalid');
    if (data.status != null && !STATUSES.has(data.status)) throw new BadRequest('data.invalid');
    return { now: new Date().toISOString(), seq: 1 };
  }
}

const app = feathers();
const options = { transports: ['websocket'], serveClient: false, perMessageDeflate: false };
app.configure(socketio(options, (io) => {
  io.use((socket, next) => {
    socket.feathers.watch = socket.handshake.query.watch === '1';
    next();
  });
}));
app.use('says', new Says(), { methods: ['create'] });
app.use('beats', new Beats(), { methods: ['create'] });
app.service('says').publish(() => app.channel('watchers'));
app.service('beats').publish(() => []);
app.on('connection', (connection) => {
  if (connection.watch) app.channel('watchers').join(connection);
});
app.listen(Number(process.argv[2]), '127.0.0.1', 4096);
