// SPDX-License-Identifier: MIT
//
// The page: unpacks the data, keeps the state, which is also the address's fragment, and
// lets the parts draw it.

const app = {};

async function unpack() {
  const text = byId('data').textContent;
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function initial() {
  return {window: [0, app.model.slots], measure: 'leaked', by: 'stack', view: 'table', unit: 'bytes',
    search: '', process: null, thread: null, stack: -1, sort: '', up: false, columns: ['live'],
    zoom: 0, flameUp: false, shown: false};
}

// The state as a fragment: what is as at first is left out.
function fragment(state) {
  const first = initial();
  const parts = [];
  const add = (key, value, same) => same || parts.push(key + '=' + encodeURIComponent(value));
  add('w', state.window.join('-'), String(state.window) === String(first.window));
  for (const [key, name] of [['m', 'measure'], ['by', 'by'], ['v', 'view'], ['u', 'unit'],
    ['q', 'search'], ['o', 'sort']]) {
    add(key, state[name], state[name] === first[name]);
  }
  for (const [key, name] of [['p', 'process'], ['t', 'thread'], ['s', 'stack'], ['z', 'zoom']]) {
    add(key, state[name], state[name] === first[name]);
  }
  for (const [key, name] of [['up', 'up'], ['fu', 'flameUp'], ['all', 'shown']]) {
    add(key, 1, !state[name]);
  }
  add('c', state.columns.join('.'), String(state.columns) === String(first.columns));
  return parts.join('&');
}

// The state of a fragment; what makes no sense is as at first.
function parse(text) {
  const state = initial();
  const values = new Map();
  for (const part of text.split('&')) {
    const [key, value = ''] = part.split('=');
    try {
      values.set(key, decodeURIComponent(value));
    } catch {
      continue;
    }
  }
  const window = /^(\d{1,4})-(\d{1,4})$/.exec(values.get('w') ?? '');
  if (window && Number(window[1]) < Number(window[2]) && window[2] <= app.model.slots) {
    state.window = [Number(window[1]), Number(window[2])];
  }
  const choose = (key, name, allowed) => {
    if (allowed.includes(values.get(key))) {
      state[name] = values.get(key);
    }
  };
  const count = (key, name, n) => {
    if (/^\d{1,9}$/.test(values.get(key) ?? '') && Number(values.get(key)) < n) {
      state[name] = Number(values.get(key));
    }
  };
  choose('m', 'measure', MEASURES);
  choose('by', 'by', Object.keys(BYS));
  choose('v', 'view', ['table', 'flame']);
  choose('u', 'unit', ['bytes', 'blocks']);
  choose('o', 'sort', [...MEASURES, 'own', 'count', 'kind', 'where']);
  count('p', 'process', app.model.meta.processes.length);
  count('t', 'thread', app.model.meta.threads.length);
  count('s', 'stack', app.model.nStacks);
  count('z', 'zoom', 1e9);
  state.search = values.get('q') ?? '';
  state.up = values.get('up') === '1';
  state.flameUp = values.get('fu') === '1';
  state.shown = values.get('all') === '1';
  if (values.has('c')) {
    state.columns = values.get('c').split('.').filter(name => MEASURES.includes(name));
  }
  return state;
}

// Change the state and draw it. quiet: no step for the browser's "back".
function go(changes, quiet = false) {
  const before = app.state;
  app.state = {...app.state, ...changes};
  if ('measure' in changes || 'by' in changes) {
    app.state.sort = 'sort' in changes ? changes.sort : '';
    app.state.up = Boolean(changes.up);
  }
  const text = '#' + fragment(app.state);
  if (!quiet && text !== (location.hash || '#')) {
    app.ignored = text;
    location.hash = text;
  }
  show(before);
}

function compile(text) {
  try {
    return text ? new RegExp(text, 'iu') : null;
  } catch {
    return undefined;
  }
}

// Sums by what the view asks for; those by stack are kept for the flame graph and details.
function sumUp(state) {
  const {model} = app;
  const [a, b] = state.window;
  const rows = state.process === null && state.thread === null ? null :
    rowMask(model, state.process, state.thread);
  const found = compile(state.search);
  byId('search').setAttribute('aria-invalid', found === undefined);
  const stacks = found ? stackMask(model, found) : null;
  const hidden = state.shown ? null : app.hidden;
  app.rows = rows;
  app.found = found;
  app.sums = sumWindow(model, a, b, model.rowStack, model.nStacks, {rows, stacks, hidden});
  app.keyed = app.sums;
  if (state.by === 'thread') {
    app.keyed = sumWindow(model, a, b, model.rowThread, model.meta.threads.length,
      {rows, stacks, hidden});
  } else if (state.by === 'process') {
    app.keyed = sumWindow(model, a, b, model.rowProcess, model.meta.processes.length,
      {rows, stacks, hidden});
  }
}

// Draw what differs from the state before; null: all.
function show(before) {
  const {state} = app;
  const differs = (...names) => !before || names.some(name =>
    String(before[name]) !== String(state[name]));
  if (differs('window', 'search', 'process', 'thread', 'by', 'shown')) {
    sumUp(state);
  }
  if (differs('unit', 'process', 'thread')) {
    app.timeline.choose({unit: state.unit, rows: app.rows});
  }
  if (differs('window', 'unit', 'process', 'thread')) {
    app.timeline.show(state.window);
    tellWindow();
  }
  tellMeasures();
  showTools();
  byId('table').hidden = state.view !== 'table';
  byId('flame').hidden = state.view !== 'flame';
  if (state.view === 'table') {
    const sort = state.sort || (state.by === 'stack' && state.measure === 'leaked' ? 'kind' : '');
    app.table.render({...state, sort}, app.keyed);
  } else {
    app.flame.render({unit: state.unit, zoom: state.zoom, found: app.found, up: state.flameUp},
      app.sums[state.unit][state.measure]);
  }
  const label = state.stack < 0 ? '' : app.table.label(state.stack)[0];
  app.detail.render({...state, rows: app.rows}, app.sums, label,
    state.stack < 0 ? null : app.table.kind(state.stack));
  document.body.classList.toggle('has-detail', state.stack >= 0);
}

function tellMeasures() {
  const {state, sums} = app;
  const other = state.unit === 'bytes' ? 'blocks' : 'bytes';
  for (const measure of MEASURES) {
    const button = byId('measure-' + measure);
    button.setAttribute('aria-checked', measure === state.measure);
    button.tabIndex = measure === state.measure ? 0 : -1;
    button.querySelector('.big').textContent = human(total(sums[state.unit][measure]), state.unit);
    button.title = COLUMNS[measure].about;
    button.dataset.bytes = total(sums.bytes[measure]);
    button.dataset.blocks = total(sums.blocks[measure]);
    button.querySelector('.small').textContent = other === 'blocks' ?
      'in ' + counted(total(sums.blocks[measure]), 'block') : humanBytes(total(sums.bytes[measure]));
  }
  byId('about-text').textContent = titled(COLUMNS[state.measure].about) + '.';
  const left = byId('left-out');
  left.hidden = state.measure !== 'leaked' || (!app.sums.hidden && !state.shown);
  byId('left-out-text').textContent = state.shown ? 'Suppressed and runtimes’ own are counted. ' :
    `${humanBytes(app.sums.hidden)} left out: suppressed, or the runtimes’ own. `;
  byId('left-out-button').textContent = state.shown ? 'Leave out' : 'Count them';
}

function seconds(slot) {
  const ns = BigInt(slot) * BigInt(app.model.width);
  const text = String(ns % 1000000000n).padStart(9, '0').replace(/0+$/, '');
  return String(ns / 1000000000n) + (text ? '.' + text : '');
}

// The window as a command for the terminal.
function command() {
  const {state, model} = app;
  const [a, b] = state.window;
  const path = model.meta.words.report.trace.path;
  const quoted = /^[\w./@%+=:,-]+$/.test(path) ? path : "'" + path.replaceAll("'", "'\\''") + "'";
  return `mlog-analyze ${clean(quoted)} --leaks` + (a ? ` --from ${seconds(a)}` : '') +
    (b < model.slots ? ` --to ${seconds(b)}` : '');
}

function tellWindow() {
  const {state, model} = app;
  const [a, b] = state.window;
  const whole = a === 0 && b === model.slots;
  const from = a * model.width;
  const to = Math.min(model.meta.duration_ns, b * model.width);
  byId('window-text').textContent = whole ?
    `The whole run, ${humanTime(model.meta.duration_ns)}. Drag over the chart to look at a part.` :
    `From ${humanTime(from)} to ${humanTime(to)}, that is ${humanTime(Math.max(0, to - from))}.`;
  byId('window-reset').hidden = whole;
  byId('window-command').hidden = whole;
  byId('kept-legend').hidden = whole;
}

function showTools() {
  const {state} = app;
  byId('by').value = state.by;
  byId('process').value = state.process ?? '';
  byId('thread').value = state.thread ?? '';
  if (document.activeElement !== byId('search')) {
    byId('search').value = state.search;
  }
  for (const button of document.querySelectorAll('[data-unit]')) {
    button.setAttribute('aria-pressed', button.dataset.unit === state.unit);
  }
  for (const button of document.querySelectorAll('[data-view]')) {
    button.setAttribute('aria-pressed', button.dataset.view === state.view);
  }
  for (const box of document.querySelectorAll('[data-column]')) {
    box.checked = state.columns.includes(box.dataset.column);
  }
  byId('flame-up').setAttribute('aria-pressed', state.flameUp);
  for (const one of document.querySelectorAll('.table-only')) {
    one.hidden = state.view !== 'table';
  }
  for (const one of document.querySelectorAll('.flame-only')) {
    one.hidden = state.view !== 'flame';
  }
}

function say(text) {
  byId('said').textContent = text;
}

// The stack that the verdict means by "fix first", or -1.
function firstToFix() {
  const {model} = app;
  const wanted = model.meta.words.report.verdict?.fix_first;
  if (!wanted) {
    return -1;
  }
  const {leaked} = sumWindow(model, 0, model.slots, model.rowStack, model.nStacks).bytes;
  let best = -1;
  for (let stack = 0; stack < model.nStacks; stack++) {
    const frame = ownFrame(model, stack);
    if (app.table.kind(stack) !== 'growing' || frame < 0) {
      continue;
    }
    const name = model.strings[model.frames.name[frame]];
    const file = model.strings[model.frames.file[frame]];
    const text = file ? `${name}, ${file}:${model.frames.line[frame]}` : name;
    if (text === wanted && (best < 0 || leaked[stack] > leaked[best])) {
      best = stack;
    }
  }
  return best;
}

// The verdict as in the terminal: the sentence, then its lines in groups.
function tellVerdict() {
  const {words, command: traced} = app.model.meta;
  const verdict = words.report.verdict ?? {};
  byId('sentence').textContent = clean(verdict.sentence ?? '');
  document.title = clean(`${verdict.sentence ?? 'mlog'} · ${traced}`).slice(0, 200);
  byId('verdict').className = verdict.growing_stacks ? 'bad' :
    /^No /.test(verdict.sentence ?? '') ? 'good' : 'open';
  byId('program').textContent = clean(traced);
  const groups = [];
  for (const line of words.verdict.slice(1)) {
    if (line.length < 2 || !line[0].startsWith(' ') || !groups.length) {
      groups.push([]);
    }
    groups[groups.length - 1].push(line);
  }
  const fix = firstToFix();
  byId('groups').append(...groups.map(group => {
    const list = make('dl', {class: 'facts'});
    for (const [title, text] of group) {
      const first = title === 'fix first' && fix >= 0;
      list.append(make('dt', {class: title.startsWith(' ') ? 'inner' : null, text: title.trim()}),
        make('dd', {}, first ? make('button', {type: 'button', id: 'fix-first', class: 'link', text,
          onclick: () => go({...initial(), stack: fix})}) : clean(text ?? '')));
    }
    return list;
  }));
}

function tellAudit() {
  const {meta} = app.model;
  const {audit} = meta.words.report;
  const list = byId('audit-lines');
  for (const line of meta.words.audit) {
    list.append(make('li', {text: line.filter(part => part).join(': ')}));
  }
  const cut = [];
  if (meta.united_stacks) {
    cut.push(`${counted(meta.united_stacks, 'smaller stack')} are shown as one, for the size of ` +
      'this page; sums hold them.');
  }
  if (meta.crowded) {
    cut.push('Slots of time are wider than they would be, for the memory of the analysis.');
  }
  if (meta.united_threads) {
    cut.push('Not every thread is told apart: there are too many.');
  }
  if (meta.marks_left) {
    cut.push(`${counted(meta.marks_left, 'later mark')} are left out.`);
  }
  if (audit?.pauses?.unsure_blocks) {
    cut.push(`${counted(audit.pauses.unsure_blocks, 'block')} from before a pause, ` +
      `${humanBytes(audit.pauses.unsure_bytes)}: not known whether freed. From the pause on ` +
      'they count as gone here, and as leaked nowhere.');
  }
  cut.push(`Numbers hold to the byte where slots begin and end: each is ` +
    `${humanTime(app.model.width)}, of ${app.model.slots}.`);
  list.append(...cut.map(text => make('li', {text})));
  const complete = Boolean(audit?.complete) && !audit.nothing_recorded;
  byId('audit-state').textContent = complete ? 'The record is complete' :
    audit?.nothing_recorded ? 'Nothing was recorded' : 'The record is not complete';
  byId('audit').open = complete === false;
  byId('audit').classList.toggle('doubt', complete === false);
  byId('writer').textContent = `${meta.writer}`;
}

function fillChoices() {
  const {meta} = app.model;
  const threads = meta.threads.map((thread, i) => [i, app.table.thread(i)]);
  byId('process').append(...meta.processes.map((process, i) =>
    make('option', {value: i, text: `${process.name} ${process.command}`.slice(0, 90)})));
  byId('thread').append(...threads.slice(0, 500).map(([i, [name, process]]) =>
    make('option', {value: i, text: (meta.processes.length > 1 ? `${name}, ${process}` : name)
      .slice(0, 90)})));
  byId('process-choice').hidden = meta.processes.length < 2;
  byId('thread-choice').hidden = meta.threads.length < 2;
  byId('resident-choice').hidden = !app.timeline.hasResident;
  byId('resident').checked = app.timeline.options.resident;
  const spans = intervals();
  byId('interval-choice').hidden = !spans.length;
  byId('interval').append(...spans.map(([name, a, b]) =>
    make('option', {value: `${a}-${b}`, text: name.slice(0, 60)})));
  byId('columns-list').append(...MEASURES.map(measure => make('label', {}, make('input',
    {type: 'checkbox', 'data-column': measure, onchange: event => go({columns:
      MEASURES.filter(one => one === measure ? event.target.checked :
        app.state.columns.includes(one))}, true)}), ' ' + COLUMNS[measure].title)));
}

// Windows between marks: from a begin to its end, and from each point to the next.
function intervals() {
  const {marks} = app.model.meta;
  const slot = ns => Math.min(app.model.slots, Math.round(ns / app.model.width));
  const open = new Map();
  const spans = [];
  let point = null;
  for (const mark of marks) {
    if (mark.kind === 'begin') {
      open.set(mark.name, mark.ns);
    } else if (mark.kind === 'end' && open.has(mark.name)) {
      spans.push([mark.name, slot(open.get(mark.name)), slot(mark.ns)]);
      open.delete(mark.name);
    } else if (mark.kind === 'point') {
      if (point) {
        spans.push([`${point.name} to ${mark.name}`, slot(point.ns), slot(mark.ns)]);
      }
      point = mark;
    }
  }
  return spans.map(([name, a, b]) => [name, a, Math.max(b, a + 1)]).slice(0, 200);
}

function listen() {
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  const number = event => event.target.value === '' ? null : Number(event.target.value);
  on('by', 'change', event => go({by: event.target.value}));
  on('process', 'change', event => go({process: number(event), thread: null}));
  on('thread', 'change', event => go({thread: number(event), process: null}));
  on('resident', 'change', event => app.timeline.choose({resident: event.target.checked}));
  on('interval', 'change', event => {
    const [a, b] = event.target.value.split('-').map(Number);
    if (event.target.value) {
      go({window: [a, b]});
    }
  });
  let waiting = 0;
  on('search', 'input', event => {
    clearTimeout(waiting);
    waiting = setTimeout(() => go({search: event.target.value}), 120);
  });
  on('window-reset', 'click', () => go({window: initial().window}));
  on('zoom-in', 'click', () => app.timeline.zoomBy(0.5, middle()));
  on('zoom-out', 'click', () => app.timeline.zoomBy(2, middle()));
  on('left-out-button', 'click', () => go({shown: !app.state.shown}));
  on('flame-up', 'click', () => go({flameUp: !app.state.flameUp}));
  on('help-button', 'click', () => byId('help').showModal());
  byId('window-command').append(copyButton('Copy the command for this window', command));
  for (const button of document.querySelectorAll('[data-unit]')) {
    button.addEventListener('click', () => go({unit: button.dataset.unit}));
  }
  for (const button of document.querySelectorAll('[data-view]')) {
    button.addEventListener('click', () => go({view: button.dataset.view}));
  }
  for (const measure of MEASURES) {
    on('measure-' + measure, 'click', () => go({measure}));
    on('measure-' + measure, 'keydown', event => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (step) {
        event.preventDefault();
        const next = MEASURES[(MEASURES.indexOf(measure) + step + 5) % 5];
        go({measure: next});
        byId('measure-' + next).focus();
      }
    });
  }
  window.addEventListener('hashchange', () => {
    if (location.hash === app.ignored || (location.hash || '#') === app.ignored) {
      app.ignored = null;
      return;
    }
    const before = app.state;
    app.state = parse(location.hash.slice(1));
    show(before);
  });
  document.addEventListener('keydown', keys);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => app.flame.draw());
}

function middle() {
  const {timeline, state, model} = app;
  return timeline.isWhole() ? undefined : (state.window[0] + state.window[1]) / 2 * model.width;
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === 'Escape') {
      event.target.blur();
    }
    return;
  }
  const index = '12345'.indexOf(event.key);
  const acts = {
    '/': () => byId('search').focus(),
    t: () => go({view: 'table'}),
    f: () => go({view: 'flame'}),
    b: () => go({unit: app.state.unit === 'bytes' ? 'blocks' : 'bytes'}),
    w: () => document.querySelector('.handle.from').focus(),
    '+': () => app.timeline.zoomBy(0.5, middle()),
    '-': () => app.timeline.zoomBy(2, middle()),
    j: () => step(1),
    k: () => step(-1),
    '?': () => byId('help').showModal(),
    Escape: () => {
      if (byId('help').open) {
        return;
      }
      if (app.state.stack >= 0) {
        close();
      } else {
        go({window: initial().window, search: ''});
      }
    },
  };
  const act = index >= 0 ? () => go({measure: MEASURES[index]}) : acts[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

// Close the details, and be where they were opened.
function close() {
  const key = app.state.stack;
  go({stack: -1});
  document.querySelector(`#table tr[data-key="${key}"] .name`)?.focus();
}

// The next stack of the table, or the one before.
function step(by) {
  if (app.state.by !== 'stack' || !app.table.latest?.length) {
    return;
  }
  const rows = app.table.latest;
  const at = rows.findIndex(row => row.key === app.state.stack);
  const next = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
  go({view: 'table', stack: rows[next].key});
  document.querySelector('#table tr.chosen')?.scrollIntoView({block: 'nearest'});
}

async function begin() {
  app.model = readModel(await unpack());
  const {model} = app;
  app.hidden = Uint8Array.from(model.stackFlags, flags => flags & SUPPRESSED ? 1 : 0);
  app.state = parse(location.hash.slice(1));
  app.timeline = new Timeline(byId('chart'), model, (a, b, done) => {
    go({window: [a, b]}, !done);
    if (done) {
      say(byId('window-text').textContent);
    }
  });
  app.table = new Table(byId('table'), model, {
    sort: key => {
      const {state} = app;
      const now = state.sort || (state.by === 'stack' && state.measure === 'leaked' ? 'kind' :
        state.measure);
      go({sort: key, up: now === key && !state.up}, true);
    },
    stack: stack => {
      go({stack});
      byId('detail-title')?.focus({preventScroll: matchMedia('(min-width: 1000px)').matches});
    },
    search: search => go({search, by: 'stack'}),
    thread: thread => go({thread, process: null, by: 'stack'}),
    process: process => go({process, thread: null, by: 'stack'}),
    more: () => show(app.state),
  });
  app.flame = new Flame(byId('flame'), model, {zoom: zoom => go({zoom}), say});
  app.detail = new Detail(byId('detail'), model, {close});
  fillChoices();
  tellVerdict();
  tellAudit();
  listen();
  show(null);
  document.body.classList.remove('waiting');
  document.body.dataset.ready = 'true';
}

begin().catch(error => {
  byId('sentence').textContent = 'This page cannot be shown: ' + clean(error.message) +
    '. A current browser is needed, and a file that is whole.';
  document.body.classList.remove('waiting');
});
