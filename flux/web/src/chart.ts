/** Paths of small charts, in SVG path syntax. */

type Point = [x: number, y: number];

/** Spread values over a box, the lowest at the bottom; a flat row runs through the middle. */
export function points(values: number[], width: number, height: number, pad: number): Point[] {
  const low = Math.min(...values);
  const span = Math.max(...values) - low;
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  return values.map((value, index) => [
    index * step,
    span ? pad + (height - 2 * pad) * (1 - (value - low) / span) : height / 2,
  ]);
}

/** A smooth line: each point is a control point, the curve passes the middles between them. */
export function line(row: Point[]): string {
  const [first, ...rest] = row;
  if (!first || !rest.length) return "";
  let path = `M${at(first)}`;
  rest.forEach((point, index) => {
    const next = rest[index + 1];
    path += next ? `Q${at(point)} ${at([(point[0] + next[0]) / 2, (point[1] + next[1]) / 2])}` : `L${at(point)}`;
  });
  return path;
}

/** The area between a line and the bottom of its box. */
export function area(row: Point[], height: number): string {
  const [first, last] = [row[0], row.at(-1)];
  if (!first || !last || row.length < 2) return "";
  return `${line(row)}L${at([last[0], height])}L${at([first[0], height])}Z`;
}

function at([x, y]: Point): string {
  return `${Math.round(x * 10) / 10},${Math.round(y * 10) / 10}`;
}
