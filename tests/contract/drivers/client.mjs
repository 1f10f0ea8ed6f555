// The official socket.io-client behind the driver protocol: JSON lines in, JSON lines out (see driver.py).
//
// Usage: node client.mjs <folder that holds node_modules/socket.io-client>
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const { io } = createRequire(resolve(process.argv[2], "package.json"))("socket.io-client");
const clients = new Map();

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const now = () => Number(process.hrtime.bigint());

function open({ client: name, url, options, raw }) {
  const socket = io(url, { forceNew: true, multiplex: false, ...options });
  clients.set(name, socket);
  const tell = (line) => clients.get(name) === socket && say({ client: name, ...line, at: now() });
  const watched = new WeakSet();
  const watch = () => {
    const engine = socket.io.engine;
    if (watched.has(engine)) return;
    watched.add(engine);
    engine.on("upgrade", (transport) => tell({ kind: "upgrade", name: transport.name }));
    // "packet" comes before the Socket.IO decoder: `data` is the text as it was on the wire.
    engine.on("packet", ({ type, data }) => {
      if (raw && type === "message" && typeof data === "string") tell({ kind: "raw", data });
    });
  };
  watch();
  socket.io.on("open", watch);
  socket.onAny((event, ...args) => tell({ kind: "event", name: event, args }));
  socket.on("connect", () => tell({ kind: "connect", sid: socket.id, name: socket.io.engine.transport.name }));
  socket.on("connect_error", (error) => tell({ kind: "connect_error", name: String(error.message) }));
  socket.on("disconnect", (reason) => tell({ kind: "disconnect", name: reason }));
}

function emit({ client: name, event, args, ack, timeout }) {
  const socket = clients.get(name);
  if (!ack) return void socket.emit(event, ...args);
  return new Promise((done, fail) => {
    socket.timeout(timeout * 1000).emit(event, ...args, (error, ...answer) => (error ? fail(error) : done(answer)));
  });
}

const operations = {
  open,
  emit,
  close: ({ client: name }) => void clients.get(name).disconnect(),
  connect: ({ client: name }) => void clients.get(name).connect(),
  // The engine alone goes: the client takes it for an accident and reconnects.
  drop: ({ client: name }) => void clients.get(name).io.engine.close(),
  reset: () => {
    const gone = [...clients.values()];
    clients.clear();
    for (const socket of gone) socket.disconnect();
  },
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const request = JSON.parse(line);
    try {
      const result = await operations[request.op](request);
      say({ reply: request.id, result: result ?? null });
    } catch (error) {
      say({ reply: request.id, error: String(error.message ?? error) });
    }
  })
  .on("close", () => process.exit(0));
