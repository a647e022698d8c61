// What lasts: where it is stored, whether that works, and how fast.

import { get } from '../lib/api.js';
import { h, icon, put, setText } from '../lib/dom.js';
import { bytes, count, duration, visible } from '../lib/format.js';
import { t, tk } from '../lib/i18n.js';
import { repeat } from '../lib/live.js';
import { badge, code, empty, facts, heading, name, sayError, section } from '../lib/widgets.js';

const KINDS = { ok: 'good', retrying: 'bad', failed: 'bad', closed: 'warn' };

/** Shows the page in `view`; gives what ends it. */
export function mount(view) {
  const state = h('span', {});
  const body = h('div', {});
  const age = h('span', {});
  put(view, heading(t('Storage'), t('What survives a restart of the broker, and where it is.'), state), body);
  let shown = '';
  return repeat(async () => {
    try {
      const answer = await get('storage');
      setText(age, answer.store ? t('{time} ago', { time: duration(answer.store.checkpoint_age_ms) }) : '');
      const signature = JSON.stringify(answer, (key, value) => (key === 'checkpoint_age_ms' ? undefined : value));
      if (signature === shown) return;
      shown = signature;
      put(state, answer.store && badge(tk('storage', answer.state, answer.state), KINDS[answer.state]));
      put(body, answer.store ? stored(answer.state, answer.store, age) : inMemory());
    } catch (error) {
      if (error.status) sayError(error);
    }
  }, 2000);
}

function inMemory() {
  return empty('storage', t('Everything is in memory'), t('Sessions, queued and retained messages are gone when the broker stops. To keep them, start it with a directory of its own:'),
    code('midge serve --set storage.path=/var/lib/midge/store', 'storage.path'));
}

function stored(state, store, age) {
  const { flushes } = store;
  return [
    sentence(state, store),
    store.set_aside && said('warn', t('The store was damaged, and a new one was begun.'), store.set_aside),
    store.sync === 'never' && said('warn', t('Commits are not flushed (storage.sync = never).'), t('What was acknowledged survives the end of the broker, but no loss of power.')),
    section(t('Files'), facts([
      [t('Directory'), name(store.path)], [t('Log'), bytes(store.log_bytes)], [t('Tables'), bytes(store.tables_bytes)], [t('Written'), bytes(store.written_bytes)], [t('Disk errors'), count(store.disk_errors)],
    ])),
    section(t('Commits'), facts([
      [t('Commits'), count(store.commits)], [t('Changes'), count(store.committed_changes)], [t('Changes per commit'), each(store.committed_changes, store.commits)],
      [t('Bytes per commit'), store.commits ? bytes(Math.round(store.committed_bytes / store.commits)) : '–'], [t('Waiting acknowledgements'), count(store.waiting_acknowledgements)], [t('Waiting for a commit'), bytes(store.waiting_bytes)],
    ])),
    section(t('Flushes of the log'), facts([
      [t('Flushes'), count(flushes.count)], [t('Mean'), flushes.count ? time(flushes.total_us / flushes.count) : '–'], [t('99 of 100 within'), within(flushes, 0.99)], [t('Longest'), flushes.count ? time(flushes.longest_us) : '–'],
    ]), histogram(flushes)),
    section(t('Checkpoints'), facts([
      [t('Checkpoints'), count(store.checkpoints)], [t('Last one'), age], [t('Waiting for a checkpoint'), bytes(store.unwritten_bytes)],
      [t('Opened in'), time(store.opening_ms * 1000)], [t('Groups from the log at the start'), count(store.replayed_groups)],
    ])),
  ];
}

/** Whether it works, and what to do. */
function sentence(state, { cause }) {
  if (state === 'ok') return said('good', t('The store works.'), t('What the broker has acknowledged is there again after a restart.'));
  if (state === 'retrying') return said('bad', t('The disk refuses to write; the broker tries again by itself.'), cause, t('Acknowledgements wait, or are refused with 0x97. QoS 0 goes on.'));
  if (state === 'failed') return said('bad', t('The store has failed.'), cause, t('Nothing more is acknowledged. Mend the cause, then start the broker again.'));
  return said('warn', t('The store is closed: the broker stops.'), cause);
}

function said(kind, title, ...rest) {
  return h('p', { class: `verdict ${kind}` }, icon(kind === 'good' ? 'check' : 'warning'), h('span', {}, h('strong', {}, title), rest.filter(Boolean).map((text) => ` ${visible(text)}`)));
}

/** How many flushes took how long, without the empty ends. */
function histogram({ histogram: all }) {
  const first = all.findIndex((one) => one.count > 0);
  if (first < 0) return null;
  const last = all.findLastIndex((one) => one.count > 0);
  const most = Math.max(...all.map((one) => one.count));
  return h('ul', { class: 'bars histogram' }, all.slice(first, last + 1).map((one) => {
    const fill = h('span', { class: 'fill' });
    fill.style.setProperty('width', `${one.count ? Math.max(1, (one.count / most) * 100) : 0}%`);
    const bound = one.up_to_us === null ? t('longer') : `≤ ${time(one.up_to_us)}`;
    return h('li', {}, h('span', { class: 'bar-head' }, h('span', {}, bound), h('span', { class: 'number' }, count(one.count))), h('span', { class: 'track' }, fill));
  }));
}

/** The bound within which a part of the flushes ended. */
function within({ count: all, longest_us: longest, histogram: buckets }, part) {
  if (!all) return '–';
  let seen = 0;
  const found = buckets.find((one) => {
    seen += one.count;
    return seen >= all * part;
  });
  return time(Math.min(found?.up_to_us ?? longest, longest));
}

function each(n, groups) {
  return groups ? (n / groups).toFixed(1) : '–';
}

/** Microseconds with a unit. */
function time(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  return us < 1e6 ? `${+(us / 1000).toPrecision(3)} ms` : `${+(us / 1e6).toPrecision(3)} ${t('s')}`;
}
