"""Contract checks of an encoder and of a head, each with words of its own.

Shapes: B windows, S samples, D embedding width.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from archs.blocks import blocks_of
from g5.common.errors import UserError, brief
from g5.common.words import counted
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.encoders.user_classes import build_head

BATCH = 4
LONG_S = 30.0
LONG_BATCH = 8
# What an encoder that passes may still differ by between two batches.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Finding:
    """One contract check: passed, or what is wrong and what to do.

    Attributes:
        check: what is checked, in a few words.
        problem: "" where it passes.
        note: something to know that is no fault.
    """

    check: str
    problem: str = ""
    note: str = ""


def check(name: str, head: str | None, overrides: Sequence[str]) -> bool:
    """Print each contract check of an encoder (and of a head of one's own); whether all pass.

    ``overrides`` are the encoder's: ``encoder.key=value``.
    """
    encoder = load_encoder(name, overrides)
    takes = "waveforms" if encoder.front_end is None else "features"
    print(
        f"{name}: {takes}, {encoder.sr} Hz, windows of {encoder.window_s:g} s, "
        f"{encoder.embedding_dim} dimensions"
    )
    failed = _printed(check_encoder(encoder))
    if head is not None:
        print(f"{head}: a rating head")
        failed += _printed(check_head(head, encoder.embedding_dim))
    print("all contract checks pass" if not failed else f"contract checks that fail: {failed}")
    return not failed


def _printed(findings: Iterable[Finding]) -> int:
    failed = 0
    for finding in findings:
        failed += bool(finding.problem)
        mark = "FAIL" if finding.problem else "ok"
        more = finding.problem or finding.note
        print(f"  {mark:<4}  {finding.check}{': ' + more if more else ''}")
    return failed


def check_encoder(encoder: LoadedEncoder) -> Iterator[Finding]:
    """Every contract check of an encoder, in the order a user would put them right."""
    torch.manual_seed(0)
    wave_BS = 0.1 * torch.randn(BATCH, encoder.window_samples)
    # Silence and loudness beside noise: an output that is centred over the batch shows.
    wave_BS[1] *= 0.01
    x = encoder.inputs(wave_BS)
    finding, z = _shape(encoder, x)
    yield finding
    if finding.problem:
        return
    assert z is not None
    yield _finite(z)
    yield _training_mode(encoder, x)
    yield _batch(encoder, x)
    yield _gradient(encoder, x)
    yield _long_clips(encoder)


def _shape(encoder: LoadedEncoder, x: Tensor) -> tuple[Finding, Tensor | None]:
    check = f"{tuple(x.shape)} -> ({BATCH}, {encoder.embedding_dim})"
    encoder.module.eval()
    try:
        with torch.no_grad():
            z = encoder.module(x)
    except Exception as error:
        reason = brief(error)
        hint = ""
        if encoder.front_end is None and x.ndim == 2:
            hint = (
                "; it is given waveforms (batch, samples): unsqueeze the channel inside forward, "
                "or set encoder.front_end if it takes (batch, 1, mels, frames)"
            )
        return Finding(check, f"raises {type(error).__name__}: {reason}{hint}"), None
    if isinstance(z, tuple | list | dict):
        return Finding(check, f"gives a {type(z).__name__}; return the embeddings alone"), None
    if not isinstance(z, Tensor):
        return Finding(check, f"gives {type(z).__name__}, no tensor"), None
    problem = _shape_problem(tuple(z.shape), encoder.embedding_dim)
    return Finding(check, problem), None if problem else z


def _shape_problem(shape: tuple[int, ...], width: int) -> str:
    if shape == (BATCH, width):
        return ""
    squeezed = tuple(size for size in shape[1:] if size != 1)
    if len(shape) != 2 and squeezed == (width,):
        return f"gives {shape}: a dimension of 1 is left over; add .squeeze() or .flatten(1)"
    if len(shape) == 3:
        axis = 1 if shape[2] == width else 2
        return (
            f"gives {shape}: a dimension is left over; if it is time, take the mean over it "
            f"(z.mean(dim={axis}))"
        )
    if len(shape) != 2:
        return (
            f"gives {shape}: {len(shape)} dimensions, where (batch, width) has 2; pool and flatten"
        )
    if shape[0] != BATCH:
        return f"gives {shape}: {shape[0]} embeddings for {BATCH} clips; keep the batch axis first"
    return (
        f"gives a width of {shape[1]}, but embedding_dim says {width}; make embedding_dim "
        f"{shape[1]}, or the last layer {width} wide"
    )


def _finite(z: Tensor) -> Finding:
    bad = not bool(torch.isfinite(z).all())
    problem = "gives NaN or infinity for noise; look for a log or a division without a floor"
    if not bad and float(z.float().var(dim=0).max()) < 1e-12:
        return Finding("finite values", note="all clips get the same embedding: is it trained?")
    return Finding("finite values", problem if bad else "")


@torch.no_grad()
def _training_mode(encoder: LoadedEncoder, x: Tensor) -> Finding:
    """Twice the same input in eval mode is twice the same output."""
    check = "eval() switches dropout off"
    first, second = encoder.module.eval()(x), encoder.module(x)
    if not torch.allclose(first, second, atol=TOLERANCE):
        return Finding(
            check,
            "gives other embeddings for the same clips after eval(): use nn.Dropout, or pass "
            "training=self.training to F.dropout; draw no random numbers when not self.training",
        )
    stuck = [name for name, part in encoder.module.named_modules() if part.training]
    if stuck:
        name = stuck[0] or type(encoder.module).__name__
        return Finding(
            check,
            f"{name} is still in training mode after eval(); a train() of your own must take the "
            "mode and return super().train(mode)",
        )
    return Finding(check)


@torch.no_grad()
def _batch(encoder: LoadedEncoder, x: Tensor) -> Finding:
    check = "a clip's embedding does not depend on its batch"
    together = encoder.module.eval()(x)
    try:
        alone = torch.cat([encoder.module(one[None]) for one in x])
    except Exception as error:
        return Finding(
            check,
            f"raises {type(error).__name__} for a single clip ({brief(error, 120)}); only "
            "the axis you mean, e.g. .squeeze(1), not the batch",
        )
    if alone.shape != together.shape:
        return Finding(check, f"gives {tuple(alone[0].shape)} for a single clip")
    scale = together.abs().max().clamp(min=1e-6)
    if float((alone - together).abs().max() / scale) > TOLERANCE * 10:
        return Finding(
            check,
            "changes with the other clips in the batch: normalise over dims of one clip only (not "
            "dim 0), and use nn.BatchNorm in eval mode",
        )
    return Finding(check)


def _gradient(encoder: LoadedEncoder, x: Tensor) -> Finding:
    check = "gradient reaches its weights"
    parameters = list(encoder.module.parameters())
    if encoder.from_file:
        return Finding(check, note="a model file: it can be embedded with, never fine-tuned")
    if not parameters:
        return Finding(check, note="it has no weights: it can be embedded with, not fine-tuned")
    if not any(p.requires_grad for p in parameters):
        return Finding(check, note="all weights are frozen (requires_grad=False)")
    encoder.module.zero_grad(set_to_none=True)
    z = encoder.module(x)
    if not z.requires_grad:
        return Finding(
            check,
            "the output has no gradient: remove torch.no_grad(), .detach() and .numpy() from "
            "forward; g5 itself switches gradients off where none are needed",
        )
    z.float().square().mean().backward()
    without = [
        n for n, p in encoder.module.named_parameters() if p.requires_grad and p.grad is None
    ]
    bad = [
        n for n, p in encoder.module.named_parameters() if p.grad is not None and not _ok(p.grad)
    ]
    encoder.module.zero_grad(set_to_none=True)
    if bad:
        return Finding(check, f"the gradient of {bad[0]} is NaN or infinite")
    if without:
        unused = counted(len(without), "weight")
        return Finding(check, note=f"{unused} never used, e.g. {without[0]}")
    return Finding(check)


def _ok(gradient: Tensor) -> bool:
    return bool(torch.isfinite(gradient).all())


def _long_clips(encoder: LoadedEncoder) -> Finding:
    """Memory of a training step on 30 s clips, from one clip's activations."""
    check = f"a training step on {LONG_BATCH} clips of {LONG_S:g} s fits in memory"
    samples = round(LONG_S * encoder.sr)
    module, tracked = encoder.module, encoder.trainable
    try:
        with torch.no_grad():
            x = encoder.inputs(0.1 * torch.randn(1, samples))
        used = _saved_bytes(lambda: module(x)) if tracked else x.numel() * 4
    except MemoryError:
        used = 1 << 62
    except RuntimeError as error:
        if "alloc" not in str(error).lower() and "memory" not in str(error).lower():
            reason = brief(error, 150)
            return Finding(
                f"clips of {LONG_S:g} s",
                note=f"only windows of {encoder.window_s:g} s will do ({reason}); longer sound is "
                "cut into windows",
            )
        used = 1 << 62
    finally:
        gc.collect()
    need, have = used * LONG_BATCH, _memory()
    if need > 0.8 * have:
        return Finding(
            check,
            f"{_gib(need)} of {_gib(have)} for one step: take finetune.checkpointing=true "
            "(or g5.transfer.contracts.checkpointed(encoder) in a loop), chunks of the clip "
            "(g5.transfer.contracts.chunked(encoder, seconds, rate)) or a shorter "
            "encoder.window_s; "
            "embedding without gradient is not concerned",
        )
    return Finding(check, note=f"about {_gib(need)} of {_gib(have)}")


def _saved_bytes(function: Callable[[], Any]) -> int:
    """What autograd keeps for the way back, bytes."""
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        function()
    return sum(seen.values())


def _memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory
    import psutil

    return psutil.virtual_memory().total


def _gib(size: float) -> str:
    return "more than there is" if size > 1 << 50 else f"{size / 2**30:.1f} GiB"


def checkpointed(module: nn.Module) -> nn.Module:
    """Gradient checkpointing of a module's blocks, in place: less memory, a second forward.

    Activations inside a block are not kept but computed again on the way back (Chen et al.,
    "Training Deep Nets with Sublinear Memory Cost", 2016). Names of weights stay what they are.
    """
    for block in blocks_of(module):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    return module


class Chunked(nn.Module):
    """An encoder of waveforms, chunk by chunk: the mean of the chunks' embeddings.

    Args:
        encoder: ``(batch, samples) -> (batch, width)``.
        samples: of a chunk; a rest is a chunk of its own if it is half as long.
    """

    def __init__(self, encoder: nn.Module, samples: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.samples = samples

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms: ``(B, S) -> (B, D)``."""
        chunks = list(wave_BS.split(self.samples, dim=1))
        if len(chunks) > 1 and chunks[-1].shape[1] < self.samples / 2:
            chunks.pop()
        parts: Any = [checkpoint(self.encoder, chunk, use_reentrant=False) for chunk in chunks]
        return torch.stack(parts).mean(dim=0)


def chunked(module: nn.Module, seconds: float, sr: int) -> Chunked:
    """A long clip in chunks of that many seconds; what is kept is one chunk's worth."""
    return Chunked(module, max(round(seconds * sr), 1))


def check_head(dotted: str, embedding_dim: int) -> Iterator[Finding]:
    """The contract checks of a rating head: shape, range, gradient."""
    torch.manual_seed(0)
    try:
        head = build_head(dotted, embedding_dim, 1)
    except UserError as error:
        yield Finding(f"can be made for {embedding_dim} dimensions", str(error))
        return
    yield Finding(f"can be made for {embedding_dim} dimensions")
    x_BD = torch.randn(BATCH, embedding_dim, requires_grad=True)
    check = f"({BATCH}, {embedding_dim}) -> ({BATCH}, 1)"
    try:
        out = head(x_BD)
    except Exception as error:
        yield Finding(check, f"raises {type(error).__name__}: {brief(error)}")
        return
    if not isinstance(out, Tensor) or tuple(out.shape) != (BATCH, 1):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        advice = "keep the last axis (no squeeze)" if shape == (BATCH,) else "one rating per clip"
        yield Finding(check, f"gives {shape}; {advice}")
        return
    yield Finding(check)
    with torch.no_grad():
        big = head(10 * torch.randn(64, embedding_dim))
    low, high = float(big.min()), float(big.max())
    outside = not (low >= 0 and high <= 1)
    yield Finding(
        "ratings in [0, 1]",
        f"gives {low:.3g} to {high:.3g}; end with a sigmoid" if outside else "",
    )
    yield _head_gradient(head, x_BD)


def _head_gradient(head: nn.Module, x_BD: Tensor) -> Finding:
    check = "finite gradient"
    out = head(x_BD)
    if not out.requires_grad:
        return Finding(check, "the ratings have no gradient; remove detach() and rounding")
    (out - 0.5).square().mean().backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    if not gradients and any(True for _ in head.parameters()):
        return Finding(check, "no gradient reaches its weights")
    if not all(_ok(gradient) for gradient in gradients):
        return Finding(check, "the gradient is NaN or infinite; look for log(0) or sqrt(0)")
    return Finding(check)
