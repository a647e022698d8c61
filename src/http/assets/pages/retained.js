// The retained messages.

import { get, isAdmin, post } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { ago, bytes, clock, duration, visible } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { dataTable } from '../lib/table.js';
import { confirm, empty, facts, heading, name, payloadLine, payloadView, sayError, toast } from '../lib/widgets.js';

/** The longest topic in an address; proxies may have limits of their own. */
const LONGEST = 16384;

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const table = dataTable({
    name: 'retained', label: t('Retained'), query, sort: 'topic', search: t('Search for a topic'), key: (one) => one.topic, load: (asked) => get('retained', asked),
    columns: [
      { key: 'topic', title: t('Topic'), main: true, text: (one) => one.topic, cell: (one) => h('button', { type: 'button', class: 'link name', onclick: () => look(one, table) }, visible(one.topic)) },
      { key: 'payload', title: t('Payload'), fixed: true, text: (one) => `${one.payload.bytes}${one.payload.base64}`, cell: (one) => h('code', { class: 'value' }, payloadLine(one.payload)) },
      { key: 'bytes', title: t('Size'), number: true, text: (one) => bytes(one.payload.bytes) },
      { key: 'qos', title: 'QoS', number: true, text: (one) => String(one.qos) },
      { key: 'stored_at', title: t('Stored'), text: (one) => ago(one.stored_at) },
      { key: 'expires_in', title: t('Expires in'), hidden: true, text: (one) => (one.expires_in === null || one.expires_in === undefined ? t('never') : duration(one.expires_in * 1000)) },
      isAdmin() && { key: 'actions', title: t('Actions'), fixed: true, text: (one) => one.topic, cell: (one) => h('button', { type: 'button', class: 'quiet square', title: t('Delete'), 'aria-label': t('Delete {topic}', { topic: visible(one.topic) }), onclick: () => forget(one.topic, table) }, icon('trash')) },
    ].filter(Boolean),
    empty: empty('retained', t('No retained messages'), t('The broker keeps the last message of each topic that was published with “retain”, and sends it to later subscribers at once.'),
      isAdmin() && h('p', {}, h('a', { href: '#/live?topic=greeting&retain=1' }, t('Publish one from here.')))),
  });
  put(view, heading(t('Retained'), t('The last message of each topic that was published with “retain”.')), table.node);
  return table.end;
}

async function forget(topic, table) {
  if (!await confirm(t('Delete the retained message?'), t('Later subscribers of {topic} get no retained message. Current subscribers are not affected.', { topic: visible(topic) }), t('Delete'))) return false;
  try {
    await post('retained/delete', { topic });
    toast(t('Deleted.'), 'good');
    table.refresh();
    return true;
  } catch (error) {
    sayError(error);
    return false;
  }
}

async function look(one, table) {
  const { topic } = one;
  const asked = encodeURIComponent(topic);
  let message = one;
  try {
    message = asked.length < LONGEST ? await get(`retained/message?topic=${asked}`) : await post('retained/find', { topic });
  } catch (error) {
    sayError(error);
    return;
  }
  const view = payloadView();
  view.update(message.payload);
  const dialog = h('dialog', { class: 'large', 'aria-labelledby': 'look', onclose: () => dialog.remove() }, h('h2', { id: 'look' }, name(topic)),
    facts([['QoS', String(message.qos)], [t('Stored'), message.stored_at ? clock(message.stored_at) : '–'], [t('Expires in'), message.expires_in === null || message.expires_in === undefined ? t('never') : duration(message.expires_in * 1000)]]), view.node,
    h('div', { class: 'actions' }, isAdmin() && h('button', { type: 'button', class: 'danger', onclick: async () => {
      dialog.close();
      await forget(topic, table);
    } }, icon('trash'), h('span', {}, t('Delete'))), h('button', { type: 'button', class: 'primary', onclick: () => dialog.close() }, t('Close'))));
  document.body.append(dialog);
  dialog.showModal();
}
