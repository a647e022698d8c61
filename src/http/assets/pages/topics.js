// The topics that are published, as a tree, with their last message.

import { get, isAdmin } from '../lib/api.js';
import { h, icon, put, setText } from '../lib/dom.js';
import { ago, clock, count, short, visible } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { repeat } from '../lib/live.js';
import { dataTable } from '../lib/table.js';
import { lazyTree } from '../lib/tree.js';
import { badge, code, empty, facts, heading, payloadLine, payloadView, segments } from '../lib/widgets.js';
import { subscriptionTable } from './subscriptions.js';

/** Time between two readings of what is on the screen. */
const EVERY = 1000;

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  const place = h('div', {});
  let end = () => {};
  const tabs = segments(t('Topics or filters'), [['topics', t('Published topics')], ['filters', t('Subscribed filters')]], query.tab === 'filters' ? 'filters' : 'topics', show);
  put(view, heading(t('Topics'), t('Published topics, live, with the last message of each.'), tabs.node), place);
  function show(tab) {
    end();
    if (tab === 'filters') {
      const table = dataTable({ name: 'filters', label: t('Subscribed filters'), ...subscriptionTable() });
      put(place, table.node);
      end = table.end;
    } else end = published(place, query);
  }
  show(query.tab === 'filters' ? 'filters' : 'topics');
  return () => end();
}

function published(view, query) {
  let search = query.search ?? '';
  let since = null;
  let found = 0;
  const detail = topicDetail();
  const status = h('p', { class: 'muted status' });
  const nothing = h('div', { hidden: true });
  const holder = h('div', { class: 'tree-holder' });
  let tree = make();
  const input = h('label', { class: 'search' }, icon('search'), h('input', { type: 'search', placeholder: t('Search the topics'), 'aria-label': t('Search the topics'), value: search, oninput: (event) => {
    search = event.target.value;
    tree.end();
    tree = make();
    again.now();
  } }));
  put(view, h('div', { class: 'toolbar' }, input, status), h('div', { class: 'split' }, h('div', {}, holder, nothing), detail.node));

  function make() {
    const made = lazyTree({
      label: t('Published topics'), row,
      load: async (parent, offset, limit) => {
        const asked = parent === null ? (search ? { search } : {}) : parent === '' ? { root: 'empty' } : { parent };
        const items = [];
        let answer;
        do {
          answer = await get(`topics?${new URLSearchParams({ ...asked, offset: offset + items.length, limit: limit - items.length })}`);
          items.push(...answer.items);
          // An answer may have room for fewer items than were asked for.
        } while (answer.items.length && items.length < Math.min(limit, answer.total - offset));
        since = answer.watching_since;
        items.forEach((item) => item.topic === made.chosen() && detail.show(item));
        found = parent === null ? answer.total : found;
        return { total: answer.total, items: search ? items.map((item) => ({ ...item, children: 0 })) : items };
      },
      choose: detail.show,
    });
    put(holder, made.node);
    return made;
  }

  const again = repeat(async () => {
    await tree.refresh();
    const none = found === 0;
    holder.hidden = none;
    detail.node.hidden = none;
    nothing.hidden = !none;
    if (none && search) put(nothing, h('p', { class: 'nothing' }, t('No results for “{search}”.', { search })));
    else if (none && !nothing.querySelector('.empty')) put(nothing, nobodyYet());
    setText(status, since ? t('Watching since {time}. Earlier topics appear when they are published again.', { time: clock(since) }) : '');
  }, EVERY);
  if (query.topic !== undefined) tree.reveal(query.topic);
  return () => {
    again();
    tree.end();
  };
}

function nobodyYet() {
  return empty('topics', t('No messages yet'), t('A topic appears here with its first message, with or without subscribers. Publish one:'),
    code('python3 publish.py', 'publish.py'), isAdmin() && h('p', {}, h('a', { href: '#/live?topic=chat' }, t('Or publish from here.'))));
}

function row(item) {
  return [h('span', { class: 'level' }, visible(item.level) || t('(empty)')), item.retained && h('span', { class: 'flag', title: t('retained') }, icon('retained'), h('span', { class: 'sr' }, t('retained'))),
    item.children > 0 && h('span', { class: 'children' }, count(item.children)), h('span', { class: 'value' }, item.last ? payloadLine(item.last, 80) : ''),
    h('span', { class: 'rate' }, item.rate > 0 ? `${short(item.rate)}/s` : '')];
}

function topicDetail() {
  const payload = payloadView();
  const node = h('aside', { class: 'panel detail', 'aria-label': t('Topic') }, h('p', { class: 'muted' }, t('Choose a topic to see its last message.')));
  let shown = null;
  let signature = '';
  const title = h('h2', { class: 'name' });
  const about = h('div', {});
  return {
    node,
    show(item) {
      const now = JSON.stringify(item) + ago(item.last_at);
      if (now === signature) return;
      signature = now;
      if (shown !== item.topic) {
        shown = item.topic;
        const link = (href, text) => h('a', { class: 'button', href: `${href}${encodeURIComponent(item.topic)}` }, text);
        put(node, title, h('div', { class: 'actions' }, link('#/live?filter=', t('Watch live')), isAdmin() && link('#/live?topic=', t('Publish here')), link('#/subscriptions?topic=', t('Who receives it?'))), about, payload.node);
        setText(title, visible(item.topic) || t('(empty)'));
      }
      payload.node.hidden = !item.last;
      put(about, facts([
        [t('Messages'), count(item.messages)], [t('Rate'), `${short(item.rate)}/s`], [t('Receivers'), count(item.subscribers)],
        item.last_at && [t('Last message'), h('span', { title: clock(item.last_at) }, ago(item.last_at))], item.last_at && ['QoS', String(item.qos)],
        [t('Retained'), item.retained ? badge(t('retained'), 'good') : t('no')], item.children > 0 && [t('Topics below'), count(item.children)],
      ]), item.last_at && item.messages > 0 && item.subscribers === 0 && !item.retained && h('p', { class: 'verdict bad' }, icon('warning'), h('span', {}, t('No subscription matches this topic: its messages are dropped.'))));
      if (item.last) payload.update(item.last);
    },
  };
}
