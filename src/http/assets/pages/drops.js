// The messages that did not arrive, and why.

import { get, post } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { clock, count, visible } from '../lib/format.js';
import { t, tx } from '../lib/i18n.js';
import { repeat } from '../lib/live.js';
import { badge, choice, clientLink, empty, explanationView, field, heading, name, reasonName, reasonText, sayError, section } from '../lib/widgets.js';

/** Shows the page in `view`; gives what ends it. */
export function mount(view) {
  let only = null;
  let shown = '';
  let last = null;
  const reasons = h('ul', { class: 'bars' });
  const recent = h('div', {});
  put(view, heading(t('Drops'), t('Messages that were not delivered, and why.')), h('div', { class: 'columns' },
    section(t('By reason'), reasons), section(t('Explain a message'), h('p', { class: 'muted' }, t('Shows who would receive this message if it were published now. Nothing is published.')), explainForm())), section(t('Recent drops'), recent));

  const draw = () => {
    const signature = JSON.stringify([last, only]);
    if (signature === shown) return;
    shown = signature;
    const most = Math.max(1, ...last.by_reason.map((one) => one.count));
    const some = last.by_reason.filter((one) => one.count > 0).sort((a, b) => b.count - a.count);
    put(reasons, some.length ? some.map((one) => bar(one, most)) : h('li', { class: 'muted' }, t('No drops. Every message was delivered.')));
    const events = last.recent.filter((one) => only === null || one.reason === only);
    put(recent, events.length ? h('ol', { class: 'drops' }, runs(events).slice(0, 200).map(event)) : empty('drops', only ? t('No recent drops for this reason') : t('No recent drops'),
      t('Each dropped message is listed here with its client, the reason and advice. The usual reason: no client had subscribed yet.')));
  };
  const bar = (one, most) => {
    const fill = h('span', { class: 'fill' });
    fill.style.setProperty('width', `${Math.max(1, (one.count / most) * 100)}%`);
    return h('li', {}, h('button', { type: 'button', 'aria-pressed': String(only === one.reason), title: t('Show only this reason'), onclick: () => {
      only = only === one.reason ? null : one.reason;
      draw();
    } }, h('span', { class: 'bar-head' }, h('strong', {}, reasonName(one.reason)), h('span', { class: 'number' }, count(one.count))), h('span', { class: 'track' }, fill)), h('small', {}, reasonText(one.reason, one.help)));
  };
  return repeat(async () => {
    try {
      last = await get('drops');
      draw();
    } catch (error) {
      if (error.status) sayError(error);
    }
  }, 2000);
}

/** Drops that are the same but for their time, as one with how many. */
function runs(events) {
  const found = new Map();
  for (const one of events) {
    const key = JSON.stringify([one.reason, one.topic, one.client_id]);
    const known = found.get(key);
    if (known) known.times += 1;
    else found.set(key, { ...one, times: 1 });
  }
  return [...found.values()];
}

/** A drop. Where nobody had subscribed, the client is who published; else who did not get it. */
function event(one) {
  const who = clientLink(one.client_id);
  return h('li', {}, h('div', { class: 'who' }, h('time', {}, clock(one.time, true)), badge(reasonName(one.reason), 'bad'), name(one.topic), one.times > 1 && badge(`× ${count(one.times)}`),
    h('span', { class: 'muted' }, one.reason === 'no_subscriber' ? tx('published by {client}', { client: who }) : tx('for {client}', { client: who }))), h('p', { class: 'muted' }, reasonText(one.reason, visible(one.text ?? ''))));
}

function explainForm() {
  const topic = h('input', { class: 'mono', required: true, value: 'chat', spellcheck: 'false', autocapitalize: 'none' });
  const qos = choice([[0, '0'], [1, '1'], [2, '2']], 0);
  const size = h('input', { type: 'number', min: '0', value: '9', inputmode: 'numeric' });
  const client = h('input', { class: 'mono', spellcheck: 'false', autocapitalize: 'none', placeholder: t('any client') });
  const answer = h('div', { 'aria-live': 'polite', class: 'answer' });
  return [h('form', { class: 'stack', onsubmit: async (submit) => {
    submit.preventDefault();
    try {
      put(answer, explanationView(await post('explain', { topic: topic.value, qos: Number(qos.value), bytes: Number(size.value), client_id: client.value || null })));
    } catch (error) {
      put(answer, h('p', { class: 'problem' }, error.message));
    }
  } }, field(t('Topic'), topic), h('div', { class: 'row three' }, field('QoS', qos), field(t('Bytes'), size), field(t('Published by'), client)), h('div', { class: 'actions' }, h('button', { class: 'primary' }, t('Explain')))), answer];
}
