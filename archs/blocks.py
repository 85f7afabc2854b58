"""The parts of a network that are frozen and freed together."""

from collections.abc import Iterator, Sequence

from torch import nn


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The parts of a module that are frozen and freed together, from input to output.

    A chain of single children is followed to where there is a choice.
    """
    here: nn.Module = module
    while True:
        parts = [part for part in here.children() if any(True for _ in part.parameters())]
        if len(parts) != 1:
            break
        here = parts[0]
    flat = list(_layers(parts)) if parts else [module]
    return flat or [module]


def _layers(parts: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """Sequences are opened, everything else stays whole; layers without weights are left out."""
    for part in parts:
        if isinstance(part, nn.Sequential | nn.ModuleList):
            yield from _layers([p for p in part if any(True for _ in p.parameters())])
        else:
            yield part
