// The certificates of the doors, below the page of listeners.

import { get, isAdmin, post } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { clock, count, visible } from '../lib/format.js';
import { t } from '../lib/i18n.js';
import { badge, sayError, section, toast } from '../lib/widgets.js';

/** The section; it stays hidden while there are no certificates. */
export function certificates() {
  const node = h('div', { hidden: true });
  const show = ({ items }) => {
    node.hidden = !items.length;
    put(node, section(t('Certificates'), table(items), isAdmin() && h('div', { class: 'actions' }, h('button', { type: 'button', onclick: readAgain }, t('Read files again')))));
  };
  async function readAgain() {
    try {
      const answer = await post('certificates/reload');
      answer.errors.forEach((error) => toast(visible(error), 'bad'));
      if (!answer.errors.length) toast(t('The files were read.'));
      show(answer);
    } catch (error) {
      sayError(error);
    }
  }
  get('certificates').then(show, sayError);
  return node;
}

function table(items) {
  return h('table', { class: 'small' }, h('thead', {}, h('tr', {}, [t('Settings'), t('Subject'), t('Names'), t('Issuer'), t('Valid until')].map((title) => h('th', { scope: 'col' }, title)))),
    h('tbody', {}, items.map((one) => h('tr', {}, h('th', { scope: 'row', title: visible(one.file) }, one.group), h('td', { title: one.fingerprint }, visible(one.subject)), h('td', {}, visible(one.names.join(', '))), h('td', {}, visible(one.issuer)),
      h('td', {}, clock(one.not_after * 1000), ' ', left(one.days_left))))));
}

function left(days) {
  if (days < 0) return badge(t('expired'), 'bad');
  return badge(t('{n} days left', { n: count(days) }), days <= 14 ? 'warn' : 'good');
}
