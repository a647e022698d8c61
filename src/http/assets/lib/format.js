// Numbers, times and foreign texts, as a person reads them.

import { locale, t, tn } from './i18n.js';

/** 1234567 as 1,234,567. */
export function count(n) {
  return n === null || n === undefined ? '–' : n.toLocaleString(locale());
}

/** A rate or a large number in few digits: 0.4, 12, 1.2k, 3.4M. */
export function short(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return '–';
  const size = Math.abs(n);
  if (size < 10) return n.toLocaleString(locale(), { maximumFractionDigits: 1 });
  if (size < 10000) return Math.round(n).toLocaleString(locale());
  const [by, unit] = size < 1e6 ? [1e3, 'k'] : size < 1e9 ? [1e6, 'M'] : [1e9, 'G'];
  return (n / by).toLocaleString(locale(), { maximumFractionDigits: 1 }) + unit;
}

/** Bytes with a unit of 1024. */
export function bytes(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return '–';
  let unit = 0;
  while (Math.abs(n) >= 1024 && unit < 4) {
    n /= 1024;
    unit += 1;
  }
  return `${n.toLocaleString(locale(), { maximumFractionDigits: n < 10 && unit > 0 ? 1 : 0 })} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

/** Milliseconds in the two largest units. */
export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), t('d')], [Math.floor(seconds / 3600) % 24, t('h')],
    [Math.floor(seconds / 60) % 60, t('min')], [seconds % 60, t('s')],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return `0 ${t('s')}`;
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(' ');
}

/** How long ago `ms` was: "3 min ago". */
export function ago(ms) {
  if (!ms) return '–';
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 5) return t('now');
  const [n, unit] = seconds < 60 ? [seconds, 'second'] : seconds < 3600 ? [Math.floor(seconds / 60), 'minute']
    : seconds < 86400 ? [Math.floor(seconds / 3600), 'hour'] : [Math.floor(seconds / 86400), 'day'];
  return new Intl.RelativeTimeFormat(locale(), { style: 'short' }).format(-n, unit);
}

/** The time of day, with the date where it is not today. */
export function clock(ms, fractions) {
  if (!ms) return '–';
  const date = new Date(ms);
  const time = date.toLocaleTimeString(locale(), { hour12: false, fractionalSecondDigits: fractions ? 3 : undefined, hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString(locale())} ${time}`;
}

/** Seconds that a session or a message lasts; null is for ever. */
export function expiry(seconds) {
  if (seconds === null || seconds === undefined) return t('never');
  return seconds === 0 ? t('at disconnect') : duration(seconds * 1000);
}

/** "1 message", "12 messages". */
export function messages(n) {
  return tn(n, '{n} message', '{n} messages');
}

/**
 * A text from outside, with what cannot be seen made visible: control characters as their pictures, marks that turn
 * or hide text as their numbers. Without this, a client could forge what a line says.
 */
export function visible(text, keepLines) {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g, (mark) => {
    const code = mark.codePointAt(0);
    if (keepLines && (code === 10 || code === 9)) return mark;
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    if (code === 127) return '\u2421';
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
}
