"""When exactly an event begins and ends: its frames, and how long the shots are.

A window says that there is a call; it is many frames long. Each frame is weighed by how the shots'
frames differ from those between them (a linear discriminant with a diagonal covariance, Fisher
1936). Of all stretches around the loudest frame, the event is the one whose frames stand out most
and whose length is likeliest: noise moves either end, and the shots say what to expect.

Shapes: T frames, M mel bands, A beginnings, B ends.
"""

from dataclasses import dataclass

import numpy as np

from g5.detection.embedding.sound import Sound
from g5.detection.events.curve import crossing
from g5.detection.support import Target, free
from preprocessing.frontend import FrontEnd

# Share of the bands' mean variance that is added to each band's own: five shots are few.
SHRINK = 0.3
# Seconds of gaps that are enough to know them.
ENOUGH_S = 60.0
# What the frames' evidence counts for beside the shots' lengths, for a median shot of it.
EVIDENCE = 2.0
# The logarithm of lengths deviates by so much before any shot is seen, worth so many shots.
USUAL_SPREAD, WORTH = 0.4, 3.0
# The event's middle deviates from the window's by this share of the median shot, and by so many
# of the steps between windows.
OFF_MIDDLE, OFF_STEPS = 0.5, 2.0
# Beginnings and ends that are tried.
TRIED = 400


@dataclass(frozen=True)
class Durations:
    """How long calls are: a log-normal distribution, its spread drawn towards the usual one.

    Attributes:
        median_s: of the shots.
        spread: deviation of the logarithm.
    """

    median_s: float
    spread: float

    @classmethod
    def of(cls, duration_K: np.ndarray) -> "Durations":
        """From the shots'."""
        log_K = np.log(duration_K)
        total = np.square(log_K - log_K.mean()).sum() + WORTH * USUAL_SPREAD**2
        return cls(float(np.exp(log_K.mean())), float(np.sqrt(total / (len(log_K) + WORTH))))

    def log_odds(self, length: np.ndarray) -> np.ndarray:
        """Log-likelihood of lengths, seconds, over that of the median."""
        return -np.square(np.log(length / self.median_s) / self.spread) / 2


@dataclass(frozen=True)
class Outline:
    """How a species' frames stand out, and how long its calls are.

    Attributes:
        weight_M, offset: a frame's weight is ``x @ weight + offset``: 1 in shots, 0 between them.
        durations: of its calls.
        level: frames below this share of the loudest one speak against the event.
    """

    weight_M: np.ndarray
    offset: float
    durations: Durations
    level: float

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
        offset = -float(out_TM.mean(axis=0) @ weight_M)
        return cls(weight_M, offset, Durations.of(target.duration_K), level)

    def weights(self, sound: Sound, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and weights of the frames of a stretch, (T,) each."""
        first, last = frames_of(start_s, end_s, sound)
        weight_T = sound.normalised(first, last) @ self.weight_M + self.offset
        return np.arange(first, last) / sound.frame_rate_hz, weight_T

    def ends(
        self, sound: Sound, start_s: float, end_s: float, longest_s: float, *, step_s: float
    ) -> tuple[float, float]:
        """Begin and end of the call that is loudest within a stretch, at most ``longest_s``.

        Args:
            step_s: between windows: the stretch is known no better.
        """
        room = longest_s + 2 / sound.frame_rate_hz
        time_T, weight_T = self.weights(sound, start_s - room, end_s + room)
        core = (time_T >= start_s) & (time_T <= end_s)
        if not core.any():
            return start_s, end_s
        peak = int(np.flatnonzero(core)[np.argmax(weight_T[core])])
        height = float(weight_T[peak])
        if height <= 0:
            return start_s, end_s
        weight_T /= height
        off_s = float(np.hypot(OFF_MIDDLE * self.durations.median_s, OFF_STEPS * step_s))
        first, last = self._likeliest(
            time_T, weight_T, peak, (start_s + end_s) / 2, longest_s, off_s
        )
        begin = _edge(time_T, weight_T, first, first - 1, self.level)
        end = _edge(time_T, weight_T, last, last + 1, self.level)
        if end - begin > longest_s:
            middle = (begin + end) / 2
            begin, end = middle - longest_s / 2, middle + longest_s / 2
        return max(begin, 0.0), min(end, sound.duration_s)

    def _likeliest(
        self, time_T: np.ndarray, weight_T: np.ndarray, peak: int, middle_s: float,
        longest_s: float, off_s: float,
    ) -> tuple[int, int]:  # fmt: skip
        """First and last frame of the likeliest stretch around the peak, whose weight is 1."""
        step_s = float(time_T[1] - time_T[0]) if len(time_T) > 1 else longest_s
        skip = max(1, round(longest_s / step_s / TRIED))
        first_A1 = np.arange(peak, -1, -skip)[:, None]
        last_B = np.arange(peak, len(time_T), skip)
        evidence_T = np.clip(weight_T - self.level, -1, 1) * step_s / self.durations.median_s
        total = np.concatenate([[0.0], np.cumsum(evidence_T)])
        length_AB = (last_B - first_A1 + 1) * step_s
        off_AB = (time_T[first_A1] + time_T[last_B]) / 2 - middle_s
        odds_AB = (
            EVIDENCE * (total[last_B + 1] - total[first_A1])
            + self.durations.log_odds(length_AB)
            - np.square(off_AB / off_s) / 2
        )
        odds_AB[length_AB > longest_s + step_s] = -np.inf
        a, b = np.unravel_index(int(np.argmax(odds_AB)), odds_AB.shape)
        return int(first_A1[a, 0]), int(last_B[b])


def _edge(
    time_T: np.ndarray, weight_T: np.ndarray, inside: int, outside: int, level: float
) -> float:
    """Where the weight crosses the level between two frames; half way where it does not."""
    if 0 <= outside < len(time_T) and weight_T[inside] >= level > weight_T[outside]:
        return crossing(time_T, weight_T, inside, outside, level)
    half = (time_T[1] - time_T[0]) / 2 if len(time_T) > 1 else 0.0
    return float(time_T[inside] + np.sign(outside - inside) * half)


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
