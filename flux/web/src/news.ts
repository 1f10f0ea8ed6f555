/** The list of news. */

import { make } from "./dom";
import { ago } from "./format";
import type { Article } from "./payload";

const ITEMS = 30;

/** Show the news in the order that they came in. */
export function showNews(articles: Article[], list: HTMLElement): void {
  list.replaceChildren(...articles.slice(0, ITEMS).map(item));
}

/** Bring the ages up to date. */
export function tickNews(list: HTMLElement, now: number): void {
  for (const time of list.querySelectorAll("time")) time.textContent = ago(time.dateTime, now);
}

function item(article: Article): HTMLElement {
  const time = make("time", "", ago(article.publishedAt, Date.now()));
  time.dateTime = article.publishedAt;
  const facts = make("p", "meta", article.source && make("b", "", article.source), time, article.category[0] ? make("span", "", article.category[0]) : null);
  const row = make("li", "", make("h3", "", heading(article)), make("p", "text", article.description), facts);
  row.dataset.testid = "news-item";
  return row;
}

function heading({ title, url }: Article): HTMLElement | string {
  if (!url) return title;
  const anchor = make("a", "", title);
  anchor.href = url;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer nofollow";
  return anchor;
}
