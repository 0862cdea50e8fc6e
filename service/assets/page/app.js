// The page: health for everybody, charts and the schema's history for those who are signed in.

import { ask, Expired, Offline, Refused, session } from "{{api.js}}";
import { Chart, make } from "{{chart.js}}";
import { dateAndTime, figure, time } from "{{format.js}}";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

/** How long each range is and how finely it is drawn. */
const RANGES = [
  { name: "15 min", words: "last 15 minutes", length: 15 * MINUTE, step: 15_000 },
  { name: "1 h", words: "last hour", length: HOUR, step: 30_000 },
  { name: "6 h", words: "last 6 hours", length: 6 * HOUR, step: 3 * MINUTE },
  { name: "24 h", words: "last 24 hours", length: DAY, step: 10 * MINUTE },
  { name: "7 days", words: "last 7 days", length: 7 * DAY, step: HOUR },
];

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

/** How often the page asks, where the snapshots do not say how often they come. */
const USUAL_PERIOD = 10_000;
const SHORTEST_PERIOD = 1_000, LONGEST_PERIOD = 60_000;

const $ = (id) => document.getElementById(id);

const state = {
  range: RANGES[1],
  source: null,
  period: USUAL_PERIOD,
  chartsDue: 0,
  /** What went wrong the last time, in words; when that was over. */
  trouble: null,
  recoveredAt: null,
  round: null,
  timer: null,
};

/** The charts that are shown, by type and title. */
const charts = new Map();

/** What is drawn of types that are not known, by type and source, once there was a snapshot to learn from. */
const learnt = new Map();

function line(path, label) {
  return { path, label };
}

// ---- Words for everybody ---------------------------------------------------------------------------------

function tell(words, isBad = false) {
  const notice = $("notice");
  notice.classList.toggle("bad", isBad);
  if (notice.textContent !== words) notice.textContent = words;
}

/** Changes what is shown only where it differs, so that nothing is read aloud or selected anew. */
function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// ---- Health ----------------------------------------------------------------------------------------------

function tile(id, name) {
  let found = $(`tile-${id}`);
  if (!found) {
    found = make("div", { id: `tile-${id}` }, make("dt", {}, name), make("dd", {},
      make("span", { class: "state" }), make("div", { class: "more" })));
    $("health").append(found);
  }
  return found;
}

/** `isGood` is null where it is not known. */
function showTile(id, name, isGood, words, more = "") {
  const found = tile(id, name);
  const said = found.querySelector(".state");
  said.className = `state ${isGood === null ? "" : isGood ? "good" : "bad"}`;
  setText(said, words);
  setText(found.querySelector(".more"), more);
}

/** A route of health that a proxy keeps to itself is no reason to show nothing. */
async function askHealth(path, signal) {
  try {
    return await ask(path, { signal, accept: [503] });
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

async function showHealth(signal) {
  const details = session.token ? askHealth("/health/db", signal) : null;
  const [ready, health, database] =
    await Promise.all([askHealth("/readyz", signal), askHealth("/health", signal), details]);
  const is = (document, good) => document?.status ? document.status === good : null;
  const pick = (isGood, good, bad) => isGood === null ? "Not told" : isGood ? good : bad;
  const [isReady, isHealthy] = [is(ready, "ready"), is(health, "healthy")];
  showTile("service", "Service", isReady, pick(isReady, "Ready", "Not ready"));
  const backend = { postgresql: "PostgreSQL", sqlite: "SQLite" }[database?.backend];
  const answered = database?.latency_ms == null ? null : `answers in ${figure(database.latency_ms)} ms`;
  showTile("database", "Database", isHealthy, pick(isHealthy, "Connected", "Disconnected"),
    [backend, answered].filter(Boolean).join(", "));
  if (database?.pool) {
    const { size, available, waiting, maximum } = database.pool;
    showTile("pool", "Connections", waiting === 0, `${size - available} of ${maximum} in use`,
      waiting === 0 ? "nobody waits" : `${figure(waiting)} waiting`);
  }
  const reasons = ready?.reasons ?? [];
  $("reasons").hidden = reasons.length === 0;
  if (reasons.join("\n") !== [...$("reasons").children].map((it) => it.textContent).join("\n")) {
    $("reasons").replaceChildren(...reasons.map((it) => make("li", {}, it)));
  }
  setText($("updated"), `As of ${time(Date.now())}`);
}

// ---- Schema ----------------------------------------------------------------------------------------------

const SCHEMA_STATES = {
  current: "Up to date", unmigrated: "Not migrated", behind: "Behind", divergent: "Divergent", too_new: "Too new",
};

async function showSchema(signal) {
  const schema = await ask("/api/v1/schema", { signal });
  const words = SCHEMA_STATES[schema.state] ?? schema.state;
  showTile("schema", "Schema", schema.state === "current", words,
    schema.version === null ? "" : `version ${schema.version}`);
  const isNewer = schema.version > schema.newest_known;
  setText($("schema-state"), schema.reason ?? (isNewer ? `This release knows it up to version ${schema.newest_known}` : ""));
  const body = $("history");
  if (body.dataset.shown === JSON.stringify(schema.history)) return;
  body.dataset.shown = JSON.stringify(schema.history);
  body.replaceChildren(...schema.history.toReversed().map((it) => make("tr", {},
    make("td", { class: "number" }, String(it.version)),
    make("td", { class: "name" }, it.name.replaceAll("_", " ")),
    make("td", {}, it.applied_on ? dateAndTime(Date.parse(it.applied_on)) : "–"))));
}

// ---- Charts ----------------------------------------------------------------------------------------------

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

const newest = (query, signal) =>
  ask("/api/v1/metrics/snapshots", { query, signal }).then(({ items }) => items);

/** What is drawn of a type. */
async function chartsOf(type, signal) {
  const key = `${type}\n${state.source}`;
  const known = KNOWN.get(type) ?? learnt.get(key);
  if (known) return known;
  const [latest] = await newest({ metric_type: type, source: state.source, limit: 1 }, signal);
  const title = (path) => `${type[0].toUpperCase()}${type.slice(1)}: ${path}`.replaceAll(/[._]/g, " ");
  const found = [...numbers(latest?.metric_data ?? {})].slice(0, MOST_FIGURES)
    .map((path) => ({ title: title(path), lines: [line(path, "Average")] }));
  if (found.length > 0) learnt.set(key, found);
  return found;
}

/** The points of each path. */
function pointsOf(answer, paths) {
  return new Map(paths.map((path) => [path, answer.buckets.flatMap((bucket) => {
    const figures = paths.length === 1 && "avg" in bucket ? bucket : bucket.values?.[path];
    if (figures?.avg == null) return [];
    return [{ time: Date.parse(bucket.start), avg: figures.avg, max: figures.max ?? figures.avg }];
  })]));
}

async function showType(type, { from, to }, signal) {
  const { step, words } = state.range;
  const wanted = await chartsOf(type, signal);
  const paths = wanted.flatMap((it) => it.lines.map((it) => it.path));
  if (paths.length === 0) return [];
  const query = {
    metric_type: type, source: state.source, step: `${step / 1000}s`, path: paths.join(","), fn: "avg,max",
    from: new Date(from).toISOString(), to: new Date(to).toISOString(),
  };
  const points = pointsOf(await ask("/api/v1/metrics/aggregate", { query, signal }), paths);
  return wanted.map((about) => ({
    type,
    about,
    data: { from, to, step, words, lines: about.lines.map((it) => points.get(it.path)) },
  }));
}

/** Known types first, in the order above; others by name. */
function inOrder(types) {
  const order = Object.fromEntries([...KNOWN.keys()].map((type, index) => [type, index]));
  return types.toSorted((a, b) => (order[a] ?? 99) - (order[b] ?? 99) || a.localeCompare(b));
}

async function showCharts(signal) {
  const { items } = await ask("/api/v1/metrics/series", { signal });
  showSources(items);
  const types = inOrder(items.filter((it) => it.source === state.source).map((it) => it.metric_type));
  // Both ends lie between buckets, so that a bucket stays the same from one look to the next.
  const { length, step } = state.range;
  const to = Math.ceil(Date.now() / step) * step;
  const asked = await Promise.allSettled(types.map((type) => showType(type, { from: to - length, to }, signal)));
  signal.throwIfAborted();
  draw(asked.flatMap((it) => it.value ?? []), types.filter((_, index) => asked[index].status === "rejected"));
  $("no-metrics").hidden = charts.size > 0;
  setText($("no-metrics"), "No snapshots yet. The built-in collector writes them when METRICS_COLLECT_INTERVAL is set; "
    + "agents send theirs to POST /api/v1/metrics/snapshots.");
  const failed = asked.find((it) => it.status === "rejected");
  if (failed) throw failed.reason;
  await learnPeriod(types, signal);
}

/** Shows these charts in this order. Those of types that could not be asked for stay as they are. */
function draw(shown, failedTypes) {
  const keyOf = ({ type, about }) => `${type}\n${about.title}`;
  const keys = new Set(shown.map(keyOf));
  for (const [key, chart] of charts) {
    if (keys.has(key) || failedTypes.includes(key.split("\n")[0])) continue;
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
  if (!last.has(state.source)) {
    // The one that was heard of last.
    state.source = sources.toSorted((a, b) => Date.parse(last.get(b)) - Date.parse(last.get(a)))[0] ?? null;
  }
  const select = $("source");
  select.closest("form").hidden = sources.length === 0;
  if ([...select.options].map((it) => it.value).join("\n") !== sources.join("\n")) {
    select.replaceChildren(...sources.map((it) => make("option", { value: it }, it)));
  }
  select.value = state.source ?? "";
}

/** The page asks as often as snapshots come. */
async function learnPeriod(types, signal) {
  state.period = USUAL_PERIOD;
  if (types.length === 0) return;
  const items = await newest({ metric_type: types[0], source: state.source, limit: 2 }, signal);
  if (items.length < 2) return;
  const between = Date.parse(items[0].timestamp) - Date.parse(items[1].timestamp);
  state.period = Math.min(LONGEST_PERIOD, Math.max(SHORTEST_PERIOD, between));
}

// ---- Signing in and out ----------------------------------------------------------------------------------

function showSignedOut(words = "", isBad = false) {
  for (const id of ["metrics", "schema", "user", "sign-out"]) $(id).hidden = true;
  for (const id of ["schema", "pool"]) $(`tile-${id}`)?.remove();
  charts.forEach((chart) => chart.remove());
  charts.clear();
  state.trouble = state.recoveredAt = null;
  const wasHidden = $("sign-in").hidden;
  $("sign-in").hidden = false;
  tell(words, isBad);
  if (words && wasHidden) $("username").focus();
}

function showUser(user) {
  setText($("user"), user.username);
  for (const id of ["user", "sign-out", "metrics", "schema"]) $(id).hidden = false;
  $("sign-in").hidden = true;
}

async function signIn(event) {
  event.preventDefault();
  const [form, button] = [event.target, event.submitter];
  const problem = $("sign-in-problem");
  const fields = [$("username"), $("password")];
  const missing = fields.find((it) => it.value === "");
  fields.forEach((it) => it.toggleAttribute("aria-invalid", false));
  setText(problem, "");
  if (missing) {
    problem.textContent = "Enter your name and your password.";
    missing.setAttribute("aria-invalid", "true");
    return missing.focus();
  }
  if (button) button.disabled = true;
  try {
    const body = { username: $("username").value, password: $("password").value };
    const { token, user } = await ask("/api/v1/auth/login", { method: "POST", body });
    session.keep(token);
    form.reset();
    tell("");
    showUser(user);
    $("metrics-title").focus();
    refresh();
  } catch (error) {
    problem.textContent = words(error);
    $("password").select();
  } finally {
    if (button) button.disabled = false;
  }
}

function words(error) {
  if (error instanceof Refused) {
    switch (error.status) {
      case 401: return "The name or the password is wrong.";
      case 429: return `Too many failed attempts. Try again in ${figure(error.retryAfter ?? 60)} s.`;
      default: return error.message;
    }
  }
  return error instanceof Offline ? error.message : "Something went wrong on this page. The console says more.";
}

async function signOut() {
  const ended = ask("/api/v1/auth/logout", { method: "POST" });
  stop();
  try {
    await ended;
    session.forget();
    showSignedOut("You are signed out.");
  } catch (error) {
    session.forget();
    const isOver = error instanceof Expired;
    showSignedOut(isOver ? "You are signed out." : "You are signed out here, but the service could not be told.", !isOver);
  }
  refresh();
}

// ---- Again and again -------------------------------------------------------------------------------------

function stop() {
  clearTimeout(state.timer);
  state.round?.abort();
  state.round = null;
}

/** Asks for everything that is due; what was still being asked for is not waited for. */
async function refresh({ charts: chartsToo = true } = {}) {
  stop();
  if (document.hidden) return;
  const round = new AbortController();
  state.round = round;
  const { signal } = round;
  try {
    await showHealth(signal);
    if (session.token) {
      if ($("metrics").hidden) showUser((await ask("/api/v1/auth/whoami", { signal })).user);
      const isDue = chartsToo || Date.now() >= state.chartsDue;
      await Promise.all([showSchema(signal), isDue && showCharts(signal)]);
      // Long ranges change slowly, and cost more.
      if (isDue) state.chartsDue = Date.now() + Math.min(LONGEST_PERIOD, state.range.step / 4);
    }
    recover();
  } catch (error) {
    if (signal.aborted) return;
    fail(error);
  }
  if (state.round === round) state.timer = setTimeout(() => refresh({ charts: false }), state.period);
}

function fail(error) {
  if (error instanceof Expired) return showSignedOut("Your session is over. Sign in again.", true);
  if (error instanceof Offline) {
    showTile("service", "Service", false, "Not reachable");
    showTile("database", "Database", null, "Not known");
    state.trouble = "The service cannot be reached. The page tries again by itself; what it shows is old.";
  } else {
    if (!(error instanceof Refused)) console.error(error);
    state.trouble = words(error);
  }
  tell(state.trouble, true);
}

/** Says that it goes on, for a while. */
function recover() {
  if (state.trouble) {
    tell("The service answers again.");
    state.recoveredAt = Date.now();
  } else if (state.recoveredAt && Date.now() - state.recoveredAt > USUAL_PERIOD) {
    tell("");
    state.recoveredAt = null;
  }
  state.trouble = null;
}

function start() {
  $("ranges").append(...RANGES.map((range, index) => {
    const input = make("input", { type: "radio", name: "range", value: String(index) });
    input.checked = range === state.range;
    return make("label", {}, input, range.name);
  }));
  $("ranges").addEventListener("change", ({ target }) => {
    state.range = RANGES[Number(target.value)];
    refresh();
  });
  $("source").addEventListener("change", ({ target }) => {
    state.source = target.value;
    refresh();
  });
  $("sign-in-form").addEventListener("submit", signIn);
  $("sign-out").addEventListener("click", signOut);
  document.addEventListener("visibilitychange", () => document.hidden ? stop() : refresh());
  addEventListener("online", () => refresh());
  showTile("service", "Service", null, "Asking …");
  showTile("database", "Database", null, "Asking …");
  if (!session.token) showSignedOut();
  refresh();
}

start();
