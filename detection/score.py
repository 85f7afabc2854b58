"""Scores by prototypes: how much nearer a window lies to the shots than to what is between them.

Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, with
several negative prototypes as in the DCASE few-shot systems.

Shapes: N windows, K shots, O windows of a shot, G windows of the gaps, D embedding width, C
negative prototypes, P negative peaks.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from archs.protonet import ProtoNet
from conf.check import Count, NotNegative, Positive, Share
from detection.adapt import Space, adapted
from detection.curve import smoothed
from detection.embed import Band, Embedder
from detection.prototypes import clusters, refined
from detection.scorer import GAP_APART, Curve, Scorer, cross_scored
from detection.sound import Sound
from detection.support import Target
from detection.windows import Scale, scales_of

# Windows that are scored at once: a night's are never in memory together.
ROWS = 8192


@dataclass(frozen=True)
class View:
    """The support through the windows of one scale.

    Attributes:
        z_KOD: the shots' windows: the centred one in the middle, others around it.
        gaps_GD: windows of the gaps in order of time.
        at_G: when they are, seconds; recordings lie far apart.
        others_CD: a prototype of each call of another species.
    """

    scale: Scale
    band: Band | None
    z_KOD: Tensor
    gaps_GD: Tensor
    at_G: np.ndarray
    others_CD: Tensor


class PrototypeScorer(Scorer):
    """Nearness to the shots' prototype against the nearest of the negative prototypes.

    Args:
        min_window_s: shortest window, seconds as the encoder hears them.
        max_window_s: longest window; longer calls are seen through several.
        hop: from window to window, as a share of the window.
        max_scales: window lengths at once, where shots' durations differ.
        negative_prototypes: clusters that the gaps are summed up by.
        max_negatives: windows of the gaps that are looked at.
        smooth_windows: windows that the curve is averaged over.
        adapt: ``"none"``, ``"head"`` (a linear head on the embeddings), ``"finetune"`` (a small
            network on them) or ``"transductive"`` (the prototype moves towards what resembles it).
        adapt_steps: steps of it.
        adapt_rate: learning rate of head and finetune.
        adapt_weight: of what is unlabelled against the support (transductive).
        adapt_seed: of what is random in it.
        adapt_max_s: seconds after which it stops.
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
        adapt: Literal["none", "head", "finetune", "transductive"],
        adapt_steps: Count,
        adapt_rate: Positive,
        adapt_weight: Share,
        adapt_seed: NotNegative,
        adapt_max_s: Positive,
    ) -> None:
        self.min_window_s, self.max_window_s = min_window_s, max_window_s
        self.hop, self.max_scales = hop, max_scales
        self.negative_prototypes, self.max_negatives = negative_prototypes, max_negatives
        self.smooth_windows = smooth_windows
        self.adapt = adapt
        self.adaptation: dict[str, Any] = {
            "steps": int(adapt_steps), "rate": adapt_rate, "seed": int(adapt_seed),
            "max_s": adapt_max_s,
        }  # fmt: skip
        self.adapt_weight = adapt_weight
        self._views: dict[Any, View] = {}

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

    def view(self, target: Target, scale: Scale, embedder: Embedder) -> View:
        """The support through one scale; computed once for all recordings."""
        key = (target.label, id(target), scale)
        if key not in self._views:
            band = target.band(embedder.front_end)
            shots = [(s.sound, _around(s.middle_frame, scale)) for s in target.shots]
            others = [(s.sound, _around(s.middle_frame, scale)[1:2]) for s in target.others]
            gaps, at_G = self._gaps(target, scale)
            # In one go: the encoder's batches have one size, and are best full.
            parts = embedder.cut([*shots, *others, *gaps], scale.width, band)
            empty = torch.zeros(0, embedder.model.embedding_dim)
            others_CD = torch.cat([empty, *parts[len(shots) : len(shots) + len(others)]])
            gaps_GD = torch.cat([empty, *parts[len(shots) + len(others) :]])
            z_KOD = torch.stack(parts[: len(shots)])
            self._views[key] = View(scale, band, z_KOD, gaps_GD, at_G, others_CD)
        return self._views[key]

    def _gaps(
        self, target: Target, scale: Scale
    ) -> tuple[list[tuple[Sound, np.ndarray]], np.ndarray]:
        """First frames of windows in the gaps, and when those windows are."""
        starts: list[tuple[int, Sound, np.ndarray]] = []
        for number, (sound, a, b) in enumerate(target.gaps()):
            first, last = a * sound.frame_rate_hz, b * sound.frame_rate_hz
            if last - first >= scale.width:
                count = int((last - first - scale.width) // scale.hop) + 1
                starts.append((number, sound, np.ceil(first) + np.arange(count) * scale.hop))
        total = sum(len(s) for _, _, s in starts)
        keep = max(1, -(-total // self.max_negatives))
        gaps: list[tuple[Sound, np.ndarray]] = []
        at: list[np.ndarray] = [np.zeros(0)]
        for number, sound, starts_N in starts:
            chosen = starts_N[::keep].astype(np.int64)
            gaps.append((sound, chosen))
            at.append(GAP_APART * number + (chosen + (scale.width - 1) / 2) / sound.frame_rate_hz)
        return gaps, np.concatenate(at)

    # --- the curve --------------------------------------------------------------------------

    def curve(self, sound: Sound, target: Target, embedder: Embedder) -> Curve:
        curves = [
            self._one_scale(sound, target, scale, embedder)
            for scale in self.scales(sound, target, embedder.stride)
        ]
        return curves[0] if len(curves) == 1 else _combined(curves)

    def _one_scale(self, sound: Sound, target: Target, scale: Scale, embedder: Embedder) -> Curve:
        view = self.view(target, scale, embedder)
        grid_ND = embedder.grid(sound, scale, view.band)
        notes: tuple[str, ...] = ()
        gaps_GD, at_G = view.gaps_GD, view.at_G
        if not len(gaps_GD):
            # Nothing between the shots to learn from: what is usual in the recording must do.
            few = np.unique(np.linspace(0, len(grid_ND) - 1, 256).astype(int))
            gaps_GD, at_G = grid_ND[few].float(), few * scale.hop / sound.frame_rate_hz
            notes = (
                f"{target.label}: nothing lies between the shots; what is usual in the recording "
                "counts as background",
            )
        fit = Fit(self, embedder.model, view, gaps_GD, grid_ND)
        positive_K = np.array([fit.left_out(k) for k in range(len(view.z_KOD))])
        negative_G = cross_scored(len(gaps_GD), fit.negative)
        score_N, distance_N, nearest_N = fit.scores(grid_ND)
        reach_s = scale.width / sound.frame_rate_hz
        return Curve(
            time_N=scale.centres(sound.n_frames) / sound.frame_rate_hz,
            score_N=smoothed(score_N, self.smooth_windows),
            positive_K=positive_K,
            negative_G=negative_G,
            negative_at_G=at_G,
            reach_s=reach_s,
            distance_N=distance_N,
            nearest_N=nearest_N,
            notes=notes,
        )


class Fit:
    """Prototypes of one species at one scale, and what they say of embeddings."""

    def __init__(
        self, scorer: PrototypeScorer, model: ProtoNet, view: View, gaps_GD: Tensor,
        grid_ND: Tensor,
    ) -> None:  # fmt: skip
        self.scorer = scorer
        self.model = model
        self.view = view
        self.middle_KD = view.z_KOD[:, view.z_KOD.shape[1] // 2]
        self.gaps_GD = gaps_GD
        self.grid_ND = grid_ND
        everything = range(len(self.middle_KD))
        self.all = self.space(list(everything), np.arange(len(gaps_GD)))

    def space(self, shots: list[int], gaps: np.ndarray) -> Space:
        """The model of these shots and gaps alone."""
        count = self.scorer.negative_prototypes
        negative_GD = self.gaps_GD[torch.from_numpy(gaps)]
        negative_CD = torch.cat([clusters(negative_GD, count), self.view.others_CD])
        positive_D = self.middle_KD[shots].mean(dim=0)
        if self.scorer.adapt == "transductive":
            few = np.unique(np.linspace(0, len(self.grid_ND) - 1, 2048).astype(int))
            positive_D = refined(
                positive_D, negative_CD, self.grid_ND[few].float(),
                steps=self.scorer.adaptation["steps"], temperature=0.1,
                weight=self.scorer.adapt_weight,
            )  # fmt: skip
        return adapted(
            self.scorer.adapt, self.model, positive_D, negative_CD,
            self.view.z_KOD[shots].flatten(0, 1),
            torch.cat([negative_GD, self.view.others_CD]),
            **self.scorer.adaptation,
        )  # fmt: skip

    def left_out(self, shot: int) -> float:
        """The best score around a shot by what the others say."""
        others = [k for k in range(len(self.middle_KD)) if k != shot] or [shot]
        space = self.space(others, np.arange(len(self.gaps_GD)))
        return float(space.score(self.view.z_KOD[shot]).max())

    def negative(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Scores of some gap windows by a model of the others."""
        space = self.space(list(range(len(self.middle_KD))), train)
        return space.score(self.gaps_GD[torch.from_numpy(test)]).numpy()

    @torch.inference_mode()
    def scores(self, grid_ND: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, distance to the prototype and nearest shot of every window, (N,) each."""
        scores, distances, nearest = [], [], []
        for block_ND in grid_ND.split(ROWS):
            z_ND = block_ND.float()
            scores.append(self.all.score(z_ND))
            distances.append((z_ND - self.all.positive_D).norm(dim=1))
            nearest.append(torch.cdist(z_ND, self.middle_KD).argmin(dim=1).int())
        return (
            torch.cat(scores).numpy().astype(np.float64),
            torch.cat(distances).numpy(),
            torch.cat(nearest).numpy(),
        )


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
    positive_K = np.zeros(len(first.positive_K))
    for curve in curves:
        high = float(np.median(curve.positive_K))
        low = float(curve.negative_G.mean()) if len(curve.negative_G) else high - 1
        share = 1 / len(curves) / max(high - low, 1e-6)
        score_N += share * (np.interp(time_N, curve.time_N, curve.score_N) - low)
        positive_K += share * (curve.positive_K - low)
        if len(curve.negative_G):
            negative_G += share * (np.interp(at_G, curve.negative_at_G, curve.negative_G) - low)
    nearest = np.searchsorted(first.time_N, time_N).clip(0, len(first.time_N) - 1)
    return Curve(
        time_N=time_N,
        score_N=score_N,
        positive_K=positive_K,
        negative_G=negative_G,
        negative_at_G=at_G,
        reach_s=first.reach_s,
        distance_N=first.distance_N[nearest],
        nearest_N=first.nearest_N[nearest],
        notes=tuple(dict.fromkeys(note for curve in curves for note in curve.notes)),
    )
