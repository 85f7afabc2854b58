"""Where PyTorch works, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from g5.common.errors import UserError


def torch_device(name: str, key: str) -> torch.device:
    """The device that ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``gpu`` means.

    Raises:
        UserError: there is no CUDA device where ``key`` asks for one.
    """
    there = torch.cuda.is_available()
    if name in ("cuda", "gpu") and not there:
        raise UserError(f"{key}={name}: there is no CUDA device; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and there else "cpu")


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """PyTorch takes ``count`` threads inside (None: as it is), and as many as before afterwards."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
