// Small drawings of numbers over time.

import { s, h, put, setText } from './dom.js';
import { clock } from './format.js';
import { t } from './i18n.js';

/** Drawn area of a sparkline, in its own units. */
const WIDTH = 200;
const HEIGHT = 36;

/** A sparkline: `update(points)` draws `[[ms, n], …]`. */
export function spark() {
  const area = s('path', { class: 'area' });
  const line = s('path', { class: 'line' });
  const node = s('svg', { class: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, area, line);
  return {
    node,
    update(points) {
      const path = trace(points, span(points), ceiling(points), WIDTH, HEIGHT, 3);
      line.setAttribute('d', path);
      area.setAttribute('d', path ? `${path}V${HEIGHT}H${path.slice(1).split(',')[0]}Z` : '');
    },
  };
}

/**
 * A chart of series, `[{ label, dashed }]`, with axes, and the values where the pointer is. `update([points, …])` draws;
 * `format` writes a value.
 */
export function chart(series, format, label) {
  const height = 180;
  const lines = series.map(({ dashed }) => s('path', { class: dashed ? 'line dashed' : 'line' }));
  const area = s('path', { class: 'area' });
  const grid = s('g', { class: 'grid' });
  const cursor = s('path', { class: 'cursor' });
  const drawing = s('svg', { class: 'drawing', role: 'img' }, grid, area, lines, cursor);
  const reading = h('output', { class: 'reading' });
  const legend = h('div', { class: 'legend' }, series.map((one) => h('span', { class: one.dashed ? 'key dashed' : 'key' }, one.label)), reading);
  const node = h('figure', { class: 'chart' }, legend, drawing);
  let shown = [];
  let frame = [0, 1];

  const draw = () => {
    const width = drawing.clientWidth || 600;
    const top = ceiling(shown.flat());
    frame = span(shown.flat());
    drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const inner = height - 22;
    put(grid, [0, 0.5, 1].map((part) => {
      const y = Math.round(4 + (inner - 4) * (1 - part)) + 0.5;
      return [s('path', { d: `M0,${y}H${width}` }), part > 0 && s('text', { x: 0, y: y + 12 }, format(top * part))];
    }), [0, 0.5, 1].map((part) => s('text', {
      x: width * part, y: height - 5, 'text-anchor': ['start', 'middle', 'end'][part * 2],
    }, clock(frame[0] + (frame[1] - frame[0]) * part).slice(-8, -3))));
    shown.forEach((points, at) => lines[at].setAttribute('d', trace(points, frame, top, width, inner, 4)));
    const first = trace(shown[0] ?? [], frame, top, width, inner, 4);
    area.setAttribute('d', first ? `${first}V${inner}H${first.slice(1).split(',')[0]}Z` : '');
    const now = shown.map((points, at) => `${series[at].label} ${format(points.at(-1)?.[1])}`).join(', ');
    drawing.setAttribute('aria-label', `${label}. ${t('Now')}: ${now}`);
  };
  const read = (event) => {
    const part = (event.clientX - drawing.getBoundingClientRect().left) / drawing.clientWidth;
    const time = frame[0] + (frame[1] - frame[0]) * part;
    const at = shown[0]?.reduce((best, point, index) => (Math.abs(point[0] - time) < Math.abs(shown[0][best][0] - time) ? index : best), 0);
    if (!shown[0]?.length) return;
    const x = ((shown[0][at][0] - frame[0]) / (frame[1] - frame[0])) * drawing.clientWidth;
    cursor.setAttribute('d', `M${x},0V${height - 22}`);
    setText(reading, `${clock(shown[0][at][0])}  ${shown.map((points) => format(points[at]?.[1])).join(' / ')}`);
  };
  drawing.addEventListener('pointermove', read);
  drawing.addEventListener('pointerleave', () => {
    cursor.setAttribute('d', '');
    setText(reading, '');
  });
  const observer = new ResizeObserver(draw);
  observer.observe(drawing);
  return {
    node,
    update(all) {
      shown = all;
      draw();
    },
    end: () => observer.disconnect(),
  };
}

/** From the first to the last moment; at least one minute, so that a young broker's line grows from the right. */
function span(points) {
  if (!points.length) return [Date.now() - 60000, Date.now()];
  const times = points.map(([time]) => time);
  const last = Math.max(...times);
  return [Math.min(...times, last - 60000), last];
}

/** A round number that is not below any value. */
function ceiling(points) {
  const most = Math.max(0, ...points.map(([, value]) => value));
  if (most <= 1) return most <= 0 ? 1 : most <= 0.2 ? 0.2 : 1;
  const size = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 5, 10].map((step) => step * size).find((top) => top >= most);
}

function trace(points, [from, to], top, width, height, margin) {
  return points.map(([time, value], index) => {
    const x = ((time - from) / (to - from || 1)) * width;
    const y = height - 1 - (value / top) * (height - margin - 1);
    return `${index ? 'L' : 'M'}${x.toFixed(1)},${y.toFixed(1)}`;
  }).join('');
}
