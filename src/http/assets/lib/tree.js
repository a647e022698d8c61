// A tree of any size: only the rows on the screen exist, and only their part of the data is read.

import { h, icon, put } from './dom.js';
import { sayError } from './widgets.js';

/** Height of a row in CSS pixels; the style sheet has the same. */
const ROW = 34;
/** Children that are read at a time. */
const PAGE = 100;

/**
 * `load(parent, offset, limit)` gives `{ total, items }` (the parent of the first level is null), an item with `topic`, `level` and `children` (how many);
 * `row(item)` gives the nodes of a row; `choose(item)` is told what is chosen; `label` names the tree.
 *
 * Gives `{ node, refresh, reveal, total, chosen, end }`.
 */
export function lazyTree({ load, row, choose, label }) {
  const root = branch(null, null);
  /** The branches that were opened, by the topic that they are below. */
  const branches = new Map();
  const sizer = h('div', { class: 'tree-sizer' });
  const scroller = h('div', { class: 'tree', role: 'tree', tabindex: '0', 'aria-label': label }, sizer);
  const pool = new Map();
  let active = 0;
  let chosen = null;
  let waiting = false;

  scroller.addEventListener('scroll', later);
  scroller.addEventListener('keydown', onKey);
  const observer = new ResizeObserver(later);
  observer.observe(scroller);

  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  function draw() {
    const total = size(root);
    sizer.style.setProperty('height', `${total * ROW}px`);
    active = Math.max(0, Math.min(active, total - 1));
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - 5);
    const last = Math.min(total, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + 5);
    const seen = new Set();
    for (let index = first; index < last; index += 1) {
      const place = locate(index);
      if (!place) continue;
      seen.add(index);
      drawRow(index, place);
      if (!place.item) need(place.parent, place.at);
    }
    for (const [index, one] of pool) {
      if (seen.has(index)) continue;
      one.node.remove();
      pool.delete(index);
    }
    if (pool.has(active)) scroller.setAttribute('aria-activedescendant', `tree-${active}`);
    else scroller.removeAttribute('aria-activedescendant');
  }

  function drawRow(index, { item, depth, at, parent }) {
    let one = pool.get(index);
    if (!one) {
      one = { node: h('div', { class: 'tree-row', role: 'treeitem', id: `tree-${index}` }), shown: '' };
      one.node.style.setProperty('top', `${index * ROW}px`);
      one.node.addEventListener('click', (event) => onClick(index, event));
      pool.set(index, one);
      sizer.append(one.node);
    }
    const open = item ? opened(item) : false;
    const is = item !== undefined && item.topic === chosen;
    const shown = item ? JSON.stringify([item, open, is, index === active, depth, parent.total]) : '';
    if (one.shown === shown && shown) return;
    one.shown = shown;
    one.node.style.setProperty('--depth', depth);
    one.node.classList.toggle('active', index === active);
    one.node.setAttribute('aria-level', depth + 1);
    one.node.setAttribute('aria-setsize', parent.total);
    one.node.setAttribute('aria-posinset', at + 1);
    one.node.setAttribute('aria-selected', String(is));
    if (item?.children) one.node.setAttribute('aria-expanded', String(open));
    else one.node.removeAttribute('aria-expanded');
    put(one.node, h('span', { class: 'twist' }, item?.children > 0 && icon('right')), item ? row(item) : '…');
  }

  function onClick(index, event) {
    const { item, parent } = locate(index) ?? {};
    active = index;
    if (!item) return;
    const twist = event.target.closest('.twist');
    if (item.children && (twist || item.topic === chosen || !opened(item))) toggle(item, parent);
    if (!twist) select(item);
    later();
  }

  function onKey(event) {
    const { item, parent, depth } = locate(active) ?? {};
    const total = size(root);
    const page = Math.max(1, Math.floor(scroller.clientHeight / ROW) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -total, End: total };
    if (event.key in moves) active = Math.max(0, Math.min(total - 1, active + moves[event.key]));
    else if (event.key === 'ArrowRight' && item?.children) opened(item) ? active += 1 : toggle(item, parent);
    else if (event.key === 'ArrowLeft' && item && opened(item)) toggle(item, parent);
    else if (event.key === 'ArrowLeft' && depth > 0) active = rowOf(parent.parent, parent.at);
    else if ((event.key === 'Enter' || event.key === ' ') && item) {
      select(item);
      if (event.key === ' ' && item.children) toggle(item, parent);
    } else return;
    event.preventDefault();
    const top = active * ROW;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + ROW > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + ROW - scroller.clientHeight;
    later();
  }

  function select(item) {
    chosen = item.topic;
    choose(item);
  }

  function opened(item) {
    return branches.get(item.topic)?.open ?? false;
  }

  function toggle(item, parent) {
    let one = branches.get(item.topic);
    if (!one) {
      one = branch(item.topic, parent);
      one.total = item.children;
      one.at = parent.items.indexOf(item);
      branches.set(item.topic, one);
    }
    one.open = !one.open;
    if (one.open) need(one, 0);
    later();
  }

  /** Reads the page of `parent` that has its child `at`, unless that is under way. */
  function need(parent, at) {
    const page = Math.floor(at / PAGE);
    if (!parent.busy.has(page)) parent.busy.set(page, read(parent, page));
    return parent.busy.get(page);
  }

  async function read(parent, page) {
    try {
      const { total, items } = await load(parent.topic, page * PAGE, PAGE);
      if (total < parent.total) parent.items.length = Math.min(parent.items.length, total);
      parent.total = total;
      place(parent, page * PAGE, items);
    } catch (error) {
      if (error.status) sayError(error);
    } finally {
      parent.busy.delete(page);
      later();
    }
  }

  /** Puts what was read where it belongs; open branches move with the topic that they are below. */
  function place(parent, from, items) {
    const found = new Map(items.map((item, index) => [item.topic, from + index]));
    for (const one of branches.values()) {
      if (one.parent !== parent) continue;
      if (found.has(one.topic)) one.at = found.get(one.topic);
      else if (one.at >= from && one.at < from + PAGE) one.at = -1;
    }
    items.forEach((item, index) => { parent.items[from + index] = item; });
  }

  /** The open branches among the children of `parent`, from top to bottom. */
  function openBelow(parent) {
    return [...branches.values()].filter((one) => one.parent === parent && one.open && one.at >= 0).sort((a, b) => a.at - b.at);
  }

  function size(parent) {
    return openBelow(parent).reduce((n, one) => n + size(one), parent.total);
  }

  /** What stands in row `index`: `{ item, at, depth, parent }`. */
  function locate(index, parent = root, depth = 0) {
    let before = 0;
    for (const one of openBelow(parent)) {
      if (index <= one.at + before) break;
      const inner = size(one);
      if (index <= one.at + before + inner) return locate(index - one.at - before - 1, one, depth + 1);
      before += inner;
    }
    const at = index - before;
    return at < parent.total ? { item: parent.items[at], at, depth, parent } : null;
  }

  /** The row of the child `at` of `parent`. */
  function rowOf(parent, at) {
    const before = openBelow(parent).reduce((n, one) => (one.at < at ? n + size(one) : n), at);
    return parent.parent ? rowOf(parent.parent, parent.at) + 1 + before : before;
  }

  /** Reads again what is on the screen. */
  async function refresh() {
    const first = Math.floor(scroller.scrollTop / ROW);
    const last = Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW);
    const wanted = new Map();
    for (let index = first; index < last; index += 1) {
      const place = locate(index);
      if (place) wanted.set(`${place.parent.topic}\n${Math.floor(place.at / PAGE)}`, place);
    }
    if (!wanted.size) await need(root, 0);
    await Promise.all([...wanted.values()].map(({ parent, at }) => need(parent, at)));
  }

  /** Opens the way to `topic` and chooses it, where its branches are among the first that were read. */
  async function reveal(topic) {
    const levels = topic.split('/');
    let parent = root;
    for (let n = 1; n <= levels.length; n += 1) {
      const way = levels.slice(0, n).join('/');
      await ready(parent);
      const at = parent.items.findIndex((one) => one?.topic === way);
      if (at < 0) return;
      const item = parent.items[at];
      if (n === levels.length) {
        select(item);
        active = rowOf(parent, at);
        scroller.scrollTop = Math.max(0, active * ROW - scroller.clientHeight / 2);
      } else {
        if (!opened(item)) toggle(item, parent);
        parent = branches.get(way);
      }
    }
    later();
  }

  async function ready(parent) {
    if (!parent.items.length) await (parent.busy.get(0) ?? need(parent, 0));
  }

  return { node: scroller, refresh, reveal, total: () => root.total, chosen: () => chosen, end: () => observer.disconnect() };
}

function branch(topic, parent) {
  return { topic, parent, at: -1, total: 0, items: [], open: false, busy: new Map() };
}
