"""What tells one encoder from another: a hash of its weights and of what else its numbers need."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


def encoder_hash(
    facts: Any, states: Iterable[Mapping[str, Tensor]], *, content: bytes = b""
) -> str:
    """16 hex digits; stores are named by it.

    Args:
        facts: settings, anything that JSON can hold.
        states: weights and buffers of the parts, in an order that does not change.
        content: of a file that holds weights of its own.
    """
    digest = hashlib.sha256(content)
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for state in states:
        for name, tensor in state.items():
            digest.update(name.encode())
            data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(data.numpy().tobytes())
    return digest.hexdigest()[:16]
