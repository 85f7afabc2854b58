"""Prototypes, distances and logits against naive float64 loops and hand-worked cases."""

import math

import numpy as np
import pytest
import torch

from archs import prototypes as P


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_squared_euclidean(query_QD: torch.Tensor, proto_ND: torch.Tensor) -> np.ndarray:
    query, proto = query_QD.double().numpy(), proto_ND.double().numpy()
    return np.array(
        [[sum((a - b) ** 2 for a, b in zip(q, p, strict=True)) for p in proto] for q in query]
    )


def naive_cosine(query_QD: torch.Tensor, proto_ND: torch.Tensor) -> np.ndarray:
    query, proto = query_QD.double().numpy(), proto_ND.double().numpy()
    return np.array([[q @ p / math.sqrt(q @ q) / math.sqrt(p @ p) for p in proto] for q in query])


def test_prototypes_by_hand():
    support_NKD = torch.tensor([[[0.0, 2.0], [2.0, 4.0]], [[-1.0, 1.0], [-3.0, 1.0]]])
    assert P.prototypes(support_NKD).tolist() == [[1.0, 3.0], [-2.0, 1.0]]


def test_prototypes_of_half_precision_are_means_in_fp32():
    # 1 + 2^-10 is a number in fp16; the mean of it and 1 is one only in fp32.
    support_NKD = torch.tensor([[[1.0], [1.0 + 2**-10]]], dtype=torch.float16)
    result_ND = P.prototypes(support_NKD)
    assert result_ND.dtype == torch.float32
    assert result_ND.item() == 1.0 + 2**-11


def test_squared_euclidean_by_hand():
    distance_QN = P.squared_euclidean(
        torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 4.0]])
    )
    assert distance_QN.tolist() == [[25.0], [0.0]]


# Far from the origin |q|^2 - 2 q.p + |p|^2 has no correct digit left: |q|^2 is 6e8, d is about 100.
@pytest.mark.parametrize("offset", [0.0, 30.0, 3000.0])
def test_squared_euclidean_is_the_float64_loop(offset: float):
    query_QD, proto_ND = random(7, 64) + offset, random(5, 64, seed=1) + offset
    expected = naive_squared_euclidean(query_QD, proto_ND)
    np.testing.assert_allclose(P.squared_euclidean(query_QD, proto_ND), expected, rtol=1e-6)
    expanded = (
        query_QD.square().sum(1)[:, None]
        - 2 * query_QD @ proto_ND.T
        + proto_ND.square().sum(1)[None]
    )
    if offset == 3000.0:
        assert not np.allclose(expanded, expected, rtol=0.1), "the trap this test is about is gone"


def test_cosine_is_the_float64_loop():
    query_QD, proto_ND = random(7, 64) * 1e3, random(5, 64, seed=1) * 1e-3
    expected = naive_cosine(query_QD, proto_ND)
    np.testing.assert_allclose(P.cosine_similarity(query_QD, proto_ND), expected, atol=1e-6)
    np.testing.assert_allclose(P.cosine_logits(query_QD, proto_ND, 7.0), 7 * expected, atol=7e-6)


def test_cosine_of_nothing_is_zero():
    cosine_QN = P.cosine_similarity(torch.zeros(1, 4), random(3, 4))
    assert cosine_QN.tolist() == [[0.0, 0.0, 0.0]]


def test_logits_are_minus_the_distance():
    query_QD, proto_ND = random(4, 8), random(3, 8, seed=1)
    assert torch.equal(
        P.euclidean_logits(query_QD, proto_ND), -P.squared_euclidean(query_QD, proto_ND)
    )


@pytest.mark.parametrize("function", [P.squared_euclidean, P.cosine_similarity])
def test_autocast_changes_no_bit(function):
    query_QD, proto_ND = random(6, 256) + 10, random(4, 256, seed=1) + 10
    expected = function(query_QD, proto_ND)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = function(query_QD, proto_ND)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


@pytest.mark.parametrize("function", [P.squared_euclidean, P.cosine_similarity])
def test_a_pair_does_not_depend_on_its_peers_nor_on_the_blocks(function, monkeypatch):
    query_QD, proto_ND = random(33, 100), random(9, 100, seed=1)
    together = function(query_QD, proto_ND)
    monkeypatch.setattr(P, "BLOCK_ELEMENTS", 9 * 100 * 4)  # four queries, and one in the last block
    assert torch.equal(function(query_QD, proto_ND), together)
    for q in (0, 32):
        for n in (0, 8):
            alone = function(query_QD[q : q + 1], proto_ND[n : n + 1])
            assert torch.equal(alone[0, 0], together[q, n])


def test_the_widest_test_episode_stays_small_in_memory():
    # 60-way with 300 queries of 1024 numbers: 74 MB of differences if they were made at once.
    seen = 0

    def look(q_Q1D: torch.Tensor, p_1ND: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        difference = q_Q1D - p_1ND
        seen = max(seen, difference.numel())
        return difference.square().sum(-1)

    query_QD, proto_ND = random(300, 1024), random(60, 1024, seed=1)
    with torch.no_grad():
        result = P.pairwise(look, query_QD, proto_ND)
    assert result.shape == (300, 60)
    assert seen <= P.BLOCK_ELEMENTS
    np.testing.assert_allclose(
        result[:1, :2], naive_squared_euclidean(query_QD[:1], proto_ND[:2]), rtol=1e-6
    )


@pytest.mark.parametrize("function", [P.squared_euclidean, P.cosine_similarity])
@pytest.mark.parametrize("side", [0, 1])
def test_gradients_are_those_of_finite_differences(function, side: int):
    pair = [random(3, 5), random(2, 5, seed=1)]
    weight_QN = random(3, 2, seed=2)

    def value(tensor: torch.Tensor) -> torch.Tensor:
        return (function(*[tensor if i == side else pair[i] for i in (0, 1)]) * weight_QN).sum()

    variable = pair[side].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(variable), variable)
    for index in ((0, 0), (1, 2)):
        step = torch.zeros_like(variable)
        step[index] = 0.01
        slope = (value(pair[side] + step) - value(pair[side] - step)).item() / 0.02
        assert slope == pytest.approx(gradient[index].item(), rel=2e-3, abs=2e-4)


def test_no_query_gives_no_row():
    assert P.squared_euclidean(torch.empty(0, 4), random(3, 4)).shape == (0, 3)
