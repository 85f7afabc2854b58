"""The timbre's kernel: products of its features, and its place in an embedding."""

import pytest
import torch

from archs.prototypes import unit
from archs.timbre import TimbreKernel
from archs.v2.arch import TIMBRE_INPUTS, ProtoNetV2
from g5.common.errors import UserError
from g5.config.settings import load


def model(*overrides: str) -> ProtoNetV2:
    values = load(["experiment=pretrained", *overrides]).arch.model.values
    return ProtoNetV2(**{**values, "channels": [4, 8], "attention_heads": 0})


def test_products_of_features_are_the_kernel():
    torch.manual_seed(0)
    kernel = TimbreKernel(16, 4096, sharpness=3.0, weight=0.5).eval()
    v_BI = torch.randn(1, 16) + 0.3 * torch.randn(40, 16)
    z_BF, u_BI = kernel(v_BI), unit(v_BI)
    wanted_BB = 0.5 * torch.exp(-3.0 * torch.cdist(u_BI, u_BI).square())
    torch.testing.assert_close(z_BF @ z_BF.T, wanted_BB, atol=0.02, rtol=0)
    assert torch.equal(TimbreKernel(16, 64, sharpness=3.0, weight=0.5)(v_BI[:2]).isnan(),
                       torch.zeros(2, 64, dtype=torch.bool))  # fmt: skip


def test_an_embedding_has_both_parts_and_timbre_hears_log_mel_alone():
    made = model("arch.model.embedding_dim=48", "arch.model.timbre_dim=16",
                 "arch.model.metric_rank=4").eval()  # fmt: skip
    x_BIMT = torch.randn(3, 2, 64, 20)
    z_BD = made(x_BIMT)
    assert z_BD.shape == (3, 48) == (3, made.embedding_dim)
    assert made.encoder(x_BIMT).shape == (3, 32 + TIMBRE_INPUTS)
    call_B, timbre_B = z_BD[:, :32].norm(dim=1), z_BD[:, 32:].norm(dim=1)
    torch.testing.assert_close(timbre_B.square() / call_B.square(), torch.full((3,), 0.25))
    changed = x_BIMT.clone()
    changed[:, 1] = torch.randn(3, 64, 20)
    torch.testing.assert_close(made(changed)[:, 32:], z_BD[:, 32:])
    assert not torch.allclose(made(changed)[:, :32], z_BD[:, :32])


@pytest.mark.parametrize("wrong", ["timbre_dim=15", "timbre_dim=48", "band_statistics=0"])
def test_a_timbre_that_cannot_be_is_refused(wrong):
    with pytest.raises(UserError, match=r"arch\.model\.timbre_dim"):
        model("arch.model.embedding_dim=48", "arch.model.timbre_dim=16",
              "arch.model.metric_rank=4", f"arch.model.{wrong}")  # fmt: skip
