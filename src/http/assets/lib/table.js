// A table of things that the server pages, sorts and searches; what stands in it is renewed in place.

import { h, icon, put, setText } from './dom.js';
import { count } from './format.js';
import { t } from './i18n.js';
import { repeat } from './live.js';
import { sayError } from './widgets.js';

/** Time between two readings of a table. */
const EVERY = 2000;
const SIZES = [25, 50, 100, 500];

/**
 * `options`: `name` (what is remembered for it), `label`, `columns`, `load(query)` giving `{ total, items }`, `key(item)`,
 * `empty` (a node), `query` (what the address of the page said), `search` (the placeholder; without it nothing to search),
 * `sort` and `order` at the start, `extra` (controls beside the search), `every` (ms between readings).
 *
 * A column: `key` (also the name to sort by), `title`, `text(item)`, perhaps `cell(item)` for a node in place of the text,
 * `number` (to the right), `main` (head of the row), `hidden` (not shown until chosen), `fixed` (cannot be sorted by).
 */
export function dataTable(options) {
  const { columns, query = {} } = options;
  const memory = `midge.columns.${options.name}`;
  let chosen = JSON.parse(localStorage.getItem(memory) ?? 'null') ?? columns.filter((column) => !column.hidden).map((column) => column.key);
  const state = {
    search: query.search ?? '', sort: query.sort ?? options.sort, order: query.order ?? options.order ?? 'asc', offset: Number(query.offset) || 0,
    limit: Number(localStorage.getItem('midge.rows')) || 50,
  };
  // An answer may have room for fewer items than were asked for.
  let shownItems = state.limit;
  const rows = new Map();
  const head = h('tr', { role: 'row' });
  const body = h('tbody', { role: 'rowgroup' });
  const table = h('table', { role: 'table', 'aria-label': options.label, 'aria-rowcount': '-1' }, h('thead', { role: 'rowgroup' }, head), body);
  const nothing = h('div', { hidden: true });
  const range = h('span', { class: 'muted range', 'aria-live': 'polite' });
  const before = h('button', { type: 'button', 'aria-label': t('Previous page'), onclick: () => go(state.offset - state.limit) }, icon('left'));
  const after = h('button', { type: 'button', 'aria-label': t('Next page'), onclick: () => go(state.offset + shownItems) }, icon('right'));
  const size = h('select', { 'aria-label': t('Rows per page'), onchange: (event) => {
    state.limit = Number(event.target.value);
    localStorage.setItem('midge.rows', event.target.value);
    go(0);
  } }, SIZES.map((n) => h('option', { value: n, selected: n === state.limit }, n)));
  const pager = h('div', { class: 'pager', hidden: true }, range, before, after, size);
  let typed = 0;
  const search = options.search && h('label', { class: 'search' }, icon('search'), h('input', {
    type: 'search', placeholder: options.search, 'aria-label': options.search, value: state.search, oninput: (event) => {
      clearTimeout(typed);
      typed = setTimeout(() => {
        state.search = event.target.value;
        go(0);
      }, 200);
    },
  }));
  const wrap = h('div', { class: 'table-wrap', tabindex: '0', role: 'region', 'aria-label': options.label, hidden: true }, table);
  const node = h('div', { class: 'data-table' }, h('div', { class: 'toolbar' }, search, options.extra, columnMenu()), wrap, nothing, pager);

  function columnMenu() {
    return h('details', { class: 'menu' }, h('summary', {}, icon('columns'), h('span', {}, t('Columns'))), h('div', { class: 'menu-body' }, columns.filter((column) => !column.main).map((column) => h('label', {},
      h('input', { type: 'checkbox', checked: chosen.includes(column.key), onchange: (event) => {
        chosen = columns.map((one) => one.key).filter((key) => (key === column.key ? event.target.checked : chosen.includes(key)));
        localStorage.setItem(memory, JSON.stringify(chosen));
        rows.clear();
        body.replaceChildren();
        drawHead();
        again.now();
      } }), column.title))));
  }

  function shown() {
    return columns.filter((column) => column.main || chosen.includes(column.key));
  }

  function drawHead() {
    put(head, shown().map((column) => {
      const sorted = state.sort === column.key;
      const aria = sorted ? (state.order === 'asc' ? 'ascending' : 'descending') : null;
      return h('th', { scope: 'col', role: 'columnheader', class: column.number ? 'number' : null, 'aria-sort': aria }, column.fixed ? h('span', {}, column.title)
        : h('button', { type: 'button', onclick: () => sortBy(column, sorted) }, column.title, sorted && icon(state.order === 'asc' ? 'up' : 'down')));
    }));
  }

  function sortBy(column, sorted) {
    state.order = sorted ? (state.order === 'asc' ? 'desc' : 'asc') : column.number ? 'desc' : 'asc';
    state.sort = column.key;
    const at = shown().indexOf(column);
    drawHead();
    head.children[at]?.querySelector('button')?.focus();
    go(0);
  }

  function go(offset) {
    state.offset = Math.max(0, offset);
    const words = Object.entries({ search: state.search, sort: state.sort === options.sort && state.order === (options.order ?? 'asc') ? '' : state.sort,
      order: state.sort === options.sort && state.order === (options.order ?? 'asc') ? '' : state.order, offset: state.offset || '' }).filter(([, value]) => value);
    const path = location.hash.split('?')[0];
    history.replaceState(null, '', words.length ? `${path}?${new URLSearchParams(words)}` : path);
    return again.now();
  }

  async function read() {
    const asked = JSON.stringify(state);
    try {
      const answer = await options.load({ ...state });
      if (asked !== JSON.stringify(state)) return setTimeout(() => again.now());
      if (state.offset > 0 && state.offset >= answer.total) return setTimeout(() => go(Math.floor(Math.max(0, answer.total - 1) / state.limit) * state.limit));
      draw(answer);
    } catch (error) {
      if (error.status) sayError(error);
    }
    return undefined;
  }

  function draw({ total, items }) {
    const visible = shown();
    let place = body.firstChild;
    const seen = new Set();
    items.forEach((item, at) => {
      let key = options.key(item);
      if (seen.has(key)) key = `${key}\n${at}`;
      seen.add(key);
      let row = rows.get(key);
      if (!row) {
        row = { node: h('tr', { role: 'row' }), cells: visible.map((column) => ({ node: h(column.main ? 'th' : 'td', {
          role: column.main ? 'rowheader' : 'cell', scope: column.main ? 'row' : null, class: column.number ? 'number' : null, 'data-label': column.title,
        }), text: null })) };
        row.node.append(...row.cells.map((cell) => cell.node));
        rows.set(key, row);
      }
      visible.forEach((column, index) => {
        const cell = row.cells[index];
        const text = column.text(item);
        if (cell.text === text) return;
        cell.text = text;
        if (column.cell) put(cell.node, column.cell(item));
        else setText(cell.node, text);
      });
      if (row.node === place) place = place.nextSibling;
      else body.insertBefore(row.node, place);
    });
    for (const [key, row] of rows) {
      if (seen.has(key)) continue;
      row.node.remove();
      rows.delete(key);
    }
    shownItems = items.length || state.limit;
    table.setAttribute('aria-rowcount', String(total));
    wrap.hidden = items.length === 0;
    nothing.hidden = items.length > 0;
    if (items.length === 0) put(nothing, state.search ? h('p', { class: 'nothing' }, t('No results for “{search}”.', { search: state.search })) : options.empty);
    pager.hidden = total <= Math.min(...SIZES) && total <= state.limit;
    setText(range, t('{from}–{to} of {total}', { from: count(Math.min(total, state.offset + 1)), to: count(Math.min(total, state.offset + items.length)), total: count(total) }));
    before.disabled = state.offset === 0;
    after.disabled = state.offset + items.length >= total;
  }

  drawHead();
  const again = repeat(read, options.every ?? EVERY);
  return { node, end: again, refresh: () => again.now(), restart: () => go(0) };
}
