"""Detection: windows, embeddings, thresholds, curves, boundaries, and the verb from end to end."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from archs.v1.arch import ProtoNetV1
from archs.v2.arch import ProtoNetV2
from g5.common.errors import UserError
from g5.config.node import Node
from g5.config.settings import load
from g5.config.stored import first_name, updated
from g5.detection.detector import Detector
from g5.detection.embedding.embedder import WindowEmbedder, in_order
from g5.detection.embedding.sound import Sound, Sounds
from g5.detection.embedding.windows import Scale, scales_of
from g5.detection.events.curve import EventShape, crossing, hysteresis, joined, maxima, smoothed
from g5.detection.events.threshold import calibrate
from g5.detection.job.results import picture_of
from g5.detection.scoring.finetune import finetuned
from g5.detection.scoring.prototypes import clusters, refined
from g5.detection.scoring.scorer import cross_scored, peaks
from g5.detection.scoring.template_scorer import correlated
from g5.detection.support import free, targets_of
from g5.tracking.restore import Restored
from g5.training.fit import StepBudget
from preprocessing import audio
from preprocessing.audio import content_hash
from preprocessing.frontend import LogMel
from preprocessing.normalize import Normalize
from tests.conftest import ROOT, run_g5, run_train

RATE = 8000
CPU = torch.device("cpu")
MEL = {"sr": RATE, "n_fft": 256, "hop_mel": 128, "n_mels": 16, "fmin": 50, "fmax": 4000}


def chirp(seconds: float, low_hz: float, high_hz: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (low_hz * t + (high_hz - low_hz) * t**2 / (2 * seconds))
    return 0.5 * np.sin(phase) * np.hanning(len(t)) ** 0.25


def soundscape(seconds: float, calls: dict[float, np.ndarray], seed: int = 0) -> np.ndarray:
    x = 0.01 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    for start, call in calls.items():
        first = round(start * RATE)
        x[first : first + len(call)] += call
    return x.astype(np.float32)


UP, DOWN = chirp(0.3, 600, 1800), chirp(0.3, 3500, 2500)
CALLS_S = [1.0, 3.1, 5.3, 7.2, 9.4, 13.0, 15.5, 18.2, 21.1, 24.6]
OTHERS_S = [2.0, 6.1, 8.3, 11.7, 16.9, 19.9, 23.0]


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    """Thirty seconds with ten rising and seven falling calls."""
    path = tmp_path_factory.mktemp("night") / "night.wav"
    calls = {**dict.fromkeys(CALLS_S, UP), **dict.fromkeys(OTHERS_S, DOWN)}
    soundfile.write(path, soundscape(30, calls), RATE)
    return path


def restored(arch: str) -> Restored:
    """An untrained encoder, which random projections make a fair judge of likeness."""
    torch.manual_seed(0)
    distance = {"distance": "euclidean", "cosine_scale": 1.0, "normalize": "none"}
    if arch == "v1":
        model = ProtoNetV1(channels=[8, 16], dropout=0.0, **distance)
    else:
        model = ProtoNetV2(
            channels=[8, 16], se_reduction=4, attention_heads=2, dropout=0.0, embedding_dim=32,
            distance_hidden=[8], distance_share=0.05, frequency_bins=2, band_statistics=4,
            **distance,
        )  # fmt: skip
    # Statistics as if it had been trained.
    model(torch.randn(8, 1, 16, 40))
    model.eval()
    config = {"arch": {"model": {"of": arch}}}
    normalize = Normalize(mode="recording", n_mels=16)
    return Restored(model, LogMel(**MEL, floor_db=-100), normalize, config, {}, {}, Path("x.ckpt"))


def opened(path: Path, store: Path, **more) -> Sound:
    settings = {"sr": "checkpoint", "time_expansion": 1.0, "block_s": 3.0, **more}
    return Sounds(LogMel(**MEL, floor_db=-100), store, **settings).open(path, content_hash(path))


def embedder(arch: str, store: Path, workers: int = 1, share: bool = True) -> WindowEmbedder:
    return WindowEmbedder(restored(arch), store, device=CPU, batch=8, workers=workers, share=share)


# --- windows ------------------------------------------------------------------------------------


def test_windows_follow_the_shots():
    settings = {"min_frames": 10, "max_frames": 100, "hop": 0.25, "stride": 0, "max_scales": 3}
    assert scales_of([20, 20, 20], **settings) == [Scale(20, 5)]
    assert scales_of([1, 1], **settings) == [Scale(10, 3)]
    assert scales_of([1e4], **settings) == [Scale(100, 25)]
    assert len(scales_of([10, 40, 100], **settings)) == 3
    assert len(scales_of([10, 40, 100], **{**settings, "max_scales": 1})) == 1


def test_windows_of_a_sharing_encoder_are_multiples_of_its_stride():
    settings = {"min_frames": 4, "max_frames": 200, "hop": 0.25, "max_scales": 1}
    (scale,) = scales_of([90], stride=8, **settings)
    assert scale.width % 8 == 0 == scale.hop % 8
    (short,) = scales_of([20], stride=8, **settings)
    assert short.width < 32, "too short to share is cut one by one"


def test_every_window_lies_in_the_recording():
    scale = Scale(10, 3)
    assert scale.count(30) == 7
    assert scale.centres(30)[-1] + 4.5 <= 29
    assert scale.count(4) == 1


# --- embeddings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_output_is_the_same_for_any_workers_and_blocks(arch, night, tmp_path):
    grids = []
    for workers, block_s in ((1, 3.0), (3, 0.7), (2, 100.0)):
        store = tmp_path / f"{workers}"
        sound = opened(night, store, block_s=block_s)
        grids.append(embedder(arch, store, workers).grid(sound, Scale(40, 8), None).clone())
    assert torch.equal(grids[0], grids[1])
    assert torch.equal(grids[0], grids[2])


def test_shared_windows_equal_windows_cut_one_by_one(night, tmp_path):
    sound = opened(night, tmp_path)
    for scale in (Scale(40, 8), Scale(32, 16), Scale(200, 48)):
        shared = embedder("v1", tmp_path)
        assert shared.shares(scale)
        starts = np.arange(scale.count(sound.n_frames)) * scale.hop
        (cut,) = shared.cut([(sound, starts)], scale.width, None)
        grid = shared.grid(sound, scale, None).float()
        assert grid.shape == cut.shape
        torch.testing.assert_close(grid, cut, rtol=2e-3, atol=2e-3)


def test_a_grid_is_made_once(night, tmp_path, monkeypatch):
    sound = opened(night, tmp_path)
    first = embedder("v2", tmp_path).grid(sound, Scale(20, 5), None)
    monkeypatch.setattr(WindowEmbedder, "_forward", None)
    assert torch.equal(embedder("v2", tmp_path).grid(sound, Scale(20, 5), None), first)


def test_a_band_is_all_that_is_heard(night, tmp_path):
    sound = opened(night, tmp_path)
    one = embedder("v2", tmp_path)
    starts = np.array([50])
    (low,) = one.cut([(sound, starts)], 20, (0, 4))
    (full,) = one.cut([(sound, starts)], 20, None)
    assert not torch.allclose(low, full)
    louder = sound.features_TM.clone()
    louder[:, 8:] += 30
    changed = Sound(**{**vars(sound), "features_TM": louder})
    torch.testing.assert_close(one.cut([(changed, starts)], 20, (0, 4))[0], low)


def test_a_recording_shorter_than_a_window_is_repeated(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, soundscape(0.2, {}), RATE)
    for arch in ("v1", "v2"):
        grid = embedder(arch, tmp_path).grid(opened(path, tmp_path), Scale(40, 8), None)
        assert len(grid) == 1
        assert grid.isfinite().all()


def test_work_comes_back_in_order_with_one_thread_each():
    before = torch.get_num_threads()
    seen = list(in_order(lambda i: (i, torch.get_num_threads()), range(20), 3))
    assert seen == [(i, 1) for i in range(20)]
    assert torch.get_num_threads() == before


# --- rates --------------------------------------------------------------------------------------


def test_native_equals_the_recording_played_at_the_front_ends_rate(tmp_path):
    fast, slow = tmp_path / "bat.wav", tmp_path / "slowed.wav"
    x = soundscape(4, {1.0: UP})
    soundfile.write(fast, x, 250_000)
    soundfile.write(slow, x, RATE)
    native = opened(fast, tmp_path, sr="native")
    assert torch.equal(native.features_TM, opened(slow, tmp_path).features_TM)
    assert native.slow == 250_000 / RATE
    assert native.frame_rate_hz == 250_000 / 128
    # A rate that far away is native by itself, and so is one far below.
    assert opened(fast, tmp_path, sr="auto").slow == native.slow
    soundfile.write(fast, x, 1000)
    assert opened(fast, tmp_path, sr="auto").slow == 1000 / RATE


def test_time_expansion_slows_a_recording_down(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, soundscape(2, {}), RATE)
    sound = opened(path, tmp_path, time_expansion=2.0)
    assert sound.slow == 2.0
    assert abs(sound.n_frames - 2 * 2 * RATE / 128) < 4
    assert sound.n_frames / sound.frame_rate_hz == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("size", [0, 1200, 0xFFFFFFFF, 10**7])
def test_a_wav_with_a_wrong_length_is_read_to_its_end(size, tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, soundscape(2, {0.5: UP}), RATE, subtype="PCM_16")
    whole = audio.read(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    head = audio.info(path, to_end=True)
    assert head.frames == len(whole)
    assert "end of the file" in head.note
    assert np.array_equal(audio.read(path, to_end=True), whole)


def test_a_wav_with_a_right_length_has_no_note(night):
    assert audio.info(night, to_end=True) == audio.info(night)


# --- prototypes, thresholds, curves -------------------------------------------------------------


def test_clusters_find_far_apart_groups_and_repeat_themselves():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(20, 3) + 20 * i for i in range(3)])
    centres = clusters(x, 3)
    assert len(centres) == 3
    assert torch.equal(centres, clusters(x, 3))
    assert sorted(centres.mean(1).round().div(20).round().tolist()) == [0, 1, 2]
    assert len(clusters(x[:2], 5)) == 2


def test_refinement_moves_towards_what_resembles_and_no_further():
    positive, negative = torch.zeros(2), torch.full((1, 2), 10.0)
    x = torch.cat([torch.full((5, 2), 1.0), torch.full((50, 2), 10.0)])
    moved = refined(positive, negative, x, steps=3, temperature=0.1, weight=0.5)
    torch.testing.assert_close(moved, torch.tensor([0.5, 0.5]))


def test_the_threshold_lies_between_shots_and_negatives():
    positive = np.array([5.0, 6.0, 5.5, 6.2, 5.1])
    negative = np.random.default_rng(0).normal(0, 1, 200)
    found = calibrate(positive, negative, prior_spread=0.25, lean=0.5)
    assert negative.max() < found.threshold < positive.min()
    assert found.probability(np.array([found.threshold])) == pytest.approx(0.5)
    assert found.expected_f > 0.9
    hopeless = calibrate(positive - 5.5, negative, prior_spread=0.25, lean=0.5)
    assert hopeless.expected_f < 0.5


def test_the_threshold_follows_the_scale_of_the_scores():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(5, 1, 5), rng.normal(0, 1, 50)
    one = calibrate(positive, negative, prior_spread=0.25, lean=0.5)
    ten = calibrate(10 * positive + 3, 10 * negative + 3, prior_spread=0.25, lean=0.5)
    assert ten.threshold == pytest.approx(10 * one.threshold + 3, abs=0.3)


def test_negatives_are_scored_by_models_that_have_not_seen_them():
    seen = []

    def score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        seen.append(set(train) & set(test))
        return test.astype(float)

    assert np.array_equal(cross_scored(20, score), np.arange(20.0))
    assert seen == [set(), set()]


def test_peaks_lie_apart():
    scores = np.array([0, 5, 4, 0, 3, 0, 4.5])
    assert peaks(scores, np.arange(7.0), 2).tolist() == [5, 4.5, 3]
    assert peaks(scores, np.arange(7.0), 4).tolist() == [5, 4.5]


def test_a_day_of_maxima_is_sorted_out_in_no_time_and_as_one_by_one():
    rng = np.random.default_rng(0)
    time, score = np.arange(400) / 43, rng.normal(size=400).round(1)
    apart = rng.uniform(0.05, 0.5, 400)
    local = [i for i in range(400) if score[i] >= 0 and score[i] >= score[max(i - 1, 0)]
             and (i == 399 or score[i] > score[i + 1])]  # fmt: skip
    taken: list[int] = []
    for i in sorted(local, key=lambda i: -score[i]):
        if all(abs(time[i] - time[j]) >= apart[i] for j in taken):
            taken.append(i)
    assert maxima(time, score, apart, 0.0).tolist() == sorted(taken)
    time, score = np.arange(86_400 * 4) / 4, rng.normal(size=86_400 * 4)
    start = process_time()
    assert len(maxima(time, score, 0.6, 0.0)) > 30_000
    assert len(peaks(score, time, 0.6)) > 30_000
    assert process_time() - start < 10


def test_curves():
    score = np.array([0, 0, 2, 5, 2, 0, 1.5, 1.5, 0])
    assert hysteresis(score, 3, 1).tolist() == [[2, 5]]
    assert hysteresis(score, 1, 1).tolist() == [[2, 5], [6, 8]]
    assert maxima(np.arange(9.0), score, 10.0, 0.0).tolist() == [3]
    assert maxima(np.arange(9.0), score, 1.0, 0.0).tolist() == [3, 7]
    assert maxima(np.arange(9.0), score, 1.0, 2.0).tolist() == [3]
    assert crossing(np.arange(9.0), score, 2, 1, 1.0) == pytest.approx(1.5)
    assert smoothed(np.array([0, 3, 0.0]), 3).tolist() == [1, 1, 1]


def test_events_are_joined_dropped_and_kept_apart():
    shape = EventShape(min_s=0.5, max_s=3.0, merge_s=0.2)
    events = np.array([[0, 1, 1], [1.1, 2, 3], [5, 5.1, 9], [7, 9, 1], [9.1, 11, 1.0]])
    assert joined(events, shape).tolist() == [[0, 2, 3, 1], [7, 9, 1, 3], [9.1, 11, 1, 4]]
    assert joined(np.zeros((0, 3)), shape).shape == (0, 4)


def test_template_correlation_equals_the_definition(night, tmp_path):
    sound = opened(night, tmp_path)
    x = (sound.features_TM.double().numpy() - sound.stats[0]) / sound.stats[1]
    template = x[100:117].astype(np.float32)
    score = correlated(sound, template, (0, 16))
    for middle in (108, 500, 900):
        part = x[middle - 8 : middle + 9]
        a, b = part - part.mean(), template - template.mean()
        expected = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
        assert score[middle] == pytest.approx(expected, abs=1e-4)
    assert score[108] == pytest.approx(1.0, abs=1e-4)
    assert score[0] == -1


# --- fine-tuning ---------------------------------------------------------------------------------


def tune(one: WindowEmbedder, sound: Sound, **changes) -> WindowEmbedder:
    def windows(starts: list[float]) -> torch.Tensor:
        first_N = np.array([round(s * sound.frame_rate_hz) for s in starts])
        return one.windows([(sound, first_N)], 19, None)

    settings = {"steps": StepBudget(20, 60.0), "rate": 1e-2, "seed": 0, **changes}
    cluster = torch.tensor([0] * 4 + [1] * 3)
    return finetuned(one, windows(CALLS_S[:5]), windows([*OTHERS_S[:4], 4, 10, 14]), cluster,
                     **settings)  # fmt: skip


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_finetuning_trains_the_last_block_alone_and_repeats_itself(arch, night, tmp_path):
    sound, one = opened(night, tmp_path), embedder(arch, tmp_path)
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    tuned = tune(one, sound)
    after = tuned.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    first = "blocks.0." if arch == "v1" else "blocks.0.residual.0."
    assert moved
    assert not any(name.startswith(f"encoder.{first}") for name in moved)
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert all(torch.equal(value, one.model.state_dict()[name]) for name, value in before.items())
    assert tuned.identity != one.identity
    # Whatever the threads, and another seed is another encoder.
    torch.set_num_threads(2)
    again = tune(one, sound).identity
    torch.set_num_threads(1)
    assert again == tuned.identity
    assert tune(one, sound, seed=1).identity != tuned.identity
    assert tune(one, sound, steps=StepBudget(20, 0.0)).identity == one.identity


def test_finetuning_takes_the_augmentations_of_training(night, tmp_path, monkeypatch):
    seen = []

    class Spied(torch.nn.Module):
        def forward(self, x_B1MT, label_B):
            seen.append((self.training, sorted(label_B.bincount().tolist())))
            return x_B1MT

    one = embedder("v1", tmp_path)
    one.restored.config["arch"]["augmentation"] = {"_target_": "spied"}
    monkeypatch.setattr("g5.detection.scoring.finetune.build", lambda *_, **__: Spied())
    tune(one, opened(night, tmp_path), steps=StepBudget(2, 60.0))
    assert seen == [(True, [5] * 6)] * 2


def test_finetuning_brings_the_calls_nearer_than_the_rest(night, tmp_path):
    sound, one = opened(night, tmp_path), embedder("v2", tmp_path)
    starts = np.array([round(s * sound.frame_rate_hz) for s in [*CALLS_S, *OTHERS_S]])
    tuned = tune(one, sound, steps=StepBudget(60, 60.0))

    def apart(one: WindowEmbedder) -> float:
        (z_ND,) = one.cut([(sound, starts)], 19, None)
        distance_N = (z_ND - z_ND[:5].mean(dim=0)).norm(dim=1)
        return float(distance_N[10:].min() / distance_N[5:10].max())

    assert apart(tuned) > apart(one)


# --- the support --------------------------------------------------------------------------------


def test_what_is_free_between_marks():
    assert free(np.array([[2, 4], [6, 7]]), 1, 10) == [(1, 1.5), (4.5, 5.75), (7.25, 10)]
    assert free(np.zeros((0, 2)), 0, 3) == [(0, 3)]
    assert free(np.array([[0, 5]]), 1, 4) == []


def table(rows, label="up") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["start_s", "end_s"])
    return frame.assign(file="night", label=label, status="POS")


def test_shots_outside_the_recording_are_told_and_left_out(night, tmp_path):
    sound = opened(night, tmp_path)
    told: list[str] = []
    rows = table([(1.0, 1.3), (29.9, 31.0), (50, 51), (4, 4)])
    (target,) = targets_of(rows, lambda _: sound, shots=5, negatives="gaps", problem=told.append)
    assert [shot.start_s for shot in target.shots] == [1.0, 29.9]
    assert target.shots[1].end_s == 30.0
    assert any("outside the recording" in text for text in told)
    assert any("no length" in text for text in told)
    assert any("has 2 of the 5 calls" in text for text in told)
    with pytest.raises(UserError, match="no usable call"):
        targets_of(
            table([(50, 51)]), lambda _: sound, shots=None, negatives="gaps", problem=told.append
        )


def test_negatives_come_from_where_the_setting_says(night, tmp_path):
    sound = opened(night, tmp_path)
    rows = table([(5.0, 5.4), (9.0, 9.4)])
    spans = {}
    for negatives in ("gaps", "head", "everything"):
        (target,) = targets_of(
            rows, lambda _: sound, shots=None, negatives=negatives, problem=print
        )
        spans[negatives] = [(a, b) for _, a, b in target.gaps()]
    assert spans["gaps"] == [(5.5, 8.9)]
    assert spans["head"] == [(0.0, 4.9), (5.5, 8.9)]
    assert spans["everything"] == [(0.0, 4.9), (5.5, 8.9), (9.5, 30.0)]


# --- the verb -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints(tiny_set, tmp_path_factory) -> dict[str, Path]:
    """A hardly trained checkpoint of each architecture."""
    here = tmp_path_factory.mktemp("trained")
    (here / "outputs").mkdir()
    for name in ("procedural", "store"):
        (here / "outputs" / name).symlink_to(tiny_set / "outputs" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for arch in ("v1", "v2"):
            run_train([f"arch={arch}", "debug=fast", "logger=none", "test=false"])
    found = {
        arch: here.glob(f"outputs/*/{arch}_debug/checkpoints/best*.ckpt") for arch in ("v1", "v2")
    }
    return {arch: next(paths) for arch, paths in found.items()}


def audacity(path: Path, calls: dict[str, list[float]], length: float = 0.3) -> Path:
    rows = sorted((start, label) for label, starts in calls.items() for start in starts)
    path.write_text("".join(f"{a}\t{a + length}\t{label}\n" for a, label in rows))
    return path


def predictions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")


def overlap(found: pd.DataFrame, starts: list[float], length: float = 0.3) -> int:
    return sum(bool(((found["start_s"] < s + length) & (found["end_s"] > s)).any()) for s in starts)


@pytest.fixture
def job(night, tmp_path, monkeypatch, checkpoints):
    """Runs `g5 detect` on copies of the night in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.wav").symlink_to(night)

    def run(*arguments: str, arch: str = "v2") -> int:
        return run_g5(["detect", str(checkpoints[arch]), *arguments])

    return run


@pytest.mark.parametrize("arch", ["v1", "v2"])
def test_five_calls_in_every_call_out(arch, job, tmp_path, capsys):
    audacity(tmp_path / "five_calls.txt", {"up": CALLS_S[:5]})
    assert job("night.wav", "--support", "five_calls.txt", "-o", "found", arch=arch) == 0
    found = predictions(tmp_path / "found")
    assert overlap(found, CALLS_S[5:]) >= 4
    assert overlap(found, OTHERS_S) <= 3
    assert set(found.columns) >= {
        "file",
        "start_s",
        "end_s",
        "label",
        "score",
        "distance",
        "nearest",
    }
    assert found["score"].between(0, 1).all()
    assert (tmp_path / "found/night.txt").is_file(), "the same format out"
    assert (tmp_path / "found/report.html").stat().st_size > 10_000
    assert len(list((tmp_path / "found/pictures").glob("night.*.png"))) == 1
    assert "1 done" in capsys.readouterr().out
    # Ends better than the hop between windows.
    errors = [min(abs(start - s) for s in CALLS_S) for start in found["start_s"]]
    assert np.median([error for error in errors if error < 0.15]) < 0.03


def test_several_species_at_once(job, tmp_path):
    audacity(tmp_path / "both.txt", {"up": CALLS_S[:5], "down": OTHERS_S[:3]})
    assert job("night.wav", "--support", "both.txt", "-o", "found", "detection.pictures=false") == 0
    found = predictions(tmp_path / "found")
    assert set(found["label"]) <= {"up", "down"}
    up, down = (found.query("label == @name") for name in ("up", "down"))
    assert overlap(up, OTHERS_S) <= 2
    assert overlap(down, OTHERS_S[3:]) >= 3
    assert not (tmp_path / "found/report.html").exists()


@pytest.mark.parametrize("how", ["template", "energy"])
def test_baselines(how, job, tmp_path):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "calls.txt", "-o", how, f"detection={how}"]
    assert job(*arguments, "detection.pictures=false") == 0
    assert overlap(predictions(tmp_path / how), CALLS_S[5:]) == 5


@pytest.mark.parametrize("adapt", ["head", "finetune", "transductive"])
def test_adaptation_is_seeded(adapt, job, tmp_path):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    seen = []
    for out in ("a", "b"):
        arguments = ["night.wav", "--support", "calls.txt", "-o", out, f"detection.adapt={adapt}"]
        assert job(*arguments, "detection.pictures=false", "detection.adapt_steps=4") == 0
        seen.append((tmp_path / out / "predictions.csv").read_text())
    assert seen[0] == seen[1]


@pytest.mark.parametrize("adapt", ["head", "finetune"])
def test_a_training_that_time_has_cut_is_told_of_every_recording(adapt, job, tmp_path, night):
    (tmp_path / "all").mkdir()
    (tmp_path / "all/night.wav").symlink_to(night)
    soundfile.write(tmp_path / "all/second.wav", soundscape(12, {2.0: UP}, seed=5), RATE)
    audacity(tmp_path / "all/night.txt", {"up": CALLS_S[:5]})
    arguments = ["all", "--support", "all/night.txt", f"detection.adapt={adapt}"]
    arguments += ["detection.pictures=false", "detection.adapt_steps=4"]

    def reasons(out: str, *more: str) -> list[str]:
        assert job(*arguments, "-o", out, *more) == 0
        return pd.read_csv(f"{out}/ledger.csv", keep_default_na=False)["reason"].tolist()

    assert reasons("whole") == ["", ""], "the number of steps has ended it"
    for reason in reasons("cut", "detection.adapt_max_s=1e-9"):
        told = "up: detection.adapt_max_s=1e-09 cut the adaptation after 0 of 4 steps"
        assert reason.startswith(f"{told} (8 of 8 trainings): another machine")


def test_a_folder_is_accounted_for_and_resumed(job, tmp_path, night, capsys, monkeypatch):
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "night.wav").symlink_to(night)
    soundfile.write(folder / "second.wav", soundscape(12, {2.0: UP, 8.0: UP}, seed=5), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE * 3), RATE)
    soundfile.write(folder / "tiny.wav", soundscape(0.02, {}), RATE)
    soundfile.write(folder / "dc.wav", np.full(RATE * 3, 0.5), RATE)
    soundfile.write(folder / "offset.wav", 0.4 + 0.3 * soundscape(3, {1.0: UP}), RATE)
    soundfile.write(folder / "loud.wav", np.clip(9 * soundscape(3, {1.0: UP}), -1, 1), RATE)
    whole = folder / "cut.flac"
    soundfile.write(whole, soundscape(20, {}), RATE)
    whole.write_bytes(whole.read_bytes()[:20_000])
    (folder / "empty.wav").touch()
    (folder / "noise.mp3").write_bytes(b"no sound at all" * 99)
    (folder / "head.wav").write_bytes((folder / "silent.wav").read_bytes()[:20])
    soundfile.write(folder / "huge.wav", 1e30 * soundscape(3, {}), RATE, subtype="FLOAT")
    (folder / "$\\frac$ \u9ce5.wav").symlink_to(folder / "second.wav")
    (tmp_path / "library.csv").write_text(
        "file,start_s,end_s,label\n" + "".join(f"night.wav,{a},{a + 0.3},up\n" for a in CALLS_S[:5])
    )
    arguments = ["recordings", "--support", "library.csv", "--format", "raven,dcase"]
    assert job(*arguments) == 1, "some files are corrupt"
    ledger = pd.read_csv(tmp_path / "found/ledger.csv").set_index("file")
    ledger.index = [Path(file).name for file in ledger.index]
    assert len(ledger) == 13
    reason = ledger["reason"].to_dict()
    assert "samples of up to" in reason["huge.wav"]
    assert "shorter than a window" in reason["tiny.wav"]
    assert "clipped" in reason["loud.wav"]
    assert "DC offset" in reason["offset.wav"]
    status = ledger["status"].to_dict()
    assert {status[name] for name in ("night.wav", "second.wav", "tiny.wav", "loud.wav")} == {
        "done"
    }
    assert {
        status[name] for name in ("cut.flac", "empty.wav", "noise.mp3", "head.wav", "huge.wav")
    } == {"corrupt"}
    assert status["silent.wav"] == "skipped"
    found = predictions(tmp_path / "found")
    second = found.query("file.str.endswith('second.wav')")
    assert overlap(second, [2.0, 8.0]) == 2
    dcase = pd.read_csv(tmp_path / "found/predictions_dcase.csv")
    assert dcase.columns[:3].tolist() == ["Audiofilename", "Starttime", "Endtime"]
    ends = dcase.query("Audiofilename == 'night.wav'")["Endtime"].to_numpy()
    assert ends.min() > CALLS_S[4] + 0.3
    error = capsys.readouterr().err
    assert "corrupt: " in error
    assert "Warning" not in error

    monkeypatch.setattr("g5.detection.detector.Detector.detect", None)
    assert job(*arguments) == 1
    assert predictions(tmp_path / "found").equals(found), "nothing is done twice"


@pytest.mark.parametrize(
    ("choice", "first"),
    [
        ("prototypes", "detection.score.PrototypeScorer"),
        ("template", "detection.template.TemplateScorer"),
        ("energy", "detection.energy.EnergyScorer"),
    ],
)
def test_keys_of_finished_work_hold_the_first_name_of_a_scorer(choice, first):
    """A folder that an earlier g5 has written is gone on with, wherever classes have moved."""
    scorer = load([f"detection={choice}"]).detection.scorer
    assert first_name(scorer.target) == first
    assert updated(Node(first, scorer.values).plain()) == scorer.plain()


def test_bad_support_is_one_clear_line(job, tmp_path, capsys):
    (tmp_path / "empty.txt").touch()
    audacity(tmp_path / "far.txt", {"up": [500.0]})
    (tmp_path / "lost.csv").write_text("file,start_s,end_s,label\nnowhere.wav,1,2,up\n")
    for name, expected in (
        ("empty.txt", "marks no call"), ("far.txt", "no usable call"),
        ("lost.csv", "no usable call"), ("missing.txt", "No such file"),
    ):  # fmt: skip
        assert job("night.wav", "--support", name) == 1
        error = capsys.readouterr().err
        assert expected in error, error
        assert "Traceback" not in error
    assert job("nowhere.wav", "--support", "far.txt") == 1
    assert "no such recording" in capsys.readouterr().err
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:2]})
    assert job("night.wav", "--support", "calls.txt", "arch.model.dropout=0.1") == 1
    assert "the checkpoint says it" in capsys.readouterr().err
    assert job("night.wav", "--support", "calls.txt", "detection.hopp=1") == 1
    assert "did you mean detection.hop" in capsys.readouterr().err
    assert job("night.wav", "--support", "calls.txt", "--format", "word") == 1
    assert "choose from" in capsys.readouterr().err


def test_what_is_no_fault_of_a_recording_is_tried_again(job, tmp_path, capsys, monkeypatch):
    """A full disk ends the job; what is corrupt in the store is made again."""
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "calls.txt", "detection.pictures=false"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("preprocessing.store.shards.Shard.write", lambda *_: full_disk(full))
        assert job(*arguments) == 1
    error = capsys.readouterr().err
    assert "the disk is full; free some space and run again" in error
    assert "corrupt" not in error
    assert job(*arguments) == 0
    first = (tmp_path / "found/predictions.csv").read_bytes()
    for number, shard in enumerate(sorted((tmp_path / "outputs/store").glob("*/*.f16"))):
        os.truncate(shard, 1000 * number)
    capsys.readouterr()
    assert job(*arguments, "-o", "again") == 0
    error = capsys.readouterr().err
    assert error.count("is truncated to") == 2, "features and embeddings"
    assert error.count("it is made again") == 2
    assert (tmp_path / "again/predictions.csv").read_bytes() == first


def full_disk(write) -> None:
    from g5.common.atomic import disk_errors

    with disk_errors(Path("outputs/store")):
        write()


def test_results_replace_no_input_and_nothing_of_others(job, tmp_path, capsys):
    support = audacity(tmp_path / "night.txt", {"up": CALLS_S[:5]})
    before = support.read_bytes()
    arguments = ["night.wav", "--support", "night.txt", "detection.pictures=false"]
    assert job(*arguments, "-o", ".") == 1
    assert "night.txt: is an input, and the results would replace it" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/predictions.csv").write_text("of somebody else")
    assert job(*arguments, "-o", "mine") == 1
    assert "predictions.csv: is there, and of no earlier" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert job(*arguments, "-o", "file") == 1
    assert "a file is in the way of this folder" in capsys.readouterr().err
    assert support.read_bytes() == before
    # A table for a recording without events, too: an earlier one would tell of what is no more.
    assert job(*arguments) == 0
    assert (tmp_path / "found/night.txt").read_text()
    assert job(*arguments, "detection.min_duration=9") == 0
    assert (tmp_path / "found/night.txt").read_text() == ""


def test_only_what_a_detection_wrote_is_replaced(job, tmp_path, capsys, monkeypatch):
    """Every output is looked at, the files of a folder of truth, and what other formats add."""
    audacity(tmp_path / "night.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "night.txt", "-o", "out", "--format"]
    said = "and the results would replace it"
    out, picture = tmp_path / "out", picture_of(Path("out"), tmp_path / "night.wav")
    picture.parent.mkdir(parents=True)
    for path in (out / "candidates.csv", out / "ledger.csv", out / "predictions.csv"):
        path.write_text("file,start_s,end_s,label\nnight.wav,1,1.3,up\n")
        with monkeypatch.context() as patch:
            patch.setattr(
                "g5.detection.job.reader.scan", None
            )  # told before any recording is hashed
            assert job("night.wav", "--support", str(path), "-o", "out") == 1
        assert f"{path.name}: is an input, {said}" in capsys.readouterr().err
        path.unlink()
    for path in (out / "report.html", picture):
        path.write_text("of somebody else")
        assert job(*arguments, "csv") == 1
        assert f"{path.name}: is there, and of no earlier detection" in capsys.readouterr().err
        path.unlink()

    # A person's own table is one even where a detection has run, until one has written it.
    assert job(*arguments, "csv") == 0
    mine = out / "night.selections.txt"
    mine.write_text("of somebody else")
    assert job(*arguments, "csv,raven") == 1
    assert "night.selections.txt: is there, and of no earlier" in capsys.readouterr().err
    assert mine.read_text() == "of somebody else"
    mine.unlink()
    for formats in ("csv,raven", "csv,raven", "csv"):
        assert job(*arguments, formats) == 0

    # Corrected, it is the truth.
    before = mine.read_bytes()
    for truth in ("out", "out/night.selections.txt"):
        assert job(*arguments, "csv,raven", "--truth", truth) == 1
        assert said in capsys.readouterr().err
    assert mine.read_bytes() == before


def test_what_is_wrong_with_all_of_a_support_is_told_before_the_work(job, tmp_path, capsys):
    head = "file,start_s,end_s,label,low_hz,high_hz\n"
    (tmp_path / "high.csv").write_text(f"{head}night.wav,1,1.3,up,50000,60000\n")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE * 3), RATE)
    (tmp_path / "silent.csv").write_text(f"{head}silent.wav,1,2,up,,\nsilent.wav,2,3,up,,\n")
    (tmp_path / "good.csv").write_text(f"{head}night.wav,1,1.3,up,,\n")
    for arguments, expected in (
        (["high.csv"], "error: row 2 (up, 1.000 to 1.300 s of night.wav): its band, 50000 to"),
        (["silent.csv"], "and 1 more: left out: "),
        (["silent.csv"], "silent.wav: is silent, every sample is the same"),
        (["good.csv", "detection.min_window_s=3"], "detection.min_window_s: must be at most max"),
        (["good.csv", "detection.snippets=-1"], "detection.snippets: must be at least 0"),
    ):
        assert job("night.wav", "--support", *arguments) == 1
        error = capsys.readouterr().err
        assert expected in error, error
        assert "corrupt" not in error


def test_a_support_names_recordings_by_their_folders(job, tmp_path, night, capsys):
    for place in ("a", "b"):
        (tmp_path / "all" / place).mkdir(parents=True)
        (tmp_path / "all" / place / "same.wav").symlink_to(night)
    Path(os.fsdecode(b"all/bad\xff.wav")).symlink_to(night)
    for name, code in (("a/same.wav", 1), ("same.wav", 1)):
        rows = "".join(f"{name},{s},{s + 0.3},up\n" for s in CALLS_S[:5])
        (tmp_path / "library.csv").write_text("file,start_s,end_s,label\n" + rows)
        assert job("all", "--support", "library.csv", "detection.pictures=false") == code
        error = capsys.readouterr().err
        assert ("may be" in error) == (name == "same.wav")
        if name == "a/same.wav":
            assert "all/bad\\xff.wav: its name is no Unicode (UTF-8); rename it" in error
            assert pd.read_csv("found/ledger.csv")["status"].tolist() == ["done", "done", "corrupt"]


def test_the_support_is_diagnosed(job, tmp_path, capsys):
    starts = [1.0, 1.0001, 3.1, 5.3, 7.2]
    audacity(tmp_path / "calls.txt", {"up": starts})
    assert job("night.wav", "--support", "calls.txt", "detection.shots=6") == 0
    told = capsys.readouterr().err
    assert "same call" in told
    assert "has 5 of the 6 calls" in told


def test_boxes_restrict_the_band(job, tmp_path):
    lines = [f"{a}\t{a + 0.3}\tup\n\\\t500\t1900\n" for a in CALLS_S[:5]]
    (tmp_path / "boxes.txt").write_text("".join(lines))
    assert job("night.wav", "--support", "boxes.txt", "detection.pictures=false") == 0
    found = predictions(tmp_path / "found")
    assert overlap(found, CALLS_S[5:]) == 5
    assert overlap(found, OTHERS_S) == 0
    assert set(found["low_hz"]) == {500}


def test_detection_has_settings_of_its_own_in_an_old_checkpoint(checkpoints, tmp_path):
    from g5.config.stored import on_checkpoint

    stored = torch.load(checkpoints["v1"], weights_only=True)["g5"]["config"]
    old = {key: value for key, value in stored.items() if key != "detection"}
    assert (
        on_checkpoint(json.loads(json.dumps(old)), [], {}).plain()["detection"]
        == stored["detection"]
    )


def test_a_test_on_data_with_a_time_axis_scores_events(checkpoints, place, capsys):
    more = ["logger=none", "data.calls_per_recording=8", "data.workers=1"]
    assert run_g5(["test", str(checkpoints["v1"]), *more]) == 0
    assert "mode fair" in capsys.readouterr().out
    (path,) = place.rglob("event_scores.json")
    assert 0 <= json.loads(path.read_text())["overall"]["fmeasure"] <= 100


def test_a_checkpoint_without_front_end_is_one_clear_line(checkpoints, job, tmp_path, capsys):
    content = torch.load(checkpoints["v1"], weights_only=True)
    del content["g5"]["front_end"]
    torch.save(content, tmp_path / "deaf.ckpt")
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    assert run_g5(["detect", "deaf.ckpt", "night.wav", "--support", "calls.txt"]) == 1
    error = capsys.readouterr().err
    assert "deaf.ckpt: a checkpoint without front_end" in error
    assert error.count("\n") == 1


def test_a_checkpoint_of_no_numbers_is_one_clear_line(checkpoints, job, tmp_path, capsys):
    content = torch.load(checkpoints["v1"], weights_only=True)
    next(iter(content["state_dict"].values()))[:] = float("nan")
    torch.save(content, tmp_path / "nan.ckpt")
    del content["g5"]["format"]
    torch.save(content, tmp_path / "odd.ckpt")
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    for name, expected in (("nan", "hold NaN or infinity"), ("odd", "but not of g5")):
        assert run_g5(["detect", f"{name}.ckpt", "night.wav", "--support", "calls.txt"]) == 1
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1


def test_a_resumed_job_remembers_what_was_odd_and_draws_the_truth(job, tmp_path, capsys):
    # Two shots of another call, which disagree with the others.
    audacity(tmp_path / "calls.txt", {"up": [*CALLS_S[:4], *OTHERS_S[:1]]})
    audacity(tmp_path / "truth.txt", {"up": CALLS_S, "down": OTHERS_S})
    arguments = ["night.wav", "--support", "calls.txt"]
    assert job(*arguments) == 0
    page = (tmp_path / "found/report.html").read_text()
    assert "What leaving each shot out would do" in page
    first = capsys.readouterr().err
    assert job(*arguments) == 0
    assert (tmp_path / "found/report.html").read_text() == page
    again = capsys.readouterr().err
    assert [x for x in first.splitlines() if "note" in x] == [
        x for x in again.splitlines() if "note" in x
    ]
    (picture,) = (tmp_path / "found/pictures").iterdir()
    before = picture.read_bytes()
    assert job(*arguments, "--truth", "truth.txt") == 0
    assert picture.read_bytes() != before, "the truth is drawn, too"
    (tmp_path / "nothing").mkdir()
    assert job(*arguments, "--truth", "nothing") == 1
    assert "has no annotations" in capsys.readouterr().err


def test_recordings_of_one_name_keep_their_results_apart(job, tmp_path, night):
    for place in ("a", "b"):
        (tmp_path / "all" / place).mkdir(parents=True)
        (tmp_path / "all" / place / "same.wav").symlink_to(night)
    rows = "".join(f"{night},{a},{a + 0.3},up\n" for a in CALLS_S[:5])
    (tmp_path / "library.csv").write_text("file,start_s,end_s,label\n" + rows)
    assert job("all", "--support", "library.csv", "--format", "raven") == 0
    tables = sorted((tmp_path / "found").glob("same.*.selections.txt"))
    assert len(tables) == 2
    assert len(list((tmp_path / "found/pictures").iterdir())) == 2


def test_candidates_are_what_lower_thresholds_find(job, tmp_path, capsys):
    audacity(tmp_path / "calls.txt", {"up": CALLS_S[:5]})
    arguments = ["night.wav", "--support", "calls.txt", "detection.pictures=false"]
    assert job(*arguments) == 0
    found = predictions(tmp_path / "found")
    low = pd.read_csv(tmp_path / "found/candidates.csv")
    assert len(low) >= len(found)
    assert low["score"].min() >= 1 / (1 + np.exp(4.0)) - 1e-9
    assert set(found["score"].round(9)) <= set(low["score"].round(9))
    (tmp_path / "truth").mkdir()
    audacity(tmp_path / "truth/night.txt", {"up": CALLS_S})
    capsys.readouterr()
    assert run_g5(["evaluate", "found/predictions.csv", "truth"]) == 0
    assert "looks only above" not in capsys.readouterr().out
    (tmp_path / "found/candidates.csv").unlink()
    assert run_g5(["evaluate", "found/predictions.csv", "truth"]) == 0
    assert "looks only above" in capsys.readouterr().out


def test_output_is_identical_for_any_number_of_workers(job, tmp_path):
    audacity(tmp_path / "both.txt", {"up": CALLS_S[:5], "down": OTHERS_S[:3]})
    seen = []
    for workers in (1, 3):
        out = f"found{workers}"
        more = [f"detection.workers={workers}", f"path.root_dir=home{workers}"]
        assert job("night.wav", "--support", "both.txt", "-o", out, *more) == 0
        seen.append([(tmp_path / out / name).read_bytes()
                     for name in ("predictions.csv", "candidates.csv", "night.txt")])  # fmt: skip
    assert seen[0] == seen[1]


STOPPED = """
import time
from g5.detection.embedding.embedder import WindowEmbedder
from g5.cli.main import main
blocks = WindowEmbedder._blocks
def waiting(self, sound, *more):
    for number, block in enumerate(blocks(self, sound, *more)):
        if sound.path.name == "b.wav" and number == 2:
            print("two blocks are written", flush=True)
            time.sleep(60)
        yield block
WindowEmbedder._blocks = waiting
main(prog_name="g5")
"""


def test_stopped_in_a_recording_it_goes_on_to_the_same_bytes(
    job, checkpoints, tmp_path, monkeypatch
):
    """Ctrl-C, then a kill, each with the second recording half embedded: nothing shows later."""
    (tmp_path / "all").mkdir()
    for seed, name in enumerate("ab"):
        calls = {start + seed / 7: UP for start in CALLS_S} | dict.fromkeys(OTHERS_S, DOWN)
        soundfile.write(tmp_path / f"all/{name}.wav", soundscape(30, calls, seed), RATE)
    audacity(tmp_path / "all/a.txt", {"up": CALLS_S[:5], "down": OTHERS_S[:3]})
    command = ["all", "--support", "all/a.txt", "--format", "raven"]

    def stopped(how: signal.Signals) -> tuple[int, list[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", STOPPED, "detect", str(checkpoints["v1"]), *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert process.stdout is not None
        assert "two blocks are written\n" in iter(process.stdout.readline, "")
        process.send_signal(how)
        _, error = process.communicate(timeout=120)
        return process.returncode, [x for x in error.splitlines() if not x.startswith("note: ")]

    code, (told,) = stopped(signal.SIGINT)
    assert code == 130
    assert told.startswith("stopped; what was finished is kept, and the same command goes on")
    assert len(pd.read_csv("found/ledger.csv")) == 1, "what is done is told"
    assert stopped(signal.SIGKILL) == (-signal.SIGKILL, [])
    stores = (tmp_path / "outputs/store").glob("*/*.f16")
    assert any(not path.with_suffix(".parquet").exists() for path in stores), "half a grid"
    detect, seen = Detector.detect, []
    monkeypatch.setattr(Detector, "detect", lambda *a: seen.append(a[1].path.name) or detect(*a))
    assert job(*command, arch="v1") == 0
    assert seen == ["b.wav"] * 2, "two species, and nothing is done twice"
    assert job(*command, "-o", "whole", "path.root_dir=elsewhere", arch="v1") == 0
    resumed, whole = ({
        path.relative_to(tmp_path / out): path.read_bytes()
        for path in sorted((tmp_path / out).rglob("*"))
        if path.is_file()
    } for out in ("found", "whole"))  # fmt: skip
    assert list(resumed) == list(whole)
    assert [name for name in whole if resumed[name] != whole[name]] == []


@pytest.mark.parametrize(
    ("seconds", "rate", "call_s", "more"),
    [
        (20.0, 22050, 0.005, []),
        (20.0, 4000, 0.3, []),
        (4.0, 500_000, 0.01, []),
        (4.0, 250_000, 0.03, ["detection.time_expansion=10"]),
        (400.0, 4000, 30.0, []),
    ],
)
def test_calls_of_any_length_at_any_rate(seconds, rate, call_s, more, job, tmp_path, night):
    """Clicks of 5 ms, songs of 30 s, elephants at 4 kHz, bats at 500 kHz."""
    t = np.arange(round(call_s * rate)) / rate
    top = min(rate / 5, 60_000)
    call = 0.5 * np.sin(2 * np.pi * (0.4 * top * t + 0.3 * top * t**2 / call_s))
    starts = np.linspace(0.05, 0.95, 8) * (seconds - call_s)
    samples: int = round(seconds * rate)
    x = 0.01 * np.random.default_rng(0).standard_normal(samples)
    for start in starts:
        first = round(start * rate)
        x[first : first + len(call)] += call
    soundfile.write(tmp_path / "x.wav", x, rate)
    audacity(tmp_path / "x.txt", {"up": starts[:5].tolist()}, call_s)
    more = [*more, "detection.pictures=false"]
    assert job("x.wav", "--support", "x.txt", *more, arch="v1") == 0
    found = predictions(tmp_path / "found")
    near = 0.01 if call_s < 0.05 else 0.0  # a frame of the front end
    assert overlap(found, (starts[5:] - near).tolist(), call_s + 2 * near) >= 2
    assert len(found) <= 12
    lengths = found["end_s"] - found["start_s"]
    assert 0.2 * call_s < lengths.median() < 2.5 * call_s


@pytest.mark.parametrize("suffix", ["wav", "rf64"])
def test_rf64_is_read_to_its_end(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    x = soundscape(2, {0.5: UP})
    soundfile.write(path, x, RATE, format="RF64", subtype="FLOAT")
    assert audio.info(path, to_end=True).note == ""
    assert np.array_equal(audio.read(path, to_end=True), x)
    data = bytearray(path.read_bytes())
    at = data.index(b"ds64") + 16
    # The length in ds64 is more than there is: the recorder was stopped.
    data[at : at + 8] = (10**10).to_bytes(8, "little")
    path.write_bytes(data)
    assert "end of the file" in audio.info(path, to_end=True).note
    assert np.array_equal(audio.read(path, to_end=True), x)
