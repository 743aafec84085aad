// SPDX-License-Identifier: MIT
//
// The flame graph: what the window did, along the stacks. Frames of one function under one
// caller are one box. Drawn on a canvas; keys walk it, and a live region tells where.

const ROW = 20;

class Flame {
  // on: {zoom(node), say(text), search(text)}
  constructor(host, model, on) {
    this.host = host;
    this.model = model;
    this.on = on;
    this.root = 0;
    this.tip = make('div', {class: 'tip', hidden: true});
    this.path = make('p', {class: 'flame-path'});
    this.canvas = make('canvas', {tabindex: 0, role: 'img',
      'aria-label': 'Flame graph. Arrow keys walk it, Enter zooms, Escape zooms out.'});
    this.canvas.addEventListener('pointermove', event => this.point(event));
    this.canvas.addEventListener('pointerleave', () => this.hide());
    this.canvas.addEventListener('click', event => this.click(event));
    this.canvas.addEventListener('keydown', event => this.key(event));
    this.host.append(this.path, make('div', {class: 'flame-box'}, this.canvas), this.tip);
    new ResizeObserver(() => this.draw()).observe(host);
  }

  // The tree of functions, made when first looked at. Node 0 is all; a parent comes before
  // its children.
  tree() {
    if (this.nodes) {
      return this.nodes;
    }
    const {model} = this;
    // An open table of nodes by parent and name: of half a million, quicker than a Map.
    const size = 2 ** Math.ceil(Math.log2(2 * model.nodeParent.length + 2));
    const known = new Int32Array(size);
    const parent = [-1];
    const name = [-1];
    const frame = [-1];
    const of = new Int32Array(model.nodeParent.length);
    for (let node = 0; node < of.length; node++) {
      const above = model.nodeParent[node] < 0 ? 0 : of[model.nodeParent[node]];
      const text = model.frames.name[model.nodeFrame[node]];
      let slot = (Math.imul(above, 0x9e3779b1) ^ Math.imul(text, 0x85ebca6b)) & (size - 1);
      while (known[slot] && (parent[known[slot]] !== above || name[known[slot]] !== text)) {
        slot = (slot + 1) & (size - 1);
      }
      let at = known[slot];
      if (!at) {
        at = parent.length;
        known[slot] = at;
        parent.push(above);
        name.push(text);
        frame.push(model.nodeFrame[node]);
      }
      of[node] = at;
    }
    const depth = new Int32Array(parent.length);
    for (let i = 1; i < parent.length; i++) {
      depth[i] = depth[parent[i]] + 1;
    }
    this.nodes = {parent, name, frame, depth, of};
    return this.nodes;
  }

  render(state, values) {
    const nodes = this.tree();
    const {model} = this;
    this.state = state;
    this.values = new Float64Array(nodes.parent.length);
    this.own = new Float64Array(nodes.parent.length);
    for (let stack = 0; stack < model.nStacks; stack++) {
      const node = model.stackNode[stack];
      const at = node < 0 ? 0 : nodes.of[node];
      this.values[at] += values[stack];
      this.own[at] += values[stack];
    }
    for (let i = nodes.parent.length - 1; i > 0; i--) {
      this.values[nodes.parent[i]] += this.values[i];
    }
    this.children = null;
    this.root = state.zoom < nodes.parent.length && this.values[state.zoom] ? state.zoom : 0;
    this.hits = null;
    if (state.found) {
      this.hits = new Set();
      model.strings.forEach((text, i) => {
        if (text && state.found.test(text)) {
          this.hits.add(i);
        }
      });
    }
    this.draw();
  }

  text(node) {
    return node === 0 ? 'all' : clean(this.model.strings[this.nodes.name[node]]);
  }

  // Children by parent, the largest first.
  sortedChildren() {
    if (!this.children) {
      this.children = new Map();
      for (let i = 1; i < this.values.length; i++) {
        if (this.values[i]) {
          const above = this.nodes.parent[i];
          const list = this.children.get(above);
          if (list) {
            list.push(i);
          } else {
            this.children.set(above, [i]);
          }
        }
      }
      for (const list of this.children.values()) {
        list.sort((p, q) => this.values[q] - this.values[p] || p - q);
      }
    }
    return this.children;
  }

  layout(width) {
    const children = this.sortedChildren();
    const boxes = [];
    const above = [];
    for (let node = this.root; node >= 0; node = this.nodes.parent[node]) {
      above.unshift(node);
    }
    above.forEach((node, row) => boxes.push({node, x: 0, w: width, row}));
    const waiting = [boxes[boxes.length - 1]];
    while (waiting.length && boxes.length < 20000) {
      const box = waiting.pop();
      let x = box.x;
      for (const node of children.get(box.node) ?? []) {
        const w = width * this.values[node] / this.values[this.root];
        if (w < 0.6) {
          break;
        }
        const child = {node, x, w, row: box.row + 1};
        boxes.push(child);
        waiting.push(child);
        x += w;
      }
    }
    return boxes;
  }

  draw() {
    if (!this.values || !this.host.clientWidth || this.host.hidden) {
      return;
    }
    const width = this.host.clientWidth;
    this.boxes = this.values[0] ? this.layout(width) : [];
    this.rowsUsed = this.boxes.reduce((most, box) => Math.max(most, box.row + 1), 0);
    const height = Math.max(1, this.rowsUsed) * ROW + 2;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(Math.min(height * ratio, 16000));
    this.canvas.style.height = height + 'px';
    const style = getComputedStyle(document.documentElement);
    const color = name => style.getPropertyValue(name).trim();
    const colors = {own: [color('--own-a'), color('--own-b')],
      library: [color('--lib-a'), color('--lib-b')], hit: color('--hit'), ink: color('--flame-ink'),
      hitInk: color('--hit-ink'), edge: color('--paper'), focus: color('--ink')};
    const context = this.canvas.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = '12px system-ui, sans-serif';
    context.textBaseline = 'middle';
    this.boxes.forEach(box => this.box(context, box, colors));
    this.tellPath();
    if (!this.boxes.length) {
      this.path.textContent = 'Nothing to show in this window.';
    }
  }

  y(row) {
    return (this.state.up ? this.rowsUsed - 1 - row : row) * ROW + 1;
  }

  // Whether a frame is the traced program's own.
  isOwn(node) {
    const frame = this.nodes.frame[node];
    const module = frame < 0 ? '' : this.model.strings[this.model.frames.module[frame]];
    return !/^\/(usr\/)?lib|^\[|^$/.test(module);
  }

  box(context, {node, x, w, row}, colors) {
    const y = this.y(row);
    const name = this.nodes.name[node];
    const hit = this.hits?.has(name);
    const pair = this.isOwn(node) ? colors.own : colors.library;
    context.fillStyle = hit ? colors.hit : pair[(name * 7 + row) & 1];
    context.fillRect(x, y, Math.max(0.6, w - 0.6), ROW - 1);
    if (node === this.cursor) {
      context.strokeStyle = colors.focus;
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1, Math.max(1, w - 2.6), ROW - 3);
    }
    if (w < 34) {
      return;
    }
    let text = this.text(node);
    const room = Math.floor((w - 8) / 6.4);
    if (text.length > room) {
      text = text.slice(0, Math.max(1, room - 1)) + '…';
    }
    context.fillStyle = hit ? colors.hitInk : colors.ink;
    context.fillText(text, x + 4, y + ROW / 2, w - 6);
  }

  tellPath() {
    const links = [];
    for (let node = this.root; node >= 0 && links.length < 40; node = this.nodes.parent[node]) {
      const at = node;
      links.unshift(make('button', {type: 'button', class: 'quiet', text: this.text(at).slice(0, 60),
        'aria-current': at === this.root ? 'true' : null, onclick: () => this.on.zoom(at)}));
    }
    const shown = links.length > 6 ? [links[0], document.createTextNode('…'), ...links.slice(-4)] :
      links;
    this.path.replaceChildren(...shown);
    this.path.hidden = this.root === 0;
  }

  at(event) {
    const rect = this.canvas.getBoundingClientRect();
    const x = event.clientX - rect.left;
    const y = event.clientY - rect.top;
    return this.boxes?.find(box => x >= box.x && x < box.x + box.w && y >= this.y(box.row) &&
      y < this.y(box.row) + ROW);
  }

  words(node) {
    const {unit} = this.state;
    return `${human(this.values[node], unit)}, ${percent(this.values[node], this.values[0])}` +
      (this.own[node] ? `; ${human(this.own[node], unit)} by itself` : '');
  }

  point(event) {
    const box = this.at(event);
    if (!box) {
      this.hide();
      return;
    }
    const frame = this.nodes.frame[box.node];
    const file = frame < 0 ? '' : this.model.strings[this.model.frames.file[frame]];
    const module = frame < 0 ? '' : this.model.strings[this.model.frames.module[frame]];
    this.tip.replaceChildren(make('strong', {text: this.text(box.node).slice(0, 400)}),
      make('span', {text: this.words(box.node)}), make('span', {class: 'place',
        text: file ? shortPath(file) : baseName(module)}));
    this.tip.hidden = false;
    const host = this.host.getBoundingClientRect();
    const x = Math.min(event.clientX - host.left + 14, host.width - this.tip.offsetWidth - 4);
    this.tip.style.left = Math.max(0, x) + 'px';
    this.tip.style.top = event.clientY - host.top + 18 + 'px';
  }

  hide() {
    this.tip.hidden = true;
  }

  click(event) {
    const box = this.at(event);
    if (box) {
      this.cursor = box.node;
      this.on.zoom(box.node === this.root && this.root ? this.nodes.parent[box.node] : box.node);
    }
  }

  key(event) {
    const children = this.values ? this.sortedChildren() : new Map();
    const at = this.cursor !== undefined && this.values[this.cursor] ? this.cursor : this.root;
    const siblings = children.get(this.nodes.parent[at]) ?? [at];
    const inwards = this.state.up ? 'ArrowUp' : 'ArrowDown';
    const outwards = this.state.up ? 'ArrowDown' : 'ArrowUp';
    const goals = {[inwards]: (children.get(at) ?? [at])[0],
      [outwards]: Math.max(0, this.nodes.parent[at]),
      ArrowLeft: siblings[Math.max(0, siblings.indexOf(at) - 1)],
      ArrowRight: siblings[Math.min(siblings.length - 1, siblings.indexOf(at) + 1)]};
    if (event.key in goals) {
      this.cursor = goals[event.key] ?? at;
      this.draw();
      this.on.say(`${this.text(this.cursor)}: ${this.words(this.cursor)}`);
    } else if (event.key === 'Enter') {
      this.on.zoom(at);
    } else if (event.key === 'Escape' && this.root) {
      this.on.zoom(0);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}
