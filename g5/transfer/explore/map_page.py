"""An interactive map of embeddings as one self-contained page, in two or three dimensions.

Shapes: N points, P dimensions (2 or 3).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from g5.common.words import counted
from g5.embeddings.projection import METHODS, frame
from g5.web.page import Html, element, page
from g5.web.tiles import AUDIO_TYPE

# Places on the map are whole numbers up to this: finer than any screen.
GRID = 4095


@dataclass(frozen=True)
class MapData:
    """What a page shows.

    Attributes:
        places: one (N, P) per map, drawn side by side.
        titles: of the maps: store and encoder.
        index: of the N points: file, start_s, end_s, date.
        labels: of the points; "" where there is none.
        method: that placed them, for the caption.
    """

    places: Sequence[np.ndarray]
    titles: Sequence[str]
    index: pd.DataFrame
    labels: Sequence[str]
    method: str


def spread(place_NP: np.ndarray, n: int) -> np.ndarray:
    """``n`` points spread over the map, those that cover most of it first.

    Points are taken cell by cell from grids that grow finer.
    """
    low, high = frame(place_NP)
    unit_NP = np.clip((place_NP - low) / np.maximum(high - low, 1e-9), 0, 1) * 0.999
    order, seen = [], np.zeros(len(place_NP), bool)
    cells = 4
    while len(order) < n:
        cell_NP = (unit_NP * cells).astype(np.int64)
        flat = cell_NP @ (cells ** np.arange(place_NP.shape[1]))
        covered = set(flat[seen].tolist())
        for row in np.flatnonzero(~seen):
            if flat[row] not in covered:
                covered.add(int(flat[row]))
                seen[row] = True
                order.append(int(row))
        cells *= 2
        if cells > 2**12:
            order.extend(np.flatnonzero(~seen).tolist())
            break
    return np.array(order[:n], np.int64)


def map_page(data: MapData, tiles: Mapping[int, tuple[bytes, bytes]]) -> str:
    """The page: hover shows the spectrogram, a click plays the call, drag and wheel move about.

    Args:
        tiles: picture (PNG) and sound (MP3) of some points.
    """
    names = sorted({label for label in data.labels if label})
    number = {name: i for i, name in enumerate(names)}
    files, file_N = np.unique(data.index["file"].astype(str).to_numpy(), return_inverse=True)
    dates = data.index["date"].astype(str).tolist()
    placed = [_grid(place) for place in data.places]
    facts = {
        "maps": [
            {"title": title, "dims": at.shape[1], "at": at.ravel().tolist(), "out": out.tolist()}
            for title, (at, out) in zip(data.titles, placed, strict=True)
        ],
        "names": names,
        "label": [number.get(label, -1) for label in data.labels],
        "files": files.tolist(),
        "file": file_N.tolist(),
        "start": np.round(data.index["start_s"].to_numpy(np.float64), 3).tolist(),
        "end": [None if e != e else round(float(e), 3) for e in data.index["end_s"]],
        "date": dates if any(dates) else [],
        "tiles": {
            row: [base64.b64encode(part).decode("ascii") for part in pair]
            for row, pair in tiles.items()
        },
        "sound": f"data:{AUDIO_TYPE};base64,",
    }
    # What a file is called must not end the script.
    text = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
    turn = "drag turns, wheel zooms" if data.places[0].shape[1] == 3 else "drag moves, wheel zooms"
    title = f"Map of {' beside '.join(data.titles)}"
    canvases = (
        element(
            "div", element("h3", name), Html(f'<canvas class="map" data-map="{i}"></canvas>'),
            *([element("p", far_out(len(out)), class_="soft")] if len(out) else []),
            class_="side",
        )
        for i, (name, (_, out)) in enumerate(zip(data.titles, placed, strict=True))
    )  # fmt: skip
    return page(
        title,
        f"{counted(len(data.labels), 'clip')} by {METHODS[data.method]}. Hover for the "
        "spectrogram, click "
        f"to hear it, {turn}, double-click resets.",
        Html(f"<style>{STYLE}</style>"),
        element("div", id="legend"),
        element("div", *canvases, class_="maps"),
        Html('<div id="tip" hidden><img alt="" hidden><div></div></div>'),
        script=f"const DATA = {text};{SCRIPT}",
    )


def outside(place_NP: np.ndarray) -> np.ndarray:
    """Points (rows) so far from all others that the page shows them at its edge."""
    return _grid(place_NP)[1]


def far_out(n: int) -> str:
    """What is said of ``n`` points at the edge."""
    return f"Rings at the edge lie farther out than they are drawn: {n:,}."


def _grid(place_NP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places as whole numbers (N, P), one scale for all axes, and the rows moved to the edge."""
    low, high = frame(place_NP)
    middle, half = (high + low) / 2, max(float((high - low).max()) / 2, 1e-9)
    unit_NP = (place_NP - middle) / half
    # Rounding moves no point by more than this.
    out_N = (np.abs(unit_NP) > 1 + 1 / GRID).any(axis=1)
    at_NP = np.round((np.clip(unit_NP, -1, 1) + 1) / 2 * GRID).astype(int)
    return at_NP, np.flatnonzero(out_N)


STYLE = """
body { max-width: 100rem; }
.maps { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); }
canvas.map { width: 100%; height: 70vh; background: var(--panel); border-radius: 8px;
  touch-action: none; cursor: crosshair; display: block; }
#legend { display: flex; flex-wrap: wrap; gap: .2rem .5rem; margin: .6rem 0; max-height: 8rem;
  overflow-y: auto; }
#legend button { font: inherit; font-size: .9rem; color: inherit; background: none; border: 0;
  cursor: pointer; padding: .1rem .3rem; border-radius: 4px; }
#legend button.off { opacity: .35; text-decoration: line-through; }
#tip { position: fixed; z-index: 2; pointer-events: none; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; padding: .4rem; font-size: .85rem;
  max-width: 22rem; overflow-wrap: anywhere; }
#tip[hidden], #tip img[hidden] { display: none; }
#tip img { width: 320px; height: 160px; display: block; image-rendering: pixelated; }
"""

SCRIPT = r"""
'use strict';
const N = DATA.label.length, GRID = 4095, tip = document.getElementById('tip');
const PALETTE = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#b8a800',
  '#8c564b', '#7f7fff', '#17becf', '#a0c030', '#e0507f'];
const colour = label => label < 0 ? '#888888' : label < PALETTE.length ? PALETTE[label] :
  `hsl(${(label * 137.508) % 360} 65% 50%)`;
const off = new Set(), views = [];
let hovered = -1, player = new Audio();

class View {
  constructor(canvas, map) {
    this.canvas = canvas; this.map = map; this.reset(); this.out = new Set(map.out);
    this.x = new Float32Array(N); this.y = new Float32Array(N); this.depth = new Float32Array(N);
    this.order = Uint32Array.from({length: N}, (_, i) => i);
    canvas.onpointermove = event => this.move(event);
    canvas.onpointerdown = event => { this.drag = [event.clientX, event.clientY]; this.far = 0;
      canvas.setPointerCapture(event.pointerId); };
    canvas.onpointerup = event => { if (this.drag && this.far < 4) this.play(); this.drag = null; };
    canvas.onpointerleave = () => hover(-1);
    canvas.ondblclick = () => { this.reset(); this.draw(); };
    canvas.addEventListener('wheel', event => { event.preventDefault();
      const k = Math.exp(-event.deltaY * .0015), box = canvas.getBoundingClientRect();
      const x = event.clientX - box.left - box.width / 2;
      const y = event.clientY - box.top - box.height / 2;
      this.px = x - (x - this.px) * k; this.py = y - (y - this.py) * k; this.zoom *= k;
      this.draw(); }, {passive: false});
  }
  reset() { this.zoom = 1; this.px = this.py = 0; this.a = .5; this.b = .4; }
  place() {
    const {width, height} = this.canvas.getBoundingClientRect(), d = this.map.dims;
    const scale = Math.min(width, height) * .47 * this.zoom * (d === 3 ? .75 : 1), at = this.map.at;
    const ca = Math.cos(this.a), sa = Math.sin(this.a);
    const cb = Math.cos(this.b), sb = Math.sin(this.b);
    for (let i = 0; i < N; i++) {
      let x = 2 * at[d * i] / GRID - 1, y = 2 * at[d * i + 1] / GRID - 1;
      if (d === 3) {
        const z = 2 * at[d * i + 2] / GRID - 1, u = ca * x + sa * z, w = -sa * x + ca * z;
        x = u; this.depth[i] = sb * y + cb * w; y = cb * y - sb * w;
      }
      this.x[i] = width / 2 + this.px + scale * x; this.y[i] = height / 2 + this.py - scale * y;
    }
    if (d === 3) this.order.sort((i, j) => this.depth[i] - this.depth[j]);
  }
  draw() {
    const box = this.canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    this.canvas.width = box.width * ratio; this.canvas.height = box.height * ratio;
    const c = this.canvas.getContext('2d'); c.scale(ratio, ratio); this.place();
    const r = Math.max(1.6, Math.min(5, 90 / Math.sqrt(N))) * Math.min(2, Math.sqrt(this.zoom));
    const big = N < 3000;
    for (const i of this.order) {
      const label = DATA.label[i];
      if (off.has(label)) continue;
      const near = this.map.dims === 3 ? 1 + .35 * this.depth[i] : 1, s = r * near;
      c.globalAlpha = (label < 0 && DATA.names.length ? .45 : .85) *
        (this.map.dims === 3 ? .6 + .3 * this.depth[i] : 1);
      c.fillStyle = c.strokeStyle = colour(label);
      if (this.out.has(i)) { c.lineWidth = 1.5; c.beginPath();
        c.arc(this.x[i], this.y[i], s + 1, 0, 7); c.stroke(); }
      else if (big) { c.beginPath(); c.arc(this.x[i], this.y[i], s, 0, 7); c.fill(); }
      else c.fillRect(this.x[i] - s, this.y[i] - s, 2 * s, 2 * s);
    }
    c.globalAlpha = 1;
    if (hovered >= 0) {
      c.lineWidth = 2; c.strokeStyle = getComputedStyle(document.body).color;
      c.beginPath(); c.arc(this.x[hovered], this.y[hovered], r + 5, 0, 7); c.stroke();
    }
  }
  move(event) {
    if (this.drag) {
      const dx = event.clientX - this.drag[0], dy = event.clientY - this.drag[1];
      this.drag = [event.clientX, event.clientY]; this.far += Math.abs(dx) + Math.abs(dy);
      if (this.map.dims === 3 && !event.shiftKey) { this.a += dx * .008; this.b += dy * .008; }
      else { this.px += dx; this.py += dy; }
      if (this.far >= 4) { this.draw(); return; }
    }
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, nearest = 144;
    for (let i = 0; i < N; i++) {
      if (off.has(DATA.label[i])) continue;
      const d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (d < nearest) { nearest = d; best = i; }
    }
    hover(best, event);
  }
  play() {
    const tile = DATA.tiles[hovered];
    if (!tile) return;
    player.pause(); player = new Audio(DATA.sound + tile[1]); player.play().catch(() => {});
  }
}
function hover(i, event) {
  if (i !== hovered) { hovered = i; views.forEach(view => view.draw()); }
  tip.hidden = i < 0;
  if (i < 0) return;
  const [image, text] = tip.children, tile = DATA.tiles[i], label = DATA.label[i];
  image.hidden = !tile;
  if (tile) image.src = 'data:image/png;base64,' + tile[0];
  const span = DATA.end[i] === null ? '' :
    ` ${DATA.start[i].toFixed(2)} to ${DATA.end[i].toFixed(2)} s`;
  text.textContent = (label >= 0 ? DATA.names[label] + ': ' : '') + DATA.files[DATA.file[i]] +
    span + (DATA.date.length && DATA.date[i] ? ', ' + DATA.date[i] : '') +
    (tile ? '' : ' (no picture: map.tiles and map.page_mb draw more)');
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(innerWidth - width - 8, event.clientX + 16)) + 'px';
  tip.style.top = Math.max(4, event.clientY + 16 + height > innerHeight ?
    event.clientY - height - 16 : event.clientY + 16) + 'px';
}
const counts = new Map();
DATA.label.forEach(label => counts.set(label, (counts.get(label) || 0) + 1));
if (DATA.names.length) [...counts.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b)
  .forEach(label => {
  const b = document.createElement('button'), dot = document.createElement('span');
  dot.textContent = '● '; dot.style.color = colour(label);
  b.append(dot, `${label < 0 ? 'no label' : DATA.names[label]} ${counts.get(label)}`);
  b.onclick = () => { off.has(label) ? off.delete(label) : off.add(label);
    b.classList.toggle('off'); views.forEach(view => view.draw()); };
  document.getElementById('legend').append(b);
});
document.querySelectorAll('canvas.map').forEach(canvas =>
  views.push(new View(canvas, DATA.maps[+canvas.dataset.map])));
const redraw = () => views.forEach(view => view.draw());
addEventListener('resize', redraw); redraw();
"""
