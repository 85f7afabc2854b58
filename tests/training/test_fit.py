"""The training loop beside Lightning: what it does, what it says, and what bounds it."""

import pytest
import torch
from torch import nn

from g5.common.device import torch_threads
from g5.common.errors import UserError
from g5.training.fit import fit, seeded


def test_epochs_batches_schedule_and_mode() -> None:
    module = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1)
    seen: list[tuple[int, bool]] = []

    def loss_of(x_BD: torch.Tensor) -> torch.Tensor:
        seen.append((len(x_BD), module.training))
        return module(x_BD).sum() * 0 + len(x_BD)

    for loss in fit(
        loss_of, lambda _: torch.ones(5, 2).split(4), optimizer,
        epochs=range(3, 5), module=module, schedule=schedule,
    ):  # fmt: skip
        # Batches of four and of one, weighted by their length.
        assert loss == pytest.approx((4 * 4 + 1) / 5)
        module.eval()
    assert seen == [(4, True), (1, True)] * 2
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**2)


def test_a_loss_that_is_not_finite_names_what_to_lower() -> None:
    weight = torch.zeros(1, requires_grad=True)
    losses = fit(
        lambda _: (weight / 0).sum(), lambda _: [1], torch.optim.SGD([weight], lr=0.1),
        rate_name="head.learning_rate",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"the loss is nan in epoch 1; lower head\.learning_rate"):
        next(losses)
    assert not weight.item()


def test_what_is_seeded_or_single_threaded_leaves_no_trace() -> None:
    torch.manual_seed(5)
    wanted, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(5)
    with seeded(1), torch_threads(1):
        first = torch.rand(1)
    with seeded(1), torch_threads(None):
        assert torch.equal(torch.rand(1), first)
    assert torch.equal(torch.rand(1), wanted)
    assert torch.get_num_threads() == threads
