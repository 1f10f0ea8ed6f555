/** How figures and times read; pure, with the time as an argument. */

export const NONE = "–";

const MINUS = "−";

/** A price with the digits that its size calls for: 64,123.45, 1.0840, 0.00001234. */
export function price(value: number | null, currency = ""): string {
  if (value === null) return NONE;
  const size = Math.abs(value);
  const digits = size === 0 || size >= 100 ? 2 : size >= 1 ? (size >= 10 ? 2 : 4) : Math.min(8, 3 - Math.floor(Math.log10(size)));
  const figure = fixed(value, digits);
  if (!currency) return figure;
  const sign = SIGNS[currency];
  return sign ? sign + figure : `${figure} ${currency}`;
}

const SIGNS: Record<string, string> = { USD: "$", EUR: "€", GBP: "£", INR: "₹", JPY: "¥" };

/** A change in percent with its sign: +1.20 %. */
export function percent(value: number | null): string {
  if (value === null) return NONE;
  const sign = value > 0 ? "+" : value < 0 ? MINUS : "";
  return `${sign}${fixed(Math.abs(value), 2)} %`;
}

/** A large figure in short: 1.27 T, 34.6 B, 812 K. */
export function short(value: number | null): string {
  if (value === null) return NONE;
  const units: [number, string][] = [[1e12, " T"], [1e9, " B"], [1e6, " M"], [1e3, " K"]];
  // Three significant digits: 999,999 rounds up into the next unit.
  const rounded = Number(value.toPrecision(3));
  const [size, unit] = units.find(([least]) => Math.abs(rounded) >= least) ?? [1, ""];
  return Number((rounded / size).toPrecision(3)).toString() + unit;
}

/** A whole number with a unit: 32 °C; the minus sign is a real one. */
export function whole(value: number | null, unit: string): string {
  if (value === null) return NONE;
  const rounded = Math.round(value) || 0;
  return `${rounded < 0 ? MINUS : ""}${Math.abs(rounded).toLocaleString("en")}${unit}`;
}

/** A wind direction in degrees as one of eight points; the direction it comes from. */
export function compass(degrees: number | null): string {
  if (degrees === null) return "";
  const points = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
  return points[((Math.round(degrees / 45) % 8) + 8) % 8] ?? "";
}

/** How long ago a moment was: now, 12 s ago, 4 min ago, 3 h ago, 2 d ago; empty where it is no time. */
export function ago(moment: string, now: number): string {
  const then = Date.parse(moment);
  if (Number.isNaN(then)) return "";
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** The hour of a forecast time: a time without an offset is the city's own and is taken as it stands. */
export function hour(time: string): string {
  const local = /T(\d\d):\d\d(?::\d\d(?:\.\d+)?)?$/.exec(time);
  if (local) return local[1] ?? "";
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : String(date.getHours()).padStart(2, "0");
}

/** A moment as the viewer's time of day: 14:05; empty where it is no time. */
export function clock(moment: string): string {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return "";
  return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** Which way a figure went: up, down or flat. */
export function direction(change: number | null): "up" | "down" | "flat" {
  return change === null || change === 0 ? "flat" : change > 0 ? "up" : "down";
}

const formats = new Map<number, Intl.NumberFormat>();

function fixed(value: number, digits: number): string {
  let format = formats.get(digits);
  if (!format) {
    // Made once a digit count: the tape formats thousands of prices a second.
    format = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(digits, format);
  }
  return format.format(value);
}
