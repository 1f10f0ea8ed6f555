/** The card of the top stocks. */

import { find, make } from "./dom";
import { direction, percent, price, short } from "./format";
import type { Stock } from "./payload";

const STOCKS = 20;

/** Show the stocks in the order that they came in. */
export function showStocks(stocks: Stock[], root: HTMLElement): void {
  const rows = stocks.slice(0, STOCKS).map((stock) => {
    const name = make("th", "", make("span", "name", make("b", "", stock.symbol), make("small", "", stock.name)));
    name.scope = "row";
    const row = make(
      "tr",
      "",
      name,
      make("td", "number", price(stock.price, stock.currency)),
      make("td", `number change ${direction(stock.changePercent)}`, percent(stock.changePercent)),
      make("td", "number wide", range(stock)),
      make("td", "number wide", short(stock.volume)),
    );
    row.dataset.testid = "stock-row";
    return row;
  });
  find(root, "tbody").replaceChildren(...rows);
}

/** Where the price stands between the day's low and high. */
function range({ low, high, price: now }: Stock): HTMLElement | string {
  if (low === null || high === null || now === null || high <= low) return "–";
  const meter = make("meter");
  [meter.min, meter.max, meter.value] = [low, high, now];
  meter.title = `${price(low)} to ${price(high)}`;
  return meter;
}
