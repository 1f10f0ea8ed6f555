import { describe, expect, it } from "vitest";

import { place } from "./cities";
import { line, points } from "./chart";
import { Frames } from "./frame";
import { articles, assets, envelope, link, tick, weather } from "./payload";
import { apply, note, state, waiting } from "./section";

const list = (data: unknown) => (Array.isArray(data) ? (data as number[]) : null);
const clock = () => "14:05";

describe("a section", () => {
  const taken = { status: "success", data: [1], source: "simulated", timestamp: "2026-01-31T10:00:00Z" };
  const ready = apply(waiting<number[]>(), envelope(taken), list);

  it("shows data once it succeeded", () => {
    expect(state(ready)).toBe("ready");
    expect(ready.data).toEqual([1]);
    expect(ready.source).toBe("simulated");
  });

  it("keeps what it shows through an error, marked out of date with the reason", () => {
    const failed = apply(ready, envelope({ status: "error", message: "no answer" }), list);
    expect(state(failed)).toBe("stale");
    expect(failed.data).toEqual([1]);
    expect(failed.source).toBe("simulated");
    expect(note(failed, clock)).toBe("Out of date since 14:05: no answer");
    const again = apply(failed, envelope({ status: "error", message: "still none" }), list);
    expect(again.stale).toEqual({ since: taken.timestamp, reason: "still none" });
    expect(state(apply(again, envelope(taken), list))).toBe("ready");
  });

  it("shows the error where there is nothing else to show", () => {
    const failed = apply(waiting<number[]>("wait"), envelope({ status: "error", message: "no answer" }), list);
    expect(state(failed)).toBe("error");
    expect(note(failed, clock)).toBe("no answer");
    expect(state(apply(failed, envelope(taken), list))).toBe("ready");
  });

  it("keeps what it shows through loading", () => {
    expect(apply(ready, envelope({ status: "loading", message: "wait" }), list)).toBe(ready);
    expect(note(apply(waiting<number[]>(), envelope({ status: "loading", message: "wait" }), list), clock)).toBe("wait");
  });

  it("marks stale data with time and reason", () => {
    const old = { status: "success", data: [1], stale: { since: "2026-01-31T10:00:00Z", reason: "no answer" } };
    const section = apply(waiting<number[]>(), envelope(old), list);
    expect(state(section)).toBe("stale");
    expect(note(section, clock)).toBe("Out of date since 14:05: no answer");
  });

  it("treats data that it cannot read, and what is no envelope, as an error", () => {
    const unread = { status: "success", data: 7 };
    expect(state(apply(waiting<number[]>(), envelope(unread), list))).toBe("error");
    expect(state(apply(ready, envelope(unread), list))).toBe("stale");
    for (const junk of [null, 7, "text", [], {}, { status: "fine" }]) {
      expect(apply(waiting<number[]>(), envelope(junk), list).message).not.toBe("");
      expect(apply(ready, envelope(junk), list).stale?.reason).not.toBe("");
    }
  });
});

describe("payloads", () => {
  it("reads numbers from the exchange's decimal text", () => {
    expect(tick({ product_id: "BTC-USD", price: "64000.5", open_24h: "" })).toEqual({
      product: "BTC-USD",
      price: 64000.5,
      open24h: null,
    });
    expect(tick({ product_id: "BTC-USD", price: "much" })).toBeNull();
  });

  it("reads the contract's own small weather example", () => {
    const read = weather({ city: "Delhi", temperature: 32, humidity: 60 });
    expect(read).toMatchObject({ city: "Delhi", temperature: 32, humidity: 60, windSpeed: null, hourly: [] });
    expect(weather({ temperature: 32 })).toBeNull();
  });

  it("leaves out list items that are none", () => {
    expect(assets([null, 7, {}, { symbol: "btc" }]).map((asset) => asset.symbol)).toEqual(["BTC"]);
  });

  it("links to the web only", () => {
    expect(link("https://example.org/a", ["https:"])).toBe("https://example.org/a");
    expect(articles([{ title: "x", url: "javascript:alert(1)" }])[0]?.url).toBeNull();
    expect(articles([{ title: "x", url: "/relative" }])[0]?.url).toBeNull();
  });
});

describe("coalescing", () => {
  it("draws the last value of each key once a frame", () => {
    const frames: (() => void)[] = [];
    const drawn: [string, number][][] = [];
    const queue = new Frames<number>((values) => drawn.push([...values]), (callback) => frames.push(callback));
    for (let value = 0; value < 1000; value += 1) queue.put(value % 2 ? "odd" : "even", value);
    expect(frames.length).toBe(1);
    frames.pop()?.();
    queue.put("odd", 1);
    frames.pop()?.();
    expect(drawn).toEqual([[["even", 998], ["odd", 999]], [["odd", 1]]]);
  });

  it("forgets what waits", () => {
    const frames: (() => void)[] = [];
    const drawn: [string, number][] = [];
    const queue = new Frames<number>((values) => drawn.push(...values), (callback) => frames.push(callback));
    queue.put("old", 1);
    queue.clear();
    queue.put("new", 2);
    expect(frames.length).toBe(1);
    frames.pop()?.();
    expect(drawn).toEqual([["new", 2]]);
  });
});

describe("places and charts", () => {
  it("finds a known city however it is written, and keeps an unknown one as typed", () => {
    expect(place(" sao  paulo ")?.lat).toBe("-23.55");
    expect(place("Ouagadougou")).toEqual({ city: "Ouagadougou" });
    expect(place("  ")).toBeNull();
  });

  it("draws a flat row through the middle and nothing for one point", () => {
    expect(line(points([5, 5], 10, 20, 2))).toBe("M0,10L10,10");
    expect(line(points([5], 10, 20, 2))).toBe("");
    expect(points([1, 3], 10, 20, 2)).toEqual([[0, 18], [10, 2]]);
  });
});
