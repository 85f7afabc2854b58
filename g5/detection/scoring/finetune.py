"""Fine-tuning at test time: the encoder's last block learns the shots against the negatives.

Episodes of augmented windows are scored as detection scores them (the species' prototype against
all negative ones together) by a copy of the encoder; batch norm and dropout stay as in detection.

Shapes: P windows of shots, G negatives, N classes (the species, then clusters of negatives), S
drawn of each, M mel bands, T frames, D embedding width.
"""

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archs.blocks import last_block
from archs.prototypes import prototypes
from g5.common.threads import torch_threads
from g5.config.build import build
from g5.config.node import NONE_NAMED, Node
from g5.detection.embedding.embedder import WindowEmbedder
from g5.training.fit import StepBudget, fit, seeded

# Windows of each class that are support, and as many that are queries, in a step.
DRAWN = 5


def finetuned(
    embedder: WindowEmbedder, shots_P1MT: Tensor, negatives_G1MT: Tensor, cluster_G: Tensor, *,
    steps: StepBudget, rate: float, seed: int,
) -> WindowEmbedder:  # fmt: skip
    """An embedder whose encoder's last block has been trained.

    Args:
        embedder: of the encoder as it is, which stays.
        shots_P1MT: windows of the shots, as the encoder takes them.
        negatives_G1MT: windows of what is something else.
        cluster_G: which negatives belong together.
        steps: of AdamW; none where there is nothing else to tell the shots from.
        rate: its learning rate.
        seed: of draws and augmentations.
    """
    restored = embedder.restored
    model = copy.deepcopy(restored.model).requires_grad_(False).eval()
    block = nn.ModuleList(last_block(model.encoder)).requires_grad_(True)
    node = restored.config["arch"].get("augmentation")
    augment = (
        None
        if node is None
        else build(Node.of(node, NONE_NAMED), expect=nn.Module, where="arch.augmentation")
    )
    classes = [shots_P1MT, *(negatives_G1MT[cluster_G == c] for c in cluster_G.unique())]
    label_B = torch.arange(2 * len(classes)).repeat_interleave(DRAWN)
    optimizer = torch.optim.AdamW(block.parameters(), lr=rate, weight_decay=0.0)

    def loss_of(_: int) -> Tensor:
        drawn = [x_B1MT[torch.randint(len(x_B1MT), (2 * DRAWN,))] for x_B1MT in classes]
        x_B1MT = torch.cat(drawn)
        if augment is not None:
            x_B1MT = augment(x_B1MT, label_B)
        z_NSD = model(x_B1MT.to(embedder.device)).unflatten(0, (len(classes), -1))
        return _loss(model, z_NSD)

    if len(classes) > 1:
        # One thread: the same with any number of workers.
        with seeded(seed), torch_threads(1), torch.enable_grad():
            next(fit(loss_of, lambda _: steps, optimizer, rate_name="detection.adapt_block_rate"))
    return embedder.of(replace(restored, model=model.requires_grad_(False)))


def _loss(model: nn.Module, z_NSD: Tensor) -> Tensor:
    """Log-loss of the second half of each class by prototypes of the first: species or not.

    Both sides weigh the same.
    """
    proto_ND = prototypes(z_NSD[:, :DRAWN])
    logits = model.prototype_logits(proto_ND, z_NSD[:, DRAWN:].flatten(0, 1))  # type: ignore[operator]
    odds = logits[:, 0] - torch.logsumexp(logits[:, 1:], dim=1)
    positive = torch.arange(len(odds), device=odds.device) < DRAWN
    side = F.softplus(torch.where(positive, -odds, odds))
    return (side[positive].mean() + side[~positive].mean()) / 2
