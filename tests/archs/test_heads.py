"""Shallow heads: widths, parameters, gradients, and a plain training loop."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from archs.heads import LinearHead, MLPHead, ResidualHead
from g5.common.errors import UserError
from g5.transfer import EmbeddingClassifier

HEADS = {
    "linear": lambda: LinearHead(input_dim=12, n_outputs=5),
    "mlp": lambda: MLPHead(input_dim=12, hidden_dims=[8], n_outputs=5, dropout=0.1),
    "deep": lambda: MLPHead(input_dim=12, hidden_dims=[16, 8], n_outputs=5, dropout=0.1),
    "residual": lambda: ResidualHead(
        input_dim=12, hidden_dim=8, n_blocks=2, n_outputs=5, dropout=0.1
    ),
    "classifier": lambda: EmbeddingClassifier(12, 8, 5),
    "no projection": lambda: EmbeddingClassifier(12, None, 5, projection=False),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_maps_vectors_to_outputs_and_every_parameter_moves(name):
    torch.manual_seed(0)
    head = HEADS[name]()
    x_BD, label_B = torch.randn(20, 12), torch.arange(20) % 5
    assert head(x_BD).shape == (20, 5)
    before = [p.detach().clone() for p in head.parameters()]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(x_BD), label_B).backward()
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, head.parameters(), strict=True))
    head.eval()
    torch.testing.assert_close(head(x_BD)[:3], head(x_BD[:3]))


def test_the_classifier_is_what_it_is_said_to_be():
    model = EmbeddingClassifier(1024, 512, 23)
    assert sum(p.numel() for p in model.parameters()) == 536_599
    assert isinstance(model.projection, nn.Linear)
    assert isinstance(model.classifier, nn.Linear)
    assert model.get_embedding(torch.zeros(2, 1024)).shape == (2, 512)
    assert EmbeddingClassifier(32, None, 3).get_embedding(torch.zeros(2, 32)).shape == (2, 32)
    bare = EmbeddingClassifier(32, None, 3, projection=False)
    assert sum(p.numel() for p in bare.parameters()) == 33 * 3
    x_BD = torch.randn(2, 32)
    assert torch.equal(bare.get_embedding(x_BD), x_BD)


def test_impossible_widths_are_said():
    with pytest.raises(UserError, match="input_dim=0"):
        EmbeddingClassifier(0, 8, 3)
    with pytest.raises(UserError, match="without the projection"):
        EmbeddingClassifier(32, 8, 3, projection=False)
    with pytest.raises(UserError, match="dropout=1"):
        MLPHead(input_dim=4, hidden_dims=[4], n_outputs=2, dropout=1)


def test_importing_the_room_is_light():
    code = "import sys, g5.transfer; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
