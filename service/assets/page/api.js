// Asks the service. The token is kept for this tab alone, and as long as it is open.

const KEY = "bedplate.token";
const PATIENCE_MS = 15_000;

/** The session is over: it was ended, or its time went by. */
export class Expired extends Error {}

/** Nobody answers. */
export class Offline extends Error {}

/** The service answers, but not with what was asked for. `message` is what it says. */
export class Refused extends Error {
  constructor(answer, problem) {
    super(problem?.detail ?? problem?.title ?? `The service answered with status ${answer.status}.`);
    this.status = answer.status;
    this.retryAfter = Number(answer.headers.get("retry-after")) || null;
  }
}

export const session = {
  get token() { return sessionStorage.getItem(KEY); },
  keep(token) { sessionStorage.setItem(KEY, token); },
  forget() { sessionStorage.removeItem(KEY); },
};

/**
 * The JSON of an answer. Statuses in `accept` are answers as good as any, which `/readyz` and `/health` need:
 * there 503 comes with the reasons.
 */
export async function ask(path, { method = "GET", query, body, signal, accept = [] } = {}) {
  const token = session.token;
  const headers = {};
  if (token && path.startsWith("/api/")) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  const address = query ? `${path}?${new URLSearchParams(query)}` : path;
  const limit = AbortSignal.timeout(PATIENCE_MS);
  let answer, content;
  try {
    answer = await fetch(address, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    content = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Offline("The service cannot be reached.", { cause: error });
  }
  const document = parsed(content);
  if (answer.ok || accept.includes(answer.status)) return document;
  if (answer.status === 401 && headers.authorization) {
    if (session.token === token) session.forget();
    throw new Expired("The session is over.");
  }
  throw new Refused(answer, document);
}

/** Nothing for an empty body, and for one that is no JSON, such as a proxy's. */
function parsed(content) {
  try {
    return JSON.parse(content);
  } catch {
    return null;
  }
}
