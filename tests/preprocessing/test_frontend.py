"""Front ends against librosa in float64, whole and in blocks."""

import copy
import pickle
import threading
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from g5.common.errors import UserError
from g5.config.build import build
from g5.config.compose import composed
from g5.config.node import Node
from preprocessing.frontend import (
    PCEN,
    FrontEnd,
    LogMel,
    LogMelPCEN,
    MelPower,
)
from preprocessing.spectra.mel import mel_basis
from preprocessing.spectra.smoothing import decay_matrix, smooth

SR = 22050
Keys = dict[str, Any]
MEL: Keys = {
    "sr": SR,
    "n_fft": 1024,
    "hop_mel": 256,
    "n_mels": 128,
    "fmin": 50,
    "fmax": 11025,
}
OTHER_MELS: list[Keys] = [
    {"sr": 16000, "n_fft": 512, "hop_mel": 200, "n_mels": 40, "fmin": 0, "fmax": 8000},
    {"sr": 44100, "n_fft": 2048, "hop_mel": 441, "n_mels": 96, "fmin": 1500.0, "fmax": 20000.0},
    {"sr": 22050, "n_fft": 1001, "hop_mel": 333, "n_mels": 17, "fmin": 50, "fmax": 11025},
]
PCEN_SETTINGS: Keys = {
    "pcen_scale": 2.0**31,
    "pcen_gain": 0.98,
    "pcen_bias": 2.0,
    "pcen_power": 0.5,
    "pcen_time_constant_s": 0.4,
    "pcen_eps": 1e-6,
}


def log_mel(**changes) -> LogMel:
    return LogMel(**{**MEL, "floor_db": -100, **changes})


def pcen(**changes) -> PCEN:
    return PCEN(**{**MEL, **PCEN_SETTINGS, **changes})


def both(**changes) -> LogMelPCEN:
    return LogMelPCEN(**{**MEL, **PCEN_SETTINGS, "floor_db": -100, **changes})


def signal(name: str, seconds: float = 2.0) -> np.ndarray:
    """Test sounds; what is quiet beside what is loud is where precision shows."""
    rng = np.random.default_rng(7)
    t = np.arange(round(seconds * SR)) / SR
    noise = rng.standard_normal(len(t))
    sounds = {
        "noise": 0.1 * noise,
        "tone": np.sin(2 * np.pi * 1000 * t),
        "chirp": np.sin(2 * np.pi * (100 * t + 2500 * t**2)),
        "tone over faint noise": np.sin(2 * np.pi * 3000 * t) + 1e-5 * noise,
        "burst in silence": np.where((t > 1) & (t < 1.2), noise, 0.0),
        "16 bit": np.round(3 * noise) / 32768,
        "offset": 0.5 + 1e-3 * noise,
        "silence": 0 * t,
    }
    return sounds[name].astype(np.float32)


SIGNALS = [
    "noise", "tone", "chirp", "tone over faint noise", "burst in silence", "16 bit", "offset",
    "silence",
]  # fmt: skip


def librosa_power(x: np.ndarray, mel: dict) -> np.ndarray:
    """Mel power of librosa, all of it in float64."""
    spectrum = librosa.stft(
        x.astype(np.float64), n_fft=mel["n_fft"], hop_length=mel["hop_mel"], pad_mode="constant"
    )
    basis = librosa.filters.mel(
        sr=mel["sr"], n_fft=mel["n_fft"], n_mels=mel["n_mels"], fmin=mel["fmin"],
        fmax=mel["fmax"], dtype=np.float64,
    )  # fmt: skip
    return basis @ np.abs(spectrum) ** 2


def librosa_db(power: np.ndarray, floor_db: float) -> np.ndarray:
    return librosa.power_to_db(power, ref=1.0, amin=10 ** (floor_db / 10), top_db=None)


def librosa_pcen(power: np.ndarray, mel: dict, **settings) -> np.ndarray:
    return librosa.pcen(
        power * settings["pcen_scale"], sr=mel["sr"], hop_length=mel["hop_mel"],
        gain=settings["pcen_gain"], bias=settings["pcen_bias"], power=settings["pcen_power"],
        time_constant=settings["pcen_time_constant_s"], eps=settings["pcen_eps"],
    )  # fmt: skip


def check_log_mel(ours: torch.Tensor, reference_db: np.ndarray, floor_db: float) -> None:
    """The promise: 1e-3 dB within 50 dB of the maximum, 0.2 dB elsewhere above the floor."""
    assert ours.shape == reference_db.shape
    error = np.abs(ours.numpy() - reference_db)
    loud = reference_db > reference_db.max() - 50
    assert error[loud].max() < 1e-3
    assert error.max() < 0.2
    # What is below the floor is exactly the floor.
    assert (ours.numpy()[reference_db <= floor_db] == np.float32(floor_db)).all()


@pytest.mark.parametrize("name", SIGNALS)
def test_log_mel_is_librosas(name):
    x = signal(name)
    reference_db = librosa_db(librosa_power(x, MEL), -100)
    check_log_mel(log_mel()(torch.from_numpy(x)), reference_db, -100)


@pytest.mark.parametrize("mel", OTHER_MELS, ids=lambda mel: f"n_fft={mel['n_fft']}")
@pytest.mark.parametrize("floor_db", [-60, -140])
def test_log_mel_is_librosas_at_other_settings(mel, floor_db):
    x = signal("chirp")
    reference_db = librosa_db(librosa_power(x, mel), floor_db)
    check_log_mel(log_mel(**mel, floor_db=floor_db)(torch.from_numpy(x)), reference_db, floor_db)


@pytest.mark.parametrize("name", SIGNALS)
def test_pcen_is_librosas(name):
    x = signal(name)
    reference = librosa_pcen(librosa_power(x, MEL), MEL, **PCEN_SETTINGS)
    ours = pcen()(torch.from_numpy(x)).numpy()
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() < 1e-4


@pytest.mark.parametrize("mel", OTHER_MELS, ids=lambda mel: f"n_fft={mel['n_fft']}")
def test_pcen_is_librosas_at_other_settings(mel):
    settings = {
        "pcen_scale": 1e4, "pcen_gain": 0.8, "pcen_bias": 10.0, "pcen_power": 0.25,
        "pcen_time_constant_s": 0.06, "pcen_eps": 1e-4,
    }  # fmt: skip
    x = signal("tone over faint noise")
    reference = librosa_pcen(librosa_power(x, mel), mel, **settings)
    assert np.abs(pcen(**mel, **settings)(torch.from_numpy(x)).numpy() - reference).max() < 1e-4


@pytest.mark.parametrize("mel", [MEL, *OTHER_MELS], ids=lambda mel: f"n_fft={mel['n_fft']}")
def test_mel_filters_are_librosas(mel):
    ours = mel_basis(mel["sr"], mel["n_fft"], mel["n_mels"], mel["fmin"], mel["fmax"])
    theirs = librosa.filters.mel(
        sr=mel["sr"], n_fft=mel["n_fft"], n_mels=mel["n_mels"], fmin=mel["fmin"],
        fmax=mel["fmax"], dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


def stream_in_blocks(frontend: FrontEnd, x: np.ndarray, sizes: list[int]) -> torch.Tensor:
    stream, parts, start, turn = frontend.stream(), [], 0, 0
    while start < len(x):
        size = sizes[turn % len(sizes)]
        parts.append(stream.push(x[start : start + size]))
        start, turn = start + size, turn + 1
    return torch.cat([*parts, stream.finish()], dim=1)


@pytest.mark.parametrize("make", [log_mel, pcen, both])
@pytest.mark.parametrize("n_samples", [0, 1, 255, 256, 1024, 5000, 40000])
@pytest.mark.parametrize("sizes", [[97], [1024], [4000, 1, 0, 20001], [10**6]], ids=str)
def test_blocks_give_the_bits_of_the_whole(make, n_samples, sizes):
    frontend, x = make(), signal("burst in silence")[:n_samples]
    whole = frontend(torch.from_numpy(x))
    assert whole.shape == (frontend.width, 1 + n_samples // 256)
    assert torch.equal(stream_in_blocks(frontend, x, sizes), whole)


@pytest.mark.parametrize("mel", OTHER_MELS, ids=lambda mel: f"n_fft={mel['n_fft']}")
@pytest.mark.parametrize("make", [log_mel, pcen, both])
def test_blocks_give_the_bits_of_the_whole_at_other_settings(make, mel):
    frontend, x = make(**mel), signal("chirp")
    whole = frontend(torch.from_numpy(x))
    assert torch.equal(stream_in_blocks(frontend, x, [7001, 12, 30000]), whole)


def test_pcens_state_begins_at_the_head_and_crosses_blocks():
    """A second that is streamed first changes the next; taken alone, it begins anew."""
    x = np.concatenate([signal("noise", 1.0), signal("noise", 1.0)])
    frontend = pcen()
    whole = stream_in_blocks(frontend, x, [SR])
    again = frontend(torch.from_numpy(x[SR:]))
    inner = slice(4, 60)  # frames that see no edge
    assert not torch.allclose(whole[:, 87 + 4 : 87 + 60], again[:, inner], atol=0.01)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 200])
@pytest.mark.parametrize("decay", [0.1, 0.97, 0.9999])
def test_smoother_is_the_recurrence(n_frames, decay):
    """Chunks of 4: 200 frames take four levels."""
    rng = np.random.default_rng(1)
    x_TM, head_M = rng.random((n_frames, 3)), rng.random(3)
    expected, y_M = [], head_M
    for x_M in x_TM:
        y_M = decay * y_M + x_M
        expected.append(y_M)
    y_TM = smooth(torch.from_numpy(x_TM), decay, torch.from_numpy(head_M), decay_matrix(decay, 4))
    np.testing.assert_allclose(y_TM.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("make", [log_mel, pcen, both])
def test_a_batch_is_its_members(make):
    frontend = make()
    x = torch.from_numpy(np.stack([signal("noise", 1.0), signal("chirp", 1.0)]))
    batch = frontend(x[:, None])
    assert batch.shape == (2, 1, frontend.width, 87)
    for one, of_batch in zip(x, batch[:, 0], strict=True):
        torch.testing.assert_close(frontend(one), of_batch, rtol=0, atol=1e-4)


@pytest.mark.parametrize("make", [log_mel, pcen, both])
def test_precision_does_not_depend_on_the_surroundings(make):
    frontend, x = make(), torch.from_numpy(signal("tone over faint noise", 0.5))
    expected = frontend(x)
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("high", "medium"):
            torch.set_float32_matmul_precision(precision)
            torch.testing.assert_close(frontend(x), expected, rtol=0, atol=1e-4)
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(frontend(x), expected)
    assert frontend(x.double()).dtype == torch.float32
    torch.testing.assert_close(frontend(x.double()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [log_mel, pcen, both])
def test_memory_is_not_shared_between_calls(make):
    """Results stay what they were when the scratch memory is used again, in any mode or thread."""
    frontend = make()
    x, other = (torch.from_numpy(signal(name, 1.0)) for name in ("noise", "chirp"))
    with torch.inference_mode():
        first = frontend(x)
    kept = first.clone()
    frontend(other)
    assert torch.equal(first, kept)
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(frontend(x) for _ in range(20)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert all(torch.equal(result, kept) for result in found)


@pytest.mark.parametrize("make", [log_mel, pcen, both])
@pytest.mark.parametrize("shape", [(1500,), (2, 1500)])
def test_gradients_are_those_of_finite_differences(make, shape):
    frontend = make(n_mels=20, hop_mel=512)
    generator = torch.Generator().manual_seed(3)
    x = (0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
    direction = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(frontend(x).shape, generator=generator).double()
    (weight * frontend(x)).sum().backward()
    assert x.grad is not None
    step = 1e-4
    with torch.no_grad():
        ahead, behind = frontend(x + step * direction), frontend(x - step * direction)
    numeric = (weight * (ahead - behind).double()).sum() / (2 * step)
    torch.testing.assert_close((x.grad * direction).sum(), numeric, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("make", [log_mel, pcen, both])
def test_settings_rebuild_it(make):
    frontend = make()
    again = build(Node.of(frontend.settings()), expect=FrontEnd, where="features")
    assert again.settings() == frontend.settings()
    assert frontend.settings()["_target_"] == f"preprocessing.frontend.{type(frontend).__name__}"
    x = torch.from_numpy(signal("noise", 0.5))
    for other in (again, copy.deepcopy(frontend), pickle.loads(pickle.dumps(frontend))):
        assert torch.equal(other(x), frontend(x))
    # All that it holds follows from its settings.
    assert frontend.state_dict() == {}


def test_settings_do_not_depend_on_how_a_number_is_written():
    assert log_mel(fmin=50).settings() == log_mel(fmin=50.0).settings()


def test_frame_rate():
    assert log_mel().frame_rate_hz == pytest.approx(86.1328125)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fmax": 11026}, r"features\.fmax=11026 .* features\.sr=22050 \(11025 Hz\)"),
        ({"fmin": 11025}, r"features\.fmin=11025 must be .* below features\.fmax=11025"),
        ({"fmin": -1}, r"features\.fmin=-1 must be at least 0"),
        ({"hop_mel": 0}, r"features\.hop_mel=0"),
        ({"hop_mel": 1025}, r"features\.hop_mel=1025 is longer .* features\.n_fft=1024"),
        ({"n_fft": 1}, r"features\.n_fft=1 "),
        ({"n_mels": 0}, r"features\.n_mels=0"),
        ({"n_mels": 400}, r"features\.n_mels=400 is too many for features\.n_fft=1024"),
        ({"sr": -1}, r"features\.sr=-1"),
        ({"floor_db": float("nan")}, r"features\.floor_db=nan"),
        ({"floor_db": -1000}, r"features\.floor_db=-1000"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        log_mel(**changes)


@pytest.mark.parametrize("key", PCEN_SETTINGS)
def test_impossible_pcen_settings_are_named(key):
    for value in (0.0, -1.0, float("inf")):
        with pytest.raises(UserError, match=rf"features\.{key}="):
            pcen(**{key: value})


def test_the_suggested_number_of_bands_fits():
    with pytest.raises(UserError, match=r"take n_mels=(\d+)") as caught:
        log_mel(n_mels=400)
    fits = int(str(caught.value).split("take n_mels=")[1].split()[0])
    assert 128 <= fits < 400
    log_mel(n_mels=fits)


def test_the_default_pcen_hears_quiet_recordings_from_the_head_on():
    """Its constants suit audio in [-1, 1]: what YAML says of them holds."""
    features = composed(["features=pcen"])["features"]
    frontend = PCEN(**{key: features[key] for key in {**MEL, **PCEN_SETTINGS}})
    # Dither of 16 bits, the quietest that a recording can be.
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 2, 5 * SR) / 32768).astype(np.float32)
    out = frontend(torch.from_numpy(x))
    head, later = out[:, 1:40].mean(), out[:, -200:].mean()
    assert later > 0.1
    assert head > 0.5 * later
    for name in SIGNALS:
        loud = frontend(torch.from_numpy(signal(name)))
        assert 0 <= loud.min() <= loud.max() < 8


def test_both_are_log_mel_above_pcen_of_one_mel_power():
    x = torch.from_numpy(signal("noise")).float()
    front_end = both()
    assert (front_end.channels, front_end.width) == (2, 256)
    expected_WT = torch.cat([log_mel()(x), pcen()(x)])
    assert torch.equal(front_end(x), expected_WT)
    power_TM = MelPower(**MEL)(x).T
    torch.testing.assert_close(front_end.compress(power_TM, None)[0].T, expected_WT)
