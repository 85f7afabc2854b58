"""The trainings: which variants there are, their runs, and models that need no further one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archs.protonet import ProtoNet
from experiments.common import FinishedTraining, finished
from g5.config.build import build
from g5.config.settings import Settings, load
from g5.tracking.restore import Restored
from g5.training.setup import prepare_torch

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Variant:
    """How a model is trained: an architecture's YAML and what is changed of it.

    Attributes:
        name: of its runs, with the seed.
        arch: v1 or v2.
        changes: overrides on top of ``arch=... experiment=v2_vs_v1``.
        says: what it is, in a table.
    """

    name: str
    arch: str
    changes: tuple[str, ...]
    says: str


# Both see 600 batches of 100 clips.
V1 = Variant("v1", "v1", (), "v1")
V2 = Variant("v2", "v2", (), "v2")
# An epoch of v1 takes half the CPU time of one of v2.
V1_LONG = Variant("v1_long", "v1", ("arch.training.max_epochs=24",), "v1, twice as many batches")
V2_EUCLIDEAN = Variant(
    "v2_euclidean", "v2", ("arch.model.distance=euclidean",), "v2, trained by Euclidean distance"
)
# One seed.
V2_LONGER = Variant("v2_longer", "v2", ("arch.training.max_epochs=48",), "v2, four times as long")


def config_of(variant: Variant, seed: int, arguments: Sequence[str]) -> Settings:
    """The resolved configuration of a run."""
    name = f"exp_name={variant.name}_seed{seed}"
    overrides = [f"arch={variant.arch}", "experiment=v2_vs_v1", f"seed={seed}", name, "resume=true"]
    return load([*overrides, *variant.changes, *arguments])


def trained(variant: Variant, seed: int, arguments: Sequence[str]) -> FinishedTraining:
    """Train, or go on with a training that was stopped, or take what is finished."""
    return finished(config_of(variant, seed, arguments))


def untrained_model(restored: Restored, seed: int) -> Restored:
    """The same model as it was before training."""
    prepare_torch(restored.settings.but({"seed": seed}))
    model = build(restored.settings.arch.model, expect=ProtoNet, where="arch.model")
    return replace(restored, model=model.eval())


def euclidean(restored: Restored) -> Restored:
    """The same encoder, compared without the learned correction."""
    node = restored.settings.but({"arch.model.distance": "euclidean"}).arch.model
    model = build(node, expect=ProtoNet, where="arch.model")
    own = model.state_dict()
    model.load_state_dict({k: v for k, v in restored.model.state_dict().items() if k in own})
    return replace(restored, model=model.eval())
