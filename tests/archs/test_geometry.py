"""The embedding's geometry: one length, centred by a mean that the checkpoint keeps."""

import torch
from torch.nn.functional import normalize

from archs.geometry import Geometry


def fitted(mode: str) -> Geometry:
    torch.manual_seed(0)
    part = Geometry(8, mode, learn_radius=True)
    for _ in range(3):
        part(torch.randn(20, 8) + 5)
    return part.eval()


def test_none_changes_nothing_and_has_nothing():
    part, z = fitted("none"), torch.randn(4, 8)
    assert part(z) is z
    assert not part.state_dict()


def test_l2_gives_every_embedding_the_radius():
    part, z = fitted("l2"), torch.randn(4, 8)
    torch.testing.assert_close(part(z), part.log_radius.exp() * normalize(z, dim=1))


def test_cl2n_subtracts_the_mean_of_the_training_batches_first():
    part, z = fitted("cl2n"), torch.randn(4, 8) + 5
    assert (part.mean_D - 5).abs().max() < 0.5
    expected = part.log_radius.exp() * normalize(z - part.mean_D, dim=1)
    torch.testing.assert_close(part(z), expected)
    before = part.mean_D.clone()
    alone = torch.cat([part(row) for row in z.split(1)])
    torch.testing.assert_close(alone, part(z))
    assert torch.equal(part.mean_D, before), "only training moves the mean"


def test_the_mean_goes_with_the_weights():
    part = fitted("cl2n")
    again = Geometry(8, "cl2n", learn_radius=True).eval()
    again.load_state_dict(part.state_dict())
    z = torch.randn(4, 8)
    assert torch.equal(again(z), part(z))


def test_a_radius_that_nothing_teaches_is_not_learned():
    assert not list(Geometry(8, "l2", learn_radius=False).parameters())
