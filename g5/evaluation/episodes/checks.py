"""Checks of the test protocol that run on every test, on the real episodes and the real model.

Shape suffixes: E episodes, B clips of a batch, N ways, K shots, Q queries of a class,
A queries of an episode (N*Q), D embedding width.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from archs.protonet import ProtoNet
from g5.common.errors import UserError
from g5.evaluation.episodes.scoring import evaluation_mode
from preprocessing.episodes.clips import ClipReader
from preprocessing.episodes.plans import ClipPlan
from preprocessing.episodes.sampling import separable
from preprocessing.events import Corpus

# Embeddings and logits may move by this share of their range when other clips share the batch:
# rounding does, batch statistics move them by a hundred times as much.
TOLERANCE = 1e-3

QUERIES_INDEPENDENT = "queries independent"


class ProtocolError(UserError):
    """A check of the test protocol failed; the message names it."""


def check_leaks(corpus: Corpus, split: str) -> list[str]:
    """No recording's bytes, and no source, are in the tested split and in another one.

    Returns:
        The names of the two checks; raises `ProtocolError` that names a file or a source.
    """
    tested = "val" if split == "test" and corpus.test_is_val else split
    events = corpus.events.loc[corpus.events["status"] == "POS"]
    events = events.merge(corpus.recordings[["file", "sha256"]], on="file")
    inside = events["split"] == tested
    for column, name in (("sha256", "bytes"), ("source", "source")):
        shared = set(events.loc[inside, column]) & set(events.loc[~inside, column])
        if shared:
            of_both = events[events[column] == min(shared)]
            other = of_both.loc[of_both["split"] != tested].iloc[0]
            file = of_both.loc[of_both["split"] == tested, "file"].iloc[0]
            raise ProtocolError(
                f"protocol check 'no leak by {name}': {file} ({tested}) and {other['file']} "
                f"({other['split']}) share their {name}, and {len(shared) - 1} others do; the "
                "accuracy would be flattered: put them into one split"
            )
    return ["no leak by bytes", "no leak by source"]


def check_untrained(events: pd.DataFrame, trained_recordings: Collection[str]) -> str:
    """None of the tested recordings was trained on, whatever split it is in now.

    Returns:
        The name of the check; raises `ProtocolError` that names a file.
    """
    trained = set(trained_recordings)
    pairs = zip(events["file"], events["sha256"], strict=True)
    files = list(dict.fromkeys(file for file, sha256 in pairs if sha256[:16] in trained))
    if files:
        raise ProtocolError(
            f"protocol check 'untrained recordings': the model was trained on {files[0]} and "
            f"{len(files) - 1} others of the tested recordings; test on others, or leave data.seed "
            "and the splits as they were in training"
        )
    return "untrained recordings"


def check_disjoint(plan: ClipPlan) -> str:
    """No clip occurs twice in an episode, so none is support and query at once.

    Returns the check's name; raises `ProtocolError`.
    """
    for episode in plan.episodes:
        clips = np.concatenate([episode.support.numpy().ravel(), episode.query.numpy().ravel()])
        if len(np.unique(clips)) < len(clips):
            raise ProtocolError(
                f"protocol check 'support and query disjoint': episode {episode.index} uses a clip "
                "twice; its accuracy would be flattered"
            )
    return "support and query disjoint"


def check_sources(
    plan: ClipPlan, events: pd.DataFrame, *, k_shot: int, n_query: int
) -> tuple[str, list[str]]:
    """Support and query of a class share no source, where its sources can be divided.

    Args:
        events: the split's table with ``class_id``, ``label`` and ``source``.
    Returns:
        The check's name, and the labels of the classes that had to share a source.
    Raises:
        ProtocolError: a class shares a source although it need not.
    """
    source_R = pd.factorize(events["source"])[0]
    source_P = source_R[plan.rows.numpy()]
    shared: set[int] = set()
    for episode in plan.episodes:
        support_NK1 = source_P[episode.support.numpy()][:, :, None]
        query_N1Q = source_P[episode.query.numpy()][:, None, :]
        sharing_N = (support_NK1 == query_N1Q).any((1, 2))
        shared.update(episode.class_ids.numpy()[sharing_N].tolist())
    labels = []
    for class_id in sorted(shared):
        of_class_R = events["class_id"].to_numpy() == class_id
        label = str(events["label"].to_numpy()[of_class_R][0])
        calls_S = np.unique(source_R[of_class_R], return_counts=True)[1]
        if separable(calls_S, k_shot, n_query):
            raise ProtocolError(
                f"protocol check 'sources disjoint': support and query of class {label!r} share a "
                f"source although its {len(calls_S)} sources could be divided"
            )
        labels.append(label)
    return "sources disjoint", labels


def check_model(
    model: ProtoNet,
    normalize: nn.Module,
    plan: ClipPlan,
    reader: ClipReader,
    *,
    device: torch.device,
) -> list[str]:
    """The encoder is in eval mode, and a query's logits ignore its peers: on the first episode.

    The same clips pass twice, which must change neither embeddings nor buffers (dropout and batch
    statistics would). Then every second query passes without the others and in reverse order, and
    the support passes apart.

    Returns:
        The names of the two checks; raises `ProtocolError`.
    """
    episode = plan.episodes[0]
    support_NK = episode.support
    position_B = torch.cat([support_NK.flatten(), episode.query.flatten()])
    clips = reader.gather(plan.rows[position_B], episode.n_frames)
    x_B1MT, stats_B2 = (part.to(device) for part in clips)
    n_support = support_NK.numel()
    subset_A = torch.arange(episode.query.numel() - 1, -1, -2)

    def embed(rows: Tensor) -> Tensor:
        rows = rows.to(device)
        return model(normalize(x_B1MT[rows], stats_B2[rows])).float()

    def logits(z_support_BD: Tensor, z_query_AD: Tensor) -> Tensor:
        return model.logits(z_support_BD.unflatten(0, tuple(support_NK.shape)), z_query_AD)

    with evaluation_mode(model, normalize), _exact_matmul():
        everything_B = torch.arange(len(position_B))
        buffers = [buffer.clone() for buffer in model.buffers()]
        z_BD, again_BD = embed(everything_B), embed(everything_B)
        if (
            any(part.training for part in model.modules())
            or not _same(z_BD, again_BD)
            or not all(map(torch.equal, buffers, model.buffers()))
        ):
            raise ProtocolError(
                "protocol check 'eval mode': the same clips embed differently the "
                "second time; a layer ignores eval() (dropout, batch norm, augmentation)"
            )
        full_AN = logits(z_BD[:n_support], z_BD[n_support:])[subset_A.to(device)]
        alone_AN = logits(embed(everything_B[:n_support]), embed(n_support + subset_A))
        if not _same(full_AN, alone_AN):
            raise ProtocolError(
                "protocol check 'queries independent': a query's logits change "
                "when other queries leave the batch; a layer or the distance uses statistics of "
                "the batch"
            )
    return ["eval mode", QUERIES_INDEPENDENT]


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding; rounding of distances grows with their size.

    NaN and infinity are not this check's business: `embed_plan` and `evaluate_episodes` name them.
    """
    a, b = (torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for x in (a, b))
    scale = TOLERANCE * (a.max() - a.min()) + 1e-5 * a.abs().max()
    return bool(((a - b).abs() <= scale).all())


@contextmanager
def _exact_matmul() -> Iterator[None]:
    """Full fp32 products inside: TF32 rounds differently for every batch size."""
    precision, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = cudnn
