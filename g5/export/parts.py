"""Front ends and heads in the words that ONNX has: products, gathers and powers of a graph.

Shapes: B clips, S samples, T frames, N samples of a window, F frequency bins, M mel bands,
W values of a frame, D embedding width, C classes, K trees, N nodes, V support vectors, P pairs of
classes.
"""

from itertools import combinations
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from archs.prototypes import unit
from g5.common.errors import UserError
from g5.transfer.heads.estimator import NETWORKS, EmbeddingHead
from g5.transfer.heads.prototype import COSINE_SCALE, PrototypeHead
from g5.transfer.heads.saved import SavedHead
from preprocessing.frontend import FrontEnd
from preprocessing.spectra.mel import mel_basis

# Of `conf/head/`, those that are written.
HEADS = (*NETWORKS, "prototype", "logistic", "svm", "tree", "forest")


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
    if isinstance(model, RandomForestClassifier):
        return _Trees(model.estimators_)
    if isinstance(model, DecisionTreeClassifier):
        return _Trees([model])
    last = model.steps[-1][1] if isinstance(model, Pipeline) else None
    if isinstance(last, LogisticRegression):
        return _Logistic(model.steps[0][1], last)
    if isinstance(last, SVC) and last.kernel in ("rbf", "linear"):
        return _Margins(model.steps[0][1], last)
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


class _Trees(nn.Module):
    """Decision trees that are walked at once, as deep as the deepest; the mean of their leaves."""

    feature_N: Tensor
    threshold_N: Tensor
    next_N2: Tensor
    share_NC: Tensor
    root_K: Tensor

    def __init__(self, trees: Any) -> None:
        super().__init__()
        parts = [model.tree_ for model in trees]
        root_K = np.cumsum([0, *(tree.node_count for tree in parts)])[:-1]
        nexts, features = [], []
        for root, tree in zip(root_K, parts, strict=True):
            leaf_N = tree.children_left < 0
            sides_N2 = np.stack([tree.children_left, tree.children_right], axis=1)
            own_N = np.arange(tree.node_count)[:, None]
            nexts.append(root + np.where(leaf_N[:, None], own_N, sides_N2))
            features.append(np.where(leaf_N, 0, tree.feature))
        value_NC = np.concatenate([tree.value[:, 0] for tree in parts])
        self.depth = max(tree.max_depth for tree in parts)
        self.register_buffer("root_K", torch.from_numpy(root_K))
        self.register_buffer("next_N2", torch.from_numpy(np.concatenate(nexts)))
        self.register_buffer("feature_N", torch.from_numpy(np.concatenate(features)))
        threshold_N = np.concatenate([tree.threshold for tree in parts])
        self.register_buffer("threshold_N", torch.from_numpy(threshold_N))
        share_NC = value_NC / value_NC.sum(axis=1, keepdims=True)
        self.register_buffer("share_NC", torch.from_numpy(share_NC).float())

    def forward(self, x_BD: Tensor) -> Tensor:
        at_BK = self.root_K + 0 * x_BD[:, :1].long()
        for _ in range(self.depth):
            x_BK = x_BD.gather(1, self.feature_N[at_BK]).double()
            left_BK = x_BK <= self.threshold_N[at_BK]
            at_BK = torch.where(left_BK, self.next_N2[:, 0][at_BK], self.next_N2[:, 1][at_BK])
        return self.share_NC[at_BK].mean(dim=1)


class _Margins(nn.Module):
    """A scaler and an SVM: pairs of classes, the margins of each, and a softmax over them.

    Source: `sklearn.utils.multiclass._ovr_decision_function`.
    """

    mean_D: Tensor
    scale_D: Tensor
    vector_VD: Tensor
    weight_VP: Tensor
    bias_P: Tensor

    def __init__(self, scaler: Any, model: SVC) -> None:
        super().__init__()
        classes, dual, bias_P = len(model.classes_), model.dual_coef_, model.intercept_
        self.pairs = list(combinations(range(classes), 2))
        of_V = np.repeat(np.arange(classes), model.n_support_)
        weight_VP = np.zeros((len(of_V), len(self.pairs)))
        for pair, (i, j) in enumerate(self.pairs):
            weight_VP[of_V == i, pair] = dual[j - 1, of_V == i]
            weight_VP[of_V == j, pair] = dual[i, of_V == j]
        if classes == 2:  # sklearn turns the sign of these, so that the second is above 0
            weight_VP, bias_P = -weight_VP, -bias_P
        self.gamma: Any = model._gamma if model.kernel == "rbf" else None
        each = {
            "mean_D": scaler.mean_, "scale_D": scaler.scale_, "vector_VD": model.support_vectors_,
            "weight_VP": weight_VP, "bias_P": bias_P,
        }  # fmt: skip
        for name, values in each.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(values, np.float64)))

    def forward(self, x_BD: Tensor) -> Tensor:
        x_BD = (x_BD.double() - self.mean_D) / self.scale_D
        kernel_BV = x_BD @ self.vector_VD.T
        if self.gamma is not None:
            squares = (x_BD.square().sum(1, keepdim=True), self.vector_VD.square().sum(1))
            kernel_BV = torch.exp(-self.gamma * (squares[0] + squares[1] - 2 * kernel_BV))
        first_BP = kernel_BV @ self.weight_VP + self.bias_P
        if len(self.pairs) == 1:
            return torch.cat([first_BP, -first_BP], dim=1).div(2).softmax(dim=1).float()
        one_BP = (first_BP >= 0).double()
        classes = self.pairs[-1][1] + 1
        votes: list[Any] = [0.0] * classes
        margins: list[Any] = [0.0] * classes
        for pair, (i, j) in enumerate(self.pairs):
            votes[i], votes[j] = votes[i] + one_BP[:, pair], votes[j] + 1 - one_BP[:, pair]
            margins[i] = margins[i] + first_BP[:, pair]
            margins[j] = margins[j] - first_BP[:, pair]
        margin_BC, vote_BC = torch.stack(margins, dim=1), torch.stack(votes, dim=1)
        return (vote_BC + margin_BC / (3 * (margin_BC.abs() + 1))).softmax(dim=1).float()
