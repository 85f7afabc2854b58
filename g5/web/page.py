"""Self-contained HTML pages: one file with everything in it, opening anywhere without a network.

A page is built from parts. What these functions return is `Html`; any other string is text and
is escaped, so that a label or a file name can never become markup.
"""

import base64
import html
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.atomic import atomic_path
from g5.web.axis import FrequencyAxis, ticks_s

PIXELS_PER_METRE = 96 / 0.0254  # of CSS
PAGE_MB = 3.0  # most weight of a page
TEXT = 0.15  # of that is kept for text and tables
ROWS = 500  # of a table; a file beside the page has them all
# Nothing may be fetched, whatever gets into a page.
POLICY = (
    "default-src 'none'; img-src data:; media-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)

STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #5c5c61; --line: #dedee2; --paper: #fff;
  --panel: #f5f5f7; --accent: #0072b2; --good: #00704f; --bad: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #a5a5ad; --line: #3a3a40;
  --paper: #17171a; --panel: #222226; --accent: #56b4e9; --good: #4fc79f; --bad: #ff9a52; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
.soft, figcaption { color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); }
ul { padding-left: 1.2rem; margin: .5rem 0; }
.scroll { overflow-x: auto; margin: .6rem 0; }
details .scroll { max-height: 80vh; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; max-width: 44rem; }
th { position: sticky; top: 0; background: var(--paper); font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
figure { margin: .8rem 0; }
figcaption { font-size: .9rem; max-width: 46rem; overflow-wrap: anywhere; }
figure img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
.chart { background: #fff; padding: .4rem; cursor: zoom-in; }
.whole { overflow-x: auto; }
.whole img { max-width: none; width: auto; cursor: zoom-out; }
@media (max-width: 40rem) { figure { overflow-x: auto; } .chart { max-width: none; width: 40rem; } }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.card { background: var(--panel); border-radius: 8px; padding: .7rem; min-width: 0; }
.card h3 { margin-top: 0; overflow-wrap: anywhere; }
.card figure { margin: 0 0 .5rem; }
.asked { outline: 3px solid var(--accent); }
.tile { width: 100%; image-rendering: pixelated; cursor: pointer; }
.axes { position: relative; }
.axes { overflow: hidden; line-height: 0; }
.axes span { position: absolute; padding: 0 .25em; font-size: .7rem; line-height: 1.25;
  color: #fff; background: #000b; pointer-events: none;
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.axes .hz { left: 0; border-top: 1px solid #fff; transform: translateY(100%); }
.axes .s { bottom: 0; border-right: 1px solid #fff; }
audio { width: 100%; height: 2rem; margin-top: .3rem; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.fact { background: var(--panel); border-radius: 8px; padding: .6rem .9rem; }
.fact b { display: block; font-size: 1.4rem; line-height: 1.2; }
.fact span { color: var(--soft); font-size: .85rem; }
pre { background: var(--panel); padding: .7rem; border-radius: 6px; overflow-x: auto;
  font-size: .85rem; }
details > summary { cursor: pointer; color: var(--accent); margin: .5rem 0; }
@media print { .scroll { overflow: visible; } details .scroll { max-height: none; }
  td:not(:first-child) { overflow-wrap: anywhere; } audio { display: none; }
  .grid:has(.abreast) { grid-template-columns: 1fr; }
  .abreast { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6rem; }
  figure, .card, .fact, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  :root { --ink: #000; --soft: #444; --line: #ccc; --paper: #fff; --panel: #f5f5f7;
    --accent: #005a8f; --good: #005a40; --bad: #8f3600; } }
"""

# One sound at a time; a click on a tile plays it, and one on a figure shows it in full size.
SCRIPT = """
document.addEventListener('play', event => {
  for (const other of document.querySelectorAll('audio')) if (other !== event.target) other.pause();
}, true);
document.addEventListener('click', event => {
  const sound = event.target.matches('.tile') &&
    event.target.closest('figure').querySelector('audio');
  if (sound) sound.paused ? sound.play() : sound.pause();
  if (event.target.matches('.chart')) event.target.closest('figure').classList.toggle('whole');
});
"""


class Html(str):
    """Markup, as against text that is still to be escaped."""

    __slots__ = ()


def text(value: Any) -> Html:
    """Escape anything but `Html`, for use as content or in a quoted attribute."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(*parts: str) -> Html:
    """Parts one after the other."""
    return Html("\n".join(map(text, parts)))


def element(tag: str, *content: str, **attributes: str) -> Html:
    """``<tag class="...">content</tag>``; a trailing underscore of an attribute's name is dropped,
    other underscores become hyphens (``class_``, ``data_row``)."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
    )
    return Html(f"<{tag}{named}>{''.join(map(text, content))}</{tag}>")


def heading(content: str, level: int = 2) -> Html:
    """A heading; level 1 is the page's title."""
    assert 1 <= level <= 6, level
    return element(f"h{level}", content)


def paragraph(content: str, class_: str = "") -> Html:
    """A paragraph; ``class_`` may be ``"soft"``, ``"good"`` or ``"bad"``."""
    return element("p", content, **({"class_": class_} if class_ else {}))


def bullets(items: Iterable[str]) -> Html:
    """An unnumbered list."""
    return element("ul", *(element("li", item) for item in items))


def facts(numbers: Mapping[str, str]) -> Html:
    """The few numbers that matter, large: ``{"accuracy": "71.3 % ± 0.6 %"}``."""
    boxes = (
        element("div", element("b", value), element("span", name), class_="fact")
        for name, value in numbers.items()
    )
    return element("div", *boxes, class_="facts")


def details(summary: str, *parts: str) -> Html:
    """Parts that are folded away behind a line."""
    return element("details", element("summary", summary), *parts)


def table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> Html:
    """A data frame without its index; numbers stand to the right, missing ones are empty.

    Where all names of columns are blank there is no head.

    Args:
        frame: cells may be `Html`.
        formats: of columns, e.g. ``{"accuracy": ".1%"}``; other floats get three digits.
    """
    formats = formats or {}
    dtypes = frame.dtypes
    right = {name for name in frame.columns if _is_number(dtypes[name])}
    style = {name: {"class_": "number"} if name in right else {} for name in frame.columns}
    head = element("tr", *(element("th", str(name), **style[name]) for name in frame.columns))
    rows = [
        element("tr", *(
            element("td", _cell(value, formats.get(str(name), "")), **style[name])
            for name, value in zip(frame.columns, row, strict=True)
        ))
        for row in frame.itertuples(index=False, name=None)
    ]  # fmt: skip
    titled = any(str(name).strip() for name in frame.columns)
    heads = [element("thead", head)] if titled else []
    whole = element("table", *heads, element("tbody", *rows))
    return element("div", whole, class_="scroll", tabindex="0")  # scrolled by keyboard, too


def long_table(frame: pd.DataFrame, beside: str, formats: Mapping[str, str] | None = None) -> Html:
    """The first `ROWS` rows of a `table`, and that ``beside``, a file, has the others."""
    more = len(frame) - ROWS
    rest = [paragraph(f"{more:,} more in {beside}.", "soft")] if more > 0 else []
    return join(table(frame.head(ROWS), formats), *rest)


def _is_number(dtype: Any) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype)


def _cell(value: Any, spec: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if spec:
        return format(value, spec)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def data_uri(data: bytes, media_type: str) -> str:
    """Bytes as an address that contains them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def image(png: bytes, alt: str, class_: str = "chart", width: int | None = None) -> Html:
    """An embedded PNG; ``alt`` says what is seen to those who cannot see it."""
    address = data_uri(png, "image/png")
    wide = "" if width is None else f'width="{width}" '
    return Html(
        f'<img class="{text(class_)}" alt="{text(alt)}" decoding="async" {wide}src="{address}">'
    )


def figure(png: bytes | Path, caption: str, alt: str = "") -> Html:
    """A figure with what it says below it.

    Args:
        png: the picture, or its file.
        alt: what is seen; the caption if empty.
    """
    data = png.read_bytes() if isinstance(png, Path) else png
    picture = image(data, alt or caption, width=_width(data))
    return element("figure", picture, element("figcaption", caption), tabindex="0")


def _width(png: bytes) -> int | None:
    """In a page's pixels, by the picture's resolution: text has one size in all figures."""
    at = png.find(b"pHYs")
    if at < 0:
        return None
    pixels, per_metre = (int.from_bytes(png[i : i + 4]) for i in (16, at + 4))
    return round(pixels / per_metre * PIXELS_PER_METRE)


def audio(data: bytes, media_type: str = "audio/mpeg") -> Html:
    """A player; the browser decodes nothing before it is started."""
    address = data_uri(data, media_type)
    return Html(f'<audio controls preload="none" src="{address}"></audio>')


def sound_tile(
    png: bytes, caption: str, sound: bytes | None = None,
    axes: tuple[FrequencyAxis, float] | None = None,
) -> Html:  # fmt: skip
    """A spectrogram with its caption and its sound, which also a click on the picture plays.

    Args:
        png: the picture.
        caption: below it.
        sound: what is played.
        axes: of its frequencies, and its length, seconds.
    """
    picture = image(png, caption, "tile")
    if axes is not None:
        picture = element("div", picture, *_ticks(*axes), class_="axes")
    player = Html("") if sound is None else audio(sound)
    return element("figure", picture, player, element("figcaption", caption))


def _ticks(axis: FrequencyAxis, seconds: float) -> list[Html]:
    """Frequencies up the left side, kHz, and times along the bottom."""
    high = axis.ticks_hz()
    kilohertz = [f"{hz / 1000:g}" + " kHz" * (hz == high[0]) for hz in high]
    marks = [
        element("span", said, class_="hz", style=f"bottom:{100 * axis.share(hz):.1f}%")
        for said, hz in zip(kilohertz, high, strict=True)
    ]
    unit, scale = ("ms", 1000) if seconds < 0.1 else ("s", 1)
    for at in ticks_s(seconds):
        style = f"right:{100 * (1 - at / seconds):.1f}%"
        marks.append(element("span", f"{scale * at:g} {unit}", class_="s", style=style))
    return marks


def card(*parts: str, kind: str = "") -> Html:
    """Parts in a box, for a `grid`; ``kind`` may be ``"asked"``: what the others are like."""
    return element("div", *parts, class_=f"card {kind}".strip())


def abreast(*figures: str) -> Html:
    """Figures of a card, one below the other; on paper side by side."""
    return element("div", *figures, class_="abreast")


def grid(*cards: str) -> Html:
    """Cards side by side, as many as the window has room for."""
    return element("div", *cards, class_="grid")


def page(title: str, *parts: str, script: str = "") -> str:
    """A whole page.

    Args:
        title: of the window, and the heading.
        parts: `Html`, or plain text that becomes paragraphs.
        script: JavaScript beside what every page has.
    """
    body = join(
        heading(title, 1),
        *(part if isinstance(part, Html) else paragraph(part) for part in parts),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{SCRIPT}{script}</script>\n</body>\n</html>\n"
    )


def write_page(path: Path, content: str) -> Path:
    """Write a page, whole or not at all; bytes of file names that are no text become ``?``."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "replace"))
    return path


class Budget:
    """Keeps a page light: what may be embedded before it is heavy to open.

    Args:
        megabytes: of the page, its text included.

    Attributes:
        left: bytes that may still be embedded.
    """

    def __init__(self, megabytes: float = PAGE_MB) -> None:
        self.left = round((1 - TEXT) * megabytes * 1e6)

    def part(self, n: int) -> "Budget":
        """What one of ``n`` may take, by itself; what it leaves is to be given back to ``left``."""
        part = Budget()
        part.left = self.left // n
        self.left -= part.left
        return part

    def take(self, *data: bytes) -> bool:
        """Whether all of this still fits; if so it is counted, as long as it is in base64."""
        need = sum(4 * math.ceil(len(part) / 3) for part in data)
        if need > self.left:
            return False
        self.left -= need
        return True
