// Elements without markup: every text that reaches the page goes through a text node, never through a parser.

const SVG = 'http://www.w3.org/2000/svg';

/** An element: `h('a', { class: 'x', href, onclick }, 'text', node, [more])`. Children that are null or false are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of a drawing. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A drawing of the sprite; nothing to a screen reader. */
export function icon(name) {
  return s('svg', { class: 'icon', 'aria-hidden': 'true' }, s('use', { href: `icons.svg#${name}` }));
}

/** Replaces what is in `node`. */
export function put(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

/** Sets the text of `node` if it is another one, so that selections and screen readers are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (name === 'value') node.value = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...flat(children));
  return node;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
