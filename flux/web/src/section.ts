/** The state of one section of the page and how a payload changes it; pure. */

import type { Envelope, Stale } from "./payload";

export interface Section<T> {
  phase: "loading" | "error" | "ready";
  data: T | null;
  message: string;
  source: string;
  timestamp: string;
  stale: Stale | null;
}

/** A section that waits for its first payload. */
export function waiting<T>(message = ""): Section<T> {
  return { phase: "loading", data: null, message, source: "", timestamp: "", stale: null };
}

/**
 * Apply a payload. What was shown stays through `loading` and `error`: old figures marked as such tell
 * more than none. An error marks them as the server does for those who come later: out of date, since
 * they were taken, because of the error.
 *
 * @param narrow turns the payload's data into what the section shows, or null where it is unusable.
 */
export function apply<T>(section: Section<T>, payload: Envelope, narrow: (data: unknown) => T | null): Section<T> {
  if (payload.status === "loading") {
    return section.data === null ? waiting(payload.message) : section;
  }
  const data = payload.status === "success" ? narrow(payload.data) : null;
  if (data === null) {
    const message = payload.message || "No data can be had at the moment.";
    if (section.data === null) return { ...section, phase: "error", message };
    return { ...section, phase: "ready", message: "", stale: { since: section.timestamp, reason: message } };
  }
  const { source, timestamp, stale } = payload;
  return { phase: "ready", data, message: "", source, timestamp, stale };
}

/** What the section's `data-state` says: loading, error, stale or ready. */
export function state<T>(section: Section<T>): "loading" | "error" | "stale" | "ready" {
  return section.phase === "ready" && section.stale ? "stale" : section.phase;
}

/**
 * The line of text shown in the section beside its data; empty for none.
 *
 * @param clock says a moment as a time of day, empty where it is no moment.
 */
export function note<T>(section: Section<T>, clock: (moment: string) => string): string {
  if (section.phase !== "ready") return section.message;
  if (!section.stale) return "";
  const since = clock(section.stale.since);
  return `Out of date${since && ` since ${since}`}${section.stale.reason && `: ${section.stale.reason}`}`;
}
