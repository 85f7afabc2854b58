"""Processes that share the work of a step, where Lightning's own loop does not run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from g5.common.errors import UserError
from g5.config.settings import Settings
from g5.training.checks import check_trainer
from g5.training.setup import precision_of

WAIT = timedelta(hours=12)  # that the others may take, between two steps, too


@dataclass(frozen=True)
class Processes:
    """Which of how many this one is; the first speaks and writes."""

    rank: int = 0
    count: int = 1

    @classmethod
    def start(cls, settings: Settings, batches: int) -> "Processes":
        """Start those that `trainer.devices` asks for with the words of this one's command line.

        Raises:
            UserError: there are no such devices, or so many batches cannot be shared by them.
        """
        own, count = settings.trainer, check_trainer(settings)
        if batches % count:
            raise UserError(
                f"pretrain.recipe.batches={batches}: {count} processes cannot share them; "
                f"choose a multiple of {count}"
            )
        if count == 1:
            return cls()
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

        fabric = Fabric(
            accelerator=own.accelerator, devices=own.devices, num_nodes=own.num_nodes,
            strategy=DDPStrategy(timeout=WAIT),
            precision=precision_of(settings),  # type: ignore[arg-type]
        )  # fmt: skip
        fabric.launch()
        return cls(fabric.global_rank, fabric.world_size)

    def mine(self, batches: int) -> range:
        """Which of so many batches of a step are this process's."""
        return range(self.rank, batches, self.count)

    def joined(self, own: Sequence[Tensor]) -> Tensor:
        """The tensors of all `mine`, all of one shape, one after the other in the batches' order.

        Gradients reach this process's own.
        """
        if self.count == 1:
            return torch.cat(list(own))
        stacked = torch.stack(list(own)).detach()
        everyones = [torch.empty_like(stacked) for _ in range(self.count)]
        dist.all_gather(everyones, stacked)
        everyones[self.rank] = own  # type: ignore[call-overload]
        return torch.cat([theirs[number] for number in range(len(own)) for theirs in everyones])

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients become their sum over all processes, in place."""
        if self.count == 1:
            return
        there = [p.grad for p in parameters if p.grad is not None]
        sum_ = torch.cat([gradient.flatten() for gradient in there])
        dist.all_reduce(sum_)
        for gradient, part in zip(there, sum_.split([g.numel() for g in there]), strict=True):
            gradient.copy_(part.view_as(gradient))
