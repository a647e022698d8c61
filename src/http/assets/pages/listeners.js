// The doors of the broker.

import { get } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { empty, heading } from '../lib/widgets.js';
import { certificates } from './certificates.js';

/** Why handshakes have failed, the most frequent reason first. */
function reasons(one) {
  return one.failure_reasons.map(({ reason, count: times }) => `${reason} (${count(times)})`).join('; ') || '–';
}

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const states = { accepting: t('Accepting'), paused: t('Paused'), stopped: t('Stopped') };
  const table = dataTable({
    name: 'listeners', label: t('Listeners'), query, search: t('Search name or address'), sort: 'name', key: (one) => one.name, load: (asked) => get('listeners', asked),
    columns: [
      { key: 'name', title: t('Name'), main: true, text: (one) => one.name },
      { key: 'address', title: t('Address'), text: (one) => one.address ?? '–', cell: (one) => h('code', { class: 'name' }, one.address ?? '–') },
      { key: 'transport', title: t('Transport'), text: (one) => one.transport },
      { key: 'state', title: t('State'), text: (one) => states[one.state] ?? one.state },
      { key: 'connections', title: t('Connections'), number: true, text: (one) => count(one.connections) },
      { key: 'max_connections', title: t('Limit'), number: true, fixed: true, text: (one) => (one.max_connections === null ? '–' : count(one.max_connections)) },
      { key: 'accepted', title: t('Accepted'), number: true, text: (one) => count(one.accepted) },
      { key: 'refused', title: t('Refused'), number: true, text: (one) => count(one.refused) },
      { key: 'handshake_failures', title: t('Failed handshakes'), number: true, text: (one) => count(one.handshake_failures) },
      { key: 'failure_reasons', title: t('Reasons of failures'), fixed: true, text: reasons },
    ],
    empty: empty('listeners', t('No listeners'), t('No port is open: only the host program publishes and subscribes.')),
  });
  put(view, heading(t('Listeners'), t('The addresses that clients connect to. The settings name them, and the host program or the API may add others.')), table.node, certificates());
  return table.end;
}
