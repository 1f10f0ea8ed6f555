/** One section of the page: its state in the DOM (loading, error, stale, simulated, age) and its content. */

import { find, make, write } from "./dom";
import { ago, clock } from "./format";
import { envelope } from "./payload";
import { apply, note, state, waiting, type Section } from "./section";

export class Card<T> {
  readonly root: HTMLElement;
  private section: Section<T> = waiting();
  private readonly facts: HTMLElement;
  private readonly line: HTMLElement;

  /**
   * @param id the section element's id.
   * @param narrow turns a payload's data into what `render` shows; null refuses it.
   * @param render shows the data; called for each payload that brought some.
   */
  constructor(
    id: string,
    private readonly narrow: (data: unknown) => T | null,
    private readonly render: (data: T, root: HTMLElement) => void,
  ) {
    this.root = find(document, `#${id}`);
    this.facts = find(this.root, ".facts");
    this.line = find(this.root, ".note");
    this.show();
  }

  /** Tell whether there is something to show. */
  get filled(): boolean {
    return this.section.data !== null;
  }

  /** Take a payload as it came from the socket. */
  take(payload: unknown): void {
    const before = this.section.data;
    this.section = apply(this.section, envelope(payload), this.narrow);
    if (this.section.data !== null && this.section.data !== before) this.render(this.section.data, this.root);
    this.show();
  }

  /** Forget what was shown and wait. */
  reset(message = ""): void {
    this.section = waiting(message);
    this.show();
  }

  /** Bring the age up to date; called about once a second. */
  tick(now: number): void {
    const age = this.facts.querySelector(".age");
    if (age) write(age, ago(this.section.timestamp, now));
  }

  private show(): void {
    const { section } = this;
    this.root.dataset.state = state(section);
    this.root.setAttribute("aria-busy", String(section.phase === "loading"));
    const text = note(section, clock);
    write(this.line, text);
    this.line.hidden = !text;
    const badges: HTMLElement[] = [];
    if (section.source === "simulated") {
      const badge = make("span", "badge simulated", "simulated");
      badge.title = "Made-up figures: no live source is set, or it has no answer";
      badges.push(badge);
    } else if (section.source) {
      badges.push(make("span", "source", section.source));
    }
    if (section.timestamp) badges.push(make("span", "age", ago(section.timestamp, Date.now())));
    this.facts.replaceChildren(...badges);
  }
}
