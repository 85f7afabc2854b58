"""The documentation site: Sphinx, with a reference that is generated from what it describes."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import reference_pages  # noqa: E402

from g5 import __version__  # noqa: E402

project = "g5"
version = release = __version__
copyright = "the authors of g5, MIT licence"
extensions = ["myst_parser"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"g5 {__version__}"
html_show_sourcelink = False
html_copy_source = False
myst_heading_anchors = 4
# Links to what is in the repository and not on the site: their text stays.
OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\((?:\.\./)+[^)]*\)")


# What is written in place of a line {g5-...} of reference/.
GENERATED = {
    "{g5-keys}": reference_pages.key_page,
    "{g5-commands}": reference_pages.command_page,
    "{g5-python}": reference_pages.python_page,
}


def complete(app, docname, source):
    """A page as the site has it: with what is generated, and without links that lead out of it."""
    text = OUTSIDE.sub(r"\1", source[0])
    for mark, page in GENERATED.items():
        if f"\n{mark}\n" in text:
            text = text.replace(mark, "\n".join(page()))
    source[0] = text


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", complete)
