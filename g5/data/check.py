"""`g5 data check` and `g5 features`: what is there, what is wrong, and the features of it."""

from collections.abc import Sequence
from pathlib import Path

from g5.common.errors import UserError
from g5.common.words import counted
from g5.config.parts import corpus_of, feature_set_of, front_end_of
from g5.config.settings import load
from g5.data.elsewhere import build_elsewhere


def check_data(overrides: Sequence[str], *, strict: bool) -> int:
    """Print what the data hold and every problem; the exit code, 1 if any and ``strict``."""
    from preprocessing.check import problems, report

    settings = load(overrides)
    corpus = corpus_of(settings)
    episodes = settings.arch.episodes
    size = {"n_way": episodes.n_way, "k_shot": episodes.k_shot, "n_query": episodes.n_query}
    print(report(corpus, **size))
    return int(strict and bool(problems(corpus, **size)))


def build_features(overrides: Sequence[str]) -> int:
    """Extract the features of every recording; the exit code."""
    settings = load(overrides)
    front_end = front_end_of(settings)
    corpus = corpus_of(settings)
    corpus.raise_if_fatal()
    feature_set = feature_set_of(settings, corpus, front_end)
    if settings.engine.where == "local":
        store = feature_set.build()
    else:
        store = build_elsewhere(feature_set, settings.engine)
    print(f"{counted(len(store.keys()), 'recording')} in {store.path}")
    return 0


def check_features(overrides: Sequence[str]) -> int:
    """Verify stored features; the exit code, 1 if anything is damaged or missing.

    Without overrides of what to look for, of every store that is there.
    """
    from preprocessing.features import check

    settings = load(overrides)
    if all(text.startswith("path.root_dir=") for text in overrides):
        return _check_stores(settings.path.store)
    front_end = front_end_of(settings)
    corpus = corpus_of(settings)
    feature_set = feature_set_of(settings, corpus, front_end)
    recordings = feature_set.recordings()
    found = check(recordings, front_end, feature_set.store_dir)
    for line in found:
        print(line)
    if not found:
        print(
            f"the features of {counted(len(recordings), 'recording')} in {feature_set.store_dir} "
            "are whole"
        )
    return int(bool(found))


def _check_stores(folder: Path) -> int:
    """Verify everything in every store of a folder."""
    from preprocessing.store.settings import SETTINGS_FILE
    from preprocessing.store.store import Store

    stores = [
        Store.at(path.parent, command="g5 features")
        for path in sorted(folder.glob(f"*/{SETTINGS_FILE}"))
    ]
    if not stores:
        raise UserError(f"{folder}: holds no features yet; g5 features and g5 train make them")
    damaged = False
    for store in stores:
        found = store.faults()
        for fault in found:
            print(fault)
        store.drop_corrupt(found)  # `g5 features` makes it again
        damaged = damaged or bool(found)
        if not found:
            print(
                f"the features of {counted(len(store.keys()), 'recording')} in {store.path} are "
                "whole"
            )
    return int(damaged)
