// What is looked at: a source, and a range of time. Both stand in the address of the page, to be kept and passed on.

import { dateAndTime } from "{{format.js}}";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/** The last time that may be asked for. */
const LAST = Date.UTC(2262, 0, 1);

export const RANGES = [
  { key: "15m", name: "15 min", words: "last 15 minutes", length: 15 * MINUTE },
  { key: "1h", name: "1 h", words: "last hour", length: HOUR },
  { key: "6h", name: "6 h", words: "last 6 hours", length: 6 * HOUR },
  { key: "24h", name: "24 h", words: "last 24 hours", length: DAY },
  { key: "7d", name: "7 days", words: "last 7 days", length: 7 * DAY },
];

/** What is chosen, and what is shown of it: times, in milliseconds. */
export const view = { range: RANGES[1], source: null, from: null, to: null };

/** A range between two times. */
export function rangeBetween(from, to) {
  return { words: `range from ${dateAndTime(from)} to ${dateAndTime(to)}`, length: to - from, from, to };
}

/** Takes what the address says. What it does not say, or nobody can show, stays as it is. */
export function readAddress() {
  const said = new URLSearchParams(location.search);
  const [from, to] = ["from", "to"].map((it) => Date.parse(said.get(it) ?? ""));
  view.range = from >= 0 && from < to && to <= LAST ? rangeBetween(from, to)
    : RANGES.find((it) => it.key === said.get("range")) ?? view.range;
  view.source = said.get("source") ?? view.source;
}

/** Puts what is chosen into the address. */
export function writeAddress() {
  const { range: { key, from, to }, source } = view;
  const range = key ? { range: key } : { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  history.replaceState(null, "", `?${new URLSearchParams({ ...range, ...(source !== null && { source }) })}`);
}
