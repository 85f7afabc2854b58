"""What pages that are answered by key have in common: style, requests, buttons, the document."""

import html as escaping
import json
from collections.abc import Mapping
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #5c5c61; --line: #d5d5da; --paper: #fff;
  --panel: #f3f3f5; --accent: #0072b2; --bad: #b34700; --good: #00704f; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #a5a5ad; --line: #3a3a40;
  --paper: #17171a; --panel: #222226; --accent: #56b4e9; --bad: #ff9a52; --good: #4fc79f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 84rem; color: var(--ink);
  background: var(--paper); font: 16px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: baseline; }
h1 { font-size: 1.15rem; margin: 0; } .soft { color: var(--soft); }
progress { width: 100%; height: .5rem; } #where { overflow-wrap: anywhere; }
#tile { width: 100%; aspect-ratio: 900 / 280; background: #000004; border-radius: 6px;
  cursor: pointer; display: block; color: #fff; }
audio { width: 100%; height: 2.2rem; margin-top: .4rem; }
button { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: .3rem .6rem; cursor: pointer; text-align: left; }
button:hover, button:focus-visible { border-color: var(--accent); outline: none; }
kbd { font: .78rem ui-monospace, "DejaVu Sans Mono", monospace; border: 1px solid var(--line);
  border-radius: 4px; padding: 0 .3rem; background: var(--paper); margin-right: .35rem; }
.row { display: flex; flex-wrap: wrap; gap: .4rem; margin: .6rem 0; align-items: center; }
.axes { position: relative; overflow: hidden; }
.axes span { position: absolute; padding: 0 .3em; font-size: .78rem; line-height: 1.25;
  color: #fff; background: #000b; pointer-events: none; }
.axes .hz { left: 0; border-top: 1px solid #fff; transform: translateY(100%); }
.axes .s { bottom: 0; border-right: 1px solid #fff; }
#message { min-height: 1.5rem; color: var(--bad); }
#find { font: inherit; width: 14rem; padding: .25rem .5rem; color: inherit;
  background: var(--paper); border: 1px solid var(--line); border-radius: 6px; }
"""

SCRIPT = r"""
'use strict';
const $ = id => document.getElementById(id);
const load = Array.from(crypto.getRandomValues(new Uint32Array(3)), n => n.toString(36)).join('');
// A tab that is reloaded stays who it was, so that it can take back what it said.
const reloaded = performance.getEntriesByType('navigation')[0]?.type === 'reload';
let tab = load;
try {
  if (reloaded) tab = sessionStorage.getItem('tab') || load;
  sessionStorage.setItem('tab', tab);
} catch (error) {} // where a browser keeps nothing
let busy = false;
document.querySelector('h1').textContent = NAME;

async function call(path, said) {
  const options = {headers: {'X-Token': TOKEN}};
  if (said) { options.method = 'POST'; options.body = JSON.stringify(said); }
  let response;
  for (let attempt = 0; ; attempt++) {
    try { response = await fetch(path, options); break; } catch (error) {
      if (attempt === 2) throw Error(`The server does not answer: start ${COMMAND} again. ` +
        'Everything up to the last clip is saved.');
      await new Promise(done => setTimeout(done, 300));
    }
  }
  const content = await response.json();
  if (!response.ok) throw Error(content.error);
  return content;
}
async function guarded(work) {
  if (busy) return;
  busy = true;
  try { $('message').textContent = ''; await work(); }
  catch (error) { $('message').textContent = error.message; }
  finally { busy = false; }
}
function button(key, text, act) {
  const b = document.createElement('button');
  if (key) { const k = document.createElement('kbd'); k.textContent = key; b.append(k); }
  b.append(text); b.onclick = () => { act(); b.blur(); };
  return b;
}
// A sound that is no longer shown: it ends, and no key plays it again.
function hush() { const a = $('audio'); a.pause(); a.removeAttribute('src'); a.load(); }
function play() { const a = $('audio'); if (a.paused) a.play().catch(() => {}); else a.pause(); }
// Frequencies up the left side of a picture, and times along its bottom.
function ruler(box, topHz, fromS, toS) {
  const round = (low, high, n) => {
    const power = 10 ** Math.floor(Math.log10((high - low) / n));
    const step = [1, 2, 5, 10].map(d => d * power).find(s => s >= (high - low) / n);
    const first = Math.floor(low / step) + 1, count = Math.floor(high / step) - first + 1;
    return Array.from({length: Math.max(count, 0)}, (_, i) => +((first + i) * step).toPrecision(9));
  };
  const mark = (text, kind, side, share) => {
    const s = document.createElement('span');
    s.textContent = text; s.className = kind; s.style[side] = `${100 * share}%`; return s;
  };
  const kilo = topHz / 1000;
  box.querySelectorAll('span').forEach(s => s.remove());
  box.append(...round(0, kilo, 5).filter(k => k > .07 * kilo)
    .map(k => mark(`${k} kHz`, 'hz', 'bottom', k / kilo)),
    ...round(fromS, toS, 6).map(t => mark(`${t} s`, 's', 'right', (toS - t) / (toS - fromS))));
}
// The Enter that ends an input method's composition chooses characters, and says nothing else.
const composing = event => event.isComposing || event.keyCode === 229;
"""


def document(
    title: str, body: str, script: str, facts: Mapping[str, Any], *, style: str = "", head: str = ""
) -> str:
    """The page: one HTML document with its style and script, and nothing else.

    Args:
        title: of the window.
        body, script, style: beside what all such pages have.
        facts: constants of the script.
        head: more of the document's head.
    """
    # JSON in a script must not be able to end it.
    constants = "".join(
        f"const {key} = {json.dumps(value).replace('<', chr(92) + 'u003c')};\n"
        for key, value in facts.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n{head}'
        f"<title>{escaping.escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n"
        f"<body>{body}<script>{constants}{SCRIPT}{script}</script>\n</body>\n</html>\n"
    )
