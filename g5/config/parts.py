"""From a validated configuration to the objects of `preprocessing/` that it describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from g5.config.build import build, signature_hints
from g5.config.compose import composed, resolve
from g5.config.node import Node
from g5.config.schema import FeatureSettings
from g5.config.settings import hints_of
from preprocessing.events import Corpus, DataSet
from preprocessing.feature_set import FeatureSet
from preprocessing.frontend import FrontEnd, LogMel
from preprocessing.normalize import Normalize


def root_of(config: Mapping[str, Any]) -> Path:
    """`path.root_dir`, absolute."""
    return Path(config["path"]["root_dir"]).expanduser().resolve()


def data_of(config: Mapping[str, Any]) -> DataSet:
    """The data group; nothing is read yet."""
    return build(Node.of(config["data"]), expect=DataSet, where="data")


def front_end_of(config: Mapping[str, Any]) -> FrontEnd:
    """The front end of `features`."""
    clip_keys = hints_of(FeatureSettings)
    node = {key: value for key, value in config["features"].items() if key not in clip_keys}
    return build(Node.of(node), expect=FrontEnd, where="features")


def normalize_of(config: Mapping[str, Any]) -> Normalize:
    """The normalisation of `features`, not fitted yet."""
    return Normalize(mode=config["features"]["normalize"], n_mels=config["features"]["n_mels"])


def feature_set_of(config: Mapping[str, Any], corpus: Corpus, front_end: FrontEnd) -> FeatureSet:
    """The corpus seen through a front end."""
    return FeatureSet(
        corpus,
        front_end,
        features=config["features"],
        anchor=config["data"]["anchor"],
        store_dir=root_of(config) / "outputs" / "store",
    )


def log_mel_set_of(config: Mapping[str, Any], feature_set: FeatureSet) -> FeatureSet:
    """The same corpus in log-mel, which raw features are defined on."""
    if isinstance(feature_set.front_end, LogMel):
        return feature_set
    settings = feature_set.front_end.settings()
    defaults = resolve(composed(["features=logmel"]))["features"]
    log_mel: dict[str, Any] = {
        key: settings.get(key, defaults[key]) for key in signature_hints(LogMel)
    }
    return feature_set_of(config, feature_set.corpus, LogMel(**log_mel))
