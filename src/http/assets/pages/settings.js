// Every setting: its value, and what it means.

import { get } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { visible } from '../lib/format.js';
import { language, t, tk, tn } from '../lib/i18n.js';
import { badge, field, heading, prose, sayError } from '../lib/widgets.js';

/** Shows the page in `view`; gives what ends it. */
export function mount(view, { query }) {
  let all = [];
  let chinese = null;
  const input = h('input', { type: 'search', placeholder: t('Search the settings'), 'aria-label': t('Search the settings'), value: query.search ?? '', oninput: () => draw() });
  const changed = h('input', { type: 'checkbox', onchange: () => draw() });
  const list = h('div', {});
  const found = h('p', { class: 'muted status', 'aria-live': 'polite' });
  put(view, heading(t('Settings'), t('Read-only: the host program sets them.')), h('div', { class: 'toolbar' }, h('label', { class: 'search' }, icon('search'), input), field(t('Changed only'), changed), found), list);

  function draw() {
    const wanted = input.value.toLowerCase();
    const some = all.filter((one) => (!changed.checked || one.changed) && `${one.key} ${one.help} ${helpOf(one, chinese)}`.toLowerCase().includes(wanted));
    const chapters = Map.groupBy ? Map.groupBy(some, chapter) : some.reduce((map, one) => map.set(chapter(one), [...map.get(chapter(one)) ?? [], one]), new Map());
    found.textContent = tn(some.length, '{n} setting', '{n} settings');
    put(list, some.length ? [...chapters].map(([name, settings]) => h('section', { class: 'panel' }, h('h2', {}, name), settings.map((one) => setting(one, chinese))))
      : h('p', { class: 'nothing' }, changed.checked && !wanted ? t('All settings have their defaults.') : t('No results for “{search}”.', { search: input.value })));
  }
  const translated = language() === 'zh' ? import('../i18n/zh-settings.js') : null;
  Promise.all([get('settings'), translated]).then(([answer, found]) => {
    all = answer.items;
    chinese = found;
    draw();
  }, sayError);
}

function chapter(one) {
  return one.key.split('.')[0];
}

/** What it means. The name of a listener is any. */
function helpOf(one, chinese) {
  return chinese?.help[one.key.replace(/^listener\.[^.]+/, 'listener.*')] ?? one.help;
}

function setting(one, chinese) {
  return h('div', { class: 'setting' }, h('div', { class: 'setting-head' }, h('code', { class: 'name' }, one.key), h('code', { class: 'value' }, visible(String(one.value ?? '')) || '–'), one.changed && badge(t('changed'), 'good')),
    h('p', {}, prose(helpOf(one, chinese))), h('small', {}, [tk('kind', one.kind, one.kind), chinese ? chinese.range(one.range) : one.range, one.changed && t('default: {value}', { value: String(one.default ?? '–') })].filter(Boolean).join(' · ')));
}
