/** The one Socket.IO connection: who the viewer is, where they are, and how the connection does. */

import { io, type Socket } from "socket.io-client";

import type { Place } from "./cities";
import { load, save } from "./store";

/** Milliseconds that the page waits for an answer of the server before it goes on without. */
const PATIENCE = 4_000;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export interface Listener {
  /** The connection's state changed; `text` is for people. */
  connection(state: "connecting" | "connected" | "lost", text: string): void;
  /** A weather payload for the present city came. */
  weather(payload: unknown): void;
  /** The location was sent and everything that the server had is here. */
  settled(): void;
}

export class Connection {
  readonly socket: Socket = io();
  private place: Place;
  private userId: string | null;
  private round = 0;

  constructor(
    place: Place,
    private readonly listener: Listener,
  ) {
    this.place = place;
    const kept = load("flux.userId");
    this.userId = kept && UUID.test(kept) ? kept : null;
    this.socket.on("connect", () => this.greet());
    this.socket.on("disconnect", (reason) => this.lost(reason));
    this.socket.on("connect_error", (error) => {
      // While `active` the client tries again by itself; otherwise the server refused it for good.
      const text = this.socket.active ? "Cannot reach the server, trying again…" : `Refused: ${error.message}`;
      listener.connection("lost", text);
    });
    this.socket.on("userUniqueId", (answer: unknown) => this.identified(answer));
    this.socket.on("weather.unknown.update", listener.weather);
    this.listen();
  }

  /** Go to another city: its weather alone is heard from now on. */
  move(place: Place): void {
    this.socket.off(this.event, this.listener.weather);
    this.place = place;
    this.listen();
    if (this.socket.connected) this.send();
  }

  private get event(): string {
    return `weather.${this.place.city}.update`;
  }

  private listen(): void {
    if (this.event !== "weather.unknown.update") this.socket.on(this.event, this.listener.weather);
  }

  private greet(): void {
    this.listener.connection("connected", "Live");
    if (this.userId) {
      this.send();
      return;
    }
    this.socket.emit("getUserId");
    const round = ++this.round;
    // Without an answer the location goes out without an id: the weather matters more.
    setTimeout(() => {
      if (round === this.round && !this.userId && this.socket.connected) this.send();
    }, PATIENCE);
  }

  private identified(answer: unknown): void {
    const id = typeof answer === "string" ? answer : (answer as { userId?: unknown } | null)?.userId;
    if (typeof id !== "string" || !UUID.test(id) || this.userId) return;
    this.userId = id;
    save("flux.userId", id);
    this.send();
  }

  private send(): void {
    const round = ++this.round;
    const location = this.userId ? [this.place, this.userId] : [this.place];
    this.socket.timeout(PATIENCE).emit("userLocationUpdate", ...location, (_late: Error | null, answer?: unknown) => {
      if (round !== this.round) return;
      const { status, message } = (answer ?? {}) as { status?: unknown; message?: unknown };
      if (status === "error") this.listener.weather({ status, message });
      this.listener.settled();
    });
  }

  private lost(reason: string): void {
    this.round += 1;
    if (this.socket.active) {
      this.listener.connection("lost", "Connection lost, reconnecting…");
      return;
    }
    // The server closed it on purpose (a restart, or a client too slow): the client does not come back by itself.
    this.listener.connection("lost", reason === "io server disconnect" ? "Closed by the server, reconnecting…" : "Closed");
    setTimeout(() => this.socket.connect(), 1_000 + 4_000 * Math.random());
  }
}
