// The messages of a filter as they are published, and a form to publish one.

import { isAdmin, post } from '../lib/api.js';
import { h, icon, put, setText } from '../lib/dom.js';
import { clock, count, visible } from '../lib/format.js';
import { t, tn } from '../lib/i18n.js';
import { stream } from '../lib/live.js';
import { badge, choice, clientLink, empty, explanationView, facts, field, heading, payloadLine, payloadView, section } from '../lib/widgets.js';

/** Messages that are kept on the page. */
const KEPT = 300;

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  let paused = false;
  let waiting = [];
  let frame = 0;
  let heard = 0;
  let skipped = 0;
  let end = () => {};
  const filter = h('input', { class: 'mono', value: query.filter ?? '#', 'aria-label': t('Topic filter'), required: true, spellcheck: 'false', autocapitalize: 'none' });
  const list = h('ol', { class: 'messages' });
  const status = h('p', { class: 'muted status' });
  const nothing = empty('live', t('Waiting for messages'), t('Messages that match this filter appear here, newest first. Only messages published from now on are shown.'));
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
  const pause = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    put(pause, icon(paused ? 'play' : 'pause'), h('span', {}, paused ? t('Resume') : t('Pause')));
    later();
  } }, icon('pause'), h('span', {}, t('Pause')));
  const clear = h('button', { type: 'button', onclick: () => {
    waiting = [];
    heard = 0;
    skipped = 0;
    list.replaceChildren();
    later();
  } }, icon('trash'), h('span', {}, t('Clear')));

  function later() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (!paused) {
        list.prepend(...waiting.map(line).reverse());
        waiting = [];
        while (list.children.length > KEPT) list.lastChild.remove();
      }
      nothing.hidden = list.children.length > 0;
      setText(status, [tn(heard, '{n} message', '{n} messages'), paused && t('{n} waiting', { n: count(waiting.length) }),
        skipped && t('{n} skipped, because this page was too slow', { n: count(skipped) })].filter(Boolean).join(' · '));
    });
  }

  function listen() {
    end();
    delete list.dataset.watching;
    problem.hidden = true;
    const text = filter.value;
    if (!valid(text)) {
      problem.hidden = false;
      setText(problem, t('Invalid topic filter: # must be the whole last level, + a whole level.'));
      return;
    }
    end = stream(`live?${new URLSearchParams({ filter: text })}`, {
      open: () => {
        list.dataset.watching = text;
      },
      message: (message) => {
        heard += 1;
        waiting.push(message);
        if (waiting.length > KEPT) waiting.shift();
        later();
      },
      skipped: ({ count: n }) => {
        skipped += n;
        later();
      },
    });
  }

  put(view, heading(t('Live'), t('Messages as they are published.')), h('div', { class: isAdmin() ? 'columns watch' : '' },
    h('section', { class: 'panel', 'aria-label': t('Messages') }, h('form', { class: 'ask', onsubmit: (event) => {
      event.preventDefault();
      clear.click();
      listen();
    } }, filter, h('button', { class: 'primary' }, t('Watch')), pause, clear), problem, status, nothing, list), isAdmin() && publishForm(query)));
  listen();
  later();
  return () => {
    end();
    cancelAnimationFrame(frame);
  };
}

/** A message: one line, and all of it when it is opened. */
function line(message) {
  const body = h('div', { class: 'message-body' });
  return h('li', {}, h('details', { ontoggle: (event) => event.target.open && !body.firstChild && open(body, message) }, h('summary', {}, h('time', {}, clock(message.time)), h('code', { class: 'topic' }, visible(message.topic)),
    h('code', { class: 'value' }, payloadLine(message.payload)), h('span', { class: 'badges' }, message.retain && badge(t('retain')), message.qos > 0 && badge(`QoS ${message.qos}`))), body));
}

function open(body, message) {
  const view = payloadView();
  view.update(message.payload);
  const properties = Object.entries(message.properties ?? {}).filter(([, value]) => value !== null && !(Array.isArray(value) && !value.length));
  put(body, view.node, facts([[t('From'), clientLink(message.client_id)], ['QoS', String(message.qos)], [t('Retain'), message.retain ? t('yes') : t('no')],
    ...properties.map(([key, value]) => [key.replaceAll('_', ' '), h('code', { class: 'name' }, visible(typeof value === 'string' ? value : JSON.stringify(value)))])]));
}

/** The form to publish; what became of the message is told below it. */
function publishForm(query) {
  const topic = h('input', { class: 'mono', required: true, value: query.topic ?? 'chat', spellcheck: 'false', autocapitalize: 'none' });
  const payload = h('textarea', { class: 'mono', rows: '4', spellcheck: 'false' });
  const encoding = choice([['plain', t('Text')], ['base64', 'Base64']], 'plain');
  const qos = choice([[0, t('0, at most once')], [1, t('1, at least once')], [2, t('2, exactly once')]], 0);
  const retain = h('input', { type: 'checkbox', checked: query.retain === '1' });
  const expires = h('input', { type: 'number', min: '0', max: '4294967295', inputmode: 'numeric' });
  const contentType = h('input', { spellcheck: 'false' });
  const responseTopic = h('input', { class: 'mono', spellcheck: 'false' });
  const correlation = h('input', { class: 'mono', spellcheck: 'false' });
  const properties = h('div', { class: 'pairs' });
  const addProperty = () => {
    const pair = h('div', { class: 'pair' }, h('input', { 'aria-label': t('Name'), placeholder: t('Name') }), h('input', { 'aria-label': t('Value'), placeholder: t('Value') }),
      h('button', { type: 'button', class: 'quiet square', 'aria-label': t('Remove'), onclick: () => pair.remove() }, icon('close')));
    properties.append(pair);
  };
  const answer = h('div', { 'aria-live': 'polite', class: 'answer' });
  const send = h('button', { class: 'primary' }, icon('send'), h('span', {}, t('Publish')));
  const form = h('form', { class: 'stack', onsubmit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    const pairs = [...properties.children].map((pair) => [...pair.querySelectorAll('input')].map((input) => input.value)).filter(([key, value]) => key || value);
    const body = { topic: topic.value, payload: payload.value, encoding: encoding.value, qos: Number(qos.value), retain: retain.checked };
    if (expires.value) body.expiry = Number(expires.value);
    if (contentType.value) body.content_type = contentType.value;
    if (responseTopic.value) body.response_topic = responseTopic.value;
    if (correlation.value) body.correlation_data = btoa(String.fromCharCode(...new TextEncoder().encode(correlation.value)));
    if (pairs.length) body.user_properties = pairs;
    try {
      const { explanation } = await post('publish', body);
      put(answer, explanationView(explanation));
    } catch (error) {
      put(answer, h('p', { class: 'problem' }, error.message));
    }
    send.disabled = false;
  } }, field(t('Topic'), topic), field(t('Payload'), payload),
  h('div', { class: 'row' }, field('QoS', qos), field(t('Payload format'), encoding)), field(t('Retain'), retain, t('Keep the message for later subscribers.')),
  h('details', { class: 'more' }, h('summary', {}, t('Properties of MQTT 5')), h('div', { class: 'stack' }, field(t('Expires after, in seconds'), expires), field(t('Content type'), contentType), field(t('Response topic'), responseTopic), field(t('Correlation data'), correlation),
    h('div', { class: 'field' }, h('span', { class: 'label' }, t('User properties')), properties, h('button', { type: 'button', onclick: addProperty }, t('Add'))))),
  h('div', { class: 'actions' }, send));
  return section(t('Publish'), form, answer);
}

/** Whether `text` is a topic filter. */
function valid(text) {
  const levels = text.split('/');
  return text !== '' && !text.includes('\0') && levels.every((level, at) => (level === '#' ? at === levels.length - 1 : level === '+' || !/[#+]/.test(level)));
}
