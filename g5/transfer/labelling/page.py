"""The labelling page: one HTML document with its style and script, and nothing else."""

from g5.web.live import document

STYLE = """
main { display: grid; grid-template-columns: minmax(0, 1fr) 19rem; gap: 1rem; margin-top: .6rem; }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
#suggestions button { min-width: 11rem; } #suggestions .first { border-color: var(--accent);
  border-width: 2px; }
.bar { display: block; height: .3rem; background: var(--accent); border-radius: 2px; }
#classes button small { color: var(--soft); }
aside section { background: var(--panel); border-radius: 8px; padding: .6rem;
  margin-bottom: .8rem; }
aside h2 { font-size: .95rem; margin: 0 0 .3rem; } canvas { width: 100%; display: block; }
#legend { display: flex; flex-wrap: wrap; gap: 0 .6rem; font-size: .8rem; }
"""

BODY = """
<header><h1></h1><span id="count"></span><span id="time" class="soft"></span>
<span id="training" class="soft"></span></header>
<progress id="progress" max="1" value="0"></progress>
<div id="message" role="status"></div>
<main><div>
<div id="where" class="soft"></div>
<div id="stage" class="axes"><img id="tile" alt="spectrogram of the clip"></div>
<audio id="audio" controls></audio>
<div class="row">
<button id="play"><kbd>Space</kbd>play</button>
<button id="out"><kbd>-</kbd>zoom out</button><button id="in"><kbd>+</kbd>zoom in</button>
<button id="band"><kbd>F</kbd>lower band</button>
<button id="undo"><kbd>Z</kbd>undo</button>
<label><input type="checkbox" id="auto"> <kbd>A</kbd>play every clip</label></div>
<div id="suggestions" class="row"></div>
<div id="classes" class="row"></div>
<div class="row">
<button id="unsure"><kbd>U</kbd>unsure</button>
<button id="nocall"><kbd>N</kbd>not a call</button>
<button id="newclass"><kbd>C</kbd>new class</button>
<input id="find" placeholder="/ find or name a class" autocomplete="off" aria-label="class"></div>
</div><aside>
<section><h2>Accuracy</h2><canvas id="curve" width="560" height="300"></canvas>
<p class="soft" id="curvetext"></p></section>
<section><h2>Map</h2><canvas id="map" width="560" height="560"></canvas><div id="legend"></div>
</section></aside></main>
"""

SCRIPT = r"""
let clip = null, state = null, zoom = 2, band = 1, shownAt = 0, points = null;
let answers = 0, naming = false;
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442',
  '#8c564b', '#7f7fff', '#17becf'];
const colour = name => {
  const i = state.classes.findIndex(c => c.name === name);
  return i < 0 ? '#8888' : COLOURS[i % COLOURS.length];
};

function show(answer) {
  state = answer.state; clip = answer.clip;
  if (answer.message) $('message').textContent = answer.message;
  zoom = 2; band = 1; shownAt = performance.now();
  document.body.dataset.row = clip ? clip.row : '';
  document.body.dataset.done = state.done;
  const ends = clip && (clip.end_s < 0 ? ' (whole recording)' :
    ` ${clip.start_s.toFixed(2)} to ${clip.end_s.toFixed(2)} s`);
  $('where').textContent = clip ? clip.file + ends + (clip.date ? ', ' + clip.date : '') :
    'Every clip is labelled. g5 label --export writes the labels as a table.';
  picture(); draw();
  if (clip && $('auto').checked) $('audio').play().catch(() => {});
}
function picture() {
  const at = `row=${clip ? clip.row : 0}&zoom=${zoom}&token=${TOKEN}`;
  $('stage').hidden = $('audio').hidden = !clip;
  if (!clip) { hush(); return; }
  $('tile').src = `/tile?${at}&band=${band}`;
  $('audio').src = `/audio?${at}`;
  const [low, high] = clip.stretch, middle = (low + high) / 2, half = zoom * (high - low) / 2;
  ruler($('stage'), band * clip.top_hz, middle - half, middle + half);
}
$('tile').onerror = async () => {
  try { await call($('tile').getAttribute('src')); } catch (error) {
    $('message').textContent = error.message; }
};
function draw() {
  $('count').textContent = `${state.done} of ${state.total} labelled` +
    (state.unsure ? `, ${state.unsure} unsure` : '') +
    (state.not_a_call ? `, ${state.not_a_call} not a call` : '');
  $('time').textContent = state.minutes >= 1 ? `${state.minutes.toFixed(0)} min` : '';
  $('training').textContent = state.training ? 'learning …' : '';
  $('progress').value = state.done / state.total;
  const suggestions = $('suggestions'), classes = $('classes');
  suggestions.replaceChildren(); classes.replaceChildren();
  (clip ? clip.suggestions : []).forEach((s, i) => {
    const b = button(i === 0 ? 'Enter' : '', `${s.name}  ${(100 * s.p).toFixed(0)} %`,
      () => take(s.name));
    const bar = document.createElement('span');
    bar.className = 'bar'; bar.style.width = `${Math.max(2, 100 * s.p)}%`;
    b.append(bar); if (i === 0) b.className = 'first';
    suggestions.append(b);
  });
  state.classes.forEach((c, i) => {
    const b = button(i < 9 ? String(i + 1) : '', c.name, () => say('label', c.name));
    const n = document.createElement('small');
    n.textContent = ` ${c.count}`; b.append(n); b.style.borderLeft = `4px solid ${colour(c.name)}`;
    classes.append(b);
  });
  curve(); map();
}
const take = name => name === 'not a call' ? say(name, '') : say('label', name);
function say(kind, label) {
  if (!clip) return;
  const seconds = (performance.now() - shownAt) / 1000;
  const said = {tab, row: clip.row, kind, label, seconds, id: `${load}-${answers++}`};
  guarded(async () => {
    const answer = await call('/api/answer', said);
    if (points) points.labels[said.row] = label || kind;
    show(answer);
  });
}
const undo = () => guarded(async () => { show(await call('/api/undo', {tab})); points = null; });
function name(text) {
  const wanted = text.trim().replace(/\s+/g, ' ');
  if (!wanted) return;
  const found = state.classes.find(c => c.name.toLowerCase() === wanted.toLowerCase()) ||
    (!naming && state.classes.find(c => c.name.toLowerCase().startsWith(wanted.toLowerCase())));
  if (found) { say('label', found.name); return; }
  guarded(async () => { const made = await call('/api/class', {name: wanted});
    state = made.state; busy = false; say('label', made.name); });
}
function axes(canvas) {
  const c = canvas.getContext('2d');
  c.clearRect(0, 0, canvas.width, canvas.height);
  c.fillStyle = c.strokeStyle = getComputedStyle(document.body).color;
  c.font = '22px system-ui, sans-serif';
  return c;
}
function curve() {
  const canvas = $('curve'), c = axes(canvas), data = state.curve, [x0, y0] = [76, 250];
  const most = Math.max(10, ...data.map(d => d.labels));
  c.globalAlpha = .5;
  for (const level of [0, .5, 1]) {
    const y = y0 - 220 * level;
    c.fillText(`${100 * level} %`, 0, y + 7);
    c.fillRect(x0, y, canvas.width - x0 - 10, 1);
  }
  c.fillText('0', x0, 284);
  c.fillText(`${most} labels`, canvas.width - 110, 284);
  c.globalAlpha = 1; c.strokeStyle = COLOURS[0]; c.fillStyle = COLOURS[0]; c.lineWidth = 4;
  c.beginPath();
  for (const d of data) c.lineTo(x0 + (canvas.width - x0 - 20) * d.labels / most,
    y0 - 220 * d.accuracy);
  c.stroke();
  for (const d of data) c.fillRect(x0 + (canvas.width - x0 - 20) * d.labels / most - 4,
    y0 - 220 * d.accuracy - 4, 8, 8);
  const last = data[data.length - 1];
  $('curvetext').textContent = last ? `${(100 * last.accuracy).toFixed(0)} % at ${last.labels} ` +
    'labels, cross-validated by recording on the labelled clips. They are chosen to be hard: ' +
    'other clips are easier.' : 'Shown once two classes have labels in several recordings.';
}
async function map() {
  if (!points) { try { points = await call('/api/map'); } catch (error) { return; } }
  const canvas = $('map'), c = axes(canvas), size = canvas.width / 1040;
  const draw = (i, colour, radius) => {
    const [x, y] = points.xy[i];
    c.fillStyle = colour; c.beginPath();
    c.arc((x + 20) * size, (1020 - y) * size, radius, 0, 7); c.fill();
  };
  points.rows.forEach((row, i) => { if (!points.labels[row]) draw(i, '#88888866', 3); });
  points.rows.forEach((row, i) => {
    if (points.labels[row]) draw(i, colour(points.labels[row]), 5);
  });
  const here = clip ? points.rows.indexOf(clip.row) : -1;
  if (here >= 0) {
    const [x, y] = points.xy[here];
    c.lineWidth = 3; c.strokeStyle = getComputedStyle(document.body).color;
    c.beginPath(); c.arc((x + 20) * size, (1020 - y) * size, 11, 0, 7); c.stroke();
  }
  $('legend').replaceChildren(...state.classes.filter(k => k.count).slice(0, 10).map(k => {
    const s = document.createElement('span');
    s.textContent = '● '; s.style.color = colour(k.name);
    const t = document.createElement('span'); t.textContent = k.name; t.className = 'soft';
    s.append(t); return s;
  }));
}
function zoomBy(factor) { zoom = Math.min(32, Math.max(.25, zoom * factor)); picture(); }
const AUTO = 'g5 label: play every clip';
$('auto').checked = localStorage.getItem(AUTO) === 'true';
$('auto').onchange = () => { localStorage.setItem(AUTO, $('auto').checked); $('auto').blur(); };
$('tile').onclick = $('play').onclick = play;
$('out').onclick = () => zoomBy(2); $('in').onclick = () => zoomBy(.5);
const lower = () => { band = band < .1 ? 1 : band / 2; picture(); };
$('band').onclick = lower; $('undo').onclick = undo;
$('unsure').onclick = () => say('unsure', ''); $('nocall').onclick = () => say('not a call', '');
const findBox = fresh => { naming = fresh; $('find').value = ''; $('find').focus(); };
$('newclass').onclick = () => findBox(true);
$('find').onkeydown = event => {
  event.stopPropagation();
  if (composing(event) || event.key === 'Enter' && event.repeat) return;
  if (event.key === 'Escape') $('find').blur();
  if (event.key === 'Enter') { const text = $('find').value; $('find').value = '';
    $('find').blur(); name(text); }
};
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey || composing(event) || !state) return;
  const key = event.key.toLowerCase();
  const acts = {' ': play, '-': () => zoomBy(2), '+': () => zoomBy(.5), '=': () => zoomBy(.5),
    f: lower, z: undo, u: $('unsure').onclick, n: $('nocall').onclick, c: () => findBox(true),
    '/': () => findBox(false), a: () => $('auto').click(),
    enter: () => { const s = clip && clip.suggestions[0]; if (s) take(s.name); }};
  const number = /^[1-9]$/.test(key) ? state.classes[+key - 1] : null;
  if (!number && !acts[key]) return;
  event.preventDefault();
  // A key that is held down would label clips that nobody has seen.
  if (event.repeat && !'-+='.includes(key)) return;
  if (number) say('label', number.name); else acts[key]();
};
setInterval(async () => {
  if (busy || !state) return;
  try { const fresh = await call('/api/state'); if (!busy) { state = fresh; draw(); } }
  catch (error) { $('message').textContent = error.message; }
}, 3000);
guarded(async () => show(await call(`/api/next?tab=${tab}`)));
"""


def html(name: str, token: str) -> str:
    """The page of a store called ``name``, for a session with ``token``."""
    facts = {"NAME": name, "TOKEN": token, "COMMAND": "g5 label"}
    return document(f"{name}: labelling", BODY, SCRIPT, facts, style=STYLE)
