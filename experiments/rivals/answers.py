"""Any encoder on the episodes of g5's own test: a vector a clip, nearest prototype.

Shapes: P clips of a plan, S samples, D embedding width, A answers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from archs.prototypes import unit
from experiments.v2_vs_v1.sets import EPISODES, TestSet
from g5.config.parts import corpus_of, feature_set_of
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.evaluation.episodes.scoring import Scorer, evaluate_episodes
from g5.tracking.restore import Restored
from preprocessing import audio
from preprocessing.audio_rules import READ_ALL
from preprocessing.episodes.plans import ClipPlan, plan_clips
from preprocessing.normalize import SMALLEST_STD

Span = tuple[str, float, float]  # file, start and end, seconds


@dataclass(frozen=True)
class Episodes:
    """The episodes of a test set, and the clips that they are made of."""

    plan: ClipPlan
    clips: pd.DataFrame
    labels: list[str]


def episodes_of(ours: Restored, test_set: TestSet, home: Path) -> Episodes:
    """Those that `AnswerStore` tests our encoder on."""
    settings = test_set.settings(ours, home)
    corpus = corpus_of(settings)
    reader = feature_set_of(settings, corpus, ours.front_end).reader("test")
    events = corpus.split("test")
    sampler = test_set.protocol.sampler(events, "test", reader)
    plan = plan_clips(sampler.episodes(0, EPISODES))
    rows = events.iloc[plan.rows.numpy()].reset_index(drop=True)
    return Episodes(plan, rows, corpus.labels("test"))


@torch.inference_mode()
def clip_vectors(encoder: LoadedEncoder, episodes: Episodes, known: dict[Span, Tensor]) -> Tensor:
    """A vector of each clip's loudest window, (P, D); what is shorter is centred in silence.

    ``known``: the encoder's vectors of clips so far; sets share clips.
    """
    vectors = []
    spans = episodes.clips[["file", "start_s", "end_s"]].itertuples(index=False, name=None)
    for span in spans:
        if span not in known:
            file, start_s, end_s = span
            wave_S = audio.read(file, READ_ALL, start_s=start_s, end_s=end_s, rate_hz=encoder.sr)
            window_1S = torch.from_numpy(_window(wave_S, encoder.window_samples))[None]
            known[span] = encoder.forward(window_1S)[0]
        vectors.append(known[span])
    return torch.stack(vectors)


def _window(wave_S: np.ndarray, samples: int) -> np.ndarray:
    if len(wave_S) <= samples:
        before = (samples - len(wave_S)) // 2
        return np.pad(wave_S, (before, samples - len(wave_S) - before)).astype(np.float32)
    energy_S = np.concatenate([[0.0], np.cumsum(wave_S.astype(np.float64) ** 2)])
    start = int(np.argmax(energy_S[samples:] - energy_S[:-samples]))
    return wave_S[start : start + samples].astype(np.float32)


def standardised(z_PD: Tensor, training: Tensor | None) -> Tensor:
    """Vectors of length 1, each number standardised by other clips first, where there are any."""
    if training is not None:
        std_D, mean_D = torch.std_mean(training, dim=0, correction=0)
        z_PD = (z_PD - mean_D) / torch.where(std_D > SMALLEST_STD, std_D, 1.0)
    return unit(z_PD)


def hits(scorer: Scorer, z_PD: Tensor, episodes: Episodes) -> np.ndarray:
    """Right or wrong, (A,), as `AnswerStore` keeps them."""
    return evaluate_episodes(scorer, z_PD, episodes.plan, episodes.labels).hit_A
