"""A labelling session: which clip is next, what it might be, and the head that learns meanwhile.

Knows nothing of browsers. Shapes: N clips, D embedding width, C classes, L labelled clips.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from g5.common.errors import UserError
from g5.config.schema import LabelSettings
from g5.embeddings.projection import frame, pca
from g5.embeddings.vectors import VectorStore
from g5.embeddings.whitening import Whitening
from g5.transfer.labelling.simulate import Classifier
from g5.transfer.labelling.strategies import STRATEGIES, ClipPool, choose
from g5.web.answers import TabAnswers, checked_entry, class_name
from g5.web.journal import LABEL, NOT_A_CALL, UNSURE, Journal, clip_of


class Session:
    """Hands out clips, takes labels, and retrains; from any number of threads.

    Args:
        store: what is labelled. Clips that have a label in the store count as labelled.
        classes: to begin with.
        settings: how.

    Raises:
        UserError: an empty store, an unknown strategy.
    """

    def __init__(self, store: VectorStore, classes: Sequence[str], settings: LabelSettings) -> None:
        if not len(store):
            raise UserError(f"{store.path}: is empty, there is nothing to label")
        if settings.strategy not in STRATEGIES:
            raise UserError(
                f"label.strategy={settings.strategy} is none of {', '.join(STRATEGIES)}"
            )
        self.store, self.settings = store, settings
        self.index = store.index
        times = (self.index[name].to_numpy() for name in ("start_s", "end_s"))
        files = self.index["file"].astype(str)
        self.clips = [clip_of(*clip) for clip in zip(files, *times, strict=True)]
        self.row_of = {clip: row for row, clip in enumerate(self.clips)}
        self.given = {
            row: label for row, label in enumerate(self.index["label"].astype(str)) if label
        }
        self.journal = Journal(store.path)
        self._classes = list(dict.fromkeys([*classes, *sorted(set(self.given.values()))]))
        self.curve: list[dict[str, float]] = []
        self.model: Classifier | None = None
        self.training = False
        self._rng = np.random.default_rng(settings.seed)
        rows = np.arange(len(store))
        if len(rows) > settings.pool:
            rows = np.sort(self._rng.choice(rows, settings.pool, replace=False))
        self._whiten = Whitening(store.vectors[rows], settings.components)
        self._lock = threading.RLock()
        self._queue: list[int] = []
        self._shown: dict[str, int] = {}  # tab -> row
        self._answers = TabAnswers(self.journal)
        self._new = 0  # labels since the last training
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._train_forever, daemon=True)

    # --- what is asked and answered -------------------------------------------------------------

    @property
    def classes(self) -> list[str]:
        """Names of the classes: given ones first, then those added while labelling."""
        with self._lock:
            said = [e.label for e in self.journal.entries.values() if e.kind == LABEL]
        return list(dict.fromkeys([*self._classes, *self.journal.classes, *said]))

    def start(self) -> None:
        """Train on what is there, and go on in the background."""
        # Loaded now: the first training would otherwise be seconds late.
        import sklearn.linear_model  # noqa: F401

        self._train()
        self._thread.start()

    def stop(self) -> None:
        """End the background training."""
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def next(self, tab: str) -> int | None:
        """Row of the clip that this tab shows next; the same until it is answered; None: all done.

        Two tabs never get the same clip.
        """
        with self._lock:
            row = self._shown.get(tab)
            if row is not None and not self._answered(row):
                return row
            taken = {row for other, row in self._shown.items() if other != tab}
            for attempt in range(2):
                for row in self._queue:
                    if row not in taken and not self._answered(row):
                        self._shown[tab] = row
                        return row
                if attempt == 0:
                    self._queue = self._choose()
            for row in range(len(self.clips)):
                if row not in taken and not self._answered(row):
                    self._shown[tab] = row
                    return row
            self._shown.pop(tab, None)
            return None

    def answer(self, tab: str, row: int, kind: str, label: str, *, id: str, seconds: float) -> str:
        """Write down what a tab says of a clip. "" or what stands in the way.

        It is on the disk when this returns.

        Raises:
            UserError: no such clip, kind or class, or it cannot be written.
        """
        if not 0 <= row < len(self.clips):
            raise UserError(f"there is no clip {row}")
        entry = checked_entry(id, self.clips[row], kind, label, seconds)
        if kind == LABEL and entry.label not in self.classes:
            raise UserError(f"there is no class {entry.label!r}; add it first")
        with self._lock:
            message = self._answers.add(tab, entry)
            if self._shown.get(tab) == row:
                self._shown.pop(tab)
            if message:
                return message
            self._new += 1
            if self._new >= self.settings.retrain_every or self.model is None:
                self._wake.set()
        return ""

    def undo(self, tab: str) -> int | None:
        """Take back this tab's last answer and show the clip again; None: there is none.

        After a reload or a restart, the last answer that is no other tab's.
        """
        with self._lock:
            clip = self._answers.undo(tab, self.row_of)
            if clip is None:
                return None
            self._shown[tab] = self.row_of[clip]
            return self._shown[tab]

    def add_class(self, name: str) -> str:
        """Remember a new class; its name as it is kept."""
        name = class_name(name)
        with self._lock:
            if name not in self.classes:
                self.journal.add_class(name)
        return name

    # --- what is shown --------------------------------------------------------------------------

    def suggestions(self, row: int) -> list[tuple[str, float]]:
        """The most probable classes of a clip with their probabilities."""
        model = self.model
        if model is None:
            return []
        p_UC = model.probabilities(self._vectors(np.array([row])))
        if p_UC is None:
            return []
        order = np.argsort(-p_UC[0])[: self.settings.suggestions]
        return [(str(model.classes[i]), float(p_UC[0, i])) for i in order]

    def audio(self, row: int) -> tuple[Path, float, float]:
        """The recording of a clip, and the stretch; NaN ends are the recording's."""
        file, start_s, end_s = self.clips[row]
        path = self.store.audio_path(file)
        if end_s < 0:
            from preprocessing.audio import info

            end_s = info(path).duration_s
        return path, start_s, end_s

    def state(self) -> dict[str, Any]:
        """Progress, classes with their counts, and the curve of accuracy."""
        with self._lock:
            entries = [e for clip, e in self.journal.entries.items() if clip in self.row_of]
        counts = Counter(e.label for e in entries if e.kind == LABEL)
        counts.update(self.given.values())
        kinds = Counter(e.kind for e in entries)
        return {
            "done": len(entries) + len(self.given),
            "total": len(self.clips),
            "minutes": sum(e.seconds for e in entries) / 60,
            "classes": [{"name": name, "count": counts[name]} for name in self.classes],
            "unsure": kinds[UNSURE],
            "not_a_call": kinds[NOT_A_CALL],
            "curve": self.curve,
            "training": self.training,
        }

    def map_points(self) -> dict[str, Any]:
        """Rows and their place on a plane (principal components), 0 to 999; what each is."""
        if not hasattr(self, "_map"):
            rows = np.arange(len(self.clips))
            most = self.settings.map_points
            if len(rows) > most:
                rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
            xy = pca(np.asarray(self.store.vectors[rows], np.float32), 2)
            low, high = frame(xy)
            place = np.clip((xy - low) / np.maximum(high - low, 1e-9), 0, 1) * 999
            self._map = (rows, place.round().astype(int))
        rows, place = self._map
        said = self.labels()
        return {
            "rows": rows.tolist(),
            "xy": place.tolist(),
            "labels": {str(row): said[row] for row in rows.tolist() if row in said},
        }

    def labels(self) -> dict[int, str]:
        """Row -> class, or "unsure" or "not a call"."""
        said = dict(self.given)
        with self._lock:
            entries = list(self.journal.entries.items())
        for clip, entry in entries:
            if clip in self.row_of:
                said[self.row_of[clip]] = entry.label or entry.kind
        return said

    # --- training -------------------------------------------------------------------------------

    def _vectors(self, rows: np.ndarray) -> np.ndarray:
        return self._whiten(self.store.vectors[rows])

    def _answered(self, row: int) -> bool:
        return row in self.given or self.clips[row] in self.journal.entries

    def _train_forever(self) -> None:
        while True:
            self._wake.wait()
            if self._stop:
                return
            self._wake.clear()
            self._train()

    def _train(self) -> None:
        """Train on what is labelled, choose the next clips, and note the accuracy."""
        with self._lock:
            self._new = 0
            said = {row: label for row, label in self.labels().items() if label != UNSURE}
        self.training = True
        try:
            if said:
                rows = np.array(sorted(said))
                z_LD = self._vectors(rows)
                labels = np.array([said[row] for row in rows.tolist()])
                self.model = Classifier(z_LD, labels, self.settings.regularisation)
                accuracy = self._accuracy(z_LD, labels, rows)
                if accuracy is not None:
                    self.curve.append({"labels": len(rows), "accuracy": accuracy})
            queue = self._choose()
            with self._lock:
                self._queue = queue
        finally:
            self.training = False

    def _accuracy(self, z_LD: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float | None:
        """Cross-validated by recording over the labelled; None while there are too few."""
        _, counts = np.unique(labels, return_counts=True)
        sources = self.index["file"].astype(str).to_numpy()[rows]
        folds = min(self.settings.folds, len(np.unique(sources)))
        if folds < 2 or (counts >= 2).sum() < 2:
            return None
        fold_of = {name: i % folds for i, name in enumerate(self._shuffled(np.unique(sources)))}
        fold_L = np.array([fold_of[name] for name in sources])
        hits = np.zeros(len(labels), bool)
        for fold in range(folds):
            held = fold_L == fold
            if held.all() or not held.any():
                return None
            model = Classifier(z_LD[~held], labels[~held], self.settings.regularisation)
            hits[held] = model(z_LD[held]) == labels[held]
        return float(hits.mean())

    def _shuffled(self, names: np.ndarray) -> np.ndarray:
        return np.random.default_rng(self.settings.seed).permutation(names)

    def _choose(self) -> list[int]:
        """The next clips by the strategy, enough to last until the next training."""
        with self._lock:
            said = self.labels()
        left = np.array([row for row in range(len(self.clips)) if row not in said])
        if not len(left):
            return []
        if len(left) > self.settings.pool:
            left = self._rng.choice(left, self.settings.pool, replace=False)
        z_UD = self._vectors(left)
        known = np.array(sorted(said), np.int64)
        dates = self.index["date"].astype(str).to_numpy()[left]
        pool = ClipPool(
            z_UD=z_UD,
            z_LD=self._vectors(known),
            p_UC=None if self.model is None else self.model.probabilities(z_UD),
            recordings=list(self.index["file"].astype(str).to_numpy()[left]),
            dates=list(dates) if (dates != "").any() else None,
        )
        size = max(2 * self.settings.retrain_every, 10)
        picks = choose(self.settings.strategy, pool, size=size, rng=self._rng)
        return left[picks].tolist()


def read_classes(path: Path) -> list[str]:
    """Class names, one a line; empty lines and ``#`` comments are passed over.

    Raises:
        UserError: no such file, none in it, or one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no UTF-8 text, one class a line") from error
    names = [" ".join(line.split()) for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise UserError(f"{path}: names no class; write one a line")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UserError(f"{path}: has the class {name!r} twice")
        try:
            class_name(name)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return names
