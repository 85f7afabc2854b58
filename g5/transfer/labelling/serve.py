"""`g5 label`: the labelling page, served until Ctrl-C, and what is done with its labels."""

from collections.abc import Mapping
from pathlib import Path

from g5.config.schema import LabelSettings
from g5.config.settings import TransferSettings
from g5.embeddings.vectors import VectorStore
from g5.transfer.labelling.comparison import compare_strategies
from g5.transfer.labelling.export import export_labels
from g5.transfer.labelling.server import LabelServer
from g5.transfer.labelling.session import Session, read_classes
from g5.web.journal import Journal


def label(
    path: Path, settings: TransferSettings, *, classes: Path | None, port: int, browser: bool,
    hide_names: bool, export: str | None, simulate: Path | None, out: Path | None,
    columns: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Label a store in the browser, write its labels, or compare strategies on known ones.

    Args:
        path: of the store.
        settings: of the page (``label``) and of the comparison (``simulate``).
        classes: a file of class names, one a line.
        port: of the page; 0: any that is free.
        browser: open the page.
        hide_names: the page does not tell what recordings are called.
        export: the labels are written instead, in this format.
        simulate: strategies are compared instead, on the labels of this table.
        out: where either goes.
        columns: of the table of ``simulate`` (`read_labels`).
    """
    if export is not None:
        assert out is not None
        export_labels(path, export, out)
    elif simulate is not None:
        compare_strategies(path, simulate, out, settings.simulate, columns)
    else:
        store = VectorStore.open(path, settings.audio)
        _serve(store, classes, settings.label, port, browser=browser, hide_names=hide_names)


def _serve(
    store: VectorStore, classes: Path | None, settings: LabelSettings, port: int, *, browser: bool,
    hide_names: bool,
) -> None:  # fmt: skip
    """Serve the labelling page until Ctrl-C."""
    names = [] if classes is None else read_classes(classes)
    with Journal(store.path).alone():
        session = Session(store, names, settings)
        if session.journal.damaged:
            print(
                f"{session.journal.path}: {session.journal.damaged} damaged lines are passed over; "
                "the labels in all other lines are there"
            )
        if not session.classes:
            print("no classes yet: name them in the page (key C), or give --classes FILE")
        with LabelServer(session, port=port, hide_names=hide_names) as server:
            state = session.state()
            print(f"{state['done']} of {state['total']} clips are labelled; training ...")
            session.start()
            print(f"Label at {server.url}", flush=True)
            print(f"Labels go to {session.journal.path}. Ctrl-C stops; the same command goes on.")
            server.until_stopped(browser=browser)
        session.stop()
        print(f"{session.state()['done']} of {state['total']} clips are labelled; stopped")
