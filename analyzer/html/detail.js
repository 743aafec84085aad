// SPDX-License-Identifier: MIT
//
// One stack, whole: its frames with their lines, what it did in the window and over time,
// how long its blocks lived.

class Detail {
  // on: {close()}
  constructor(host, model, on) {
    this.host = host;
    this.model = model;
    this.on = on;
  }

  get reasons() {
    return this.model.meta.reasons;
  }

  place(frame) {
    const {model} = this;
    const {file, line, module} = model.frames;
    const path = model.strings[file[frame]];
    const text = path ? path + (line[frame] ? ':' + line[frame] : '') :
      model.strings[module[frame]];
    return {path, line: line[frame], text};
  }

  // A link that opens an editor, for paths that can be one's.
  link(frame) {
    const {path, line, text} = this.place(frame);
    if (!path.startsWith('/')) {
      return make('span', {class: 'place', text});
    }
    const url = 'vscode://file' + path.split('/').map(encodeURIComponent).join('/') +
      (line ? ':' + line : '');
    return make('a', {class: 'place', href: url, title: 'open in the editor: ' + clean(text),
      text: shortPath(path) + (line ? ':' + line : '')});
  }

  text(stack) {
    return framesOf(this.model, stack).map(frame =>
      clean(this.model.strings[this.model.frames.name[frame]]) + '  ' +
      clean(this.place(frame).text)).join('\n') + '\n';
  }

  frames(stack) {
    const {model} = this;
    const own = ownFrame(model, stack);
    const list = make('ol', {class: 'frames'});
    for (const frame of framesOf(model, stack)) {
      const inlined = model.frames.flags[frame] & 1;
      list.append(make('li', {class: frame === own ? 'own' : null},
        make('span', {class: 'name', text: model.strings[model.frames.name[frame]]}),
        make('span', {class: 'where'}, this.link(frame),
          inlined ? make('span', {class: 'note', text: ' inlined'}) : null,
          frame === own ? make('span', {class: 'note', text: ' ← look here'}) : null)));
    }
    if (!list.childNodes.length) {
      list.append(make('li', {text: model.stackFlags[stack] & UNITED ?
        'These stacks are smaller than what the page has room for; their sums are kept.' :
        'The trace has no stack of these blocks.'}));
    }
    return list;
  }

  // What it held over time, with the window.
  chart(stack, state) {
    const {model} = this;
    const {live} = history(model, 0, model.slots, {stack, unit: state.unit, rows: state.rows});
    const width = 420;
    const height = 92;
    const most = Math.max(1, ...live);
    const x = slot => (slot / model.slots * width).toFixed(1);
    const y = value => (height - 14 - value / most * (height - 30)).toFixed(1);
    let line = `M0,${y(0)}`;
    live.forEach((value, slot) => {
      line += `L${x(slot + 1)},${y(value)}`;
    });
    const [a, b] = state.window;
    return draw('svg', {class: 'history', viewBox: `0 0 ${width} ${height}`, role: 'img',
      'aria-label': `Live over time, at most ${human(most, state.unit)} at the end of a slot`},
    draw('rect', {class: 'span', x: x(a), y: 0, width: x(b - a), height: height - 14}),
    draw('path', {class: 'live', d: `${line}L${width},${height - 14}L0,${height - 14}Z`}),
    draw('path', {class: 'live-line', d: line}),
    draw('text', {x: 4, y: 12, text: 'at most ' + human(most, state.unit)}),
    draw('text', {x: 0, y: height - 2, text: '0'}),
    draw('text', {x: width, y: height - 2, 'text-anchor': 'end',
      text: humanTime(model.meta.duration_ns)}));
  }

  // How long its blocks lived, to the width of a slot.
  lives(stack, state) {
    const {model} = this;
    const ages = new Map();
    let blocks = 0;
    let never = 0;
    let bytes = 0;
    for (let cell = 0; cell < model.cellRow.length; cell++) {
      const row = model.cellRow[cell];
      if (model.rowStack[row] !== stack || (state.rows && !state.rows[row])) {
        continue;
      }
      const count = model.cellBlocks[cell];
      blocks += count;
      bytes += model.cellBytes[cell];
      if (model.cellFreed[cell] === NEVER) {
        never += count;
      } else {
        const age = model.cellFreed[cell] - model.cellBorn[cell];
        ages.set(age, (ages.get(age) ?? 0) + count);
      }
    }
    let half = (blocks - never) / 2;
    let median = null;
    for (const [age, count] of [...ages].sort((p, q) => p[0] - q[0])) {
      half -= count;
      if (half <= 0) {
        median = age;
        break;
      }
    }
    const lines = [['Block, on average', humanBytes(Math.round(bytes / Math.max(1, blocks)))],
      ['Never freed', `${humanCount(never)} of ${counted(blocks, 'block')}`]];
    if (median !== null) {
      lines.push(['Half of the freed lived', median ?
        'up to ' + humanTime((median + 1) * model.width) : 'less than ' + humanTime(model.width)]);
    }
    return lines;
  }

  render(state, sums, label, kind) {
    const {stack} = state;
    const {model} = this;
    if (stack < 0) {
      this.host.hidden = true;
      this.host.replaceChildren();
      return;
    }
    const id = stackId(model, stack);
    const facts = MEASURES.map(measure => [COLUMNS[measure].title,
      `${humanBytes(sums.bytes[measure][stack])} in ` +
      counted(sums.blocks[measure][stack], 'block')]);
    const list = lines => make('dl', {class: 'facts'}, ...lines.flatMap(([title, text]) =>
      [make('dt', {text: title}), make('dd', {text})]));
    this.host.hidden = false;
    const reason = this.reasons[stack];
    this.host.replaceChildren(
      make('div', {class: 'detail-head'},
        make('h2', {tabindex: -1, id: 'detail-title', text: label}),
        make('button', {type: 'button', class: 'quiet close', 'aria-label': 'Close this stack',
          title: 'Close (Esc)', onclick: () => this.on.close(), text: '✕'})),
      ...kind ? [make('p', {class: 'reason'},
        make('span', {class: 'chip ' + kind, text: KIND_WORDS[kind][0]}),
        make('span', {text: ' ' + (reason ? reason.replace(/^[^:]*: (?=reached)/, '') :
          KIND_WORDS[kind][1])}))] : [],
      this.chart(stack, state), this.frames(stack),
      make('p', {class: 'tools'}, copyButton('Copy stack', () => this.text(stack)),
        ...id ? [copyButton('Copy its number', () => id),
          make('span', {class: 'note', text: ` stack ${id}`})] : []),
      make('h3', {text: 'In this window'}), list(facts),
      make('h3', {text: 'In the whole run'}), list(this.lives(stack, state)));
  }
}
