"""Shallow heads on 10 labels a class of ESC-10 and FSDD, for several encoders; prints the tables.

    python -m experiments.transfer path.real_dir=DIR encoder=CKPT

See README.md beside this file for what DIR and CKPT are. Embeddings are kept under
outputs/transfer/, so a second call only trains heads.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from archs.protonet import ProtoNet
from conf.build import build
from conf.compose import composed
from conf.nodes import read_section
from conf.validate import resolve
from experiments import run_as_command
from experiments.real_clips.__main__ import real_dir
from preprocessing.errors import UserError
from preprocessing.progress import track
from transfer.embedding import EmbedSettings, embed_recordings
from transfer.encoders import LoadedEncoder, load_encoder
from transfer.labels import Examples, examples, read_labels
from transfer.saved import fit_head, make_head
from transfer.vectors import VectorStore

LABELS_PER_CLASS = 10
SEEDS = range(5)
HEADS = ("linear", "mlp", "prototype", "knn", "logistic", "svm", "forest")
SETS = {"ESC-10": "esc10", "FSDD": "fsdd"}


class RawStatistics(nn.Module):
    """Mean and standard deviation over time of the log-mel bands: no learning at all."""

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.embedding_dim = 2 * n_mels

    def forward(self, x_B1MT: Tensor) -> Tensor:
        """``(B, 1, M, T) -> (B, 2 M)``."""
        x_BMT = x_B1MT[:, 0]
        return torch.cat([x_BMT.mean(dim=2), x_BMT.std(dim=2)], dim=1)


@dataclass(frozen=True)
class RealSet:
    """Embeddings of one set, and which labels are trained and tested on.

    ``fold_N`` is the fold of each example where the set has them, else all zero.
    """

    name: str
    examples: Examples
    fold_N: np.ndarray

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training rows (some of every class) and test rows, for every seed and fold.

        Without folds everything that was not drawn is the test set.
        """
        folds = np.unique(self.fold_N)
        for seed in SEEDS:
            for fold in folds:
                held = self.fold_N == fold if len(folds) > 1 else np.zeros(len(self.fold_N), bool)
                rng = np.random.default_rng([seed, int(fold)])
                train = np.concatenate(
                    [
                        rng.choice(
                            np.flatnonzero((self.examples.y == label) & ~held),
                            LABELS_PER_CLASS,
                            replace=False,
                        )
                        for label in np.unique(self.examples.y)
                    ]
                )
                test = held if held.any() else ~np.isin(np.arange(len(held)), train)
                yield train, np.flatnonzero(test)


def encoders_of(checkpoint: str) -> list[tuple[str, LoadedEncoder]]:
    """The encoders compared: trained, untrained, raw statistics, measured by hand."""
    trained = load_encoder(checkpoint)
    node = {key: value for key, value in trained.node.items() if key != "path"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = build(node, expect=ProtoNet, where="arch.model").eval()
    assert trained.front_end is not None
    raw = RawStatistics(trained.front_end.n_mels)
    return [
        ("trained", trained),
        ("untrained", replace(trained, name="untrained", module=fresh)),
        ("raw", replace(trained, name="raw", module=raw, embedding_dim=raw.embedding_dim,
                        normalize=None)),
        ("handcrafted", load_encoder("handcrafted")),
    ]  # fmt: skip


def embedded(name: str, encoder: LoadedEncoder, folder: Path, place: Path) -> RealSet:
    """A real set's embeddings by one encoder, made or taken from outputs/transfer/."""
    settings = EmbedSettings(**read_section("embed", EmbedSettings, []))
    table = pd.read_csv(folder / "clips.csv")
    store_path = place / f"{folder.name}-{encoder.name.replace('/', '_')}.store"
    store = VectorStore.create(store_path, encoder.facts(), audio_root=folder)
    files = [(folder / file).absolute() for file in table["file"]]
    _, problems = embed_recordings(encoder, store, files, folder.absolute(), settings)
    for line in problems:
        print(line, file=sys.stderr)
    found = examples(store, read_labels(folder / "clips.csv"), "single")
    folds = table["fold"].to_numpy() if "fold" in table else np.zeros(len(table))
    return RealSet(name, found, folds[found.rows - 2])


def accuracies(real: RealSet, head: str) -> np.ndarray:
    """Test accuracy of a head on every split."""
    one, scores = real.examples, []
    for train, test in real.splits():
        model = fit_head(make_head(head, "single", seed=0), one.x_ND[train], one.y[train])
        scores.append(float(np.mean(model.predict(one.x_ND[test]) == one.y[test])))
    return np.array(scores)


def main(arguments: Sequence[str]) -> None:
    """Embed, train heads, print Markdown tables."""
    given = [word.partition("=")[2] for word in arguments if word.startswith("encoder=")]
    if len(given) != 1:
        raise UserError("encoder=CKPT: name a checkpoint trained on procedural species")
    rest = [word for word in arguments if not word.startswith("encoder=")]
    config = resolve(composed(rest))
    real = real_dir(config)
    place = Path(config["path"]["root_dir"], "outputs", "transfer")
    kinds = encoders_of(given[0])
    for name, folder in SETS.items():
        sets = [(kind, embedded(name, encoder, real / folder, place)) for kind, encoder in kinds]
        cells = [(kind, head, one) for kind, one in sets for head in HEADS]
        scores = {
            (kind, head): accuracies(one, head)
            for kind, head, one in track(cells, total=len(cells), label=name, unit="heads")
        }
        draws = len(next(iter(scores.values())))
        print(f"\n{name}: {LABELS_PER_CLASS} labels a class, accuracy over {draws} draws\n")
        print(f"| encoder | {' | '.join(HEADS)} |")
        print(f"| --- | {' | '.join('---:' for _ in HEADS)} |")
        for kind, _ in kinds:
            print(f"| {kind} | {' | '.join(_cell(scores[kind, head]) for head in HEADS)} |")


def _cell(scores: np.ndarray) -> str:
    half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores))
    return f"{100 * scores.mean():.1f} ± {100 * half:.1f}"


if __name__ == "__main__":
    run_as_command(main)
