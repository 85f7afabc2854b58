"""The review page: served with a session behind it, or as one file with everything in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from g5.web.live import document
from g5.web.page import POLICY

# What is shown: so many lengths of the event, seconds at least.
SPAN, LEAST_S = 4.0, 0.04

STYLE = """
main { display: grid; grid-template-columns: minmax(0, 1fr) 21rem; gap: 1rem; margin-top: .6rem; }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
#stage { position: relative; overflow: hidden; border-radius: 6px; touch-action: none; }
#tile { border-radius: 0; -webkit-user-drag: none; user-select: none; }
.box { position: absolute; border: 2px solid #56e0ff; pointer-events: none; }
.near { border: 1px dashed #ffffff90; } .mark { border-color: #7dffb0; }
.end { position: absolute; top: 0; bottom: 0; width: 14px; margin-left: -7px; cursor: ew-resize; }
.end::after { content: ''; position: absolute; left: 6px; top: 0; bottom: 0; width: 2px;
  background: #56e0ff; } .end:hover::after, .end.held::after { left: 5px; width: 4px; }
#stage.marking, #stage.marking #tile { cursor: crosshair; }
#answers button { font-size: 1.1rem; padding: .45rem 1.1rem; }
#yes { border-color: var(--good); } #no { border-color: var(--bad); }
aside section { background: var(--panel); border-radius: 8px; padding: .6rem .8rem;
  margin-bottom: .8rem; }
aside h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; } aside p { margin: .15rem 0; }
aside b { font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scale { position: relative; height: .5rem; background: var(--line); border-radius: 3px; }
.scale span { position: absolute; top: 0; bottom: 0; background: var(--accent); opacity: .45;
  border-radius: 3px; } .scale i { position: absolute; top: -2px; bottom: -2px; width: 3px;
  margin-left: -1px; background: var(--accent); }
select { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: .25rem .4rem; max-width: 18rem; }
[hidden] { display: none !important; }
"""

BODY = """
<header><h1></h1><span id="count"></span><span id="time" class="soft"></span>
<select id="order" aria-label="which event is next">
<option value="sample">next: sample for the precision</option>
<option value="uncertain">next: most uncertain</option>
<option value="score">next: highest score</option></select>
<select id="species" aria-label="species"></select>
<button id="save" hidden><kbd>S</kbd>save the answers</button></header>
<progress id="progress" max="1" value="0"></progress>
<div id="message" role="status"></div>
<main><div>
<div id="where" class="soft"></div>
<div id="stage" class="axes">
<img id="tile" alt="spectrogram around the event" draggable="false"></div>
<audio id="audio" controls></audio>
<div class="row" id="answers">
<button id="yes"><kbd>Y</kbd>yes</button><button id="no"><kbd>N</kbd>no</button>
<button id="unsure"><kbd>U</kbd>unsure</button>
<button id="other"><kbd>O</kbd>other</button>
<input id="find" placeholder="what it is" autocomplete="off" aria-label="what it is" list="names">
<datalist id="names"></datalist></div>
<div class="row">
<button id="play"><kbd>Space</kbd>play</button>
<button id="mark"><kbd>M</kbd>mark a missed call</button>
<button id="out"><kbd>-</kbd>zoom out</button><button id="in"><kbd>+</kbd>zoom in</button>
<button id="band"><kbd>F</kbd>lower band</button>
<button id="undo"><kbd>Z</kbd>undo</button>
<span class="soft">drag the ends of the box, or press
<kbd>&larr;</kbd><kbd>&rarr;</kbd> (with Shift: the start)</span></div>
</div><aside id="numbers"></aside></main>
"""

SCRIPT = r"""
let shown = null, upcoming = null, state = null, zoom = 1, band = 1, shownAt = 0, ends = null;
let marks = [], marking = false, answers = 0, pressedAt = 0;
const mailed = EVENTS !== null;

// --- where events come from and answers go: the server, or this page ---
const ready = new Map();
const served = {
  next: () => call(`/api/next?tab=${tab}&order=${$('order').value}` +
    `&species=${encodeURIComponent($('species').value)}`),
  say: said => call('/api/answer', {...said, tab, order: $('order').value,
    species: $('species').value}),
  undo: () => call('/api/undo', {tab, order: $('order').value, species: $('species').value}),
  address: (kind, event) => `/${kind}?row=${event.row}&zoom=${zoom}&band=${band}&token=${TOKEN}`,
};
const KEY = `g5 review ${ABOUT}`;
const own = {said: mailed ? recalled() : [], saved: true,
  next: () => own.answer(''),
  say: said => {
    own.said.push(said); own.saved = false; own.keep(); return own.answer('');
  },
  undo: () => {
    const last = own.said.pop(); own.keep();
    return own.answer(last ? '' : 'There is nothing to undo.');
  },
  keep: () => { try { localStorage.setItem(KEY, JSON.stringify(own.said)); } catch (error) {} },
  answer: message => {
    const done = new Set(own.said.filter(s => !s.mark).map(s => s.row));
    const left = EVENTS.filter(e => !done.has(e.row));
    return {event: left[0] || null, upcoming: left[1] || null, message, state: own.state(done)};
  },
  state: done => ({done: done.size, total: EVENTS.length,
    marks: own.said.filter(s => s.mark).length, minutes: 0, names: NAMES,
    species: NAMES.map(name => {
      const here = EVENTS.filter(e => e.label === name), rows = new Set(here.map(e => e.row));
      const said = own.said.filter(s => !s.mark && rows.has(s.row));
      const yes = said.filter(s => s.kind === 'label' && s.label === name).length;
      const unsure = said.filter(s => s.kind === 'unsure').length;
      return {name, total: here.length, done: said.length, yes, unsure,
        no: said.length - yes - unsure};
    })}),
  address: (kind, event) => event[kind],
};
function recalled() {
  try { return JSON.parse(localStorage.getItem(KEY)) || []; } catch (error) { return []; }
}
const source = mailed ? own : served;

// --- what is shown ---
function show(answer) {
  state = answer.state; shown = answer.event; upcoming = answer.upcoming; zoom = 1; band = 1;
  if (answer.message) $('message').textContent = answer.message;
  ends = shown && [shown.start_s, shown.end_s];
  marks = shown ? shown.near.slice() : [];
  marking = false; shownAt = performance.now();
  document.body.dataset.row = shown ? shown.row : '';
  $('where').textContent = shown ? `${shown.label}, score ${shown.score.toFixed(2)}, ` +
    `${shown.file}, ${clock(shown.start_s)} to ${clock(shown.end_s)}` : mailed ?
    'Every event is answered. Save the answers (S), and send the file back.' :
    'Every event is answered.';
  for (const id of ['stage', 'audio', 'answers']) $(id).hidden = !shown;
  hush(); picture(); draw(); document.body.dataset.done = state.done;
}
const clock = s => s < 60 ? `${s.toFixed(3)} s` :
  `${Math.floor(s / 60)}:${(s % 60).toFixed(2).padStart(5, '0')} min`;
async function fetched(kind, event) {
  const response = await fetch(source.address(kind, event));
  if (!response.ok) throw Error((await response.json()).error);
  return URL.createObjectURL(await response.blob());
}
// An event's picture and sound, asked for before it is shown.
function prefetch(event) {
  if (!event || mailed || ready.has(event.row)) return;
  const [z, b] = [zoom, band]; zoom = band = 1;
  ready.set(event.row, ['tile', 'audio'].map(kind => fetched(kind, event)));
  [zoom, band] = [z, b];
  for (const one of ready.get(event.row)) one.catch(() => {});
  for (const row of ready.keys()) if (ready.size > 8) {
    for (const one of ready.get(row)) one.then(URL.revokeObjectURL, () => {});
    ready.delete(row);
  } else break;
}
async function picture() {
  layout();
  const event = shown, plain = zoom === 1 && band === 1;
  if (!event) return;
  if (event.top_hz) ruler($('stage'), band * event.top_hz, ...view());
  try {
    if (plain) prefetch(event);
    const kept = plain && ready.get(event.row);
    const [tile, audio] = mailed ? [event.tile, event.audio] : kept ? await Promise.all(kept) :
      await Promise.all(['tile', 'audio'].map(kind => fetched(kind, event)));
    if (event !== shown) return;
    $('tile').src = tile; $('audio').src = audio;
    await $('tile').decode();
    if (event !== shown) return;
    document.body.dataset.ms = Math.round(performance.now() - pressedAt);
    document.body.dataset.seen = event.row;
    prefetch(upcoming);
  } catch (error) {
    if (event === shown) { $('message').textContent = error.message; ready.delete(event.row);
      $('tile').removeAttribute('src'); document.body.dataset.seen = event.row; }
  }
}
function view() {
  const middle = (shown.start_s + shown.end_s) / 2;
  const half = zoom * Math.max(SPAN * (shown.end_s - shown.start_s), LEAST_S) / 2;
  return [middle - half, middle + half];
}
const place = s => { const [a, b] = view(); return 100 * (s - a) / (b - a); };
function box(name, start, end) {
  const div = document.createElement('div'), top = shown.top_hz * band;
  const high = shown.high_hz ? Math.max(0, 1 - shown.high_hz / top) : 0;
  const low = shown.low_hz ? Math.max(0, shown.low_hz / top) : 0;
  div.className = `box ${name}`;
  Object.assign(div.style, {left: `${place(start)}%`, width: `${place(end) - place(start)}%`,
    top: `${100 * high}%`, bottom: `${100 * low}%`});
  return div;
}
function layout() {
  for (const old of $('stage').querySelectorAll('.box, .end')) old.remove();
  $('stage').classList.toggle('marking', marking);
  if (!shown) return;
  for (const m of marks) $('stage').append(box(m.mine ? 'mark' : 'near', m.start_s, m.end_s));
  $('stage').append(box('', ...ends));
  for (const side of [0, 1]) {
    const end = document.createElement('div');
    end.className = 'end'; end.id = side ? 'end' : 'start';
    end.style.left = `${place(ends[side])}%`;
    end.onpointerdown = down => drag(down, end, side);
    $('stage').append(end);
  }
}
function at(pointer) {
  const frame = $('stage').getBoundingClientRect(), [a, b] = view();
  return Math.max(0, a + (b - a) * (pointer.clientX - frame.left) / frame.width);
}
function put(side, s) {
  const [a, b] = view(), least = (b - a) / 400;
  ends = side ? [ends[0], Math.max(s, ends[0] + least)] :
    [Math.max(0, Math.min(s, ends[1] - least)), ends[1]];
  layout();
}
function drag(down, end, side) {
  down.preventDefault(); down.stopPropagation();
  const move = event => { put(side, at(event)); $(side ? 'end' : 'start').classList.add('held'); };
  const up = () => { removeEventListener('pointermove', move); layout(); };
  addEventListener('pointermove', move); addEventListener('pointerup', up, {once: true});
}
$('tile').onpointerdown = down => {
  if (!shown) return;
  const from = at(down), start = down.clientX;
  let ghost = null;
  const move = event => {
    if (!marking) return;
    if (ghost) ghost.remove();
    ghost = box('mark', ...[from, at(event)].sort((x, y) => x - y)); $('stage').append(ghost);
  };
  addEventListener('pointermove', move);
  addEventListener('pointerup', event => {
    removeEventListener('pointermove', move);
    if (ghost) ghost.remove();
    if (!marking) play();
    else if (Math.abs(event.clientX - start) > 4)
      missed(...[from, at(event)].sort((x, y) => x - y));
  }, {once: true});
};
function missed(start_s, end_s) {
  const said = {mark: true, row: shown.row, kind: 'label', label: shown.label,
    ends: [start_s, end_s], id: `${load}-${answers++}`, by: 'mark', seconds: 0};
  marking = false;
  guarded(async () => {
    const answer = await source.say(said);
    if (answer.message) $('message').textContent = answer.message;
    else marks.push({start_s, end_s, mine: true});
    state = answer.state; draw(); layout(); document.body.dataset.marks = state.marks;
  });
}

// --- the numbers ---
const hourly = x => x < 100 ? x.toPrecision(3) : Math.round(x).toLocaleString('en');
const percent = x => `${(100 * x).toFixed(0)} %`;
function draw() {
  $('count').textContent = `${state.done} of ${state.total} answered` +
    (state.marks ? `, ${state.marks} missed marked` : '');
  $('time').textContent = state.minutes >= 1 ? `${state.minutes.toFixed(0)} min` : '';
  $('progress').value = state.done / Math.max(1, state.total);
  const chosen = $('species').value;
  $('species').replaceChildren(...['', ...state.species.map(s => s.name)].map(name => {
    const option = document.createElement('option');
    option.value = name; option.textContent = name || 'all species'; return option;
  }));
  $('species').value = chosen; $('species').hidden = mailed || state.species.length < 2;
  $('names').replaceChildren(...state.names.map(name => {
    const option = document.createElement('option'); option.value = name; return option;
  }));
  $('numbers').replaceChildren(...state.species.filter(s => !chosen || s.name === chosen)
    .map(section));
}
function section(s) {
  const part = document.createElement('section');
  const add = (tag, text, name) => {
    const node = document.createElement(tag);
    node.textContent = text; if (name) node.className = name; part.append(node); return node;
  };
  add('h2', s.name);
  if (s.share !== undefined) {
    add('b', `${percent(s.share)} calls`);
    add('p', `${percent(s.low)} to ${percent(s.high)}, with 95 % confidence`);
    const scale = add('div', '', 'scale'), bar = document.createElement('span');
    const dot = document.createElement('i');
    Object.assign(bar.style, {left: `${100 * s.low}%`, width: `${100 * (s.high - s.low)}%`});
    dot.style.left = `${100 * s.share}%`; scale.append(bar, dot);
    const [rate, least, most] = [s.share, s.low, s.high].map(x => hourly(s.hourly * x));
    if (s.hourly !== null) add('p', `${rate} an hour (${least} to ${most})`);
    if (s.to_halve) add('p', `${s.to_halve} more answers halve the interval`, 'soft');
  }
  add('p', `${s.done} of ${s.total} answered: ${s.yes} yes, ${s.no} no, ` +
    `${s.unsure} unsure`, 'soft');
  return part;
}

// --- keys ---
function say(kind, label) {
  if (!shown || busy) return;
  pressedAt = performance.now();
  const moved = ends[0] !== shown.start_s || ends[1] !== shown.end_s;
  const said = {row: shown.row, kind, label, seconds: (pressedAt - shownAt) / 1000,
    id: `${load}-${answers++}`, by: mailed ? BY : $('order').value};
  if (moved && kind === 'label') said.ends = ends;
  $('audio').pause();
  guarded(async () => show(await source.say(said)));
}
const undo = () => guarded(async () => { pressedAt = performance.now();
  show(await source.undo()); });
const again = () => guarded(async () => show(await source.next()));
function zoomBy(factor) { if (!mailed) { zoom = Math.min(16, Math.max(.25, zoom * factor));
  picture(); } }
const lower = () => { if (!mailed) { band = band < .1 ? 1 : band / 2; picture(); } };
const yes = () => say('label', shown.label), no = () => say('not a call', '');
const unsure = () => say('unsure', ''), mark = () => { marking = !marking; layout(); };
const other = () => { $('find').value = ''; $('find').focus(); };
const nudge = (event, sign) => { if (!shown) return; const [a, b] = view();
  put(event.shiftKey ? 0 : 1, ends[event.shiftKey ? 0 : 1] + sign * (b - a) / 200); };
const acts = {' ': play, y: yes, n: no, u: unsure, o: other, z: undo, m: mark, f: lower,
  '-': () => zoomBy(2), '+': () => zoomBy(.5), '=': () => zoomBy(.5),
  arrowleft: event => nudge(event, -1), arrowright: event => nudge(event, 1)};
const REPEATED = ['-', '+', '=', 'arrowleft', 'arrowright'];
for (const [id, act] of Object.entries({yes, no, unsure, other, play, mark, band: lower, undo,
    out: () => zoomBy(2), in: () => zoomBy(.5)}))
  $(id).onclick = () => { act(); if (id !== 'other') $(id).blur(); };
$('order').onchange = $('species').onchange = event => { event.target.blur(); again(); };
$('find').onkeydown = event => {
  event.stopPropagation();
  if (composing(event) || event.key === 'Enter' && event.repeat) return;
  if (event.key === 'Escape') $('find').blur();
  if (event.key === 'Enter') { const text = $('find').value.trim(); $('find').value = '';
    $('find').blur(); if (text) say('label', text); }
};
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey || composing(event) || !state) return;
  const key = event.key.toLowerCase();
  if (!acts[key] || event.target.tagName === 'SELECT') return;
  event.preventDefault();
  // A key that is held down would answer for events that nobody has seen.
  if (event.repeat && !REPEATED.includes(key)) return;
  if (shown || key === 'z' || key === 's') acts[key](event);
};

// --- the mailed page saves a table ---
function table() {
  const cell = value => { const text = String(value ?? '');
    return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text; };
  const of = row => EVENTS.find(e => e.row === row);
  const rows = own.said.map(s => { const e = of(s.row), [a, b] = s.ends || [e.start_s, e.end_s];
    return [e.path, a, b, s.label || e.label, STATUS[s.kind], s.mark ? '' : e.label, e.start_s,
      e.end_s, s.by, s.id, s.seconds.toFixed(2)]; });
  return [COLUMNS, ...rows].map(row => row.map(cell).join(',')).join('\n') + '\n';
}
function save() {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([table()], {type: 'text/csv'}));
  link.download = 'answers.csv'; link.click(); own.saved = true;
}
if (mailed) {
  acts.s = save; $('save').onclick = save; $('save').hidden = false;
  for (const id of ['order', 'out', 'in', 'band']) $(id).hidden = true;
  addEventListener('beforeunload', event => { if (!own.saved) event.preventDefault(); });
}
$('order').value = BY;
again();
"""


def served_page(name: str, token: str, order: str) -> str:
    """The page of a folder called ``name``, for a session with ``token``."""
    facts = {
        "NAME": name, "TOKEN": token, "COMMAND": "g5 review", "EVENTS": None, "NAMES": [],
        "ABOUT": "", "BY": order, "STATUS": {}, "COLUMNS": [], "SPAN": SPAN, "LEAST_S": LEAST_S,
    }  # fmt: skip
    return document(f"{name}: review", BODY, SCRIPT, facts, style=STYLE)


def mailed_page(
    name: str, events: Sequence[Mapping[str, Any]], names: Sequence[str], *, about: str, by: str,
    status: Mapping[str, str], columns: Sequence[str],
) -> str:  # fmt: skip
    """The page as one file.

    Args:
        name: of the folder.
        events: as `ReviewSession.event`, with ``path``, and ``tile`` and ``audio`` as addresses
            that contain them; in the order in which they are asked.
        names: species.
        about: tells the table of events from others.
        by: the order.
        status: of each kind of answer, in an events table.
        columns: of the table that is saved.
    """
    facts = {
        "NAME": name, "TOKEN": "", "COMMAND": "g5 review", "EVENTS": list(events),
        "NAMES": list(names), "ABOUT": about, "BY": by, "STATUS": dict(status),
        "COLUMNS": list(columns), "SPAN": SPAN, "LEAST_S": LEAST_S,
    }  # fmt: skip
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    return document(f"{name}: review", BODY, SCRIPT, facts, style=STYLE, head=policy)
