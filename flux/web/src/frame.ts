/** Coalescing: however many values come in, the last one of each key is drawn once an animation frame. */

export class Frames<V> {
  private readonly waiting = new Map<string, V>();
  private asked = false;

  /**
   * @param draw gets the last value of each key that changed since the frame before.
   * @param schedule asks for the next frame; `requestAnimationFrame` but in tests.
   */
  constructor(
    private readonly draw: (values: Map<string, V>) => void,
    private readonly schedule: (callback: () => void) => void = (callback) => requestAnimationFrame(callback),
  ) {}

  /** Forget what has not been drawn yet. */
  clear(): void {
    this.waiting.clear();
  }

  /** Take a value; an earlier one of the same key that was not drawn yet is dropped. */
  put(key: string, value: V): void {
    this.waiting.set(key, value);
    if (this.asked) return;
    this.asked = true;
    this.schedule(() => {
      this.asked = false;
      const values = new Map(this.waiting);
      this.waiting.clear();
      this.draw(values);
    });
  }
}
