// The doors of the broker.

import { get, isAdmin, post, remove } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { count, visible } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { confirm, empty, heading, sayError, toast } from '../lib/widgets.js';
import { certificates } from './certificates.js';
import { addListener } from './listener.js';

/** Why handshakes have failed, the most frequent reason first. */
function reasons(one) {
  return one.failure_reasons.map(({ reason, count: times }) => `${reason} (${count(times)})`).join('; ') || '–';
}

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const states = { accepting: t('Accepting'), paused: t('Paused'), stopped: t('Stopped') };
  const act = async (question, path, done, call = post) => {
    if (question && !await confirm(...question)) return;
    try {
      await call(path);
      toast(done, 'good');
    } catch (error) {
      sayError(error);
    }
    table.refresh();
  };
  const table = dataTable({
    name: 'listeners', label: t('Listeners'), query, search: t('Search name or address'), sort: 'name', key: (one) => one.name, load: (asked) => get('listeners', asked),
    columns: [
      { key: 'name', title: t('Name'), main: true, text: (one) => one.name },
      { key: 'address', title: t('Address'), text: (one) => one.address ?? '–', cell: (one) => h('code', { class: 'name cut', title: one.address }, one.address ?? '–') },
      { key: 'transport', title: t('Transport'), text: (one) => one.transport },
      { key: 'state', title: t('State'), text: (one) => states[one.state] ?? one.state },
      isAdmin() && { key: 'actions', title: t('Actions'), fixed: true, text: (one) => one.state, cell: (one) => actions(one, act) },
      { key: 'connections', title: t('Connections'), number: true, text: (one) => count(one.connections) },
      { key: 'max_connections', title: t('Limit'), number: true, fixed: true, hidden: true, text: (one) => (one.max_connections === null ? '–' : count(one.max_connections)) },
      { key: 'accepted', title: t('Accepted'), number: true, hidden: true, text: (one) => count(one.accepted) },
      { key: 'refused', title: t('Refused'), number: true, text: (one) => count(one.refused) },
      { key: 'handshake_failures', title: t('Failed handshakes'), number: true, text: (one) => count(one.handshake_failures) },
      { key: 'failure_reasons', title: t('Reasons of failures'), fixed: true, text: reasons, cell: (one) => h('span', { class: 'wrapped' }, reasons(one)) },
    ].filter(Boolean),
    empty: empty('listeners', t('No listeners'), t('No port is open: only the host program publishes and subscribes.')),
  });
  put(view, heading(t('Listeners'), t('The addresses that clients connect to. The settings name them, and the host program or the API may add others.'),
    isAdmin() && h('button', { type: 'button', onclick: () => addListener(() => table.refresh()) }, t('Add a listener'))), table.node, certificates());
  return table.end;
}

/** What an administrator may do with a listener that is not stopped. */
function actions(one, act) {
  if (one.state === 'stopped') return h('span', { class: 'muted' }, '–');
  const path = `listeners/${encodeURIComponent(one.name)}`;
  const shown = { name: visible(one.name) };
  const button = (symbol, label, onclick) => h('button', { type: 'button', class: 'quiet square', title: label, 'aria-label': `${label}: ${shown.name}`, onclick }, icon(symbol));
  const stop = [t('Stop this listener?'), t('{name} closes its address. Clients that are connected stay connected. After the next start, the settings open it again.', shown), t('Stop')];
  return h('div', { class: 'actions row' },
    one.state === 'paused' ? button('play', t('Resume'), () => act(null, `${path}/resume`, t('It accepts connections again.')))
      : button('pause', t('Pause'), () => act(null, `${path}/pause`, t('New connections wait.'))),
    button('close', t('Stop'), () => act(stop, path, t('The listener is stopped.'), remove)));
}
