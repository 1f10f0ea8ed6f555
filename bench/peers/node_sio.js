// The reference server on Node.js, with its defaults (permessage-deflate off). Takes a port.
'use strict';
const http = require('http');
const { Server } = require('socket.io');
const srv = http.createServer();
const io = new Server(srv);

function epochOffset() {               // microseconds to add to hrtime to get Unix time; Date.now() has 1 ms steps
  const d0 = Date.now(); let d;
  while ((d = Date.now()) === d0);
  return d * 1000 - Number(process.hrtime.bigint() / 1000n);
}
let off = 0;
const nowUs = () => { const t = process.hrtime(); return off + t[0] * 1e6 + Math.floor(t[1] / 1000); };

function go(count, size, rate, batch = 1) {
  off = epochOffset();
  const pad = 'x'.repeat(size);
  let i = 0;
  const some = () => {                 // one tick of the event loop, as events of one Kafka poll would be
    for (let n = 0; n < batch && i < count; n++) io.to('room').emit('tick', { ts: nowUs(), i: i++, pad });
  };
  if (!rate) {
    const step = () => { some(); if (i < count) setImmediate(step); };
    setImmediate(step);
  } else {
    const t0 = process.hrtime.bigint();
    const due = () => i / batch * 1000 / rate - Number(process.hrtime.bigint() - t0) / 1e6;
    const step = () => {
      while (i < count && due() <= 0) some();
      if (i < count) setTimeout(step, Math.max(0, due()));
    };
    step();
  }
}
io.on('connection', (s) => {
  s.on('join', () => { s.join('room'); });
  s.on('echo', (i) => { s.emit('echo', i); });
  s.on('go', go);
});
srv.listen(+process.argv[2], '127.0.0.1', 4096);
