"""From the settings to the objects of `preprocessing/` that they describe."""

from typing import Any

from g5.config.build import build, signature_hints
from g5.config.settings import Settings, load
from preprocessing.audio_rules import use
from preprocessing.events import Corpus, DataSet
from preprocessing.feature_set import FeatureSet
from preprocessing.frontend import FrontEnd, LogMel
from preprocessing.normalize import Normalize


def data_of(settings: Settings) -> DataSet:
    """The data group; nothing is read yet, and what will be is read by the rules of `audio`."""
    use(settings.audio)
    return build(settings.data, expect=DataSet, where="data")


def front_end_of(settings: Settings) -> FrontEnd:
    """The front end of `features`."""
    return build(settings.features.front_end, expect=FrontEnd, where="features")


def normalize_of(settings: Settings) -> Normalize:
    """The normalisation of `features`, not fitted yet."""
    features = settings.features
    return Normalize(mode=features.normalize, n_mels=features.front_end.values["n_mels"])


def feature_set_of(settings: Settings, corpus: Corpus, front_end: FrontEnd) -> FeatureSet:
    """The corpus seen through a front end."""
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
    )


def log_mel_set_of(settings: Settings, feature_set: FeatureSet) -> FeatureSet:
    """The same corpus in log-mel, which raw features are defined on."""
    if isinstance(feature_set.front_end, LogMel):
        return feature_set
    own = feature_set.front_end.settings()
    usual = load(["features=logmel"]).features.front_end.values
    values: dict[str, Any] = {key: own.get(key, usual[key]) for key in signature_hints(LogMel)}
    return feature_set_of(settings, feature_set.corpus, LogMel(**values))
