"""A real Chromium for the tests of pages, and a `g5` that serves one in a process of its own."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Of the browser that `tests/conftest.py` starts.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


class Served:
    """A `g5` command that serves a page, in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "g5.cli.main", *arguments, "--no-browser"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:\d+/\S+", line)
            if found:
                self.url = found.group(0)
                break

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def until(page, expression: str, *, pause_ms: int = 50) -> None:
    """`wait_for_function`, which the page's content policy forbids."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(pause_ms)
    raise AssertionError(expression)


# Of every element with text of its own: what is said, and its contrast by WCAG 2 with what lies
# behind it. What is not shown has no box.
CONTRASTS = """() => {
  const rgba = text => text.match(/[\\d.]+/g).map(Number);
  const over = (top, below) => {
    const share = top[3] ?? 1;
    return [0, 1, 2].map(i => share * top[i] + (1 - share) * below[i]);
  };
  const light = colour => colour.map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    if (!element) return [255, 255, 255];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 0 ? behind(element.parentElement) : over(own, behind(element.parentElement));
  };
  return [...document.body.querySelectorAll('*')]
    .filter(one => one.getClientRects().length && !['SCRIPT', 'STYLE'].includes(one.tagName)
      && [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))
    .map(one => {
      const ground = behind(one), ink = over(rgba(getComputedStyle(one).color), ground);
      const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
      return [one.textContent.trim().slice(0, 40), (high + .05) / (low + .05)];
    });
}"""


def assert_accessible(page) -> None:
    """What axe-core finds against WCAG 2.1 A and AA, contrast and names of controls among it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def assert_legible(page) -> None:
    """WCAG AA in light, dark and printed, and no scrolling to the side in a window of 400 px."""
    page.set_viewport_size({"width": 400, "height": 800})
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "light")):
        page.emulate_media(media=media, color_scheme=scheme)
        assert_accessible(page)
        told = page.evaluate(CONTRASTS)
        assert told
        assert [one for one in told if one[1] < 4.5] == [], (media, scheme)
    page.emulate_media(media="screen", color_scheme="light")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
