// SPDX-License-Identifier: MIT
// What makes a flame graph live: it lays the frames out for the window, zooms
// to a chosen frame, by mouse or keyboard (Tab, arrows, Enter, Escape, slash), searches by regular expression, and keeps both in the
// address (#zoom=N&search=RE), so that a view can be shared. It reads all it
// needs from the picture and fetches nothing.
(function () {
'use strict';
const svg = document.documentElement;
const SVG = 'http://www.w3.org/2000/svg', HTML = 'http://www.w3.org/1999/xhtml';
const ROW = +svg.dataset.row, PAD = +svg.dataset.pad, HEIGHT = +svg.dataset.height;
const LEAST = 0.1;   // pixels: narrower frames are not shown
const byId = id => document.getElementById(id);
const bar = byId('bar'), details = byId('details'), matched = byId('matched');
const base = details.textContent;
let width = 0, letter = 7, view = null, pattern = '';

// One entry a frame: x and w are fractions of the whole.
const frames = Array.from(byId('frames').children, (g, index) => {
    const rect = g.querySelector('rect'), full = g.querySelector('title').textContent;
    const lines = full.split('\n'), place = lines.length > 2 ? lines[1] + ', ' : '';
    g.setAttribute('role', 'treeitem');
    g.setAttribute('tabindex', index ? '-1' : '0');
    g.setAttribute('aria-level', +g.dataset.d + 1);
    g.setAttribute('aria-label', lines.join(', '));
    return {g, rect, index, label: g.querySelector('text'), full,
        name: lines[0], value: place + lines[lines.length - 1],
        x: +g.dataset.x, w: +g.dataset.w,
        level: +g.dataset.d, hidden: false, found: false};
});
const root = frames[0];
let current = root;  // the one that Tab comes to

// They come depth first: the latest of each level is the parent of what comes next.
const path = [];
for (const frame of frames) {
    frame.parent = path[frame.level - 1] || null;
    path[frame.level] = frame;
}

// "a::b<c<d>, e>::f<g>" as "a::b<…>::f<…>"; the same as fold() in ma_flame_svg.c.
function fold(name) {
    let out = '', depth = 0;
    for (let i = 0; i < name.length; i++) {
        const c = name[i];
        if (c === '<' && !depth && (i === 0 || name.slice(0, i).endsWith('operator') ||
            name.slice(0, i).endsWith('operator<'))) {
            out += c;
        } else if (c === '<') {
            if (!depth++)
                out += '<\u2026';
        } else if (c === '>' && name[i - 1] !== '-' && depth) {
            if (!--depth)
                out += '>';
        } else if (!depth) {
            out += c;
        }
    }
    return depth ? name : out;
}

function fit(name, pixels) {
    const room = Math.floor((pixels - 6) / letter);
    if (room < 3)
        return '';
    if (name.length > room && name.includes('<'))
        name = fold(name);
    const letters = Array.from(name);
    return letters.length <= room ? name : letters.slice(0, room - 1).join('') + '\u2026';
}

function place(frame, x, w) {
    const hide = w < LEAST;
    if (hide !== frame.hidden) {
        frame.g.style.display = hide ? 'none' : '';
        frame.hidden = hide;
    }
    if (hide)
        return;
    frame.rect.setAttribute('x', x.toFixed(2));
    frame.rect.setAttribute('width', Math.max(w > 3 ? w - 0.6 : w, LEAST).toFixed(2));
    const text = fit(frame.name, w);
    if (text && !frame.label) {
        frame.label = document.createElementNS(SVG, 'text');
        frame.label.setAttribute('y', +frame.rect.getAttribute('y') + ROW - 5);
        frame.g.appendChild(frame.label);
    }
    if (frame.label) {
        frame.label.textContent = text;
        frame.label.setAttribute('x', (x + 3).toFixed(2));
    }
}

function layOut() {
    const scale = (width - 2 * PAD) / view.w, end = view.x + view.w, slack = 1e-9;
    for (const frame of frames) {
        const above = frame.level < view.level && frame.x <= view.x + slack &&
            frame.x + frame.w >= end - slack;
        frame.g.classList.toggle('above', above);
        if (above)
            place(frame, PAD, width - 2 * PAD);
        else if (frame.level < view.level || frame.x >= end - slack || frame.x + frame.w <= view.x + slack)
            place(frame, 0, 0);
        else
            place(frame, PAD + (frame.x - view.x) * scale, frame.w * scale);
    }
    byId('reset').classList.toggle('off', view === root);
}

function remember() {
    const parts = [];
    if (view !== root)
        parts.push('zoom=' + view.index);
    if (pattern)
        parts.push('search=' + encodeURIComponent(pattern));
    try {
        history.replaceState(null, '', parts.length ? '#' + parts.join('&') : location.pathname + location.search);
    } catch (e) {
        // A picture inside another page has no address of its own.
    }
}

function zoom(frame) {
    view = frame;
    layOut();
    if (current.hidden)
        makeCurrent(frame);
    show(frame === root ? null : frame);
    remember();
}

function show(frame) {
    details.textContent = frame ? fit(frame.name, width - 2 * PAD - (frame.value.length + 3) * letter) +
        ' \u2014 ' + frame.value : base;
}

// A test of names: a regular expression, or the text itself if it is none.
// Lower-case patterns match either case.
function tester(text) {
    const flags = text === text.toLowerCase() ? 'iu' : 'u';
    try {
        return {test: new RegExp(text, flags), wrong: false};
    } catch (e) {
        return {test: new RegExp(text.replace(/[.*+?^${}()|[\]\\\/-]/g, '\\$&'), flags.replace('u', '')), wrong: true};
    }
}

// Marks what matches; a match inside a match counts once. Returns false for no regular expression.
function search(text) {
    const {test, wrong} = tester(text);
    let sum = 0, n = 0, covered = -1;
    pattern = text;
    for (const frame of frames) {
        frame.found = text !== '' && frame !== root && test.test(frame.name);
        frame.g.classList.toggle('found', frame.found);
        n += frame.found;
        // Frames come depth first, so one within the last match starts before its end.
        if (frame.found && frame.x >= covered - 1e-12) {
            sum += frame.w;
            covered = frame.x + frame.w;
        }
    }
    matched.textContent = text === '' ? '' :
        `${n.toLocaleString('en')} frame${n === 1 ? '' : 's'} match, ${(100 * sum).toFixed(2)} % of all`;
    byId('clear').classList.toggle('off', text === '');
    remember();
    return !wrong;
}

let field = null;
function openSearch() {
    if (!field) {
        const holder = document.createElementNS(SVG, 'foreignObject');
        holder.setAttribute('id', 'holder');
        holder.setAttribute('height', 24);
        holder.setAttribute('y', 8);
        field = document.createElementNS(HTML, 'input');
        field.setAttribute('type', 'text');
        field.setAttribute('placeholder', 'regular expression');
        field.setAttribute('aria-label', 'Search for frames by regular expression');
        field.setAttribute('spellcheck', 'false');
        field.addEventListener('input', () => field.classList.toggle('wrong', !search(field.value)));
        field.addEventListener('keydown', event => {
            event.stopPropagation();
            if (event.key === 'Escape')
                closeSearch(true);
            else if (event.key === 'Enter')
                closeSearch(false);
        });
        holder.appendChild(field);
        bar.appendChild(holder);
    }
    field.value = pattern;
    placeSearch();
    byId('holder').style.display = '';
    field.focus();
    field.select();
}

function closeSearch(clear) {
    if (clear) {
        search('');
        if (field)
            field.value = '';
    }
    if (field) {
        field.classList.remove('wrong');
        byId('holder').style.display = 'none';
        field.blur();
        focus(current);
    }
}

function placeSearch() {
    const holder = byId('holder');
    if (holder) {
        const room = Math.min(360, width - 2 * PAD);
        holder.setAttribute('width', room);
        holder.setAttribute('x', width - PAD - room);
    }
}

// The bar stays in sight however deep the stacks are.
function stick() {
    bar.setAttribute('transform', 'translate(0,' + Math.max(0, Math.min(window.scrollY, HEIGHT - 60)) + ')');
}

function resize() {
    const wide = Math.max(480, document.documentElement.clientWidth || window.innerWidth || 1200);
    if (wide === width)
        return;
    width = wide;
    svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    svg.setAttribute('width', width);
    svg.setAttribute('height', HEIGHT);
    for (const paper of svg.querySelectorAll('.paper'))
        if (paper.tagName === 'rect' && !paper.closest('.button'))
            paper.setAttribute('width', width);
    let x = width - PAD;
    for (const id of ['find', 'clear', 'reset']) {
        const button = byId(id), w = +button.querySelector('rect').getAttribute('width');
        x -= w;
        button.setAttribute('transform', `translate(${x},8)`);
        x -= 6;
    }
    matched.setAttribute('x', width - PAD);
    placeSearch();
    layOut();
}

function makeCurrent(frame) {
    current.g.setAttribute('tabindex', '-1');
    current = frame;
    frame.g.setAttribute('tabindex', '0');
}

function focus(frame) {
    if (!frame || frame.hidden)
        return;
    makeCurrent(frame);
    frame.g.focus({preventScroll: true});
    const box = frame.rect.getBoundingClientRect(), top = bar.getBoundingClientRect().bottom;
    if (box.top < top || box.bottom > window.innerHeight)
        window.scrollBy(0, box.top - (top + window.innerHeight) / 2);
}

// The next one beside it that is in sight.
function beside(frame, step) {
    for (let i = frame.index + step; i >= 0 && i < frames.length; i += step)
        if (frames[i].level === frame.level && !frames[i].hidden)
            return frames[i];
    return null;
}

function widestChild(frame) {
    let widest = null;
    for (let i = frame.index + 1; i < frames.length && frames[i].level > frame.level; i++)
        if (frames[i].parent === frame && !frames[i].hidden && (!widest || frames[i].w > widest.w))
            widest = frames[i];
    return widest;
}

// Keys that move among the frames, as they lie in the picture, or act on one.
function press(frame, key) {
    const inwards = svg.hasAttribute('data-icicle') ? 'ArrowDown' : 'ArrowUp';
    if (key === 'Enter' || key === ' ')
        zoom(frame);
    else if (key === 'ArrowLeft' || key === 'ArrowRight')
        focus(beside(frame, key === 'ArrowLeft' ? -1 : 1));
    else if (key === 'ArrowUp' || key === 'ArrowDown')
        focus(key === inwards ? widestChild(frame) : frame.parent);
    else if (key === 'Home')
        focus(root);
    else
        return false;
    return true;
}

byId('frames').addEventListener('click', event => {
    const g = event.target.closest('#frames > g');
    if (g)
        zoom(frames.find(frame => frame.g === g));
});
const shown = new Map(frames.map(frame => [frame.g, frame]));
byId('frames').addEventListener('mouseover', event => show(shown.get(event.target.closest('#frames > g'))));
byId('frames').addEventListener('mouseout', () => show(view === root ? null : view));
byId('frames').addEventListener('focusin', event => {
    const frame = shown.get(event.target.closest('#frames > g'));
    if (frame) {
        makeCurrent(frame);
        show(frame);
    }
});
byId('frames').addEventListener('focusout', () => show(view === root ? null : view));
byId('frames').addEventListener('keydown', event => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && press(current, event.key))
        event.preventDefault();
});
for (const button of svg.querySelectorAll('.button'))
    button.addEventListener('keydown', event => {
        if (event.key === 'Enter' || event.key === ' ') {
            event.preventDefault();
            button.dispatchEvent(new MouseEvent('click', {bubbles: true}));
        }
    });
byId('reset').addEventListener('click', () => zoom(root));
byId('find').addEventListener('click', openSearch);
byId('clear').addEventListener('click', () => closeSearch(true));
window.addEventListener('keydown', event => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'f' || event.key === '/' || event.key === 'F3') {
        event.preventDefault();
        openSearch();
    } else if (event.key === 'Escape') {
        if (pattern)
            closeSearch(true);
        else
            zoom(root);
        if (document.activeElement && document.activeElement.closest('#frames'))
            focus(current);
    }
});
window.addEventListener('resize', resize);
window.addEventListener('scroll', stick);

svg.classList.add('live');
view = root;
const probe = details.cloneNode(false);
probe.setAttribute('class', '');
probe.textContent = 'm'.repeat(50);
svg.appendChild(probe);
letter = probe.getComputedTextLength() / 50 || 7;
probe.remove();
const asked = new URLSearchParams(location.hash.slice(1));
view = frames[Number(asked.get('zoom'))] || root;
search(asked.get('search') || '');
resize();
show(view === root ? null : view);
if (!svg.hasAttribute('data-icicle'))
    window.scrollTo(0, HEIGHT);
stick();
})();
