"""One progress bar for everything that takes longer than two seconds."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
LINE_S = 15.0  # between lines where there is no terminal


def track(items: Iterable[Item], *, total: int, label: str, unit: str) -> Iterator[Item]:
    """Yield ``items`` beside a bar with a rate, on stderr.

    Args:
        items: what is worked through.
        total: how many there are.
        label: what is done, e.g. ``"features"``.
        unit: what is counted, e.g. ``"recordings"``.

    Where stderr is no terminal, a line is written every `LINE_S` seconds, and one at the end if it
    took over two seconds.
    """
    start = time.perf_counter()
    count, told = 0, start
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            Remaining(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
            task = bar.add_task(label, total=total, rate="")
            for item in items:
                yield item
                count += 1
                rate = count / max(time.perf_counter() - start, 1e-9)
                bar.update(task, advance=1, rate=f"{rate:.1f} {unit}/s")
    else:
        for item in items:
            yield item
            count += 1
            now = time.perf_counter()
            if now - told > LINE_S and count < total:
                told, left_s = now, (now - start) / count * (total - count)
                line = f"{label}: {count} of {total} {unit}, about {left_s:.0f} s left"
                print(line, file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    if seconds > 2:
        rate = count / seconds
        done = f"{count} {unit} in {seconds:.0f} s ({rate:.1f}/s)"
        print(f"{label}: {done if count != 1 else f'done in {seconds:.0f} s'}", file=sys.stderr)
