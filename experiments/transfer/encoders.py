"""The encoders that are compared, and their embeddings of sets of clips, kept in stores.

Shapes: B clips, M mel bands, T frames, N clips of a set, D embedding width.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from archs.protonet import ProtoNet
from experiments.v2_vs_v1.runs import SEEDS, V1, V2, trained
from g5.config.build import build
from g5.config.node import Node
from g5.config.settings import load_transfer
from g5.embeddings.embedding import embed_recordings
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.vectors import VectorStore
from g5.transfer.label_table import read_labels
from g5.transfer.labels import Examples, examples


class TimeStatistics(nn.Module):
    """Mean and standard deviation over time of the log-mel bands: no learning at all."""

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.embedding_dim = 2 * n_mels

    def forward(self, x_B1MT: Tensor) -> Tensor:
        """``(B, 1, M, T) -> (B, 2 M)``."""
        x_BMT = x_B1MT[:, 0]
        return torch.cat([x_BMT.mean(dim=2), x_BMT.std(dim=2)], dim=1)


@dataclass(frozen=True)
class EmbeddedSet:
    """A set of clips as one encoder sees them.

    Attributes:
        table: its clips.csv, one row per example, in their order.
        fold_N: the fold of each example where the set has them, else all zero.
    """

    examples: Examples
    table: pd.DataFrame
    fold_N: np.ndarray


def encoders_of(arguments: Sequence[str]) -> dict[str, list[LoadedEncoder]]:
    """The encoders by name, those that are trained once per training seed.

    ``encoder=CKPT`` among the arguments is the only trained one then; otherwise v1 and v2 of
    `experiments.v2_vs_v1`, trained now where they are not yet.
    """
    given, rest = split(arguments)
    if given:
        found = {"given": [load_encoder(given)]}
    else:
        found = {
            variant.name: [load_encoder(str(trained(variant, seed, rest).best)) for seed in SEEDS]
            for variant in (V1, V2)
        }
    last = list(found.values())[-1][0]
    return found | {
        f"untrained {list(found)[-1]}": [untrained_encoder(last)],
        "raw": [raw_statistics(last)],
        "handcrafted": [load_encoder("handcrafted")],
    }


def split(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The checkpoint that ``encoder=`` names, and the other arguments."""
    given = [word.partition("=")[2] for word in arguments if word.startswith("encoder=")]
    return (given or [None])[-1], [word for word in arguments if not word.startswith("encoder=")]


def untrained_encoder(encoder: LoadedEncoder) -> LoadedEncoder:
    """The same network before training."""
    node = {key: value for key, value in encoder.node.items() if key != "path"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = build(Node.of(node), expect=ProtoNet, where="arch.model").eval()
    return replace(encoder, name="untrained", module=fresh)


def raw_statistics(encoder: LoadedEncoder) -> LoadedEncoder:
    """Statistics of its front end's bands."""
    assert encoder.front_end is not None
    raw = TimeStatistics(encoder.front_end.n_mels)
    width = raw.embedding_dim
    return replace(encoder, name="raw", module=raw, embedding_dim=width, normalize=None)


def embedded_set(encoder: LoadedEncoder, folder: Path, place: Path) -> EmbeddedSet:
    """The clips of ``folder``/clips.csv by one encoder, made or taken from a store in ``place``."""
    settings = load_transfer(reads=()).embed
    table = pd.read_csv(folder / "clips.csv")
    store_path = place / f"{folder.name}-{encoder.hash()}.store"
    store = VectorStore.create(store_path, encoder.facts(), audio_root=folder)
    files = [(folder / file).absolute() for file in table["file"]]
    _, problems = embed_recordings(encoder, store, files, folder.absolute(), settings)
    for line in problems:
        print(line, file=sys.stderr)
    found = examples(store, read_labels(folder / "clips.csv"), "single")
    table = table.iloc[found.rows - 2].reset_index(drop=True)
    fold_N = table["fold"].to_numpy() if "fold" in table else np.zeros(len(table))
    return EmbeddedSet(found, table, fold_N)
