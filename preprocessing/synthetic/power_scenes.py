"""Scenes in mel power: a dry track gets its place, its recorder and its neighbours, on the device.

Powers of sounds that know nothing of each other add, and a filter, the air and (on the scale of a
frame) an echo are factors and sums of power. So what takes longest to make, the tracks, is heard
in new scenes at every step, for the price of a few products. What a mixture of waveforms would
have beside is the interference of partials in one band, which is noise to a listener, too.

Every draw is from torch's global generator of the tracks' device: seeding a step makes it repeat.

Shapes: B clips, M mel bands, T frames, K knots of a response.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from preprocessing.synthetic.mixing import AIR_DB_PER_M, AIR_POWER

# A band or a frame belongs to a call from this share of the strongest on.
OF_THE_CALL = 0.05
AUDIBLE = 1e-3
# Of the random filters: knots over the bands, and how steep a band limit is.
RECORDER_KNOTS, BACKGROUND_KNOTS = 7, 5
LIMIT_DB_PER_OCTAVE = 60.0
CORNER_HZ = (15.0, 150.0)
LOUDEST_POWER = (1.0, 1e4)  # of the loudest cell: what a recordist's gain leaves
EDITED_DB, DITHER_DB = (20.0, 80.0), (-110.0, -50.0)
SILENT = 1e-20


@dataclass(frozen=True)
class PlaceSettings:
    """What may happen to a track; see `pretrain.place` in conf/pretrain.yaml."""

    snr_db: tuple[float, float]  # of a call over what lies under it, in its own band
    reverb: float  # share of clips
    reverb_s: tuple[float, float]
    wet_db: tuple[float, float]
    distractors: float  # share of clips
    distractor_snr_db: tuple[float, float]
    far: float  # share of clips whose calls come from afar
    far_m: float
    background_eq_db: float
    eq_db: float
    band_limit: float  # share of recorders
    band_limit_hz: float  # the lowest of them
    edited: float  # share of clips from which the background was taken, by an editor or a gate


class PowerScenes:
    """Mixes tracks into clips.

    Args:
        settings: what may happen.
        mel_hz: centres of the bands (M,).
        hop_s: seconds from frame to frame.
        takes: so many clips after each other come from one recorder; all else they have apart.
    """

    def __init__(
        self, settings: PlaceSettings, mel_hz: Tensor, *, hop_s: float, takes: int = 1
    ) -> None:
        self.settings, self.hop_s, self.takes = settings, hop_s, takes
        self.mel_hz = mel_hz
        self.clips, self.device = 0, mel_hz.device
        octave_M = torch.log2(mel_hz / mel_hz[0])
        self.place_M = octave_M / octave_M[-1]

    def __call__(
        self, track_BMT: Tensor, other_BMT: Tensor, background_BMT: Tensor, *, lead: int
    ) -> Tensor:
        """Clips ``(B, M, lead + T)`` as power, the call in the last T frames.

        Args:
            track_BMT: what is to be recognised, power.
            other_BMT: what else may sound, in a share of the clips: (B, M, lead + T).
            background_BMT: (B, M, lead + T).
            lead: frames before the clip, in which a front end may settle.
        """
        s = self.settings
        self.clips, self.device = len(track_BMT), track_BMT.device
        self.mel_hz, self.place_M = self.mel_hz.to(self.device), self.place_M.to(self.device)
        call_BMT = self._reverberated(F.pad(track_BMT, (lead, 0)))
        call_BMT = call_BMT * self._air()[:, :, None]
        under_BMT = background_BMT * self._background_filter(background_BMT)[:, :, None]
        some_B = self._some(s.distractors)
        under_BMT = under_BMT + other_BMT * (
            some_B * self._gain(other_BMT, under_BMT, self._uniform(*s.distractor_snr_db))
        )[:, None, None]  # fmt: skip
        gain_B = self._gain(call_BMT, under_BMT, self._uniform(*s.snr_db))
        edited_B = self._some(s.edited)
        left_B = 10 ** (-edited_B * self._uniform(*EDITED_DB) / 10)
        mixed_BMT = under_BMT * left_B[:, None, None] + call_BMT * gain_B[:, None, None]
        mixed_BMT = mixed_BMT * self._recorder()[:, :, None]
        low, high = (math.log10(power) for power in LOUDEST_POWER)
        loudest_B = mixed_BMT.amax((1, 2)).clamp(min=SILENT)
        mixed_BMT = mixed_BMT * (10 ** self._uniform(low, high) / loudest_B)[:, None, None]
        return mixed_BMT + self._dither(mixed_BMT) * edited_B[:, None, None]

    def _dither(self, mixed_BMT: Tensor) -> Tensor:
        """What a file of so many bits has where nothing sounds."""
        level_B = 10 ** (self._uniform(*DITHER_DB) / 10)
        return -torch.rand_like(mixed_BMT).clamp(min=SILENT).log() * level_B[:, None, None]

    # --- draws ------------------------------------------------------------------------------

    def _uniform(self, low: float, high: float) -> Tensor:
        return torch.empty(self.clips, device=self.device).uniform_(low, high)

    def _some(self, share: float) -> Tensor:
        return (self._uniform(0.0, 1.0) < share).float()

    def _response_db(self, knots: int, db: float) -> Tensor:
        """Random dB over the bands, linear between ``knots`` of that deviation: (B, M)."""
        knots_BK = torch.randn(self.clips, knots, device=self.device) * db
        at_M = self.place_M * (knots - 1)
        left_M = at_M.long().clamp(max=knots - 2)
        share_M = at_M - left_M
        return knots_BK[:, left_M] * (1 - share_M) + knots_BK[:, left_M + 1] * share_M

    # --- what a place does ------------------------------------------------------------------

    def _reverberated(self, call_BMT: Tensor) -> Tensor:
        """Exponential tails under the calls (Moorer 1979): energy smeared forward in time."""
        s = self.settings
        rt60_B = torch.exp(self._uniform(*map(math.log, s.reverb_s)))
        wet_B = 10 ** (self._uniform(*s.wet_db) / 10) * self._some(s.reverb)
        frame_T = torch.arange(call_BMT.shape[2], device=self.device)
        lag_TT = frame_T[:, None] - frame_T
        decay_BTT = 10 ** (-6 * self.hop_s * lag_TT.clamp(min=0) / rt60_B[:, None, None])
        tail_BMT = call_BMT @ (decay_BTT * (lag_TT > 0)).transpose(1, 2)
        energy_B = call_BMT.sum((1, 2)) / tail_BMT.sum((1, 2)).clamp(min=SILENT)
        return call_BMT + tail_BMT * (wet_B * energy_B)[:, None, None]

    def _air(self) -> Tensor:
        """Power that the air leaves of a call from afar: (B, M)."""
        metres_B = self._uniform(0.0, self.settings.far_m)
        metres_B = metres_B * self._some(self.settings.far)
        return 10 ** (-AIR_DB_PER_M / 10 * metres_B[:, None] * (self.mel_hz / 1000) ** AIR_POWER)

    def _background_filter(self, background_BMT: Tensor) -> Tensor:
        return 10 ** (self._response_db(BACKGROUND_KNOTS, self.settings.background_eq_db) / 10)

    def _recorder(self) -> Tensor:
        """Recorders nobody knows, as `mixing.random_channel` draws them: power (B, M)."""
        s = self.settings
        db_BM = self._response_db(RECORDER_KNOTS, 0.7 * s.eq_db)
        tilt_B = torch.randn(self.clips, device=self.device) * 1.4 * s.eq_db
        db_BM = db_BM + tilt_B[:, None] * (self.place_M - 0.5)
        corner_B = torch.exp(self._uniform(*map(math.log, CORNER_HZ)))
        db_BM = db_BM - 10 * torch.log10(1 + (corner_B[:, None] / self.mel_hz) ** 4)
        top_B = self._uniform(s.band_limit_hz, float(self.mel_hz[-1]))
        over_BM = torch.log2(self.mel_hz / top_B[:, None]).clamp(0, 1)
        db_BM = db_BM - self._some(s.band_limit)[:, None] * LIMIT_DB_PER_OCTAVE * over_BM
        return (10 ** (db_BM[:: self.takes] / 10)).repeat_interleave(self.takes, dim=0)

    def _gain(self, call_BMT: Tensor, under_BMT: Tensor, snr_db_B: Tensor) -> Tensor:
        """Factor that puts calls so far over what lies under them, in band and time of the call."""
        spectrum_BM, course_BT = call_BMT.sum(2), call_BMT.sum(1)
        band_BM = (spectrum_BM > OF_THE_CALL * spectrum_BM.amax(1, keepdim=True)).float()
        sounds_BT = (course_BT > AUDIBLE * course_BT.amax(1, keepdim=True)).float()
        power_BT = torch.einsum("bmt,bm->bt", call_BMT, band_BM) * sounds_BT
        power_B = power_BT.sum(1) / sounds_BT.sum(1).clamp(min=1)
        under_B = torch.einsum("bmt,bm->b", under_BMT, band_BM) / under_BMT.shape[2]
        wanted_B = 10 ** (snr_db_B / 10) * under_B
        return torch.where(power_B > SILENT, wanted_B / power_B.clamp(min=SILENT), 0.0)


def windows(track_BMT: Tensor, frames: int) -> Tensor:
    """A stretch of ``frames`` from each track around a moment that sounds, silent beyond its ends.

    The moment is drawn by loudness, and lies anywhere in the stretch: (B, M, frames).
    """
    clips, _, length = track_BMT.shape
    course_BT = track_BMT.sum(1)
    loudest_B1 = course_BT.amax(1, keepdim=True).clamp(min=SILENT)
    weight_BT = (course_BT / loudest_B1) ** 0.3 * (course_BT > AUDIBLE * loudest_B1) + 1e-9
    moment_B = torch.multinomial(weight_BT, 1)[:, 0]
    within_B = torch.randint(0, frames, (clips,), device=track_BMT.device)
    at_BT = (moment_B - within_B)[:, None] + torch.arange(frames, device=track_BMT.device)
    inside_BT = (at_BT >= 0) & (at_BT < length)
    index_BMT = at_BT.clamp(0, length - 1)[:, None].expand(-1, track_BMT.shape[1], -1)
    return torch.gather(track_BMT, 2, index_BMT) * inside_BT[:, None]
