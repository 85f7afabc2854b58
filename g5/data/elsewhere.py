"""Features that are extracted on the workers of a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from g5.common.errors import DiskError, UserError
from g5.common.progress import track
from g5.config.schema import EngineSettings
from g5.data.parts import FeaturePart, extract_part, forget, join, parts, store_of_parts
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
        part_s: of long recordings that are cut.
        rules: how recordings are read.
    """

    front_end: FrontEnd
    store_dir: Path
    block_s: float
    part_s: float
    rules: AudioRules

    def __call__(self) -> Worker:
        return self.work

    def work(self, jobs: Iterable[Job[FeaturePart]]) -> Iterator[tuple[Job[FeaturePart], Any]]:
        """Extract some recordings, which are kept together, and say what is wrong with which."""
        jobs = list(jobs)
        # As it is now: whoever was at these before may have kept some of them.
        store = Store.open(self.store_dir, self.front_end.settings(), create=True)
        table = pd.DataFrame([job.what.row for job in jobs if job.what.whole])
        own = {"block_s": self.block_s, "rules": self.rules}
        failures = extract(table, self.front_end, store, **own) if len(table) else {}
        for job in jobs:
            try:
                if job.name in failures:
                    raise UserError(failures[job.name])
                if not job.what.whole:
                    extract_part(job.what, self.front_end, self.of_parts(), **own)
            except DiskError:
                raise
            except UserError as error:
                yield job, error
            else:
                yield job, None

    def parts(self, row: dict[str, Any]) -> list[Job[FeaturePart]]:
        """What there is to do of a recording."""
        cut = parts(row, self.front_end, part_s=self.part_s, block_s=self.block_s)
        seconds = float(row["duration_s"]) / len(cut)
        return [Job(part, str(row["file"]), seconds) for part in cut]

    def of_parts(self) -> Store:
        """The store of parts, as it is now."""
        cut = {"part_s": self.part_s, "block_s": self.block_s}
        return store_of_parts(self.store_dir, self.front_end, **cut)


def build_elsewhere(features: FeatureSet, engine: EngineSettings) -> Store:
    """`FeatureSet.build` on a cluster.

    Raises:
        UserError: after all others are done: recordings that could not be read, together.
    """
    recordings, front_end = features.recordings(), features.front_end
    store = Store.open(features.store_dir, front_end.settings(), create=True)
    store.check_shards(recordings["sha256"])
    rows = missing(recordings, store).to_dict("records")
    rules = features.corpus.rules
    work = Extraction(front_end, features.store_dir, features.block_s, engine.part_s, rules)
    jobs = [job for row in rows for job in work.parts({str(k): v for k, v in row.items()})]
    stream = track(done(engine, jobs, work), total=len(jobs), label="features", unit="parts")
    failures: dict[str, str] = {}
    for file, results in groupby(stream, key=lambda pair: pair[0].name):
        found = [(job.what, result) for job, result in results]
        cut = [part for part, _ in found if not part.whole]
        wrong = [str(result) for _, result in found if isinstance(result, UserError)]
        if wrong:
            failures[file] = wrong[0]
        elif cut:
            join(cut, front_end, work.of_parts(), store)
        if cut:
            forget([part.key for part in cut], work.of_parts())
    if failures:
        raise UserError(failed(list(failures.values()), len(rows)))
    return Store.open(features.store_dir, front_end.settings(), create=False)
