"""wav2vec 2.0 through torchaudio: mean over time, then a linear projection.

Source: Baevski et al., "wav2vec 2.0", NeurIPS 2020; torchaudio's model and weights (BSD, and the
weights under fairseq's MIT licence). What we changed: the pooling and the projection.

Shapes: B clips, S samples at 16 kHz, T frames, F width of the transformer, D embedding width.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archs.protonet import Encoder
from g5.common.errors import UserError

# The feature extractor's seven convolutions need this many samples for one frame.
SHORTEST = 400


class Wav2Vec2(Encoder):
    """Waveforms ``(B, S)`` at 16 kHz to embeddings ``(B, D)``.

    Args:
        weights: ``bundle`` downloads, ``random`` takes none, a path loads a state dict.
        bundle: name of the bundle in `torchaudio.pipelines`.
        n_layers: of the transformer (``random`` and files).
        width: of the transformer (``random`` and files); a multiple of ``n_heads``.
        n_heads: of its attention (``random`` and files).
        embedding_dim: width of the embedding; None: that of the transformer, without a projection.
    """

    def __init__(
        self,
        *,
        weights: str,
        bundle: str,
        n_layers: int,
        width: int,
        n_heads: int,
        embedding_dim: int | None,
    ) -> None:
        super().__init__()
        if weights == "bundle":
            self.model, width = _bundled(bundle)
        else:
            self.model = _model(n_layers, width, n_heads)
            if weights != "random":
                _load(self.model, Path(weights))
        self.embedding_dim = width if embedding_dim is None else embedding_dim
        self.projection: nn.Module = nn.Identity()
        if embedding_dim is not None:
            linear = nn.Linear(width, embedding_dim)
            # Before any training, it turns the space and loses as little as can be.
            nn.init.orthogonal_(linear.weight)
            nn.init.zeros_(linear.bias)
            self.projection = linear

    def forward(self, wave_BS: Tensor) -> Tensor:
        """Embed waveforms: ``(B, S) -> (B, D)``."""
        short = SHORTEST - wave_BS.shape[1]
        if short > 0:
            wave_BS = nn.functional.pad(wave_BS, (0, short))
        # The convolutions were trained on waveforms of zero mean and unit deviation.
        wave_BS = wave_BS - wave_BS.mean(dim=1, keepdim=True)
        wave_BS = wave_BS / wave_BS.std(dim=1, keepdim=True).clamp(min=1e-5)
        x_BTF = self.model.extract_features(wave_BS)[0][-1]
        return self.projection(x_BTF.mean(dim=1))


def _bundled(name: str) -> tuple[Any, int]:
    import torchaudio

    bundle: Any = getattr(torchaudio.pipelines, name, None)
    if bundle is None:
        raise UserError(f"encoder.bundle={name}: torchaudio.pipelines has none of that name")
    try:
        return bundle.get_model(), bundle._params["encoder_embed_dim"]
    except OSError as error:
        raise UserError(
            f"encoder.bundle={name}: its weights cannot be downloaded ({error}); give a file, "
            "encoder.weights=FILE, or try without training, encoder.weights=random"
        ) from error


def _model(n_layers: int, width: int, n_heads: int) -> Any:
    import torchaudio

    if width % n_heads:
        raise UserError(f"encoder.width={width}: must be a multiple of encoder.n_heads={n_heads}")
    return torchaudio.models.wav2vec2_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=None,
        extractor_conv_bias=False,
        encoder_embed_dim=width,
        encoder_projection_dropout=0.1,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=n_layers,
        encoder_num_heads=n_heads,
        encoder_attention_dropout=0.1,
        encoder_ff_interm_features=4 * width,
        encoder_ff_interm_dropout=0.1,
        encoder_dropout=0.1,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.05,
        aux_num_out=None,
    )


def _load(model: nn.Module, path: Path) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except OSError as error:
        raise UserError(f"encoder.weights={path}: is no state dict ({error.strerror})") from error
    except Exception as error:  # torch raises many kinds for what is no file of its own
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        reason = " ".join(lines[:2])[:160]
        raise UserError(
            f"encoder.weights={path}: is no state dict of a model with encoder.n_layers, "
            f"encoder.width and encoder.n_heads as they are ({reason})"
        ) from error
