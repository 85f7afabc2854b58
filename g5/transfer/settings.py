"""What fits the keys of `conf/transfer.yaml` that search, maps, labelling and the rest read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from g5.config.check import Count, NotNegative, Positive, Range, Seed
from g5.config.nodes import read_section, refuse_foreign


@dataclass
class Verify:
    pairs: Count
    components: Count | None
    resamples: Annotated[int, Range(at_least=20)]
    seed: Seed


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
    components: Count
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
    components: Count


@dataclass
class Explain:
    method: Literal["occlusion", "gradients"]
    patch_s: Positive
    patch_mels: Count
    steps: Count


def section(name: str, schema: type, overrides: Sequence[str]) -> dict[str, Any]:
    """A section of `conf/transfer.yaml` with the overrides of a verb that reads no other.

    Raises:
        UserError: an unknown key, a value that does not fit, or an override of something else.
    """
    refuse_foreign(overrides, (name,))
    return read_section(name, schema, overrides)
