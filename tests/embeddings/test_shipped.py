"""The encoder that comes with g5: small, plain, whole, and better than raw features."""

import numpy as np
import pytest
import torch

from g5.embeddings.encoders.loading import load_encoder
from g5.tracking.folders import SHIPPED, find
from g5.tracking.restore import restore
from preprocessing.synthetic.rendering import render
from preprocessing.synthetic.species import KINDS, draw, vary

MOST_BYTES = 8 * 2**20
SR, CLIP = 22050, 22050


def test_it_is_small_plain_and_has_its_card():
    assert SHIPPED.stat().st_size <= MOST_BYTES
    content = torch.load(SHIPPED, weights_only=True)
    floating = [v for v in content["state_dict"].values() if v.is_floating_point()]
    assert {v.dtype for v in floating} == {torch.float16}
    assert all(v.isfinite().all() for v in floating)
    card = SHIPPED.with_suffix(".md").read_text()
    assert "Nothing was recorded" in card
    assert str(content["g5"]["git_revision"]) in card


def test_the_name_default_means_it_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("default") == (SHIPPED, None)
    encoder = load_encoder("default")
    assert (encoder.name, encoder.embedding_dim) == (
        "default",
        restore(SHIPPED).model.embedding_dim,
    )
    (tmp_path / "default").write_text("mine")
    assert find("default")[0].name == "default"
    assert find("default")[0] != SHIPPED


@pytest.mark.slow
def test_it_knows_species_again_that_it_never_heard():
    rng = np.random.default_rng(7)
    waves = [
        call(vary(species, rng, 0.2), rng)
        for species in (
            draw(rng, kinds=KINDS, f0_hz=(500, 5000), call_s=(0.1, 0.6)) for _ in range(8)
        )
        for _ in range(6)
    ]
    z_XD = restore(SHIPPED).embed(torch.from_numpy(np.stack(waves)))
    z_SKD = z_XD.unflatten(0, (8, 6))
    proto_SD, query_QD = z_SKD[:, :3].mean(1), z_SKD[:, 3:].flatten(0, 1)
    nearest_Q = torch.cdist(query_QD, proto_SD).argmin(1)
    right = (nearest_Q == torch.arange(8).repeat_interleave(3)).float().mean()
    assert right > 0.9, right


def call(species, rng: np.random.Generator) -> np.ndarray:
    """A call in a second of noise 20 dB below it."""
    x = rng.normal(0, 0.02, CLIP).astype(np.float32)
    sound = render(species, rng, sr=SR)[: CLIP - 2000]
    x[1000 : 1000 + len(sound)] += 0.5 * sound
    return x
