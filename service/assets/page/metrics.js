// Charts of the snapshots of a source, in a range of time.

import { ask, Refused } from "{{api.js}}";
import { Chart } from "{{chart.js}}";
import { $, make, setText } from "{{dom.js}}";
import { view } from "{{view.js}}";

const SECOND = 1_000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/** How finely a range is drawn: by the first of these that makes no more than so many points of it. */
const STEPS = [
  ...[1, 2, 5, 10, 15, 30, 60, 180, 600, 1800].map((it) => it * SECOND),
  ...[1, 2, 3, 6, 12].map((it) => it * HOUR), ...[1, 2, 7, 14, 30, 91, 365].map((it) => it * DAY),
];
const MOST_POINTS = 170;

/** A range of which there are no snapshots yet at its begin is drawn from the first on, and no shorter than this. */
const SHORTEST = MINUTE;

/** What is drawn of the types that the built-in collector writes. */
const KNOWN = new Map(Object.entries({
  cpu: [
    { title: "CPU", unit: "percent", top: 100, lines: [line("usage_percent", "In use")] },
    { title: "Load", lines: [line("load_1", "1 minute"), line("load_5", "5 minutes"), line("load_15", "15 minutes")] },
  ],
  memory: [
    { title: "Memory", unit: "percent", top: 100, lines: [line("used_percent", "In use"), line("swap_used_percent", "Swap")] },
  ],
  disk: [
    { title: "Disk space", unit: "percent", top: 100, lines: [line("used_percent", "In use")] },
    { title: "Disk traffic", unit: "rate", lines: [line("read_bytes_per_second", "Read"), line("written_bytes_per_second", "Written")] },
  ],
  network: [
    { title: "Network traffic", unit: "rate", lines: [line("received_bytes_per_second", "Received"), line("sent_bytes_per_second", "Sent")] },
  ],
  service: [
    { title: "Service: memory", unit: "bytes", lines: [line("rss_bytes", "Resident")] },
    { title: "Service: CPU", unit: "percent", lines: [line("cpu_percent", "Of one core")] },
    { title: "Service: connections", lines: [line("pool.size", "Open"), line("pool.available", "Free"), line("pool.waiting", "Waiting")] },
  ],
}));

/** How many figures of a type are drawn that is not known. */
const MOST_FIGURES = 6;

/** How long the paths of one question may be, as an address has them: the service takes 2000 characters. */
const MOST_PATH = 2000;

/** How many pages of series are asked for. */
const MOST_PAGES = 10;

/** The charts that are shown, by type and paths. */
const charts = new Map();

/** What is drawn of types that are not known, by type and source, once there was a snapshot to learn from. */
const learnt = new Map();

function line(path, label) {
  return { path, label };
}

/** Every number in a document, by its path. */
function* numbers(document, prefix = "", depth = 0) {
  for (const [key, value] of Object.entries(document)) {
    if (/[.,]/.test(key) || key === "") continue;
    if (typeof value === "number") yield prefix + key;
    else if (value && typeof value === "object" && !Array.isArray(value) && depth < 3) {
      yield* numbers(value, `${prefix}${key}.`, depth + 1);
    }
  }
}

/** The first paths of figures that one question has room for. */
function pathsOf(document) {
  const paths = [];
  for (const path of numbers(document)) {
    if (paths.length === MOST_FIGURES) break;
    if (encodeURIComponent([...paths, path].join()).length <= MOST_PATH) paths.push(path);
  }
  return paths;
}

const newest = (query, signal) =>
  ask("/api/v1/metrics/snapshots", { query, signal }).then(({ items }) => items);

/** What is drawn of a type. */
async function chartsOf(type, signal) {
  const key = `${type}\n${view.source}`;
  const known = KNOWN.get(type) ?? learnt.get(key);
  if (known) return known;
  const [latest] = await newest({ metric_type: type, source: view.source, limit: 1 }, signal);
  const paths = pathsOf(latest?.metric_data ?? {});
  const plain = (path) => path.replaceAll(/[._]/g, " ");
  // Where two would read the same, each is called by its path.
  const name = (path) => paths.some((it) => it !== path && plain(it) === plain(path)) ? path : plain(path);
  const found = paths.map((path) => ({ title: `${type}: ${name(path)}`, lines: [line(path, "Average")] }));
  if (found.length > 0) learnt.set(key, found);
  return found;
}

/** The points of each path. Where one was asked for, its figures stand in the bucket itself. */
function pointsOf(answer, paths) {
  return new Map(paths.map((path) => [path, answer.buckets.flatMap((bucket) => {
    const { avg, max } = paths.length === 1 ? bucket : bucket.paths[path];
    return avg === null ? [] : [{ time: Date.parse(bucket.start), avg, max }];
  })]));
}

async function showType(type, { from, to, step, words, over }, signal) {
  const wanted = await chartsOf(type, signal);
  const paths = wanted.flatMap((it) => it.lines.map((it) => it.path));
  if (paths.length === 0) return [];
  const query = {
    metric_type: type, source: view.source, step: `${step / 1000}s`, path: paths.join(","), fn: "avg,max",
    from: new Date(from).toISOString(), to: new Date(to).toISOString(),
  };
  const points = pointsOf(await ask("/api/v1/metrics/aggregate", { query, signal }), paths);
  return wanted.map((about) => ({
    type,
    about,
    data: { from, to, step, words, over, lines: about.lines.map((it) => points.get(it.path)) },
  }));
}

/** The range that is drawn. Both ends lie between buckets, so that these are the same at the next look. */
function rangeSince(first) {
  const { words, from: chosen, to: until } = view.range;
  const now = Date.now();
  const length = chosen === undefined ? Math.min(view.range.length, Math.max(SHORTEST, now - first)) : until - chosen;
  const step = STEPS.find((it) => length / it <= MOST_POINTS) ?? STEPS.at(-1);
  const to = Math.ceil((until ?? now) / step) * step;
  const from = chosen === undefined ? to - Math.ceil(length / step) * step : Math.floor(chosen / step) * step;
  [view.from, view.to] = [chosen ?? from, until ?? now];
  return { from, to, step, words, over: to < now };
}

/** Every series that there is, as far as a page can show them. */
async function allSeries(signal) {
  const found = [];
  let cursor = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query = { limit: 1000, ...(cursor && { cursor }) };
    const { items, next_cursor: next } = await ask("/api/v1/metrics/series", { query, signal });
    found.push(...items);
    cursor = next;
    if (!cursor) break;
  }
  return found;
}

/** Known types first, in the order above; others by name. */
function inOrder(types) {
  const order = new Map([...KNOWN.keys()].map((type, index) => [type, index]));
  return types.toSorted((a, b) => (order.get(a) ?? 99) - (order.get(b) ?? 99) || a.localeCompare(b));
}

/** Shows everything of the chosen source and range. Returns how long lies between two snapshots, if it is known. */
export async function showCharts(signal) {
  const series = await allSeries(signal);
  showSources(series);
  const ofSource = series.filter((it) => it.source === view.source);
  const types = inOrder(ofSource.map((it) => it.metric_type));
  const range = rangeSince(Math.min(...ofSource.map((it) => Date.parse(it.first))));
  const asked = await Promise.allSettled(types.map((type) => showType(type, range, signal)));
  signal.throwIfAborted();
  draw(asked.flatMap((it) => it.value ?? []), types.filter((_, index) => asked[index].status === "rejected"));
  $("no-metrics").hidden = charts.size > 0;
  setText($("no-metrics"), "No snapshots yet. The built-in collector writes them when METRICS_COLLECT_INTERVAL is set; "
    + "agents send theirs to POST /api/v1/metrics/snapshots.");
  // What is refused for one type is no trouble of the page, as long as it has something to show.
  const isOfOneType = ({ reason }) => reason instanceof Refused && reason.status < 500 && charts.size > 0;
  const failed = asked.find((it) => it.status === "rejected" && !isOfOneType(it));
  if (failed) throw failed.reason;
  return periodOf(types, signal);
}

/** Shows these charts in this order. Those of types that could not be asked for stay as they are. */
function draw(shown, failedTypes) {
  const keyOf = ({ type, about }) => JSON.stringify([type, ...about.lines.map((it) => it.path)]);
  const keys = new Set(shown.map(keyOf));
  for (const [key, chart] of charts) {
    if (keys.has(key) || failedTypes.includes(JSON.parse(key)[0])) continue;
    chart.remove();
    charts.delete(key);
  }
  const list = $("charts");
  shown.forEach((it, index) => {
    const chart = charts.get(keyOf(it)) ?? new Chart(it.about);
    charts.set(keyOf(it), chart);
    // Moved, an element would lose the focus.
    const isInPlace = list.children[index] === chart.element || (failedTypes.length > 0 && chart.element.isConnected);
    if (!isInPlace) list.insertBefore(chart.element, list.children[index] ?? null);
    chart.update(it.data);
  });
}

function showSources(series) {
  const last = new Map();
  for (const { source, last: at } of series) {
    if (!last.has(source) || last.get(source) < at) last.set(source, at);
  }
  const sources = [...last.keys()].sort((a, b) => a.localeCompare(b));
  if (!last.has(view.source)) {
    // The one that was heard of last.
    view.source = sources.toSorted((a, b) => Date.parse(last.get(b)) - Date.parse(last.get(a)))[0] ?? null;
  }
  const select = $("source");
  select.closest("form").hidden = sources.length === 0;
  if ([...select.options].map((it) => it.value).join("\n") !== sources.join("\n")) {
    select.replaceChildren(...sources.map((it) => make("option", { value: it }, it)));
  }
  select.value = view.source ?? "";
}

/** How long lies between two snapshots, in milliseconds; null where that is not known. */
async function periodOf(types, signal) {
  if (types.length === 0) return null;
  const items = await newest({ metric_type: types[0], source: view.source, limit: 2 }, signal);
  if (items.length < 2) return null;
  return Date.parse(items[0].timestamp) - Date.parse(items[1].timestamp);
}

/** Nothing of it stays. */
export function removeCharts() {
  charts.forEach((chart) => chart.remove());
  charts.clear();
  learnt.clear();
}
