/** Making and finding elements; text goes in as text, never as markup. */

type Child = Node | string | null;

/** Make an element with a class and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Make an SVG element with attributes. */
export function svg(tag: string, attributes: Record<string, string | number> = {}, ...children: Node[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Find an element that the page's own markup has. */
export function find<E extends Element = HTMLElement>(root: ParentNode, selector: string): E {
  const element = root.querySelector<E>(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}

/** Set a text only where it changed: the tape does this thousands of times a second. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Grey bars in the place of rows that are still to come, so that nothing jumps when they do. */
export function skeleton(count: number, tag: "li" | "tr", columns = 1): HTMLElement[] {
  return Array.from({ length: count }, () => {
    const row = make(tag, "skeleton");
    row.setAttribute("aria-hidden", "true");
    if (tag === "tr") {
      const cell = make("td", "", make("span"));
      cell.colSpan = columns;
      row.append(cell);
    } else {
      row.append(make("span"));
    }
    return row;
  });
}
