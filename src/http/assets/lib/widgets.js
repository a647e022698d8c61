// Pieces that several pages use.

import { h, icon, put, setText } from './dom.js';
import { bytes, count, visible } from './format.js';
import { t, tk, tn } from './i18n.js';

/** Says `text` in a corner for some seconds. */
export function toast(text, kind) {
  const node = h('div', { class: `toast ${kind ?? ''}` }, text);
  document.getElementById('toasts').append(node);
  setTimeout(() => node.remove(), 6000);
}

/** Says what went wrong. An abandoned request is nothing to say. */
export function sayError(error) {
  if (error.name !== 'AbortError' && error.status !== 401) toast(error.message, 'bad');
}

/** The head of a page: its name, a sentence, and perhaps actions at the right. */
export function heading(title, lead, ...actions) {
  return h('header', { class: 'heading' }, h('div', {}, h('h1', { tabindex: '-1' }, title), lead && h('p', { class: 'lead' }, lead)), h('div', { class: 'actions' }, actions));
}

/** A part of a page with a name of its own. */
export function section(title, ...children) {
  return h('section', { class: 'panel' }, title && h('h2', {}, title), children);
}

/** What a page shows that has nothing to show: what will be here, and what to do that it comes. */
export function empty(name, title, ...lines) {
  return h('div', { class: 'empty' }, icon(name), h('h3', {}, title), lines.map((line) => (line instanceof Element ? line : h('p', {}, line))));
}

/** A small word with a colour: `good`, `bad`, `warn` or none. */
export function badge(text, kind) {
  return h('span', { class: `badge ${kind ?? ''}` }, text);
}

/** A name of the outside (a topic, a client), shown as it is. */
export function name(text) {
  return h('code', { class: 'name' }, visible(text));
}

/** A link to a client; without an id, the host program. */
export function clientLink(id) {
  return id === null || id === undefined ? h('span', { class: 'muted' }, t('host program'))
    : h('a', { class: 'name', href: `#/clients/${encodeURIComponent(id)}` }, visible(id) || t('(empty)'));
}

/** A text of the broker's documentation: what stands in backticks is code. */
export function prose(text) {
  return text.split('`').map((part, at) => (at % 2 ? h('code', {}, part) : part));
}

/** A link to a topic in the tree. */
export function topicLink(topic) {
  return h('a', { class: 'name', href: `#/topics?topic=${encodeURIComponent(topic)}` }, visible(topic));
}

/** Code to copy. */
export function code(text, label) {
  const button = h('button', {
    class: 'copy', type: 'button', title: t('Copy'), 'aria-label': `${t('Copy')}: ${label ?? text}`,
    onclick: () => copy(text, button),
  }, icon('copy'));
  return h('div', { class: 'code' }, h('pre', { tabindex: '0', role: 'region', 'aria-label': label ?? t('Code') }, h('code', {}, text)), button);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    put(button, icon('check'));
    setTimeout(() => put(button, icon('copy')), 2000);
  } catch {
    toast(t('The browser does not allow copying. Select the text instead.'), 'bad');
  }
}

/** A labelled input or other control; `hint` is a line below it. */
export function field(label, control, hint) {
  const id = `f${Math.random().toString(36).slice(2)}`;
  control.id = id;
  if (hint) control.setAttribute('aria-describedby', `${id}h`);
  return h('div', { class: control.type === 'checkbox' ? 'field check' : 'field' }, h('label', { for: id }, label), control, hint && h('small', { id: `${id}h` }, hint));
}

/** A choice of one of `options`, `[[value, text], …]`. */
export function choice(options, value, onchange) {
  return h('select', { onchange: (event) => onchange?.(event.target.value) }, options.map(([key, text]) => h('option', { value: key, selected: String(key) === String(value) }, text)));
}

/** Buttons of which one is pressed; gives `{ node, set }`. */
export function segments(label, options, value, onchange) {
  const buttons = options.map(([key, text]) => h('button', {
    type: 'button', 'aria-pressed': String(key === value), onclick: () => {
      set(key);
      onchange(key);
    },
  }, text));
  const set = (key) => buttons.forEach((button, at) => button.setAttribute('aria-pressed', String(options[at][0] === key)));
  return { node: h('div', { class: 'segments', role: 'group', 'aria-label': label }, buttons), set };
}

/** Asks before something is done; resolves to whether to do it. */
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'ask', onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    } }, h('form', { method: 'dialog' }, h('h2', { id: 'ask' }, title), h('p', {}, text), h('div', { class: 'actions' },
      h('button', { value: 'no' }, t('Cancel')), h('button', { class: 'danger', value: 'yes' }, action))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A list of facts, `[[label, text or node], …]`. */
export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(Boolean).map(([label, value]) => h('div', {}, h('dt', {}, label), h('dd', {}, value))));
}

/** A payload, as JSON, text or hex; `update(payload)` shows another one and keeps the choice. */
export function payloadView() {
  let shown = null;
  let chosen = null;
  const body = h('pre', { class: 'payload', tabindex: '0', role: 'region', 'aria-label': t('Payload') });
  const size = h('span', { class: 'muted' });
  const tabs = segments(t('Show as'), [['json', 'JSON'], ['text', t('Text')], ['hex', t('Hex')]], 'text', (mode) => {
    chosen = mode;
    draw();
  });
  const draw = () => {
    if (!shown) return;
    const json = parsed(shown);
    let mode = chosen ?? (json !== undefined && typeof json === 'object' ? 'json' : 'text');
    if (mode === 'json' && json === undefined) mode = 'text';
    if (mode === 'text' && shown.text === null) mode = 'hex';
    tabs.set(mode);
    setText(body, mode === 'json' ? JSON.stringify(json, null, 2) : mode === 'text' ? visible(shown.text, true) : hex(shown.base64));
    setText(size, shown.truncated ? t('beginning of {size}', { size: bytes(shown.bytes) }) : bytes(shown.bytes));
    body.classList.toggle('none', shown.bytes === 0);
  };
  return {
    node: h('div', { class: 'payload-view' }, h('div', { class: 'payload-head' }, tabs.node, size), body),
    update(payload) {
      if (shown && payload.base64 === shown.base64 && payload.bytes === shown.bytes) return;
      shown = payload;
      draw();
    },
  };
}

/** A payload in one line. */
export function payloadLine(payload, length = 120) {
  if (!payload) return '–';
  if (payload.bytes === 0) return t('(empty)');
  return payload.text === null ? hex(payload.base64).slice(10, 58).trimEnd() : visible(payload.text.slice(0, length)) + (payload.text.length > length || payload.truncated ? '…' : '');
}

function parsed(payload) {
  if (payload.text === null || payload.truncated) return undefined;
  try {
    return JSON.parse(payload.text);
  } catch {
    return undefined;
  }
}

/** 16 bytes a line: where, the bytes, what they are in ASCII. */
function hex(base64) {
  const raw = Uint8Array.from(atob(base64), (mark) => mark.charCodeAt(0));
  const lines = [];
  for (let at = 0; at < raw.length; at += 16) {
    const row = [...raw.subarray(at, at + 16)];
    const cells = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ').padEnd(47);
    lines.push(`${at.toString(16).padStart(8, '0')}  ${cells}  ${row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.')).join('')}`);
  }
  return lines.join('\n');
}

/** The name of a reason for which a message was dropped. */
export function reasonName(reason) {
  return tk('reason', reason, reason.replaceAll('_', ' '));
}

/** Why a message was dropped, in the language of the page. */
export function reasonText(reason, text) {
  const named = text.toLowerCase().startsWith(`${reason.replaceAll('_', ' ')}: `);
  return tk('why', reason, named ? text.slice(reason.length + 2).replace(/^./, (first) => first.toUpperCase()) : text);
}

const OUTCOMES = { sent: 'good', delivered: 'good', queued: 'warn', dropped: 'bad' };

/** What became of a message, receiver by receiver. */
export function explanationView(explanation) {
  const receivers = explanation.receivers ?? [];
  const good = explanation.outcome === 'delivered';
  const kept = { stored: t('The message is now the retained message of the topic.'), removed: t('The retained message of the topic was removed.'), refused: t('The message was not retained: limit reached (retained.max_messages or retained.max_bytes).') }[explanation.retained];
  return h('div', { class: 'explanation' },
    h('p', { class: `verdict ${good ? 'good' : receivers.some((one) => one.outcome === 'queued') ? 'warn' : 'bad'}` }, icon(good ? 'check' : 'warning'),
      h('span', {}, h('strong', {}, verdict(explanation.outcome, receivers)), ' ', told(explanation, receivers))),
    kept && h('p', { class: 'muted' }, kept),
    explanation.not_asked && access(explanation.not_asked).map((text) => h('p', { class: 'muted' }, text)),
    receivers.length > 0 && h('ul', { class: 'receivers' }, receivers.map((one) => h('li', {},
      h('div', { class: 'who' }, clientLink(one.client_id), badge(tk('outcome', one.outcome, one.outcome), OUTCOMES[one.outcome]), one.reason && badge(reasonName(one.reason))),
      h('div', { class: 'muted' }, reasonText(one.reason ?? one.outcome, visible(one.text ?? ''))),
      h('div', { class: 'filters' }, (one.filters ?? []).map((filter) => name(filter.filter ?? filter)), one.qos !== null && one.qos !== undefined && h('span', { class: 'muted' }, `QoS ${one.qos}`))))));
}

/** How many get it. */
function told(explanation, receivers) {
  const number = (outcome) => receivers.filter((one) => one.outcome === outcome).length;
  const values = { sent: number('sent'), queued: number('queued'), all: receivers.length };
  if (!values.all) return tk('why', explanation.outcome, explanation.text ?? '');
  if (values.sent) return values.queued ? t('{sent} of {all} get the message now, {queued} later.', values) : t('{sent} of {all} get the message now.', values);
  return values.queued ? t('{queued} of {all} get the message later.', values) : t('{all} match, but none gets the message.', values);
}

/** Who may publish it, as far as that is known. */
function access(hooks) {
  const said = { authorize: t('Access: the host program decides who may publish this; it was not asked.'), on_publish: t('The host program may change or drop what clients publish; it was not asked.') };
  return hooks.length ? hooks.map((hook) => said[hook]) : [t('Access: every client may publish this.')];
}

function verdict(outcome, receivers) {
  const reached = receivers.filter((one) => one.outcome === 'sent').length;
  if (outcome === 'delivered') return tn(reached || receivers.length, 'Delivered to {n} receiver.', 'Delivered to {n} receivers.');
  return `${tk('reason', outcome, outcome.replaceAll('_', ' ').replace(/^./, (first) => first.toUpperCase()))}.`;
}

/** QoS as a word of the protocol. */
export function qos(n) {
  return n === null || n === undefined ? '–' : `${count(n)}`;
}
