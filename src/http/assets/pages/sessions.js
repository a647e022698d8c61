// The sessions, also those whose client is away.

import { get } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { count, expiry } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { badge, clientLink, empty, heading, segments } from '../lib/widgets.js';

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  let connected = null;
  const which = segments(t('Filter sessions'), [[null, t('All')], [true, t('Connected')], [false, t('Offline')]], null, (value) => {
    connected = value;
    table.restart();
  });
  const table = dataTable({
    name: 'sessions', label: t('Sessions'), query, sort: 'client_id', search: t('Search for an id, user or address'), extra: which.node, key: (one) => one.client_id, load: (asked) => get('sessions', { ...asked, connected }),
    columns: [
      { key: 'client_id', title: t('Client id'), main: true, text: (one) => one.client_id, cell: (one) => clientLink(one.client_id) },
      { key: 'connected', title: t('State'), text: (one) => (one.connected ? t('connected') : t('offline')), cell: (one) => (one.connected ? badge(t('connected'), 'good') : badge(t('offline'), 'warn')) },
      { key: 'protocol', title: t('Version'), hidden: true, text: (one) => `MQTT ${one.protocol}` },
      { key: 'subscriptions', title: t('Subscriptions'), number: true, text: (one) => count(one.subscriptions) },
      { key: 'queued', title: t('Queued'), number: true, text: (one) => count(one.queued) },
      { key: 'inflight', title: t('In flight'), number: true, text: (one) => count(one.inflight) },
      { key: 'session_expiry', title: t('Ends'), text: (one) => expiry(one.session_expiry) },
    ],
    empty: empty('sessions', t('No sessions'), t('A session is the state that the broker keeps for a client: its subscriptions and pending messages.'),
      t('A session outlives its connection if the client connects without clean session, or with a Session Expiry Interval in MQTT 5.')),
  });
  put(view, heading(t('Sessions'), t('The state that the broker keeps for each client, connected or offline.')), table.node, h('div'));
  return table.end;
}
