/** What outlives a reload: the user id and the chosen city; a browser may forbid it, then nothing does. */

type Key = "flux.userId" | "flux.city";

export function load(key: Key): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function save(key: Key, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is full or forbidden: the page works all the same, for this visit.
  }
}
