// The page: health for everybody, charts and the schema's history for those who are signed in.

import { ask, Expired, Offline, Refused, session } from "{{api.js}}";
import { $, make, setText, tell } from "{{dom.js}}";
import { figure, fromField, toField, zoneAt } from "{{format.js}}";
import { hideDetails, showHealth, showSchema, showTile, showUnreachable } from "{{health.js}}";
import { removeCharts, showCharts } from "{{metrics.js}}";
import { rangeBetween, RANGES, readAddress, view, writeAddress } from "{{view.js}}";

/** How often the page asks, where the snapshots do not say how often they come. */
const USUAL_PERIOD = 10_000;
const SHORTEST_PERIOD = 1_000, LONGEST_PERIOD = 60_000;

const state = {
  period: USUAL_PERIOD,
  chartsDue: 0,
  /** What went wrong the last time, in words; when that was over. */
  trouble: null,
  recoveredAt: null,
  round: null,
  timer: null,
};

// ---- Signing in and out ----------------------------------------------------------------------------------

function showSignedOut(words = "", isBad = false) {
  for (const id of ["metrics", "schema", "user", "sign-out"]) $(id).hidden = true;
  hideDetails();
  removeCharts();
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
      const [period] = await Promise.all([isDue && showCharts(signal), showSchema(signal)]);
      if (isDue) {
        state.period = Math.min(LONGEST_PERIOD, Math.max(SHORTEST_PERIOD, period ?? USUAL_PERIOD));
        // Long ranges change slowly, and cost more.
        state.chartsDue = Date.now() + Math.min(LONGEST_PERIOD, view.range.length / 480);
      }
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
    showUnreachable();
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

// ---- The range -------------------------------------------------------------------------------------------

/** The last of the choices: a range between two times. */
const OWN = "own";

function showRanges() {
  const chosen = view.range.key ?? OWN;
  const choice = (value, name) => {
    const input = make("input", { type: "radio", name: "range", value });
    input.checked = value === chosen;
    return make("label", {}, input, name);
  };
  $("ranges").append(...RANGES.map(({ key, name }) => choice(key, name)), choice(OWN, "Other"));
  if (chosen === OWN) openOwnRange();
}

/** Shows the form with what is shown now, where somebody begins. */
function openOwnRange() {
  const to = view.range.to ?? view.to ?? Date.now();
  $("range-from").value = toField(view.range.from ?? view.from ?? to - view.range.length);
  $("range-to").value = toField(to);
  $("own-range").hidden = false;
  showZone();
}

function chooseRange({ target }) {
  if (target.value === OWN) return openOwnRange();
  $("own-range").hidden = true;
  look({ range: RANGES.find(({ key }) => key === target.value) });
}

/** Looks at something else. */
function look(chosen) {
  Object.assign(view, chosen);
  writeAddress();
  refresh();
}

/** Whose times they are. It may be another one in summer than in winter. */
function showZone() {
  const zones = [$("range-from"), $("range-to")].map((it) => fromField(it.value)).filter(Number.isFinite).map(zoneAt);
  setText($("range-zone"), `Local times: ${[...new Set(zones.length > 0 ? zones : [zoneAt(Date.now())])].join(" and ")}`);
}

function showOwnRange(event) {
  event.preventDefault();
  const [from, to] = [$("range-from"), $("range-to")];
  const isMissing = (it) => it.value === "" || it.validity.badInput;
  const isFar = (it) => it.validity.rangeUnderflow || it.validity.rangeOverflow;
  const missing = [from, to].find(isMissing), far = [from, to].find(isFar);
  const isBackwards = !missing && fromField(from.value) >= fromField(to.value);
  const wrong = missing ?? far ?? (isBackwards ? to : null);
  for (const it of [from, to]) it === wrong ? it.setAttribute("aria-invalid", "true") : it.removeAttribute("aria-invalid");
  setText($("range-problem"), missing ? "Enter both times, each with its date." : far ? "Enter times from 1970 to 2261."
    : isBackwards ? "The end has to be after the beginning." : "");
  if (wrong) return wrong.focus();
  look({ range: rangeBetween(fromField(from.value), fromField(to.value)) });
}

function start() {
  readAddress();
  showRanges();
  $("ranges").addEventListener("change", chooseRange);
  $("own-range").addEventListener("submit", showOwnRange);
  $("own-range").addEventListener("input", showZone);
  $("source").addEventListener("change", ({ target }) => look({ source: target.value }));
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
