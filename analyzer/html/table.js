// SPDX-License-Identifier: MIT
//
// The table: stacks, functions, files, modules, threads or processes with what the window
// did by them. A real table, for readers of screens too; long ones grow on request.

const COLUMNS = {
  leaked: {title: 'Leaked', about: 'allocated in the window, still live at its end'},
  live: {title: 'Live', about: 'all that lives at the end of the window'},
  allocated: {title: 'Allocated', about: 'all that the window allocated'},
  temporary: {title: 'Temporary', about: 'allocated and freed in the window'},
  released: {title: 'Released', about: 'there before the window, freed in it'},
};
const KIND_WORDS = {
  growing: ['GROWING', 'was still growing at the end: a leak'],
  unclear: ['unclear', 'too short or too rare to tell'],
  young: ['young', 'allocated in the last instants'],
  plateau: ['plateau', 'reached its level long before the end: a cache'],
  startup: ['start-up', 'allocated early, and left alone since'],
};
const BYS = {
  stack: 'stack', name: 'function', file: 'file', module: 'module', thread: 'thread',
  process: 'process',
};
const PAGE = 100;

class Table {
  // on: {sort(column), stack(index), search(text), thread(index), process(index), more()}
  constructor(host, model, on) {
    this.host = host;
    this.model = model;
    this.on = on;
    this.shown = PAGE;
  }

  kind(stack) {
    const flags = this.model.stackFlags[stack];
    return flags & 8 && !(flags & SUPPRESSED) ? KINDS[flags & 7] : null;
  }

  // The name of a stack, and where it lies.
  label(stack) {
    const {model} = this;
    if (model.stackFlags[stack] & UNITED) {
      return [`(${counted(model.meta.united_stacks, 'smaller stack')} as one)`, '', ''];
    }
    const frame = ownFrame(model, stack);
    if (frame < 0) {
      return ['(no stack)', '', ''];
    }
    const {name, file, line, module} = model.frames;
    const path = model.strings[file[frame]];
    return [model.strings[name[frame]],
      path ? shortPath(path) + (line[frame] ? ':' + line[frame] : '') :
        baseName(model.strings[module[frame]]), path];
  }

  thread(index) {
    const thread = this.model.meta.threads[index];
    const process = this.model.meta.processes[thread.process];
    const who = thread.any ? 'threads that were not told apart' :
      (thread.name ?? 'thread') + (thread.tid === null ? '' : ' ' + thread.tid);
    return [who, `process ${process.name}`];
  }

  // Rows of [key, name, place, values…]; state: the page's.
  rows(state, sums) {
    const {model} = this;
    const {by, unit} = state;
    const rows = [];
    if (by === 'name' || by === 'file' || by === 'module') {
      const parts = MEASURES.map(measure => sumNames(model, by, sums[unit][measure]));
      for (let key = 0; key < model.strings.length; key++) {
        if (model.strings[key] && parts.some(part => part.all[key])) {
          const at = MEASURES.indexOf(state.measure);
          rows.push({key, name: by === 'name' ? model.strings[key] : shortPath(model.strings[key]),
            full: model.strings[key], place: '', values: parts.map(part => part.all[key]),
            own: parts[at].own[key], count: 0});
        }
      }
      return rows;
    }
    const n = sums.bytes.live.length;
    for (let key = 0; key < n; key++) {
      if (!sums[unit][state.measure][key]) {
        continue;
      }
      const values = MEASURES.map(measure => sums[unit][measure][key]);
      const other = unit === 'bytes' ? 'blocks' : 'bytes';
      const row = {key, values, count: sums[other][state.measure][key], kind: null};
      if (by === 'stack') {
        row.kind = this.kind(key);
        row.hidden = Boolean(model.stackFlags[key] & SUPPRESSED);
      }
      rows.push(row);
    }
    return rows;
  }

  name(row, by) {
    if (row.name === undefined) {
      [row.name, row.place, row.full] = by === 'stack' ? this.label(row.key) :
        by === 'thread' ? this.thread(row.key) :
          ['process ' + this.model.meta.processes[row.key].name,
            this.model.meta.processes[row.key].command];
    }
    return row;
  }

  sorted(rows, state) {
    const at = MEASURES.indexOf(state.measure);
    const value = row => {
      const column = MEASURES.indexOf(state.sort);
      return column >= 0 ? row.values[column] : state.sort === 'own' ? row.own :
        state.sort === 'count' ? row.count : row.values[at];
    };
    const rank = row => row.kind === 'growing' ? 0 : 1;
    const sign = state.up ? -1 : 1;
    if (state.sort === 'where') {
      rows.forEach(row => this.name(row, state.by));
      return rows.sort((p, q) => sign * (p.name < q.name ? -1 : p.name > q.name ? 1 : 0));
    }
    if (state.sort === 'kind') {
      return rows.sort((p, q) => sign * (rank(p) - rank(q)) || value(q) - value(p));
    }
    return rows.sort((p, q) => sign * (value(q) - value(p)) || p.key - q.key);
  }

  render(state, sums) {
    const at = MEASURES.indexOf(state.measure);
    const columns = MEASURES.filter(measure => measure !== state.measure &&
      state.columns.includes(measure));
    const rows = this.sorted(this.rows(state, sums).filter(row => row.values[at]), state);
    const whole = total(sums[state.unit][state.measure]);
    const most = rows.reduce((so, row) => Math.max(so, row.values[at]), 1);
    const named = state.by === 'name' || state.by === 'file' || state.by === 'module';
    const kinds = state.by === 'stack' && (state.measure === 'leaked' || state.measure === 'live');
    const heads = [[state.measure, COLUMNS[state.measure].title, 'number'],
      ['where', state.by === 'stack' ? 'Allocated by' : titled(BYS[state.by]), 'where'],
      ...kinds ? [['kind', 'Trend', 'kind']] : [], [null, 'Share', 'number'],
      named ? ['own', 'Own', 'number'] :
        ['count', state.unit === 'bytes' ? 'Blocks' : 'Bytes', 'number'],
      ...columns.map(measure => [measure, COLUMNS[measure].title, 'number'])];
    const sort = state.sort || state.measure;
    const head = make('tr', {}, ...heads.map(([key, title, kind]) => make('th', {scope: 'col',
      class: kind, 'aria-sort': key !== sort ? null : state.up ? 'ascending' : 'descending'},
    key === null ? make('span', {text: title}) :
      make('button', {type: 'button', onclick: () => this.on.sort(key)}, title,
        make('span', {class: 'arrow', 'aria-hidden': 'true',
          text: key !== sort ? '' : state.up ? ' ▲' : ' ▼'})))));
    const body = make('tbody');
    for (const row of rows.slice(0, this.shown)) {
      body.append(this.row(this.name(row, state.by), state, at, columns, {whole, most, named, kinds}));
    }
    const caption = make('caption', {class: 'offscreen',
      text: `${COLUMNS[state.measure].title} by ${BYS[state.by]}: ` +
        COLUMNS[state.measure].about});
    this.host.replaceChildren(make('div', {class: 'scroll'},
      make('table', {}, caption, make('thead', {}, head), body)));
    if (!rows.length) {
      this.host.append(make('p', {class: 'empty', text: this.nothing(state, total(sums.blocks.allocated))}));
    }
    if (rows.length > this.shown) {
      this.host.append(make('p', {class: 'more'}, make('button', {type: 'button', onclick: () => {
        this.shown *= 4;
        this.on.more();
      }, text: `Show more of ${counted(rows.length, 'row')}`})));
    }
    this.latest = rows;
  }

  nothing(state, allocated) {
    const words = {
      leaked: 'Every block that this window allocated was freed by its end.',
      live: 'No block lives at the end of this window.',
      allocated: 'Nothing was allocated in this window.',
      temporary: 'No block was allocated and freed within this window.',
      released: 'Nothing from before this window was freed in it.',
    };
    return state.search ? 'Nothing here has such a name.' :
      words[state.measure === 'leaked' && !allocated ? 'allocated' : state.measure];
  }

  row(row, state, at, columns, {whole, most, named, kinds}) {
    const bar = make('span', {class: 'bar', 'aria-hidden': 'true'});
    bar.style.width = (100 * row.values[at] / most).toFixed(1) + '%';
    const other = state.unit === 'bytes' ? 'blocks' : 'bytes';
    const exact = humanCount(row.values[at]) + ' ' + state.unit;
    const cells = [
      make('td', {class: 'number main', title: exact}, bar,
        make('span', {class: 'value', text: human(row.values[at], state.unit)})),
      make('th', {scope: 'row', class: 'where'}, make('div', {},
        make('button', {type: 'button', class: 'name', title: clean(row.full || row.name),
          text: row.name}),
        make('span', {class: 'place', text: row.place ?? ''}),
        make('span', {class: 'callers', text: state.by === 'stack' ? this.callers(row.key) : ''}))),
    ];
    if (kinds) {
      const words = row.kind ? KIND_WORDS[row.kind] : ['', ''];
      cells.push(make('td', {class: 'kind'}, words[0] ? make('span', {class: 'chip ' + row.kind,
        title: words[1], text: words[0]}) :
        row.hidden ? make('span', {class: 'chip', title: 'suppressed, or the runtimes’ own',
          text: 'left out'}) : null));
    }
    cells.push(make('td', {class: 'number share', text: percent(row.values[at], whole)}),
      make('td', {class: 'number',
        text: named ? human(row.own, state.unit) : human(row.count, other)}),
      ...columns.map(measure => make('td', {class: 'number',
        text: human(row.values[MEASURES.indexOf(measure)], state.unit)})));
    return make('tr', {'data-key': row.key, class: state.by === 'stack' && state.stack === row.key ?
      'chosen' : '', onclick: () => this.open(row, state.by)}, ...cells);
  }

  // Who called the frame to open, up to main, with lines: what tells stacks of one function
  // apart.
  callers(stack) {
    const {name, line} = this.model.frames;
    const own = this.model.stackOwn[stack];
    const all = framesOf(this.model, stack);
    const end = all.findIndex((frame, i) => i >= own && this.model.strings[name[frame]] === 'main');
    return all.slice(own + 1, end < 0 ? all.length : end + 1).slice(0, 4)
      .map(frame => '← ' + this.model.strings[name[frame]].slice(0, 60) +
        (line[frame] ? ':' + line[frame] : '')).join(' ');
  }

  open(row, by) {
    if (by === 'stack') {
      this.on.stack(row.key);
    } else if (by === 'thread' || by === 'process') {
      this.on[by](row.key);
    } else {
      this.on.search('^' + this.model.strings[row.key].replace(/[\\^$.*+?()[\]{}|]/g, '\\$&') + '$');
    }
  }
}

function titled(text) {
  return text[0].toUpperCase() + text.slice(1);
}
