"""Front ends and heads in the words that ONNX has: products, gathers and powers of a graph.

Shapes: B clips, S samples, T frames, N samples of a window, F frequency bins, M mel bands,
W values of a frame, D embedding width, C classes.
"""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from archs.prototypes import unit
from g5.common.errors import UserError
from g5.transfer.heads.estimator import NETWORKS, EmbeddingHead
from g5.transfer.heads.prototype import COSINE_SCALE, PrototypeHead
from g5.transfer.heads.saved import SavedHead
from preprocessing.frontend import FrontEnd
from preprocessing.spectra.mel import mel_basis

# Of `conf/head/`, those that are written.
HEADS = (*NETWORKS, "prototype", "logistic")


class FrontEndGraph(nn.Module):
    """A front end whose Fourier transform is a product with a matrix.

    Args:
        front_end: what it computes.
        dtype: of the transform.
    """

    dft_NF: Tensor
    basis_FM: Tensor

    def __init__(self, front_end: FrontEnd, dtype: torch.dtype) -> None:
        super().__init__()
        self.front_end = front_end
        whole_NF = torch.fft.rfft(torch.diag(front_end.window_N.cpu()))
        self.register_buffer("dft_NF", torch.view_as_real(whole_NF).flatten(1).to(dtype))
        said = (getattr(front_end, key) for key in ("sr", "n_fft", "n_mels", "fmin", "fmax"))
        basis_FM = np.repeat(mel_basis(*said).T, 2, axis=0)
        self.register_buffer("basis_FM", torch.from_numpy(basis_FM).to(dtype))

    def forward(self, wave_BS: Tensor) -> Tensor:
        """``(B, S) -> (B, W, T)``."""
        front_end = self.front_end
        n_fft, hop = front_end.n_fft, front_end.hop_mel
        x = nn.functional.pad(wave_BS, (n_fft // 2, n_fft // 2)).to(self.dft_NF.dtype)
        first_T = torch.arange(1 + (x.shape[-1] - n_fft) // hop) * hop
        frames_BTN = x[:, first_T[:, None] + torch.arange(n_fft)]
        power_BTM = (frames_BTN @ self.dft_NF).square() @ self.basis_FM
        return front_end.compress(power_BTM, None)[0].transpose(-1, -2)


def head_graph(head: SavedHead) -> nn.Module:
    """Embeddings ``(B, D)`` to what the head predicts: ``(B, C)``, or ratings.

    Raises:
        UserError: it is of a kind that has no such words.
    """
    model = head.model
    if isinstance(model, EmbeddingHead):
        return _Network(model)
    if isinstance(model, PrototypeHead):
        return _Prototypes(model)
    last = model.steps[-1][1] if isinstance(model, Pipeline) else None
    if isinstance(last, LogisticRegression):
        return _Logistic(model.steps[0][1], last)
    raise UserError(
        f"head {head.name}: does not go into an ONNX graph; choose among those that do: "
        f"g5 classify STORE --labels CSV classify.heads=[{','.join(HEADS)}]"
    )


class _Network(nn.Module):
    mean_D: Tensor
    std_D: Tensor

    def __init__(self, head: EmbeddingHead) -> None:
        super().__init__()
        self.module, self.task = head.module_, head.task
        self.raw = head.task == "rating" and head.network not in NETWORKS
        self.register_buffer("mean_D", head.mean_D)
        self.register_buffer("std_D", head.std_D)

    def forward(self, x_BD: Tensor) -> Tensor:
        out_BC = self.module((x_BD - self.mean_D) / self.std_D)
        if self.task == "single":
            return out_BC.softmax(dim=1)
        return out_BC if self.raw else out_BC.sigmoid()


class _Prototypes(nn.Module):
    proto_CD: Tensor

    def __init__(self, head: PrototypeHead) -> None:
        super().__init__()
        self.cosine, self.scale = head.metric == "cosine", head.scale_
        proto_CD = torch.from_numpy(head.prototypes_)
        self.register_buffer("proto_CD", unit(proto_CD) if self.cosine else proto_CD)

    def forward(self, x_BD: Tensor) -> Tensor:
        if self.cosine:
            return (COSINE_SCALE * (unit(x_BD) @ self.proto_CD.T)).softmax(dim=1)
        distance_BC = (x_BD[:, None] - self.proto_CD).square().sum(dim=2)
        return (-distance_BC / self.scale).softmax(dim=1)


class _Logistic(nn.Module):
    """A scaler and a logistic regression; of two classes sklearn keeps the second's weights."""

    weight_DC: Tensor
    bias_C: Tensor

    def __init__(self, scaler: Any, model: Any) -> None:
        super().__init__()
        weight_CD, bias_C = model.coef_ / scaler.scale_, model.intercept_
        bias_C = bias_C - weight_CD @ scaler.mean_
        if len(weight_CD) == 1:
            weight_CD = np.concatenate([0 * weight_CD, weight_CD])
            bias_C = np.concatenate([0 * bias_C, bias_C])
        self.register_buffer("weight_DC", torch.from_numpy(weight_CD.T).float())
        self.register_buffer("bias_C", torch.from_numpy(bias_C).float())

    def forward(self, x_BD: Tensor) -> Tensor:
        return (x_BD @ self.weight_DC + self.bias_C).softmax(dim=1)
