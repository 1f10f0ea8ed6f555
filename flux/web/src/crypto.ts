/** The cards of the top movers and the top coins. */

import { find, make } from "./dom";
import { direction, percent, price, short } from "./format";
import type { Asset } from "./payload";

const MOVERS = 5;
const COINS = 20;

/** Show the assets that rose and fell the most. */
export function showMovers({ gainers, losers }: { gainers: Asset[]; losers: Asset[] }, root: HTMLElement): void {
  find(root, "[data-testid=movers-gainers]").replaceChildren(...gainers.slice(0, MOVERS).map(mover));
  find(root, "[data-testid=movers-losers]").replaceChildren(...losers.slice(0, MOVERS).map(mover));
}

/** Show the coins in the order that they came in. */
export function showCoins(coins: Asset[], root: HTMLElement): void {
  const rows = coins.slice(0, COINS).map((coin, index) => {
    const name = make("th", "", logo(coin), make("span", "name", make("b", "", coin.name || coin.symbol), make("small", "", coin.symbol)));
    name.scope = "row";
    const row = make(
      "tr",
      "",
      make("td", "number rank", String(coin.rank ?? index + 1)),
      name,
      make("td", "number", price(coin.price, coin.currency)),
      change(coin.change1h, "wide"),
      change(coin.change24h),
      make("td", "number wide", short(coin.marketCap)),
      make("td", "number wide", short(coin.volume24h)),
    );
    row.dataset.testid = "coin-row";
    return row;
  });
  find(root, "tbody").replaceChildren(...rows);
}

function mover(asset: Asset): HTMLElement {
  const row = make(
    "li",
    "",
    logo(asset),
    make("span", "name", make("b", "", asset.symbol), make("small", "", price(asset.price, asset.currency))),
    make("span", `change ${direction(asset.change24h)}`, percent(asset.change24h)),
  );
  row.dataset.testid = "mover-row";
  row.title = asset.name;
  return row;
}

function change(value: number | null, extra = ""): HTMLElement {
  return make("td", `number change ${direction(value)} ${extra}`, percent(value));
}

/** The coin's picture over its first letter, which stays where there is no picture or it fails to load. */
function logo(asset: Asset): HTMLElement {
  const holder = make("span", "logo", asset.symbol.slice(0, 1));
  holder.setAttribute("aria-hidden", "true");
  let hue = 0;
  for (const letter of asset.symbol) hue = (hue * 31 + letter.charCodeAt(0)) % 360;
  holder.style.setProperty("--hue", String(hue));
  if (asset.image) {
    const image = make("img");
    image.alt = "";
    image.loading = "lazy";
    image.referrerPolicy = "no-referrer";
    image.addEventListener("error", () => image.remove());
    image.src = asset.image;
    holder.append(image);
  }
  return holder;
}
