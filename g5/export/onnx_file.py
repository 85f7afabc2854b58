"""`g5 export`: encoder, front end and head as one ONNX graph, which is tried before it is kept.

Shapes: B clips, S samples, D embedding width, C classes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from g5 import __version__
from g5.common.atomic import atomic_path
from g5.common.errors import UserError, brief, needs
from g5.config.stored import classes_named
from g5.embeddings.encoders.loaded import LoadedEncoder
from g5.embeddings.encoders.loading import load_encoder
from g5.embeddings.encoders.onnx_encoder import OnnxEncoder
from g5.export.graph import Graph, written
from g5.export.joined import joined
from g5.export.parts import head_graph
from g5.transfer.heads.saved import SavedHead, load_head
from g5.transfer.heads.thresholds import probabilities

# Of the largest number, or of 1 where all are smaller.
TOLERANCE = 1e-4
SEED = 0
# How the spectrum is computed, and whether of any length: what runs everywhere first.
KINDS = ((torch.float32, True), (torch.float64, True), (torch.float64, False))


@dataclass(frozen=True)
class Model:
    """What is exported: an encoder, and perhaps a head on its embeddings."""

    encoder: LoadedEncoder
    head: SavedHead | None

    def wanted(self, wave_BS: Tensor) -> list[np.ndarray]:
        """What it gives in PyTorch: embeddings (B, D), and probabilities (B, C) or ratings."""
        with torch.inference_mode():
            z_BD = self.encoder.forward(wave_BS).numpy()
        if self.head is None:
            return [z_BD]
        model = self.head.model
        rating = self.head.task == "rating"
        return [z_BD, model.predict(z_BD) if rating else probabilities(model, z_BD)]

    def graph(self, dtype: torch.dtype, *, any_length: bool) -> bytes:
        """As ONNX, with the spectrum in such numbers."""
        head = None if self.head is None else head_graph(self.head)
        if isinstance(self.encoder.module, OnnxEncoder):
            assert head is not None
            return joined(self.encoder.module, head)
        names = ["waveform", "embedding", "scores"][: 2 + (head is not None)]
        x_BS = waves(self.encoder.window_samples)[0]
        return written(Graph(self.encoder, head, dtype), x_BS, names, any_length=any_length)

    def facts(self) -> dict[str, str]:
        """What a reader needs: rate, window and labels; and where it is from."""
        encoder, head = self.encoder, self.head
        facts = {
            "sample_rate": str(encoder.sr), "window_s": repr(encoder.window_s),
            "encoder": Path(encoder.name).name, "encoder_hash": encoder.hash(), "g5": __version__,
        }  # fmt: skip
        if head is not None:
            facts |= {"task": head.task, "head": head.name, "labels": json.dumps(head.labels)}
            facts["thresholds"] = json.dumps(head.thresholds)
        return facts


def export_onnx(what: str, output: Path, overrides: Sequence[str]) -> Path:
    """Write an encoder, or a head with its encoder, and say what it holds.

    Args:
        what: a .head of `g5 classify`, or an encoder as `g5 embed` takes it.
        output: the ONNX file.
        overrides: the encoder's, and classes of the user's (`g5 predict`).

    Raises:
        UserError: it cannot be said in ONNX, or the graph does not give what PyTorch gives.
    """
    if output.suffix != ".onnx":
        raise UserError(f"{output}: name the file FILE.onnx")
    with needs("g5 export needs onnx", "onnx"):
        import onnx
    model = _model(what, overrides)
    content, any_length, error = tried(model)
    proto = onnx.load_from_string(content)
    onnx.helper.set_model_props(proto, model.facts())
    with atomic_path(output) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    _tell(output, model, any_length, error)
    return output


def _model(what: str, overrides: Sequence[str]) -> Model:
    if not what.endswith(".head"):
        encoder = load_encoder(what, overrides)
        if encoder.from_file:
            raise UserError(f"{what}: is a file of others, and stays as it is")
        return Model(encoder, None)
    head = load_head(what, known=classes_named(overrides))
    head_graph(head)  # one that has none is told before anybody embeds anew for it
    encoder = head.load_encoder(overrides)
    if encoder.front_end is not None and not head.of_windows:
        name = head.encoder.encoder
        raise UserError(
            f"{what}: was trained on embeddings of whole recordings, and a graph hears a window "
            f"alone, which sounds another to {name}. Train it on embeddings of the graph: "
            f"g5 export {name} -o encoder.onnx; g5 embed encoder.onnx recordings/ -o "
            f"windows.store; g5 classify windows.store --labels CSV -o {what}"
        )
    if encoder.kind == "tflite":
        raise UserError(f"{encoder.name}: TFLite and a head do not go into one file; take ONNX")
    return Model(encoder, head)


def tried(model: Model) -> tuple[bytes, bool, float]:
    """A graph that gives what PyTorch gives, whether it takes any length, and its error."""
    name, worst = model.encoder.name, float("inf")
    reason: Exception | None = None
    for dtype, any_length in KINDS:
        try:
            content = model.graph(dtype, any_length=any_length)
            error = difference(content, model, any_length=any_length)
        except UserError:
            raise
        except Exception as failed:  # the exporter and onnxruntime raise many kinds
            reason = failed
            continue
        if error <= TOLERANCE:
            return content, any_length, error
        worst = min(worst, error)
    if np.isfinite(worst):
        raise UserError(
            f"{name}: the graph is off by {worst:.1e} from PyTorch, where {TOLERANCE:g} is "
            "allowed; nothing is written"
        )
    said = "" if reason is None else brief(reason, 100)
    raise UserError(f"{name}: cannot be said in ONNX ({said})") from reason


def waves(samples: int) -> list[Tensor]:
    """Noise, a tone, a click and silence as one batch of windows; then other lengths and counts."""
    generator = torch.Generator().manual_seed(SEED)
    tone_S = 0.9 * torch.sin(torch.arange(samples) * 0.8)
    click_S = torch.zeros(samples)
    click_S[samples // 2] = 1.0
    noise_BS = 0.1 * torch.randn(2, samples, generator=generator)
    window_BS = torch.stack([*noise_BS, 1e-4 * noise_BS[0], tone_S, click_S, 0 * tone_S])
    longer_BS = 0.1 * torch.randn(1, 8 * samples, generator=generator)
    return [window_BS, window_BS[:3, : samples // 2 + 1], longer_BS]


def difference(content: bytes, model: Model, *, any_length: bool) -> float:
    """The largest error of onnxruntime's numbers, as a share of the largest number or of 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    one_by_one = isinstance(given.shape[0], int)
    worst = 0.0
    for wave_BS in waves(model.encoder.window_samples)[: None if any_length else 1]:
        for part_BS in wave_BS.split(1) if one_by_one else [wave_BS]:
            x = part_BS.numpy().reshape(len(part_BS), *[1] * (len(given.shape) - 2), -1)
            outs: Any = session.run(None, {given.name: x})
            for out, wanted in zip(outs, model.wanted(part_BS), strict=True):
                error = np.abs(out.reshape(wanted.shape) - wanted).max()
                worst = max(worst, float(error / max(np.abs(wanted).max(), 1.0)))
    return worst


def _tell(output: Path, model: Model, any_length: bool, error: float) -> None:
    encoder, head = model.encoder, model.head
    size_mb = output.stat().st_size / 2**20
    length = "any number of samples" if any_length else f"{encoder.window_samples:,} samples"
    print(
        f"{output}: {size_mb:.1f} MB; waveform (batch, {length}) at {encoder.sr:,} Hz, windows of "
        f"{encoder.window_s:g} s"
    )
    print(f"embedding (batch, {encoder.embedding_dim:,})")
    if head is not None:
        few = ", ".join(head.labels[:5]) + (", ..." if len(head.labels) > 5 else "")
        what = f"of {few}" if head.labels else "ratings"
        print(f"scores (batch, {max(len(head.labels), 1)}): {what}")
    print(f"checked against PyTorch: off by {error:.1e} at most, {TOLERANCE:g} is allowed")
    if encoder.front_end is not None and head is None:
        print(
            "note: the graph hears each window alone, g5 embed the whole recording, so their "
            "embeddings differ: embed with this file what its head is trained on"
        )
