// The doors of the broker.

import { get } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { count } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { empty, heading } from '../lib/widgets.js';
import { certificates } from './certificates.js';

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const table = dataTable({
    name: 'listeners', label: t('Listeners'), query, sort: 'name', key: (one) => one.name, load: (asked) => get('listeners', asked),
    columns: [
      { key: 'name', title: t('Name'), main: true, text: (one) => one.name },
      { key: 'address', title: t('Address'), text: (one) => one.address ?? '–', cell: (one) => h('code', { class: 'name' }, one.address ?? '–') },
      { key: 'connections', title: t('Connections'), number: true, text: (one) => count(one.connections) },
    ],
    empty: empty('listeners', t('No listeners'), t('No port is open: only the host program publishes and subscribes.')),
  });
  put(view, heading(t('Listeners'), t('The addresses that clients connect to. The host program sets them.')), table.node, certificates());
  return table.end;
}
