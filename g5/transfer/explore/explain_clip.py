"""`g5 explain`: which regions of time and frequency drive a checkpoint's decision on a clip."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g5.common.errors import UserError
from g5.config.schema import ExplainSettings
from g5.embeddings.stretch import Stretch
from g5.evaluation.figures.style import drawing
from g5.tracking.folders import find
from g5.tracking.restore import Restored, restore
from g5.transfer.explore.explain import integrated_gradients, occlusion
from g5.web.axis import spaced_ticks_hz
from preprocessing import audio
from preprocessing.audio_rules import AudioRules
from preprocessing.frontend import FrontEnd
from preprocessing.spectra.mel import band_centres_hz

APART = 0.12  # of the height: ticks of the axis of frequency


def explain(
    checkpoint: Path, clip: str, like: Sequence[str], out: Path | None, settings: ExplainSettings,
    rules: AudioRules, known: Collection[str] = (),
) -> None:  # fmt: skip
    """Draw the clip and what its likeness to a prototype rests on, by the model's own distance.

    The prototype is the mean embedding of the ``like`` clips; without them it is the clip's own,
    and the picture says what its embedding rests on. Of a foreign class nothing is imported that
    the user did not name (``known``).
    """
    path, message = find(checkpoint)
    if message:
        print(message)
    restored = restore(path, known=known, keys=("encoder", "encoder.front_end"))
    x_1MT = features(restored, clip, rules)
    with torch.no_grad():
        shown = [features(restored, text, rules)[None] for text in like or [clip]]
        support_1KD = torch.stack([restored.model(x_11MT)[0] for x_11MT in shown])[None]
        proto_1D, within_SD = support_1KD.mean(dim=1), restored.model.scatter_of(support_1KD)

    def embed(x_B1MT: Tensor) -> Tensor:
        return restored.model(x_B1MT)

    def score(z_BD: Tensor) -> Tensor:
        return restored.model.compared(proto_1D, z_BD, within_SD)[:, 0]

    if settings.method == "occlusion":
        frames = max(1, round(settings.patch_s * restored.front_end.frame_rate_hz))
        map_MT = occlusion(embed, x_1MT, score, mels=settings.patch_mels, frames=frames)
    else:
        map_MT = integrated_gradients(embed, x_1MT, score, steps=settings.steps)
    out = out or Path(f"{Path(clip.rpartition(':')[0] or clip).stem}_explained.png")
    names = [Path(text).name for text in like]
    likeness = f"likeness to {', '.join(names[:2])}{' and more' if len(names) > 2 else ''}"
    what = f"what {likeness if like else 'its own embedding'} rests on ({settings.method})"
    title = f"{Path(clip).name}:\n{what}"
    _draw(x_1MT[0], map_MT, title, out, restored.front_end)
    best = int(map_MT.sum(dim=0).argmax())
    print(f"strongest at {best / map_MT.shape[1]:.0%} of the clip's length; figure {out}")


def features(restored: Restored, text: str, rules: AudioRules) -> Tensor:
    """``FILE`` or ``FILE:START-END`` as the encoder's input, (1, M, T)."""
    one = Stretch.parse(text)
    rate_hz = restored.front_end.sr
    wave_T = audio.read(one.file, rules, start_s=one.start_s, end_s=one.end_s, rate_hz=rate_hz)
    if not len(wave_T):
        raise UserError(f"{text}: has no sound from {one.start_s:g} s on")
    x_11MT = restored.front_end(torch.from_numpy(wave_T)[None])[:, None]
    return restored.normalize(x_11MT)[0]


def _draw(x_MT: Tensor, map_MT: Tensor, title: str, out: Path, front_end: FrontEnd) -> None:
    bands = x_MT.shape[0]
    extent = (0.0, x_MT.shape[1] / front_end.frame_rate_hz, -0.5, bands - 0.5)
    mel = front_end.settings()
    low_hz, high_hz = float(mel["fmin"]), float(mel["fmax"])
    centre_hz_M = band_centres_hz(bands, low_hz, high_hz)

    def band(hz: float) -> float:
        return float(np.interp(hz, centre_hz_M, np.arange(bands)))

    ticks = spaced_ticks_hz(low_hz, high_hz, lambda hz: band(hz) / bands, APART)
    shared: Any = {"origin": "lower", "aspect": "auto", "extent": extent}
    limit = float(map_MT.abs().max()) or 1.0
    with drawing(out, 8, 5) as figure:
        above, below = figure.subplots(2, 1, sharex=True)
        above.imshow(x_MT.numpy(), cmap="magma", **shared)
        above.set_title(title, fontsize=9)
        image = below.imshow(map_MT.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, **shared)
        below.set_xlabel("seconds")
        for axes in (above, below):
            axes.grid(False)
            axes.set_yticks([band(hz) for hz in ticks], [f"{hz / 1000:g}" for hz in ticks])
            axes.set_ylabel("kHz")
        figure.colorbar(image, ax=[above, below], label="red: speaks for it, blue: against")
