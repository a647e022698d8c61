// The clients that are connected.

import { get } from '../lib/api.js';
import { put } from '../lib/dom.js';
import { ago, count } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { broker } from '../lib/live.js';
import { clientLink, code, empty, heading } from '../lib/widgets.js';

/** Columns of clients and of sessions. */
export function columns() {
  return [
    { key: 'client_id', title: t('Client id'), main: true, text: (one) => one.client_id, cell: (one) => clientLink(one.client_id) },
    { key: 'username', title: t('User'), text: (one) => one.username ?? '–' },
    { key: 'address', title: t('Address'), text: (one) => one.address ?? '–' },
    { key: 'protocol', title: t('Version'), text: (one) => `MQTT ${one.protocol}` },
    { key: 'connected_at', title: t('Connected'), text: (one) => ago(one.connected_at) },
    { key: 'keep_alive', title: t('Keep-alive'), number: true, text: (one) => `${count(one.keep_alive)} s` },
    { key: 'clean_start', title: t('Clean start'), hidden: true, text: (one) => (one.clean_start ? t('yes') : t('no')) },
    { key: 'subscriptions', title: t('Subscriptions'), number: true, text: (one) => count(one.subscriptions) },
    { key: 'received_messages', title: t('In'), number: true, text: (one) => count(one.received_messages) },
    { key: 'sent_messages', title: t('Out'), number: true, text: (one) => count(one.sent_messages) },
    { key: 'queued', title: t('Queued'), number: true, text: (one) => count(one.queued) },
    { key: 'inflight', title: t('In flight'), number: true, hidden: true, text: (one) => count(one.inflight) },
  ];
}

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const table = dataTable({
    name: 'clients', label: t('Clients'), query, sort: 'client_id', search: t('Search for an id, user or address'), columns: columns(), key: (one) => one.client_id, load: (asked) => get('clients', asked),
    empty: empty('clients', t('No clients yet'), t('Clients appear here as soon as they connect. Run the first script of the tutorial:'), code('python3 subscribe.py', 'subscribe.py')),
  });
  const onActivity = ({ kind }) => /connect/.test(kind) && table.refresh();
  broker.activityWatchers.add(onActivity);
  put(view, heading(t('Clients'), t('Connected programs and devices.')), table.node);
  return () => {
    broker.activityWatchers.delete(onActivity);
    table.end();
  };
}
