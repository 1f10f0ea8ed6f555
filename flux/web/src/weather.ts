/** The weather card. */

import { area, line, points } from "./chart";
import { find, make, svg, write } from "./dom";
import { compass, hour, whole } from "./format";
import type { Hour, Weather } from "./payload";

const [WIDTH, HEIGHT] = [480, 96];

type Sky = "clear-day" | "clear-night" | "partly" | "cloud" | "fog" | "rain" | "snow" | "storm";

/** Show the weather of a city. */
export function showWeather(data: Weather, root: HTMLElement): void {
  const sky = skyOf(data);
  root.dataset.sky = sky === "partly" && !data.isDay ? "clear-night" : sky;
  find(root, ".sky use").setAttribute("href", `#icon-${sky}`);
  write(find(root, ".temperature"), whole(data.temperature, "°"));
  const country = data.country || data.region;
  write(find(root, ".place"), country ? `${data.city}, ${country}` : data.city);
  write(find(root, ".condition"), data.condition || "–");
  const wind = [whole(data.windSpeed, " km/h"), compass(data.windDirection)].filter(Boolean).join(" ");
  field(root, "feels", whole(data.feelsLike, " °C"));
  field(root, "humidity", whole(data.humidity, " %"));
  field(root, "wind", wind);
  field(root, "pressure", whole(data.pressure, " hPa"));
  showHours(data.hourly, root);
}

/** Return to dashes, for a city whose weather is still to come. */
export function clearWeather(city: string, root: HTMLElement): void {
  for (const element of root.querySelectorAll("[data-field]")) write(element, "–");
  write(find(root, ".temperature"), "–");
  write(find(root, ".condition"), "–");
  write(find(root, ".place"), city);
  showHours([], root);
}

/** Which sky to paint: by the WMO code (table 4677), else by the words. */
export function skyOf({ conditionCode: code, condition, isDay }: Weather): Sky {
  if (code !== null) {
    if (code >= 95) return "storm";
    if ((code >= 71 && code <= 77) || code === 85 || code === 86) return "snow";
    if (code >= 51) return "rain";
    if (code >= 45) return "fog";
    if (code === 3) return "cloud";
    if (code === 2) return "partly";
    return isDay ? "clear-day" : "clear-night";
  }
  const words: [RegExp, Sky][] = [
    [/thunder|storm/i, "storm"],
    [/snow|sleet|ice/i, "snow"],
    [/rain|drizzle|shower/i, "rain"],
    [/fog|mist|haze|smoke/i, "fog"],
    [/partly|few|scattered/i, "partly"],
    [/cloud|overcast/i, "cloud"],
  ];
  return words.find(([word]) => word.test(condition))?.[1] ?? (isDay ? "clear-day" : "clear-night");
}

function field(root: HTMLElement, name: string, text: string): void {
  write(find(root, `[data-field="${name}"]`), text);
}

function showHours(hours: Hour[], root: HTMLElement): void {
  const chart = find<SVGElement>(root, ".hourly svg");
  const temperatures = hours.map((each) => each.temperature);
  const row = points(temperatures, WIDTH, HEIGHT, 14);
  find(chart, ".line").setAttribute("d", line(row));
  find(chart, ".area").setAttribute("d", area(row, HEIGHT));
  const width = WIDTH / Math.max(1, hours.length);
  find(chart, ".rain").replaceChildren(
    ...hours.map(({ rain }, index) => {
      const height = (Math.min(100, Math.max(0, rain)) / 100) * HEIGHT;
      return svg("rect", { x: index * width + 1, y: HEIGHT - height, width: width - 2, height });
    }),
  );
  const labels = hours.filter((_, index) => index % 4 === 0).map((each) => make("li", "", hour(each.time)));
  find(root, ".hourly ol").replaceChildren(...labels);
  const [low, high] = [Math.min(...temperatures), Math.max(...temperatures)];
  const range = hours.length ? `${whole(low, "°")} to ${whole(high, "°")}` : "";
  field(root, "range", range);
  const wettest = Math.max(0, ...hours.map((each) => each.rain));
  const summary = hours.length ? `Temperature ${range}, rain at most ${whole(wettest, " %")}` : "No forecast yet";
  chart.setAttribute("aria-label", summary);
}
