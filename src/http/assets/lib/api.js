// The broker's HTTP interface, and who is logged in.

/** What `GET /api/v1/session` told; null without a login. */
export let session = null;

let onEnd = () => {};

/** An answer that was not 2xx. `message` is the broker's sentence. */
export class ApiError extends Error {
  constructor(status, code, message, body) {
    super(message);
    this.status = status;
    this.code = code;
    this.body = body;
  }
}

/** Calls `handler` when the session has ended on the server. */
export function whenSessionEnds(handler) {
  onEnd = handler;
}

/** Whether actions are shown: a viewer looks only. */
export function isAdmin() {
  return session?.role === 'admin';
}

/** Asks who is logged in; sets `session`. Gives what is told to those who are not. */
export async function askSession() {
  try {
    session = await request('GET', 'session');
    return session;
  } catch (error) {
    session = null;
    if (error.status === 401) return error.body ?? {};
    throw error;
  }
}

/** Logs in; throws what the broker says if it refuses. */
export async function logIn(user, password) {
  await request('POST', 'login', { user, password });
  await askSession();
}

/** Logs out. */
export async function logOut() {
  await request('POST', 'logout').catch(() => {});
  session = null;
}

/** Asks for `path` below /api/v1, with `query` as its query; null and '' are left out. */
export function get(path, query, signal) {
  const entries = Object.entries(query ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return request('GET', entries.length ? `${path}?${new URLSearchParams(entries)}` : path, undefined, signal);
}

/** Sends `body` to `path`. */
export function post(path, body) {
  return request('POST', path, body);
}

/** Deletes what `path` names. */
export function remove(path) {
  return request('DELETE', path);
}

async function request(method, path, body, signal) {
  const headers = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET' && session?.csrf) headers['x-midge-csrf'] = session.csrf;
  const answer = await fetch(`/api/v1/${path}`, {
    method, headers, signal, credentials: 'same-origin', body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let parsed = null;
  try {
    parsed = text ? JSON.parse(text) : null;
  } catch {
    // An answer that is no JSON has no sentence for us; its status has to do.
  }
  if (answer.ok) return parsed;
  if (answer.status === 401 && session && path !== 'login') {
    session = null;
    onEnd();
  }
  const retry = Number(answer.headers.get('retry-after')) || null;
  const error = new ApiError(answer.status, parsed?.error?.code ?? 'error', parsed?.error?.message ?? `HTTP ${answer.status}`, parsed);
  error.retryAfter = retry;
  throw error;
}
