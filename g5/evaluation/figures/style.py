"""The one style of all figures: colours, sizes, names that fit, and how a figure is written.

Colours are Okabe and Ito's (2008), told apart by colour-blind eyes; ramps are of one hue or
perceptually even. Figures are PNG, drawn without a display.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g5.common.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6B6B6B"
# For many kinds of things: Okabe and Ito's without the yellow that vanishes on white, and the
# shapes that tell the same colour apart.
COLORS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "P")
DPI = 150
NAME_LENGTH = 30  # characters of a class name, longer ones lose their middle
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,  # a $ in a class name is a $
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.framealpha": 0.85,
    "legend.edgecolor": "white",
    "lines.linewidth": 2,
    "figure.facecolor": "white",
}


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """Yield a figure of that many inches in the shared style; it is saved whole at the end."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        save(figure, path, DPI)


def save(figure: "Figure", path: Path, dpi: int) -> None:
    """Write a figure in 256 colours: a quarter of the bytes; a ramp keeps some thirty steps."""
    from PIL import Image

    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Names are in all the world's scripts; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(temporary, dpi=dpi, format="png")
        with Image.open(temporary) as drawn:
            few = drawn.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        few.save(temporary, "PNG", dpi=(dpi, dpi), optimize=True)


def short_names(names: Sequence[str], length: int = NAME_LENGTH) -> list[str]:
    """Names cut to ``length`` characters where they are longer, and still told apart.

    The middle goes, for names of species differ at both ends; names that would then look alike
    keep the part where they begin to differ.
    """
    short = [_without_middle(name, length) for name in names]
    for clash in {text for text in short if short.count(text) > 1}:
        where = [i for i, text in enumerate(short) if text == clash]
        group = [names[i] for i in where]
        start = max(0, _first_difference(group) - 4)
        head, tail = length // 3, length - length // 3 - 1
        cut = [f"{name[:head]}…{name[start : start + tail]}" for name in group]
        for i, text, name in zip(where, cut, group, strict=True):
            short[i] = text if len(set(cut)) == len(cut) and text not in short else name
    return short


def _first_difference(names: Sequence[str]) -> int:
    """How many characters all names begin with alike."""
    columns = enumerate(zip(*names, strict=False))
    return next((i for i, letters in columns if len(set(letters)) > 1), min(map(len, names)))


def _without_middle(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


def percent_axis(axis: Any) -> None:
    """Write the numbers of a matplotlib axis, shares, as per cent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0))
