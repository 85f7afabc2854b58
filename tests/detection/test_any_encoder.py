"""`g5 detect` with encoders of others, whose window is their own."""

from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from g5.config.settings import load
from g5.detection.embedding.own_window import OwnWindowEmbedder, frames_for
from g5.detection.embedding.side_by_side import SideBySideEmbedder
from g5.detection.embedding.sound import Sounds
from g5.detection.embedding.windows import Scale
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from preprocessing.audio import content_hash
from tests.conftest import run_g5
from tests.detection.soundscapes import CALLS_S, CPU, audacity, overlap, predictions
from tests.embeddings.model_files import small_onnx, small_tflite

SAID = ("encoder.sr=8000", "encoder.window_s=0.5", "detection.pictures=false")


@pytest.fixture
def here(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.wav").symlink_to(night)
    audacity(tmp_path / "five.txt", {"up": CALLS_S[:5]})
    return tmp_path


def detect(encoder: str, *overrides: str) -> int:
    return run_g5(["detect", encoder, "night.wav", "--support", "five.txt", *overrides])


class Heard(nn.Module):
    """Embeds a window by its first samples, and remembers what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.waves: list[torch.Tensor] = []

    def forward(self, wave_BS: torch.Tensor) -> torch.Tensor:
        self.waves.append(wave_BS)
        return wave_BS[:, :3] + 1


def embedder_of(module: nn.Module, folder, path, sr: int = 8000, window_s: float = 0.5):
    encoder = LoadedEncoder("heard", module, 3, sr, window_s, None, None, "class", {}, "none")
    front_end = frames_for(encoder, load().features.front_end)
    one = OwnWindowEmbedder(encoder, front_end, folder, device=CPU, batch=7, workers=1)
    sounds = Sounds(front_end, folder, sr="auto", time_expansion=1.0, block_s=3.0)
    return one, sounds.open(path, content_hash(path))


def test_a_short_window_is_centred_in_silence_and_a_long_one_cut(night, tmp_path):
    heard = Heard()
    one, sound = embedder_of(heard, tmp_path, night)
    hop, samples = one.front_end.hop_mel, soundfile.read(night, dtype="float32")[0]
    for width, start in ((20, 311), (300, 40)):
        heard.waves.clear()
        one.cut([(sound, np.array([start]))], width, None)
        wave, size = heard.waves[0][0].numpy(), min(width * hop, 4000)
        first = round((start + (width - 1) / 2) * hop - size / 2)
        before = (4000 - size) // 2
        # Half a sample may be rounded either way.
        near = [samples[at : at + size] for at in (first - 1, first, first + 1)]
        assert any(np.array_equal(wave[before : before + size], one) for one in near)
        assert not wave[:before].any()
        assert not wave[before + size :].any()


def test_a_grid_holds_what_windows_cut_one_by_one_give_and_is_made_once(night, tmp_path):
    one, sound = embedder_of(Heard(), tmp_path, night)
    scale = Scale(40, 9)
    starts_N = np.arange(scale.count(sound.n_frames)) * scale.hop
    grid_ND = one.grid(sound, scale, None)
    (cut_ND,) = one.cut([(sound, starts_N)], scale.width, None)
    torch.testing.assert_close(grid_ND.float(), cut_ND, rtol=1e-3, atol=1e-3)
    again, _ = embedder_of(nn.Module(), tmp_path, night)
    again.identity = one.identity
    assert torch.equal(again.grid(sound, scale, None), grid_ND)


def test_sound_is_heard_at_the_encoders_rate_and_short_sound_repeated(tmp_path):
    heard = Heard()
    time_s = np.arange(800) / 4000
    soundfile.write(tmp_path / "short.wav", 0.5 * np.sin(2 * np.pi * 500 * time_s), 4000)
    one, sound = embedder_of(heard, tmp_path, tmp_path / "short.wav", sr=16000, window_s=1.0)
    one.grid(sound, Scale(200, 50), None)
    wave = heard.waves[0][0].numpy()
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert abs(spectrum.argmax() - 500) <= 5
    assert one.front_end.sr == 16000
    assert (np.abs(wave) > 0).sum() > 1.9 * 3200


def test_every_encoder_of_embed_finds_calls(here):
    tests = {
        "handcrafted": ("detection.pictures=false",),
        str(small_onnx(here / "m.onnx")): SAID,
        "tests.user_encoders.Good": ("detection.pictures=false",),
    }
    for encoder, overrides in tests.items():
        assert detect(encoder, "-o", f"found {len(encoder)}", *overrides) == 0
        found: Any = predictions(here / f"found {len(encoder)}")
        assert overlap(found, CALLS_S[5:]) >= 4, encoder
    # Ends come from the frames, not from the encoder's window of a second.
    assert float((found["end_s"] - found["start_s"]).max()) < 0.5


def test_tflite_detects(here):
    path = small_tflite(here / "m.tflite")
    assert detect(str(path), *SAID) == 0
    assert len(predictions(here / "found")) > 0


def test_a_tuned_encoder_detects(here):
    from g5.embeddings.encoders.loaded import save_encoder

    save_encoder(load_encoder("waveform_cnn", ["encoder.channels=[8,8,8,8]"]), here / "tuned.ckpt")
    assert detect("tuned.ckpt", "detection.pictures=false") == 0
    assert len(predictions(here / "found")) > 0


def test_what_an_encoder_cannot_do_is_one_line(here, capsys):
    cases = {
        ("handcrafted", "encoder.rate=3"): "rate",
        ("tests.user_encoders.Raises",): "raises RuntimeError",
        ("tests.user_encoders.Infinite",): "NaN or infinite",
        ("tests.user_encoders.WrongWidth",): "where (1, 7) is needed",
        ("nothing",): "ENCODER 'nothing'",
    }
    for (encoder, *overrides), words in cases.items():
        assert detect(encoder, *overrides) == 1
        said = capsys.readouterr().err
        assert words in said, said
        assert "Traceback" not in said
    assert not (here / "found" / "predictions.csv").exists()


def test_an_encoder_slower_than_real_time_says_so_before_it_starts(here, monkeypatch, capsys):
    monkeypatch.setattr(OwnWindowEmbedder, "cost_s", lambda _: 0.5)
    assert detect("handcrafted", "detection.pictures=false") == 0
    said = capsys.readouterr().err
    assert "slower than real time here" in said
    assert "some 2 min for 30 s of recordings" in said


def test_encoders_side_by_side_are_weighed_by_the_shots(here, capsys):
    pair = "default+tests.user_encoders.Good"
    assert detect(pair, "detection.pictures=false") == 0
    said = capsys.readouterr().out
    assert "side by side, as the shots weigh them: default " in said
    assert overlap(predictions(here / "found"), CALLS_S[5:]) >= 4
    # An encoder that hears nothing gets no weight beside one that does.
    assert detect("handcrafted+tests.user_encoders.Deaf", "-o", "half", "detection.gate=0") == 0
    assert "tests.user_encoders.Deaf 0%" in capsys.readouterr().out


def test_a_pair_is_its_parts_at_unit_length(night, tmp_path):
    one, sound = embedder_of(Heard(), tmp_path, night)
    pair = SideBySideEmbedder(["a", "b"], [one, one])
    pair.weigh(np.array([3.0, 1.0]))
    scale = Scale(40, 9)
    grid_ND = pair.grid(sound, scale, None).float()
    (cut_ND,) = pair.cut([(sound, np.arange(len(grid_ND)) * scale.hop)], scale.width, None)
    torch.testing.assert_close(grid_ND, cut_ND, rtol=2e-3, atol=2e-3)
    lengths_N2 = torch.stack([cut_ND[:, :3].norm(dim=1), cut_ND[:, 3:].norm(dim=1)], dim=1)
    share_N2 = lengths_N2.square() / lengths_N2.square().sum(dim=1, keepdim=True)
    torch.testing.assert_close(share_N2, torch.tensor([0.75, 0.25]).expand_as(share_N2))


def test_auto_takes_what_keeps_shots_and_gaps_apart_and_says_so(here, capsys):
    assert detect("auto", "detection.pictures=false") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (taken,) = [row[0] for row in rows if row[-1:] == ["taken"]]
    apart = {row[0]: float(row[1]) for row in rows if row[:1] in (["default"], ["handcrafted"])}
    assert taken == max(apart, key=lambda name: apart[name])
    assert any(row[:2] == ["perch", "-"] for row in rows)
    assert len(predictions(here / "found")) > 0
    audacity(here / "five.txt", {"up": CALLS_S[:1]})
    assert detect("auto", "-o", "other") == 1
    assert "two calls or more of a species" in capsys.readouterr().err
