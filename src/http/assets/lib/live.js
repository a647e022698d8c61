// What the broker sends by itself: streams that come back when they break, and rest while the page is hidden.

import { askSession, get } from './api.js';

/** Listeners of the shell: told `true` when the broker is heard, `false` when it is not. */
export const connection = { heard: true, watchers: new Set() };

function tell(heard) {
  if (connection.heard === heard) return;
  connection.heard = heard;
  for (const watcher of connection.watchers) watcher(heard);
}

/** Longest pause before a broken stream is tried again. */
const PAUSE_MAX = 8000;

/**
 * Listens to the events of `path` below /api/v1: `handlers` has one function for each kind, told the parsed data, and
 * perhaps `open`. Gives a function that ends it.
 */
export function stream(path, handlers) {
  let source = null;
  let pause = 500;
  let timer = 0;
  let ended = false;

  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const start = () => {
    stop();
    if (ended || document.hidden) return;
    source = new EventSource(`/api/v1/${path}`);
    source.onopen = () => {
      pause = 500;
      tell(true);
      handlers.open?.();
    };
    source.onerror = () => {
      stop();
      if (ended) return;
      tell(false);
      // A session that ended looks the same to an EventSource as a broker that went: this asks which it was.
      askSession().then((answer) => answer.user || window.dispatchEvent(new Event('midge:logged-out')), () => {});
      timer = setTimeout(start, pause);
      pause = Math.min(pause * 2, PAUSE_MAX);
    };
    for (const [kind, handler] of Object.entries(handlers)) {
      if (kind !== 'open') source.addEventListener(kind, (event) => handler(JSON.parse(event.data)));
    }
  };
  document.addEventListener('visibilitychange', start);
  start();
  return () => {
    ended = true;
    document.removeEventListener('visibilitychange', start);
    stop();
  };
}

/** Calls `work` now, again `ms` after it has ended, and at once when the page is shown again. Gives a function that ends it. */
export function repeat(work, ms) {
  let ended = false;
  let running = false;
  let timer = 0;
  const run = async () => {
    clearTimeout(timer);
    if (ended || running) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      if (!ended && !document.hidden) timer = setTimeout(run, ms);
    }
  };
  const shown = () => document.hidden || run();
  document.addEventListener('visibilitychange', shown);
  run();
  const end = () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', shown);
  };
  end.now = run;
  return end;
}

/** The broker's statistics: the last values, 15 minutes of them, and the events of late. */
export const broker = { stats: null, names: [], points: [], step: 5000, activity: [], watchers: new Set(), activityWatchers: new Set() };

/** Points that are kept: 15 minutes at one each 5 seconds. */
const POINTS = 180;
/** Events that are kept for the overview. */
const EVENTS = 50;

/** Begins to follow the broker; gives a function that ends it. */
export function followBroker() {
  const history = async () => {
    const answer = await get('history');
    broker.names = answer.names;
    broker.points = answer.points;
    broker.step = answer.step_ms;
  };
  const end = stream('events', {
    open: () => {
      // The stream begins with the last events.
      broker.activity = [];
      history().catch(() => {});
    },
    stats: (stats) => {
      broker.stats = stats;
      const last = broker.points.at(-1);
      if (broker.names.length && (!last || stats.time - last[0] >= broker.step)) {
        broker.points.push([stats.time, ...broker.names.map((name) => stats[name] ?? 0)]);
        broker.points.splice(0, broker.points.length - POINTS);
      }
      for (const watcher of broker.watchers) watcher(stats);
    },
    activity: (event) => {
      broker.activity.unshift(event);
      broker.activity.length = Math.min(broker.activity.length, EVENTS);
      for (const watcher of broker.activityWatchers) watcher(event);
    },
  });
  return () => {
    end();
    Object.assign(broker, { stats: null, points: [], activity: [] });
  };
}

/** The values of a gauge over the 15 minutes: `[[ms, n], …]`. */
export function gauge(name) {
  const at = broker.names.indexOf(name) + 1;
  return at ? broker.points.map((point) => [point[0], point[at]]) : [];
}

/** The rate of a counter over the 15 minutes, each second: `[[ms, n], …]`. */
export function rate(name) {
  const at = broker.names.indexOf(name) + 1;
  if (!at) return [];
  return broker.points.slice(1).map((point, before) => {
    const previous = broker.points[before];
    return [point[0], Math.max(0, point[at] - previous[at]) / Math.max(0.001, (point[0] - previous[0]) / 1000)];
  });
}
