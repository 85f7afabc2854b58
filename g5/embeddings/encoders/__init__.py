"""Encoders by name: from what a user types to something that turns waveforms into embeddings."""

from g5.common.errors import UserError
from g5.config.choices import choices


def check_name(name: str) -> None:
    """Raise `UserError` for what is none of `conf/encoder/`, and no import path."""
    if "." not in name and ":" not in name and name not in choices("encoder"):
        raise UserError(
            f"ENCODER {name!r}: no .ckpt, .onnx or .tflite file, none of default, "
            f"{', '.join(choices('encoder'))}, and no import path like my_pkg.models.MyEncoder"
        )
