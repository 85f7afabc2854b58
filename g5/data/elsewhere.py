"""Features that are extracted on the workers of a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.errors import UserError
from g5.common.progress import track
from g5.config.schema import EngineSettings
from g5.engine.jobs import Job, Worker, done
from preprocessing.audio_rules import AudioRules
from preprocessing.feature_set import FeatureSet
from preprocessing.features import extract, failed, missing
from preprocessing.frontend import FrontEnd
from preprocessing.store.store import Store


@dataclass(frozen=True)
class Extraction:
    """Makes what extracts features into a store that all workers reach (`g5.engine`).

    Attributes:
        front_end: what the features are.
        store_dir: folder of the stores.
        block_s: seconds of a recording in memory at once.
        rules: how recordings are read.
    """

    front_end: FrontEnd
    store_dir: Path
    block_s: float
    rules: AudioRules

    def __call__(self) -> Worker:
        return self.work

    def work(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        """Extract some recordings, which are kept together, and say what is wrong with which."""
        jobs = list(jobs)
        # As it is now: whoever was at these before may have kept some of them.
        store = Store.open(self.store_dir, self.front_end.settings(), create=True)
        table = pd.DataFrame([job.what for job in jobs])
        failures = extract(table, self.front_end, store, block_s=self.block_s, rules=self.rules)
        for job in jobs:
            yield job, UserError(failures[job.name]) if job.name in failures else None


def build_elsewhere(features: FeatureSet, engine: EngineSettings) -> Store:
    """`FeatureSet.build` on a cluster.

    Raises:
        UserError: after all others are done: recordings that could not be read, together.
    """
    recordings, settings = features.recordings(), features.front_end.settings()
    store = Store.open(features.store_dir, settings, create=True)
    store.check_shards(recordings["sha256"])
    rows = missing(recordings, store).to_dict("records")
    jobs = [Job(row, str(row["file"]), float(row["duration_s"])) for row in rows]
    work = Extraction(
        features.front_end, features.store_dir, features.block_s, features.corpus.rules
    )
    stream = track(done(engine, jobs, work), total=len(jobs), label="features", unit="recordings")
    failures = [str(result) for _, result in stream if isinstance(result, UserError)]
    if failures:
        raise UserError(failed(failures, len(jobs)))
    return Store.open(features.store_dir, settings, create=False)
