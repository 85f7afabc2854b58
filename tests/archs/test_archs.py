"""What every architecture of conf/arch/ promises, and what v1 and v2 promise beside it."""

import io
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archs.encoders.mel_cnn import MelCNN
from archs.metrics import MahalanobisMap, PairMLP, covariances
from archs.protonet import ProtoNet
from archs.prototypes import cosine_logits, euclidean_logits, prototypes, unit
from archs.v2.arch import ChannelAttention, TemporalAttention
from g5.common.errors import UserError
from g5.config.build import build
from g5.config.choices import CONF
from g5.config.node import Node

ARCH_YAML = {
    Path(str(item)).stem: Path(str(item))
    for item in sorted((CONF / "arch").iterdir())
    if str(item).endswith(".yaml")
}
# Small clips keep the file fast; the default size is used where it matters.
BANDS, FRAMES = 24, 21
N_WAY, K_SHOT, N_QUERY = 4, 2, 2


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On clips this small a second thread costs more than it brings, on a busy machine far more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def node(arch: str, part: str = "model") -> dict[str, Any]:
    found = yaml.safe_load(ARCH_YAML[arch].read_text())[part]
    return {k: 1 if v == "${features.channels}" else v for k, v in found.items()}


def make(arch: str, seed: int = 0, **changes: Any) -> ProtoNet:
    torch.manual_seed(seed)
    return build(Node.of(node(arch) | changes), expect=ProtoNet, where="arch.model")


def clips(count: int, bands: int = BANDS, frames: int = FRAMES, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, bands, frames, generator=torch.Generator().manual_seed(seed))


def episode_loss(model: ProtoNet, x_B1MT: Tensor) -> Tensor:
    z_BD = model(x_B1MT)
    support_NKD = z_BD[: N_WAY * K_SHOT].unflatten(0, (N_WAY, K_SHOT))
    target_Q = torch.arange(N_WAY).repeat_interleave(N_QUERY)
    return F.cross_entropy(model.logits(support_NKD, z_BD[N_WAY * K_SHOT :]), target_Q)


@dataclass(frozen=True)
class Trained:
    """A model after three optimiser steps, in eval mode, and what the steps did. Do not change."""

    model: ProtoNet
    moved: dict[str, float]  # largest change of an element of each parameter
    gradient: dict[str, float]  # largest gradient of an element of each, in the last step


@cache
def trained(arch: str, distance: str | None = None) -> Trained:
    changes: dict[str, Any] = {"distance": distance} if distance else {}
    model = make(arch, **changes).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for step in range(3):
        loss = episode_loss(model, clips(N_WAY * (K_SHOT + N_QUERY), seed=step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    parameters = dict(model.named_parameters())
    moved = {name: (p - before[name]).abs().max().item() for name, p in parameters.items()}
    gradient = {n: p.grad.abs().max().item() for n, p in parameters.items() if p.grad is not None}
    return Trained(model.eval(), moved, gradient)


def embedded(model: ProtoNet, classes: int = 4, shots: int = 2) -> tuple[Tensor, Tensor]:
    """Support ``(N, K, D)`` and queries of an episode."""
    with torch.no_grad():
        z_BD = model(clips(classes * shots + 12, seed=5))
    return z_BD[: classes * shots].unflatten(0, (classes, shots)), z_BD[classes * shots :]


def distances_of(arch: str) -> list[str]:
    return list(type(make(arch)).distances)


EVERY_DISTANCE = [(arch, distance) for arch in ARCH_YAML for distance in distances_of(arch)]


# --- every architecture -------------------------------------------------------------------------


def test_there_are_architectures():
    assert {"v1", "v2"} <= set(ARCH_YAML)


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_embeddings_are_finite_and_as_wide_as_declared(arch: str):
    model = make(arch).eval()
    with torch.no_grad():
        z_BD = model(clips(3, 128, 87))
    assert z_BD.shape == (3, model.embedding_dim)
    assert z_BD.dtype == torch.float32
    assert z_BD.isfinite().all()
    assert z_BD.std(dim=0).max() > 0, "all clips embed alike"


@pytest.mark.parametrize(("arch", "distance"), EVERY_DISTANCE)
def test_every_parameter_moves_in_three_steps(arch: str, distance: str):
    # Adam's steps are about the learning rate of 1e-3; what is seldom reached moves less.
    moved = trained(arch, distance).moved
    assert moved
    assert {name: step for name, step in moved.items() if not step > 1e-4} == {}


@pytest.mark.parametrize(("arch", "distance"), EVERY_DISTANCE)
def test_no_parameter_is_invisible_to_the_loss(arch: str, distance: str):
    # Adam makes full steps of rounding noise too, so gradients are compared with their fellows'.
    after = trained(arch, distance)
    assert set(after.gradient) == set(after.moved)
    noise = 1e-6 * max(after.gradient.values())
    assert {name: g for name, g in after.gradient.items() if not g > noise} == {}


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_eval_mode_ignores_what_else_is_in_the_batch(arch: str):
    model = trained(arch).model
    x_B1MT = clips(9, seed=5)
    with torch.no_grad():
        together_BD = model(x_B1MT)
        alone_BD = torch.cat([model(x_11MT) for x_11MT in x_B1MT.split(1)])
        loud_BD = model(torch.cat([x_B1MT[:1], 1e3 * x_B1MT[1:]]))[:1]
    tolerance = 1e-6 * together_BD.abs().max().item()
    torch.testing.assert_close(alone_BD, together_BD, rtol=0, atol=tolerance)
    torch.testing.assert_close(loud_BD, together_BD[:1], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("arch", "distance"), EVERY_DISTANCE)
def test_a_querys_logits_do_not_change_with_its_peers(arch: str, distance: str):
    model = trained(arch, distance).model
    support_NKD, query_QD = embedded(model)
    with torch.no_grad():
        together_QN = model.logits(support_NKD, query_QD)
        alone_QN = torch.cat([model.logits(support_NKD, q_1D) for q_1D in query_QD.split(1)])
        within_SD = model.scatter_of(support_NKD)
        from_prototypes_QN = model.compared(prototypes(support_NKD), query_QD, within_SD)
    tolerance = 1e-6 * together_QN.abs().max().item()
    torch.testing.assert_close(alone_QN, together_QN, rtol=0, atol=tolerance)
    assert torch.equal(from_prototypes_QN, together_QN)


@pytest.mark.parametrize(("arch", "distance"), EVERY_DISTANCE)
def test_state_dict_survives_a_file_of_plain_tensors(arch: str, distance: str):
    model = trained(arch, distance).model
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = make(arch, seed=1, distance=distance).eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    support_NKD, query_QD = embedded(model)
    assert torch.equal(embedded(again)[0], support_NKD)
    with torch.no_grad():
        assert torch.equal(again.logits(support_NKD, query_QD), model.logits(support_NKD, query_QD))


@pytest.mark.parametrize("arch", [*ARCH_YAML, "mel_cnn"])
def test_convolutions_work_channels_last_also_with_loaded_weights(arch: str):
    mel_cnn = MelCNN(channels=[8, 16], embedding_dim=16)
    model, channels_last = (mel_cnn if arch == "mel_cnn" else make(arch)).eval(), []
    model.load_state_dict({key: value.contiguous() for key, value in model.state_dict().items()})

    def look(_part: nn.Module, _x: Any, y: Tensor) -> None:
        channels_last.append(y.is_contiguous(memory_format=torch.channels_last))

    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(look)
    with torch.no_grad():
        model(clips(4, 64, 43))
    assert channels_last
    assert all(channels_last)


def test_the_layout_of_mel_cnn_changes_nothing_but_rounding(monkeypatch):
    model = MelCNN(channels=[8, 16, 32], embedding_dim=16).double().eval()
    x_B1MT = clips(4, 64, 43).double()
    with torch.no_grad():
        z_BD = model(x_B1MT)
        monkeypatch.setattr("archs.encoders.mel_cnn.channels_last", lambda x: x)
        torch.testing.assert_close(model(x_B1MT), z_BD, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("arch", ARCH_YAML)
@pytest.mark.parametrize("bands", [1, 3, 64, 128])
def test_any_number_of_bands_and_frames_will_do(arch: str, bands: int):
    model = make(arch).eval()
    with torch.no_grad():
        for frames in (1, 2, 3, 5, 15, 16, 17, 33, 87, 128, 199, 200):
            z_BD = model(clips(2, bands, frames))
            assert z_BD.shape == (2, model.embedding_dim), frames
            assert z_BD.isfinite().all(), frames


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_training_takes_single_frames(arch: str):
    model = make(arch).train()
    loss = episode_loss(model, clips(N_WAY * (K_SHOT + N_QUERY), frames=1))
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize(("arch", "distance"), EVERY_DISTANCE)
def test_bf16_autocast_gives_finite_logits_in_fp32(arch: str, distance: str):
    model = trained(arch, distance).model
    exact_NKD, _ = embedded(model)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        support_NKD, query_QD = embedded(model)
        logits_QN = model.logits(support_NKD, query_QD)
    assert query_QD.dtype == logits_QN.dtype == torch.float32
    assert logits_QN.isfinite().all()
    assert F.cosine_similarity(support_NKD, exact_NKD, dim=-1).min() > 0.99
    with torch.no_grad():  # the head is exact: these embeddings' logits without autocast are equal
        assert torch.equal(logits_QN, model.logits(support_NKD, query_QD))


class Convolutions(TorchDispatchMode):
    """Notes the type and the narrower axis of every map that is convolved, backward too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[torch.dtype, int]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "convolution" in func.__name__:
            x_BCMT = args[1 if "backward" in func.__name__ else 0]
            self.seen.add((x_BCMT.dtype, min(x_BCMT.shape[-2:])))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("arch", [*ARCH_YAML, "mel_cnn"])
def test_no_narrow_map_is_convolved_in_bf16(arch: str):
    """Some processors do it wrong (`archs.protonet.Conv2d`): seen here on all of them."""
    mel_cnn = MelCNN(channels=[8, 16, 32, 64], embedding_dim=16)
    model = (mel_cnn if arch == "mel_cnn" else make(arch)).train()
    with Convolutions() as convolutions, torch.autocast("cpu", dtype=torch.bfloat16):
        for frames in range(1, 36):
            model(clips(2, 64, frames)).sum().backward()
    narrow = {(kind, width) for kind, width in convolutions.seen if width < 3}
    assert {kind for kind, _ in narrow} == {torch.float32} or not narrow
    assert torch.bfloat16 in {kind for kind, _ in convolutions.seen} or not convolutions.seen


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_bf16_is_near_fp32_at_every_number_of_frames(arch: str):
    model = trained(arch).model
    for frames in range(1, 101):
        x_B1MT = clips(2, 32, frames, seed=frames)
        with torch.no_grad():
            exact_BD = model(x_B1MT)
            dirt = [torch.full((2**k,), torch.nan) for k in range(8, 18)]
            del dirt  # what is not written is then seen
            with torch.autocast("cpu", dtype=torch.bfloat16):
                z_BD = model(x_B1MT)
        assert (z_BD - exact_BD).norm() < 0.03 * exact_BD.norm(), frames


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_an_episode_is_learned_by_heart(arch: str):
    model = make(arch, dropout=0.0).train()
    x_B1MT = clips(N_WAY * (K_SHOT + N_QUERY))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(15):
        loss = episode_loss(model, x_B1MT)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * math.log(N_WAY)


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_training_starts_within_reach_of_softmax(arch: str):
    # Neither saturated (a loss far over chance) nor flat: distances begin on a sensible scale.
    shape_N1MT = F.interpolate(clips(N_WAY, 6, 5), size=(64, 44), mode="bilinear")
    class_B = torch.arange(N_WAY).repeat_interleave(K_SHOT)
    class_B = torch.cat([class_B, torch.arange(N_WAY).repeat_interleave(N_QUERY)])
    # Classes so alike that no untrained embedding tells them apart for sure.
    x_B1MT = 0.4 * shape_N1MT[class_B] + clips(len(class_B), 64, 44)
    loss = episode_loss(make(arch).train(), x_B1MT)
    assert 0.02 * math.log(N_WAY) < loss.item() < 1.5 * math.log(N_WAY)


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_a_seed_repeats_initialisation_and_dropout(arch: str):
    def outcome() -> Tensor:
        return make(arch, seed=4, dropout=0.3).train()(clips(6))

    assert torch.equal(outcome(), outcome())


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_dropout_and_its_rate_are_alive(arch: str):
    def outcome(dropout: float, training: bool) -> Tensor:
        return make(arch, dropout=dropout).train(training)(clips(6)).detach()

    assert not torch.equal(outcome(0.3, True), outcome(0.0, True))
    assert torch.equal(outcome(0.3, False), outcome(0.0, False))


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_an_unknown_distance_is_named(arch: str):
    with pytest.raises(UserError, match=r"^arch\.model\.distance=manhattan: must be one of .*eucl"):
        make(arch, distance="manhattan")


@pytest.mark.parametrize("arch", ARCH_YAML)
@pytest.mark.parametrize(
    ("key", "value"), [("dropout", 1.0), ("dropout", -0.1), ("cosine_scale", 0.0)]
)
def test_impossible_values_are_named(arch: str, key: str, value: Any):
    with pytest.raises(UserError, match=rf"^arch\.model\.{key}={re.escape(str(value))}: must be"):
        make(arch, **{key: value})


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_an_unknown_geometry_is_named(arch: str):
    with pytest.raises(
        UserError, match=r"^arch\.model\.normalize=l3: must be one of none, l2, cl2n"
    ):
        make(arch, normalize="l3")


@pytest.mark.parametrize("arch", ARCH_YAML)
@pytest.mark.parametrize("mode", ["l2", "cl2n"])
def test_normalised_embeddings_have_one_length(arch: str, mode: str):
    model = make(arch, normalize=mode).train()
    model(clips(12, seed=3))
    with torch.no_grad():
        length_B = model.eval()(clips(5)).norm(dim=1)
    torch.testing.assert_close(length_B, length_B[:1].expand(5))


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_cosine_scale_scales_the_cosine(arch: str):
    z_BD = torch.randn(10, 16)
    model = make(arch, distance="cosine", cosine_scale=3.0)
    logits_QN = model.logits(z_BD[:8].unflatten(0, (4, 2)), z_BD[8:])
    assert torch.equal(logits_QN, cosine_logits(z_BD[8:], z_BD[:8].view(4, 2, 16).mean(1), 3.0))


@pytest.mark.parametrize("arch", ARCH_YAML)
def test_the_document_states_what_the_model_has(arch: str):
    target = node(arch)["_target_"].rsplit(".", 2)[0]
    text = files(target).joinpath("ARCHITECTURE.md").read_text(encoding="utf-8")
    count = sum(p.numel() for p in make(arch).parameters())
    stated = re.search(r"\*\*([\d,]+) parameters\*\*", text)
    assert stated, "the document says `**N parameters**`"
    assert int(stated.group(1).replace(",", "")) == count
    assert "```mermaid\nflowchart" in text


# --- v1 -----------------------------------------------------------------------------------------


def test_v1_is_as_small_as_it_says():
    assert 0.3e6 < sum(p.numel() for p in make("v1").parameters()) < 0.7e6


@pytest.mark.parametrize("channels", [[], [8], [8, 16, 32], [8, 0]])
def test_v1_has_two_blocks(channels: list[int]):
    with pytest.raises(UserError, match=r"^arch\.model\.channels=\[.*\]: must be two"):
        make("v1", channels=channels)


def test_v1_pools_what_it_sees_convolutionally():
    # A clip's embedding is the mean over frames 8 apart, so long recordings can be convolved once.
    blocks = cast("nn.Module", make("v1").eval().encoder.blocks)
    x_B1MT = clips(1, 32, 400)
    with torch.no_grad():
        features_BCMT = blocks(x_B1MT)
        window_BCMT = blocks(x_B1MT[..., 80:240])
    assert features_BCMT.shape[-1] == 400 / 8
    inner = slice(2, -2)  # all but what the padding at the window's edges reaches
    torch.testing.assert_close(
        window_BCMT[..., inner], features_BCMT[..., 10:30][..., inner], rtol=1e-4, atol=1e-5
    )


# --- v2 -----------------------------------------------------------------------------------------


def test_v2_is_as_large_as_it_says():
    count = sum(p.numel() for p in make("v2").parameters())
    assert 2.5e6 < count < 2.8e6
    assert round(4 * count / 2**20) == 10


def test_v2_halves_both_axes_in_each_block():
    model = make("v2").eval()
    x_BCMT = clips(2, 128, 87)
    shapes = []
    with torch.no_grad():
        for block in cast("nn.Sequential", model.encoder.blocks):
            x_BCMT = block(x_BCMT)
            shapes.append(tuple(x_BCMT.shape[1:]))
    assert shapes == [(32, 64, 44), (64, 32, 22), (128, 16, 11), (256, 8, 6)]


def test_v2_without_attention_of_either_kind():
    model = make("v2", se_reduction=0, attention_heads=0).eval()
    kinds = {type(part) for part in model.modules()}
    assert not kinds & {ChannelAttention, TemporalAttention}
    with torch.no_grad():
        assert model(clips(2)).isfinite().all()


@pytest.mark.parametrize("channels", [[16], [8, 24], [128, 256, 512, 1024], [8, 8, 16, 16, 32, 32]])
def test_v2_takes_any_number_of_blocks(channels: list[int]):
    model = make("v2", channels=channels).eval()
    with torch.no_grad():
        assert model(clips(1)).shape == (1, 1024)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channels", []),
        ("channels", [8, 0]),
        ("se_reduction", -1),
        ("attention_heads", -1),
        ("attention_heads", 7),
        ("embedding_dim", 0),
        ("frequency_bins", 0),
        ("band_statistics", -1),
        ("distance_hidden", [0]),
        ("distance_share", 0.0),
        ("distance_share", 1.0),
        ("metric_rank", -1),
        ("scatter_floor", 0.0),
        ("metric_shrink", 1.5),
        ("input_channels", 0),
    ],
)
def test_v2_names_impossible_values(key: str, value: Any):
    with pytest.raises(UserError, match=rf"^arch\.model\.{key}={re.escape(str(value))}: must"):
        make("v2", **{key: value})


def test_v2_keeps_pitch_where_it_pools_coarse_frequencies():
    """A tone and its shift by half the bands differ more than with the mean over all bands."""

    def gap(**changes: Any) -> float:
        model = make("v2", normalize="l2", **changes).eval()
        x_B1MT = torch.zeros(2, 1, 64, 20)
        x_B1MT[0, :, 8:12], x_B1MT[1, :, 40:44] = 3.0, 3.0
        with torch.no_grad():
            return float((model(x_B1MT)[0] - model(x_B1MT)[1]).norm())

    plain = gap(frequency_bins=1, band_statistics=0)
    assert gap(frequency_bins=4, band_statistics=0) > 1.1 * plain
    assert gap(frequency_bins=1, band_statistics=64) > 1.1 * plain


def last_weight(metric: PairMLP) -> Tensor:
    return [p for p in metric.parameters() if p.ndim == 2][-1]


def test_learned_distances_start_at_the_euclidean_one():
    mlp = make("v2", distance="mlp")
    z_BD = torch.randn(30, mlp.embedding_dim) / 8
    support_NKD, query_QD = z_BD[:20].unflatten(0, (4, 5)), z_BD[20:]
    expected_QN = euclidean_logits(query_QD, support_NKD.mean(1))
    assert torch.equal(mlp.logits(support_NKD, query_QD), expected_QN)
    learnable, euclidean = make("v2").eval(), make("v2", distance="euclidean").eval()
    euclidean.load_state_dict(learnable.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(learnable(clips(4)), euclidean(clips(4)))


def test_training_teaches_the_mlp():
    model = trained("v2", "mlp").model
    z_BD = torch.randn(6, model.embedding_dim)
    with torch.no_grad():
        ours_QN = model.logits(z_BD[None, :1], z_BD)
        model.metric = None
        theirs_QN = model.logits(z_BD[None, :1], z_BD)
    assert (ours_QN - theirs_QN).abs().max() > 1e-5


def test_the_learnable_distance_is_that_of_two_covariances():
    """At full rank against the formula in float64; lengths stay; noise does not count."""
    generator = torch.Generator().manual_seed(0)
    class_X = torch.arange(200).repeat_interleave(5)
    # Classes differ in the first four directions; in the last two there is noise alone.
    between_D = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    within_D = torch.tensor([2.0, 1.0, 0.3, 0.1, 0.05, 1.0])
    z_XD = (between_D * torch.randn(200, 6, generator=generator))[class_X]
    z_XD = z_XD + within_D * torch.randn(1000, 6, generator=generator)
    metric = MahalanobisMap(6, 6, 0.3)
    metric.fit(z_XD, class_X)
    mapped_XD = metric(z_XD).detach()
    torch.testing.assert_close(mapped_XD.norm(dim=1), z_XD.norm(dim=1))
    between_DD, within_DD = covariances(unit(z_XD).double(), class_X)
    within_DD = 0.7 * within_DD + 0.3 * within_DD.diagonal().mean() * torch.eye(6)
    value_D, vector_DD = torch.linalg.eig(torch.linalg.inv(within_DD) @ between_DD)
    value_D, vector_DD = value_D.real.clamp(min=0), vector_DD.real
    vector_DD = vector_DD / (vector_DD * (within_DD @ vector_DD)).sum(0).sqrt()
    metric_DD = vector_DD * (value_D / (value_D + value_D.mean())) @ vector_DD.T
    expected_X = (unit(z_XD).double() @ metric_DD * unit(z_XD).double()).sum(1)
    matrix_DD = metric.diagonal_D.diag() + metric.up_DR @ metric.down_RD
    ours_X = (unit(z_XD) @ matrix_DD.T).square().sum(1).detach()
    torch.testing.assert_close(ours_X, expected_X.float(), rtol=1e-3, atol=1e-3)
    size_D = matrix_DD.norm(dim=0)
    assert size_D[4:].max() < size_D[:4].min()


def test_the_mlp_is_symmetric_and_grows_as_the_euclidean_distance():
    torch.manual_seed(0)
    metric = PairMLP(16, [8, 4], 0.3)
    torch.nn.init.normal_(last_weight(metric))
    query_QD, proto_ND = torch.randn(5, 16), torch.randn(3, 16)
    distance_QN = metric(query_QD, proto_ND)
    torch.testing.assert_close(metric(proto_ND, query_QD).T, distance_QN)
    torch.testing.assert_close(metric(10 * query_QD, 10 * proto_ND), 100 * distance_QN)
    factor_QN = -distance_QN / euclidean_logits(query_QD, proto_ND)
    assert factor_QN.std() > 0.01
    assert (factor_QN - 1).abs().max() <= 0.3 + 1e-6


@pytest.mark.parametrize("share", [0.3, None])
def test_the_mlp_is_the_float64_loop(share: float | None):
    torch.manual_seed(0)
    metric = PairMLP(6, [5, 3], share)
    torch.nn.init.normal_(last_weight(metric))
    query_QD, proto_ND = torch.randn(4, 6), torch.randn(2, 6)
    weights = [p.detach().double() for p in metric.correction.parameters()]
    for q, result_N in zip(query_QD.double(), metric(query_QD, proto_ND), strict=True):
        for p, result in zip(proto_ND.double(), result_N, strict=True):
            h = math.sqrt(6) * (q / q.norm() - p / p.norm()).abs()
            h = (weights[0] @ h + weights[1]).clamp_min(0)
            h = (weights[2] @ h + weights[3]).clamp_min(0)
            c = (weights[4] @ h).item()
            factor = math.exp(c) if share is None else 1 + share * math.tanh(c)
            assert result.item() == pytest.approx(((q - p) ** 2).sum().item() * factor, rel=1e-5)


def test_v2_hears_two_channels():
    model = make("v2", input_channels=2).eval()
    x_B2MT = torch.randn(3, 2, BANDS, FRAMES)
    with torch.no_grad():
        z_BD = model(x_B2MT)
        other_BD = model(torch.stack([x_B2MT[:, 0], torch.zeros_like(x_B2MT[:, 1])], dim=1))
    assert z_BD.shape == (3, model.embedding_dim)
    assert not torch.allclose(z_BD, other_BD)


def test_v2s_temporal_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = TemporalAttention(width=16, heads=4, dropout=0.0).eval()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True, bias=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.load_state_dict(ours.output.state_dict())
        x_BTC = torch.randn(2, 7, 16)
        normed_BTC = ours.attention_norm(x_BTC)
        expected_BTC = x_BTC + theirs(normed_BTC, normed_BTC, normed_BTC)[0]
        expected_BTC = expected_BTC + ours.feed_forward(expected_BTC)
        torch.testing.assert_close(ours(x_BTC), expected_BTC)
        order = torch.randperm(7)
        torch.testing.assert_close(ours(x_BTC[:, order]), expected_BTC[:, order])


def test_v2s_correction_exists_only_where_it_is_used():
    assert not any("metric" in name for name in make("v2", distance="euclidean").state_dict())
    assert any("metric" in name for name in make("v2").state_dict())
