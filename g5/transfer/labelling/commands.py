"""`g5 label`: the labelling page, its labels as tables, and the simulator of strategies."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from g5.common.errors import UserError
from g5.embeddings.vectors import VectorStore
from g5.transfer.settings import Label, Simulate, section
from g5.web.journal import Journal


def label(
    path: Path, classes: Path | None, overrides: Sequence[str], *, port: int, browser: bool
) -> int:
    """Serve the labelling page until Ctrl-C; the exit code."""
    from g5.transfer.labelling.server import LabelServer
    from g5.transfer.labelling.session import Session, Settings, read_classes

    config = section("label", Label, overrides)
    map_points = config.pop("map_points")
    store = VectorStore.open(path)
    names = [] if classes is None else read_classes(classes)
    with Journal(store.path).alone():
        session = Session(store, names, Settings(**config))
        if session.journal.damaged:
            print(
                f"{session.journal.path}: {session.journal.damaged} damaged lines are passed over; "
                "the labels in all other lines are there"
            )
        if not session.classes:
            print("no classes yet: name them in the page (key C), or give --classes FILE")
        with LabelServer(session, port=port, map_points=map_points) as server:
            state = session.state()
            print(f"{state['done']} of {state['total']} clips are labelled; training ...")
            session.start()
            print(f"Label at {server.url}", flush=True)
            print(f"Labels go to {session.journal.path}. Ctrl-C stops; the same command goes on.")
            if browser:
                _open_browser(server.url)
            with _until_stopped():
                threading.Thread(target=server.serve_forever, daemon=True).start()
                threading.Event().wait()
            server.shutdown()
        session.stop()
        print(f"{session.state()['done']} of {state['total']} clips are labelled; stopped")
    return 0


@contextlib.contextmanager
def _until_stopped() -> Iterator[None]:
    """Leave the block quietly on Ctrl-C and SIGTERM."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _open_browser(url: str) -> None:
    import webbrowser

    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(url)


def export(path: Path, format: str, out: Path) -> int:
    """Write the labels as annotation tables; the exit code.

    ``audacity`` tracks are of one recording each, so ``out`` is a folder for them.
    """
    from preprocessing.annotations import write_events

    store = VectorStore.open(path)
    events = Journal(store.path).events()
    if not len(events):
        raise UserError(f"{store.path}: nothing is labelled yet; run g5 label {path}")
    if bool((events["end_s"] < 0).to_numpy().any()):
        from preprocessing.audio import info

        ends = [
            info(store.audio_path(file)).duration_s if end < 0 else end
            for file, end in zip(events["file"], events["end_s"], strict=True)
        ]
        events["end_s"] = ends
    if format == "audacity":
        for file, part in events.groupby("file"):
            flat = str(Path(str(file)).with_suffix("")).replace("/", "_").replace("\\", "_")
            write_events(part.reset_index(drop=True), out / f"{flat}.txt", format)
        print(f"{len(events)} labels of {events['file'].nunique()} recordings in {out}/")
    else:
        write_events(events, out, format)
        print(f"{len(events)} labels in {out}")
    return 0


def simulate_labelling(path: Path, labels: Path, out: Path | None, overrides: Sequence[str]) -> int:
    """Play the strategies through with known labels; a table, and a CSV of every run."""
    import numpy as np

    from g5.common.atomic import atomic_path
    from g5.embeddings.whitening import Whitening
    from g5.transfer.labelling.simulate import LabelledVectors, curve_table, labels_needed, simulate
    from g5.transfer.labels import examples, read_labels

    config = section("simulate", Simulate, overrides)
    store = VectorStore.open(path)
    known = examples(store, read_labels(labels, "single"), "single", where=str(labels))
    for note in known.notes:
        print(note)
    whiten = Whitening(known.x_ND, config.pop("components"))
    clips = LabelledVectors(whiten(known.x_ND), known.y, known.groups)
    first, step, last = (config.pop(key) for key in ("first", "step", "last"))
    most = int((1 - config["test_share"]) * len(clips.labels))
    rounds = [n for n in range(first, last + 1, step) if n <= most]
    if len(rounds) < 2:
        raise UserError(
            f"{len(clips.labels)} labelled clips are too few for rounds of {first}, "
            f"{first + step}, ...; lower first and step"
        )
    results: Any = simulate(clips, rounds=rounds, **config)
    # Recordings are held back whole, so that a seed may leave fewer clips than the share says.
    runs = results.groupby("labels").size()
    rounds = [n for n in rounds if runs.get(n, 0) == runs.max()]
    if not rounds:
        raise UserError(f"too few clips are left to label; lower simulate.first, now {first}")
    results = results[results["labels"].isin(rounds)]
    print(
        f"{len(clips.labels)} clips, {len(set(clips.labels))} classes, accuracy on "
        f"held-back recordings, mean of {config['seeds']} seeds [95 % interval]"
    )
    print(curve_text(curve_table(results), rounds))
    if "random" in config["strategies"]:
        final = results[(results["strategy"] == "random") & (results["labels"] == rounds[-1])]
        targets = final.set_index("seed")["accuracy"].to_dict()
        print(f"labels that reach random's accuracy at {rounds[-1]}:")
        for name in config["strategies"]:
            needed = list(labels_needed(results, name, targets.__getitem__).values())
            mean = float(np.mean(needed))
            reach = f"{mean:.0f} ({mean / rounds[-1]:.0%})" if np.isfinite(mean) else "not in all"
            print(f"  {name:<17} {reach}")
    if out is not None:
        with atomic_path(out) as temporary:
            results.to_csv(temporary, index=False)
        print(f"every run in {out}")
    return 0


def curve_text(curves: Any, rounds: Sequence[int]) -> str:
    """Accuracy by strategy at about six numbers of labels."""
    shown = [rounds[round(i)] for i in _evenly(len(rounds), 6)]
    minutes = curves.set_index("labels")["minutes"].to_dict()
    lines = ["labels (min)".ljust(18) + "".join(f"{n} ({minutes[n]:.0f})".rjust(19) for n in shown)]
    for name, part in curves.groupby("strategy", sort=False):
        at = part.set_index("labels")
        cells = [
            f"{at.accuracy[n]:.1%} [{100 * at.low[n]:.0f}, {100 * at.high[n]:.0f}]" for n in shown
        ]
        lines.append(str(name).ljust(18) + "".join(cell.rjust(19) for cell in cells))
    return "\n".join(lines)


def _evenly(n: int, most: int) -> list[float]:
    if n <= most:
        return [float(i) for i in range(n)]
    return [i * (n - 1) / (most - 1) for i in range(most)]
