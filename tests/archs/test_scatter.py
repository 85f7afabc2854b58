"""What the support's own scatter says about the distance."""

import math

import pytest
import torch
from torch import Tensor

from archs.metrics import SupportScatter
from archs.prototypes import squared_euclidean
from tests.archs.test_archs import make


def episode(shots: int, *, spread_D: Tensor | None = None) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    spread_D = torch.ones(6) if spread_D is None else spread_D
    support_NKD = torch.randn(3, 1, 6, generator=generator).expand(-1, shots, -1)
    support_NKD = support_NKD + spread_D * torch.randn(3, shots, 6, generator=generator)
    return support_NKD, torch.randn(7, 6, generator=generator)


def distances(floor: float, support_NKD: Tensor, query_QD: Tensor) -> Tensor:
    model = make("v2", distance="learnable", metric_rank=0, scatter_floor=floor)
    return -model.logits(support_NKD, query_QD).detach()


@pytest.mark.parametrize("floor", [0.1, 0.5, 3.0])
def test_it_is_the_mahalanobis_distance_of_the_shots_scatter(floor: float):
    support_NKD, query_QD = episode(4, spread_D=torch.tensor([3.0, 1.0, 1.0, 0.3, 0.1, 0.1]))
    proto_ND = support_NKD.mean(1).double()
    apart_SD = (support_NKD - support_NKD.mean(1, keepdim=True)).flatten(0, 1).double()
    scatter_DD = apart_SD.T @ apart_SD / 9
    # Mean of the variances that are not zero: there are as many as shots leave free.
    b = floor * scatter_DD.trace() / 9
    metric_DD = b * torch.linalg.inv(scatter_DD + b * torch.eye(6))
    gap_QND = query_QD.double()[:, None] - proto_ND
    expected_QN = torch.einsum("qnd,de,qne->qn", gap_QND, metric_DD, gap_QND)
    ours_QN = distances(floor, support_NKD, query_QD)
    torch.testing.assert_close(ours_QN, expected_QN.float(), rtol=1e-4, atol=1e-4)


def test_single_shots_and_equal_shots_are_compared_by_the_euclidean_distance():
    for support_NKD in (episode(1)[0], episode(1)[0].expand(-1, 5, -1)):
        query_QD = episode(1)[1]
        expected_QN = squared_euclidean(query_QD, support_NKD.mean(1))
        ours_QN = distances(0.5, support_NKD, query_QD)
        torch.testing.assert_close(ours_QN, expected_QN, rtol=1e-4, atol=1e-4)


def test_what_shots_differ_in_counts_less():
    support_NKD, query_QD = episode(5, spread_D=torch.tensor([5.0, 0, 0, 0, 0, 0]))
    near_QD = query_QD + torch.tensor([2.0, 0, 0, 0, 0, 0])
    moved_QN = (distances(0.1, support_NKD, near_QD) - distances(0.1, support_NKD, query_QD)).abs()
    plain_QN = squared_euclidean(near_QD, support_NKD.mean(1))
    plain_QN = (plain_QN - squared_euclidean(query_QD, support_NKD.mean(1))).abs()
    assert moved_QN.mean() < 0.2 * plain_QN.mean()


def test_the_floor_is_learned_and_starts_where_it_is_set():
    scatter = SupportScatter(0.5)
    assert math.isclose(scatter.log_floor.exp().item(), 0.5, rel_tol=1e-6)
    support_NKD, _ = episode(5)
    within_SD = scatter(support_NKD.requires_grad_())
    assert within_SD is not None
    within_SD.square().sum().backward()
    assert scatter.log_floor.grad is not None
    assert scatter.log_floor.grad.abs() > 0
    assert support_NKD.grad is not None
    assert support_NKD.grad.isfinite().all()
