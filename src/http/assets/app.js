// The console: login, the frame around the pages, and which page the address names.

import * as api from './lib/api.js';
import { h, icon, put, setText } from './lib/dom.js';
import { chooseLanguage, language, loadLanguage, t, tx } from './lib/i18n.js';
import { connection, followBroker } from './lib/live.js';
import { sayError } from './lib/widgets.js';

/** The pages: what stands above a group of them, then name in the address, icon and title. */
const GROUPS = [
  [null, ['overview', 'Overview'], ['live', 'Live'], ['drops', 'Drops']],
  ['Connectivity', ['clients', 'Clients'], ['sessions', 'Sessions'], ['subscriptions', 'Subscriptions']],
  ['Messaging', ['topics', 'Topics'], ['retained', 'Retained']],
  ['Broker', ['listeners', 'Listeners'], ['storage', 'Storage'], ['settings', 'Settings']],
  ['Learn', ['tutorial', 'Tutorial']],
];
const PAGES = GROUPS.flatMap(([, ...pages]) => pages);
/**
 * The broker keeps its topic tree while somebody asks for it: an open console does, and has the topics at hand, also
 * for half an hour behind another window.
 */
const TREE_EVERY = 20000;
const TREE_HIDDEN = 30 * 60000;

const app = document.getElementById('app');
let leaveFrame = () => {};

start();

async function start() {
  await loadLanguage();
  api.whenSessionEnds(showLogin);
  window.addEventListener('midge:logged-out', () => showLogin());
  document.addEventListener('click', (event) => closeMenus(event.target));
  document.addEventListener('keydown', (event) => event.key === 'Escape' && closeMenus(null, true));
  try {
    const told = await api.askSession();
    if (api.session) showFrame();
    else showLogin(told);
  } catch {
    put(app, h('main', { class: 'login' }, h('div', { class: 'card' }, h('h1', {}, 'Midge'), h('p', {}, t('The broker does not respond. Is it running?')),
      h('button', { type: 'button', onclick: () => location.reload() }, t('Try again')))));
  }
}

function closeMenus(target, focus) {
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (menu.contains(target)) continue;
    if (focus && menu.contains(document.activeElement)) menu.querySelector('summary').focus();
    menu.open = false;
  }
}

async function showLogin(told) {
  leaveFrame();
  leaveFrame = () => {};
  const known = told?.error === undefined ? await api.askSession().catch(() => ({})) : told;
  if (api.session) return showFrame();
  document.title = `${t('Log in')} – Midge`;
  const user = h('input', { name: 'user', autocomplete: 'username', required: true, autocapitalize: 'none', spellcheck: 'false' });
  const password = h('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true });
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
  const button = h('button', { class: 'primary' }, t('Log in'));
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await api.logIn(user.value, password.value);
      showFrame();
    } catch (error) {
      problem.hidden = false;
      setText(problem, error.status === 429 ? t('Too many attempts. Try again in {n} s.', { n: error.retryAfter ?? 10 })
        : error.status === 401 ? t('Wrong user name or password.') : error.status ? error.message : t('The broker does not respond. Is it running?'));
      password.select();
    }
    button.disabled = false;
  } },
  h('label', {}, t('User'), user), h('label', {}, t('Password'), password), problem, button,
  known.tutorial_user && h('p', { class: 'hint' }, tx('Tutorial mode: the user is {user}, the password {password}.', { user: h('kbd', {}, known.tutorial_user), password: h('kbd', {}, 'public') })));
  put(app, h('main', { class: 'login' }, h('div', { class: 'card' }, h('div', { class: 'brand' }, icon('midge'), h('h1', {}, 'Midge')),
    h('p', { class: 'lead' }, t('The MQTT broker inside this program.')), form), h('div', { class: 'login-foot' }, languageButton(showLogin), themeButton())));
  user.focus();
  return undefined;
}

function languageButton(redraw) {
  const other = language() === 'zh' ? 'en' : 'zh';
  return h('button', { type: 'button', class: 'quiet', lang: other === 'zh' ? 'zh-CN' : 'en', onclick: async () => {
    await chooseLanguage(other);
    redraw();
  } }, icon('language'), h('span', {}, other === 'zh' ? '中文' : 'English'));
}

function themeButton() {
  const modes = ['auto', 'light', 'dark'];
  const icons = { auto: 'auto', light: 'sun', dark: 'moon' };
  const names = { auto: t('System colours'), light: t('Light colours'), dark: t('Dark colours') };
  const button = h('button', { type: 'button', class: 'quiet square', onclick: () => {
    const next = modes[(modes.indexOf(mode()) + 1) % modes.length];
    if (next === 'auto') {
      localStorage.removeItem('midge.theme');
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem('midge.theme', next);
      document.documentElement.dataset.theme = next;
    }
    show();
  } });
  const mode = () => document.documentElement.dataset.theme ?? 'auto';
  const show = () => {
    put(button, icon(icons[mode()]));
    button.title = names[mode()];
    button.setAttribute('aria-label', names[mode()]);
  };
  show();
  return button;
}

function showFrame() {
  leaveFrame();
  const view = h('main', { id: 'main', tabindex: '-1' });
  const lost = h('div', { class: 'lost', role: 'alert', hidden: true }, icon('warning'), h('span', {}));
  const links = new Map();
  const nav = h('nav', { id: 'nav', 'aria-label': t('Pages') }, GROUPS.map(([group, ...pages]) => h('div', { class: 'group' }, group && h('h2', {}, t(group)), h('ul', {}, pages.map(([key, title]) => {
    const link = h('a', { href: `#/${key}` }, icon(key), h('span', {}, t(title)));
    links.set(key, link);
    return h('li', {}, link);
  })))));
  const menu = h('button', { type: 'button', class: 'quiet square menu-button', 'aria-controls': 'nav', 'aria-expanded': 'false', 'aria-label': t('Pages'), onclick: () => openNav(!side.classList.contains('open')) }, icon('menu'));
  const openNav = (open) => {
    side.classList.toggle('open', open);
    menu.setAttribute('aria-expanded', String(open));
  };
  const logout = h('button', { type: 'button', class: 'quiet square', 'aria-label': t('Log out'), title: t('Log out'), onclick: async () => {
    await api.logOut();
    showLogin();
  } }, icon('logout'));
  const side = h('header', { class: 'side' }, h('div', { class: 'brand' }, menu, h('a', { href: '#/overview', class: 'home' }, icon('midge'), h('span', {}, 'Midge')), h('span', { class: 'dot', title: t('Live') })), nav,
    h('div', { class: 'side-foot' }, h('span', { class: 'muted user' }, api.isAdmin() ? api.session.user : t('{user}, read only', { user: api.session.user })), h('div', {}, languageButton(showFrame), themeButton(), logout)));
  put(app, h('a', { class: 'skip', href: '#main', onclick: (event) => {
    event.preventDefault();
    view.focus();
  } }, t('Skip to content')), side, h('div', { class: 'content' }, lost, view));
  app.dataset.role = api.session.role;

  const onConnection = (heard) => {
    lost.hidden = heard;
    side.classList.toggle('unheard', !heard);
    setText(lost.lastChild, heard ? '' : t('Connection to the broker lost. The data shown may be out of date; the page reconnects automatically.'));
  };
  connection.watchers.add(onConnection);
  onConnection(connection.heard);
  const unfollow = followBroker();
  let seen = Date.now();
  const askTree = () => {
    if (!document.hidden) seen = Date.now();
    if (Date.now() - seen < TREE_HIDDEN) api.get('topics', { limit: 1 }).catch(() => {});
  };
  const tree = setInterval(askTree, TREE_EVERY);
  document.addEventListener('visibilitychange', askTree);
  askTree();
  let endPage = () => {};
  let turn = 0;

  const route = async (first) => {
    const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
    const [key, ...rest] = path.split('/');
    const page = PAGES.find(([one]) => one === key);
    if (!page) {
      history.replaceState(null, '', '#/overview');
      await route(first);
      return;
    }
    const mine = ++turn;
    for (const [one, link] of links) link.toggleAttribute('aria-current', false) || (one === key && link.setAttribute('aria-current', 'page'));
    openNav(false);
    const { mount } = await import(`./pages/${rest.length && key === 'clients' ? 'client' : key}.js`);
    if (mine !== turn) return;
    endPage();
    put(view);
    document.title = `${t(page[1])} – Midge`;
    view.dataset.page = location.hash.slice(2);
    endPage = mount(view, { query: Object.fromEntries(new URLSearchParams(query)), rest: rest.map(decodeURIComponent) }) ?? (() => {});
    window.scrollTo(0, 0);
    if (first !== true) view.querySelector('h1')?.focus({ preventScroll: true });
  };
  const onHash = () => route().catch(sayError);
  window.addEventListener('hashchange', onHash);
  route(true).catch(sayError);

  leaveFrame = () => {
    window.removeEventListener('hashchange', onHash);
    connection.watchers.delete(onConnection);
    turn += 1;
    endPage();
    clearInterval(tree);
    document.removeEventListener('visibilitychange', askTree);
    unfollow();
    put(app);
  };
}
