// A listener to add: its name, its address, and what its transport needs.

import { post } from '../lib/api.js';
import { h } from '../lib/dom.js';
import { visible } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { choice, field, toast } from '../lib/widgets.js';

const TRANSPORTS = [['tcp', 'MQTT (tcp)'], ['tls', 'MQTT over TLS (tls)'], ['ws', 'WebSocket (ws)'], ['wss', 'WebSocket over TLS (wss)'], ['auto', 'auto']];
/** The transports that have a certificate, and those that need one. */
const MAY = ['tls', 'wss', 'auto'];
const MUST = ['tls', 'wss'];

/** Asks for the settings of a listener and adds it; calls `done` then. */
export function addListener(done) {
  const line = (placeholder, required) => h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', placeholder, required });
  const name = line('tcp-2', true);
  const bind = line('127.0.0.1:1884', true);
  const certificate = line('/etc/midge/server.pem');
  const key = line('/etc/midge/server.key');
  const files = h('div', { class: 'group', hidden: true }, field(t('Certificate'), certificate, t('A PEM file on the broker’s machine.')), field(t('Private key'), key));
  const fit = (transport) => {
    files.hidden = !MAY.includes(transport);
    certificate.required = MUST.includes(transport);
    key.required = certificate.required;
  };
  const transport = choice(TRANSPORTS, 'tcp', fit);
  const wrong = h('p', { class: 'bad', role: 'alert', hidden: true });
  const add = async (event) => {
    event.preventDefault();
    const settings = { bind: bind.value.trim(), transport: transport.value };
    if (!files.hidden && certificate.value.trim()) Object.assign(settings, { certificate: certificate.value.trim(), key: key.value.trim() });
    try {
      const added = await post('listeners', { name: name.value.trim(), settings });
      dialog.close();
      toast(t('{name} listens on {address}.', { name: visible(added.name), address: visible(added.address) }), 'good');
      done();
    } catch (error) {
      wrong.textContent = visible(error.message);
      wrong.hidden = false;
    }
  };
  const dialog = h('dialog', { 'aria-labelledby': 'add', onclose: () => dialog.remove() }, h('form', { onsubmit: add }, h('h2', { id: 'add' }, t('Add a listener')),
    field(t('Name'), name), field(t('Address'), bind, t('HOST:PORT, or unix: and a path. Port 0 takes a free port.')), field(t('Transport'), transport), files, wrong,
    h('small', { class: 'muted' }, t('It is open until it is stopped or the broker ends. A listener for every start belongs in the settings.')),
    h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => dialog.close() }, t('Cancel')), h('button', { class: 'primary' }, t('Add')))));
  document.body.append(dialog);
  dialog.showModal();
}
