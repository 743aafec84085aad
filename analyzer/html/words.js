// SPDX-License-Identifier: MIT
//
// Elements and words of the page. What a trace says becomes text here, and nothing else:
// characters that hide, or turn text around, are shown by their numbers.

const HIDDEN = new RegExp('[\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f' +
  '\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]', 'g');

function clean(text) {
  return String(text).replace(HIDDEN, character =>
    '\\u' + character.codePointAt(0).toString(16).padStart(4, '0'));
}

// An element: its attributes (on…: listeners; class, text, …) and children.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.filter(child => child !== null));
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  set(element, attributes);
  element.append(...children.filter(child => child !== null));
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) {
      element.addEventListener(name.slice(2), value);
    } else if (name === 'text') {
      element.textContent = clean(value);
    } else if (value === true) {
      element.setAttribute(name, '');
    } else if (value !== false && value !== null) {
      element.setAttribute(name, value);
    }
  }
}

function byId(id) {
  return document.getElementById(id);
}

// Three digits, as the terminal has them.
function digits(number) {
  return number < 9.995 ? number.toFixed(2) : number < 99.95 ? number.toFixed(1) :
    number.toFixed(0);
}

function humanBytes(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  let value = bytes;
  for (; value >= 1023.5 && unit < 5; unit++) {
    value /= 1024;
  }
  return unit ? digits(value) + ' ' + units[unit] : value + ' B';
}

function humanCount(count) {
  return count.toLocaleString('en-US', {maximumFractionDigits: 0});
}

function counted(count, noun) {
  return humanCount(count) + ' ' + noun + (count === 1 ? '' : noun.endsWith('s') ? 'es' : 's');
}

function humanTime(ns) {
  if (ns >= 3600e9) {
    const minutes = Math.floor(ns / 60e9);
    return Math.floor(minutes / 60) + ' h ' + String(minutes % 60).padStart(2, '0') + ' min';
  }
  if (ns >= 120e9) {
    const seconds = Math.floor(ns / 1e9);
    return Math.floor(seconds / 60) + ' min ' + String(seconds % 60).padStart(2, '0') + ' s';
  }
  return ns >= 1e9 ? digits(ns / 1e9) + ' s' : ns >= 1e6 ? digits(ns / 1e6) + ' ms' :
    ns >= 1e3 ? digits(ns / 1e3) + ' µs' : Math.round(ns) + ' ns';
}

function human(number, unit) {
  return unit === 'bytes' ? humanBytes(number) : humanCount(number);
}

function percent(part, whole) {
  return whole ? digits(100 * part / whole) + ' %' : '';
}

// The end of a path: enough to know a file by.
function shortPath(path) {
  return path.split('/').slice(-2).join('/');
}

function baseName(path) {
  return path.slice(path.lastIndexOf('/') + 1);
}

// Round steps between axis labels, of bytes by powers of two.
function ticks(most, count, unit) {
  const base = unit === 'bytes' ? 1024 : 1000;
  let scale = 1;
  while (most / scale >= base) {
    scale *= base;
  }
  const raw = most / scale / count;
  const steps = unit === 'bytes' ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] :
    [1, 2, 5, 10, 20, 50, 100, 200, 500];
  let step = steps.find(one => one >= raw) ?? base;
  if (scale > 1 && raw < 0.5) {
    step = raw < 0.125 ? 0.125 : raw < 0.25 ? 0.25 : 0.5;
  }
  const all = [];
  for (let at = step * scale; at <= most && all.length < 20; at += step * scale) {
    all.push(at);
  }
  return all;
}

function timeTicks(from, to, count) {
  const raw = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)));
  let step = [1, 2, 5, 10].map(one => one * power).find(one => one >= raw);
  if (raw > 20e9) {
    step = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400]
      .map(one => one * 1e9).find(one => one >= raw) ?? step;
  }
  const all = [];
  for (let at = Math.ceil(from / step) * step; at <= to && all.length < 50; at += step) {
    all.push(at);
  }
  return all;
}

// A button that copies a text; where the browser lets no page do so, it selects it.
function copyButton(title, text) {
  const button = make('button', {type: 'button', class: 'quiet', text: title, onclick: async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      const area = make('textarea', {class: 'offscreen'});
      area.value = text();
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    button.textContent = 'Copied';
    setTimeout(() => {
      button.textContent = title;
    }, 1200);
  }});
  return button;
}
