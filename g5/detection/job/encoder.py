"""The encoder that a user names for a detection, ready to embed windows."""

from collections.abc import Sequence
from pathlib import Path

from g5.common.errors import UserError
from g5.common.machine import cores
from g5.config.settings import Settings
from g5.detection.detector import Detector
from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.own_window import OwnWindowEmbedder, frames_for
from g5.detection.support import Target
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.training.estimate import duration
from g5.training.setup import device_of
from preprocessing import audio


def encoder_of(name: str, overrides: Sequence[str]) -> LoadedEncoder:
    """The encoder that a user names.

    Raises:
        UserError: there is none, or an override is of what a checkpoint says itself.
    """
    encoder = load_encoder(name, overrides)
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        own = key.startswith("encoder.") and not key.endswith("._target_")
        if own and encoder.restored is not None:
            raise UserError(f"{key}: the checkpoint says it")
    return encoder


def embedder_of(encoder: LoadedEncoder, settings: Settings) -> WindowEmbedder:
    """What embeds windows with an encoder: g5's architectures share work between them."""
    detection, store, device = settings.detection, settings.path.store, device_of(settings)
    workers = cores(detection.workers)
    if encoder.restored is not None:
        return CheckpointEmbedder(
            encoder.restored, store, device=device, batch=detection.batch, workers=workers,
            share=detection.share,
        )  # fmt: skip
    front_end = frames_for(encoder, settings.features.front_end)
    return OwnWindowEmbedder(
        encoder, front_end, store, device=device, batch=detection.batch, workers=workers
    )


def told_time(detector: Detector, targets: Sequence[Target], files: Sequence[Path]) -> str | None:
    """How long a search will take, where it is slower than real time; None where it is not.

    Raises:
        UserError: the encoder does not embed sound.
    """
    embedder, sound = detector.embedder, targets[0].shots[0].sound
    scales = {s for one in targets for s in detector.scorer.scales(sound, one, embedder.stride)}
    cost_s = embedder.cost_s() if scales else 0.0
    windows_hz = sum(sound.frame_rate_hz / scale.hop for scale in scales)
    if windows_hz * cost_s <= 1:
        return None
    total_s = sum(audio.info(file).duration_s for file in files)
    return (
        f"the encoder is slower than real time here: {windows_hz:.0f} windows a second of sound, "
        f"{1000 * cost_s:.0f} ms each, some {duration(total_s * windows_hz * cost_s)} for "
        f"{duration(total_s)} of recordings; a larger detection.hop takes fewer windows"
    )
