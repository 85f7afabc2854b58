"""What the user is told beside the results, each thing once."""

import sys

from g5.common.words import on_one_line


class Notes:
    """Lines for stderr, and later for the page."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str) -> None:
        """Tell of something, unless it has been told."""
        if text not in self.lines:
            self.lines.append(text)
            print(on_one_line(f"note: {text}"), file=sys.stderr)
