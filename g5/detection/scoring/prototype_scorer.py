"""Scores by prototypes: how much nearer a window lies to the shots than to what is between them.

Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, with
several negative prototypes as in the DCASE few-shot systems.

Shapes: N windows, K shots, G windows of the gaps.
"""

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from g5.common.errors import UserError
from g5.config.check import Count, Positive, Share
from g5.detection.embedding.embedder import Piece, WindowEmbedder
from g5.detection.embedding.sound import Sound
from g5.detection.embedding.windows import Scale, scales_of
from g5.detection.events.curve import smoothed
from g5.detection.scoring.fit import Fit, SupportWindows, second_kind, unlike_shots
from g5.detection.scoring.scorer import GAP_APART, Curve, CurveScorer
from g5.detection.support import Target

# Windows of the recording itself, where nothing lies between the shots.
USUAL = 256


class PrototypeScorer(CurveScorer):
    """Nearness to the shots against that to negative prototypes.

    Args:
        min_window_s: shortest window, seconds as the encoder hears them.
        max_window_s: longest window; longer calls are seen through several.
        hop: from window to window, as a share of the window.
        max_scales: window lengths at once, where shots' durations differ.
        negative_prototypes: clusters that the gaps are summed up by.
        max_negatives: windows of the gaps that are looked at.
        smooth_windows: windows that the curve is averaged over.
    """

    def __init__(
        self,
        *,
        min_window_s: Positive,
        max_window_s: Positive,
        hop: Share,
        max_scales: Count,
        negative_prototypes: Count,
        max_negatives: Count,
        smooth_windows: Count,
    ) -> None:
        if min_window_s > max_window_s:
            raise UserError(
                f"detection.min_window_s: must be at most max_window_s ({max_window_s:g}), not "
                f"{min_window_s:g}"
            )
        self.min_window_s, self.max_window_s = min_window_s, max_window_s
        self.hop, self.max_scales = hop, max_scales
        self.smooth_windows, self.max_negatives = smooth_windows, max_negatives
        self.negative_prototypes = negative_prototypes
        self._fits: WeakKeyDictionary[Target, dict[Scale, Fit]] = WeakKeyDictionary()

    # --- the support ------------------------------------------------------------------------

    def scales(self, sound: Sound, target: Target, stride: int) -> list[Scale]:
        """The windows for a species in a recording."""
        # What the encoder hears: windows are as long as the shots are to it.
        heard_K = [shot.duration_s * shot.sound.frame_rate_hz for shot in target.shots]
        heard_hz = sound.frame_rate_hz / sound.slow
        return scales_of(
            heard_K,
            min_frames=self.min_window_s * heard_hz,
            max_frames=self.max_window_s * heard_hz,
            hop=self.hop,
            stride=stride,
            max_scales=self.max_scales,
        )

    def windows(self, target: Target, scale: Scale, embedder: WindowEmbedder) -> SupportWindows:
        """Where the support's windows are."""
        gaps, at_G = self._gaps(target, scale)
        return SupportWindows(
            scale,
            target.band(embedder.front_end),
            [(shot.sound, _around(shot.middle_frame, scale)) for shot in target.shots],
            [(shot.sound, _around(shot.middle_frame, scale)[1:2]) for shot in target.rivals],
            gaps,
            at_G,
        )

    def _gaps(self, target: Target, scale: Scale) -> tuple[list[Piece], np.ndarray]:
        """First frames of windows in the gaps, and when those windows are."""
        starts: list[tuple[int, Sound, np.ndarray]] = []
        for number, (sound, a, b) in enumerate(target.gaps()):
            first, last = a * sound.frame_rate_hz, b * sound.frame_rate_hz
            if last - first >= scale.width:
                count = int((last - first - scale.width) // scale.hop) + 1
                starts.append((number, sound, np.ceil(first) + np.arange(count) * scale.hop))
        total = sum(len(s) for _, _, s in starts)
        keep = max(1, -(-total // self.max_negatives))
        gaps: list[Piece] = []
        at: list[np.ndarray] = [np.zeros(0)]
        for number, sound, starts_N in starts:
            chosen = starts_N[::keep].astype(np.int64)
            gaps.append((sound, chosen))
            at.append(GAP_APART * number + (chosen + (scale.width - 1) / 2) / sound.frame_rate_hz)
        return gaps, np.concatenate(at)

    # --- the curve --------------------------------------------------------------------------

    def curve(self, sound: Sound, target: Target, embedder: WindowEmbedder) -> Curve:
        curves = [
            self._one_scale(sound, target, scale, embedder)
            for scale in self.scales(sound, target, embedder.stride)
        ]
        return curves[0] if len(curves) == 1 else _combined(curves)

    def _one_scale(
        self, sound: Sound, target: Target, scale: Scale, embedder: WindowEmbedder
    ) -> Curve:
        fit, notes = self._fit(sound, target, scale, embedder)
        if sound.n_frames < scale.width:
            notes = (*notes, "is shorter than a window, and repeated to fill one")
        score_N, distance_N, nearest_N = fit.scores(embedder.grid(sound, scale, fit.windows.band))
        return Curve(
            time_N=scale.centres(sound.n_frames) / sound.frame_rate_hz,
            score_N=smoothed(score_N, self.smooth_windows),
            positive_K=fit.positive_K,
            negative_G=fit.negative_G,
            negative_at_G=fit.windows.at_G,
            rival_C=fit.rival_C,
            reach_s=scale.width / sound.frame_rate_hz,
            distance_N=distance_N,
            nearest_N=nearest_N,
            notes=notes,
            second_kind=second_kind(fit.embedded, embedder.model),
        )

    def _fit(
        self, sound: Sound, target: Target, scale: Scale, embedder: WindowEmbedder
    ) -> tuple[Fit, tuple[str, ...]]:
        """What the support says, made once where it does not depend on the recording; notes."""
        fits = self._fits.setdefault(target, {})
        if scale in fits:
            return fits[scale], ()
        windows, notes = self.windows(target, scale, embedder), ()
        n_windows = scale.count(sound.n_frames)
        if not windows.gaps:
            # Nothing between the shots to learn from: what is usual in the recording must do.
            starts_N = _spread(n_windows, USUAL) * scale.hop
            at_G = starts_N / sound.frame_rate_hz
            windows = replace(windows, gaps=[(sound, starts_N)], at_G=at_G)
            notes = (
                f"{target.label}: nothing lies between the shots; what is usual in the recording "
                "counts as background",
            )
        embedded = windows.embedded_by(embedder)
        if target.negatives == "everything" and windows.gaps and len(target.shots) > 1:
            reach_s = scale.width / sound.frame_rate_hz
            keep = unlike_shots(embedded, embedder.model, windows.at_G, reach_s)
            windows = replace(windows, at_G=windows.at_G[keep])
            embedded = replace(embedded, gaps_GD=embedded.gaps_GD[keep])
        fit = Fit(windows, embedded, embedder.model, self.negative_prototypes)
        if not notes:
            fits[scale] = fit
        return fit, notes


def _spread(count: int, wanted: int) -> np.ndarray:
    """At most so many of ``count`` numbers, evenly."""
    return np.unique(np.linspace(0, count - 1, wanted).astype(int))


def _around(middle_frame: float, scale: Scale) -> np.ndarray:
    """Starts of a window centred on a shot and of one a little earlier and one later."""
    start = round(middle_frame - (scale.width - 1) / 2)
    step = max(1, scale.hop // 2)
    return np.array([start - step, start, start + step])


def _combined(curves: list[Curve]) -> Curve:
    """Several scales as one: each on a common ruler, on the finest of their grids, their mean.

    Distance and nearest shot are those of the first.
    """
    first = curves[0]
    finest = max(curves, key=lambda curve: len(curve.time_N))
    deepest = max(curves, key=lambda curve: len(curve.negative_G))
    time_N, at_G = finest.time_N, deepest.negative_at_G
    score_N, negative_G = np.zeros(len(time_N)), np.zeros(len(at_G))
    positive_K, rival_C = np.zeros(len(first.positive_K)), np.zeros(len(first.rival_C))
    for curve in curves:
        high = float(np.median(curve.positive_K))
        low = float(curve.negative_G.mean()) if len(curve.negative_G) else high - 1
        share = 1 / len(curves) / max(high - low, 1e-6)
        score_N += share * (np.interp(time_N, curve.time_N, curve.score_N) - low)
        positive_K += share * (curve.positive_K - low)
        rival_C += share * (curve.rival_C - low)
        if len(curve.negative_G):
            negative_G += share * (np.interp(at_G, curve.negative_at_G, curve.negative_G) - low)
    nearest = np.searchsorted(first.time_N, time_N).clip(0, len(first.time_N) - 1)
    return Curve(
        time_N=time_N,
        score_N=score_N,
        positive_K=positive_K,
        negative_G=negative_G,
        negative_at_G=at_G,
        rival_C=rival_C,
        reach_s=first.reach_s,
        distance_N=first.distance_N[nearest],
        nearest_N=first.nearest_N[nearest],
        notes=tuple(dict.fromkeys(note for curve in curves for note in curve.notes)),
        second_kind=first.second_kind,
    )
