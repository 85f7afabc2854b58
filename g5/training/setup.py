"""What has to be in place before PyTorch works: seeds, threads, precision, and a quiet console."""

import logging
import warnings

import torch

from g5.common.device import torch_device
from g5.common.seeds import seed_all
from g5.config.settings import Settings


def prepare_torch(settings: Settings) -> None:
    """Seed every generator and set threads as the configuration says."""
    quiet()
    trainer = settings.trainer
    if trainer.threads is not None:
        torch.set_num_threads(trainer.threads)
    seed_all(settings.seed, deterministic=settings.deterministic)


def check_device(settings: Settings) -> None:
    """Raise `UserError` where the configuration asks for a GPU that is not there."""
    torch_device(settings.trainer.accelerator, "trainer.accelerator")


def set_matmul_precision(settings: Settings) -> None:
    """For the networks only: features are extracted before, and would take a slower way."""
    torch.set_float32_matmul_precision(settings.trainer.matmul_precision)


def quiet() -> None:
    """Silence what Lightning tells everybody at every start."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Episodes are copies out of the page cache: workers would slow them down.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A debug run is over before it would log; its last step is logged all the same.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # A run without validation is what was asked for.
    warnings.filterwarnings("ignore", message=".*across ranks is zero.*")
    # Lightning's own use of what torch has deprecated.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def device_of(settings: Settings) -> torch.device:
    """Where the trainer will work: CUDA where there is one and the configuration allows it."""
    return torch_device("cpu" if settings.trainer.accelerator == "cpu" else "auto", "trainer")


def precision_of(settings: Settings) -> str:
    """`trainer.precision`, with ``auto`` decided."""
    precision = settings.trainer.precision
    if precision != "auto":
        return precision
    bf16 = device_of(settings).type == "cuda" and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if bf16 else "32-true"
