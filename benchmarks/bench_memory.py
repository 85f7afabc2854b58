"""Memory that a default training step of v2 in bf16 needs, added up on the CPU, against 8 GB.

Not run on a GPU: nothing is measured there. Counted are the bytes that any device must hold when
the backward pass begins: weights, gradients, the optimiser's averages, the batch, and every tensor
that autograd saves under bf16 autocast (each storage once). A GPU adds its context, cuDNN's
workspaces, the gradients of activations on their way, and what its allocator leaves over.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks import Claim
from benchmarks.bench_training import episode_of, module_of
from g5.config.settings import Settings, load
from g5.training.module import FewShotModule, make_optimizer
from preprocessing.episodes.episode import EpisodeBatch
from preprocessing.episodes.labelled import LabelledBatch

GB = 1e9
CARD_GB = 8.0


def rows() -> Iterator[Claim]:
    """GB of a step of each kind; at most what a card of 8 GB has."""
    settings = load(["arch=v2"])
    classes = settings.data.values["train_species"]
    episode = episode_of(settings)
    labelled = LabelledBatch(
        x=episode.x, stats=episode.stats, class_ids=torch.arange(len(episode.x)) % classes,
        epoch=0, index=0,
    )  # fmt: skip
    module = module_of(settings, train_counts=[1] * classes)
    for kind, batch in (("an episode", episode), ("pretraining", labelled)):
        parts = step_bytes(module, settings, batch)
        note = ", ".join(f"{name} {count / GB:.3f}" for name, count in parts.items())
        yield Claim(
            f"memory of a step of v2, {kind}, bf16", sum(parts.values()) / GB, CARD_GB, "GB", 1.0,
            note=f"{note}; added up on the CPU, not run on a GPU",
        )  # fmt: skip


def step_bytes(
    module: FewShotModule, settings: Settings, batch: EpisodeBatch | LabelledBatch
) -> dict[str, int]:
    """Bytes by what they are for, of one forward, backward and optimiser step."""
    optimizer = make_optimizer(module, settings.arch.training)
    known = {id_of(tensor) for tensor in (*module.parameters(), *module.buffers(), batch.x)}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if id_of(tensor) not in known:
            saved[id_of(tensor)] = tensor.untyped_storage().nbytes()
        return tensor  # held until the backward pass: no address is given out twice

    module.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16):
            loss, *_ = module.loss(batch)
        activations = sum(saved.values())
        loss.backward()
    optimizer.step()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    averages = [v for state in optimizer.state.values() for v in state.values()]
    module.zero_grad(set_to_none=True)
    return {
        "weights": bytes_of(*module.parameters(), *module.buffers()),
        "gradients": bytes_of(*gradients),
        "optimiser": bytes_of(*averages),
        "batch": bytes_of(batch.x),
        "saved activations": activations,
    }


def id_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def bytes_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
