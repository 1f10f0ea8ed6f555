/** The tape of live prices: one fixed place a product, drawn at most once an animation frame. */

import { line, points } from "./chart";
import { find, make, skeleton, svg, write } from "./dom";
import { ago, direction, percent, price } from "./format";
import { Frames } from "./frame";
import { envelope, tick, type Tick } from "./payload";

/** Bounds the page's memory against a feed with endless product names. */
const MAX_PRODUCTS = 100;
/** Points of the small chart, one every `STEP` milliseconds at most: about two minutes. */
const POINTS = 60;
const STEP = 2_000;
const [WIDTH, HEIGHT] = [72, 26];

const SIGNS = { up: "▲", down: "▼", flat: "•" };

interface Row {
  root: HTMLLIElement;
  price: HTMLElement;
  change: HTMLElement;
  path: SVGElement;
  last: number;
  history: number[];
  sampled: number;
}

export class Ticker {
  private readonly rows = new Map<string, Row>();
  private readonly root = find(document, "#ticker");
  private readonly list = find(this.root, "ul");
  private readonly rate = find(document, ".rate b");
  private readonly frames = new Frames<Tick>((ticks) => this.draw(ticks));
  private received = 0;
  private latest = "";
  private source = "";

  constructor() {
    this.list.append(...skeleton(8, "li"));
  }

  /** Take one ticker payload as it came from the socket; cheap, nothing is drawn yet. */
  take(payload: unknown): void {
    this.received += 1;
    const { status, data, message, source, timestamp } = envelope(payload);
    if (status !== "success") {
      this.note(status, message);
      return;
    }
    const value = tick(data);
    if (!value) return;
    if (timestamp) this.latest = timestamp;
    if (source !== this.source) {
      // The prices of one source must not stand under the name of another.
      this.frames.clear();
      this.rows.clear();
      this.source = source;
      this.note("ready", "");
    } else if (this.root.dataset.state !== "ready") {
      this.note("ready", "");
    }
    this.frames.put(value.product, value);
  }

  /** Show how many updates came since the last call, made once a second, and how old the last one is. */
  tick(now: number): void {
    write(this.rate, this.received.toLocaleString("en"));
    this.received = 0;
    const age = this.root.querySelector(".age");
    if (age) write(age, ago(this.latest, now));
  }

  private note(state: string, message: string): void {
    this.root.dataset.state = state;
    const line = find(this.root, ".note");
    write(line, message);
    line.hidden = !message;
    const simulated = this.source === "simulated";
    const badge = this.source ? make("span", simulated ? "badge simulated" : "source", this.source) : null;
    find(this.root, ".facts").replaceChildren(...(badge ? [badge] : []), make("span", "age", ago(this.latest, Date.now())));
  }

  private draw(ticks: Map<string, Tick>): void {
    const now = performance.now();
    for (const value of ticks.values()) {
      const row = this.rows.get(value.product) ?? this.add(value);
      if (row) this.update(row, value, now);
    }
  }

  private update(row: Row, value: Tick, now: number): void {
    write(row.price, price(value.price));
    const change = value.open24h ? (value.price / value.open24h - 1) * 100 : null;
    const way = direction(change);
    write(row.change, `${SIGNS[way]} ${percent(change)}`);
    row.root.dataset.way = way;
    if (value.price !== row.last) {
      // Two names of one animation: changing the name starts it again without forcing a layout.
      const step = value.price > row.last ? "up" : "down";
      row.root.dataset.flash = row.root.dataset.flash === `${step}-a` ? `${step}-b` : `${step}-a`;
      row.last = value.price;
    }
    if (now - row.sampled >= STEP || row.history.length < 2) {
      row.history.push(value.price);
      if (row.history.length > POINTS) row.history.shift();
      row.sampled = now;
    } else {
      row.history[row.history.length - 1] = value.price;
    }
    row.path.setAttribute("d", line(points(row.history, WIDTH, HEIGHT, 2)));
  }

  private add(value: Tick): Row | null {
    if (this.rows.size >= MAX_PRODUCTS) return null;
    if (!this.rows.size) this.list.replaceChildren();
    const [base, quote = ""] = value.product.split("-");
    const path = svg("path");
    const row: Row = {
      root: make("li"),
      price: make("b", "price"),
      change: make("span", "change"),
      path,
      last: value.price,
      history: [],
      sampled: 0,
    };
    row.root.dataset.testid = "ticker-row";
    row.root.dataset.product = value.product;
    row.price.dataset.testid = "ticker-price";
    const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, path);
    row.root.append(make("span", "product", make("b", "", base ?? ""), quote && ` ${quote}`), row.change, row.price, chart);
    this.rows.set(value.product, row);
    // By name, so that a product has the same place each time, whichever came first.
    const names = [...this.rows.keys()].sort(byWeight);
    const next = names[names.indexOf(value.product) + 1];
    this.list.insertBefore(row.root, (next && this.rows.get(next)?.root) || null);
    return row;
  }
}

const FIRST = ["BTC", "ETH", "SOL", "XRP", "ADA", "DOGE"];

function byWeight(a: string, b: string): number {
  const rank = (name: string) => (FIRST.indexOf(name.split("-")[0] ?? "") + FIRST.length + 1) % (FIRST.length + 1);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}
