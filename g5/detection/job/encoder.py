"""The encoder that a user names for a detection: one, several side by side, or the best one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from g5.common.elsewhere import kept
from g5.common.errors import UserError
from g5.common.machine import cores
from g5.config.choices import choices
from g5.config.settings import Settings, load_node
from g5.detection.corpus import detector_with
from g5.detection.detector import Detector
from g5.detection.embedding.checkpoint_embedder import CheckpointEmbedder
from g5.detection.embedding.embedder import WindowEmbedder
from g5.detection.embedding.own_window import OwnWindowEmbedder, frames_for
from g5.detection.embedding.side_by_side import SideBySideEmbedder
from g5.detection.embedding.sound import Sounds
from g5.detection.job.reader import RecordingReader
from g5.detection.job.request import DetectionRequest
from g5.detection.job.support_table import read_targets
from g5.detection.scoring.evidence import Evidence, shares
from g5.detection.support import Target
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.tracking.folders import DEFAULT
from g5.training.estimate import duration
from g5.training.setup import device_of, prepare_torch, set_matmul_precision
from preprocessing import audio
from preprocessing.frontend import FrontEnd

# The name that leaves the choice to the shots.
AUTO = "auto"


def prepare(settings: Settings) -> None:
    """PyTorch's switches and what is fetched where, before anything is heard in this process."""
    kept.use(settings.audio.cache)
    prepare_torch(settings)
    set_matmul_precision(settings)


def detector_named(request: DetectionRequest, settings: Settings) -> tuple[Detector, Sounds]:
    """The detector that hears through the encoder, or encoders, that a user names.

    Raises:
        UserError: there is none, they do not go together, or an override is of what a checkpoint
            says itself.
    """
    names, overrides = [request.encoder], request.overrides
    if "+" in request.encoder and not Path(request.encoder).exists():
        names = request.encoder.split("+")
        encoders = [load_encoder(name, _own(name, overrides)) for name in names]
    else:
        encoders = [encoder_of(request.encoder, overrides)]
    # A checkpoint leads, where there is one: its features are made and stored once.
    encoders.sort(key=lambda encoder: encoder.restored is None)
    first = encoders[0]
    mel = settings.features.front_end
    front_end = first.restored.front_end if first.restored else frames_for(first, mel)
    parts = [embedder_of(encoder, front_end, settings) for encoder in encoders]
    trained = settings if first.restored is None else first.restored.settings
    return detector_with(
        parts[0] if len(parts) == 1 else SideBySideEmbedder([e.name for e in encoders], parts),
        settings.detection,
        block_s=trained.features.block_s,
        rules=settings.audio,
    )  # fmt: skip


def encoder_of(name: str, overrides: Sequence[str]) -> LoadedEncoder:
    """The encoder that a user names.

    Raises:
        UserError: there is none, or an override is of what a checkpoint says itself.
    """
    encoder = load_encoder(name, overrides)
    for key in map(_key, overrides):
        own = key.startswith("encoder.") and not key.endswith("._target_")
        if own and encoder.restored is not None:
            raise UserError(f"{key}: the checkpoint says it")
    return encoder


def _own(name: str, overrides: Sequence[str]) -> tuple[str, ...]:
    """Of overrides for several encoders, those that one of them has a key for."""
    if name in choices("encoder"):
        keys = load_node("encoder", name).values
        return tuple(one for one in overrides if _key(one).removeprefix("encoder.") in keys)
    return tuple(one for one in overrides if _key(one).endswith("._target_"))


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def embedder_of(encoder: LoadedEncoder, front_end: FrontEnd, settings: Settings) -> WindowEmbedder:
    """What embeds windows with an encoder: g5's architectures share work between them.

    Raises:
        UserError: a checkpoint has another front end.
    """
    detection, store, device = settings.detection, settings.path.store, device_of(settings)
    workers = cores(detection.workers)
    if encoder.restored is None:
        return OwnWindowEmbedder(
            encoder, front_end, store, device=device, batch=detection.batch, workers=workers
        )
    if encoder.restored.front_end.settings() != front_end.settings():
        raise UserError(
            f"{encoder.name}: has another front end than the checkpoint beside it; of several "
            "checkpoints side by side all must have one"
        )
    return CheckpointEmbedder(
        encoder.restored, store, device=device, batch=detection.batch, workers=workers,
        share=detection.share,
    )  # fmt: skip


def chosen(
    request: DetectionRequest, settings: Settings, files: Sequence[Path]
) -> DetectionRequest:
    """The request with the encoder in place of `AUTO` that keeps shots and gaps farthest apart.

    Of the shipped encoder and those whose YAML says ``auto``; prints a row for each.

    Raises:
        UserError: none is there, or the support has nothing to choose by.
    """
    if request.encoder != AUTO:
        return request
    names = [DEFAULT, *(n for n in choices("encoder") if load_node("encoder", n).values.get(AUTO))]
    apart: dict[str, float] = {}
    lacking: dict[str, str] = {}
    for name in names:
        one = replace(request, encoder=name, overrides=_own(name, request.overrides))
        try:
            detector, sounds = detector_named(one, settings)
        except UserError as error:
            lacking[name] = str(error)
            continue
        reader = RecordingReader(sounds, settings.path.store)
        targets, _ = read_targets(
            one, files, reader, sounds.front_end, settings.detection, lambda _: None
        )
        found = [Evidence.of(detector.embedder, target) for target in targets]
        apart[name] = float(np.mean([each.apart for each in found if each] or [np.nan]))
    best = max(apart, key=lambda name: apart[name], default=None)
    if best is None or np.isnan(list(apart.values())).any():
        raise UserError(
            "auto: chooses by two calls or more of a species and what lies between them; mark "
            f"more, or name one of {', '.join(apart or names)}"
        )
    print("encoder      shots from gaps, deviations")
    for name, value in sorted(apart.items(), key=lambda item: -item[1]):
        print(f"{name:<12} {value:4.1f}{'  taken' * (name == best)}")
    for name, why in lacking.items():
        print(f"{name:<12}    -  {why.removeprefix(f'{name}: ')}")
    return replace(request, encoder=best, overrides=_own(best, request.overrides))


def weigh(embedder: WindowEmbedder, targets: Sequence[Target]) -> None:
    """Weigh encoders that are side by side by what the shots say, and print their shares."""
    if not isinstance(embedder, SideBySideEmbedder):
        return
    embedder.weigh(shares(embedder.parts, targets))
    said = ", ".join(
        f"{name} {share:.0%}"
        for name, share in zip(embedder.names, embedder.weight_P**2, strict=True)
    )
    print(f"side by side, as the shots weigh them: {said}")


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
