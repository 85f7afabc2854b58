"""One call for every generator of random numbers."""

import hashlib
import os
import random

import numpy as np
import torch


def step_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on nothing else."""
    text = "/".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def seed_all(seed: int, *, deterministic: bool) -> None:
    """Seed Python, NumPy, PyTorch's CPU and every CUDA device, and set cuDNN's flags.

    cuDNN never times its algorithms (``benchmark``): the fastest differs from run to run, and with
    it the last bits. With ``deterministic`` PyTorch refuses what cannot be repeated bit by bit:
    two runs on one machine, with as many threads, are then equal. On a CPU that costs next to
    nothing; on CUDA slower kernels are taken.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:
        # cuBLAS reads it once, at its first product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
