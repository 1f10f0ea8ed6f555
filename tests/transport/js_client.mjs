// Drives the official Socket.IO client against a server:
// node js_client.mjs <node_modules> <url> [<package> [<parser package>]]; one JSON object to stdout.
import { createRequire } from "node:module";

const [modules, url, name = "socket.io-client", parser] = process.argv.slice(2);
const load = createRequire(modules + "/");
const { io, Manager, Socket } = load(name);
const common = parser ? { parser: load(parser) } : {};

// Clients before 4.4 have no timeout(), those before 4.6 no emitWithAck().
Socket.prototype.timeout ??= function (ms) {
  const emitWithAck = (...args) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("operation has timed out")), ms);
      this.emit(...args, (answer) => (clearTimeout(timer), resolve(answer)));
    });
  return { emitWithAck };
};
Socket.prototype.emitWithAck ??= function (...args) {
  return new Promise((resolve) => this.emit(...args, resolve));
};

const once = (emitter, event, seconds = 5) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} in ${seconds} s`)), seconds * 1000);
    emitter.once(event, (...args) => (clearTimeout(timer), resolve(args)));
  });

const open = (path, options) => io(url + path, { forceNew: true, reconnection: false, ...common, ...options });

const scenarios = {
  async connects_and_names_its_transport(options) {
    const socket = open("/", options);
    await once(socket, "connect");
    const { engine } = socket.io;
    if (!options.transports && engine.transport.name === "polling") await once(engine, "upgrade");
    const transport = engine.transport.name;
    socket.close();
    return { transport, sid: socket.id === undefined };
  },
  async acks_both_ways(options) {
    const socket = open("/", options);
    await once(socket, "connect");
    const echoed = await socket.timeout(5000).emitWithAck("echo", 1, "é\u{1f600}", { a: [null, true] });
    socket.on("question", (n, answer) => answer(n + 1, "yes"));
    const called = await socket.timeout(5000).emitWithAck("ask me", 41);
    const slow = await socket.timeout(5000).emitWithAck("slow echo", "x");
    socket.close();
    return { echoed, called, slow };
  },
  async binary_both_ways(options) {
    const socket = open("/", options);
    await once(socket, "connect");
    const bytes = Buffer.from([0, 1, 30, 255]);
    const [args] = [await socket.timeout(5000).emitWithAck("echo", { deep: [bytes] }, Buffer.alloc(70000, 7))];
    const event = once(socket, "blob");
    socket.emit("send me a blob");
    const [blob, text] = await event;
    socket.close();
    return {
      deep: Buffer.from(args[0].deep[0]).toString("hex"),
      long: Buffer.from(args[1]).equals(Buffer.alloc(70000, 7)),
      blob: Buffer.from(blob.data).toString("hex"),
      text,
    };
  },
  async rooms(options) {
    const [a, b, c] = [open("/", options), open("/", options), open("/", options)];
    await Promise.all([a, b, c].map((s) => once(s, "connect")));
    const heard = { a: [], b: [], c: [] };
    for (const [name, socket] of Object.entries({ a, b, c })) socket.on("news", (n) => heard[name].push(n));
    await a.emitWithAck("enter", "red");
    await b.emitWithAck("enter", "red");
    await a.emitWithAck("say", "red", 1);
    await b.emitWithAck("leave", "red");
    for (let n = 2; n < 50; n++) a.emit("say", "red", n);
    await a.emitWithAck("say to others", "red", 50);
    await c.emitWithAck("say", null, 51);
    await Promise.all([a, b, c].map((s) => s.emitWithAck("echo")));
    [a, b, c].forEach((s) => s.close());
    return heard;
  },
  async server_disconnects(options) {
    const socket = open("/", options);
    await once(socket, "connect");
    const gone = once(socket, "disconnect");
    socket.emit("throw me out");
    const [reason] = await gone;
    return { reason };
  },
  async client_disconnects(options) {
    const watcher = open("/", { ...options });
    const socket = open("/", options);
    await Promise.all([once(watcher, "connect"), once(socket, "connect")]);
    await watcher.emitWithAck("watch");
    const id = socket.id;
    const gone = once(watcher, "gone");
    socket.disconnect();
    const [sid, reason] = await gone;
    watcher.close();
    return { same: sid === id, reason };
  },
  async connect_errors(options) {
    const refused = open("/private", { ...options, auth: { token: "wrong" } });
    const [error] = await once(refused, "connect_error");
    refused.close();
    const unknown = open("/nowhere", options);
    const [missing] = await once(unknown, "connect_error");
    unknown.close();
    return { message: error.message, data: error.data, missing: missing.message };
  },
  async namespaces_share_a_connection(options) {
    const manager = new Manager(url, { ...common, ...options, reconnection: false, forceNew: true });
    const main = manager.socket("/");
    const priv = manager.socket("/private", { auth: { token: "right" } });
    await Promise.all([once(main, "connect"), once(priv, "connect")]);
    const whoami = await priv.timeout(5000).emitWithAck("where");
    const lost = await Promise.race([main.timeout(300).emitWithAck("where").catch(() => "timeout")]);
    priv.disconnect();
    const alive = await main.timeout(5000).emitWithAck("echo", 1);
    main.close();
    return { whoami, lost, alive };
  },
  async families_of_namespaces(options) {
    const [room, unlucky, unknown] = [open("/room-7", options), open("/room-13", { ...options, auth: { a: 1 } }), open("/room-x", options)];
    const [, [error], [missing]] = await Promise.all([once(room, "connect"), once(unlucky, "connect_error"), once(unknown, "connect_error")]);
    const stopped = await room.timeout(200).emitWithAck("secret").catch(() => "timeout");
    const where = await room.timeout(5000).emitWithAck("where");
    [room, unlucky, unknown].forEach((s) => s.close());
    return { where, stopped, message: error.message, data: error.data, missing: missing.message };
  },
  async acks_of_many(options) {
    const sockets = [open("/", options), open("/", options), open("/", options)];
    await Promise.all(sockets.map((s) => once(s, "connect")));
    const [a, b, silent] = sockets;
    a.on("question", (n, answer) => answer("a"));
    b.on("question", (n, answer) => setTimeout(() => answer("b"), 20));
    await Promise.all([a, b].map((s) => s.timeout(5000).emitWithAck("enter", "answering")));
    const all = await silent.timeout(5000).emitWithAck("ask all", "answering");
    await silent.timeout(5000).emitWithAck("enter", "answering");
    const some = await silent.timeout(5000).emitWithAck("ask all", "answering");
    sockets.forEach((s) => s.close());
    return { all, some };
  },
  async the_server_closes_the_connection(options) {
    const manager = new Manager(url, { ...common, ...options, reconnection: false, forceNew: true });
    const main = manager.socket("/");
    const priv = manager.socket("/private", { auth: { token: "right" } });
    await Promise.all([once(main, "connect"), once(priv, "connect")]);
    const gone = Promise.all([once(main, "disconnect"), once(priv, "disconnect")]);
    priv.emit("throw out");
    const [[mainReason], [privReason]] = await gone;
    return { main: mainReason, priv: privReason };
  },
  async many_events_in_order(options) {
    const socket = open("/", options);
    await once(socket, "connect");
    const seen = [];
    socket.on("number", (n) => seen.push(n));
    for (let n = 0; n < 300; n++) socket.emit("number", n);
    await socket.timeout(5000).emitWithAck("echo");
    const counted = await socket.timeout(5000).emitWithAck("count to", 500);
    await socket.timeout(5000).emitWithAck("echo");
    socket.close();
    return { counted, ordered: seen.every((n, i) => n === i), length: seen.length };
  },
};

const transports = { default: {}, websocket: { transports: ["websocket"] }, polling: { transports: ["polling"] } };
const results = {};
for (const [kind, options] of Object.entries(transports)) {
  results[kind] = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    try {
      results[kind][name] = await scenario(options);
    } catch (error) {
      results[kind][name] = { error: String(error) };
    }
  }
}
console.log(JSON.stringify(results));
process.exit(0);
