"""When exactly an event begins and ends: its frames, weighed by what the shots sound like.

A window says that there is a call; it is many frames long. Each frame is weighed by how the shots'
frames differ from those between them (a linear discriminant with a diagonal covariance, Fisher
1936), and an event's ends are where that weight crosses half of its height, between two frames.

Shapes: T frames, M mel bands.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from g5.detection.embedding.sound import Sound
from g5.detection.events.curve import crossing, runs, smoothed
from g5.detection.support import Target, free
from preprocessing.frontend import FrontEnd

# Share of the bands' mean variance that is added to each band's own: five shots are few.
SHRINK = 0.3
# Seconds of gaps that are enough to know them.
ENOUGH_S = 60.0


@dataclass(frozen=True)
class Outline:
    """How a species' frames stand out, and how its shots' marks lie to that.

    Attributes:
        weight_M, offset: a frame's weight is ``x @ weight + offset``: 1 in shots, 0 between them.
        merge_s: the longest pause within a shot.
        early_s, late_s: by how much marks begin before and end after the crossing, on average.
        level: where an event ends, as a share of its height.
        least_s: shortest event: a frame, or a shot where that is shorter.
    """

    weight_M: np.ndarray
    offset: float
    merge_s: float
    early_s: float
    late_s: float
    level: float
    least_s: float

    @classmethod
    def of(cls, target: Target, front_end: FrontEnd, level: float) -> "Outline":
        """Learn it from the shots and the gaps between them."""
        inside, outside = [], []
        for shot in target.shots:
            first, last = frames_of(shot.start_s, shot.end_s, shot.sound)
            inside.append(shot.sound.normalised(first, last))
        for sound, a, b in target.gaps() or _elsewhere(target):
            first, last = frames_of(a, min(b, a + ENOUGH_S), sound)
            outside.append(sound.normalised(first, last))
        in_TM = np.concatenate(inside)
        out_TM = np.concatenate(outside) if outside else np.zeros((1, in_TM.shape[1]))
        variance_M = out_TM.var(axis=0)
        difference_M = in_TM.mean(axis=0) - out_TM.mean(axis=0)
        weight_M = difference_M / (variance_M + SHRINK * variance_M.mean() + 0.01)
        band = target.band(front_end)
        if band is not None:
            weight_M[: band[0]] = 0.0
            weight_M[band[1] :] = 0.0
        weight_M = weight_M / max(float(difference_M @ weight_M), 1e-9)
        rate_hz = target.shots[0].sound.frame_rate_hz
        outline = cls(
            weight_M, -float(out_TM.mean(axis=0) @ weight_M), 0.0, 0.0, 0.0, level,
            min(1 / rate_hz, float(np.median(target.duration_K))),
        )  # fmt: skip
        return outline._fitted(target, front_end.n_fft / front_end.hop_mel / 2 / rate_hz)

    def _fitted(self, target: Target, smear_s: float) -> "Outline":
        """Pauses and marks' habits, from the shots; a frame hears ``smear_s`` around it."""
        merge: list[float] = []
        early: list[float] = []
        late: list[float] = []
        for shot in target.shots:
            time_T, weight_T = self.weights(shot.sound, shot.start_s, shot.end_s)
            above = runs(weight_T >= self.level * weight_T.max())
            gaps = [time_T[b[0]] - time_T[a[1] - 1] for a, b in pairwise(above)]
            merge.append(float(max(gaps, default=0.0)))
        plain = replace(self, merge_s=float(np.median(merge)))
        for shot in target.shots:
            longest = max(1.5 * shot.duration_s, shot.duration_s + 0.1)
            a, b = plain.ends(shot.sound, shot.start_s, shot.end_s, longest)
            early.append(a - shot.start_s)
            late.append(shot.end_s - b)
        half = max(float(np.median(target.duration_K)) / 2, smear_s)
        return replace(
            plain,
            early_s=float(np.clip(np.median(early), -half, half)),
            late_s=float(np.clip(np.median(late), -half, half)),
        )

    def weights(self, sound: Sound, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and weights of the frames of a stretch, (T,) each."""
        first, last = frames_of(start_s, end_s, sound)
        weight_T = sound.normalised(first, last) @ self.weight_M + self.offset
        return np.arange(first, last) / sound.frame_rate_hz, smoothed(weight_T, 1)

    def ends(
        self, sound: Sound, start_s: float, end_s: float, longest_s: float
    ) -> tuple[float, float]:
        """Begin and end of the call that is loudest within a stretch, at most ``longest_s``."""
        room = max((longest_s - (end_s - start_s)) / 2, 0.0) + 2 / sound.frame_rate_hz
        time_T, weight_T = self.weights(sound, start_s - room, end_s + room)
        core = (time_T >= start_s) & (time_T <= end_s)
        if not core.any():
            return start_s, end_s
        peak = int(np.flatnonzero(core)[np.argmax(weight_T[core])])
        level = self.level * float(weight_T[peak])
        if level <= 0:
            return start_s, end_s
        first, last = _grown(time_T, runs(weight_T >= level), peak, self.merge_s)
        begin = crossing(time_T, weight_T, first, first - 1, level) - self.early_s
        end = crossing(time_T, weight_T, last, last + 1, level) + self.late_s
        length = float(np.clip(end - begin, self.least_s, longest_s))
        if length != end - begin:
            reach = max(longest_s / 2, 2 / sound.frame_rate_hz)
            middle = float(np.clip((begin + end) / 2, time_T[peak] - reach, time_T[peak] + reach))
            begin, end = middle - length / 2, middle + length / 2
        return max(begin, 0.0), min(end, sound.duration_s)


def _grown(time_T: np.ndarray, above: np.ndarray, peak: int, merge_s: float) -> tuple[int, int]:
    """The run around the peak, and its neighbours across pauses that a call may have."""
    at = int(np.flatnonzero((above[:, 0] <= peak) & (peak < above[:, 1]))[0])
    first = last = at
    slack = merge_s + 1e-9
    while first > 0 and time_T[above[first, 0]] - time_T[above[first - 1, 1] - 1] <= slack:
        first -= 1
    while (
        last + 1 < len(above) and time_T[above[last + 1, 0]] - time_T[above[last, 1] - 1] <= slack
    ):
        last += 1
    return int(above[first, 0]), int(above[last, 1] - 1)


def frames_of(start_s: float, end_s: float, sound: Sound) -> tuple[int, int]:
    """First frame centred in a stretch and the one after the last; at least one."""
    rate, count = sound.frame_rate_hz, sound.n_frames
    first, last = int(np.ceil(start_s * rate - 1e-9)), int(np.floor(end_s * rate + 1e-9)) + 1
    if last <= first:
        first = round((start_s + end_s) / 2 * rate)
        last = first + 1
    first = min(max(first, 0), count - 1)
    return first, min(max(last, first + 1), count)


def _elsewhere(target: Target) -> list[tuple[Sound, float, float]]:
    """Whatever is not marked, where nothing lies between the shots."""
    found = []
    for sound in {shot.sound.key: shot.sound for shot in target.shots}.values():
        found += [(sound, a, b) for a, b in free(target.marked[sound.key], 0.0, sound.duration_s)]
    return found
