"""What a stretch of a recording looks and sounds like: spectrogram tiles and audio snippets.

Both are bytes, a few kB each: tiles are PNG with 16 colours, snippets are MP3, which every browser
plays.

Shapes: T samples, W columns of pixels, H rows of pixels, K frames, F frequency bins.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from g5.common.errors import UserError
from g5.web.axis import FrequencyAxis
from preprocessing.audio import info, read
from preprocessing.audio_rules import AudioRules

# Loudness in a tile: from the median of its pixels, but at least and at most so far below its
# loudest.
LEAST_DB, MOST_DB = 25.0, 65.0
LEVELS = 15  # of loudness; a palette of 16 colours is half a byte a pixel, one is for marks
MARK_RGB = (0x56, 0xE0, 0xFF)  # told apart from every colour of the ramp, by any eye
WINDOW_S = (0.001, 0.04)  # shortest and longest analysis window
# Rates of MPEG-1 and MPEG-2 audio; nobody hears what a higher one adds.
MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100)
AUDIBLE_HZ = 8_000  # a slowed-down call should end below this: the old hear it too
PEAK = 0.9  # of a snippet whose level is normalised
AUDIO_TYPE = "audio/mpeg"


@dataclass(frozen=True)
class Mark:
    """A box in a tile: seconds of the recording, and Hz where it is bounded in frequency."""

    start_s: float
    end_s: float
    low_hz: float | None = None
    high_hz: float | None = None


def spectrogram_tile(
    path: str | os.PathLike[str],
    rules: AudioRules,
    start_s: float,
    end_s: float,
    *,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    bent: bool = False,
    marks: Sequence[Mark] = (),
    width: int = 256,
    height: int = 112,
) -> bytes:
    """Draw the spectrogram of a stretch of a recording, time to the right, low frequencies below.

    What lies before the start or behind the end of the file is left dark.

    Args:
        path: a sound file of any rate and number of channels.
        start_s, end_s: the stretch, seconds.
        low_hz, high_hz: the band that is shown; None: up to half the rate.
        bent: low frequencies take more room, as `g5.web.axis.FrequencyAxis` has it.
        marks: boxes drawn on top, in the recording's time.
        width, height: pixels.

    Returns:
        PNG.

    Raises:
        UserError: the file cannot be read, or the stretch or the band lies outside it.
    """
    x_T, rate_hz, lead = _stretch(path, rules, start_s, end_s)
    top_hz = rate_hz / 2 if high_hz is None else min(high_hz, rate_hz / 2)
    if not 0 <= low_hz < top_hz:
        raise UserError(
            f"{path}: {low_hz:g} to {top_hz:g} Hz is no band of a recording of {rate_hz:,} Hz"
        )
    length = round((end_s - start_s) * rate_hz)
    axis = FrequencyAxis(low_hz, top_hz, bent)
    db_HW = _power_db(x_T, rate_hz, axis, lead, max(length, 1), width, height)
    level_HW = _levels(db_HW)
    for mark in marks:
        _outline(level_HW, mark, (start_s, end_s), axis)
    return _png(level_HW)


def audio_snippet(
    path: str | os.PathLike[str], rules: AudioRules, start_s: float, end_s: float, *, slow_down:
    float = 1.0, normalise: bool = True, fade_s: float = 0.005,
) -> bytes:  # fmt: skip
    """Cut a stretch of a recording for listening.

    Args:
        path: a sound file of any rate.
        rules: how it is read.
        start_s, end_s: the stretch, seconds; what lies outside the file is left out.
        slow_down: how many times slower, and so lower, than it was; see `audible_slow_down`.
        normalise: bring the loudest sample to 0.9 of full scale.
        fade_s: length of the fades at both ends, seconds of the recording.

    Returns:
        MP3, mono, of media type `AUDIO_TYPE`.

    Raises:
        UserError: the file cannot be read, or the stretch lies outside it.
    """
    import soundfile
    import soxr

    assert slow_down > 0, slow_down
    x_T, rate_hz, _ = _stretch(path, rules, start_s, end_s)
    x_T = x_T - x_T.mean()
    n_fade = min(round(fade_s * rate_hz), len(x_T) // 2)
    ramp = np.linspace(0, 1, n_fade, dtype=np.float32)
    x_T[:n_fade] *= ramp
    x_T[len(x_T) - n_fade :] *= ramp[::-1]
    played_hz = rate_hz / slow_down
    out_hz = next((rate for rate in MP3_RATES_HZ if rate >= played_hz), MP3_RATES_HZ[-1])
    x_T = soxr.resample(x_T, played_hz, out_hz)
    peak = float(np.abs(x_T).max(initial=0))
    if normalise and peak > 0:
        x_T = x_T * np.float32(PEAK / peak)
    target = io.BytesIO()
    # The middle of LAME's variable bit rates: about 8 kB a second.
    soundfile.write(target, x_T.clip(-1, 1), out_hz, format="MP3", subtype="MPEG_LAYER_III",
                    compression_level=0.5, bitrate_mode="VARIABLE")  # fmt: skip
    return target.getvalue()


def audible_slow_down(high_hz: float) -> int:
    """By what power of two a call that reaches ``high_hz`` is to be slowed down to be heard."""
    return int(2 ** max(0, np.ceil(np.log2(max(high_hz, 1) / (2 * AUDIBLE_HZ)))))


def _stretch(
    path: str | os.PathLike[str], rules: AudioRules, start_s: float, end_s: float
) -> tuple[np.ndarray, int, int]:
    """The samples of a stretch that the file has, its rate, and how many are missing before."""
    header = info(path)
    where = f"{path}: {start_s:.3f} to {end_s:.3f} s"
    if not np.isfinite([start_s, end_s]).all() or end_s <= start_s:
        raise UserError(f"{where} is no stretch of time")
    if end_s <= 0 or start_s >= header.duration_s:
        raise UserError(f"{where} lies outside the recording, which has {header.duration_s:.3f} s")
    x_T = read(path, rules, start_s=max(start_s, 0.0), end_s=min(end_s, header.duration_s))
    if not len(x_T):  # less than a sample
        x_T = np.zeros(1, np.float32)
    return x_T, header.rate_hz, max(0, round(-start_s * header.rate_hz))


def _power_db(
    x_T: np.ndarray,
    rate_hz: int,
    axis: FrequencyAxis,
    lead: int,
    length: int,
    width: int,
    height: int,
) -> np.ndarray:
    """(H, W) power in dB, the highest frequency first; -inf where the file has nothing.

    Each pixel is the loudest of the frames and bins that fall on it, so that short calls do not
    vanish from long stretches.
    """
    shortest, longest = (round(s * rate_hz) for s in WINDOW_S)
    window = 2 ** round(np.log2(np.clip(length / 64, max(shortest, 32), max(longest, 64))))
    # At least one bin for each row of pixels; zeros are appended where the window has fewer.
    edges = axis.edges_hz(height)
    need = rate_hz / np.diff(edges)[0]
    n_fft = 2 ** int(np.ceil(np.log2(np.clip(need, window, 2**15))))
    per_column = int(np.clip(np.ceil(2 * length / width / window), 1, 8))
    center_K = (np.arange(width * per_column) + 0.5) * length / (width * per_column) - lead
    first_K = np.floor(center_K - window / 2).astype(np.int64)
    padded_T = np.pad(x_T, (window, window + 1))
    hann = np.hanning(window + 2)[1:-1].astype(np.float32)
    bin_H = np.minimum(np.round(edges[:-1] * n_fft / rate_hz).astype(np.int64), n_fft // 2)
    last_bin = min(int(np.ceil(axis.high_hz * n_fft / rate_hz)), n_fft // 2) + 1
    power_HW = np.zeros((height, width), np.float32)
    inside_K = (first_K > -window) & (first_K < len(x_T))
    offset = np.arange(window)
    block = max(per_column, 2**20 // n_fft // per_column * per_column)  # frames at once
    for k in range(0, len(first_K), block):
        start_K = np.clip(first_K[k : k + block] + window, 0, len(padded_T) - window)
        frames_KT = padded_T[start_K[:, None] + offset] * hann
        spectrum_KF = np.abs(np.fft.rfft(frames_KT, n_fft)[:, :last_bin]) ** 2
        spectrum_KF[~inside_K[k : k + block]] = 0
        rows_KH = np.maximum.reduceat(spectrum_KF, np.minimum(bin_H, last_bin - 1), axis=1)
        columns_WH = rows_KH.reshape(-1, per_column, height).max(1)
        power_HW[:, k // per_column :][:, : len(columns_WH)] = columns_WH.T
    with np.errstate(divide="ignore"):
        return 10 * np.log10(power_HW[::-1])


def _levels(db_HW: np.ndarray) -> np.ndarray:
    """(H, W) uint8 below `LEVELS`: the louder, the higher."""
    heard = db_HW[np.isfinite(db_HW)]
    if not len(heard):
        return np.zeros(db_HW.shape, np.uint8)
    top = np.percentile(heard, 99.9)
    floor = np.clip(np.median(heard), top - MOST_DB, top - LEAST_DB)
    share_HW = np.clip((db_HW - floor) / (top - floor), 0, 1)
    return np.round(share_HW * (LEVELS - 1)).astype(np.uint8)


def _outline(
    level_HW: np.ndarray, mark: Mark, span_s: tuple[float, float], axis: FrequencyAxis
) -> None:
    """Draw the part of a mark that lies in the tile."""
    height, width = level_HW.shape
    seconds = span_s[1] - span_s[0]
    left = (mark.start_s - span_s[0]) / seconds * width
    right = (mark.end_s - span_s[0]) / seconds * width
    top, bottom = (
        (1 - axis.share(max(default if hz is None else hz, axis.low_hz))) * height
        for hz, default in ((mark.high_hz, axis.high_hz), (mark.low_hz, axis.low_hz))
    )
    if right <= 0 or left >= width or bottom <= 0 or top >= height:
        return
    x0, x1 = (int(np.clip(x, 0, width - 1)) for x in (left, right))
    y0, y1 = (int(np.clip(y, 0, height - 1)) for y in (top, bottom))
    level_HW[[y0, y1], x0 : x1 + 1] = LEVELS
    # An end that lies outside the tile is left open.
    for x, inside in ((x0, left >= 0), (x1, right <= width)):
        if inside:
            level_HW[y0 : y1 + 1, x] = LEVELS


def _png(level_HW: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(level_HW, mode="P")
    image.putpalette(_palette())
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return target.getvalue()


@cache
def _palette() -> bytes:
    """The 15 colours of loudness, and the marks'."""
    from matplotlib import colormaps

    # Perceptually even, and as even in grey and to colour-blind eyes.
    ramp = colormaps["magma"](np.linspace(0, 1, LEVELS), bytes=True)[:, :3]
    return bytes([*ramp.flatten().tolist(), *MARK_RGB])
