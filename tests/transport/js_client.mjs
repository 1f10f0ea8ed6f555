// Drives the official Socket.IO client against a server: node js_client.mjs <node_modules> <url>; one JSON object to stdout.
import { createRequire } from "node:module";

const [modules, url] = process.argv.slice(2);
const { io, Manager } = createRequire(modules + "/")("socket.io-client");

const once = (emitter, event, seconds = 5) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} in ${seconds} s`)), seconds * 1000);
    emitter.once(event, (...args) => (clearTimeout(timer), resolve(args)));
  });

const open = (path, options) => io(url + path, { forceNew: true, reconnection: false, ...options });

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
    const manager = new Manager(url, { ...options, reconnection: false, forceNew: true });
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
