// Health, and the schema with its history.

import { ask, Refused, session } from "{{api.js}}";
import { $, make, setText } from "{{dom.js}}";
import { dateAndTime, figure, time } from "{{format.js}}";

function tile(id, name) {
  let found = $(`tile-${id}`);
  if (!found) {
    found = make("div", { id: `tile-${id}` }, make("dt", {}, name), make("dd", {},
      make("span", { class: "state" }), make("div", { class: "more" })));
    $("health").append(found);
  }
  return found;
}

/** A part and its state. `isGood` is null where it is not known. */
export function showTile(id, name, isGood, words, more = "") {
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

export async function showHealth(signal) {
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

const SCHEMA_STATES = {
  current: "Up to date", unmigrated: "Not migrated", behind: "Behind", divergent: "Divergent", too_new: "Too new",
  unfinished: "Taken back in part",
};

export async function showSchema(signal) {
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

/** Nobody answers: what was known of the parts is known no longer. */
export function showUnreachable() {
  for (const part of $("health").children) {
    const id = part.id.replace("tile-", "");
    const [isGood, words] = id === "service" ? [false, "Not reachable"] : [null, "Not known"];
    showTile(id, "", isGood, words);
  }
}

/** What only those see who are signed in. */
export function hideDetails() {
  for (const id of ["schema", "pool"]) $(`tile-${id}`)?.remove();
  setText(tile("database", "Database").querySelector(".more"), "");
}
