"""Opens a sound file as it has to be read, or says in one line why it cannot be used."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from g5.common.elsewhere import kept
from g5.common.errors import UserError
from g5.common.files import is_foreign
from preprocessing.audio_rules import AudioRules
from preprocessing.containers.caf import cut_caf
from preprocessing.containers.flac import flac_mended
from preprocessing.containers.mpeg import mp3_mended
from preprocessing.containers.ogg import first_ogg
from preprocessing.containers.riff import WavLayout, open_samples, wav_layout
from preprocessing.containers.stretch import Mended
from preprocessing.decoder_noise import quiet_decoder

UNKNOWN = "Format not recognised"
_MP3_SPARE = 4 * 1152  # it counts packets of up to 1152 frames and hides its encoder's delay


Layout = WavLayout | Mended | None


@contextmanager
def opened(
    path: str | os.PathLike[str], rules: AudioRules | None = None
) -> Iterator[tuple[soundfile.SoundFile, Layout]]:
    """Open a sound file; what the decoder refuses, then or while it is read, is said in one line.

    Raises:
        UserError: it is missing, no regular file, no sound file, empty, or of a rate that the
            ``rules`` refuse.
    """
    path = Path(path)
    try:
        refuse_irregular(path)
        layout = (
            wav_layout(path)
            or cut_caf(path)
            or first_ogg(path)
            or flac_mended(path)
            or mp3_mended(path)
        )
        sound = _sound(path, layout)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: {_why(path, error.error_string)}") from error
    with sound:
        if layout is None and sound.format == "RAW":  # libsndfile goes by the suffix alone
            raise UserError(f"{path}: {_why(path, UNKNOWN)}")
        if sound.frames == 0:
            raise UserError(f"{path}: has no samples; replace or remove it")
        if not sound.seekable():
            raise UserError(
                f"{path}: cannot be read as sound ({sound.subtype} is not supported); convert it "
                "to WAV or FLAC"
            )
        if rules and not rules.min_rate_hz <= sound.samplerate <= rules.max_rate_hz:
            raise UserError(
                f"{path}: says that it has {sound.samplerate:,} samples a second, and rates from "
                f"audio.min_rate_hz={rules.min_rate_hz} to "
                f"audio.max_rate_hz={rules.max_rate_hz} are read; put its header right"
            )
        yield sound, layout


def _sound(path: Path, layout: Layout) -> soundfile.SoundFile:
    """The file as libsndfile reads it, unless its layout says otherwise."""
    if isinstance(layout, Mended):
        with quiet_decoder():
            return layout.open(path)
    if layout is None or not layout.raw:
        with quiet_decoder():
            return soundfile.SoundFile(path)
    try:
        sound = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return open_samples(path, layout)
    if (sound.frames, sound.subtype) == (layout.frames, layout.subtype):
        return sound
    sound.close()
    return open_samples(path, layout)


def refuse_irregular(path: Path) -> None:
    """A pipe or a device would be waited for, or never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    if stat.S_ISDIR(mode) and not os.access(path, os.R_OK | os.X_OK):
        raise UserError(f"{path}: is a folder that cannot be entered; permit it, or remove it")
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a folder; a sound file is needed here")
    kept.check_regular(path)


def _why(path: Path, error: str) -> str:
    if path.stat().st_size == 0:
        return "cannot be read as sound (it is empty); replace or remove it"
    if is_foreign(path):
        kind = path.suffix.lower()
        return f"cannot be read as sound ({kind} is not supported); convert it to WAV or FLAC"
    error = UNKNOWN if "does not exist" in error else error.rstrip(".")  # its word for no MP3
    return f"cannot be read as sound ({error}); replace or remove it"


def has_start(sound: soundfile.SoundFile) -> bool:
    """Whether its first sample can be decoded."""
    return _decodes(sound, 0)


def promised(sound: soundfile.SoundFile) -> int:
    """How many frames there are at least, by the header."""
    return sound.frames - (_MP3_SPARE if sound.format == "MP3" and sound.frames > _MP3_SPARE else 0)


def has_end(sound: soundfile.SoundFile) -> bool:
    """Whether the last samples that the header promises are there."""
    if sound.format == "MP3" and sound.frames <= _MP3_SPARE:  # it may be decoded as a whole
        with quiet_decoder():
            sound.seek(0)
            return len(decoded(sound, sound.frames)) == sound.frames
    return _decodes(sound, promised(sound) - 1)


def _decodes(sound: soundfile.SoundFile, frame: int) -> bool:
    try:
        with quiet_decoder(sound.format == "MP3"):
            sound.seek(frame)
            return len(decoded(sound, 1)) == 1
    except soundfile.LibsndfileError:
        return False


def decoded(
    sound: soundfile.SoundFile, frames: int, dtype: Literal["float32", "float64"] = "float32"
) -> np.ndarray:
    """The next samples (T, C), at most so many; none at the end, or where that was passed."""
    if sound.tell() >= sound.frames:
        return np.zeros((0, sound.channels), dtype)
    return sound.read(frames, dtype=dtype, always_2d=True)
