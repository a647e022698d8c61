// The language of the page. The English text is the key; i18n/zh.js has the Chinese for each of them.

let words = {};
let current = 'en';

/** The language in use, `en` or `zh`. */
export function language() {
  return current;
}

/** Loads what was chosen earlier, else the first language of the browser that there is. */
export async function loadLanguage() {
  const wanted = localStorage.getItem('midge.language') ?? navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag === 'en' || tag === 'zh');
  current = wanted === 'zh' ? 'zh' : 'en';
  words = current === 'zh' ? (await import('../i18n/zh.js')).default : {};
  document.documentElement.lang = current === 'zh' ? 'zh-CN' : 'en';
}

/** Chooses a language and loads it. */
export async function chooseLanguage(tag) {
  localStorage.setItem('midge.language', tag);
  await loadLanguage();
}

/** The text in the language of the page, with `{name}` filled in from `values`. */
export function t(text, values) {
  const found = words[text] ?? text;
  return values ? found.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all) : found;
}

/** As `t`, but values may be elements: a list of texts and elements. */
export function tx(text, values) {
  return (words[text] ?? text).split(/(\{\w+\})/).map((part) => (part.startsWith('{') ? values[part.slice(1, -1)] : part));
}

/** `one` for 1, else `many`; `{n}` in it is the number, written as the language writes it. */
export function tn(n, one, many) {
  return t(n === 1 && current === 'en' ? one : many, { n: n.toLocaleString(locale()) });
}

/** A text of the server in the language of the page, if we have it: names of reasons, steps, kinds. */
export function tk(kind, name, otherwise) {
  return words[`${kind}:${name}`] ?? otherwise;
}

/** The tag for number and date formats. */
export function locale() {
  return current === 'zh' ? 'zh-CN' : 'en-GB';
}
