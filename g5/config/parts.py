"""From the settings to the objects of `preprocessing/` that they describe."""

from typing import Any

from g5.common.elsewhere import kept
from g5.common.errors import UserError
from g5.config.build import build, signature_hints
from g5.config.settings import Settings, load
from preprocessing.events import Corpus, DataSet
from preprocessing.feature_set import FeatureSet
from preprocessing.frontend import FrontEnd, LogMel, LogMelPCEN
from preprocessing.normalize import Normalize
from preprocessing.synthetic.scenes import SceneSettings


def data_of(settings: Settings) -> DataSet:
    """The data group; nothing is read yet."""
    kept.use(settings.audio.cache)
    return build(settings.data, expect=DataSet, where="data")


def corpus_of(settings: Settings) -> Corpus:
    """What the data group holds, read as `audio` says."""
    return data_of(settings).load(settings.audio)


def front_end_of(settings: Settings) -> FrontEnd:
    """The front end of `features`."""
    front_end = build(settings.features.front_end, expect=FrontEnd, where="features")
    if settings.features.channels != front_end.channels:
        raise UserError(
            f"features.channels={settings.features.channels}: this front end makes "
            f"{front_end.channels}"
        )
    return front_end


def normalize_of(settings: Settings) -> Normalize:
    """The normalisation of `features`, not fitted yet."""
    features = settings.features
    return Normalize(
        mode=features.normalize,
        n_mels=features.front_end.values["n_mels"],
        channels=features.channels,
    )


def feature_set_of(
    settings: Settings, corpus: Corpus, front_end: FrontEnd, *, first_alone: bool = False
) -> FeatureSet:
    """The corpus seen through a front end, or through its first channel alone."""
    features = settings.features
    return FeatureSet(
        corpus,
        front_end,
        cut={
            "clip": features.clip,
            "clip_s": features.clip_s,
            "min_clip_s": features.min_clip_s,
            "max_clip_s": features.max_clip_s,
            "anchor": settings.data.values["anchor"],
        },
        workers=features.workers,
        block_s=features.block_s,
        store_dir=settings.path.store,
        first_alone=first_alone,
    )


def log_mel_set_of(settings: Settings, feature_set: FeatureSet) -> FeatureSet:
    """The same corpus in log-mel, which raw features are defined on."""
    if isinstance(feature_set.front_end, LogMel):
        return feature_set
    if isinstance(feature_set.front_end, LogMelPCEN):
        return feature_set_of(settings, feature_set.corpus, feature_set.front_end, first_alone=True)
    own = feature_set.front_end.settings()
    usual = load(["features=logmel"]).features.front_end.values
    values: dict[str, Any] = {key: own.get(key, usual[key]) for key in signature_hints(LogMel)}
    return feature_set_of(settings, feature_set.corpus, LogMel(**values))


def scene_settings() -> SceneSettings:
    """The default generator of procedural recordings, `conf/data/procedural.yaml`."""
    return SceneSettings.of(load(["data=procedural"]).data.values)
