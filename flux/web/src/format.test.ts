import { describe, expect, it } from "vitest";

import { ago, clock, compass, direction, hour, NONE, percent, price, short, whole } from "./format";

describe("figures", () => {
  it("gives a price the digits that its size calls for", () => {
    expect(price(64123.456)).toBe("64,123.46");
    expect(price(1.084)).toBe("1.0840");
    expect(price(0.5189)).toBe("0.5189");
    expect(price(0.00001732)).toBe("0.00001732");
    expect(price(0)).toBe("0.00");
    expect(price(12, "USD")).toBe("$12.00");
    expect(price(12, "SEK")).toBe("12.00 SEK");
    expect(price(null, "USD")).toBe(NONE);
  });

  it("signs a change, with a real minus", () => {
    expect(percent(1.234)).toBe("+1.23 %");
    expect(percent(-1.2)).toBe("−1.20 %");
    expect(percent(0)).toBe("0.00 %");
    expect(direction(-1)).toBe("down");
    expect(direction(null)).toBe("flat");
  });

  it("shortens large figures to three digits, and rounds into the next unit", () => {
    expect(short(1.2345e12)).toBe("1.23 T");
    expect(short(999_999)).toBe("1 M");
    expect(short(812)).toBe("812");
    expect(short(null)).toBe(NONE);
  });

  it("never writes a minus before nothing", () => {
    expect(whole(-0.3, "°")).toBe("0°");
    expect(whole(-1.6, "°")).toBe("−2°");
    expect(whole(1013.2, " hPa")).toBe("1,013 hPa");
  });

  it("names the nearest of eight winds, also past north", () => {
    expect(compass(0)).toBe("N");
    expect(compass(350)).toBe("N");
    expect(compass(225)).toBe("SW");
    expect(compass(-45)).toBe("NW");
    expect(compass(null)).toBe("");
  });
});

describe("times", () => {
  const now = Date.parse("2026-01-31T10:00:00Z");

  it("says how long ago a moment was; the future is now", () => {
    expect(ago("2026-01-31T09:59:58Z", now)).toBe("now");
    expect(ago("2026-01-31T10:05:00Z", now)).toBe("now");
    expect(ago("2026-01-31T09:59:18Z", now)).toBe("42 s ago");
    expect(ago("2026-01-31T08:59:00Z", now)).toBe("1 h ago");
    expect(ago("2026-01-28T10:00:00Z", now)).toBe("3 d ago");
    expect(ago("yesterday", now)).toBe("");
  });

  it("takes a forecast's hour without an offset as the city's own", () => {
    expect(hour("2026-01-31T07:00")).toBe("07");
    expect(hour("2026-01-31T07:00:00.000")).toBe("07");
    expect(hour("soon")).toBe("");
  });

  it("leaves out what is no time of day", () => {
    expect(clock("soon")).toBe("");
    expect(clock("2026-01-31T07:00")).toBe("07:00");
  });
});
