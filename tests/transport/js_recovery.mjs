// Loses and recovers connections of the official Socket.IO client:
// node js_recovery.mjs <node_modules> <url> [<parser package>]; one JSON object to stdout.
import { createRequire } from "node:module";

const [modules, url, parser] = process.argv.slice(2);
const load = createRequire(modules + "/");
const { io } = load("socket.io-client");
const common = { forceNew: true, reconnectionDelay: 30, reconnectionDelayMax: 30, ...(parser && { parser: load(parser) }) };

const once = (emitter, event, seconds = 5) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} in ${seconds} s`)), seconds * 1000);
    emitter.once(event, (...args) => (clearTimeout(timer), resolve(args)));
  });

// Connects by a path of its own; by default the upgrade is awaited, for a loss in the middle of it proves less.
async function open(path, options) {
  const socket = io(url, { ...common, path, ...options });
  const seen = [];
  socket.on("n", (n) => seen.push(n));
  await once(socket, "connect");
  if (!options.transports && socket.io.engine.transport.name === "polling") await once(socket.io.engine, "upgrade");
  return { socket, seen };
}

// Breaks the connection off; says what came of it, once the server has answered behind all that it replays.
async function lose({ socket, seen }) {
  const id = socket.id;
  const back = once(socket, "connect");
  socket.io.engine.close();
  await back;
  const rooms = await socket.timeout(5000).emitWithAck("rooms");
  return { recovered: Boolean(socket.recovered), same: socket.id === id, red: rooms.includes("red"), seen };
}

const scenarios = {
  async comes_back(options) {
    const client = await open("/long", options);
    await client.socket.emitWithAck("enter", "red");
    await client.socket.emitWithAck("say", 1);
    await client.socket.emitWithAck("miss", [2, 3, 4]);
    const result = await lose(client);
    await client.socket.emitWithAck("say", 5);
    client.socket.close();
    return result;
  },
  async comes_back_without_having_got_anything(options) {
    const client = await open("/long", options);
    await client.socket.emitWithAck("enter", "red");
    await client.socket.emitWithAck("miss", [1, 2]);
    const result = await lose(client);
    client.socket.close();
    return result;
  },
  async comes_back_behind_volatile_texts(options) {
    const client = await open("/long", options);
    await client.socket.emitWithAck("enter", "red");
    await client.socket.emitWithAck("say", 1);
    await client.socket.emitWithAck("say volatile", "text");
    await client.socket.emitWithAck("miss", [2]);
    const result = await lose(client);
    client.socket.close();
    return result;
  },
  async comes_back_again_and_again(options) {
    const client = await open("/long", options);
    const lost = { count: 0, recovered: 0 };
    client.socket.on("connect", () => (lost.recovered += client.socket.recovered ? 1 : 0));
    const cut = setInterval(() => {
      const { upgrading, writeBuffer } = client.socket.io.engine;
      // A close that waits for an upgrade comes in one tick with events: the client keeps those for its next
      // connection, and asks for them again (its offset is behind them), so it would hear them twice.
      if (!client.socket.connected || client.seen.length === 0 || upgrading || writeBuffer.length) return;
      lost.count += 1;
      client.socket.io.engine.close();
    }, 70);
    const end = once(client.socket, "end", 20);
    await client.socket.emitWithAck("enter", "red");
    client.socket.emit("count", 300);
    await end;
    clearInterval(cut);
    client.socket.close();
    return { ordered: client.seen.every((n, i) => n === i), length: client.seen.length, lost: lost.count > 0, all: lost.count === lost.recovered };
  },
  async comes_too_late(options) {
    const client = await open("/short", { ...options, reconnectionDelay: 500, reconnectionDelayMax: 500 });
    await client.socket.emitWithAck("enter", "red");
    await client.socket.emitWithAck("miss", [1]);
    const result = await lose(client);
    client.socket.close();
    return result;
  },
  async misses_too_much(options) {
    const client = await open("/small", options);
    await client.socket.emitWithAck("enter", "red");
    await client.socket.emitWithAck("miss", [1, 2, 3, 4]);
    const result = await lose(client);
    client.socket.close();
    return result;
  },
  async is_somebody_else(options) {
    const client = await open("/long", options);
    await client.socket.emitWithAck("enter", "red");
    await client.socket.emitWithAck("miss", [1]);
    client.socket._pid = "somebody else";
    const result = await lose(client);
    client.socket.close();
    return result;
  },
  async is_thrown_out(options) {
    const client = await open("/long", options);
    await client.socket.emitWithAck("enter", "red");
    const gone = once(client.socket, "disconnect");
    client.socket.emit("throw me out");
    await gone;
    const id = client.socket.id;
    const back = once(client.socket, "connect");
    client.socket.connect();
    await back;
    const rooms = await client.socket.emitWithAck("rooms");
    const result = { recovered: Boolean(client.socket.recovered), red: rooms.includes("red") };
    client.socket.close();
    return result;
  },
};

const transports = { default: {}, websocket: { transports: ["websocket"] }, polling: { transports: ["polling"] } };
const results = {};
for (const [kind, options] of Object.entries(transports)) {
  const run = async ([name, scenario]) => {
    try {
      return [name, await scenario(options)];
    } catch (error) {
      return [name, { error: String(error) }];
    }
  };
  results[kind] = Object.fromEntries(await Promise.all(Object.entries(scenarios).map(run)));
}
console.log(JSON.stringify(results));
process.exit(0);
