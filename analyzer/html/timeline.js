// SPDX-License-Identifier: MIT
//
// The chart over time: the heap, the resident size, the peak and marks; the window that is
// looked at, with two handles; and of what the window allocated, how much lived on.

const CHART = {left: 74, right: 16, top: 26, bottom: 26, rate: 22};

class Timeline {
  // onWindow(a, b, done) is called as the window changes; slots are from a to before b.
  constructor(host, model, onWindow) {
    this.host = host;
    this.model = model;
    this.onWindow = onWindow;
    this.end = Math.max(model.meta.duration_ns, model.slots * model.width, 1);
    this.duration = Math.max(model.meta.duration_ns, 1);
    this.view = {from: 0, to: this.duration};
    this.window = [0, model.slots];
    this.options = {unit: 'bytes', rows: null, resident: this.residentHelps()};
    this.svg = draw('svg', {class: 'chart', role: 'group', 'aria-label': 'The heap over time'});
    this.host.append(this.svg);
    this.svg.addEventListener('pointerdown', event => this.press(event));
    this.svg.addEventListener('pointermove', event => this.move(event));
    this.svg.addEventListener('pointerup', event => this.release(event));
    this.svg.addEventListener('pointercancel', event => this.release(event));
    this.svg.addEventListener('wheel', event => this.wheel(event), {passive: false});
    this.svg.addEventListener('dblclick', () => this.zoom(0, this.duration));
    new ResizeObserver(() => this.render()).observe(host);
  }

  get hasResident() {
    return this.model.meta.timeline.some(point => point[3] !== null);
  }

  // A resident size much above the heap would press it flat.
  residentHelps() {
    const most = index => Math.max(0, ...this.model.meta.timeline.map(point => point[index] ?? 0));
    return this.hasResident && most(3) < 3 * most(1);
  }

  // Show other rows or another unit.
  choose(options) {
    Object.assign(this.options, options);
    this.lines = null;
    this.render();
  }

  show(window) {
    this.window = window;
    this.kept = null;
    this.render();
  }

  zoom(from, to) {
    const least = Math.min(this.duration, 4 * this.model.width);
    const span = Math.min(this.duration, Math.max(least, to - from));
    const start = Math.max(0, Math.min(from, this.duration - span));
    this.view = {from: start, to: start + span};
    this.render();
  }

  zoomBy(factor, at = (this.view.from + this.view.to) / 2) {
    this.zoom(at - (at - this.view.from) * factor, at + (this.view.to - at) * factor);
  }

  // Series as [ns, value] points.
  series() {
    if (this.lines) {
      return this.lines;
    }
    const {model, options} = this;
    const all = history(model, 0, model.slots, {rows: options.rows, unit: options.unit});
    const column = options.unit === 'bytes' ? 1 : 2;
    const live = options.rows ?
      [...all.live].map((value, slot) => [(slot + 1) * model.width, value]) :
      model.meta.timeline.map(point => [point[0], point[column]]);
    const resident = options.resident && options.unit === 'bytes' && !options.rows ?
      model.meta.timeline.filter(point => point[3] !== null).map(point => [point[0], point[3]]) :
      [];
    this.lines = {live: [[0, 0], ...live], resident, allocated: all.allocated};
    this.kept = null;
    return this.lines;
  }

  keptSeries() {
    if (!this.kept) {
      const {model, options, window} = this;
      const {live} = history(model, window[0], window[1], {rows: options.rows, unit: options.unit});
      this.kept = [[window[0] * model.width, 0]];
      for (let slot = window[0]; slot < model.slots; slot++) {
        this.kept.push([Math.min(this.duration, (slot + 1) * model.width), live[slot]]);
      }
    }
    return this.kept;
  }

  x(ns) {
    const {from, to} = this.view;
    return CHART.left + (ns - from) / (to - from) * this.inner.width;
  }

  // The end of the last slot with an event is shown as the end of the run.
  slotX(slot) {
    return this.x(slot === this.model.slots ? this.duration : slot * this.model.width);
  }

  y(value) {
    return CHART.top + this.inner.height * (1 - value / this.most);
  }

  nsAt(x) {
    const {from, to} = this.view;
    return from + (x - CHART.left) / this.inner.width * (to - from);
  }

  // The slot boundary that is next to a place.
  slotAt(x) {
    const slot = Math.round(this.nsAt(x) / this.model.width);
    return Math.max(0, Math.min(this.model.slots, slot));
  }

  render() {
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (!width || !height) {
      return;
    }
    const em = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    Object.assign(CHART, {left: 74 * em, top: 26 * em, bottom: 26 * em, rate: 22 * em});
    this.inner = {width: width - CHART.left - CHART.right,
      height: height - CHART.top - CHART.bottom - CHART.rate};
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const lines = this.series();
    const visible = points => points.filter((point, i) =>
      (points[i + 1]?.[0] ?? point[0]) >= this.view.from &&
      (points[i - 1]?.[0] ?? point[0]) <= this.view.to);
    const live = visible(lines.live);
    const resident = visible(lines.resident);
    this.most = Math.max(1, ...live.map(point => point[1]), ...resident.map(point => point[1])) *
      1.06;
    const base = CHART.top + this.inner.height;
    const plot = draw('g', {'clip-path': 'url(#plot)'},
      draw('path', {class: 'live', d: this.path(live, base)}),
      draw('path', {class: 'live-line', d: this.path(live)}));
    if (!this.isWhole()) {
      plot.append(draw('path', {class: 'kept', d: this.path(visible(this.keptSeries()), base)}));
    }
    if (resident.length) {
      plot.append(draw('path', {class: 'resident', d: this.path(resident)}));
    }
    this.svg.replaceChildren(
      draw('defs', {}, draw('clipPath', {id: 'plot'}, draw('rect', {x: CHART.left, y: 0,
        width: this.inner.width, height}))),
      this.axes(base, height), plot, this.rates(lines.allocated, base), this.notes(lines, base),
      this.brush(base));
    this.hover = draw('g', {class: 'hover'});
    this.svg.append(this.hover);
    if (this.focused) {
      this.svg.querySelector('.' + this.focused)?.focus({preventScroll: true});
    }
  }

  isWhole() {
    return this.window[0] === 0 && this.window[1] === this.model.slots;
  }

  path(points, base = null) {
    if (!points.length) {
      return '';
    }
    const line = points.map(point => this.x(point[0]).toFixed(1) + ',' + this.y(point[1]).toFixed(1));
    const text = 'M' + line.join('L');
    return base === null ? text :
      `${text}L${this.x(points[points.length - 1][0]).toFixed(1)},${base}` +
      `L${this.x(points[0][0]).toFixed(1)},${base}Z`;
  }

  axes(base, height) {
    const group = draw('g', {class: 'axes', 'aria-hidden': 'true'});
    const right = CHART.left + this.inner.width;
    for (const at of ticks(this.most, 4, this.options.unit)) {
      const y = this.y(at);
      if (y < CHART.top) {
        continue;
      }
      group.append(draw('line', {x1: CHART.left, x2: right, y1: y, y2: y}),
        draw('text', {x: CHART.left - 8, y: y + 4, 'text-anchor': 'end',
          text: human(at, this.options.unit)}));
    }
    group.append(draw('line', {class: 'base', x1: CHART.left, x2: right, y1: base, y2: base}));
    const room = Math.max(2, Math.floor(this.inner.width / 110));
    for (const at of timeTicks(this.view.from, this.view.to, room)) {
      const x = this.x(at);
      group.append(draw('line', {class: 'tick', x1: x, x2: x, y1: base, y2: base + 4}),
        draw('text', {x: Math.min(x, right - 16), y: height - 6, 'text-anchor': 'middle',
          text: at ? humanTime(at) : '0'}));
    }
    return group;
  }

  // How much was allocated in each slot, as a strip below the axis.
  rates(allocated, base) {
    const most = Math.max(1, ...allocated);
    const {width} = this.model;
    let d = '';
    for (let slot = 0; slot < allocated.length; slot++) {
      const from = Math.max(CHART.left, this.x(slot * width));
      const to = Math.min(CHART.left + this.inner.width, this.x((slot + 1) * width));
      const tall = Math.sqrt(allocated[slot] / most) * (CHART.rate - 7);
      if (tall > 0 && to > from) {
        d += `M${from.toFixed(1)},${base + CHART.rate}v${-tall.toFixed(1)}H${to.toFixed(1)}` +
          `v${tall.toFixed(1)}Z`;
      }
    }
    return draw('g', {'aria-hidden': 'true'}, draw('path', {class: 'rate', d}));
  }

  notes(lines, base) {
    const group = draw('g', {class: 'notes'});
    const right = CHART.left + this.inner.width;
    for (const pause of this.model.meta.words.report.audit?.pauses?.list || []) {
      const from = Math.max(CHART.left, this.x(pause.from_ns));
      const to = Math.min(right, this.x(pause.to_ns));
      if (to > CHART.left && from < right) {
        group.append(draw('rect', {class: 'pause', x: from, y: CHART.top,
          width: Math.max(1, to - from), height: base - CHART.top}, draw('title', {
          text: 'Recording was paused: what happened here is not known'})));
      }
      if (to - from > 60) {
        group.append(draw('text', {class: 'mark-name', x: from + 4, y: base - 6,
          text: 'paused'}));
      }
    }
    let latest = -100;
    for (const mark of this.model.meta.marks) {
      const x = this.x(mark.ns);
      if (x < CHART.left || x > right) {
        continue;
      }
      group.append(draw('line', {class: 'mark', x1: x, x2: x, y1: CHART.top, y2: base}));
      if (x - latest > 90 && right - x > 20) {
        const sign = mark.kind === 'begin' ? '▸ ' : mark.kind === 'end' ? '◂ ' : '◆ ';
        group.append(draw('text', {class: 'mark-name', x: x + 4, y: CHART.top + 11,
          text: sign + (mark.name.length > 14 ? mark.name.slice(0, 13) + '…' : mark.name)}));
        latest = x;
      }
    }
    const peak = lines.live.reduce((most, point) => point[1] > most[1] ? point : most, [0, 0]);
    const x = this.x(peak[0]);
    if (peak[1] && x >= CHART.left && x <= right) {
      const left = x > right - 160;
      group.append(draw('circle', {class: 'peak', cx: x, cy: this.y(peak[1]), r: 4}),
        draw('text', {class: 'peak-name', x: left ? x - 8 : x + 8, y: this.y(peak[1]) - 7,
          'text-anchor': left ? 'end' : 'start',
          text: 'peak ' + human(peak[1], this.options.unit)}));
    }
    return group;
  }

  brush(base) {
    const [a, b] = this.window;
    const right = CHART.left + this.inner.width;
    const x1 = Math.max(CHART.left, Math.min(right, this.slotX(a)));
    const x2 = Math.max(CHART.left, Math.min(right, this.slotX(b)));
    const height = base + CHART.rate - CHART.top;
    const group = draw('g', {class: 'brush'},
      draw('rect', {class: 'outside', x: CHART.left, y: CHART.top, width: x1 - CHART.left, height}),
      draw('rect', {class: 'outside', x: x2, y: CHART.top, width: Math.max(0, right - x2), height}));
    if (!this.isWhole()) {
      group.append(draw('rect', {class: 'window', x: x1, y: CHART.top,
        width: Math.max(1, x2 - x1), height}));
    }
    [[x1, 'from', a], [x2, 'to', b]].forEach(([x, name, slot]) => {
      const handle = draw('g', {class: 'handle ' + name, tabindex: 0, role: 'slider',
        'aria-label': name === 'from' ? 'Begin of the window' : 'End of the window',
        'aria-valuemin': 0, 'aria-valuemax': this.model.slots, 'aria-valuenow': slot,
        'aria-valuetext': humanTime(Math.min(this.duration, slot * this.model.width)),
        onkeydown: event => this.key(event, name === 'from' ? 0 : 1),
        onfocus: () => {
          this.focused = name;
        }, onblur: () => {
          this.focused = null;
        }},
      draw('rect', {class: 'grab', x: x - 12, y: CHART.top, width: 24, height}),
      draw('line', {x1: x, x2: x, y1: CHART.top, y2: CHART.top + height}),
      draw('rect', {class: 'knob', x: x - 4, y: CHART.top + height / 2 - 14, width: 8, height: 28,
        rx: 4}));
      group.append(handle);
    });
    return group;
  }

  key(event, side) {
    const step = event.shiftKey ? 10 : 1;
    const [a, b] = this.window;
    const at = this.window[side];
    const goals = {ArrowLeft: at - step, ArrowRight: at + step, Home: side ? a + 1 : 0,
      End: side ? this.model.slots : b - 1};
    if (!(event.key in goals)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    const slot = Math.max(side ? a + 1 : 0, Math.min(side ? this.model.slots : b - 1,
      goals[event.key]));
    this.change(side ? a : slot, side ? slot : b, true);
  }

  // While a pointer moves, what is drawn at once need not be more than the screen shows.
  change(a, b, done) {
    this.latest = [a, b];
    if (done) {
      cancelAnimationFrame(this.frame);
      this.frame = 0;
      this.onWindow(a, b, true);
    } else {
      this.frame ||= requestAnimationFrame(() => {
        this.frame = 0;
        this.onWindow(...this.latest, false);
      });
    }
  }

  position(event) {
    return event.clientX - this.svg.getBoundingClientRect().left;
  }

  press(event) {
    const x = this.position(event);
    if (event.button !== 0 || !this.inner || x < CHART.left - 14) {
      return;
    }
    const [a, b] = this.window;
    const near = slot => Math.abs(this.slotX(slot) - x);
    const inside = x > this.slotX(a) && x < this.slotX(b);
    const grip = event.pointerType === 'touch' ? 18 : 8;
    this.drag = {x, a, b, kind: 'new', start: this.slotAt(x)};
    if (Math.min(near(a), near(b)) < grip && !this.isWhole()) {
      this.drag.kind = near(a) < near(b) ? 'from' : 'to';
    } else if (inside && !this.isWhole()) {
      this.drag.kind = 'move';
    }
    this.svg.setPointerCapture(event.pointerId);
  }

  move(event) {
    const x = this.position(event);
    if (!this.drag) {
      this.hint(x);
      return;
    }
    const {kind, a, b, start} = this.drag;
    const {slots} = this.model;
    const slot = this.slotAt(x);
    this.drag.moved ||= Math.abs(x - this.drag.x) > 3;
    if (!this.drag.moved) {
      return;
    }
    if (kind === 'new') {
      const from = Math.min(start, slot);
      this.change(from === slots ? slots - 1 : from, Math.max(start, slot, from + 1), false);
    } else if (kind === 'from') {
      this.change(Math.max(0, Math.min(slot, b - 1)), b, false);
    } else if (kind === 'to') {
      this.change(a, Math.min(slots, Math.max(slot, a + 1)), false);
    } else {
      const by = Math.max(-a, Math.min(slots - b, slot - start));
      this.change(a + by, b + by, false);
    }
  }

  release() {
    if (this.drag?.moved) {
      this.change(...this.latest, true);
    }
    this.drag = null;
  }

  wheel(event) {
    if (!this.inner || event.ctrlKey) {
      return;
    }
    event.preventDefault();
    const span = this.view.to - this.view.from;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = (event.deltaX || event.deltaY) / this.inner.width * span;
      this.zoom(this.view.from + by, this.view.to + by);
    } else {
      this.zoomBy(1.0015 ** event.deltaY, this.nsAt(this.position(event)));
    }
  }

  // The values below the pointer.
  hint(x) {
    const lines = this.lines?.live;
    if (!lines || !this.inner || x < CHART.left || x > CHART.left + this.inner.width) {
      this.hover?.replaceChildren();
      return;
    }
    const ns = this.nsAt(x);
    let low = 0;
    let high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle][0] <= ns) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    const text = `${humanTime(ns)}: ${human(lines[low][1], this.options.unit)} live`;
    const left = x > CHART.left + this.inner.width - 190;
    this.hover.replaceChildren(
      draw('line', {x1: x, x2: x, y1: CHART.top, y2: CHART.top + this.inner.height}),
      draw('text', {x: left ? x - 6 : x + 6, y: 16, 'text-anchor': left ? 'end' : 'start', text}));
  }
}
