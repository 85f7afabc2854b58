"""`g5 plan`: what a search would find of calls like the shots, before any night is searched.

Every shot is pasted into the gaps and looked for by the others.

Shapes: K shots, P pasted calls, S ratios.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from scipy.stats import chi2

from g5.common.errors import UserError
from g5.common.progress import track
from g5.common.words import counted
from g5.config.settings import Settings
from g5.detection.detector import Detector, lies_on
from g5.detection.embedding.sound import Sounds
from g5.detection.job.encoder import detector_named, prepare, weigh
from g5.detection.job.notes import Notes
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.job.support_table import read_targets
from g5.detection.plan.paste import SNR_DB, Pasted, gaps_sound, paste
from g5.detection.support import Target
from preprocessing.audio import content_hash

# Recall that is called enough; of a shot that the others do not find, and its share of theirs.
ENOUGH, POOR = 0.8, 0.5


@dataclass(frozen=True)
class Tried:
    """What was found of one shot, pasted, by the others.

    Attributes:
        name: of the shot.
        own_db: its ratio where it was marked.
        snr_P, found_P: of the pasted calls.
        false: events on nothing that was pasted.
        hours: of sound that holds no pasted call.
    """

    name: str
    own_db: float
    snr_P: np.ndarray
    found_P: np.ndarray
    false: int
    hours: float

    @property
    def recall(self) -> float:
        return float(self.found_P.mean())


def plan(request: DetectionRequest, settings: Settings) -> None:
    """Print the table and the verdict of each species that the support marks.

    Raises:
        UserError: there is nothing to paste, or nothing to paste it into.
    """
    prepare(settings)
    files, notes = request.files(), Notes()
    detector, sounds = detector_named(request, settings)
    reader = RecordingReader(sounds, settings.path.store)
    for file, why in reader.look_at(files).items():
        notes.add(f"{file}: {why}")
    targets, _ = read_targets(
        request, files, reader, sounds.front_end, settings.detection, notes.add
    )
    weigh(detector.embedder, targets)
    for target in targets:
        if len(target.shots) < 2:
            raise UserError(
                f"{target.label}: has one call; each is looked for by the others, mark two or more"
            )
    for target in targets:
        tried, gap_s = try_out(detector, sounds, target)
        print(told(target.label, tried, gap_s))


def try_out(detector: Detector, sounds: Sounds, target: Target) -> tuple[list[Tried], float]:
    """Every shot of a species by the others, and how many seconds lie between them."""
    rate_hz = max(shot.sound.rate_hz for shot in target.shots)
    gaps_T, found = gaps_sound(target, rate_hz), []
    with tempfile.TemporaryDirectory() as folder:
        shots = list(enumerate(target.shots))
        for k, shot in track(shots, total=len(shots), label=target.label, unit="shots"):
            pasted = paste(shot, gaps_T, rate_hz, seed=k)
            path = Path(folder) / f"{k}.wav"
            soundfile.write(path, pasted.samples_T, rate_hz, subtype="FLOAT")
            others = tuple(one for one in target.shots if one is not shot)
            sound = sounds.open(path, content_hash(path))
            events = detector.detect(sound, replace(target, shots=others)).events
            found.append(_tried(shot.name, pasted, events[["start_s", "end_s"]].to_numpy(float)))
    return found, len(gaps_T) / rate_hz


def _tried(name: str, pasted: Pasted, events_E2: np.ndarray) -> Tried:
    calls_s = float(np.diff(pasted.times_P2, axis=1).sum())
    return Tried(
        name, pasted.own_db, pasted.snr_P, lies_on(pasted.times_P2, events_E2),
        int((~lies_on(events_E2, pasted.times_P2)).sum()),
        (len(pasted.samples_T) / pasted.rate_hz - calls_s) / 3600,
    )  # fmt: skip


def told(label: str, tried: Sequence[Tried], gap_s: float) -> str:
    """A species' tables and verdict."""
    snr_P = np.concatenate([one.snr_P for one in tried])
    found_P = np.concatenate([one.found_P for one in tried])
    recall_S = np.array([found_P[snr_P == snr].mean() for snr in SNR_DB])
    width = max(len(one.name) for one in tried)
    return "\n".join([
        f"{label}: {counted(len(tried), 'shot')}, each pasted into the {gap_s:.0f} s between them "
        "and looked "
        "for by the others",
        f"{'call above background':<{width}}" + "".join(f"{snr:5.0f} dB" for snr in SNR_DB),
        f"{'found':<{width}}" + "".join(f"{recall:8.0%}" for recall in recall_S),
        f"{'shot':<{width}}   marked   found",
        *(f"{one.name:<{width}}{one.own_db:6.0f} dB{one.recall:8.0%}" for one in tried),
        *_verdict(tried, recall_S, gap_s),
    ])  # fmt: skip


def _verdict(tried: Sequence[Tried], recall_S: np.ndarray, gap_s: float) -> list[str]:
    enough = [snr for i, snr in enumerate(SNR_DB) if (recall_S[i:] >= ENOUGH).all()]
    lines = [f"verdict: even of loud calls less than {ENOUGH:.0%} are found; mark more"]
    if enough:
        lines = [f"verdict: of calls at {enough[0]:.0f} dB and more {ENOUGH:.0%} or more are found"]
    quietest_db = min(one.own_db for one in tried)
    if quietest_db > (enough[0] if enough else SNR_DB[-1]):
        lines.append(
            f"your shots stand {quietest_db:.0f} dB or more above the background; what is much "
            "quieter counts for less: mark quieter calls, too"
        )
    false, hours = sum(one.false for one in tried), sum(one.hours for one in tried)
    # The same gaps, again and again: they count once.
    own_h = min(gap_s / 3600, hours)
    most = chi2.ppf(0.95, 2 * (false / hours * own_h + 1)) / 2 / own_h
    lines.append(
        f"false alarms: {false / hours:.0f} an hour in the gaps, which are too short to rule out "
        f"{most:.0f}; other sounds than theirs may cause more"
    )
    for one in tried:
        rest = np.median([other.recall for other in tried if other is not one])
        if one.recall < POOR * rest:
            lines.append(
                f"replace {one.name}: the others find {one.recall:.0%} of it, and {rest:.0%} of "
                "each other"
            )
    return lines
