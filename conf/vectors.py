"""`conf/vectors.yaml`: the numbers of the verbs that work on a store of embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from conf.check import Count, NotNegative, Positive, Range, Seed, check_mapping, unknown_key
from conf.validate import hints_of
from preprocessing.errors import UserError

FILE = Path(__file__).with_name("vectors.yaml")


@dataclass
class Search:
    metric: Literal["cosine", "dot", "euclidean"]
    k: Count
    approximate: bool
    neighbour: Count
    reference: Count
    context: NotNegative
    page_mb: Positive
    seed: Seed


@dataclass
class Cluster:
    method: Literal["kmeans", "hdbscan", "both"]
    k: Annotated[int, Range(at_least=2)] | None
    max_k: Annotated[int, Range(at_least=2)]
    min_cluster_size: Annotated[int, Range(at_least=2)]
    components: Count
    most: Count
    seed: Seed


@dataclass
class Map:
    method: Literal["pca", "tsne", "umap"]
    dims: Literal[2, 3]
    neighbours: Count
    most: Count
    tiles: Annotated[int, Range(at_least=0)]
    page_mb: Positive
    seed: Seed


@dataclass
class Label:
    strategy: str
    retrain_every: Count
    pool: Count
    regularisation: Positive
    folds: Annotated[int, Range(at_least=2)]
    suggestions: Count
    map_points: Count
    seed: Seed


@dataclass
class Simulate:
    strategies: list
    first: Count
    step: Count
    last: Count
    seeds: Count
    test_share: Annotated[float, Range(above=0, at_most=0.9)]
    seconds_per_label: Positive
    regularisation: Positive


@dataclass
class Explain:
    method: Literal["occlusion", "gradients"]
    patch_s: Positive
    patch_mels: Count
    steps: Count


GROUPS: dict[str, type[Any]] = {
    "search": Search, "cluster": Cluster, "map": Map, "label": Label, "simulate": Simulate,
    "explain": Explain,
}  # fmt: skip


def vectors_config(group: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The group of a verb with ``key=value`` overrides.

    Raises:
        UserError: naming the key that is unknown, of a wrong type or out of its range.
    """
    import yaml

    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    check_mapping(content, dict.fromkeys(GROUPS, dict), "")
    values = content[group]
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UserError(f"{override!r}: must be KEY=VALUE, e.g. {next(iter(values))}=...")
        key = key.removeprefix(f"{group}.")
        if key not in values:
            raise unknown_key(key, list(values), group)
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{group}.{key}={text}: is no value") from error
    check_mapping(values, hints_of(GROUPS[group]), group)
    return values
