// The broker at a glance: numbers with their last 15 minutes, traffic, drops, and what happened of late.

import { get } from '../lib/api.js';
import { chart, spark } from '../lib/chart.js';
import { h, put, setText } from '../lib/dom.js';
import { bytes, clock, count, duration, short, visible } from '../lib/format.js';
import { t, tk } from '../lib/i18n.js';
import { broker, gauge, rate, repeat } from '../lib/live.js';
import { badge, clientLink, code, empty, heading, reasonName, sayError, section } from '../lib/widgets.js';

const KINDS = { connected: 'good', subscribed: 'good', refused: 'bad', dropped: 'bad' };

/** Shows the page in `view`; gives what ends it. */
export function mount(view) {
  const lead = h('span', {}, ' ');
  const tiles = [
    tile(t('Clients'), '#/clients', 'clients_connected', gauge, count, (stats) => t('peak {n}', { n: count(stats.clients_maximum) })),
    tile(t('Messages in'), '#/live', 'messages_published', rate, (n) => `${short(n)}/s`, (stats) => t('total {n}', { n: short(stats.messages_published) })),
    tile(t('Messages out'), '#/live', 'messages_delivered', rate, (n) => `${short(n)}/s`, (stats) => t('total {n}', { n: short(stats.messages_delivered) })),
    tile(t('Dropped'), '#/drops', 'messages_dropped', rate, (n, stats) => count(stats?.messages_dropped), () => t('since start')),
    tile(t('Sessions'), '#/sessions', 'sessions', gauge, count, (stats) => t('{n} offline', { n: count(stats.clients_disconnected) })),
    tile(t('Subscriptions'), '#/subscriptions', 'subscriptions', gauge, count, (stats) => t('{n} queued', { n: count(stats.messages_queued) })),
    tile(t('Retained'), '#/retained', 'retained_messages', gauge, count, (stats) => bytes(stats.retained_bytes)),
    tile(t('Bytes in'), null, 'bytes_received', rate, (n) => `${bytes(n)}/s`, (stats) => t('total {n}', { n: bytes(stats.bytes_received) })),
    tile(t('Bytes out'), null, 'bytes_sent', rate, (n) => `${bytes(n)}/s`, (stats) => t('total {n}', { n: bytes(stats.bytes_sent) })),
  ];
  const traffic = chart([{ label: t('In') }, { label: t('Out'), dashed: true }], (n) => `${short(n)}/s`, t('Messages per second'));
  const hint = h('div', { hidden: true });
  const reasons = h('ul', { class: 'plain reasons' });
  const feed = h('ol', { class: 'feed' });
  const all = h('dl', { class: 'statistics' });
  put(view, heading(t('Overview'), lead), hint, h('div', { class: 'tiles' }, tiles.map((one) => one.node)),
    h('div', { class: 'columns wide' }, section(t('Messages per second'), traffic.node), section(t('Dropped messages'), reasons)),
    section(t('Activity'), feed), h('details', { class: 'panel more' }, h('summary', {}, t('All statistics')), all));

  let started = null;
  const showStats = (stats) => {
    for (const one of tiles) one.update(stats);
    traffic.update([rate('messages_published'), rate('messages_delivered')]);
    showReasons(reasons, stats);
    for (const node of all.querySelectorAll('dd')) setText(node, count(stats[node.dataset.name]));
    hint.hidden = stats.clients_connected > 0;
    if (!hint.hidden && !hint.firstChild) put(hint, firstSteps());
    if (started) setText(lead, t('Midge {version}, running for {time}', { version: started.version, time: duration(Date.now() - started.started) }));
  };
  const showFeed = () => {
    put(feed, broker.activity.length ? broker.activity.slice(0, 12).map((event) => h('li', {}, h('time', {}, clock(event.time)), badge(tk('event', event.kind, event.kind), KINDS[event.kind]),
      event.client_id !== null && event.client_id !== undefined && clientLink(event.client_id), h('span', { class: 'muted' }, visible(event.text ?? '')))) : h('li', { class: 'muted' }, t('Connects and disconnects of clients appear here.')));
  };
  const end = repeat(async () => {
    try {
      started = await get('overview');
    } catch (error) {
      if (error.status) sayError(error);
      return;
    }
    // The clocks of the broker's machine and of this one may differ: what counts is how long it has been running.
    started.started = Date.now() - started.uptime_ms;
    if (!all.firstChild) put(all, started.statistics.map(({ name, help }) => h('div', {}, h('dt', {}, h('code', {}, name), h('small', {}, help)), h('dd', { 'data-name': name }))));
    showStats(broker.stats ?? started.stats);
  }, 60000);
  broker.watchers.add(showStats);
  broker.activityWatchers.add(showFeed);
  showFeed();
  if (broker.stats) showStats(broker.stats);
  return () => {
    broker.watchers.delete(showStats);
    broker.activityWatchers.delete(showFeed);
    traffic.end();
    end();
  };
}

function tile(label, href, name, series, format, under) {
  const value = h('strong', {});
  const note = h('small', {});
  const line = spark();
  const node = h(href ? 'a' : 'div', { class: 'tile', href }, h('span', { class: 'label' }, label), value, note, line.node);
  return {
    node,
    update(stats) {
      const points = series(name);
      const now = series === gauge ? stats[name] : points.at(-1)?.[1] ?? 0;
      setText(value, format(now, stats));
      setText(note, under(stats));
      line.update(points);
    },
  };
}

function showReasons(list, stats) {
  const found = Object.entries(stats).filter(([name, n]) => name.startsWith('messages_dropped_') && n > 0).sort((a, b) => b[1] - a[1]).slice(0, 5);
  const signature = JSON.stringify(found);
  if (list.dataset.shown === signature) return;
  list.dataset.shown = signature;
  put(list, found.length ? found.map(([name, n]) => h('li', {}, h('a', { href: '#/drops' }, reasonName(name.slice('messages_dropped_'.length))), h('span', { class: 'number' }, count(n)))) : h('li', { class: 'muted' }, t('None. Every message was delivered.')));
}

function firstSteps() {
  return empty('clients', t('No clients yet'), t('The broker is running and waiting for clients. In a terminal:'), code('python3 subscribe.py', 'subscribe.py'),
    h('p', {}, h('a', { href: '#/tutorial' }, t('The tutorial has the script and the next steps.'))));
}
