// One client: who it is, what it subscribed to, what happened to it, and why it went.

import { get, isAdmin, remove } from '../lib/api.js';
import { h, icon, put, setText } from '../lib/dom.js';
import { ago, clock, count, expiry, visible } from '../lib/format.js';
import { t, tk } from '../lib/i18n.js';
import { repeat } from '../lib/live.js';
import { badge, confirm, empty, facts, heading, name, payloadLine, sayError, section, toast } from '../lib/widgets.js';

/** Messages of the queue that are shown. */
const QUEUED = 20;
const KINDS = { connected: 'good', subscribed: 'good', refused: 'bad', dropped: 'bad', disconnected: 'warn' };

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { rest }) {
  const id = rest.join('/');
  const path = `clients/${encodeURIComponent(id)}`;
  const session = `sessions/${encodeURIComponent(id)}`;
  const state = h('span', {});
  const about = h('div', {});
  const subscriptions = h('div', {});
  const queue = h('div', {});
  const events = h('ol', { class: 'feed' });
  const who = { id: visible(id) };
  const kick = action(t('Disconnect'), 'unplug', t('Disconnect this client?'), t('{id} will be disconnected. It may reconnect at once; most client libraries do.', who), () => remove(path), t('Disconnected.'));
  const finish = action(t('End session'), 'trash', t('End this session?'), t('{id} loses its subscriptions and the messages that wait for it. If it is connected, it is disconnected.', who), () => remove(session), t('The session has ended.'));
  const clear = action(t('Clear queue'), 'trash', t('Clear this queue?'), t('The messages that wait for {id} are dropped.', who), () => remove(`${session}/queue`), t('The queue is empty.'));

  /** A button for administrators, which asks before it acts. */
  function action(label, symbol, question, consequence, act, done) {
    return h('button', { type: 'button', class: 'danger', hidden: true, onclick: async () => {
      if (!await confirm(question, consequence, label)) return;
      try {
        await act();
        toast(done, 'good');
        end.now();
      } catch (error) {
        sayError(error);
      }
    } }, icon(symbol), h('span', {}, label));
  }
  const title = h('span', { class: 'name' }, visible(id) || t('(empty)'));
  const known = section(t('Subscriptions'), subscriptions);
  const waiting = section(t('Queue'), queue, clear);
  const body = h('div', {}, section(null, about), known, waiting, section(t('Events'), events));
  put(view, h('nav', { class: 'crumbs', 'aria-label': t('Location') }, h('a', { href: '#/clients' }, icon('left'), t('Clients'))), heading(title, state, kick, finish), body);
  document.title = `${visible(id)} – Midge`;

  let shown = '';
  const end = repeat(async () => {
    try {
      const answer = await get(path);
      answer.queue = answer.client?.queued ? await get(`${session}/queue?limit=${QUEUED}`) : null;
      const signature = JSON.stringify(answer) + ago(answer.client?.connected_at);
      if (signature !== shown) draw(answer);
      shown = signature;
    } catch (error) {
      if (error.status !== 404) return error.status && sayError(error);
      shown = '';
      kick.hidden = true;
      finish.hidden = true;
      put(state);
      put(body, empty('clients', t('Client not found'), t('It has never connected, or its session has ended.')));
    }
    return undefined;
  }, 2000);

  function draw({ client, subscriptions: filters, queue: queued, events: happened }) {
    put(state, client?.connected ? badge(t('connected'), 'good') : badge(client ? t('offline') : t('ended'), 'warn'));
    kick.hidden = !(client?.connected && isAdmin());
    finish.hidden = !(client && isAdmin());
    clear.hidden = !(queued && isAdmin());
    waiting.hidden = !queued;
    if (queued) put(queue, queueOf(queued));
    if (client) tell(client, filters, happened);
    else put(about, whyGone(happened), h('p', { class: 'muted' }, t('Its session has ended.')));
    known.hidden = !client;
    put(events, happened.length ? happened.toReversed().map((event) => h('li', {}, h('time', {}, clock(event.time)), badge(tk('event', event.kind, event.kind), KINDS[event.kind]), h('span', {}, visible(event.text ?? ''))))
      : h('li', { class: 'muted' }, t('No events recorded.')));
    setText(title, visible(id) || t('(empty)'));
  }

  function tell(client, filters, happened) {
    put(about, !client.connected && whyGone(happened), facts([
      [t('User'), client.username === null ? '–' : visible(client.username)], [t('Address'), client.address ?? '–'], [t('Version'), `MQTT ${client.protocol}`],
      [t('Clean start'), client.clean_start ? t('yes') : t('no')], [t('Keep-alive'), `${count(client.keep_alive)} s`],
      [t('Connected'), h('span', { title: clock(client.connected_at) }, client.connected_at ? ago(client.connected_at) : '–')], [t('Session ends'), expiry(client.session_expiry)],
      [t('Messages in'), count(client.received_messages)], [t('Messages out'), count(client.sent_messages)], [t('Queued'), count(client.queued)], [t('In flight'), count(client.inflight)],
      client.tls && ['TLS', `${client.tls.version}, ${client.tls.cipher}`], client.tls?.certificate && [t('Certificate'), h('span', { title: client.tls.certificate.fingerprint }, visible(client.tls.certificate.subject))],
    ].filter(Boolean)));
    put(subscriptions, filters.length ? h('table', { class: 'small' }, h('thead', {}, h('tr', {}, [t('Filter'), 'QoS', t('Options')].map((title) => h('th', { scope: 'col' }, title)))),
      h('tbody', {}, filters.map((one) => h('tr', {}, h('th', { scope: 'row' }, name(one.filter)), h('td', {}, one.qos), h('td', {}, options(one)))))) : h('p', { class: 'muted' }, t('None. This client receives no messages.')));
  }
  return end;
}

/** The messages that wait for a client, oldest first. */
function queueOf({ total, items }) {
  return [h('table', { class: 'small' }, h('thead', {}, h('tr', {}, [t('Topic'), 'QoS', t('Received'), t('Payload')].map((title) => h('th', { scope: 'col' }, title)))),
    h('tbody', {}, items.map((one) => h('tr', {}, h('th', { scope: 'row' }, name(one.topic)), h('td', {}, one.qos), h('td', {}, clock(one.received_at)), h('td', {}, payloadLine(one.payload)))))),
  total > items.length && h('p', { class: 'muted' }, t('The oldest {n} of {total} messages.', { n: count(items.length), total: count(total) }))];
}

/** The options of a subscription, as badges. */
export function options(one) {
  const badges = [
    one.shared !== null && one.shared !== undefined && badge(t('shared: {group}', { group: visible(one.shared) })), one.no_local && badge(t('no local')), one.retain_as_published && badge(t('retain as published')),
    one.retain_handling > 0 && badge(one.retain_handling === 1 ? t('retained only if new') : t('no retained')), one.identifier > 0 && badge(t('id {n}', { n: one.identifier })),
  ].filter(Boolean);
  return badges.length ? h('span', { class: 'badges' }, badges) : '–';
}

function whyGone(happened) {
  const text = happened.findLast((event) => event.kind === 'disconnected')?.text;
  return text ? h('p', { class: 'verdict warn' }, icon('unplug'), h('span', {}, h('strong', {}, t('Reason:')), ' ', visible(text))) : null;
}
