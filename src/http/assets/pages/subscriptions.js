// Who subscribed to what, and who would receive a topic.

import { get } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { t, tn } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { badge, clientLink, empty, heading, name, section } from '../lib/widgets.js';
import { options } from './client.js';

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const answer = h('div', { 'aria-live': 'polite' });
  const topic = h('input', { name: 'topic', placeholder: t('A topic, such as chat'), 'aria-label': t('Topic'), required: true, spellcheck: 'false', autocapitalize: 'none', value: query.topic ?? '' });
  const ask = async () => {
    if (!topic.value) return;
    try {
      show(answer, await get('subscriptions/match', { topic: topic.value }));
    } catch (error) {
      put(answer, h('p', { class: 'problem' }, error.message));
    }
  };
  const form = h('form', { class: 'ask', onsubmit: (event) => {
    event.preventDefault();
    ask();
  } }, topic, h('button', { class: 'primary' }, t('Look up')));
  const table = dataTable({ name: 'subscriptions', label: t('Subscriptions'), query, ...subscriptionTable() });
  put(view, heading(t('Subscriptions'), t('The subscriptions of each client.')), section(t('Who receives a topic?'), form, answer), table.node);
  ask();
  return table.end;
}

/** What the table of subscriptions shows. */
export function subscriptionTable() {
  return {
    sort: 'filter', search: t('Search for a filter or client'), key: (one) => `${one.filter}\n${one.client_id}`, load: (asked) => get('subscriptions', asked),
    columns: [
      { key: 'filter', title: t('Filter'), main: true, text: (one) => one.filter, cell: (one) => name(one.filter) },
      { key: 'client_id', title: t('Client'), text: (one) => one.client_id ?? '\u0000', cell: (one) => clientLink(one.client_id) },
      { key: 'qos', title: 'QoS', number: true, text: (one) => String(one.qos) },
      { key: 'options', title: t('Options'), fixed: true, text: (one) => JSON.stringify([one.shared, one.no_local, one.retain_as_published, one.retain_handling, one.identifier]), cell: options },
    ],
    empty: empty('subscriptions', t('No subscriptions'), t('Messages published now reach no client. Start a subscriber first, as in the tutorial.')),
  };
}

function show(answer, { receivers, retained }) {
  put(answer, h('p', { class: `verdict ${receivers.length ? 'good' : 'bad'}` }, icon(receivers.length ? 'check' : 'warning'),
    h('span', {}, h('strong', {}, receivers.length ? tn(receivers.length, '{n} receiver', '{n} receivers') : t('No receivers.')), ' ',
      receivers.length ? '' : t('No subscription matches this topic; a message to it would be dropped.'), ' ', retained ? t('The topic has a retained message.') : '')),
  receivers.length > 0 && h('ul', { class: 'receivers' }, receivers.map((one) => h('li', {}, h('div', { class: 'who' }, clientLink(one.client_id), badge(`QoS ${one.qos}`), one.shared && badge(t('one member of the group'))),
    h('div', { class: 'filters' }, one.filters.map((filter) => [name(filter.filter), h('span', { class: 'muted' }, `QoS ${filter.qos}`)]))))));
}
