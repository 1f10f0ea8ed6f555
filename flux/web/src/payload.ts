/** What the server sends: the envelope and the records in it, narrowed from unknown JSON. */

export interface Stale {
  since: string;
  reason: string;
}

/** One socket payload; `data` is still unknown and is narrowed by the section that shows it. */
export interface Envelope {
  status: "success" | "error" | "loading";
  data: unknown;
  message: string;
  source: string;
  timestamp: string;
  stale: Stale | null;
}

export interface Hour {
  time: string;
  temperature: number;
  rain: number;
}

export interface Weather {
  city: string;
  region: string;
  country: string;
  temperature: number | null;
  feelsLike: number | null;
  humidity: number | null;
  windSpeed: number | null;
  windDirection: number | null;
  pressure: number | null;
  condition: string;
  conditionCode: number | null;
  isDay: boolean;
  hourly: Hour[];
}

export interface Asset {
  id: string;
  symbol: string;
  name: string;
  image: string | null;
  price: number | null;
  currency: string;
  change1h: number | null;
  change24h: number | null;
  marketCap: number | null;
  volume24h: number | null;
  rank: number | null;
}

export interface Article {
  title: string;
  description: string;
  url: string | null;
  source: string;
  publishedAt: string;
  category: string[];
}

export interface Stock {
  symbol: string;
  name: string;
  price: number | null;
  change: number | null;
  changePercent: number | null;
  low: number | null;
  high: number | null;
  volume: number | null;
  currency: string;
}

export interface Tick {
  product: string;
  price: number;
  open24h: number | null;
}

type Fields = Record<string, unknown>;

/** Narrow a socket payload; whatever is not an envelope becomes an error envelope. */
export function envelope(payload: unknown): Envelope {
  const fields = record(payload);
  const status = fields.status;
  const stale = record(fields.stale);
  const known = status === "success" || status === "error" || status === "loading";
  return {
    status: known ? status : "error",
    data: fields.data,
    message: text(fields.message) || (known ? "" : "The server sent something unexpected."),
    source: text(fields.source),
    timestamp: text(fields.timestamp),
    stale: fields.stale ? { since: text(stale.since), reason: text(stale.reason) } : null,
  };
}

/** Narrow weather data; null where there is none. */
export function weather(data: unknown): Weather | null {
  const fields = record(data);
  if (!text(fields.city)) return null;
  return {
    city: text(fields.city),
    region: text(fields.region),
    country: text(fields.country),
    temperature: number(fields.temperature),
    feelsLike: number(fields.feelsLike),
    humidity: number(fields.humidity),
    windSpeed: number(fields.windSpeed),
    windDirection: number(fields.windDirection),
    pressure: number(fields.pressure),
    condition: text(fields.condition),
    conditionCode: number(fields.conditionCode),
    isDay: fields.isDay !== false && fields.isDay !== 0,
    hourly: list(fields.hourly)
      .map((hour) => ({
        time: text(hour.time),
        temperature: number(hour.temperature) ?? NaN,
        rain: number(hour.precipitationProbability) ?? 0,
      }))
      .filter((hour) => Number.isFinite(hour.temperature))
      .slice(0, 24),
  };
}

/** Narrow a list of crypto assets; those without a symbol are left out. */
export function assets(data: unknown): Asset[] {
  return list(data)
    .filter((fields) => text(fields.symbol))
    .map((fields) => ({
      id: text(fields.id) || text(fields.symbol),
      symbol: text(fields.symbol).toUpperCase(),
      name: text(fields.name),
      image: link(fields.image, ["https:"]),
      price: number(fields.price),
      currency: text(fields.currency).toUpperCase(),
      change1h: number(fields.change1h),
      change24h: number(fields.change24h),
      marketCap: number(fields.marketCap),
      volume24h: number(fields.volume24h),
      rank: number(fields.rank),
    }));
}

/** Narrow the movers; null where neither list is there. */
export function movers(data: unknown): { gainers: Asset[]; losers: Asset[] } {
  const fields = record(data);
  return { gainers: assets(fields.topGainers), losers: assets(fields.topLosers) };
}

/** Narrow a list of news items; those without a title are left out. */
export function articles(data: unknown): Article[] {
  return list(data)
    .filter((fields) => text(fields.title))
    .map((fields) => ({
      title: text(fields.title),
      description: text(fields.description),
      url: link(fields.url, ["http:", "https:"]),
      source: text(fields.source),
      publishedAt: text(fields.publishedAt),
      category: Array.isArray(fields.category) ? fields.category.map(text).filter(Boolean) : [],
    }));
}

/** Narrow a list of stocks; those without a symbol are left out. */
export function stocks(data: unknown): Stock[] {
  return list(data)
    .filter((fields) => text(fields.symbol))
    .map((fields) => ({
      symbol: text(fields.symbol),
      name: text(fields.name),
      price: number(fields.price),
      change: number(fields.change),
      changePercent: number(fields.changePercent),
      low: number(fields.low),
      high: number(fields.high),
      volume: number(fields.volume),
      currency: text(fields.currency).toUpperCase(),
    }));
}

/** Narrow the exchange's ticker object; null where product or price is missing. */
export function tick(data: unknown): Tick | null {
  const fields = record(data);
  const price = number(fields.price);
  const product = text(fields.product_id);
  return product && price !== null ? { product, price, open24h: number(fields.open_24h) } : null;
}

/** Return a link if it is absolute and its scheme is one of those allowed, else null. */
export function link(value: unknown, schemes: string[]): string | null {
  const raw = text(value);
  if (!raw) return null;
  try {
    const url = new URL(raw);
    return schemes.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function record(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function list(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(record) : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A finite number, also from the decimal text that exchanges send; else null. */
function number(value: unknown): number | null {
  const parsed = typeof value === "string" && value.trim() ? Number(value) : value;
  return typeof parsed === "number" && Number.isFinite(parsed) ? parsed : null;
}
