/** The page: each event of the contract goes to the section that shows it. */

import { Card } from "./card";
import { DEFAULT, place, PLACES } from "./cities";
import { Connection } from "./connection";
import { showCoins, showMovers } from "./crypto";
import { find, make, skeleton, write } from "./dom";
import { showNews, tickNews } from "./news";
import { articles, assets, movers, stocks, weather } from "./payload";
import { showStocks } from "./stocks";
import { load, save } from "./store";
import { Ticker } from "./ticker";
import { clearWeather, showWeather } from "./weather";

const newsList = find(document, "#news ol");
const tape = new Ticker();
const weatherCard = new Card("weather", weather, showWeather);
const moversCard = new Card("movers", movers, showMovers);
const stocksCard = new Card("stocks", stocks, showStocks);
const newsCard = new Card("news", articles, (data) => showNews(data, newsList));
const coinsCard = new Card(
  "coins",
  (data) => assets((data as { topCoins?: unknown } | null)?.topCoins),
  showCoins,
);

for (const list of moversCard.root.querySelectorAll("ol")) list.append(...skeleton(5, "li"));
find(stocksCard.root, "tbody").append(...skeleton(10, "tr", 5));
find(coinsCard.root, "tbody").append(...skeleton(10, "tr", 7));
newsList.append(...skeleton(6, "li"));

const banner = find(document, ".connection span");
let here = place(load("flux.city") ?? "") ?? DEFAULT;

const connection = new Connection(here, {
  connection(state, text) {
    document.body.dataset.connection = state;
    write(banner, text);
  },
  weather: (payload) => weatherCard.take(payload),
  settled() {
    // Joining the rooms brought what the server had; what it had not is asked for, once.
    const missing: [Card<unknown>, string][] = [
      [moversCard as Card<unknown>, "cryptoTopMoversRequest"],
      [coinsCard as Card<unknown>, "cryptoTopCoinsRequest"],
      [stocksCard as Card<unknown>, "stockTopPerformersRequest"],
      [newsCard as Card<unknown>, "topNewsRequest"],
    ];
    for (const [card, request] of missing) if (!card.filled) connection.socket.emit(request);
  },
});

connection.socket.on("cryptoTickerResponse", (payload: unknown) => tape.take(payload));
connection.socket.on("cryptoTopMoversResponse", (payload: unknown) => moversCard.take(payload));
connection.socket.on("cryptoTopCoinsResponse", (payload: unknown) => coinsCard.take(payload));
connection.socket.on("stockTopPerformersResponse", (payload: unknown) => stocksCard.take(payload));
connection.socket.on("newsUpdate", (payload: unknown) => newsCard.take(payload));

const form = find<HTMLFormElement>(document, "#weather form");
const input = find<HTMLInputElement>(form, "input");
function search(): void {
  input.value = here.city;
  weatherCard.reset(`Looking for ${here.city}…`);
  clearWeather(here.city, weatherCard.root);
}

search();
find(form, "datalist").append(
  ...PLACES.map(({ city }) => {
    const option = make("option");
    option.value = city;
    return option;
  }),
);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const next = place(input.value);
  if (!next) return;
  here = next;
  input.blur();
  save("flux.city", here.city);
  search();
  connection.move(here);
});

setInterval(() => {
  const now = Date.now();
  tape.tick(now);
  for (const card of [weatherCard, moversCard, coinsCard, stocksCard, newsCard]) card.tick(now);
  tickNews(newsList, now);
}, 1_000);
