// SPDX-License-Identifier: MIT
//
// The data of the page: unpacked into columns, and summed up for a window. Knows nothing
// of the page that shows it, and runs outside of a browser too.

const NEVER = 1 << 20;
const KINDS = ['growing', 'unclear', 'young', 'plateau', 'startup'];
const SUPPRESSED = 16;
const UNITED = 32;
const MEASURES = ['leaked', 'live', 'allocated', 'temporary', 'released'];

// The numbers of a column: 7 bits a byte, the lowest first.
function readNumbers(bytes, from, size) {
  let n = 0;
  for (let i = from; i < from + size; i++) {
    n += bytes[i] < 128 ? 1 : 0;
  }
  const numbers = new Float64Array(n);
  let at = from;
  for (let k = 0; k < n; k++) {
    let byte = bytes[at++];
    let number = byte & 127;
    for (let scale = 128; byte > 127; scale *= 128) {
      byte = bytes[at++];
      number += (byte & 127) * scale;
    }
    numbers[k] = number;
  }
  return numbers;
}

// A difference of either sign, as it was written.
function change(number) {
  return number % 2 ? -(number + 1) / 2 : number / 2;
}

// The running sum of differences.
function follow(changes) {
  const numbers = new Int32Array(changes.length);
  let at = 0;
  for (let i = 0; i < changes.length; i++) {
    at += change(changes[i]);
    numbers[i] = at;
  }
  return numbers;
}

// A model of the bytes that the analyser packed.
function readModel(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(0, true);
  const meta = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const raw = {};
  let at = 4 + size;
  for (const [name, length] of meta.columns) {
    raw[name] = name === 'stack_key' ? bytes.subarray(at, at + length) :
      readNumbers(bytes, at, length);
    at += length;
  }
  const model = {meta, strings: meta.strings, slots: Math.max(1, meta.slots), width: meta.width_ns};
  model.frames = {
    name: Int32Array.from(raw.frame_name), file: Int32Array.from(raw.frame_file),
    line: raw.frame_line, module: Int32Array.from(raw.frame_module), flags: raw.frame_flags,
  };
  model.nodeParent = new Int32Array(raw.node_parent.length);
  for (let i = 0; i < model.nodeParent.length; i++) {
    model.nodeParent[i] = raw.node_parent[i] ? i - raw.node_parent[i] : -1;
  }
  model.nodeFrame = follow(raw.node_frame);
  model.stackNode = follow(raw.stack_node).map(node => node - 1);
  model.stackOwn = raw.stack_own;
  model.stackFlags = raw.stack_flags;
  model.stackKey = raw.stack_key;
  model.nStacks = raw.stack_flags.length;
  model.rowStack = follow(raw.row_stack);
  model.rowThread = Int32Array.from(raw.row_thread);
  model.rowProcess = model.rowThread.map(thread => meta.threads[thread].process);
  readCells(model, raw);
  return model;
}

function readCells(model, raw) {
  const n = raw.cell_born.length;
  model.cellRow = new Int32Array(n);
  model.cellBorn = new Int32Array(n);
  model.cellFreed = new Int32Array(n);
  model.cellBlocks = raw.cell_blocks;
  model.cellBytes = raw.cell_bytes;
  model.cellTemporary = raw.cell_temporary;
  let cell = 0;
  for (let row = 0; row < raw.row_cells.length; row++) {
    let born = 0;
    for (let k = 0; k < raw.row_cells[row]; k++, cell++) {
      born += change(raw.cell_born[cell]);
      model.cellRow[cell] = row;
      model.cellBorn[cell] = born;
      model.cellFreed[cell] = raw.cell_freed[cell] ? born + raw.cell_freed[cell] - 1 : NEVER;
    }
  }
}

// Which rows are of a process and a thread; null: of any.
function rowMask(model, process, thread) {
  const mask = new Uint8Array(model.rowStack.length);
  for (let row = 0; row < mask.length; row++) {
    mask[row] = (process === null || model.rowProcess[row] === process) &&
      (thread === null || model.rowThread[row] === thread) ? 1 : 0;
  }
  return mask;
}

// Which stacks hold a name that the expression finds: of a function, a file or a module.
function stackMask(model, expression) {
  const hits = model.strings.map(text => text !== '' && expression.test(text));
  const {name, file, module} = model.frames;
  const nodes = new Uint8Array(model.nodeParent.length);
  for (let node = 0; node < nodes.length; node++) {
    const frame = model.nodeFrame[node];
    const parent = model.nodeParent[node];
    nodes[node] = hits[name[frame]] || hits[file[frame]] || hits[module[frame]] ||
      (parent >= 0 && nodes[parent]) ? 1 : 0;
  }
  return Uint8Array.from(model.stackNode, node => node >= 0 ? nodes[node] : 0);
}

// What the window from slot a to before slot b did, by key: keyOf tells it of a row. Blocks
// that were born in it and live at its end (leaked), all that live at its end (live),
// that were born in it (allocated), that were born and freed in it (temporary), that were
// there before and were freed in it (released). Options: rows and stacks are masks; hidden
// tells of a stack whether its blocks are no leaks.
function sumWindow(model, a, b, keyOf, nKeys, {rows = null, stacks = null, hidden = null} = {}) {
  const sums = {bytes: {}, blocks: {}, instant: new Float64Array(nKeys), hidden: 0};
  for (const measure of MEASURES) {
    sums.bytes[measure] = new Float64Array(nKeys);
    sums.blocks[measure] = new Float64Array(nKeys);
  }
  const {bytes, blocks} = sums;
  for (let cell = 0; cell < model.cellRow.length; cell++) {
    const born = model.cellBorn[cell];
    const row = model.cellRow[cell];
    const stack = model.rowStack[row];
    if (born >= b || (rows && !rows[row]) || (stacks && !stacks[stack])) {
      continue;
    }
    const freed = model.cellFreed[cell];
    const key = keyOf[row];
    const size = model.cellBytes[cell];
    const count = model.cellBlocks[cell];
    if (born >= a) {
      bytes.allocated[key] += size;
      blocks.allocated[key] += count;
      if (freed < b) {
        bytes.temporary[key] += size;
        blocks.temporary[key] += count;
        sums.instant[key] += model.cellTemporary[cell];
      } else if (hidden && hidden[stack]) {
        sums.hidden += size;
      } else {
        bytes.leaked[key] += size;
        blocks.leaked[key] += count;
      }
    }
    if (freed >= b) {
      bytes.live[key] += size;
      blocks.live[key] += count;
    } else if (born < a && freed >= a) {
      bytes.released[key] += size;
      blocks.released[key] += count;
    }
  }
  return sums;
}

function total(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0);
}

// What lives at the end of each slot, of the blocks born from slot a to before slot b.
// Options as above, and unit; stack: of this one alone.
function history(model, a, b, {rows = null, stacks = null, unit = 'bytes', stack = -1} = {}) {
  const of = unit === 'bytes' ? model.cellBytes : model.cellBlocks;
  const change = new Float64Array(model.slots + 1);
  const allocated = new Float64Array(model.slots);
  for (let cell = 0; cell < model.cellRow.length; cell++) {
    const born = model.cellBorn[cell];
    const row = model.cellRow[cell];
    const at = model.rowStack[row];
    if (born < a || born >= b || (rows && !rows[row]) || (stacks && !stacks[at]) ||
        (stack >= 0 && at !== stack)) {
      continue;
    }
    change[born] += of[cell];
    allocated[born] += of[cell];
    if (model.cellFreed[cell] < model.slots) {
      change[model.cellFreed[cell]] -= of[cell];
    }
  }
  const live = new Float64Array(model.slots);
  let now = 0;
  for (let slot = 0; slot < model.slots; slot++) {
    now += change[slot];
    live[slot] = now;
  }
  return {live, allocated};
}

// The frames of a stack, innermost first: numbers of frames.
function framesOf(model, stack) {
  const frames = [];
  for (let node = model.stackNode[stack]; node >= 0; node = model.nodeParent[node]) {
    frames.push(model.nodeFrame[node]);
  }
  return frames;
}

// The frame of a stack that a person should open, or -1.
function ownFrame(model, stack) {
  let node = model.stackNode[stack];
  for (let k = model.stackOwn[stack]; k > 0 && node >= 0; k--) {
    node = model.nodeParent[node];
  }
  return node < 0 ? -1 : model.nodeFrame[node];
}

// The number of a stack as --stack takes it, or ''.
function stackId(model, stack) {
  const bytes = model.stackKey.subarray(6 * stack, 6 * stack + 6);
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

// For each string: the sums of the stacks that have a frame of this name (kind: a column
// of model.frames), and those whose own frame it is. values: by stack.
function sumNames(model, kind, values) {
  const names = model.frames[kind];
  const all = new Float64Array(model.strings.length);
  const own = new Float64Array(model.strings.length);
  const seen = new Int32Array(model.strings.length).fill(-1);
  for (let stack = 0; stack < model.nStacks; stack++) {
    if (!values[stack]) {
      continue;
    }
    for (let node = model.stackNode[stack]; node >= 0; node = model.nodeParent[node]) {
      const name = names[model.nodeFrame[node]];
      if (seen[name] !== stack) {
        seen[name] = stack;
        all[name] += values[stack];
      }
    }
    const frame = ownFrame(model, stack);
    if (frame >= 0) {
      own[names[frame]] += values[stack];
    }
  }
  return {all, own};
}

if (typeof module === 'object') {
  module.exports = {MEASURES, NEVER, readModel, sumWindow, rowMask, stackMask, history, framesOf,
    ownFrame, stackId, sumNames, total};
}
